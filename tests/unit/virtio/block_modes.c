/* SPDX-License-Identifier: MIT */
/* virtio-blk: caching, O_DIRECT, limits, another capacity; and which images are taken at all. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "rig/block_guest.h"
#include "rig/wait.h"

#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define WCE offsetof(struct virtio_blk_config, wce)
#define NO_EVENT_IDX VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) /* each completion interrupts */

static struct disk_guest g;

static void tear_down(void)
{
	disk_stop(&g);
}

/* ---- polling ------------------------------------------------------------------------------ */

TestSuite(block_modes, .timeout = 60);
TestSuite(disk_file, .timeout = 60);

Test(block_modes, a_loop_that_polls_needs_no_kicks, .fini = tear_down, .timeout = 60)
{
	uint16_t event;

	disk_start(&g, &(struct disk_options){ .busy_poll_us = 100u * 1000 * 1000 });
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 0, 4096), OK);
	event = ring_avail_event(&g.rings[0]);
	for (uint16_t i = 0; i < 200; i++) {
		uint16_t done = ring_used_idx(&g.rings[0]);

		disk_offer(&g, 0, 0, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_FLUSH, 0,
		           i % 2 ? 4096 : 0);
		driver_await_used(&g.rings[0], (uint16_t)(done + 1));
		cr_assert_eq(*disk_status(&g, 0), OK);
	}
	cr_assert_eq(ring_avail_event(&g.rings[0]), event, "nor does it ask for any");
}

/* The driver's rule (§2.7.10.1), at any moment around the loop's falling asleep: no request is left
 * lying. */
Test(block_modes, a_loop_that_polled_is_woken, .fini = tear_down)
{
	uint32_t kicks = 0, seed = 1;

	disk_start(&g, &(struct disk_options){ .busy_poll_us = 100 });
	for (uint32_t i = 0; i < 2000; i++) {
		uint16_t done = ring_used_idx(&g.rings[0]);

		disk_offer(&g, 0, 0, VIRTIO_BLK_T_IN, 0, 4096);
		atomic_thread_fence(memory_order_seq_cst);
		if (ring_avail_event(&g.rings[0]) == (uint16_t)i) {
			driver_kick(&g.driver, 0);
			kicks++;
		}
		driver_await_used(&g.rings[0], (uint16_t)(done + 1));
		seed = seed * 1103515245u + 12345u;
		for (uint32_t spin = seed >> 16; spin > 0; spin--)
			__builtin_ia32_pause();
	}
	/* How often it had to be is a matter of time, and of whether both threads share a CPU. */
	cr_assert_gt(kicks, 0);
}

/* ---- caching ------------------------------------------------------------------------------ */

/* SQEs that a write costs beside its interrupt: 1 is the write, 2 a write and its sync. */
static uint64_t operations_of_a_write(void)
{
	struct io_stats *stats = &g.m.loop.stats;
	uint64_t before, after;

	/* The first may still be followed by what came before it. */
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 0, 4096), OK);
	WAIT_UNTIL(driver_interrupts(&g.driver, 0) != 0);
	before = atomic_load(&stats->sqes) - atomic_load(&stats->interrupts);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 8, 4096), OK);
	WAIT_UNTIL(driver_interrupts(&g.driver, 0) != 0);
	after = atomic_load(&stats->sqes) - atomic_load(&stats->interrupts);
	return after - before;
}

Test(block_modes, write_back_and_the_drivers_choice, .fini = tear_down)
{
	uint64_t wce;

	disk_start(&g, &(struct disk_options){ .without = NO_EVENT_IDX });
	wce = g.driver.bar + VIRTIO_BAR_DEVICE + WCE;
	cr_assert_eq(mmio_in(&g.m, wce, 1), 1);
	cr_assert_eq(operations_of_a_write(), 1);
	mmio_out(&g.m, wce, 2, 1);
	cr_assert_eq(mmio_in(&g.m, wce, 1), 1, "2 is no mode");
	mmio_out(&g.m, wce - 4, 0, 4);
	mmio_out(&g.m, wce, 0, 4);
	cr_assert_eq(mmio_in(&g.m, wce, 1), 1, "only the byte itself can be written");
	mmio_out(&g.m, wce, 0, 1);
	cr_assert_eq(mmio_in(&g.m, wce, 1), 0);
	cr_assert_eq(operations_of_a_write(), 2);
	mmio_out(&g.m, wce, 1, 1);
	cr_assert_eq(operations_of_a_write(), 1);
}

/* What was written before is flushed when the driver changes to write-through, and only then. */
Test(block_modes, a_change_to_write_through_flushes, .fini = tear_down, .timeout = 30)
{
	static const struct {
		uint8_t wce;
		bool flushes;
	} rows[] = { { 1, false }, { 0, true }, { 0, false }, { 1, false }, { 0, true } };
	const struct io_stats *stats = &g.m.loop.stats;

	disk_start(&g, &(struct disk_options){ .without = NO_EVENT_IDX });
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 0, 4096), OK);
	WAIT_UNTIL(driver_interrupts(&g.driver, 0) != 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t before = atomic_load(&stats->sqes) - atomic_load(&stats->interrupts);
		uint64_t after = before;

		mmio_out(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + WCE, rows[i].wce, 1);
		/* Long enough for a loop that is idle. */
		for (int wait = 0; wait < 2000 && after == before && (rows[i].flushes || wait < 50);
		     wait++) {
			pause_a_little();
			after = atomic_load(&stats->sqes) - atomic_load(&stats->interrupts);
		}
		cr_assert_eq(after - before, rows[i].flushes, "row %zu", i);
	}
}

/* A disk that cannot be written has no cache to speak of. */
Test(block_modes, nobody_changes_the_cache_of_a_read_only_disk, .fini = tear_down)
{
	disk_start(&g, &(struct disk_options){ .read_only = true });
	cr_assert_eq(mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + WCE, 1), 1);
	mmio_out(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + WCE, 0, 1);
	cr_assert_eq(mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + WCE, 1), 1);
}

Test(block_modes, write_through_by_the_spec, .fini = tear_down)
{
	disk_start(&g, &(struct disk_options){ .write_through = true, .without = NO_EVENT_IDX });
	cr_assert_eq(mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + WCE, 1), 0);
	cr_assert_eq(operations_of_a_write(), 2);
	/* A driver that knows no wce gets what the spec says. */
	disk_bring_up(&g, NO_EVENT_IDX | VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
	mmio_out(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + WCE, 1, 1);
	cr_assert_eq(operations_of_a_write(), 2);
}

Test(block_modes, a_driver_that_cannot_flush_gets_write_through, .fini = tear_down)
{
	disk_start(&g, &(struct disk_options){ .without = NO_EVENT_IDX |
	                                                  VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) });
	cr_assert_eq(operations_of_a_write(), 2);
}

/* ---- O_DIRECT ----------------------------------------------------------------------------- */

Test(block_modes, direct_serves_unaligned_buffers, .fini = tear_down)
{
	uint8_t expected[8192], found[8192];

	disk_start(&g, &(struct disk_options){ .directory = "/var/tmp", .direct = true });
	cr_assert_eq(fcntl(g.file.fd, F_GETFL) & O_DIRECT, O_DIRECT);
	for (size_t i = 0; i < sizeof(expected); i++)
		expected[i] = (uint8_t)(i * 11 + i / 256);
	/* Five at once, all at odd addresses, through the one bounce buffer. */
	for (uint16_t slot = 0; slot < 5; slot++) {
		memcpy(disk_data(&g, slot) + 1, expected, sizeof(expected));
		disk_offer(&g, 0, slot, VIRTIO_BLK_T_OUT, 16u * slot, sizeof(expected));
		ring_desc(&g.rings[0], (uint16_t)(slot * 3 + 1), DISK_DATA + slot * 0x10000u + 1,
		          sizeof(expected), VRING_DESC_F_NEXT, (uint16_t)(slot * 3 + 2));
	}
	disk_await(&g, 0, 5);
	for (uint16_t slot = 0; slot < 5; slot++) {
		cr_assert_eq(*disk_status(&g, slot), OK);
		cr_assert_eq(pread(g.fd, found, sizeof(found), slot * 8192), 8192);
		cr_assert_arr_eq(found, expected, sizeof(found));
		memset(disk_data(&g, slot), 0, 8193);
		disk_offer(&g, 0, slot, VIRTIO_BLK_T_IN, 16u * slot, sizeof(expected));
		ring_desc(&g.rings[0], (uint16_t)(slot * 3 + 1), DISK_DATA + slot * 0x10000u + 3,
		          sizeof(expected), VRING_DESC_F_NEXT | DISK_IN, (uint16_t)(slot * 3 + 2));
	}
	disk_await(&g, 0, 5);
	for (uint16_t slot = 0; slot < 5; slot++) {
		cr_assert_eq(*disk_status(&g, slot), OK);
		cr_assert_arr_eq(disk_data(&g, slot) + 3, expected, sizeof(expected));
	}
	cr_assert_eq(block_count(&g.block, BLOCK_BOUNCED), 10);
	/* Aligned ones go straight, of whatever size. */
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 32768), OK);
	cr_assert_eq(block_count(&g.block, BLOCK_BOUNCED), 10);
	if (g.file.logical_block > 512)
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 1, 512), IOERR);
}

/* ---- the rate limit ----------------------------------------------------------------------- */

static uint16_t offer_reads(uint16_t count)
{
	for (uint16_t slot = 0; slot < count; slot++)
		disk_offer(&g, slot % 2, slot, VIRTIO_BLK_T_IN, 0, 4096);
	driver_kick(&g.driver, 0);
	driver_kick(&g.driver, 1);
	return count;
}

static uint32_t used_of_both(void)
{
	return (uint32_t)ring_used_idx(&g.rings[0]) + ring_used_idx(&g.rings[1]);
}

Test(block_modes, a_limit_holds_back_and_lets_go, .fini = tear_down)
{
	/* A few at once, then nothing for an hour: exact, whatever the machine's speed. */
	const struct rate_config fast = { .ops_per_s = 1000, .ops_burst = 1 };
	const struct rate_config slow = { .bytes_per_s = 1, .bytes_burst = 3 * 4096 };
	const struct rate_config none = { 0 };
	uint64_t turns;

	disk_start(&g,
	           &(struct disk_options){ .limit = { .bytes_per_s = 1, .bytes_burst = 8192 } });
	offer_reads(12);
	WAIT_UNTIL(used_of_both() >= 2 && block_count(&g.block, BLOCK_THROTTLED) > 0);
	turns = atomic_load(&g.m.loop.stats.turns);
	for (int i = 0; i < 100; i++)
		pause_a_little();
	cr_assert_eq(used_of_both(), 2);
	cr_assert_leq(atomic_load(&g.m.loop.stats.turns), turns + 2, "a limited queue sleeps");
	/* Requests held back are in nobody's way: the reset needs no token. */
	disk_bring_up(&g, 0);
	offer_reads(4);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(used_of_both(), 0);
	/* A new limit is obeyed at once. */
	block_set_limit(&g.block, &none);
	WAIT_UNTIL(used_of_both() >= 4);
	block_set_limit(&g.block, &slow);
	offer_reads(6);
	WAIT_UNTIL(used_of_both() >= 7);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(used_of_both(), 7);
	/* The rest comes one by one, each after its timer. */
	block_set_limit(&g.block, &fast);
	WAIT_UNTIL(used_of_both() >= 10);
}

/* Tokens that a bucket holds. At one a second it would take a minute to make up for what is taken
 * here. */
static uint64_t tokens(const struct rate_bucket *bucket)
{
	return (uint64_t)(bucket->level / 1000000000);
}

static uint8_t ask_range(uint32_t type, uint64_t sector, uint32_t sectors)
{
	const struct virtio_blk_discard_write_zeroes range = { .sector = sector,
		                                               .num_sectors = sectors };

	memcpy(disk_data(&g, 0), &range, sizeof(range));
	return disk_ask(&g, type, 0, sizeof(range));
}

Test(block_modes, what_a_request_costs, .fini = tear_down, .timeout = 60)
{
	const uint64_t burst = 1000000;
	uint64_t bytes = 0;

	disk_start(&g, &(struct disk_options){ .limit = { .bytes_per_s = 1,
	                                                  .bytes_burst = burst,
	                                                  .ops_per_s = 1,
	                                                  .ops_burst = 1000 } });
	for (int i = 0; i < 25; i++) {
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 4096), OK);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 8, 8192), OK);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_FLUSH, 0, 0), OK);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, DISK_BYTES / 512, 4096), IOERR,
		             "no bytes");
		bytes += 4096 + 8192;
	}
	/* Zeroes cost what they may have to be written with; a discard costs no bytes. */
	for (int i = 0; i < 10; i++) {
		uint8_t status = ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32);

		cr_assert(status == OK || status == VIRTIO_BLK_S_UNSUPP);
		status = ask_range(VIRTIO_BLK_T_DISCARD, 0, 32);
		cr_assert(status == OK || status == VIRTIO_BLK_S_UNSUPP);
		bytes += 32 * 512;
	}
	machine_stop(&g.m, 0);
	cr_assert_geq(tokens(&g.block.limit.bytes), burst - bytes);
	cr_assert_lt(tokens(&g.block.limit.bytes), burst - bytes + 60);
	cr_assert_geq(tokens(&g.block.limit.ops), 1000 - 120);
	cr_assert_lt(tokens(&g.block.limit.ops), 1000 - 120 + 60);
	cr_assert_eq(block_count(&g.block, BLOCK_THROTTLED), 0);
}

Test(block_modes, each_wait_for_the_limit_counts_once, .fini = tear_down, .timeout = 60)
{
	disk_start(&g,
	           &(struct disk_options){ .limit = { .bytes_per_s = 1, .bytes_burst = 8192 } });
	offer_reads(6);
	WAIT_UNTIL(!(used_of_both() < 2 || block_count(&g.block, BLOCK_THROTTLED) == 0));
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(used_of_both(), 2);
	cr_assert_eq(block_count(&g.block, BLOCK_THROTTLED), 1);
}

/* A range is at most as long as the configuration says: 1 GiB, and of zeroes that have to be
 * written (a tmpfs, as /tmp is one in Debian 13) 4 MiB. */
Test(block_modes, ranges_up_to_the_configured_size_are_taken, .fini = tear_down, .timeout = 60)
{
	static const struct {
		uint32_t type, limit;
	} rows[] = {
		{ VIRTIO_BLK_T_DISCARD, offsetof(struct virtio_blk_config, max_discard_sectors) },
		{ VIRTIO_BLK_T_WRITE_ZEROES,
		  offsetof(struct virtio_blk_config, max_write_zeroes_sectors) },
	};

	disk_start(&g, &(struct disk_options){ .bytes = 2 * GIB });
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t type = rows[i].type;
		uint32_t most =
			(uint32_t)mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE + rows[i].limit,
		                          4);
		uint8_t status = ask_range(type, 8, most);

		cr_assert(most == 0x200000 || (most == 0x2000 && type == VIRTIO_BLK_T_WRITE_ZEROES),
		          "%#x", most);
		cr_assert(status == OK || status == VIRTIO_BLK_S_UNSUPP, "%u", status);
		cr_assert_eq(ask_range(type, 8, most + 1), IOERR);
		cr_assert_eq(ask_range(type, 2 * GIB / 512 - 8, 8), status);
		cr_assert_eq(ask_range(type, 2 * GIB / 512 - 8, 9), IOERR);
	}
	cr_assert_eq(lseek(g.fd, 0, SEEK_END), 2 * GIB);
}

/* ---- capacity ----------------------------------------------------------------------------- */

Test(block_modes, a_longer_file_is_capacity_once_it_is_refreshed, .fini = tear_down)
{
	uint64_t capacity = 0;

	disk_start(&g, &(struct disk_options){ .max_size = 2 * DISK_BYTES });
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, DISK_BYTES / 512, 512), IOERR);
	cr_assert_eq(ftruncate(g.fd, 2 * DISK_BYTES), 0);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, DISK_BYTES / 512, 512), IOERR,
	             "not before somebody says so");
	cr_assert_eq(block_refresh_capacity(&g.block, &capacity), 0);
	cr_assert_eq(capacity, 2 * DISK_BYTES);
	WAIT_UNTIL(driver_interrupts(&g.driver, DISK_QUEUES) != 0);
	cr_assert_eq(mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE, 4), 2 * DISK_BYTES / 512);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, DISK_BYTES / 512, 512), OK);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, 2 * DISK_BYTES / 512 - 1, 512), OK,
	             "the new part can be written");
	cr_assert_eq(ftruncate(g.fd, DISK_BYTES / 2 + 100), 0);
	cr_assert_eq(block_refresh_capacity(&g.block, &capacity), -EINVAL);
	cr_assert_eq(mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE, 4), 2 * DISK_BYTES / 512);
	cr_assert_eq(ftruncate(g.fd, DISK_BYTES / 2), 0);
	cr_assert_eq(block_refresh_capacity(&g.block, &capacity), 0);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_OUT, DISK_BYTES / 1024, 512), IOERR);
	cr_assert_eq(lseek(g.fd, 0, SEEK_END), DISK_BYTES / 2);
}

/* What the kernel may refuse to write is not shown to the guest; what is only read may be of any
 * length. */
Test(block_modes, a_capacity_beyond_the_largest)
{
	static const struct {
		struct disk_options options;
		uint64_t most; /* sectors */
	} rows[] = {
		{ { 0 }, DISK_BYTES / 512 },
		{ { .max_size = DISK_BYTES + 1024 }, DISK_BYTES / 512 + 2 },
		{ { .max_size = DISK_BYTES + 1024, .read_only = true }, DISK_BYTES / 512 + 2 },
		{ { .read_only = true }, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t capacity = 77, most = rows[i].most ? rows[i].most : DISK_BYTES / 256;

		disk_start(&g, &rows[i].options);
		cr_assert_eq(ftruncate(g.fd, (off_t)(most * 512)), 0);
		cr_assert_eq(block_refresh_capacity(&g.block, &capacity), 0, "row %zu", i);
		cr_assert_eq(capacity, most * 512);
		capacity = 77;
		cr_assert_eq(ftruncate(g.fd, (off_t)(most * 512 + 512)), 0);
		cr_assert_eq(block_refresh_capacity(&g.block, &capacity), rows[i].most ? -EFBIG : 0,
		             "row %zu", i);
		cr_assert_eq(capacity, rows[i].most ? 77 : most * 512 + 512);
		cr_assert_eq(mmio_in(&g.m, g.driver.bar + VIRTIO_BAR_DEVICE, 4),
		             rows[i].most ? most : most + 1);
		disk_stop(&g);
	}
	disk_start(&g, &(struct disk_options){ 0 });
}

/* ---- images ------------------------------------------------------------------------------- */

static char path[] = "/tmp/axvm-image.XXXXXX";
static int fd;

static void make_image(void)
{
	fd = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, 4096), 0);
}

static void remove_image(void)
{
	close(fd);
	unlink(path);
}

static const struct problem *refused(const struct disk_file_config *config)
{
	static struct problems problems;
	struct disk_file file = { .fd = -7 };

	problems = (struct problems){ 0 };
	cr_assert_lt(disk_file_open(config, &file, &problems), 0);
	cr_assert_eq(file.fd, -7);
	cr_assert_eq(problems.count, 1);
	cr_assert_str_eq(problems.list[0].field, "disks[3].image");
	return &problems.list[0];
}

#define CONFIG(fd_, ...)                                                                           \
	(&(const struct disk_file_config){ .fd = (fd_), .field = "disks[3].image", __VA_ARGS__ })

static void refused_for(const struct disk_file_config *config, enum axvm_error_code code, int error,
                        const char *words)
{
	const struct problem *problem = refused(config);

	cr_assert_eq(problem->code, code, "%s", problem->message);
	cr_assert_eq(problem->error_number, error, "%s", problem->message);
	cr_assert_not_null(strstr(problem->message, words), "%s", problem->message);
}

Test(disk_file, files_that_are_no_disk_are_refused, .init = make_image, .fini = remove_image)
{
	int reader = open(path, O_RDONLY | O_CLOEXEC);
	int appender = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	int writer = open(path, O_WRONLY | O_CLOEXEC);
	int pipes[2];

	cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
	refused_for(CONFIG(-1, .path = "/nonexistent"), ERROR_CODE_RESOURCE_MISSING, ENOENT,
	            "cannot open \"/nonexistent\" for writing");
	refused_for(CONFIG(-1, .path = "/nonexistent", .read_only = true),
	            ERROR_CODE_RESOURCE_MISSING, ENOENT, "for reading");
	refused_for(CONFIG(-1, .path = "/tmp"), ERROR_CODE_RESOURCE_WRONG_KIND, EISDIR,
	            "\"/tmp\" is a directory: name a raw image or a block device");
	refused_for(
		CONFIG(-1, .path = "/dev/null"), ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL,
		"\"/dev/null\" is neither a file nor a block device: name a raw image or a block device");
	refused_for(CONFIG(-1, .path = "/tmp", .read_only = true), ERROR_CODE_RESOURCE_WRONG_KIND,
	            EINVAL, "\"/tmp\" is a directory: name a raw image or a block device");
	refused_for(CONFIG(pipes[0], .read_only = true), ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL,
	            "neither");
	refused_for(CONFIG(777), ERROR_CODE_RESOURCE_MISSING, EBADF, "fd 777 is not open");
	refused_for(CONFIG(reader), ERROR_CODE_RESOURCE_UNREADABLE, EBADF,
	            "cannot be read and written");
	refused_for(CONFIG(appender), ERROR_CODE_RESOURCE_UNREADABLE, EBADF,
	            "cannot be read and written");
	refused_for(CONFIG(writer, .read_only = true), ERROR_CODE_RESOURCE_UNREADABLE, EBADF,
	            "cannot be read");
	cr_assert_eq(ftruncate(fd, 4097), 0);
	refused_for(CONFIG(-1, .path = path), ERROR_CODE_IMAGE_INVALID, EINVAL,
	            "no multiple of 512 bytes: is it a raw image?");
	cr_assert_eq(lseek(fd, 0, SEEK_END), 4097, "an image is never cut");
	cr_assert_eq(ftruncate(fd, 0), 0);
	refused_for(CONFIG(-1, .path = path), ERROR_CODE_IMAGE_INVALID, EINVAL, "is empty");
	close(writer);
	close(reader);
	close(appender);
	close(pipes[0]);
	close(pipes[1]);
}

/* A sector is 512 bytes; half of one would be lost. */
Test(disk_file, lengths_of_half_a_sector_are_refused, .init = make_image, .fini = remove_image)
{
	static const off_t bad[] = { 1, 255, 256, 511, 513, 768, 4096 + 256, 4096 + 511 };
	static const off_t good[] = { 512, 1024, 1536, 4096, 4096 + 512 };
	struct problems problems = { 0 };
	struct disk_file file;
	uint64_t size = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_eq(ftruncate(fd, bad[i]), 0);
		cr_assert_eq(disk_file_length(fd, &size), -EINVAL);
		cr_assert_eq(refused(CONFIG(-1, .path = path))->code, ERROR_CODE_IMAGE_INVALID,
		             "%ld", (long)bad[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		cr_assert_eq(ftruncate(fd, good[i]), 0);
		cr_assert_eq(disk_file_length(fd, &size), 0);
		cr_assert_eq(size, (uint64_t)good[i]);
		cr_assert_eq(disk_file_open(CONFIG(-1, .path = path), &file, &problems), 0, "%ld",
		             (long)good[i]);
		cr_assert_eq(file.size, (uint64_t)good[i]);
		disk_file_close(&file);
	}
}

/* Not even to find out whether it could be: the launcher's descriptor may well be able to write. */
Test(disk_file, what_is_read_only_is_never_discarded, .init = make_image, .fini = remove_image)
{
	struct problems problems = { 0 };
	struct disk_file file;

	for (int read_only = 0; read_only < 2; read_only++) {
		int own = open(path, O_RDWR | O_CLOEXEC);

		cr_assert_eq(disk_file_open(CONFIG(own, .read_only = read_only), &file, &problems),
		             0);
		cr_assert_eq(file.read_only, read_only);
		if (read_only)
			cr_assert_not(file.ranges.discard || file.ranges.punch);
		disk_file_close(&file);
	}
}

Test(disk_file, one_writer_or_many_readers, .init = make_image, .fini = remove_image)
{
	struct problems problems = { 0 };
	struct disk_file first, second, third;

	cr_assert_eq(disk_file_open(CONFIG(-1, .path = path), &first, &problems), 0);
	refused_for(CONFIG(-1, .path = path), ERROR_CODE_RESOURCE_UNREADABLE, EBUSY,
	            "in use by another disk");
	refused_for(CONFIG(-1, .path = path, .read_only = true), ERROR_CODE_RESOURCE_UNREADABLE,
	            EBUSY, "is being written by another");
	disk_file_close(&first);
	cr_assert_eq(disk_file_open(CONFIG(-1, .path = path, .read_only = true), &second,
	                            &problems),
	             0);
	cr_assert_eq(disk_file_open(CONFIG(-1, .path = path, .read_only = true), &third, &problems),
	             0);
	refused_for(CONFIG(-1, .path = path), ERROR_CODE_RESOURCE_UNREADABLE, EBUSY,
	            "in use by another disk");
	disk_file_close(&second);
	disk_file_close(&third);
	cr_assert_eq(disk_file_open(CONFIG(-1, .path = path), &first, &problems), 0);
	cr_assert_eq(first.size, 4096);
	cr_assert_eq(first.logical_block, 512);
	disk_file_close(&first);
}

Test(disk_file, an_fd_is_taken_over, .init = make_image, .fini = remove_image)
{
	struct problems problems = { 0 };
	struct disk_file file;
	int own = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	cr_assert_eq(disk_file_open(CONFIG(own), &file, &problems), 0);
	cr_assert_eq(file.fd, own);
	cr_assert_eq(fcntl(own, F_GETFL) & O_NONBLOCK, 0, "the ring must wait for it");
	disk_file_close(&file);
}
