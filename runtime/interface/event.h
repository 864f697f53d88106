/* SPDX-License-Identifier: MIT */
/* Events from plain C: one function each. Fields are those of the schema's messages of the same
 * name; strings may be NULL and are mended where they are not UTF-8. Any thread; nothing is
 * allocated. Each returns what event_writer_put() does, or -E2BIG when a list exceeds its bound. */
#ifndef AXVM_INTERFACE_EVENT_H
#define AXVM_INTERFACE_EVENT_H

#include "base/base.h"
#include "base/problem.h"
#include "base/named.h"
#include "interface/event_writer.h"
#include "interface/outcome.h"
#include "interface/stage.h"
#include "interface/thread_record.h"

#define EVENT_REQUIREMENTS_MAX 64
#define EVENT_NODES_MAX 8
#define EVENT_NAMES_MAX 32
#define EVENT_FDS_MAX 1024
#define EVENT_VCPUS_MAX 255
#define EVENT_THREADS_MAX (EVENT_VCPUS_MAX + 16) /* and as many I/O threads as there can be */
#define EVENT_CODE_MAX 16
#define EVENT_VULNERABILITIES_MAX 40
#define EVENT_COUNTERS_MAX 1024
#define EVENT_HISTOGRAMS_MAX 40
#define EVENT_BOUNDS_MAX 32
#define EVENT_METRIC_NAME_MAX 112
/* What a reply without a report may take when it is encoded: room for it is kept before its command is read. */
#define EVENT_REPLY_BYTES 768
/* What a report may take when it is encoded: an event of which there is never room for is of no use. */
#define EVENT_REPORT_BYTES_MAX (EVENT_RING_SIZE - 4096)

struct event_requirement {
	const char *name, *asked, *found;
	bool met, waived;
};

struct event_placed_node {
	uint32_t guest_node, host_node;
	uint64_t pages_4k, pages_2m, pages_1g, remote_pages;
};

struct event_sealed_role {
	const char *role;
	uint32_t threads, instructions;
};

struct event_sealed {
	uint32_t threads, uid, gid;
	bool no_new_privs, dumpable, capabilities_empty;
	int32_t landlock_abi;
	const char *policy_sha256;
	const char *const *namespaces, *const *not_available, *const *inherited;
	size_t namespaces_count, not_available_count, inherited_count;
	bool securebits_locked, memory_deny_write_execute, launcher_death_told;
	uint32_t rings_restricted;
	const uint64_t *namespace_inodes; /* as many as namespaces */
	const struct event_sealed_role *roles;
	size_t roles_count;
	const uint32_t *fds;
	size_t fds_count;
};

struct event_vcpu_placement {
	uint32_t index, apic_id, host_cpu, host_node;
};

struct event_running {
	const char *profile, *machine_sha256, *kernel_sha256, *initrd_sha256, *version;
	bool development, pinned, claimed; /* not pinned: no thread's host CPU is told */
	const struct event_requirement *waived;
	size_t waived_count;
	const struct event_vcpu_placement *vcpus;
	size_t vcpus_count;
	const struct thread_record *threads;
	size_t threads_count;
	const struct host_named *vulnerabilities;
	size_t vulnerabilities_count;
};

struct event_counter {
	char name[EVENT_METRIC_NAME_MAX]; /* "disk.root.reads" */
	uint64_t value;
};

struct event_histogram {
	char name[EVENT_METRIC_NAME_MAX]; /* "disk.root.latency_ns" */
	const uint64_t *bounds;           /* upper ones, ascending */
	size_t bounds_count;
	uint64_t counts[EVENT_BOUNDS_MAX + 1]; /* one more than there are bounds */
	uint64_t sum;
};

struct event_report {
	const struct event_counter *counters;
	size_t counters_count;
	const struct event_histogram *histograms;
	size_t histograms_count;
};

struct event_reply {
	uint64_t request_id;
	const struct problem *error; /* NULL: ok */
	enum axvm_stage stage;
	enum axvm_state state;
	const struct event_report *report; /* of a metrics command; NULL: none */
};

struct event_balloon_settled {
	uint64_t request_id, target_mib, actual_mib;
	bool reached;
};

/* A vCPU when it ended the VM. */
struct event_vcpu {
	uint32_t index;
	const char *exit_reason; /* "KVM_EXIT_HLT" */
	uint64_t exit_detail;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags, cr0, cr2, cr3, cr4, efer;
	uint32_t cs_selector, cpl;
	bool cs_is_64bit; /* CS.L and EFER.LMA */
	uint8_t code[EVENT_CODE_MAX];
	size_t code_length; /* 0: could not be read */
};

struct event_death {
	const char *role, *syscall_name, *policy_sha256;
	int32_t thread_id, syscall_number;
	uint64_t instruction_pointer;
	const char *ring_refusal; /* not NULL: a submission, and no system call */
	uint32_t ring_opcode;
	const char *ring_opcode_name;
	const char *lost_page; /* not NULL: a page that could not be had, and no system call */
	uint64_t lost_address;
};

struct event_terminal {
	enum axvm_outcome outcome;
	enum axvm_stage stage;                /* in which it ended */
	const struct problems *problems; /* may be NULL */
	const char *message;             /* NULL: made of the rest */
	const struct event_vcpu *vcpu;   /* may be NULL */
	const struct event_death *death; /* may be NULL */
	uint64_t stage_ns[STAGES_COUNT]; /* by enum axvm_stage; 0: not completed */
	uint64_t console_bytes_dropped;
};

int event_stage_completed(struct event_writer *w, enum axvm_stage stage, uint64_t duration_ns);
int event_host_refused(struct event_writer *w, const char *profile,
                       const struct event_requirement *requirements, size_t count);
int event_memory_placed(struct event_writer *w, const struct event_placed_node *nodes, size_t count,
                        uint64_t remote_pages);
int event_sealed(struct event_writer *w, const struct event_sealed *sealed);
int event_running(struct event_writer *w, const struct event_running *running);
int event_state_changed(struct event_writer *w, enum axvm_state from, enum axvm_state to,
                        const char *reason);
int event_device_failed(struct event_writer *w, const char *device_id, int queue, int error_number,
                        bool needs_reset, const char *message, uint64_t suppressed);
int event_guest_panicked(struct event_writer *w, const char *message);
int event_balloon_settled(struct event_writer *w, const struct event_balloon_settled *settled);
/* Uses the EVENT_REPLY_BYTES that were kept for it (event_writer_put_kept). A reply with a report can be larger:
 * -ENOBUFS then, and nothing has happened. */
int event_reply(struct event_writer *w, const struct event_reply *reply);
int event_metrics(struct event_writer *w, const struct event_report *report);

/* The last event, once (-EALREADY after that). *ret_status is the exit status it states; it is set
 * in every case. To be followed by event_finish(). */
int event_terminal(struct event_writer *w, const struct event_terminal *terminal, int *ret_status);

#endif
