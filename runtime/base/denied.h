/* SPDX-License-Identifier: MIT */
/* Explains why the host denies this process something that a VM needs, and what to do about it.
 * EPERM alone does not say what denied it: a sysctl, a container's seccomp profile, a missing
 * capability or a security module. /proc has the rest of the evidence. */
#ifndef AXVM_DENIED_H
#define AXVM_DENIED_H

#include "base/base.h"

enum denied {
	DENIED_IO_URING,
	DENIED_NAMESPACES,    /* unshare(2), and the calls that make the new root */
	DENIED_ROOT,          /* "/" is not a mount point */
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

/* What /proc says. Read it before any step of the sandbox, which hides these files. A number is -1
 * if its file does not exist. */
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

/* Reads the clues below `root`/proc; "" reads this machine's. */
void denied_read_clues(const char *root, struct denied_clues *ret);

/* "why; what to do" for the errno that a call has failed with. Returns out. */
const char *denied_explain(enum denied what, int error, const struct denied_clues *clues,
                           char out[static DENIED_TEXT_MAX]);
/* The same with the clues of this machine as they are now. */
const char *denied_here(enum denied what, int error, char out[static DENIED_TEXT_MAX]);

/* Whether the error means that the host denied the call, and not that memory or descriptors ran
 * out. */
bool denied_by_host(int error);

/* Asks whether io_uring_setup(2) is allowed, without making a ring: 0, or its errno. About 0.3
 * us. */
int denied_ask_io_uring(void);
/* Asks the same about mbind(2). */
int denied_ask_memory_policy(void);
/* Whether "/" is a mount point, as pivot_root(2) and mount_setattr(2) require. True if the kernel
 * (before 5.8) does not say. */
bool denied_root_is_mount(void);

#endif
