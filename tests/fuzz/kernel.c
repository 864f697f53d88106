/* SPDX-License-Identifier: MIT */
/* Kernels, initrds, command lines and flat images, of any content, into machines of several shapes.
 * What is taken has its entry in RAM, and leaves the map of memory whole. */
#include "lib/input.h"

#include "boot/boot.h"
#include "boot/e820.h"
#include "guest/layout.h"
#include "rig/boot_guest.h"

#define SHAPES 4

static struct guest_memory shapes[SHAPES];
static int kernel_file, initrd_file;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint64_t sizes[SHAPES][3] = {
		{ 64 * MIB },
		{ MIB },
		{ 17 * MIB + 4096, 40 * MIB - 4096 },
		{ 3 * MIB, 4096, 48 * MIB },
	};
	static const size_t nodes[SHAPES] = { 1, 1, 2, 3 };

	(void)argc, (void)argv;
	for (size_t i = 0; i < SHAPES; i++)
		shapes[i] = guest_new(sizes[i], nodes[i]);
	kernel_file = memfd_create("kernel", MFD_CLOEXEC);
	initrd_file = memfd_create("initrd", MFD_CLOEXEC);
	return 0;
}

static void fill(int fd, const void *bytes, size_t length)
{
	cr_assert_eq(ftruncate(fd, 0), 0);
	cr_assert_eq(pwrite(fd, bytes, length, 0), (ssize_t)length);
}

static void clear(const struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		cr_assert_eq(madvise(memory->regions[i].hva, memory->regions[i].size,
		                     MADV_DONTNEED),
		             0);
}

static void check_map(const struct guest_memory *memory)
{
	struct e820_map map;
	uint64_t end = 0, ram = 0;

	e820_build(memory, &map);
	cr_assert_leq(map.count, E820_RANGES_MAX);
	for (size_t i = 0; i < map.count; i++) {
		cr_assert_geq(map.ranges[i].base, end);
		cr_assert_gt(map.ranges[i].size, 0);
		end = map.ranges[i].base + map.ranges[i].size;
		if (map.ranges[i].base < GUEST_HOLE_START)
			ram += map.ranges[i].size;
	}
	cr_assert_eq(ram, guest_memory_below_hole(memory));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char cmdline[0x11000];
	struct input input = { data, size };
	uint8_t what = (uint8_t)take(&input, 1);
	const struct guest_memory *memory = &shapes[what % SHAPES];
	struct problems problems = { 0 };
	struct boot_entry entry = { 0 };
	size_t cmdline_length = take(&input, 2) % sizeof(cmdline);
	uint64_t address = take(&input, 4);
	int r;

	fill(initrd_file, data, MIN(size, (size_t)what * 4));
	fill(kernel_file, input.at, input.left);
	if (what & 4) {
		const struct boot_flat_config config = {
			.image = { kernel_file, "image" },
			.load_address = address,
			.load_address_field = "load_address",
		};

		r = boot_load_flat(&config, memory, &problems, &entry);
	} else {
		const struct boot_linux_config config = {
			.kernel = { kernel_file, "kernel" },
			.initrd = { what & 8 ? initrd_file : -1, "initrd" },
			.cmdline = cmdline,
			.cmdline_field = "cmdline",
			.rsdp = LAYOUT_ACPI,
		};

		memset(cmdline, 'x', cmdline_length);
		cmdline[cmdline_length] = '\0';
		r = boot_load_linux(&config, memory, &problems, &entry);
	}
	cr_assert_eq(r == 0, problems.count == 0);
	if (r == 0)
		cr_assert_not_null(guest_memory_at(memory, GPA(entry.rip), 1));
	check_map(memory);
	clear(memory);
	return 0;
}
