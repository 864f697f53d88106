/* SPDX-License-Identifier: MIT */
/* Discard and write zeroes: what is offered is what the backing can do, and what is offered is
 * done. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "rig/block_guest.h"
#include "rig/fake_kernel.h"
#include "rig/host_fixture.h"
#include "rig/wait.h"

#define OK VIRTIO_BLK_S_OK
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define F(name) VIRTIO_FEATURE(VIRTIO_BLK_F_##name)

TestSuite(disk_ranges, .timeout = 60);
TestSuite(block_range, .timeout = 120);

/* ---- a file is asked ------------------------------------------------------------------------- */

static const struct file_row {
	int punch, zero; /* what the kernel says; 0 or an error */
	bool discard, zeroes;
	unsigned calls;
} file_rows[] = {
	{ 0, 0, true, true, 3 }, /* the third gives back what the second has allocated */
	{ 0, EOPNOTSUPP, true, false, 2 },
	{ EOPNOTSUPP, 0, false, true, 2 },
	{ EOPNOTSUPP, EOPNOTSUPP, false, false, 2 },
	{ 0, ENOSPC, true, true, 3 },
	{ EDQUOT, ENOSYS, true, false, 2 },
	{ EPERM, EIO, false, false, 2 },
};

static const struct file_row *row;
static unsigned calls;
static bool beyond_and_keeping;

static bool answer_fallocate(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	calls++;
	beyond_and_keeping &=
		(args[1] & FALLOC_FL_KEEP_SIZE) && args[2] == 3 * DISK_SECTOR && args[3] == 4096;
	*ret_result = args[1] == (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)   ? -row->punch
	              : args[1] == (FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE) ? -row->zero
	                                                                        : -EINVAL;
	return true;
}

static int asked(bool read_only)
{
	static const long call = SYS_fallocate;
	struct problems problems = { 0 };
	struct disk_file file;
	char name[40];
	int fd = memfd_create("image", MFD_CLOEXEC);

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, 3 * DISK_SECTOR) < 0 ||
	    fake_kernel_begin(&call, 1, answer_fallocate) < 0)
		return 1;
	beyond_and_keeping = true;
	if (disk_file_open(&(struct disk_file_config){ .fd = -1,
	                                               .path = name,
	                                               .field = "image",
	                                               .read_only = read_only },
	                   &file, &problems) < 0)
		return 2;
	if (read_only)
		return calls == 0 && !file.ranges.discard && !file.ranges.zero && !file.ranges.punch
		               ? 0
		               : 3;
	if (!beyond_and_keeping || calls != row->calls)
		return 4;
	if (file.ranges.align != 1 || file.ranges.command || file.ranges.slow)
		return 5;
	return file.ranges.punch == row->discard && file.ranges.discard == row->discard &&
	                       file.ranges.zero == row->zeroes
	               ? 0
	               : 6;
}

/* Each mode once, beyond the end, with the length kept; one that is only read not at all. */
Test(disk_ranges, a_file_is_asked_beyond_its_end)
{
	for (size_t i = 0; i < ARRAY_SIZE(file_rows); i++)
		for (int read_only = 0; read_only < 2; read_only++) {
			pid_t child = fork();

			row = &file_rows[i];
			cr_assert_geq(child, 0);
			if (child == 0)
				_exit(asked(read_only));
			cr_expect_eq(wait_child(child), 0, "row %zu, read-only %d", i, read_only);
		}
}

/* On the file systems that are here: neither a byte nor the length changes. */
Test(disk_ranges, asking_changes_nothing)
{
	static const char *const places[] = { "/tmp/axvm-range.XXXXXX",
		                              "/dev/shm/axvm-range.XXXXXX" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct problems problems = { 0 };
		struct disk_file file;
		uint8_t before[3 * DISK_SECTOR], after[4096];
		char path[40];
		int fd;

		snprintf(path, sizeof(path), "%s", places[i]);
		fd = mkostemp(path, O_CLOEXEC);
		memset(before, 0x5a, sizeof(before));
		cr_assert_eq(write(fd, before, sizeof(before)), sizeof(before));
		cr_assert_eq(disk_file_open(&(struct disk_file_config){ .fd = -1,
		                                                        .path = path,
		                                                        .field = "image" },
		                            &file, &problems),
		             0);
		cr_assert_eq(pread(fd, after, sizeof(after), 0), sizeof(before), "%s", places[i]);
		cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
		disk_file_close(&file);
		close(fd);
		unlink(path);
	}
}

/* ---- a device is looked up ------------------------------------------------------------------- */

/* Zeroing by fallocate is there always, punching where the queue writes zeroes, the command where
 * it discards and the kernel takes it, discard where it discards and one of the ways does it. */
Test(disk_ranges, a_device_by_its_queue)
{
	static const struct {
		const char *discard, *zeroes; /* NULL: no such file */
		bool command;
		struct disk_ranges expected;
	} rows[] = {
		{ "0", "0", true, { .zero = true, .slow = true } },
		{ NULL, NULL, true, { .zero = true, .slow = true } },
		{ "2147450880", "0", false, { .zero = true, .slow = true } },
		{ "2147450880",
		  "0",
		  true,
		  { .discard = true, .command = true, .zero = true, .slow = true } },
		{ "0", "4096", true, { .punch = true, .zero = true } },
		{ "4294966784",
		  "4294966784",
		  true,
		  { .discard = true, .punch = true, .command = true, .zero = true } },
		{ "2199023255040",
		  "2199023255040",
		  false,
		  { .discard = true, .punch = true, .zero = true } },
	};
	static const char *const queues[] = { "dev/block/8:17/queue", "dev/block/queue" };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t at = 0; at < ARRAY_SIZE(queues); at++) {
			struct fixture_tree tree;
			struct disk_ranges found = { 0 };
			char path[80];

			fixture_tree_new(&tree);
			/* A partition's folder has no queue: its disk's has, one up. */
			fixture_tree_write(&tree, "dev/block/8:17/dev", "8:17\n");
			snprintf(path, sizeof(path), "%s/discard_max_bytes", queues[at]);
			if (rows[i].discard)
				fixture_tree_write(&tree, path, "%s\n", rows[i].discard);
			snprintf(path, sizeof(path), "%s/write_zeroes_max_bytes", queues[at]);
			if (rows[i].zeroes)
				fixture_tree_write(&tree, path, "%s\n", rows[i].zeroes);
			snprintf(path, sizeof(path), "%s/discard_granularity", queues[at]);
			fixture_tree_write(&tree, path, "65536\n");
			disk_ranges_of_device(tree.root, makedev(8, 17), rows[i].command, &found);
			fixture_tree_done(&tree);
			cr_expect(found.discard == rows[i].expected.discard &&
			                  found.punch == rows[i].expected.punch &&
			                  found.command == rows[i].expected.command &&
			                  found.zero == rows[i].expected.zero &&
			                  found.slow == rows[i].expected.slow &&
			                  found.granularity == 65536,
			          "row %zu, %s", i, queues[at]);
		}
}

/* ---- what is offered ------------------------------------------------------------------------- */

static struct disk_guest g;

static void tear_down(void)
{
	disk_stop(&g);
}

Test(block_range, only_what_the_image_can_do_is_offered)
{
	static const struct disk_ranges none = { .align = 1 },
					punch = { .discard = true, .punch = true, .align = 1 },
					all = { .discard = true,
		                                .punch = true,
		                                .zero = true,
		                                .align = 1,
		                                .granularity = 65536 },
					thin = { .discard = true,
		                                 .command = true,
		                                 .zero = true,
		                                 .slow = true,
		                                 .align = 512 };
	static const struct {
		const struct disk_ranges *ranges;
		bool keeps, read_only;
		uint64_t features;
		uint32_t zeroes, may_unmap, alignment; /* of the configuration; sectors */
	} rows[] = {
		{ &none, false, false, F(WRITE_ZEROES), 8192, 0, 8 },
		{ &punch, false, false, F(WRITE_ZEROES) | F(DISCARD), 8192, 1, 8 },
		{ &all, false, false, F(WRITE_ZEROES) | F(DISCARD), 2097152, 1, 128 },
		{ &all, true, false, F(WRITE_ZEROES), 2097152, 0, 128 },
		{ &thin, false, false, F(WRITE_ZEROES) | F(DISCARD), 8192, 0, 8 },
		{ &thin, true, false, F(WRITE_ZEROES), 8192, 0, 8 },
		{ &none, false, true, 0, 8192, 0, 8 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct disk_options options = { .ranges = rows[i].ranges,
			                              .keeps_blocks = rows[i].keeps,
			                              .read_only = rows[i].read_only };

		disk_start(&g, &options);
		cr_assert_eq(driver_offered(&g.driver) & (F(DISCARD) | F(WRITE_ZEROES)),
		             rows[i].features, "row %zu", i);
		cr_assert_eq(g.block.config.max_write_zeroes_sectors, rows[i].zeroes, "row %zu", i);
		cr_assert_eq(g.block.config.write_zeroes_may_unmap, rows[i].may_unmap, "row %zu",
		             i);
		cr_assert_eq(g.block.config.discard_sector_alignment, rows[i].alignment, "row %zu",
		             i);
		cr_assert_eq(!!(g.m.loop.uses & IO_USE_DISCARD),
		             rows[i].ranges == &thin && !rows[i].keeps, "row %zu", i);
		disk_stop(&g);
	}
}

/* ---- what is offered is done ----------------------------------------------------------------- */

static uint8_t ask_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes range = { sector, sectors, flags };

	memcpy(disk_data(&g, 0), &range, sizeof(range));
	return disk_ask(&g, type, 0, sizeof(range));
}

static void fill(uint64_t bytes)
{
	static uint8_t pattern[64 * KIB];

	memset(pattern, 0x5a, sizeof(pattern));
	for (uint64_t at = 0; at < bytes; at += sizeof(pattern))
		cr_assert_eq(pwrite(g.fd, pattern, sizeof(pattern), (off_t)at), sizeof(pattern));
}

static bool zeroes_are(uint64_t sector, uint64_t sectors, uint64_t all)
{
	uint8_t found[DISK_SECTOR], zeroes[DISK_SECTOR] = { 0 }, full[DISK_SECTOR];

	memset(full, 0x5a, sizeof(full));
	for (uint64_t at = 0; at < all; at++) {
		bool zero = at >= sector && at < sector + sectors;

		if (pread(g.fd, found, sizeof(found), (off_t)(at * DISK_SECTOR)) != sizeof(found) ||
		    memcmp(found, zero ? zeroes : full, sizeof(found)) != 0)
			return false;
	}
	return true;
}

static uint64_t blocks(int fd)
{
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks;
}

/* Zeroes that are written are bytes of the turn like any other write's (BLOCK_TURN_BYTES). */
Test(block_range, written_zeroes_are_charged_to_the_turn, .fini = tear_down)
{
	static const struct disk_ranges none = { .align = DISK_SECTOR };

	disk_start(&g, &(struct disk_options){ .ranges = &none });
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 8, 100, 0), OK);
	machine_stop(&g.m, 0);
	cr_assert_eq(g.block.turn_bytes, BLOCK_TURN_BYTES - 100 * DISK_SECTOR);
}

/* On tmpfs, whose files cannot be zeroed and keep their blocks: in pieces, with each sector around
 * untouched. */
Test(block_range, zeroes_are_written_where_nothing_else_does_it, .fini = tear_down)
{
	const uint64_t all = 4096;
	uint64_t before;

	disk_start(&g,
	           &(struct disk_options){ .directory = "/dev/shm", .bytes = all * DISK_SECTOR });
	cr_assert_not(g.block.ranges.zero);
	fill(all * DISK_SECTOR);
	before = blocks(g.fd);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 1000, 1024 + 3, 0), OK);
	cr_assert(zeroes_are(1000, 1027, all));
	cr_assert_eq(blocks(g.fd), before, "they keep their blocks");
	/* Two whole pieces and three sectors. */
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, all, 1, 0), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 1000, 1027,
	                       VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
	             OK);
	cr_assert_lt(blocks(g.fd), before, "unmapped");
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
}

/* A way that fails after all is left, in the middle of a request, and nothing is told of it: it was
 * done. */
Test(block_range, zeroes_go_on_by_the_next_way, .fini = tear_down)
{
	static const struct disk_ranges claimed = { .punch = true, .zero = true, .align = 1 };

	disk_start(&g, &(struct disk_options){ .directory = "/dev/shm", .ranges = &claimed });
	fill(DISK_BYTES);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 3, 77, 0), OK);
	cr_assert(zeroes_are(3, 77, DISK_BYTES / DISK_SECTOR));
	cr_assert_not(g.block.ranges.zero);
	cr_assert(g.block.ranges.punch);
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
}

/* A discard for which there is no way any more: answered so each time, said once, and named what to
 * set. */
Test(block_range, a_discard_that_fails_is_told_once, .fini = tear_down)
{
	static const struct disk_ranges claimed = {
		.discard = true, .punch = true, .command = true, .align = 1
	};

	/* A file that can be written, and has neither fallocate nor commands. */
	disk_start(&g, &(struct disk_options){ .ranges = &claimed, .instead = "/proc/self/comm" });
	cr_assert(driver_offered(&g.driver) & F(DISCARD));
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), UNSUPP);
	cr_assert_eq(atomic_load(&g.m.event_count), 1);
	cr_assert_not_null(strstr(g.m.events[0].message, "`discard` to false"), "%s",
	                   g.m.events[0].message);
	cr_assert_eq(g.m.events[0].error, EOPNOTSUPP);
	cr_assert_eq(block_count(&g.block, BLOCK_ERRORS), 0);
}

/* Of a device, whose blocks are larger than the guest's sectors: only whole ones are given back,
 * and zeroes reach each sector. */
Test(block_range, ranges_that_are_no_whole_blocks, .fini = tear_down)
{
	static const struct disk_ranges large = {
		.discard = true, .punch = true, .zero = true, .align = 8192
	};
	uint64_t before;

	disk_start(&g, &(struct disk_options){ .directory = "/dev/shm", .ranges = &large });
	fill(DISK_BYTES);
	before = blocks(g.fd);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 1, 30, 0), OK);
	cr_assert(zeroes_are(0, 0, DISK_BYTES / DISK_SECTOR), "no whole block is in it");
	cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 1, 31, 0), OK);
	cr_assert(zeroes_are(16, 16, DISK_BYTES / DISK_SECTOR));
	cr_assert_eq(blocks(g.fd), before - 16);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 17, 30,
	                       VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
	             OK);
	cr_assert(zeroes_are(16, 31, DISK_BYTES / DISK_SECTOR));
}

/* ---- a real device --------------------------------------------------------------------------- */

static int backing;

/* A loop device over `backing`, a file in memory; -1: there is none to be had. */
static int loop_device(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	char path[32];
	int fd;

	backing = memfd_create("backing", MFD_CLOEXEC);
	config.fd = (uint32_t)backing;
	for (int i = 0; control >= 0 && i < 50; i++) {
		snprintf(path, sizeof(path), "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ftruncate(backing, MIB) == 0 &&
		    ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
			close(control);
			return fd;
		}
		if (fd < 0 || errno != EBUSY)
			break;
		close(fd);
	}
	return -1;
}

static void on_device(const struct disk_ranges *ranges)
{
	char path[32];
	int fd = loop_device();

	if (fd < 0)
		cr_skip_test("no loop device: %s", errno_text(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	disk_start(&g, &(struct disk_options){ .ranges = ranges, .instead = path, .bytes = MIB });
	close(g.fd);
	g.fd = backing;
	close(fd);
	fill(MIB);
}

/* A kernel that has not the opcode (before 5.19) refuses it with the same error as one that has it
 * refuses an empty range. */
static bool knows_no_opcodes(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	if (args[1] != IORING_REGISTER_PROBE)
		return false;
	memset((void *)(uintptr_t)args[2], 0, sizeof(struct io_uring_probe));
	*ret_result = 0;
	return true;
}

static int found_on_an_old_kernel(int fd, const struct stat *st, const char *sysfs)
{
	static const long call = SYS_io_uring_register;
	struct disk_ranges found;

	if (fake_kernel_begin(&call, 1, knows_no_opcodes) < 0)
		return 1;
	disk_ranges_probe(fd, st, sysfs, 512, &found);
	return !found.command && !found.discard && found.zero ? 0 : 2;
}

/* What a thin volume has: the kernel's command, on a registered file of a restricted ring. */
Test(block_range, a_device_discards_by_the_command)
{
	static const struct disk_ranges thin = {
		.discard = true, .command = true, .zero = true, .align = 512
	};
	struct disk_ranges found;
	uint64_t before;
	struct stat st;
	pid_t child;

	on_device(&thin);
	/* Whether this kernel has it is what the shim itself asks, with a queue that only
	 * discards. */
	{
		struct fixture_tree tree;
		char at[80];

		cr_assert_eq(fstat(g.file.fd, &st), 0);
		fixture_tree_new(&tree);
		snprintf(at, sizeof(at), "dev/block/%u:%u/queue/discard_max_bytes",
		         major(st.st_rdev), minor(st.st_rdev));
		fixture_tree_write(&tree, at, "4096\n");
		disk_ranges_probe(g.file.fd, &st, tree.root, 512, &found);
		child = fork();
		if (child == 0)
			_exit(found_on_an_old_kernel(g.file.fd, &st, tree.root));
		cr_assert_eq(wait_child(child), 0);
		fixture_tree_done(&tree);
	}
	cr_assert(zeroes_are(0, 0, MIB / DISK_SECTOR), "asking has discarded something");
	before = blocks(backing);
	if (found.command) {
		cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 8, 1024, 0), OK);
		WAIT_UNTIL(blocks(backing) <= before - 1016);
		cr_assert_eq(atomic_load(&g.m.event_count), 0);
	} else {
		cr_assert_not(found.discard);
		cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 8, 1024, 0), UNSUPP);
		cr_assert_eq(atomic_load(&g.m.event_count), 1);
	}
	disk_stop(&g);
}

/* Zeroes that are to keep their blocks fail below a loop device over memory, and from then on holes
 * do as well: the kernel takes the limit back. Discards go on by the command. */
Test(block_range, a_discard_goes_on_by_the_command)
{
	struct disk_ranges found;
	uint64_t before;
	struct stat st;

	on_device(NULL);
	cr_assert_eq(fstat(g.file.fd, &st), 0);
	disk_ranges_probe(g.file.fd, &st, "/sys", 512, &found);
	disk_stop(&g);
	if (!found.command)
		cr_skip_test("this kernel has no discard command");
	on_device(&found);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 600, 100, 0), OK);
	before = blocks(backing);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 0, 512, 0), OK);
	WAIT_UNTIL(blocks(backing) <= before - 512);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 1024, 512,
	                       VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
	             OK);
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
	disk_stop(&g);
}

/* As the device is: all that its limits promise is done. */
Test(block_range, a_device_does_what_its_limits_say)
{
	struct disk_ranges found;
	uint64_t before;
	struct stat st;

	on_device(NULL);
	cr_assert_eq(fstat(g.file.fd, &st), 0);
	disk_ranges_probe(g.file.fd, &st, "/sys", 512, &found);
	cr_assert(found.discard && found.punch && found.zero && found.align == 512,
	          "a loop device over memory");
	disk_stop(&g);
	on_device(&found);
	before = blocks(backing);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_DISCARD, 0, 512, 0), OK);
	WAIT_UNTIL(blocks(backing) <= before - 512);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 600, 100, 0), OK);
	cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_FLUSH, 0, 0), OK);
	cr_assert_eq(ask_range(VIRTIO_BLK_T_WRITE_ZEROES, 1024, 512,
	                       VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
	             OK);
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
	disk_stop(&g);
}
