/* SPDX-License-Identifier: MIT */
/* bzImage: the 64-bit entry of the Linux boot protocol, 2.12 or later.
 *
 * The file is a boot sector and setup code, (setup_sects + 1) * 512 bytes, then the protected-mode
 * part, syssize * 16 bytes, of which the last 16 need not be whole (memtest86+ rounds up); what
 * follows (a signature, say) is no part of the kernel. Setup code is not run: its header, 0x1f1 up
 * to the length that its jump instruction gives, is copied into boot_params ("zero page"), the
 * fields a loader owns are filled in, and the first vCPU starts in long mode 0x200 bytes into the
 * protected-mode part, with RSI = boot_params.
 *
 * A relocatable kernel moves itself up to max(pref_address, load address) aligned to
 * kernel_alignment, and uses init_size bytes from there while it unpacks itself. So it is loaded
 * right there; a lower place would gain nothing. Linux Documentation/arch/x86/boot.rst, "64-bit
 * Boot Protocol" and the descriptions of pref_address and init_size. */
#include <asm/bootparam.h>
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "boot/kernel.h"
#include "boot/long_mode.h"
#include "guest/layout.h"

#define SECTOR 512u
#define PARAGRAPH 16u
#define BOOT_FLAG 0xaa55
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define VERSION_MIN 0x020c
#define JUMP_END 0x202        /* a short jump's displacement, at 0x201, counts from here */
#define HEADER_END_MIN 0x264  /* init_size included */
#define SETUP_SECTS_DEFAULT 4 /* what 0 stands for */
#define LOADER_UNDEFINED 0xff
#define ENTRY_64 0x200

static_assert(offsetof(struct boot_params, hdr) == BZIMAGE_HEADER_START, "header in its place");
static_assert(offsetof(struct boot_params, edd_mbr_sig_buffer) == BZIMAGE_HEADER_END_MAX,
              "header ends before the next field");
static_assert(sizeof(struct boot_params) == 4096, "one page");
static_assert(LAYOUT_BOOT_PARAMS + 4096 <= LAYOUT_PAGE_TABLES, "boot_params has its place");
static_assert(E820_RANGES_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the memory map fits");

/* Checks the fields that say whether this is a kernel that we can enter. A wrong field makes those
 * after it meaningless, so only the first wrong one is reported. */
static int check_kind(const struct boot_image *image, const struct setup_header *hdr,
                      size_t header_end, struct problems *problems)
{
	if (hdr->boot_flag != BOOT_FLAG || hdr->header != HEADER_MAGIC)
		return boot_image_refuse(image, problems, "has no Linux setup header");
	if (hdr->version < VERSION_MIN)
		return boot_image_refuse(image, problems,
		                         "speaks boot protocol %u.%02u; 2.12 (Linux 3.8) or later "
		                         "is needed",
		                         hdr->version >> 8, hdr->version & 0xffu);
	if (header_end < HEADER_END_MIN || header_end > BZIMAGE_HEADER_END_MAX)
		return boot_image_refuse(image, problems,
		                         "has a setup header that ends at 0x%zx, which boot "
		                         "protocol %u.%02u does not allow: it is corrupt",
		                         header_end, hdr->version >> 8, hdr->version & 0xffu);
	if (!(hdr->loadflags & LOADED_HIGH))
		return boot_image_refuse(image, problems,
		                         "is a zImage (LOADED_HIGH is not set): build a bzImage");
	if (!(hdr->xloadflags & XLF_KERNEL_64))
		return boot_image_refuse(image, problems,
		                         "has no 64-bit entry (XLF_KERNEL_64 is not set): it is a "
		                         "32-bit kernel");
	return 0;
}

/* Checks that sizes agree with the file and with each other. */
static int check_sizes(const struct boot_image *image, const struct setup_header *hdr,
                       struct problems *problems, struct bzimage_plan *plan)
{
	uint64_t sects = hdr->setup_sects ? hdr->setup_sects : SETUP_SECTS_DEFAULT;
	uint64_t payload_end = (uint64_t)hdr->payload_offset + hdr->payload_length;

	plan->offset = (sects + 1) * SECTOR;
	plan->length = (uint64_t)hdr->syssize * PARAGRAPH;
	if (plan->length <= ENTRY_64)
		return boot_image_refuse(image, problems,
		                         "has %" PRIu64
		                         " bytes of code by its header (syssize): it is corrupt",
		                         plan->length);
	if (image->size + PARAGRAPH - 1 < plan->offset + plan->length)
		return boot_image_refuse(image, problems,
		                         "is truncated: its header says %" PRIu64
		                         " bytes, the file has %" PRIu64,
		                         plan->offset + plan->length, image->size);
	plan->length = MIN(plan->length, image->size - plan->offset);
	if (payload_end > plan->length)
		return boot_image_refuse(image, problems,
		                         "is corrupt: its payload ends at byte %" PRIu64
		                         " of %" PRIu64,
		                         payload_end, plan->length);
	if (hdr->init_size < plan->length)
		return boot_image_refuse(image, problems,
		                         "is corrupt: it says that it unpacks in %u bytes and is "
		                         "%" PRIu64 " bytes long (init_size, syssize)",
		                         hdr->init_size, plan->length);
	return 0;
}

/* Decides where the kernel goes. */
static int place(const struct boot_image *image, const struct setup_header *hdr,
                 const struct guest_memory *memory, struct problems *problems,
                 struct bzimage_plan *plan)
{
	uint64_t ram_end = guest_memory_below_hole(memory);
	uint64_t align = hdr->kernel_alignment;
	uint64_t load = hdr->pref_address;

	if (hdr->relocatable_kernel) {
		if (align == 0 || (align & (align - 1)) != 0)
			return boot_image_refuse(image, problems,
			                         "is corrupt: its alignment 0x%" PRIx64
			                         " is not a power of two",
			                         align);
		load = MAX(load, (uint64_t)LAYOUT_KERNEL);
		if (load < ram_end) /* no overflow: below the hole, and align is 32 bits wide */
			load = ALIGN_UP(load, align);
	} else if (load < LAYOUT_KERNEL) {
		return boot_image_refuse(image, problems,
		                         "is not relocatable and wants to lie at 0x%" PRIx64
		                         ", below 1 MiB",
		                         load);
	}
	if (load >= ram_end || hdr->init_size > ram_end - load)
		return boot_image_refuse(image, problems,
		                         "needs %u bytes at 0x%" PRIx64
		                         " to unpack itself, and RAM below 4 GiB ends at 0x%" PRIx64
		                         ": give the guest more memory",
		                         hdr->init_size, load, ram_end);
	plan->load = load;
	plan->limits = (struct kernel_limits){
		.base = load,
		.end = load + hdr->init_size,
		.initrd_limit = (uint64_t)hdr->initrd_addr_max + 1,
		.cmdline_max = hdr->cmdline_size,
	};
	return 0;
}

int bzimage_plan(const struct boot_image *image, const struct guest_memory *memory,
                 struct problems *problems, struct bzimage_plan *ret)
{
	struct bzimage_plan plan = { 0 };
	struct setup_header hdr = { 0 };
	size_t header_end;
	int r;

	if (image->size < BZIMAGE_HEADER_END_MAX)
		return boot_image_refuse(image, problems,
		                         "is truncated: %" PRIu64
		                         " bytes do not hold the setup header",
		                         image->size);
	r = boot_image_read(image, BZIMAGE_HEADER_START, plan.header, sizeof(plan.header),
	                    problems);
	if (r < 0)
		return r;
	memcpy(&hdr, plan.header, sizeof(hdr));
	header_end = JUMP_END + (hdr.jump >> 8);
	r = check_kind(image, &hdr, header_end, problems);
	if (r < 0)
		return r;
	plan.header_size = header_end - BZIMAGE_HEADER_START;
	r = check_sizes(image, &hdr, problems, &plan);
	if (r < 0)
		return r;
	r = place(image, &hdr, memory, problems, &plan);
	if (r < 0)
		return r;
	*ret = plan;
	return 0;
}

/* Fills boot_params: all zero except the kernel's own header, the loader's fields in it, the memory
 * map and the RSDP. There is no screen, no EDD, no EFI. */
static void fill_boot_params(const struct bzimage_plan *plan,
                             const struct kernel_handover *handover, struct boot_params *params)
{
	memset(params, 0, sizeof(*params));
	memcpy((uint8_t *)params + BZIMAGE_HEADER_START, plan->header, plan->header_size);
	params->hdr.type_of_loader = LOADER_UNDEFINED;
	params->hdr.ext_loader_type = 0;
	params->hdr.ext_loader_ver = 0;
	params->hdr.loadflags =
		(uint8_t)(params->hdr.loadflags & ~(CAN_USE_HEAP | KEEP_SEGMENTS | KASLR_FLAG));
	params->hdr.code32_start = (uint32_t)plan->load;
	params->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	params->hdr.ramdisk_image = (uint32_t)handover->initrd_base;
	params->hdr.ramdisk_size = (uint32_t)handover->initrd_size;
	params->ext_ramdisk_image = (uint32_t)(handover->initrd_base >> 32);
	params->ext_ramdisk_size = (uint32_t)(handover->initrd_size >> 32);
	params->hdr.hardware_subarch = 0;
	params->hdr.setup_data = 0;
	params->acpi_rsdp_addr = handover->rsdp;
	for (size_t i = 0; i < handover->e820.count; i++) {
		const struct e820_range *range = &handover->e820.ranges[i];

		params->e820_table[i] = (struct boot_e820_entry){
			.addr = range->base,
			.size = range->size,
			.type = range->type,
		};
	}
	params->e820_entries = (uint8_t)handover->e820.count;
}

int bzimage_load(const struct boot_image *image, const struct bzimage_plan *plan,
                 const struct kernel_handover *handover, const struct guest_memory *memory,
                 struct problems *problems, struct boot_entry *ret)
{
	struct boot_entry entry = {
		.rip = plan->load + ENTRY_64,
		.rsi = LAYOUT_BOOT_PARAMS,
	};
	struct boot_params params;
	int r;

	fill_boot_params(plan, handover, &params);
	r = boot_place(memory, GPA(LAYOUT_BOOT_PARAMS), &params, sizeof(params), "boot parameters",
	               problems);
	if (r < 0)
		return r;
	r = long_mode_write(BOOT_LONG_MODE, memory, problems, &entry);
	if (r < 0)
		return r;
	r = boot_image_load(image, plan->offset, plan->length, GPA(plan->load), memory, problems);
	if (r < 0)
		return r;
	*ret = entry;
	return 0;
}
