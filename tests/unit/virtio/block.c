/* SPDX-License-Identifier: MIT */
/* virtio-blk through a real io_uring on files: what it does, and what it refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "rig/block_guest.h"

#define SECTORS (DISK_BYTES / DISK_SECTOR)
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define DATA_0 DISK_DATA

static struct disk_guest g;

static void set_up(void)
{
	disk_start(&g, &(struct disk_options){ 0 });
}

/* A folder whose files can be zeroed and keep their blocks, which those of tmpfs cannot; /tmp is
 * one of those in Debian 13. The last one is where the build is. */
static const char *zeroing_directory(void)
{
	static char own[200];
	const char *const places[] = { "/tmp", "/var/tmp", own };
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);

	cr_assert_gt(n, 0);
	*strrchr(own, '/') = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char path[256];
		int fd, r;

		snprintf(path, sizeof(path), "%s/axvm-block.XXXXXX", places[i]);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd < 0)
			continue;
		r = fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096);
		unlink(path);
		close(fd);
		if (r == 0)
			return places[i];
	}
	cr_assert_fail("no file system here zeroes ranges: not /tmp, /var/tmp, %s", own);
	return NULL;
}

static void set_up_zeroing(void)
{
	disk_start(&g, &(struct disk_options){ .directory = zeroing_directory() });
}

/* On tmpfs. */
static void set_up_unable(void)
{
	disk_start(&g, &(struct disk_options){ .directory = "/dev/shm" });
}

static void set_up_read_only(void)
{
	disk_start(&g, &(struct disk_options){ .read_only = true });
}

static void tear_down(void)
{
	disk_stop(&g);
}

static void pattern(uint8_t *data, size_t length, uint8_t seed)
{
	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(i * 7 + i / 256 + seed);
}

static blkcnt_t blocks_of_file(void)
{
	struct stat st;

	cr_assert_eq(fsync(g.fd), 0);
	cr_assert_eq(fstat(g.fd, &st), 0);
	return st.st_blocks;
}

static off_t length_of_file(void)
{
	return lseek(g.fd, 0, SEEK_END);
}

TestSuite(block, .timeout = 60);

Test(block, what_is_written_is_in_the_file, .init = set_up, .fini = tear_down)
{
	uint8_t expected[8192], found[8192];

	pattern(expected, sizeof(expected), 3);
	memcpy(disk_data(&g, 0), expected, sizeof(expected));
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 5, sizeof(expected)), OK);
	cr_assert_eq(ring_used(&g.rings[0], 0).length, 1);
	cr_assert_eq(pread(g.fd, found, sizeof(found), 5 * 512), (ssize_t)sizeof(found));
	cr_assert_arr_eq(found, expected, sizeof(found));
	memset(disk_data(&g, 0), 0, sizeof(expected));
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 5, sizeof(expected)), OK);
	cr_assert_eq(ring_used(&g.rings[0], 1).length, sizeof(expected) + 1);
	cr_assert_arr_eq(disk_data(&g, 0), expected, sizeof(expected));
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_FLUSH, 0, 0), OK);
	cr_assert_eq(block_count(&g.block, BLOCK_BYTES_READ), sizeof(expected));
	cr_assert_eq(block_count(&g.block, BLOCK_BYTES_WRITTEN), sizeof(expected));
	cr_assert_eq(block_count(&g.block, BLOCK_FLUSHES), 1);
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
}

Test(block, serial_and_configuration, .init = set_up, .fini = tear_down)
{
	uint64_t config = g.driver.bar + VIRTIO_BAR_DEVICE;

	memset(disk_data(&g, 0), 0xff, 21);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES), OK);
	cr_assert_arr_eq(disk_data(&g, 0), "a-serial\0\0\0\0\0\0\0\0\0\0\0\0\xff", 21);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_GET_ID, 0, 4), OK);
	cr_assert_eq(mmio_in(&g.m, config, 4), SECTORS);
	cr_assert_eq(mmio_in(&g.m, config + offsetof(struct virtio_blk_config, num_queues), 2),
	             DISK_QUEUES);
	cr_assert_eq(mmio_in(&g.m, config + offsetof(struct virtio_blk_config, blk_size), 4), 512);
	cr_assert_eq(mmio_in(&g.m, config + offsetof(struct virtio_blk_config, seg_max), 4),
	             DISK_SIZE - 2);
	cr_assert_eq(mmio_in(&g.m, config + offsetof(struct virtio_blk_config, wce), 1), 1);
}

/* A chain of descriptors of the lengths given, cut where it hurts. */
Test(block, a_request_may_be_cut_into_descriptors_anywhere, .init = set_up, .fini = tear_down)
{
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_OUT, .sector = 1 };
	const struct virtio_blk_outhdr read = { .type = VIRTIO_BLK_T_IN, .sector = 1 };
	uint8_t *at = disk_data(&g, 0);

	/* Header and data in one, cut at 3 and 100, then a status inside a buffer. */
	memcpy(at, &header, 16);
	pattern(at + 16, 1024, 9);
	ring_desc(&g.rings[0], 0, DATA_0, 3, VRING_DESC_F_NEXT, 1);
	ring_desc(&g.rings[0], 1, DATA_0 + 3, 97, VRING_DESC_F_NEXT, 2);
	ring_desc(&g.rings[0], 2, DATA_0 + 100, 16 + 1024 - 100, VRING_DESC_F_NEXT, 3);
	ring_desc(&g.rings[0], 3, DATA_0 + 0x2000, 1, DISK_IN, 0);
	at[0x2000] = 0xee;
	ring_offer(&g.rings[0], 0);
	disk_await(&g, 0, 1);
	cr_assert_eq(at[0x2000], OK);
	memcpy(at + 0x3000, &read, 16);
	ring_desc(&g.rings[0], 8, DATA_0 + 0x3000, 16, VRING_DESC_F_NEXT, 9);
	ring_desc(&g.rings[0], 9, DATA_0 + 0x4000, 1, VRING_DESC_F_NEXT | DISK_IN, 10);
	ring_desc(&g.rings[0], 10, DATA_0 + 0x4001, 1024, DISK_IN, 0);
	at[0x4400] = 0xee;
	ring_offer(&g.rings[0], 8);
	disk_await(&g, 0, 1);
	cr_assert_eq(at[0x4400], OK);
	cr_assert_arr_eq(at + 0x4000, at + 16, 1024);
	cr_assert_eq(ring_used(&g.rings[0], 1).length, 1025);
}

Test(block, indirect_and_across_regions, .init = set_up, .fini = tear_down)
{
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_OUT, .sector = 0 };
	uint64_t edge = RING_NODE_BYTES - 512;
	uint8_t expected[1024], found[1024];

	pattern(expected, sizeof(expected), 1);
	cr_assert_eq(guest_memory_write(&g.m.memory, GPA(edge), expected, sizeof(expected)), 0);
	cr_assert_eq(guest_memory_write(&g.m.memory, GPA(DATA_0), &header, 16), 0);
	ring_table_desc(&g.rings[0], DATA_0 + 0x100, 0, DATA_0, 16, VRING_DESC_F_NEXT, 1);
	ring_table_desc(&g.rings[0], DATA_0 + 0x100, 1, edge, 1024, VRING_DESC_F_NEXT, 2);
	ring_table_desc(&g.rings[0], DATA_0 + 0x100, 2, DATA_0 + 0x200, 1, DISK_IN, 0);
	ring_desc(&g.rings[0], 4, DATA_0 + 0x100, 48, VRING_DESC_F_INDIRECT, 0);
	disk_data(&g, 0)[0x200] = 0xee;
	ring_offer(&g.rings[0], 4);
	disk_await(&g, 0, 1);
	cr_assert_eq(disk_data(&g, 0)[0x200], OK);
	cr_assert_eq(pread(g.fd, found, sizeof(found), 0), (ssize_t)sizeof(found));
	cr_assert_arr_eq(found, expected, sizeof(found));
}

Test(block, several_queues_are_served_at_once, .init = set_up, .fini = tear_down)
{
	for (uint16_t round = 0; round < 40; round++) {
		for (uint16_t slot = 0; slot < 12; slot++) {
			pattern(disk_data(&g, slot), 4096, (uint8_t)(round + slot));
			disk_offer(&g, slot % 2, slot, VIRTIO_BLK_T_OUT, 8u * slot, 4096);
		}
		driver_kick(&g.driver, 0);
		driver_kick(&g.driver, 1);
		driver_await_used(&g.rings[0], (uint16_t)(12 * round + 6));
		driver_await_used(&g.rings[1], (uint16_t)(12 * round + 6));
		for (uint16_t slot = 0; slot < 12; slot++) {
			cr_assert_eq(*disk_status(&g, slot), OK);
			memset(disk_data(&g, slot), 0, 4096);
			disk_offer(&g, (slot + 1) % 2, slot, VIRTIO_BLK_T_IN, 8u * slot, 4096);
		}
		driver_kick(&g.driver, 0);
		driver_kick(&g.driver, 1);
		driver_await_used(&g.rings[0], (uint16_t)(12 * round + 12));
		driver_await_used(&g.rings[1], (uint16_t)(12 * round + 12));
		for (uint16_t slot = 0; slot < 12; slot++) {
			uint8_t expected[4096];

			pattern(expected, sizeof(expected), (uint8_t)(round + slot));
			cr_assert_eq(*disk_status(&g, slot), OK);
			cr_assert_arr_eq(disk_data(&g, slot), expected, sizeof(expected));
		}
	}
	/* A batch is one turn: far fewer system calls than requests. */
	cr_assert_lt(atomic_load(&g.m.loop.stats.enters), 40 * 24);
}

Test(block, refused_with_an_io_error, .init = set_up, .fini = tear_down)
{
	const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t length;
		uint8_t status;
	} rows[] = {
		{ VIRTIO_BLK_T_IN, SECTORS, 512, IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 1024, IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 512, OK },
		{ VIRTIO_BLK_T_OUT, SECTORS, 512, IOERR },
		{ VIRTIO_BLK_T_OUT, SECTORS - 1, 1024, IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX, 512, IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX / 512, 512, IOERR },
		{ VIRTIO_BLK_T_IN, 1ULL << 55, 512, IOERR },
		{ VIRTIO_BLK_T_IN, 0, 511, IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 513, IOERR },
		{ VIRTIO_BLK_T_IN, 0, 0, IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 0, IOERR },
		{ VIRTIO_BLK_T_FLUSH, 0, 512, IOERR },
		{ VIRTIO_BLK_T_SCSI_CMD, 0, 512, UNSUPP },
		{ VIRTIO_BLK_T_SECURE_ERASE, 0, 16, UNSUPP },
		{ 3, 0, 512, UNSUPP },
		{ 12, 0, 512, UNSUPP },
		{ 1000, 0, 512, UNSUPP },
		{ UINT32_MAX, 0, 512, UNSUPP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_assert_eq(disk_ask(&g, rows[i].type, rows[i].sector, rows[i].length),
		             rows[i].status, "row %zu", i);
	cr_assert_eq(length_of_file(), DISK_BYTES);
	cr_assert_eq(atomic_load(&g.m.event_count), 0, "a guest's mistakes are no events");
	cr_assert_eq(driver_status(&g.driver) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

Test(block, buffers_of_the_wrong_direction_are_io_errors, .init = set_up, .fini = tear_down)
{
	blkcnt_t before = blocks_of_file();

	/* A read into what the device may only read, and a write from what it may only write. */
	disk_offer(&g, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	ring_desc(&g.rings[0], 1, DATA_0, 512, VRING_DESC_F_NEXT, 2);
	disk_await(&g, 0, 1);
	cr_assert_eq(*disk_status(&g, 0), IOERR);
	disk_offer(&g, 0, 0, VIRTIO_BLK_T_OUT, 0, 512);
	ring_desc(&g.rings[0], 1, DATA_0, 512, VRING_DESC_F_NEXT | DISK_IN, 2);
	disk_await(&g, 0, 1);
	cr_assert_eq(*disk_status(&g, 0), IOERR);
	cr_assert_eq(blocks_of_file(), before);
}

static void expect_reset_and_recovery(const char *message)
{
	driver_kick(&g.driver, 0);
	machine_await_events(&g.m, 1);
	cr_assert(g.m.events[0].needs_reset);
	cr_assert_str_eq(g.m.events[0].message, message);
	cr_assert(driver_status(&g.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert_eq(ring_used_idx(&g.rings[0]), 0);
	disk_bring_up(&g, 0);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 512), OK);
}

Test(block, a_short_header_needs_a_reset, .init = set_up, .fini = tear_down)
{
	disk_offer(&g, 0, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	ring_desc(&g.rings[0], 0, DISK_HEADERS, 15, VRING_DESC_F_NEXT, 2);
	expect_reset_and_recovery("a request whose header is shorter than 16 bytes");
}

/* The good one is under way when the bad one is seen; it ends in silence. */
Test(block, a_request_in_flight_of_a_failed_disk_leaves_its_status, .init = set_up,
     .fini = tear_down)
{
	uint8_t before;

	disk_offer(&g, 0, 1, VIRTIO_BLK_T_FLUSH, 0, 0);
	before = *disk_status(&g, 1);
	disk_offer(&g, 0, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	ring_desc(&g.rings[0], 0, DISK_HEADERS, 15, VRING_DESC_F_NEXT, 2);
	driver_kick(&g.driver, 0);
	machine_await_events(&g.m, 1);
	/* A reset is over once nothing is in flight. */
	disk_bring_up(&g, 0);
	cr_assert_eq(*disk_status(&g, 1), before);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 512), OK);
}

Test(block, no_status_needs_a_reset, .init = set_up, .fini = tear_down)
{
	disk_offer(&g, 0, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	ring_desc(&g.rings[0], 2, DISK_HEADERS + 16, 1, DISK_OUT, 0);
	expect_reset_and_recovery("a request without a writable byte for its status");
}

Test(block, a_read_only_disk_refuses_writes, .init = set_up_read_only, .fini = tear_down)
{
	uint64_t offered = driver_offered(&g.driver);

	cr_assert(offered & VIRTIO_FEATURE(VIRTIO_BLK_F_RO));
	cr_assert_eq(offered & (VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD) |
	                        VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE)),
	             0);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 4096), OK);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_FLUSH, 0, 0), OK);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 0, 4096), IOERR);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_DISCARD, 0, 16), UNSUPP);
	cr_assert_eq(atomic_load(&g.m.event_count), 0, "it is refused, not tried");
	cr_assert_eq(blocks_of_file(), 0);
}

static uint8_t ask_ranges(uint32_t type, const struct virtio_blk_discard_write_zeroes *ranges,
                          uint32_t bytes)
{
	memcpy(disk_data(&g, 0), ranges, bytes);
	return disk_ask(&g, type, 0, bytes);
}

Test(block, discard_and_write_zeroes, .init = set_up_zeroing, .fini = tear_down)
{
	const struct virtio_blk_discard_write_zeroes two[] = { { 0, 32, 0 }, { 64, 64, 0 } };
	const struct virtio_blk_discard_write_zeroes unmap = { 256, 64, 1 };
	const struct virtio_blk_discard_write_zeroes keep = { 384, 32, 0 };
	uint8_t found[512], zeroes[512] = { 0 };
	blkcnt_t before;

	for (uint64_t sector = 0; sector < SECTORS; sector += 64) {
		memset(disk_data(&g, 0), 0x5a, 32768);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, sector, 32768), OK);
	}
	before = blocks_of_file();
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_DISCARD, two, sizeof(two)), OK);
	cr_assert_leq(blocks_of_file(), before - 96);
	before = blocks_of_file();
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &unmap, sizeof(unmap)), OK);
	cr_assert_leq(blocks_of_file(), before - 64);
	before = blocks_of_file();
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &keep, sizeof(keep)), OK);
	cr_assert_geq(blocks_of_file(), before, "zeroes not to be unmapped keep their blocks");
	for (uint64_t sector = 0; sector < SECTORS; sector++) {
		bool gone = sector < 32 || (sector >= 64 && sector < 128) ||
		            (sector >= 256 && sector < 320) || (sector >= 384 && sector < 416);

		cr_assert_eq(pread(g.fd, found, 512, (off_t)sector * 512), 512);
		cr_assert_eq(!memcmp(found, zeroes, 512), gone, "sector %lu", sector);
	}
	cr_assert_eq(length_of_file(), DISK_BYTES);
}

/* They are written. */
Test(block, write_zeroes_that_the_file_system_cannot_do, .init = set_up_unable, .fini = tear_down)
{
	const struct virtio_blk_discard_write_zeroes keep = { 0, 32, 0 }, unmap = { 0, 32, 1 };

	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &keep, sizeof(keep)), OK);
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &unmap, sizeof(unmap)), OK);
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
	cr_assert_eq(block_count(&g.block, BLOCK_ERRORS), 0);
}

Test(block, requests_beyond_the_capacity_are_refused, .init = set_up_zeroing, .fini = tear_down)
{
	struct virtio_blk_discard_write_zeroes many[BLOCK_RANGES_MAX + 1] = { 0 };
	const struct {
		struct virtio_blk_discard_write_zeroes range;
		uint8_t discard, zeroes;
	} rows[] = {
		{ { 0, 8, 0 }, OK, OK },
		{ { 0, 0, 0 }, OK, OK },
		{ { SECTORS, 0, 0 }, OK, OK },
		{ { 0, 8, 1 }, UNSUPP, OK },
		{ { 0, 8, 2 }, UNSUPP, UNSUPP },
		{ { SECTORS - 7, 8, 0 }, IOERR, IOERR },
		{ { UINT64_MAX, 8, 0 }, IOERR, IOERR },
		{ { UINT64_MAX - 7, 8, 0 }, IOERR, IOERR },
		{ { 0, UINT32_MAX, 0 }, IOERR, IOERR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cr_assert_eq(ask_ranges(VIRTIO_BLK_T_DISCARD, &rows[i].range, 16), rows[i].discard,
		             "row %zu", i);
		cr_assert_eq(ask_ranges(VIRTIO_BLK_T_WRITE_ZEROES, &rows[i].range, 16),
		             rows[i].zeroes, "row %zu", i);
	}
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_DISCARD, many, 16 * BLOCK_RANGES_MAX), OK);
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_DISCARD, many, sizeof(many)), IOERR);
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_DISCARD, many, 17), IOERR);
	/* Not negotiated: not there. */
	disk_bring_up(&g, VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD));
	cr_assert_eq(ask_ranges(VIRTIO_BLK_T_DISCARD, many, 16), UNSUPP);
}

Test(block, reading_beyond_a_truncated_image_is_an_io_error, .init = set_up, .fini = tear_down)
{
	cr_assert_eq(ftruncate(g.fd, 6000), 0);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 4096), OK);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 8, 4096), IOERR, "half of it is not there");
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 64, 4096), IOERR);
	machine_await_events(&g.m, 1);
	cr_assert(!g.m.events[0].needs_reset);
	cr_assert_eq(g.m.events[0].error, ENODATA);
	cr_assert_eq(atomic_load(&g.m.event_count), 1, "one event, not one for each request");
	cr_assert_eq(block_count(&g.block, BLOCK_ERRORS), 2);
}

Test(block, a_full_host_is_an_io_error)
{
	char directory[] = "/tmp/axvm-full.XXXXXX";
	uint8_t status = OK;

	cr_assert_not_null(mkdtemp(directory));
	if (mount("tmpfs", directory, "tmpfs", 0, "size=128k") < 0) {
		rmdir(directory);
		cr_skip_test("needs to mount a tmpfs");
	}
	disk_start(&g, &(struct disk_options){ .directory = directory });
	for (uint64_t sector = 0; sector < SECTORS && status == OK; sector += 64)
		status = disk_ask(&g, VIRTIO_BLK_T_OUT, sector, 32768);
	cr_assert_eq(status, IOERR);
	machine_await_events(&g.m, 1);
	cr_assert_eq(g.m.events[0].error, ENOSPC);
	cr_assert(!g.m.events[0].needs_reset);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 4096), OK, "the disk goes on");
	disk_stop(&g);
	/* The ring lets go of its files a little later. */
	cr_assert_eq(umount2(directory, MNT_DETACH), 0);
	rmdir(directory);
}

Test(block, reset_with_requests_in_flight, .init = set_up, .fini = tear_down)
{
	for (int round = 0; round < 50; round++) {
		for (uint16_t slot = 0; slot < 14; slot++)
			disk_offer(&g, slot % 2, slot,
			           slot % 3 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_FLUSH, 8u * slot,
			           slot % 3 ? 4096 : 0);
		driver_kick(&g.driver, 0);
		driver_kick(&g.driver, 1);
		driver_reset(&g.driver);
		/* From here on the memory is the driver's again. */
		for (uint16_t slot = 0; slot < 14; slot++)
			*disk_status(&g, slot) = 0x77;
		pause_a_little();
		for (uint16_t slot = 0; slot < 14; slot++)
			cr_assert_eq(*disk_status(&g, slot), 0x77);
		disk_bring_up(&g, 0);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 512), OK);
	}
}

/* ------------------------------------------------------------------------------- large requests */

#define LARGE_MIB 60u
#define LARGE_AT 0x100000u /* the second MiB of guest memory, which nothing else is in */

static void set_up_large(void)
{
	disk_start(&g, &(struct disk_options){ .bytes = 64 * MIB });
}

/* A request of so many buffers of a MiB, which are all the same. */
static void offer_large(uint32_t type, uint32_t mib)
{
	const struct virtio_blk_outhdr header = { .type = type, .sector = 8 };
	struct ring *ring = &g.rings[0];
	uint16_t direction = type == VIRTIO_BLK_T_IN ? DISK_IN : DISK_OUT;

	cr_assert_eq(guest_memory_write(&g.m.memory, GPA(DISK_HEADERS), &header, sizeof(header)),
	             0);
	ring_desc(ring, 0, DISK_HEADERS, sizeof(header), VRING_DESC_F_NEXT, 1);
	for (uint16_t i = 1; i <= mib; i++)
		ring_desc(ring, i, LARGE_AT, MIB, (uint16_t)(VRING_DESC_F_NEXT | direction),
		          (uint16_t)(i + 1));
	ring_desc(ring, (uint16_t)(mib + 1), DISK_HEADERS + sizeof(header), 1, DISK_IN, 0);
	ring_offer(ring, 0);
}

static uint64_t turns(void)
{
	return atomic_load(&g.m.loop.stats.turns);
}

/* The kernel copies on the I/O thread what it has in its cache. As many requests as there can be,
 * of two pieces each, all of which it has: a turn of the loop starts no more than its share of
 * them. */
Test(block, a_turn_starts_its_share, .init = set_up_large, .fini = tear_down)
{
	static uint8_t cached[3 * MIB];
	uint64_t before;

	cr_assert_eq(pread(g.fd, cached, sizeof(cached), 0), (ssize_t)sizeof(cached));
	before = turns();
	for (int i = 0; i < 60; i++)
		offer_large(VIRTIO_BLK_T_IN, 2);
	disk_await(&g, 0, 60);
	cr_assert_geq(turns() - before, 120 * MIB / (BLOCK_TURN_BYTES + BLOCK_PIECE_BYTES));
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 60);
}

/* An operation is no larger than a piece. */
Test(block, large_requests_take_many_operations, .init = set_up_large, .fini = tear_down)
{
	static uint8_t expected[MIB];
	uint64_t sqes;

	pattern(expected, sizeof(expected), 9);
	cr_assert_eq(pwrite(g.fd, expected, sizeof(expected), 4096 + (LARGE_MIB - 1) * (off_t)MIB),
	             (ssize_t)MIB);
	sqes = atomic_load(&g.m.loop.stats.sqes);
	for (int i = 0; i < 3; i++)
		offer_large(VIRTIO_BLK_T_IN, LARGE_MIB);
	disk_await(&g, 0, 3);
	cr_assert_eq(*disk_status(&g, 0), OK);
	cr_assert_eq(ring_used(&g.rings[0], 0).length, LARGE_MIB * MIB + 1);
	cr_assert_arr_eq(guest_memory_at(&g.m.memory, GPA(LARGE_AT), MIB), expected,
	                 sizeof(expected));
	cr_assert_geq(atomic_load(&g.m.loop.stats.sqes) - sqes,
	              3 * LARGE_MIB * MIB / BLOCK_PIECE_BYTES);
	cr_assert_eq(block_count(&g.block, BLOCK_BYTES_READ), 3 * LARGE_MIB * MIB);
}

/* One buffer that is larger than a piece, as in a guest whose memory is in one piece itself. */
Test(block, a_large_buffer_takes_many_operations, .init = set_up_large, .fini = tear_down)
{
	struct guest_region *region = &g.m.memory.regions[1];
	const uint64_t size = 10 * MIB + 512;
	struct ring *ring = &g.rings[0];
	uint8_t *expected = malloc(size);
	uint64_t sqes;

	free(region->hva);
	region->size = 16 * MIB;
	region->hva = malloc(region->size);
	cr_assert(expected && region->hva);
	pattern(expected, size, 7);
	cr_assert_eq(pwrite(g.fd, expected, size, 4096), (ssize_t)size);
	offer_large(VIRTIO_BLK_T_IN, 1);
	ring_desc(ring, 1, LARGE_AT + 3, (uint32_t)size, VRING_DESC_F_NEXT | DISK_IN, 2);
	sqes = atomic_load(&g.m.loop.stats.sqes);
	disk_await(&g, 0, 1);
	cr_assert_eq(*disk_status(&g, 0), OK);
	cr_assert_geq(atomic_load(&g.m.loop.stats.sqes) - sqes, 11);
	cr_assert_eq(memcmp(region->hva + 3, expected, size), 0);
	free(expected);
}

Test(block, a_large_write_is_whole, .init = set_up_large, .fini = tear_down)
{
	static uint8_t found[MIB];
	uint8_t *data = guest_memory_at(&g.m.memory, GPA(LARGE_AT), MIB);

	pattern(data, MIB, 4);
	offer_large(VIRTIO_BLK_T_OUT, 20);
	disk_await(&g, 0, 1);
	cr_assert_eq(*disk_status(&g, 0), OK);
	for (off_t i = 0; i < 20; i++) {
		cr_assert_eq(pread(g.fd, found, sizeof(found), 4096 + i * (off_t)MIB),
		             (ssize_t)MIB);
		cr_assert_arr_eq(found, data, sizeof(found), "MiB %d", (int)i);
	}
	cr_assert_eq(pread(g.fd, found, 1, 4096 + 20 * (off_t)MIB), 1);
	cr_assert_eq(found[0], 0);
	cr_assert_eq(length_of_file(), 64 * (off_t)MIB);
}

/* A reset waits for requests that wait for their turn. */
Test(block, a_reset_amid_large_requests, .init = set_up_large, .fini = tear_down)
{
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 3; i++)
			offer_large(VIRTIO_BLK_T_IN, LARGE_MIB);
		driver_kick(&g.driver, 0);
		disk_bring_up(&g, 0);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 4096), OK);
	}
}
