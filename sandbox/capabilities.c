/* SPDX-License-Identifier: MIT */
/* Removes all capabilities from every set, so that none can be regained (capabilities(7)).
 * libcap-ng empties four sets; this file empties the bounding set with prctl(2), because the
 * library would read the process's status file three times for it. */
#include "sandbox/capabilities.h"

#include <cap-ng.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "sandbox/step.h"

/* Uid 0 gains no capabilities on exec; a change of ids neither gives nor takes any, and keeps none;
 * the ambient set stays empty. Each bit is locked. */
#define LOCKED_SECUREBITS                                                                          \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |                           \
	 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |   \
	 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* The capabilities that the steps need; each is below bit 32. */
#define NEEDED                                                                                     \
	(1u << CAP_SYS_ADMIN | 1u << CAP_SYS_CHROOT | 1u << CAP_SETUID | 1u << CAP_SETGID |        \
	 1u << CAP_SETPCAP)

bool sandbox_has_capabilities(const struct sandbox_status *status)
{
	return (status->effective & NEEDED) == NEEDED;
}

bool capabilities_suffice(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & NEEDED) == NEEDED;
}

int capabilities_bound(struct sandbox *sandbox, struct problems *problems)
{
	if (!sandbox->privileged && !sandbox->namespaced) {
		sandbox_not_available(sandbox, "bounding set");
		sandbox_not_available(sandbox, "securebits");
		return 0;
	}
	if (prctl(PR_SET_SECUREBITS, LOCKED_SECUREBITS, 0, 0, 0) < 0)
		return step_failed(problems, "cannot lock the securebits");
	/* capabilities_drop() reads this set back with the others. */
	for (unsigned long cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL && cap > 0)
				break; /* beyond the kernel's last */
			return step_failed(problems,
			                   "cannot empty the bounding set of capabilities");
		}
	return 0;
}

int capabilities_drop(struct sandbox *sandbox, struct problems *problems)
{
	struct sandbox_status status;
	int r;

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) != 0)
		return step_failed(problems, "cannot drop capabilities");
	r = proc_read_status(sandbox->proc_fd, "status", &status, problems);
	if (r < 0)
		return r;
	if (status.effective || status.permitted || status.inheritable || status.ambient)
		return step_differs(problems, "a capability is left after all were dropped");
	if (status.bounding && (sandbox->privileged || sandbox->namespaced))
		return step_differs(problems, "a capability is left in the bounding set");
	return 0;
}

int sandbox_check_securebits(const struct sandbox *sandbox, struct problems *problems)
{
	int bits;

	if (!sandbox->privileged && !sandbox->namespaced)
		return 0;
	bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	if (bits < 0)
		return step_failed(problems, "cannot read the securebits");
	if ((bits & LOCKED_SECUREBITS) != LOCKED_SECUREBITS || bits & SECBIT_KEEP_CAPS)
		return step_differs(problems, "the securebits are not as they were locked");
	return 0;
}
