/* SPDX-License-Identifier: MIT */
/* Why the host does not let this process have something that a VM is made of, and what to do about
 * it, in words. EPERM alone does not say whose decision it was: a sysctl's, a container's seccomp
 * profile, a missing capability, a security module's; the other traces of it are in /proc. */
#ifndef AXVM_DENIED_H
#define AXVM_DENIED_H

#include "base/base.h"

enum denied {
	DENIED_IO_URING,
	DENIED_NAMESPACES,    /* unshare(2), and the calls that make the new root */
	DENIED_ROOT,          /* "/" is no mount point */
	DENIED_MEMORY_POLICY, /* mbind(2) */
};

enum denied_namespace {
	DENIED_USER,
	DENIED_MNT,
	DENIED_NET,
	DENIED_IPC,
	DENIED_UTS,
	DENIED_CGROUP,
	DENIED_KINDS
};

/* Read before anything of the sandbox is in place. A number is -1 where there is no such file. */
struct denied_clues {
	int seccomp;                      /* "Seccomp:" of /proc/self/status: 2, filters */
	bool sys_admin;                   /* CAP_SYS_ADMIN is effective */
	int io_uring_disabled;            /* kernel.io_uring_disabled */
	int userns_clone;                 /* kernel.unprivileged_userns_clone, Debian's */
	int apparmor_userns;              /* kernel.apparmor_restrict_unprivileged_userns */
	int max_namespaces[DENIED_KINDS]; /* user.max_*_namespaces */
	bool missing[DENIED_KINDS];       /* the kernel has no such kind: not in /proc/self/ns */
};

#define DENIED_TEXT_MAX 280

/* `root` replaces "/" for /proc; "": this machine's. */
void denied_read_clues(const char *root, struct denied_clues *ret);

/* "why; what to do" for the errno that a call has failed with. Returns out. */
const char *denied_explain(enum denied what, int error, const struct denied_clues *clues,
                           char out[static DENIED_TEXT_MAX]);
/* The same with the clues of this machine as they are now. */
const char *denied_here(enum denied what, int error, char out[static DENIED_TEXT_MAX]);

/* Whether the error is of those that a host decides on, and not want of memory or of
 * descriptors. */
bool denied_by_host(int error);

/* Asks without taking anything: 0, or the errno that io_uring_setup(2) refuses with. Some 0.3
 * us. */
int denied_ask_io_uring(void);
/* Likewise of mbind(2). */
int denied_ask_memory_policy(void);
/* Whether "/" is a mount point, which pivot_root(2) and mount_setattr(2) want; true where the
 * kernel (before 5.8) does not tell. */
bool denied_root_is_mount(void);

#endif
