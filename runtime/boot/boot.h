/* SPDX-License-Identifier: MIT */
/* Puts a kernel, or a flat image, into guest memory and says where the first vCPU starts.
 *
 * The room's face: what the shim calls. It knows guest memory and files, and neither KVM nor the
 * spec. Guest memory must be fresh (zero): pages that hold nothing are not touched. */
#ifndef AXVM_BOOT_BOOT_H
#define AXVM_BOOT_BOOT_H

#include "boot/entry.h"

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

/* Where a kernel and its initrd will be. `format`: "bzImage" or "ELF"; initrd_size 0: there is
 * none. */
struct boot_layout {
	const char *format;
	uint64_t kernel_base, kernel_end; /* what it occupies until it says otherwise */
	uint64_t initrd_base, initrd_size;
};

/* The decisions of boot_load_linux() without carrying them out: guest memory needs no bytes behind
 * it. Errors are the same. */
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
