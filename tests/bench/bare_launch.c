/* SPDX-License-Identifier: MIT */
/* The baseline of the launch: the KVM calls that a VM needs, in the best order, and nothing else.
 *
 *   bare_launch IMAGE [VCPUS] [MIB]
 *
 * Loads a flat 64-bit image at 1 MiB, runs it on one thread a vCPU until every vCPU has halted. No
 * spec, no events, no sandbox: what the shim adds is measured against this. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PML4 0x9000u
#define PDPT 0xa000u
#define PD 0xb000u
#define ENTRY 0x100000u

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[160];
};

static int kvm, vm, run_size;
static uint8_t *memory;
static struct cpuid cpuid = { .head.nent = 160 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int call(int fd, unsigned long request, void *argument, const char *name)
{
	int r = ioctl(fd, request, argument);

	if (r < 0)
		die(name);
	return r;
}
#define CALL(fd, request, argument) call(fd, request, (void *)(uintptr_t)(argument), #request)

static void set_state(int vcpu, uintptr_t index)
{
	struct kvm_segment code = { .limit = 0xffffffff, .selector = 16, .type = 11, .present = 1,
		                    .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 24, .type = 3, .present = 1,
		                    .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = ENTRY, .rdi = index, .rflags = 2 };
	struct kvm_sregs sregs;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = { .head.nmsrs = 2, .entries = { { .index = 0x2ff, .data = 0x806 },
		                                 { .index = 0x1a0, .data = 1 } } };

	CALL(vcpu, KVM_SET_CPUID2, &cpuid);
	CALL(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = PML4;
	sregs.cr0 = 0x80010033;
	sregs.cr4 = 0x620;
	sregs.efer = 0x500;
	CALL(vcpu, KVM_SET_SREGS, &sregs);
	CALL(vcpu, KVM_SET_REGS, &regs);
	CALL(vcpu, KVM_SET_MSRS, &msrs);
}

static void *vcpu_main(void *index)
{
	int vcpu = CALL(vm, KVM_CREATE_VCPU, index);
	struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (run == MAP_FAILED)
		die("mmap");
	set_state(vcpu, (uintptr_t)index);
	while (run->exit_reason != KVM_EXIT_HLT)
		CALL(vcpu, KVM_RUN, 0);
	return NULL;
}

static void load(const char *path, size_t size)
{
	uint64_t *pml4 = (void *)(memory + PML4);
	uint64_t *pdpt = (void *)(memory + PDPT);
	uint64_t *pd = (void *)(memory + PD);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, memory + ENTRY, size - ENTRY, 0) <= 0)
		die(path);
	pml4[0] = PDPT | 3;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (PD + i * 4096) | 3;
	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | 0x83;
}

int main(int argc, char **argv)
{
	uintptr_t vcpus = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	size_t size = (argc > 3 ? strtoul(argv[3], NULL, 10) : 128) << 20;
	struct kvm_userspace_memory_region slot = { .memory_size = size };
	pthread_t threads[255];

	if (argc < 2 || vcpus < 1 || vcpus > 255)
		return fprintf(stderr, "usage: bare_launch IMAGE [VCPUS] [MIB]\n"), 64;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		die("/dev/kvm");
	vm = CALL(kvm, KVM_CREATE_VM, 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	slot.userspace_addr = (uintptr_t)memory;
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &slot);
	run_size = CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	CALL(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
	load(argv[1], size);
	for (uintptr_t i = 1; i < vcpus; i++)
		if (pthread_create(&threads[i], NULL, vcpu_main, (void *)i) != 0)
			die("pthread_create");
	vcpu_main((void *)0);
	for (uintptr_t i = 1; i < vcpus; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
