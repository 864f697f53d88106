/* SPDX-License-Identifier: MIT */
/* A host that denies: runs a command under a seccomp filter as the profile of a container has it.
 *
 *   deny WHAT... -- COMMAND [ARGUMENT]...
 *
 * WHAT is io_uring, io_uring_register, namespaces, mounts or mbind, each with an errno if it is not
 * EPERM: io_uring:ENOSYS. namespaces: unshare(2) and clone(2) with any flag that makes one;
 * clone3(2), whose flags no filter sees, is answered with ENOSYS, and the C library then takes
 * clone(2). */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"

/* NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
#define NEW_NAMESPACES 0x7e020000u
#define INSTRUCTIONS_MAX 128

enum { STATUS_CANNOT = 99 };

static const struct {
	const char *what;
	long nr;
	bool by_flags; /* only where the first argument has one of NEW_NAMESPACES */
	int error;     /* 0: the one that was asked for */
} calls[] = {
	{ "io_uring", SYS_io_uring_setup, false, 0 },
	{ "io_uring", SYS_io_uring_enter, false, 0 },
	{ "io_uring", SYS_io_uring_register, false, 0 },
	{ "io_uring_register", SYS_io_uring_register, false, 0 },
	{ "namespaces", SYS_unshare, true, 0 },
	{ "namespaces", SYS_clone, true, 0 },
	{ "namespaces", SYS_clone3, false, ENOSYS },
	{ "mounts", SYS_fsopen, false, 0 },
	{ "mounts", SYS_mount, false, 0 },
	{ "mbind", SYS_mbind, false, 0 },
};

static struct sock_filter program[INSTRUCTIONS_MAX];
static unsigned short length;

static void add(struct sock_filter instruction)
{
	if (length == INSTRUCTIONS_MAX)
		_exit(STATUS_CANNOT);
	program[length++] = instruction;
}

#define LOAD(field_)                                                                               \
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                                 \
	                                 offsetof(struct seccomp_data, field_)))

static void deny_call(size_t i, int error)
{
	unsigned action = SECCOMP_RET_ERRNO | (unsigned)(calls[i].error ? calls[i].error : error);

	LOAD(nr);
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].nr, 0,
	                                 calls[i].by_flags ? 3 : 1));
	if (calls[i].by_flags) {
		LOAD(args[0]);
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1));
	}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static int errno_of(const char *name)
{
	static const int known[] = { EPERM, ENOSYS, EACCES, ENOMEM };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(strerrorname_np(known[i]), name) == 0)
			return known[i];
	return 0;
}

/* "WHAT" or "WHAT:ERRNO"; false when there is no such thing. */
static bool deny(char *what)
{
	char *colon = strchr(what, ':');
	int error = colon ? errno_of(colon + 1) : EPERM;
	bool known = false;

	if (colon)
		*colon = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(calls) && error; i++)
		if (strcmp(calls[i].what, what) == 0) {
			deny_call(i, error);
			known = true;
		}
	return known;
}

int main(int argc, char **argv)
{
	struct sock_fprog filter = { .filter = program };
	int i = 1;

	LOAD(arch);
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	for (; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!deny(argv[i])) {
			fprintf(stderr, "deny: what is %s?\n", argv[i]);
			return STATUS_CANNOT;
		}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	filter.len = length;
	if (i + 1 >= argc)
		return STATUS_CANNOT;
	/* An ordinary user may only with no new privileges; root keeps what an exec would give. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0 &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	     syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)) {
		perror("deny: seccomp");
		return STATUS_CANNOT;
	}
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return STATUS_CANNOT;
}
