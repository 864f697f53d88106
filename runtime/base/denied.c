/* SPDX-License-Identifier: MIT */
/* From an errno and the traces in /proc to a sentence: io_uring_setup(2),
 * Documentation/admin-guide/sysctl/ kernel.rst and user.rst, namespaces(7), seccomp(2). */
#include "base/denied.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP_SYS_ADMIN_BIT 21

static const char *const kinds[DENIED_KINDS] = {
	[DENIED_USER] = "user", [DENIED_MNT] = "mnt", [DENIED_NET] = "net",
	[DENIED_IPC] = "ipc",   [DENIED_UTS] = "uts", [DENIED_CGROUP] = "cgroup",
};

#define SECCOMP_WHY                                                                                \
	"a seccomp filter that this process was started under denies it, as a container's profile does"

/* ------------------------------------------------------------------------------------- clues */

static ssize_t read_text(const char *root, const char *path, char *out, size_t size)
{
	_cleanup_close_ int fd = -1;
	char full[256];
	ssize_t n;

	out[0] = '\0';
	snprintf(full, sizeof(full), "%.100s/%s", root, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, out, size - 1);
	out[MAX(n, 0)] = '\0';
	return n;
}

static int read_number(const char *root, const char *path)
{
	char text[32];

	return read_text(root, path, text, sizeof(text)) > 0 ? (int)strtol(text, NULL, 10) : -1;
}

void denied_read_clues(const char *root, struct denied_clues *ret)
{
	char status[4096], path[64];
	const char *at;

	*ret = (struct denied_clues){ .seccomp = -1 };
	if (read_text(root, "proc/self/status", status, sizeof(status)) > 0) {
		at = strstr(status, "\nSeccomp:");
		ret->seccomp = at ? atoi(at + strlen("\nSeccomp:")) : -1;
		at = strstr(status, "\nCapEff:");
		ret->sys_admin =
			at && strtoull(at + strlen("\nCapEff:"), NULL, 16) >> CAP_SYS_ADMIN_BIT & 1;
	}
	ret->io_uring_disabled = read_number(root, "proc/sys/kernel/io_uring_disabled");
	ret->userns_clone = read_number(root, "proc/sys/kernel/unprivileged_userns_clone");
	ret->apparmor_userns =
		read_number(root, "proc/sys/kernel/apparmor_restrict_unprivileged_userns");
	for (size_t i = 0; i < DENIED_KINDS; i++) {
		struct stat st;
		char full[256];

		snprintf(path, sizeof(path), "proc/sys/user/max_%s_namespaces", kinds[i]);
		ret->max_namespaces[i] = read_number(root, path);
		snprintf(full, sizeof(full), "%.100s/proc/self/ns/%s", root, kinds[i]);
		ret->missing[i] = lstat(full, &st) < 0;
	}
}

/* ------------------------------------------------------------------------------------- words */

bool denied_by_host(int error)
{
	return error == EPERM || error == EACCES || error == ENOSYS;
}

static const char *security_module(const struct denied_clues *clues)
{
	return clues->seccomp == 0
	               ? "it is not permitted, and neither a sysctl nor seccomp says so: a security module's "
	                 "policy (AppArmor, SELinux); the kernel's audit log names it"
	               : "it is not permitted: by a seccomp filter or a security module; the kernel's audit log "
	                 "names it";
}

static const char *io_uring(int error, const struct denied_clues *clues)
{
	if (error == ENOSYS && clues->seccomp == 2)
		return clues->io_uring_disabled >= 0
		               ? SECCOMP_WHY
		               "; start the container with a seccomp profile that allows "
		               "io_uring_setup, io_uring_enter and io_uring_register"
		               : "the kernel has no io_uring (CONFIG_IO_URING), or a container's seccomp profile "
		                 "hides it; run a kernel of 5.19 or later with it, under a profile that allows it";
	if (error == ENOSYS)
		return "the kernel has no io_uring (CONFIG_IO_URING); run one that has, of 5.19 or later";
	if (clues->io_uring_disabled == 2)
		return "kernel.io_uring_disabled is 2, so nobody may have one; set it on the host: sysctl "
		       "kernel.io_uring_disabled=0";
	if (clues->io_uring_disabled == 1 && !clues->sys_admin)
		return "kernel.io_uring_disabled is 1, so only CAP_SYS_ADMIN and the group kernel.io_uring_group "
		       "may have one; start the shim as root or in that group, or set the sysctl to 0";
	if (clues->seccomp == 2)
		return SECCOMP_WHY
			"; start the container with one that allows io_uring_setup, io_uring_enter and "
			"io_uring_register (docker, podman: --security-opt seccomp=FILE)";
	return security_module(clues);
}

/* Names the limits that are 0. The kernel does not say how much of the others is in use. */
static const char *limits(const struct denied_clues *clues, char out[static DENIED_TEXT_MAX])
{
	for (size_t i = 0; i < DENIED_KINDS; i++)
		if (clues->max_namespaces[i] == 0) {
			snprintf(out, DENIED_TEXT_MAX,
			         "user.max_%s_namespaces is 0; raise it on the host: sysctl "
			         "user.max_%s_namespaces=1024",
			         kinds[i], kinds[i]);
			return out;
		}
	return "one of the limits user.max_*_namespaces is reached; raise it on the host";
}

static const char *missing_kind(const struct denied_clues *clues, char out[static DENIED_TEXT_MAX])
{
	for (size_t i = 0; i < DENIED_KINDS; i++)
		if (clues->missing[i]) {
			snprintf(out, DENIED_TEXT_MAX,
			         "the kernel has no %s namespaces; run one that has", kinds[i]);
			return out;
		}
	return errno_text(EINVAL);
}

static const char *namespaces(int error, const struct denied_clues *clues,
                              char out[static DENIED_TEXT_MAX])
{
	if (error == ENOSPC)
		return limits(clues, out);
	if (error == EINVAL)
		return missing_kind(clues, out);
	if (!clues->sys_admin && clues->max_namespaces[DENIED_USER] == 0)
		return limits(clues, out);
	if (!clues->sys_admin && clues->userns_clone == 0)
		return "kernel.unprivileged_userns_clone is 0; set it to 1 on the host, or start the shim as root";
	if (clues->seccomp == 2)
		return clues->sys_admin ? SECCOMP_WHY
		               "; start it with one that allows namespaces and mounts (docker, "
		               "podman: --security-opt seccomp=FILE)"
		                        : SECCOMP_WHY
		               "; start it with CAP_SYS_ADMIN and one that allows namespaces and "
		               "mounts (docker, podman: --cap-add SYS_ADMIN --security-opt seccomp=FILE)";
	if (error == ENOSYS || clues->sys_admin)
		return security_module(clues);
	if (clues->apparmor_userns > 0)
		return "kernel.apparmor_restrict_unprivileged_userns is 1; set it to 0 on the host, or start the "
		       "shim as root";
	return "there is no CAP_SYS_ADMIN, and no user namespace to be had: in a chroot, or by a security module's "
	       "policy; start the shim as root, or outside the chroot";
}

static const char *memory_policy(int error, const struct denied_clues *clues)
{
	if (clues->seccomp == 2)
		return SECCOMP_WHY
			"; start it with CAP_SYS_NICE (docker, podman: --cap-add SYS_NICE) or one that "
			"allows mbind";
	if (error == ENOSYS)
		return "the kernel has no NUMA memory policy (CONFIG_NUMA); leave host_node out of the spec, or run "
		       "a kernel that has it";
	return security_module(clues);
}

const char *denied_explain(enum denied what, int error, const struct denied_clues *clues,
                           char out[static DENIED_TEXT_MAX])
{
	const char *text = NULL;

	if (what == DENIED_ROOT)
		text = "the root directory is no mount point, as in a chroot; make it one before: mount --bind DIR "
		       "DIR, then chroot DIR";
	else if (what == DENIED_NAMESPACES &&
	         (denied_by_host(error) || error == ENOSPC || error == EINVAL))
		text = namespaces(error, clues, out);
	else if (what == DENIED_IO_URING && denied_by_host(error))
		text = io_uring(error, clues);
	else if (what == DENIED_MEMORY_POLICY && denied_by_host(error))
		text = memory_policy(error, clues);
	else
		text = errno_text(error);
	if (text != out)
		snprintf(out, DENIED_TEXT_MAX, "%s", text ? text : "unknown error");
	return out;
}

const char *denied_here(enum denied what, int error, char out[static DENIED_TEXT_MAX])
{
	struct denied_clues clues;

	denied_read_clues("", &clues);
	return denied_explain(what, error, &clues, out);
}

/* ---------------------------------------------------------------------------------- questions */

int denied_ask_io_uring(void)
{
	/* The kernel decides first whether the call is allowed; then it reads the parameters, which
	 * are at NULL, and fails. */
	if (syscall(SYS_io_uring_setup, 1, NULL) >= 0)
		return 0;
	return errno == EFAULT ? 0 : errno;
}

int denied_ask_memory_policy(void)
{
	/* On no bytes: the kernel checks the permission and does nothing. */
	return syscall(SYS_mbind, NULL, 0, 0, NULL, 0, 0) < 0 ? errno : 0;
}

bool denied_root_is_mount(void)
{
	struct statx st = { 0 };

	return statx(AT_FDCWD, "/", AT_NO_AUTOMOUNT, 0, &st) < 0 ||
	       !(st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) ||
	       st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}
