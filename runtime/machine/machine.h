/* SPDX-License-Identifier: MIT */
/* The machine: a VM, its buses and its vCPUs, and how they stop together. */
#ifndef AXVM_MACHINE_MACHINE_H
#define AXVM_MACHINE_MACHINE_H

#include "base/gate.h"
#include "bus/bus.h"
#include "machine/acpi_registers.h"
#include "machine/ioapic.h"
#include "machine/kvm_stats.h"
#include "machine/legacy_ports.h"
#include "machine/vcpu.h"
#include "machine/vm.h"

#define MACHINE_VCPUS_MAX 255

/* What the vCPU threads are asked to do. */
enum machine_want { MACHINE_RUN, MACHINE_PAUSE, MACHINE_STOP };

/* How a guest ended; the numbers are those of axvm.v1.Outcome. */
enum machine_end {
	MACHINE_END_NONE = 0,
	MACHINE_END_POWER_OFF = 1,
	MACHINE_END_HALTED = 2,
	MACHINE_END_RESET = 3,
	MACHINE_END_TRIPLE_FAULT = 4,
	MACHINE_END_PANIC = 5,
	MACHINE_END_VCPU_FAILED = 6,
};

struct machine {
	struct vm vm;
	struct guest_memory memory;
	struct bus ports;
	struct bus mmio;
	struct ioapic ioapic;
	struct acpi_registers acpi;
	struct legacy_ports legacy;
	struct kvm_stats stats; /* written before the seal */
	uint32_t vcpu_count;
	struct vcpu vcpus[MACHINE_VCPUS_MAX];

	pid_t pid;                 /* of the process, for kicks */
	int wake_fd;               /* eventfd of the control thread, borrowed */
	_Atomic uint32_t want;     /* enum machine_want; a futex */
	_Atomic uint32_t end;      /* enum machine_end; the first one stands */
	_Atomic uint32_t end_vcpu; /* index of the vCPU that ended it */
	_Atomic uint32_t halted;   /* vCPUs of a flat image that have executed HLT */
	_Atomic uint32_t parked;   /* vCPU threads parked; a futex */
	_Atomic bool ending;       /* an end is being recorded, or has been */
	_Atomic bool panic_told;   /* the control thread was woken for acpi.panicked */
	uint32_t end_exit;         /* KVM exit reason and detail of the end */
	uint64_t end_detail;
};

/* Ends the machine from a vCPU thread: the first end is kept, the control thread is woken. */
void machine_end_from(struct vcpu *vcpu, enum machine_end end, uint64_t detail);

/* Wakes the control thread. Any thread. */
void machine_wake_control(struct machine *machine);

/* Asks all vCPU threads to run, pause or stop, and kicks those that are in the guest. Control
 * thread. Returns at once; machine_all_parked() tells when all have stopped or paused. */
void machine_ask(struct machine *machine, enum machine_want want);
bool machine_all_parked(const struct machine *machine);

/* The signal that kicks a vCPU out of the guest; its handler does nothing. */
#define MACHINE_KICK_SIGNAL SIGUSR1

#endif
