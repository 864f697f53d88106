/* SPDX-License-Identifier: MIT */
/* Shared by the loaders of bzImage and ELF kernels. Private to this room.
 *
 * Each loader has two functions: plan reads and validates headers and decides without touching
 * guest memory, load carries the plan out. Between the two boot.c places command line and
 * initrd. */
#ifndef AXVM_BOOT_KERNEL_H
#define AXVM_BOOT_KERNEL_H

#include "boot/e820.h"
#include "boot/image.h"

/* What a kernel's headers say about where initrd and command line may go. */
struct kernel_limits {
	uint64_t base;         /* the first byte that the kernel occupies */
	uint64_t end;          /* the first byte above all that the kernel occupies */
	uint64_t initrd_limit; /* the initrd must end at or below it */
	uint32_t cmdline_max;  /* bytes, without the final NUL */
};

/* What the kernel finds in guest memory. */
struct kernel_handover {
	uint64_t rsdp;
	uint64_t initrd_base; /* both 0 without an initrd */
	uint64_t initrd_size;
	struct e820_map e820;
};

/* The setup header of a bzImage, and its place in boot_params. */
#define BZIMAGE_HEADER_START 0x1f1
#define BZIMAGE_HEADER_END_MAX 0x290

struct bzimage_plan {
	struct kernel_limits limits;
	uint8_t header[BZIMAGE_HEADER_END_MAX - BZIMAGE_HEADER_START];
	size_t header_size;
	uint64_t offset; /* of the protected-mode part, in the file */
	uint64_t length;
	uint64_t load; /* guest-physical */
};

int bzimage_plan(const struct boot_image *image, const struct guest_memory *memory,
                 struct problems *problems, struct bzimage_plan *ret);
int bzimage_load(const struct boot_image *image, const struct bzimage_plan *plan,
                 const struct kernel_handover *handover, const struct guest_memory *memory,
                 struct problems *problems, struct boot_entry *ret);

#define ELF_SEGMENTS_MAX 64

struct elf_segment {
	uint64_t offset; /* in the file */
	uint64_t file_size;
	uint64_t base; /* guest-physical */
	uint64_t size; /* at least file_size; the rest is zero */
};

struct elf_plan {
	struct kernel_limits limits;
	struct elf_segment segments[ELF_SEGMENTS_MAX];
	size_t count;
	uint64_t entry;
};

int elf_plan(const struct boot_image *image, const struct guest_memory *memory,
             struct problems *problems, struct elf_plan *ret);
int elf_load(const struct boot_image *image, const struct elf_plan *plan,
             const struct kernel_handover *handover, const struct guest_memory *memory,
             struct problems *problems, struct boot_entry *ret);

#endif
