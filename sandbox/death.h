/* SPDX-License-Identifier: MIT */
/* The death record: which thread made which denied system call from where, which submission an
 * io_uring refused, or which page of memory was not available (SIGBUS).
 *
 * Why a denied call is trapped rather than killed at once, and who writes the record:
 * sandbox/README.md. */
#ifndef AXVM_SANDBOX_DEATH_H
#define AXVM_SANDBOX_DEATH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/policy.h"

/* A submission that the restrictions of an io_uring refused. The strings are constant. */
struct sandbox_ring_breach {
	uint8_t opcode;
	const char *name; /* of the opcode, or NULL */
	const char *what; /* was wrong with it; NULL: there is no breach */
};

/* A page that was not available when it was touched. `what` is constant; NULL: there is none. */
struct sandbox_lost_page {
	uint64_t address; /* in this process */
	const char *what;
};

struct sandbox_death {
	enum sandbox_role role;
	pid_t tid;
	int32_t nr; /* the denied call; its name: sandbox_syscall_name() */
	uint32_t arch;
	uint64_t instruction_pointer; /* of the instruction after the system call */
	/* If ring.what is set, the record is of a refused submission; nr, arch and
	 * instruction_pointer are then meaningless. */
	struct sandbox_ring_breach ring;
	/* Likewise for a lost page, except that instruction_pointer is that of the access. */
	struct sandbox_lost_page lost;
};

/* The process's one place for a death record. It must outlive every sealed thread, so use static
 * storage. Zero it and set report, cookie and exit_status before sandbox_death_install(). */
struct sandbox_death_desk {
	/* Writes the terminal event for a denied call of the control thread itself. Runs on that
	 * thread inside the SIGSYS handler: async-signal-safe, and within the control policy. May
	 * be NULL. */
	void (*report)(const struct sandbox_death *death, void *cookie);
	void *cookie;
	int exit_status;      /* of the process, when a handler ends it */
	int lost_page_status; /* the same, for a page that could not be had */

	/* Private. */
	_Atomic uint32_t state;
	uint32_t parked; /* the futex on which dead threads wait; always 0 */
	struct sandbox_death record;
};

/* Installs the handlers of SIGSYS and of SIGBUS. Call once, in stage confine or before, and unblock
 * both. Returns 0 or -errno. */
int sandbox_death_install(struct sandbox_death_desk *desk);

/* Tells the handler who the calling thread is. Every thread calls it just before
 * sandbox_seccomp_seal(). */
void sandbox_death_take_seat(struct sandbox_death_desk *desk, enum sandbox_role role);

/* Leaves a record that the calling thread's ring refused a submission that our code never makes,
 * and parks the thread for good. The thread has its seat and is not control. */
__attribute__((noreturn)) void sandbox_death_by_ring(const struct sandbox_ring_breach *breach);

/* Returns the record of the first thread that died, or NULL. The control loop calls it whenever
 * CONTROL_WAKE_FD was readable. The dead thread stays parked; the caller writes the terminal event
 * and ends the process. */
const struct sandbox_death *sandbox_death_pending(struct sandbox_death_desk *desk);

/* The record as one line without a newline, NUL-terminated and cut to size: vcpu thread 1234:
 * system call openat (257) denied at 0x7f0012345678, policy 0123abcd... vcpu thread 1234: SIGBUS at
 * 0x7f0012345678: no page could be had, policy 0123abcd... io thread 1235: io_uring operation
 * OPENAT (18) refused, a forbidden opcode, policy 0123abcd... Returns the length.
 * Async-signal-safe. size > 0. */
size_t sandbox_death_format(const struct sandbox_death *death, char *text, size_t size);

#endif
