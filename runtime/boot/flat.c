/* SPDX-License-Identifier: MIT */
/* Flat images: 64-bit code that is copied to an address and started at its first byte. */
#include <errno.h>
#include <inttypes.h>

#include "boot/boot.h"
#include "boot/image.h"
#include "boot/long_mode.h"
#include "guest/layout.h"

#define PAGE 4096u

int boot_load_flat(const struct boot_flat_config *config, const struct guest_memory *memory,
                   struct problems *problems, struct boot_entry *ret)
{
	uint64_t ram_end = guest_memory_below_hole(memory);
	uint64_t base = config->load_address;
	struct boot_entry entry = { .rip = base };
	struct boot_image image;
	int r, bad = 0;

	r = boot_image_open(&config->image, "image", ERROR_CODE_IMAGE_INVALID, problems, &image);
	if (r < 0)
		bad = r;
	if (base < LAYOUT_KERNEL || base % PAGE != 0)
		bad = problems_add(problems, ERROR_CODE_SPEC_INVALID, EINVAL,
		                   config->load_address_field,
		                   "an image cannot be loaded at 0x%" PRIx64
		                   ": give a page-aligned address of at least 0x%x",
		                   base, LAYOUT_KERNEL);
	else if (base >= ram_end)
		bad = problems_add(problems, ERROR_CODE_SPEC_INVALID, EINVAL,
		                   config->load_address_field,
		                   "an image cannot be loaded at 0x%" PRIx64
		                   ": RAM below 4 GiB ends at 0x%" PRIx64,
		                   base, ram_end);
	else if (r == 0 && image.size > ram_end - base)
		bad = boot_image_refuse(&image, problems,
		                        "is %" PRIu64 " bytes long and there are %" PRIu64
		                        " bytes of RAM at its load address 0x%" PRIx64
		                        ": give the guest more memory",
		                        image.size, ram_end - base, base);
	if (bad < 0)
		return bad;
	r = long_mode_write(BOOT_LONG_MODE, memory, problems, &entry);
	if (r < 0)
		return r;
	r = boot_image_load(&image, 0, image.size, GPA(base), memory, problems);
	if (r < 0)
		return r;
	*ret = entry;
	return 0;
}
