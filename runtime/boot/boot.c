/* SPDX-License-Identifier: MIT */
/* Direct boot of Linux: tells the formats apart, places command line and initrd, and hands over.
 *
 * It checks everything first, so that one refusal has all reasons, and only then writes guest
 * memory. The command line has its place below 1 MiB. The initrd goes as high as possible, where it
 * is least in the way: Linux picks its own place below it. */
#include "boot/boot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/kernel.h"
#include "guest/layout.h"

#define PAGE 4096u
#define PROBE_SIZE 0x206 /* up to the end of "HdrS" */

enum format {
	FORMAT_UNKNOWN,
	FORMAT_BZIMAGE,
	FORMAT_ELF,
};

struct magic {
	enum format format;
	uint16_t offset;
	uint8_t length;
	uint8_t bytes[8];
	const char *what; /* of FORMAT_UNKNOWN: the format's name, and what to do */
};

/* In order: a bzImage with an EFI stub also begins with "MZ". */
static const struct magic magics[] = {
	{ FORMAT_BZIMAGE, 0x202, 4, "HdrS", NULL },
	{ FORMAT_ELF, 0, 4, "\177ELF", NULL },
	{ FORMAT_UNKNOWN, 56, 4, "ARM\x64", "is an arm64 Image: give one built for x86-64" },
	{ FORMAT_UNKNOWN, 56, 4, "RSC\x05", "is a RISC-V Image: give one built for x86-64" },
	{ FORMAT_UNKNOWN, 0, 2, "MZ",
	  "is an EFI program without a Linux setup header: give a bzImage" },
	{ FORMAT_UNKNOWN, 0, 2, "\x1f\x8b", "is a gzip file: unpack it first" },
	{ FORMAT_UNKNOWN, 0, 6,
	  "\xfd"
	  "7zXZ",
	  "is an xz file: unpack it first" },
	{ FORMAT_UNKNOWN, 0, 4, "\x28\xb5\x2f\xfd", "is a zstd file: unpack it first" },
	{ FORMAT_UNKNOWN, 0, 3, "BZh", "is a bzip2 file: unpack it first" },
	{ FORMAT_UNKNOWN, 0, 4, "\x02\x21\x4c\x18", "is an lz4 file: unpack it first" },
	{ FORMAT_UNKNOWN, 0, 4, "\x04\x22\x4d\x18", "is an lz4 file: unpack it first" },
	{ FORMAT_UNKNOWN, 0, 6, "070701", "is a cpio archive: give it as the initrd" },
	{ FORMAT_UNKNOWN, 0, 7, "!<arch>", "is a package or an archive: give the kernel in it" },
	{ FORMAT_UNKNOWN, 0, 2, "#!", "is a script" },
};

static int probe(const struct boot_image *image, struct problems *problems, enum format *ret)
{
	size_t size = MIN(image->size, (uint64_t)PROBE_SIZE);
	uint8_t head[PROBE_SIZE];
	int r;

	r = boot_image_read(image, 0, head, size, problems);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *magic = &magics[i];

		if ((size_t)magic->offset + magic->length > size ||
		    memcmp(head + magic->offset, magic->bytes, magic->length) != 0)
			continue;
		if (magic->format == FORMAT_UNKNOWN)
			return boot_image_refuse(image, problems, "%s", magic->what);
		*ret = magic->format;
		return 0;
	}
	return boot_image_refuse(image, problems,
	                         "is neither a bzImage nor an ELF file: it begins with %02x %02x "
	                         "%02x %02x and has %" PRIu64 " bytes",
	                         head[0], size > 1 ? head[1] : 0, size > 2 ? head[2] : 0,
	                         size > 3 ? head[3] : 0, image->size);
}

struct kernel_plan {
	enum format format;
	union {
		struct kernel_limits limits; /* the first member of both */
		struct bzimage_plan bzimage;
		struct elf_plan elf;
	};
};
static_assert(offsetof(struct bzimage_plan, limits) == 0, "shared");
static_assert(offsetof(struct elf_plan, limits) == 0, "shared");

static int plan_kernel(const struct boot_image *image, const struct guest_memory *memory,
                       struct problems *problems, struct kernel_plan *ret)
{
	int r = probe(image, problems, &ret->format);

	if (r < 0)
		return r;
	if (ret->format == FORMAT_ELF)
		return elf_plan(image, memory, problems, &ret->elf);
	return bzimage_plan(image, memory, problems, &ret->bzimage);
}

static int check_cmdline(const struct boot_linux_config *config, uint32_t kernel_max,
                         struct problems *problems)
{
	uint64_t max = MIN((uint64_t)kernel_max, (uint64_t)LAYOUT_CMDLINE_MAX - 1);
	size_t length = config->cmdline ? strlen(config->cmdline) : 0;

	if (length > max)
		return problems_add(problems, ERROR_CODE_CMDLINE_TOO_LONG, E2BIG,
		                    config->cmdline_field,
		                    "the command line has %zu bytes; this kernel takes %" PRIu64
		                    " at most: shorten it",
		                    length, max);
	return 0;
}

/* Places the initrd as high as the kernel and RAM allow, page aligned, above the memory that the
 * kernel occupies. */
static int place_initrd(const struct boot_image *initrd, const struct kernel_limits *limits,
                        const struct guest_memory *memory, struct problems *problems,
                        uint64_t *ret_base)
{
	uint64_t top = MIN(guest_memory_below_hole(memory), limits->initrd_limit);
	uint64_t bottom = ALIGN_UP(limits->end, PAGE);
	uint64_t room = top > bottom ? top - bottom : 0;

	if (initrd->size <= room) {
		/* Not below `bottom`, which is aligned as well. */
		*ret_base = ALIGN_DOWN(top - initrd->size, PAGE);
		return 0;
	}
	return boot_image_refuse(initrd, problems,
	                         "does not fit: it has %" PRIu64 " bytes, and between the kernel's "
	                         "end (0x%" PRIx64 ") and 0x%" PRIx64 " there are %" PRIu64
	                         ": give the guest more memory or make it smaller",
	                         initrd->size, bottom, top, room);
}

/* Writes everything; it is known to fit. */
static int load(const struct boot_linux_config *config, const struct boot_image *kernel,
                const struct kernel_plan *plan, const struct boot_image *initrd,
                const struct kernel_handover *handover, const struct guest_memory *memory,
                struct problems *problems, struct boot_entry *ret)
{
	const char *cmdline = config->cmdline ? config->cmdline : "";
	int r;

	r = boot_place(memory, GPA(LAYOUT_CMDLINE), cmdline, strlen(cmdline) + 1, "command line",
	               problems);
	if (r < 0)
		return r;
	if (handover->initrd_size > 0) {
		r = boot_image_load(initrd, 0, handover->initrd_size, GPA(handover->initrd_base),
		                    memory, problems);
		if (r < 0)
			return r;
	}
	if (plan->format == FORMAT_ELF)
		return elf_load(kernel, &plan->elf, handover, memory, problems, ret);
	return bzimage_load(kernel, &plan->bzimage, handover, memory, problems, ret);
}

/* Everything that is decided before guest memory is touched. */
struct linux_plan {
	struct boot_image kernel, initrd;
	struct kernel_plan plan;
	struct kernel_handover handover;
};

static int plan_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                      struct problems *problems, struct linux_plan *ret)
{
	int planned, r, bad = 0;

	*ret = (struct linux_plan){ .initrd.fd = -1, .handover.rsdp = config->rsdp };
	planned = boot_image_open(&config->kernel, "kernel", ERROR_CODE_KERNEL_INVALID, problems,
	                          &ret->kernel);
	if (planned == 0)
		planned = plan_kernel(&ret->kernel, memory, problems, &ret->plan);
	if (planned < 0)
		bad = planned;
	if (config->initrd.fd >= 0) {
		r = boot_image_open(&config->initrd, "initrd", ERROR_CODE_INITRD_INVALID, problems,
		                    &ret->initrd);
		if (r == 0 && planned == 0) {
			ret->handover.initrd_size = ret->initrd.size;
			r = place_initrd(&ret->initrd, &ret->plan.limits, memory, problems,
			                 &ret->handover.initrd_base);
		}
		if (r < 0)
			bad = r;
	}
	/* Without a kernel the layout's bound alone holds. */
	r = check_cmdline(config, planned == 0 ? ret->plan.limits.cmdline_max : UINT32_MAX,
	                  problems);
	return r < 0 ? r : bad;
}

int boot_plan_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                    struct problems *problems, struct boot_layout *ret)
{
	struct linux_plan plan;
	int r = plan_linux(config, memory, problems, &plan);

	if (r < 0)
		return r;
	*ret = (struct boot_layout){
		.format = plan.plan.format == FORMAT_ELF ? "ELF" : "bzImage",
		.kernel_base = plan.plan.limits.base,
		.kernel_end = plan.plan.limits.end,
		.initrd_base = plan.handover.initrd_base,
		.initrd_size = plan.handover.initrd_size,
	};
	return 0;
}

int boot_load_linux(const struct boot_linux_config *config, const struct guest_memory *memory,
                    struct problems *problems, struct boot_entry *ret)
{
	struct linux_plan plan;
	int r = plan_linux(config, memory, problems, &plan);

	if (r < 0)
		return r;
	e820_build(memory, &plan.handover.e820);
	return load(config, &plan.kernel, &plan.plan, &plan.initrd, &plan.handover, memory,
	            problems, ret);
}
