/* SPDX-License-Identifier: MIT */
/* Creating one vCPU and setting the state it starts in (SDM 3A §9.1 and §10.8.5 for the state after
 * reset; Linux Documentation/virt/kvm/api.rst for the calls). */
#include "machine/vcpu.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/uses.h"

#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define RFLAGS_RESERVED 0x2u

#define SEGMENT_CODE 0xbu /* execute, read, accessed */
#define SEGMENT_DATA 0x3u /* read, write, accessed */
#define SEGMENT_TSS 0xbu  /* 32/64-bit, busy */

#define APIC_BASE_X2APIC 0x400u

/* SDM 4. Memory is write-back and string moves are fast, as firmware would leave them; there is no
 * BTS and no PEBS, as in CPUID; PAT and the rest are as after a reset (SDM 3A §12.12.4, §10.1.1).
 * All are set, so that no start value depends on the kernel's version of KVM. */
static const struct kvm_msr_entry start_msrs[] = {
	{ .index = 0x174 }, /* IA32_SYSENTER_CS, ESP, EIP */
	{ .index = 0x175 },
	{ .index = 0x176 },
	{ .index = 0x1a0, .data = 0x1801 },             /* IA32_MISC_ENABLE */
	{ .index = 0x277, .data = 0x0007040600070406 }, /* IA32_PAT */
	{ .index = 0x2ff, .data = 0x806 },              /* IA32_MTRR_DEF_TYPE */
	{ .index = 0xc0000081 },                        /* IA32_STAR, LSTAR, CSTAR, FMASK */
	{ .index = 0xc0000082 },
	{ .index = 0xc0000083 },
	{ .index = 0xc0000084 },
	{ .index = 0xc0000102 }, /* IA32_KERNEL_GS_BASE */
};

static struct kvm_segment code_segment(uint16_t selector, bool long_mode)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
		                     .selector = selector,
		                     .type = SEGMENT_CODE,
		                     .present = 1,
		                     .s = 1,
		                     .g = 1,
		                     .l = long_mode,
		                     .db = !long_mode };
}

static struct kvm_segment data_segment(uint16_t selector)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
		                     .selector = selector,
		                     .type = SEGMENT_DATA,
		                     .present = 1,
		                     .s = 1,
		                     .g = 1,
		                     .db = 1 };
}

void vcpu_start_state(const struct vcpu_entry *entry, struct kvm_sregs *sregs)
{
	bool long_mode = entry->start == VCPU_LONG_MODE;

	sregs->cs = code_segment(entry->code_selector, long_mode);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss =
		data_segment(entry->data_selector);
	sregs->tr = (struct kvm_segment){ .limit = 0x67, .type = SEGMENT_TSS, .present = 1 };
	sregs->gdt.base = entry->gdt.v;
	sregs->gdt.limit = entry->gdt_limit;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	sregs->cr0 = CR0_PE | CR0_ET;
	if (!long_mode)
		return;
	sregs->cr0 |= CR0_MP | CR0_NE | CR0_WP | CR0_PG;
	sregs->cr3 = entry->page_table.v;
	sregs->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	sregs->efer = EFER_LME | EFER_LMA;
}

static int set_sregs(struct vcpu *vcpu, const struct vcpu_entry *entry, bool apic)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	if (apic)
		sregs.apic_base |= APIC_BASE_X2APIC;
	if (entry->start != VCPU_WAITS)
		vcpu_start_state(entry, &sregs);
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
}

static int set_regs(struct vcpu *vcpu, const struct vcpu_entry *entry)
{
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rdi = entry->rdi,
		.rsi = entry->rsi,
		.rdx = entry->rdx,
		.rbx = entry->rbx,
		.rflags = RFLAGS_RESERVED,
	};

	if (entry->start == VCPU_WAITS)
		return 0;
	return ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

static int set_msrs(struct vcpu *vcpu)
{
	struct {
		uint32_t nmsrs, padding;
		struct kvm_msr_entry entries[ARRAY_SIZE(start_msrs)];
	} msrs = { .nmsrs = ARRAY_SIZE(start_msrs) };
	int set;

	static_assert(offsetof(__typeof__(msrs), entries) == offsetof(struct kvm_msrs, entries),
	              "KVM reads it as a struct kvm_msrs");
	memcpy(msrs.entries, start_msrs, sizeof(start_msrs));
	set = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
	if (set < 0)
		return -errno;
	return set == (int)ARRAY_SIZE(start_msrs) ? 0 : -EIO;
}

/* With local APICs KVM starts only vCPU 0 without INIT and SIPI. */
static int set_mp_state(struct vcpu *vcpu, const struct vcpu_entry *entry, bool apic)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };

	if (!apic || vcpu->index == 0 || entry->start == VCPU_WAITS)
		return 0;
	return ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) < 0 ? -errno : 0;
}

static int set_cpuid(struct vcpu *vcpu, const struct cpuid_table *cpuid,
                     const struct guest_topology *topology)
{
	struct cpuid_table own = *cpuid;
	int r = topology_cpuid(topology, vcpu->index, own.entries, &own.nent, CPUID_ENTRIES_MAX);

	if (r < 0)
		return r;
	return ioctl(vcpu->fd, KVM_SET_CPUID2, &own) < 0 ? -errno : 0;
}

static int failed(struct vcpu *vcpu, int r, const char *what)
{
	return problems_add(&vcpu->problems, ERROR_CODE_KVM_FAILED, -r, NULL,
	                    "vCPU %u: KVM refuses %s: %s", vcpu->index, what, errno_text(-r));
}

int vcpu_create(struct vcpu *vcpu, const struct vcpu_entry *entry, const struct cpuid_table *cpuid,
                const struct guest_topology *topology)
{
	const struct vm *vm = vcpu->vm;
	void *run;
	int r;

	vcpu->waits = entry->start == VCPU_WAITS;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)vcpu->apic_id);
	if (vcpu->fd < 0)
		return failed(vcpu, -errno, "to create it");
	run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return failed(vcpu, -errno, "to map its run page");
	vcpu->run = run;
	r = set_cpuid(vcpu, cpuid, topology);
	if (r < 0)
		return failed(vcpu, r, "its CPUID");
	r = set_sregs(vcpu, entry, vm->has_apic);
	if (r < 0)
		return failed(vcpu, r, "its system registers");
	r = set_regs(vcpu, entry);
	if (r < 0)
		return failed(vcpu, r, "its registers");
	r = set_msrs(vcpu);
	if (r < 0)
		return failed(vcpu, r, "its MSRs");
	r = set_mp_state(vcpu, entry, vm->has_apic);
	return r < 0 ? failed(vcpu, r, "to start it") : 0;
}

int vcpu_try_run(struct vcpu *vcpu)
{
	int r;

	vcpu->run->immediate_exit = 1;
	SANDBOX_USES(vcpu, ioctl, arg0 == VCPU_FD && arg1 == KVM_RUN && arg2 == 0);
	r = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;
	vcpu->run->immediate_exit = 0;
	/* As in the run loop: if this has cleared a request of the control thread, the loop reads
	 * it from `want`. */
	atomic_thread_fence(memory_order_seq_cst);
	if (r == 0 || r == -EINTR)
		return 0;
	if (r == -EAGAIN || r == -ENOMEM)
		return problems_add(
			&vcpu->problems, ERROR_CODE_HOST_LIMIT, -r, NULL,
			"KVM cannot start its thread for the VM: %s: " PROBLEM_RAISE_THREADS,
			errno_text(-r));
	return failed(vcpu, r, "to run it");
}
