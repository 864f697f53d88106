/* SPDX-License-Identifier: MIT */
/* One vCPU: a thread of its own that creates it, sets its state, and runs it.
 *
 * The thread creates its own vCPU on its own CPU, so that KVM allocates the per-vCPU state on the
 * right node. Life: create → (gate) → sealed → (gate) → run loop, in which it only dispatches the
 * rare exit. Each turn of the loop reads machine.want: RUN, PAUSE (park until it changes) or
 * STOP. */
#ifndef AXVM_MACHINE_VCPU_H
#define AXVM_MACHINE_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/problem.h"
#include "guest/memory.h"
#include "machine/cpuid.h"
#include "machine/topology.h"
#include "machine/vm.h"

struct bus;
struct machine;

enum vcpu_start {
	VCPU_WAITS,     /* for INIT and SIPI, as a PC's secondary processors do */
	VCPU_LONG_MODE, /* 64-bit, paging on */
	VCPU_PROTECTED, /* 32-bit, paging off (PVH) */
};

/* The state in which a vCPU starts. */
struct vcpu_entry {
	enum vcpu_start start;
	uint64_t rip, rsp, rdi, rsi, rdx, rbx;
	gpa_t page_table;
	gpa_t gdt;
	uint16_t gdt_limit;
	uint16_t code_selector, data_selector;
};

/* KVM_EXIT_* numbers below this are counted one by one. */
#define VCPU_EXIT_KINDS 48

struct vcpu_stats {
	_Atomic uint64_t exits[VCPU_EXIT_KINDS]; /* written by the vCPU's thread alone */
};

struct vcpu {
	uint32_t index;
	uint32_t apic_id;
	int host_cpu;  /* pinned there; -1: not pinned */
	int host_node; /* of that CPU; -1: unknown */
	int fd;        /* in the vCPU thread's own descriptor table */
	int shared_fd; /* in the process's table, until the thread has its own */
	struct kvm_run *run;
	struct machine *machine;
	const struct vm *vm; /* the machine's */
	pthread_t thread;
	_Atomic pid_t tid;
	_Atomic bool parked;
	bool waits;    /* for INIT and SIPI; until its first exit */
	bool captured; /* regs and sregs hold the final state */
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t code[16]; /* bytes at RIP */
	size_t code_length;
	struct vcpu_stats stats;
	struct problems problems; /* of this thread's creation and sealing */
	/* creation failed: the thread does not seal, and `problems` is final */
	bool unmade;
};

/* Creates the vCPU in KVM and sets its whole state. On the vCPU's own thread; -errno with a
 * problem. */
int vcpu_create(struct vcpu *vcpu, const struct vcpu_entry *entry, const struct cpuid_table *cpuid,
                const struct guest_topology *topology);

/* Calls KVM_RUN without entering the guest. The first KVM_RUN of a VM starts a thread of KVM's own
 * (recovery of huge pages, since Linux 6.13). A limit on threads can deny it, and then every later
 * KVM_RUN fails; here that can still refuse the launch. On the sealed thread of one vCPU, so that
 * KVM's thread inherits its filter; -errno with a problem. */
int vcpu_try_run(struct vcpu *vcpu);

/* Writes the system registers of an entry that does not wait over those after a reset (SDM 3A
 * §9.1). Pure. */
void vcpu_start_state(const struct vcpu_entry *entry, struct kvm_sregs *sregs);

/* Handles the exit in vcpu->run. Returns whether the vCPU goes on. The part of the loop that needs
 * no KVM. */
bool vcpu_dispatch(struct vcpu *vcpu);

/* The run loop; returns when the machine has stopped. Never allocates, opens or maps. */
void vcpu_loop(struct vcpu *vcpu);

/* Reads registers through KVM_RUN itself (immediate exit, synchronised registers), and the code at
 * RIP through the guest's page tables. On the vCPU's own thread. */
void vcpu_capture(struct vcpu *vcpu);

/* The name of a KVM exit: "KVM_EXIT_HLT"; never NULL. */
const char *vcpu_exit_name(uint32_t reason);

#endif
