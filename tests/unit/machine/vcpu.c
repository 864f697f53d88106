/* SPDX-License-Identifier: MIT */
/* A vCPU's exits, made up instead of run into; the state it starts in. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "machine/machine.h"
#include "tests/unit/rig/boot_guest.h"

/* The page that KVM shares, with room for what string I/O moves. */
static union {
	struct kvm_run run;
	uint8_t bytes[8192];
} shared;
static struct machine machine;

/* What the machine's devices were asked. */
static struct access {
	bool write;
	uint64_t offset, value;
	uint32_t width;
} accesses[32];
static size_t accesses_count;

static uint64_t note_read(void *context, uint64_t offset, uint32_t width)
{
	(void)context;
	cr_assert_lt(accesses_count, ARRAY_SIZE(accesses));
	accesses[accesses_count++] = (struct access){ false, offset, 0, width };
	return 0x1122334455667788 + accesses_count;
}

static void note_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	(void)context;
	cr_assert_lt(accesses_count, ARRAY_SIZE(accesses));
	accesses[accesses_count++] = (struct access){ true, offset, value, width };
}

static const struct bus_ops noting = { note_read, note_write };

static struct vcpu *new_vcpu(uint32_t reason)
{
	struct vcpu *vcpu = &machine.vcpus[0];

	if (machine.wake_fd > 0)
		close(machine.wake_fd);
	memset(&machine, 0, sizeof(machine));
	memset(&shared, 0, sizeof(shared));
	accesses_count = 0;
	machine.vcpu_count = 2;
	machine.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (uint32_t i = 0; i < 2; i++)
		machine.vcpus[i] = (struct vcpu){
			.index = i, .fd = -1, .run = &shared.run, .machine = &machine
		};
	cr_assert_eq(bus_add(&machine.ports, 0x100, 16, &noting, NULL), 0);
	cr_assert_eq(bus_add(&machine.mmio, 0xd0000000, 4096, &noting, NULL), 0);
	cr_assert_eq(bus_add(&machine.mmio, LAYOUT_ACPI_REGISTERS, LAYOUT_ACPI_REGISTERS_SIZE,
	                     &acpi_registers_bus_ops, &machine.acpi),
	             0);
	cr_assert_eq(bus_add(&machine.mmio, LAYOUT_PANIC_REGISTER, 1, &panic_register_bus_ops,
	                     &machine.acpi),
	             0);
	cr_assert_eq(bus_add(&machine.ports, LAYOUT_PORT_RESET, 1, &reset_port_bus_ops,
	                     &machine.acpi),
	             0);
	shared.run.exit_reason = reason;
	return vcpu;
}

static uint64_t wakes(void)
{
	uint64_t n = 0;

	return read(machine.wake_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/* ---- port and memory I/O --------------------------------------------------------------------- */

static struct vcpu *io_exit(bool out, uint8_t size, uint32_t count)
{
	struct vcpu *vcpu = new_vcpu(KVM_EXIT_IO);

	shared.run.io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	shared.run.io.size = size;
	shared.run.io.port = 0x104;
	shared.run.io.count = count;
	shared.run.io.data_offset = 4096;
	for (size_t i = 0; i < 64; i++)
		shared.bytes[4096 + i] = (uint8_t)(i + 1);
	return vcpu;
}

/* A string instruction moves its items one after the other, each from or to its own bytes. */
Test(vcpu, string_io_moves_each_item)
{
	for (uint8_t size = 1; size <= 4; size = (uint8_t)(size * 2))
		for (uint32_t count = 1; count <= 5; count += 2) {
			struct vcpu *vcpu = io_exit(true, size, count);

			cr_assert(vcpu_dispatch(vcpu));
			cr_assert_eq(accesses_count, count);
			for (uint32_t i = 0; i < count; i++) {
				cr_assert(accesses[i].write && accesses[i].width == size);
				cr_assert_eq(accesses[i].offset, 4, "the port stays");
				cr_assert_eq(accesses[i].value,
				             get(shared.bytes + 4096 + i * size, size));
			}
			vcpu = io_exit(false, size, count);
			cr_assert(vcpu_dispatch(vcpu));
			cr_assert_eq(accesses_count, count);
			for (uint32_t i = 0; i < count; i++) {
				uint64_t mask = bus_all_ones(size);

				cr_assert(!accesses[i].write && accesses[i].width == size);
				cr_assert_eq(get(shared.bytes + 4096 + i * size, size),
				             (0x1122334455667789 + i) & mask);
			}
			cr_assert_eq(shared.bytes[4096 + count * size], count * size + 1,
			             "and no byte beyond");
		}
}

Test(vcpu, mmio_exits_go_to_the_bus)
{
	struct vcpu *vcpu = new_vcpu(KVM_EXIT_MMIO);

	shared.run.mmio.phys_addr = 0xd0000010;
	shared.run.mmio.len = 8;
	cr_assert(vcpu_dispatch(vcpu));
	cr_assert(accesses_count == 1 && !accesses[0].write && accesses[0].offset == 0x10);
	cr_assert_eq(get(shared.run.mmio.data, 8), 0x1122334455667789);
	shared.run.mmio.is_write = 1;
	shared.run.mmio.len = 2;
	put(shared.run.mmio.data, 0xabcd, 2);
	cr_assert(vcpu_dispatch(vcpu));
	cr_assert(accesses_count == 2 && accesses[1].write && accesses[1].width == 2);
	cr_assert_eq(accesses[1].value, 0xabcd);
	/* Nobody's: all ones. */
	shared.run.mmio.is_write = 0;
	shared.run.mmio.phys_addr = 0xd8000000;
	shared.run.mmio.len = 4;
	cr_assert(vcpu_dispatch(vcpu));
	cr_assert_eq(get(shared.run.mmio.data, 4), 0xffffffff);
	cr_assert_eq(vcpu->stats.exits[KVM_EXIT_MMIO], 3);
	cr_assert_eq(wakes(), 0);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void expect_end(enum machine_end end, uint64_t detail)
{
	cr_assert_eq(machine.end, end, "end %u", machine.end);
	cr_assert_eq(machine.end_detail, detail);
	cr_assert_eq(machine.end_vcpu, 0);
	cr_assert_eq(wakes(), 1);
	cr_assert(machine.vcpus[0].captured);
}

static struct vcpu *mmio_write(uint64_t address, uint8_t value)
{
	struct vcpu *vcpu = new_vcpu(KVM_EXIT_MMIO);

	shared.run.mmio.phys_addr = address;
	shared.run.mmio.len = 1;
	shared.run.mmio.is_write = 1;
	shared.run.mmio.data[0] = value;
	return vcpu;
}

Test(vcpu, what_a_register_asks_for_is_done)
{
	cr_assert_not(
		vcpu_dispatch(mmio_write(LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_CONTROL, 0x34)));
	expect_end(MACHINE_END_POWER_OFF, 0);
	cr_assert_not(vcpu_dispatch(
		mmio_write(LAYOUT_ACPI_REGISTERS + ACPI_REG_RESET, ACPI_RESET_VALUE)));
	expect_end(MACHINE_END_RESET, 0);
	io_exit(true, 1, 1);
	shared.run.io.port = LAYOUT_PORT_RESET;
	shared.bytes[4096] = ACPI_RESET_VALUE;
	cr_assert_not(vcpu_dispatch(&machine.vcpus[0]));
	expect_end(MACHINE_END_RESET, 0);
	io_exit(true, 1, 1);
	cr_assert_eq(legacy_ports_add(&machine.legacy, &machine.acpi, &machine.ports), 0);
	shared.run.io.port = LAYOUT_PORT_RESET_CONTROL;
	shared.bytes[4096] = 0x02;
	cr_assert(vcpu_dispatch(&machine.vcpus[0]), "the first half of it");
	shared.bytes[4096] = 0x06;
	cr_assert_not(vcpu_dispatch(&machine.vcpus[0]));
	expect_end(MACHINE_END_RESET, 0);
	cr_assert(vcpu_dispatch(mmio_write(LAYOUT_ACPI_REGISTERS + ACPI_REG_RESET, 0)),
	          "another value");
	cr_assert_eq(machine.end, MACHINE_END_NONE);
}

/* The guest goes on; the control thread is woken for the first report, and for no other. */
Test(vcpu, a_panic_is_told_once)
{
	struct vcpu *vcpu = mmio_write(LAYOUT_PANIC_REGISTER, 1);

	cr_assert(vcpu_dispatch(vcpu));
	cr_assert(machine.acpi.panicked && machine.panic_told);
	cr_assert_eq(wakes(), 1);
	cr_assert(vcpu_dispatch(vcpu));
	cr_assert_eq(wakes(), 0);
	cr_assert_eq(machine.end, MACHINE_END_NONE);
}

Test(vcpu, ends_by_their_exits)
{
	struct vcpu *vcpu = new_vcpu(KVM_EXIT_SHUTDOWN);

	cr_assert_not(vcpu_dispatch(vcpu));
	expect_end(MACHINE_END_TRIPLE_FAULT, 0);
	cr_assert_eq(machine.end_exit, KVM_EXIT_SHUTDOWN);
	vcpu = new_vcpu(KVM_EXIT_INTERNAL_ERROR);
	shared.run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	cr_assert_not(vcpu_dispatch(vcpu));
	expect_end(MACHINE_END_VCPU_FAILED, KVM_INTERNAL_ERROR_EMULATION);
	vcpu = new_vcpu(KVM_EXIT_FAIL_ENTRY);
	shared.run.fail_entry.hardware_entry_failure_reason = 0x80000021;
	cr_assert_not(vcpu_dispatch(vcpu));
	expect_end(MACHINE_END_VCPU_FAILED, 0x80000021);
}

Test(vcpu, system_events_end_the_vm)
{
	static const struct {
		uint32_t type;
		enum machine_end end;
	} events[] = {
		{ KVM_SYSTEM_EVENT_SHUTDOWN, MACHINE_END_POWER_OFF },
		{ KVM_SYSTEM_EVENT_RESET, MACHINE_END_RESET },
		{ KVM_SYSTEM_EVENT_CRASH, MACHINE_END_PANIC },
		{ 0, MACHINE_END_VCPU_FAILED },
		{ 4, MACHINE_END_VCPU_FAILED },
		{ UINT32_MAX, MACHINE_END_VCPU_FAILED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		struct vcpu *vcpu = new_vcpu(KVM_EXIT_SYSTEM_EVENT);

		shared.run.system_event.type = events[i].type;
		cr_assert_not(vcpu_dispatch(vcpu));
		expect_end(events[i].end, events[i].type);
	}
}

/* Every exit that there is no row for fails the vCPU, by its number, and is counted; two need
 * nothing done. */
Test(vcpu, exits_that_nobody_handles)
{
	for (uint32_t reason = 0; reason < 300; reason++) {
		static const uint32_t handled[] = {
			KVM_EXIT_IO,          KVM_EXIT_MMIO,           KVM_EXIT_HLT,
			KVM_EXIT_SHUTDOWN,    KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_FAIL_ENTRY,
			KVM_EXIT_SYSTEM_EVENT
		};
		struct vcpu *vcpu = new_vcpu(reason);
		bool known = false,
		     nothing = reason == KVM_EXIT_INTR || reason == KVM_EXIT_IOAPIC_EOI;

		for (size_t i = 0; i < ARRAY_SIZE(handled); i++)
			known |= handled[i] == reason;
		if (known)
			continue;
		cr_assert_eq(vcpu_dispatch(vcpu), nothing, "exit %u", reason);
		cr_assert_eq(machine.end, nothing ? MACHINE_END_NONE : MACHINE_END_VCPU_FAILED,
		             "exit %u", reason);
		cr_assert_eq(machine.end_detail, nothing ? 0 : reason);
		cr_assert_eq(vcpu->stats.exits[MIN(reason, VCPU_EXIT_KINDS - 1u)], 1, "exit %u",
		             reason);
	}
}

/* The VM has halted when the last of its vCPUs has; what is shown is vCPU 0's. */
Test(vcpu, the_last_to_halt_ends_the_machine)
{
	struct vcpu *vcpu = new_vcpu(KVM_EXIT_HLT);

	cr_assert_not(vcpu_dispatch(vcpu));
	cr_assert(vcpu->captured);
	cr_assert_eq(machine.end, MACHINE_END_NONE, "the other one runs");
	cr_assert_eq(wakes(), 0);
	cr_assert_not(vcpu_dispatch(&machine.vcpus[1]));
	cr_assert_not(machine.vcpus[1].captured);
	expect_end(MACHINE_END_HALTED, 0);
}

/* ---- the state at the start ------------------------------------------------------------------ */

/* As it is after a reset; other bits than are set must stay. */
static struct kvm_sregs after_reset(void)
{
	return (struct kvm_sregs){
		.cr0 = 0x60000010, .apic_base = 0xfee00900, .efer = 0, .idt.limit = 0xffff
	};
}

Test(vcpu, starts_in_long_mode)
{
	const struct vcpu_entry entry = { .start = VCPU_LONG_MODE,
		                          .page_table = GPA(0x9000),
		                          .gdt = GPA(0x500),
		                          .gdt_limit = 31,
		                          .code_selector = 0x10,
		                          .data_selector = 0x18 };
	struct kvm_sregs sregs = after_reset();
	const struct kvm_segment *const data[] = { &sregs.ds, &sregs.es, &sregs.fs, &sregs.gs,
		                                   &sregs.ss };

	vcpu_start_state(&entry, &sregs);
	/* PE, MP, ET, NE, WP, PG; PAE, OSFXSR, OSXMMEXCPT; LME, LMA. */
	cr_assert_eq(sregs.cr0, 0x80010033);
	cr_assert_eq(sregs.cr4, 0x620);
	cr_assert_eq(sregs.efer, 0x500);
	cr_assert_eq(sregs.cr3, 0x9000);
	cr_assert(sregs.gdt.base == 0x500 && sregs.gdt.limit == 31);
	cr_assert(sregs.idt.base == 0 && sregs.idt.limit == 0);
	cr_assert_eq(sregs.apic_base, 0xfee00900);
	cr_assert(sregs.cs.selector == 0x10 && sregs.cs.l == 1 && sregs.cs.db == 0 &&
	          sregs.cs.type == 0xb);
	cr_assert(sregs.cs.present && sregs.cs.s && sregs.cs.g && sregs.cs.limit == 0xffffffff &&
	          !sregs.cs.dpl);
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		cr_assert(data[i]->selector == 0x18 && data[i]->type == 3 && data[i]->l == 0 &&
		          data[i]->db == 1);
		cr_assert(data[i]->present && data[i]->s && data[i]->g &&
		          data[i]->limit == 0xffffffff);
	}
	/* VM entry wants a busy TSS (SDM 3C §26.3.1.2). */
	cr_assert(sregs.tr.type == 0xb && sregs.tr.present && !sregs.tr.s &&
	          sregs.tr.limit == 0x67);
}

Test(vcpu, starts_in_protected_mode)
{
	const struct vcpu_entry entry = { .start = VCPU_PROTECTED,
		                          .gdt = GPA(0x500),
		                          .gdt_limit = 31,
		                          .code_selector = 8,
		                          .data_selector = 0x18 };
	struct kvm_sregs sregs = after_reset();

	vcpu_start_state(&entry, &sregs);
	/* Xen's docs/misc/pvh.pandoc: PE alone (ET is fixed), no paging, 32 bits. */
	cr_assert_eq(sregs.cr0, 0x11);
	cr_assert_eq(sregs.cr4, 0);
	cr_assert_eq(sregs.efer, 0);
	cr_assert(sregs.cs.selector == 8 && sregs.cs.l == 0 && sregs.cs.db == 1);
	cr_assert_eq(sregs.ss.selector, 0x18);
}
