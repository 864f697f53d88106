/* SPDX-License-Identifier: MIT */
/* One virtual machine in KVM: memory slots, interrupt routes, doorbells.
 *
 * Once vCPUs run, only the control thread makes VM ioctls: a vCPU thread's seccomp filter allows no
 * ioctl but KVM_RUN. If a guest's register write needs one (an MSI route, a doorbell that moves),
 * the vCPU thread puts it into the VM's one call slot and waits; the control thread carries it
 * out. */
#ifndef AXVM_MACHINE_VM_H
#define AXVM_MACHINE_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/problem.h"
#include "bus/fabric.h"
#include "guest/memory.h"

/* One vector for each queue and one for configuration changes, over all devices. */
#define VM_MSI_ROUTES_MAX 512

enum vm_call_kind { VM_CALL_ROUTE, VM_CALL_ADD_DOORBELL, VM_CALL_REMOVE_DOORBELL, VM_CALL_SIGNAL };

/* A VM ioctl that a vCPU thread asks for. */
struct vm_call {
	enum vm_call_kind kind;
	uint32_t gsi;
	uint64_t address;
	uint32_t data;
	int eventfd;
	int result;
	_Atomic uint32_t state; /* VM_CALL_FREE, _ASKED, _DONE; a futex */
};

struct vm {
	struct fabric fabric;
	int kvm_fd;
	int fd;
	uint32_t run_size; /* bytes of struct kvm_run and its pages */
	bool has_apic;
	const struct guest_memory *memory;

	/* From here on: only the control thread uses these, or while building the only thread. */
	uint32_t gsis_used;
	uint32_t routes_used;
	struct {
		uint32_t nr, flags;
		struct kvm_irq_routing_entry entries[VM_MSI_ROUTES_MAX];
	} routing;

	pthread_mutex_t call_lock; /* held by the vCPU thread that makes the call */
	struct vm_call call;
	_Atomic bool calls_forwarded; /* set when vCPUs may run */
	int control_wake_fd;
	pthread_t control_thread;
};

/* KVM settings of a VM that a profile asks for. */
struct vm_tuning {
	bool disable_hlt_exits, disable_pause_exits, disable_cstate_exits;
	bool has_halt_poll_ns; /* false: the host's value */
	uint32_t halt_poll_ns;
};

/* Creates the VM and sets its memory slots, then, if `apic`, creates the split interrupt chip. In
 * this order, because a slot change after the chip waits for a grace period (5 to 8 ms). `kvm_fd`
 * is borrowed. -errno with a problem. */
int vm_create(struct vm *vm, int kvm_fd, const struct guest_memory *memory, bool apic,
              struct problems *problems);

/* Applies the settings. Before the first vCPU. -errno with a problem if KVM cannot do it. Linux
 * Documentation/virt/kvm/api.rst §7.13 (KVM_CAP_X86_DISABLE_EXITS) and §7.21
 * (KVM_CAP_HALT_POLL). */
int vm_tune(struct vm *vm, const struct vm_tuning *tuning, struct problems *problems);

/* Makes the caller the control thread: calls from other threads now go to it through
 * `control_wake_fd` (an eventfd, borrowed). */
void vm_forward_calls(struct vm *vm, int control_wake_fd);

/* Carries out the waiting call, if there is one. Control thread only. */
void vm_serve_calls(struct vm *vm);

/* Injects one MSI. Any thread; forwarded to the control thread like the fabric's calls. 0 or
 * -errno. */
int vm_signal_msi(struct vm *vm, uint64_t address, uint32_t data);

#endif
