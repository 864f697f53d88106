/* SPDX-License-Identifier: MIT */
/* The shim: one process, one VM, and the stages of its life.
 *
 * Everything a stage needs lies in `struct shim`, of which there is one, static: its pages are
 * touched only as far as used, and nothing is allocated for it. */
#ifndef AXVM_SHIM_SHIM_H
#define AXVM_SHIM_SHIM_H

#include "base/burst.h"
#include "base/gate.h"
#include "base/problem.h"
#include "base/sha256.h"
#include "boot/boot.h"
#include "host/admit.h"
#include "host/claims.h"
#include "host/placement.h"
#include "interface/arena.h"
#include "interface/event_writer.h"
#include "interface/spec.h"
#include "interface/stream.h"
#include "interface/thread_record.h"
#include "machine/cpuid.h"
#include "machine/machine.h"
#include "machine/ram.h"
#include "machine/topology.h"
#include "sandbox/confine.h"
#include "sandbox/death.h"
#include "shim/device/state.h"
#include "shim/lifecycle.h"
#include "shim/metrics_state.h"
#include "shim/plan_state.h"
#include "shim/stages.h"

/* Resources named by the spec, opened or taken over, but for those of devices; -1: none. */
struct shim_resources {
	int kernel, initrd, image;
};

/* vCPUs, and as many I/O threads as there can be. */
#define SHIM_THREADS_MAX (MACHINE_VCPUS_MAX + SPEC_IO_THREADS_MAX)
#define SHUTDOWN_WHY_SIZE 160

/* How far the end of the VM has come. */
struct shim_shutdown {
	struct burst request; /* the press of the power button, and what else asks for the same */
	bool signalled;       /* a signal has asked for the end: a later one stops */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	bool stop;            /* stop now */
	const char *why;      /* for the terminal event */
	char no_button[SHUTDOWN_WHY_SIZE]; /* `why`, where there is no button to press */
	uint64_t panic_deadline_ns;
	bool panicked;
};

/* A pause on its way: vCPUs first, then devices, then the reply. */
struct shim_pause {
	bool wanted, devices_asked, reply_due;
	uint64_t request_id;
};

/* Of a shim that has a plan to tell, and no VM to launch. */
struct shim_planning {
	bool asked;   /* for a plan: no launch */
	bool here;    /* for this host; else shim->facts are of another */
	bool told;    /* the event has been sent */
	char *claims; /* owned: the folder to look at where the spec names none; NULL: none */
};

struct shim {
	struct vm_spec spec;
	struct stream stream;
	struct problems problems;
	struct event_writer events;
	struct sandbox sandbox;
	struct sandbox_death_desk desk;
	const struct sandbox_death *death; /* of the first thread that made a denied call */

	struct host_facts *facts; /* owned; until confine */
	uint64_t facts_ns;        /* when they were read */
	struct placement placement;
	struct ram_placement ram;
	/* From what of the verdict was optional to the plan's digest: of the launch alone, zero
	 * from the seal on (sealing_finish()). */
	struct verdict verdict;
	struct profile profile;
	struct claims claims; /* in stage acquire */
	struct guest_topology topology;
	struct cpuid_config cpuid_config;
	struct cpuid_table cpuid;
	struct boot_entry entry;
	struct machine_plan plan;

	int kvm_fd;
	int wake_fd, signal_fd, epoll_fd;
	struct shim_resources resources;
	struct machine machine;
	struct shim_devices devices;
	struct host_named vulnerabilities[FACTS_VULNERABILITIES_MAX];
	size_t vulnerabilities_count;
	char kernel_digest[SHA256_HEX_SIZE], initrd_digest[SHA256_HEX_SIZE]; /* "": not asked for */
	_Atomic uint32_t staffed;  /* threads that have made what they need; a futex */
	_Atomic uint32_t expected; /* threads, of which the last to be staffed or sealed tells */
	struct gate gate;          /* where threads arrive sealed; opened in run */
	/* where vCPU 0 waits to try KVM_RUN; opened when the threads have been counted */
	struct gate trial;
	uint32_t threads;                               /* started, that is expected at the gate */
	struct thread_record records[SHIM_THREADS_MAX]; /* of those, in the order of their start */

	enum axvm_stage stage; /* the one in progress */
	uint64_t stage_ns[STAGES_COUNT];
	bool running; /* the guest has been let go */
	struct lifecycle lifecycle;
	struct shim_pause pause;
	struct shim_metrics metrics;
	struct arena command_arena;
	bool control_is_file; /* fd 3 is a regular file: it is read, never waited for */
	bool control_ended;
	bool reply_kept; /* room for the reply to the next command */
	struct shim_shutdown shutdown;
	struct shim_planning planning;
};

#endif
