/* SPDX-License-Identifier: MIT */
/* The fixed numbers of a sealed process: descriptors, and the one signal it sends itself.
 *
 * The seccomp policies name these numbers, so that a rule is (descriptor, request) and the filters
 * are constants. The shim moves each descriptor to its number with dup3() before it seals; policyc
 * and the shim read the same header, so they cannot disagree.
 *
 * A range that a policy names with "in" is an aligned block whose size is a power of two: one
 * masked comparison tests it. */
#ifndef AXVM_SANDBOX_FD_LAYOUT_H
#define AXVM_SANDBOX_FD_LAYOUT_H

#include <assert.h>
#include <signal.h>

#include "interface/spec_values.h"

enum sandbox_fd {
	STDERR_FD = 2,  /* human diagnostics */
	CONTROL_FD = 3, /* axvm.v1.ControlStream, in */
	EVENT_FD = 4,   /* axvm.v1.EventStream, out */
	/* SPEC_FD_FIRST to SPEC_FD_LAST: what the spec names by number */
	INTERNAL_FD_BASE = 896,
	VM_FD = 896,           /* the KVM virtual machine */
	CONTROL_WAKE_FD = 897, /* eventfd: any thread wakes the control loop */
	EPOLL_FD = 898,        /* the control loop waits here and nowhere else */
	SIGNAL_FD = 899,       /* signalfd: SIGTERM and its like */
	VM_STATS_FD = 900,     /* KVM's counters of the VM (KVM_GET_STATS_FD) */
	/* A vCPU thread leaves the shared descriptor table (unshare(CLONE_FILES)) before it seals
	 * and puts its own vCPU here: the number is the same in every vCPU thread, the vCPU is
	 * not. */
	VCPU_FD = 901,
	PROC_FD = 902, /* /proc/self; closed before control seals itself */

	NETS_MAX = 8,
	TAP_FD_BASE = 904, /* a queue of the TAP of net n, for its ioctls */
	TAP_FD_LAST = TAP_FD_BASE + NETS_MAX - 1,

	IO_LOOPS_MAX = 16,
	IO_WAKE_FD_BASE = 912, /* eventfd: wakes I/O loop n */
	IO_WAKE_FD_LAST = IO_WAKE_FD_BASE + IO_LOOPS_MAX - 1,
	IO_RING_FD_BASE = 928, /* io_uring of I/O loop n */
	IO_RING_FD_LAST = IO_RING_FD_BASE + IO_LOOPS_MAX - 1,

	VHOST_FD_BASE = 944, /* vhost-net of net n */
	VHOST_FD_LAST = VHOST_FD_BASE + NETS_MAX - 1,

	VCPU_STATS_MAX = 64,
	VCPU_STATS_FD_BASE = 960, /* KVM's counters of vCPU n; later vCPUs have none */
	VCPU_STATS_FD_LAST = VCPU_STATS_FD_BASE + VCPU_STATS_MAX - 1,

	INTERNAL_FD_LAST = 1023, /* the usual soft RLIMIT_NOFILE less one */
};

/* Bytes in a read from or a write to an eventfd. */
enum { EVENTFD_SIZE = 8 };

/* Makes a vCPU thread leave KVM_RUN; its handler does nothing. Not a real-time signal: glibc
 * decides at run time where those begin, and the policy needs a constant. */
enum { VCPU_KICK_SIGNAL = SIGUSR1 };

static_assert((IO_LOOPS_MAX & (IO_LOOPS_MAX - 1)) == 0, "a block is a power of two");
static_assert(IO_WAKE_FD_BASE % IO_LOOPS_MAX == 0, "a block is aligned");
static_assert(IO_RING_FD_BASE % IO_LOOPS_MAX == 0, "a block is aligned");
static_assert((NETS_MAX & (NETS_MAX - 1)) == 0, "a block is a power of two");
static_assert(TAP_FD_BASE % NETS_MAX == 0, "a block is aligned");
static_assert(VCPU_FD < TAP_FD_BASE && TAP_FD_LAST < IO_WAKE_FD_BASE, "blocks are disjoint");
static_assert(IO_WAKE_FD_LAST < IO_RING_FD_BASE, "blocks are disjoint");
static_assert((VCPU_STATS_MAX & (VCPU_STATS_MAX - 1)) == 0, "a block is a power of two");
static_assert(VCPU_STATS_FD_BASE % VCPU_STATS_MAX == 0, "a block is aligned");
static_assert(VHOST_FD_BASE % NETS_MAX == 0, "a block is aligned");
static_assert(IO_RING_FD_LAST < VHOST_FD_BASE, "blocks are disjoint");
static_assert(VHOST_FD_LAST < VCPU_STATS_FD_BASE, "blocks are disjoint");
static_assert(IO_LOOPS_MAX == SPEC_IO_THREADS_MAX && NETS_MAX == SPEC_NETS_MAX,
              "a spec has as many as there are numbers");
static_assert(SPEC_FD_LAST < INTERNAL_FD_BASE && VCPU_STATS_FD_LAST <= INTERNAL_FD_LAST,
              "nothing of the spec among the internal descriptors");

#endif
