/* SPDX-License-Identifier: MIT */
/* See bare.h. */
#include "bare.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PML4 LAYOUT_PAGE_TABLES
#define PDPT (PML4 + 0x1000)
#define PD (PML4 + 0x2000)
#define CODE 16
#define DATA 24
#define X2APIC 0xc00 /* enabled, in x2APIC mode */

/* The fields of struct kvm_cpuid2, and of two others below, are repeated: clang warns of a struct
 * that ends in an array without length and stands inside another one. */
static struct {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[160];
} cpuid = { .nent = 160 };
static_assert(offsetof(__typeof__(cpuid), entries) == offsetof(struct kvm_cpuid2, entries),
              "KVM reads it as a struct kvm_cpuid2");

void bare_die(const char *what)
{
	perror(what);
	exit(1);
}

int bare_call(int fd, unsigned long request, void *argument, const char *name)
{
	int r = ioctl(fd, request, argument);

	if (r < 0)
		bare_die(name);
	return r;
}

static void load(struct bare *bare, const char *path)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	uint64_t *pml4 = (void *)(bare->memory + PML4);
	uint64_t *pdpt = (void *)(bare->memory + PDPT);
	uint64_t *pd = (void *)(bare->memory + PD);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, bare->memory + LAYOUT_KERNEL, bare->size - LAYOUT_KERNEL, 0) <= 0)
		bare_die(path);
	close(fd);
	memcpy(bare->memory + LAYOUT_GDT, gdt, sizeof(gdt));
	pml4[0] = PDPT | 3;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (PD + i * 4096) | 3;
	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | 0x83;
}

static void create_apic(struct bare *bare)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP,
		                        .args = { LAYOUT_IOAPIC_PINS } };
	struct kvm_enable_cap x2apic = { .cap = KVM_CAP_X2APIC_API,
		                         .args = { KVM_X2APIC_API_USE_32BIT_IDS |
		                                   KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };

	BARE_CALL(bare->vm, KVM_ENABLE_CAP, &split);
	BARE_CALL(bare->vm, KVM_ENABLE_CAP, &x2apic);
}

void bare_create(struct bare *bare, const char *image, size_t mib, bool apic)
{
	struct kvm_userspace_memory_region slot = { .memory_size = mib << 20 };

	bare->size = mib << 20;
	bare->apic = apic;
	bare->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (bare->kvm < 0)
		bare_die("/dev/kvm");
	bare->vm = BARE_CALL(bare->kvm, KVM_CREATE_VM, 0);
	bare->memory = mmap(NULL, bare->size, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bare->memory == MAP_FAILED)
		bare_die("mmap");
	slot.userspace_addr = (uintptr_t)bare->memory;
	BARE_CALL(bare->vm, KVM_SET_USER_MEMORY_REGION, &slot);
	if (apic)
		create_apic(bare);
	bare->run_size = BARE_CALL(bare->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	BARE_CALL(bare->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
	load(bare, image);
}

static void set_state(struct bare *bare, int vcpu, uintptr_t index, uintptr_t count)
{
	struct kvm_segment code = { .limit = 0xffffffff,
		                    .selector = CODE,
		                    .type = 11,
		                    .present = 1,
		                    .s = 1,
		                    .l = 1,
		                    .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff,
		                    .selector = DATA,
		                    .type = 3,
		                    .present = 1,
		                    .s = 1,
		                    .db = 1,
		                    .g = 1 };
	struct kvm_regs regs = { .rip = LAYOUT_KERNEL,
		                 .rdi = index,
		                 .rsi = count,
		                 .rflags = 2,
		                 .rdx = bare->size,
		                 .rsp = LAYOUT_FLAT_STACKS + (index + 1) * LAYOUT_FLAT_STACK_SIZE };
	struct kvm_sregs sregs;
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entries[2];
	} msrs = { .nmsrs = 2,
		   .entries = { { .index = 0x2ff, .data = 0x806 },
		                { .index = 0x1a0, .data = 1 } } };

	static_assert(offsetof(__typeof__(msrs), entries) == offsetof(struct kvm_msrs, entries),
	              "KVM reads it as a struct kvm_msrs");
	BARE_CALL(vcpu, KVM_SET_CPUID2, &cpuid);
	BARE_CALL(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = LAYOUT_GDT;
	sregs.gdt.limit = 4 * 8 - 1;
	sregs.cr3 = PML4;
	sregs.cr0 = 0x80010033;
	sregs.cr4 = 0x620;
	sregs.efer = 0x500;
	if (bare->apic)
		sregs.apic_base |= X2APIC;
	BARE_CALL(vcpu, KVM_SET_SREGS, &sregs);
	BARE_CALL(vcpu, KVM_SET_REGS, &regs);
	BARE_CALL(vcpu, KVM_SET_MSRS, &msrs);
}

struct bare_vcpu bare_vcpu_create(struct bare *bare, uintptr_t index, uintptr_t count)
{
	struct bare_vcpu vcpu = { .fd = BARE_CALL(bare->vm, KVM_CREATE_VCPU, index) };

	vcpu.run =
		mmap(NULL, (size_t)bare->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
	if (vcpu.run == MAP_FAILED)
		bare_die("mmap");
	set_state(bare, vcpu.fd, index, count);
	return vcpu;
}

void bare_run(struct bare_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	for (;;) {
		BARE_CALL(vcpu->fd, KVM_RUN, 0);
		if (run->exit_reason == KVM_EXIT_HLT || run->exit_reason == KVM_EXIT_SHUTDOWN)
			return;
		if (run->exit_reason == KVM_EXIT_MMIO) {
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
			else if (run->mmio.phys_addr == LAYOUT_ACPI_REGISTERS)
				return;
		} else if (run->exit_reason == KVM_EXIT_IO) {
			if (run->io.direction == KVM_EXIT_IO_IN)
				memset((uint8_t *)run + run->io.data_offset, 0xff,
				       run->io.size * run->io.count);
		} else {
			fprintf(stderr, "bare: KVM exit %u\n", run->exit_reason);
			exit(1);
		}
	}
}

void bare_print(struct bare_vcpu *vcpu)
{
	struct kvm_regs regs;

	BARE_CALL(vcpu->fd, KVM_GET_REGS, &regs);
	printf("rax %llu\nrbx %llu\n", regs.rax, regs.rbx);
}
