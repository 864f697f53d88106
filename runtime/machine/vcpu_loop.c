/* SPDX-License-Identifier: MIT */
/* The run loop: KVM_RUN, and a table of what to do with each kind of exit.
 *
 * Leaving the guest on demand: the control thread stores `want`, then sets immediate_exit, then
 * sends the kick signal. The vCPU clears immediate_exit, then reads `want`. Both orders are
 * sequentially consistent, so a request is seen either here or by KVM_RUN, which then returns at
 * once with EINTR. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/futex.h"
#include "base/uses.h"
#include "base/wake.h"
#include "machine/machine.h"

#define AGAIN_MAX 1000

#define EXIT(reason_) [reason_] = #reason_

static const char *const exit_names[] = {
	EXIT(KVM_EXIT_UNKNOWN),
	EXIT(KVM_EXIT_EXCEPTION),
	EXIT(KVM_EXIT_IO),
	EXIT(KVM_EXIT_HYPERCALL),
	EXIT(KVM_EXIT_DEBUG),
	EXIT(KVM_EXIT_HLT),
	EXIT(KVM_EXIT_MMIO),
	EXIT(KVM_EXIT_IRQ_WINDOW_OPEN),
	EXIT(KVM_EXIT_SHUTDOWN),
	EXIT(KVM_EXIT_FAIL_ENTRY),
	EXIT(KVM_EXIT_INTR),
	EXIT(KVM_EXIT_SET_TPR),
	EXIT(KVM_EXIT_TPR_ACCESS),
	EXIT(KVM_EXIT_NMI),
	EXIT(KVM_EXIT_INTERNAL_ERROR),
	EXIT(KVM_EXIT_SYSTEM_EVENT),
	EXIT(KVM_EXIT_IOAPIC_EOI),
	EXIT(KVM_EXIT_X86_RDMSR),
	EXIT(KVM_EXIT_X86_WRMSR),
	EXIT(KVM_EXIT_X86_BUS_LOCK),
};

const char *vcpu_exit_name(uint32_t reason)
{
	if (reason < ARRAY_SIZE(exit_names) && exit_names[reason])
		return exit_names[reason];
	return "KVM_EXIT_?";
}

void machine_wake_control(struct machine *machine)
{
	SANDBOX_USES(vcpu, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	SANDBOX_USES(io, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	(void)wake_eventfd(machine->wake_fd);
}

void machine_end_from(struct vcpu *vcpu, enum machine_end end, uint64_t detail)
{
	struct machine *machine = vcpu->machine;
	uint32_t none = MACHINE_END_NONE;

	/* `end` is stored last: a thread that reads it (acquire) sees the other fields too. */
	if (atomic_exchange(&machine->ending, true))
		return;
	machine->end_exit = vcpu->run->exit_reason;
	machine->end_detail = detail;
	vcpu_capture(vcpu);
	atomic_store_explicit(&machine->end_vcpu, vcpu->index, memory_order_relaxed);
	atomic_compare_exchange_strong(&machine->end, &none, end);
	machine_wake_control(machine);
}

/* Acts on what a register write asked for, once the write is done. */
static bool heed_acpi(struct vcpu *vcpu)
{
	static const enum machine_end ends[] = {
		[ACPI_REQUEST_POWER_OFF] = MACHINE_END_POWER_OFF,
		[ACPI_REQUEST_RESET] = MACHINE_END_RESET,
	};
	struct machine *machine = vcpu->machine;
	uint32_t request = atomic_load_explicit(&machine->acpi.request, memory_order_relaxed);

	if (request != ACPI_REQUEST_NONE) {
		machine_end_from(vcpu, ends[request], 0);
		return false;
	}
	if (atomic_load_explicit(&machine->acpi.panicked, memory_order_relaxed) &&
	    !atomic_exchange(&machine->panic_told, true))
		machine_wake_control(machine);
	return true;
}

/* Port I/O: a string instruction moves `count` items through one port. */
static bool exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(&vcpu->machine->ports, run->io.port, data, run->io.size);
		else
			bus_read(&vcpu->machine->ports, run->io.port, data, run->io.size);
	}
	return heed_acpi(vcpu);
}

static bool exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (!run->mmio.is_write) {
		bus_read(&vcpu->machine->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
		return true;
	}
	bus_write(&vcpu->machine->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	return heed_acpi(vcpu);
}

/* Happens only without local APICs, that is for flat images: this vCPU has nothing more to do. */
static bool exit_hlt(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;

	if (vcpu->index == 0)
		vcpu_capture(vcpu);
	if (atomic_fetch_add(&machine->halted, 1) + 1 == machine->vcpu_count)
		machine_end_from(&machine->vcpus[0], MACHINE_END_HALTED, 0);
	return false;
}

static bool exit_shutdown(struct vcpu *vcpu)
{
	machine_end_from(vcpu, MACHINE_END_TRIPLE_FAULT, 0);
	return false;
}

static bool exit_internal_error(struct vcpu *vcpu)
{
	machine_end_from(vcpu, MACHINE_END_VCPU_FAILED, vcpu->run->internal.suberror);
	return false;
}

static bool exit_fail_entry(struct vcpu *vcpu)
{
	machine_end_from(vcpu, MACHINE_END_VCPU_FAILED,
	                 vcpu->run->fail_entry.hardware_entry_failure_reason);
	return false;
}

static bool exit_system_event(struct vcpu *vcpu)
{
	static const enum machine_end ends[] = {
		[KVM_SYSTEM_EVENT_SHUTDOWN] = MACHINE_END_POWER_OFF,
		[KVM_SYSTEM_EVENT_RESET] = MACHINE_END_RESET,
		[KVM_SYSTEM_EVENT_CRASH] = MACHINE_END_PANIC,
	};
	uint32_t type = vcpu->run->system_event.type;

	machine_end_from(vcpu,
	                 type < ARRAY_SIZE(ends) && ends[type] ? ends[type]
	                                                       : MACHINE_END_VCPU_FAILED,
	                 type);
	return false;
}

static bool exit_nothing(struct vcpu *vcpu)
{
	(void)vcpu;
	return true;
}

/* Each function returns whether the vCPU goes on. An exit without a row fails the vCPU. */
static bool (*const exit_table[])(struct vcpu *) = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_HLT] = exit_hlt,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
	[KVM_EXIT_INTR] = exit_nothing,
	/* The I/O APIC has no level-triggered pins: nothing waits for the EOI. */
	[KVM_EXIT_IOAPIC_EOI] = exit_nothing,
};

bool vcpu_dispatch(struct vcpu *vcpu)
{
	uint32_t reason = vcpu->run->exit_reason;
	_Atomic uint64_t *count = &vcpu->stats.exits[MIN(reason, VCPU_EXIT_KINDS - 1u)];

	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
	                      memory_order_relaxed);
	if (reason < ARRAY_SIZE(exit_table) && exit_table[reason])
		return exit_table[reason](vcpu);
	machine_end_from(vcpu, MACHINE_END_VCPU_FAILED, reason);
	return false;
}

/* Parks while the crew pauses, or for good if `want` is STOP or this vCPU has ended. Returns
 * whether to go on. */
static bool park(struct vcpu *vcpu, bool ended)
{
	struct machine *machine = vcpu->machine;
	uint32_t want;

	atomic_store(&vcpu->parked, true);
	atomic_fetch_add(&machine->parked, 1);
	machine_wake_control(machine);
	while ((want = atomic_load(&machine->want)) != MACHINE_STOP &&
	       (ended || want == MACHINE_PAUSE))
		futex_wait(&machine->want, want);
	if (want == MACHINE_STOP)
		return false;
	atomic_fetch_sub(&machine->parked, 1);
	atomic_store(&vcpu->parked, false);
	/* Tells the guest's watchdogs that time stood still. It fails if the guest has no kvmclock,
	 * and then does not matter. */
	SANDBOX_USES(vcpu, ioctl, arg0 == VCPU_FD && arg1 == KVM_KVMCLOCK_CTRL && arg2 == 0);
	(void)ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	return true;
}

/* Whether to call KVM_RUN again after it has failed with `error`. For a vCPU that waits for INIT
 * and SIPI, EAGAIN means that something woke it, which may happen as often as the guest likes. For
 * another vCPU it means that KVM lacks a resource for now; if AGAIN_MAX calls in a row fail
 * (microseconds each), it never gets it. */
static bool run_again(struct vcpu *vcpu, uint32_t *again, int error)
{
	if (error == EAGAIN)
		return vcpu->waits || ++*again < AGAIN_MAX;
	*again = 0;
	return error == EINTR;
}

void vcpu_loop(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	uint32_t again = 0; /* EAGAIN in a row */
	bool go_on = true;

	for (;;) {
		if (!go_on || atomic_load(&machine->want) != MACHINE_RUN) {
			if (!park(vcpu, !go_on))
				return;
			vcpu->run->immediate_exit = 0;
			atomic_thread_fence(memory_order_seq_cst);
			continue;
		}
		SANDBOX_USES(vcpu, ioctl, arg0 == VCPU_FD && arg1 == KVM_RUN && arg2 == 0);
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
			again = 0;
			vcpu->waits = false;
			go_on = vcpu_dispatch(vcpu);
		} else if (run_again(vcpu, &again, errno)) {
			vcpu->run->immediate_exit = 0;
			atomic_thread_fence(memory_order_seq_cst);
		} else {
			vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
			machine_end_from(vcpu, MACHINE_END_VCPU_FAILED, (uint64_t)errno);
			go_on = false;
		}
		if (atomic_load_explicit(&machine->ending, memory_order_relaxed))
			go_on = false;
	}
}
