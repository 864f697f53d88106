/* SPDX-License-Identifier: MIT */
/* Puts a kernel, or a flat image, into guest memory and says where the first vCPU starts.
 *
 * This is what the shim calls. It knows guest memory and files, and neither KVM nor the spec. Guest
 * memory must be fresh (zero): pages without content are not touched. */
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

/* Where a kernel and its initrd will lie. `format`: "bzImage" or "ELF"; initrd_size 0: no
 * initrd. */
struct boot_layout {
	const char *format;
	uint64_t kernel_base, kernel_end; /* the memory that it occupies at its start */
	uint64_t initrd_base, initrd_size;
};

/* Decides what boot_load_linux() would do, without doing it: guest memory may be a layout without
 * host memory. Errors are the same. */
int boot_plan_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                    struct problems *problems, struct boot_layout *ret);

/* Loads a Linux kernel with initrd, command line and memory map. The kernel is a bzImage or an ELF
 * with a PVH note; its first bytes tell which. 0, or -errno with every reason in `problems`; guest
 * memory may then be partly written. Must not be called once vCPUs run. */
int boot_load_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                    struct problems *problems, struct boot_entry *ret);

/* Loads a flat image of 64-bit code and the tables it starts with (axvm.v1.FlatBoot). The caller
 * sets the general registers promised there, and the stacks at LAYOUT_FLAT_STACKS. Errors as
 * above. */
int boot_load_flat(const struct boot_flat_config *config, const struct guest_memory *memory,
                   struct problems *problems, struct boot_entry *ret);

#endif
