/* SPDX-License-Identifier: MIT */
/* The state that the steps of the sandbox keep for later steps and for the read-back. */
#ifndef AXVM_SANDBOX_STATE_H
#define AXVM_SANDBOX_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/problem.h"

/* The uid and the gid of a shim that was started as root with a spec that names neither: above
 * every range that distributions and container managers assign, below 2^31 (README.md). */
#define SANDBOX_DEFAULT_ID 2000000077u

/* The kernel sends it when the launcher dies, if the spec asks for that; the signalfd delivers
 * it. */
#define SANDBOX_LAUNCHER_DIED SIGUSR2

#define SANDBOX_NOT_AVAILABLE_MAX 16
#define SANDBOX_STEPS_MAX 24
#define SANDBOX_INHERITED_MAX 20
#define SANDBOX_INHERITED_SIZE 96

enum sandbox_namespace {
	SANDBOX_USER_NAMESPACE,
	SANDBOX_MOUNT_NAMESPACE,
	SANDBOX_NET_NAMESPACE,
	SANDBOX_IPC_NAMESPACE,
	SANDBOX_UTS_NAMESPACE,
	SANDBOX_CGROUP_NAMESPACE,
	SANDBOX_NAMESPACES_COUNT,
};

struct sandbox_config {
	bool has_uid, has_gid; /* else SANDBOX_DEFAULT_ID; both only as root */
	uint32_t uid, gid;
	bool stop_with_launcher;
	uint64_t file_size; /* bytes that a file may grow to; 0: none grows (limits.c) */
	/* Attributes that the spec has set by stage confine, so they are not inherited
	 * (inherited.h). */
	bool realtime, own_cores;
};

/* The thread that makes namespaces ahead of time (nest.c). */
struct sandbox_nest {
	bool begun;
	pthread_t thread;
	_Atomic uint32_t state;
	char task[32]; /* its directory below /proc/self */
	int result;
	struct problems problems;
};

/* What the steps did, and what the read-back must find. Zero it, then call sandbox_arrive(). One
 * thread. */
struct sandbox {
	pid_t launcher; /* 0: in another PID namespace */
	struct sandbox_config config;
	bool privileged; /* started with the capabilities that the steps need */
	struct sandbox_nest nest;
	bool namespaced;  /* false only where an ordinary user may have no user namespace */
	uint32_t taken;   /* steps, by sandbox_prepare(); a bit each */
	int result_ahead; /* -errno of the first of them that failed */
	struct problem problem_ahead;
	int proc_fd;     /* /proc/self at PROC_FD, until the read-back is done; -1: closed */
	int landlock_fd; /* the ruleset of sandbox_close_files(); -1: closed */
	int landlock_abi;
	ino_t launcher_namespaces[SANDBOX_NAMESPACES_COUNT];
	uint32_t inherited_filters; /* seccomp filters of the launcher's making */
	uint32_t uid, gid;          /* as the launcher's user namespace has them */
	bool writes_refused_exec;   /* PR_MDWE_REFUSE_EXEC_GAIN is in force */
	uint32_t inherited_layout;  /* flags of the personality that this image was loaded under */
	uint32_t inherited_nothing; /* rows that had the usual value in stage arrive; a bit each */
	/* "NAME: VALUE" (inherited.h) */
	char inherited[SANDBOX_INHERITED_MAX][SANDBOX_INHERITED_SIZE];
	size_t inherited_count;
	const char *not_available[SANDBOX_NOT_AVAILABLE_MAX];
	size_t not_available_count;
	uint64_t step_ns[SANDBOX_STEPS_MAX]; /* of each sandbox_confine_step() */
};

/* Names a step that could not be taken; a constant string. */
void sandbox_not_available(struct sandbox *sandbox, const char *name);

#endif
