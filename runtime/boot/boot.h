/* SPDX-License-Identifier: MIT */
/* Puts a kernel, or a flat image, into guest memory and says where the first vCPU starts.
 *
 * The room's face: what the shim calls. It knows guest memory and files, and neither KVM nor the
 * spec. Guest memory must be fresh (zero): pages that hold nothing are not touched. */
#ifndef AXVM_BOOT_BOOT_H
#define AXVM_BOOT_BOOT_H

#include "base/base.h"
#include "base/problem.h"
#include "guest/memory.h"

enum boot_mode {
	/* 64-bit mode: CR0 = PE|PG, CR4 = PAE, EFER = LME|LMA, CR3 and the GDT as given. */
	BOOT_LONG_MODE,
	/* 32-bit protected mode, paging off: CR0 = PE, CR4 = 0, EFER = 0. */
	BOOT_PVH32,
};

/* The state in which a vCPU starts; what is not named is zero. RFLAGS is 2: interrupts are off. All
 * segments are flat (base 0, limit 4 GiB), the selectors lie in the GDT, which is in guest memory.
 * TR is to be a busy TSS of base 0 and limit 0x67 (PVH asks for it, VMX cannot do without). */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsi; /* bzImage: boot_params */
	uint64_t rbx; /* PVH: hvm_start_info */
	uint64_t cr3; /* BOOT_LONG_MODE only */
	uint64_t gdt_base;
	uint16_t gdt_limit;
	uint16_t code_selector; /* 64-bit or 32-bit code, by mode */
	uint16_t data_selector; /* DS, ES, FS, GS, SS */
};

/* A file to load. The fd is borrowed, must be a regular file open for reading, and is read with
 * pread, so that its offset does not matter. `field` is its path in the spec, for messages. */
struct boot_file {
	int fd; /* -1: none */
	const char *field;
};

struct boot_linux_config {
	struct boot_file kernel;
	struct boot_file initrd; /* may be none */
	const char *cmdline;     /* NULL is the same as "" */
	const char *cmdline_field;
	uint64_t rsdp; /* where the tables of acpi_build() lie, or 0 */
};

struct boot_flat_config {
	struct boot_file image;
	uint64_t load_address;
	const char *load_address_field;
};

/* Where a kernel and its initrd will be. `format`: "bzImage" or "ELF"; initrd_size 0: there is none. */
struct boot_layout {
	const char *format;
	uint64_t kernel_base, kernel_end; /* what it occupies until it says otherwise */
	uint64_t initrd_base, initrd_size;
};

/* The decisions of boot_load_linux() without carrying them out: guest memory needs no bytes behind it.
 * Errors are the same. */
int boot_plan_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                    struct problems *problems, struct boot_layout *ret);

/* Loads a Linux kernel, bzImage or ELF with a PVH note, as its first bytes say, with initrd,
 * command line and memory map. 0, or -errno with every reason found in `problems`; guest memory
 * may then be partly written. Not to be called once vCPUs run. */
int boot_load_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                    struct problems *problems, struct boot_entry *ret);

/* Loads a flat image of 64-bit code and the tables it starts with (axvm.v1.FlatBoot). The
 * general registers promised there, and the stacks at LAYOUT_FLAT_STACKS, are the caller's to
 * set. Errors as above. */
int boot_load_flat(const struct boot_flat_config *config, const struct guest_memory *memory,
                   struct problems *problems, struct boot_entry *ret);

#endif
