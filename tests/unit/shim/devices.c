/* SPDX-License-Identifier: MIT */
/* From the spec to a device, where a whole launch would need what a host may not have: huge pages,
 * files that are read by passing the page cache. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/deadline.h"
#include "shim/device/balloon.h"
#include "shim/device/devices.h"
#include "shim/device/table.h"
#include "shim/plan.h"
#include "shim/shim.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/virtio_driver.h"
#include "tests/unit/rig/wait.h"

static struct shim shim;

static void new_shim(void)
{
	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
}

TestSuite(devices, .init = new_shim, .timeout = 60);

/* ---- the table ------------------------------------------------------------------------------- */

/* What every kind has; and that what lists rows in one order lists the same in the other. */
Test(devices, every_kind_has_its_row)
{
	for (size_t i = 0; i < DEVICE_KINDS; i++) {
		const struct device_row *row = device_rows[i];
		size_t turns = 0;

		cr_assert(row->kind && row->field && row->plan && row->create && row->metrics,
		          "row %zu", i);
		for (size_t k = 0; k < DEVICE_KINDS; k++)
			turns += device_turns[k] == row;
		cr_expect_eq(turns, 1, "%s", row->kind);
		cr_expect_eq(strncmp(row->field, row->kind, strlen(row->kind)), 0, "%s", row->kind);
	}
}

/* A report that has no room for all leaves out the last ones, so that the order is seen: a new kind
 * goes to the end. */
Test(devices, counters_keep_their_order)
{
	static const char *const kinds[] = { "console", "disk", "net", "rng", "balloon", "vsock" };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		cr_expect_str_eq(device_rows[i]->kind, kinds[i]);
}

/* ---- the balloon ----------------------------------------------------------------------------- */

/* What guest memory is made of is what is given back; locked memory is given back otherwise. */
Test(devices, a_balloon_gives_back_the_hosts_pages)
{
	static const struct {
		enum axvm_page_size size;
		uint64_t bytes;
	} sizes[] = {
		{ PAGE_SIZE_4K, 4 * KIB },
		{ PAGE_SIZE_THP, 4 * KIB },
		{ PAGE_SIZE_2M, 2 * MIB },
		{ PAGE_SIZE_1G, GIB },
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		bool odd = i % 2;
		struct balloon *balloon = &shim.devices.balloon;
		struct test_machine m;
		uint64_t features;

		new_shim();
		machine_init(&m);
		shim.spec.memory.page_size = sizes[i / 2].size;
		shim.spec.memory.lock = odd;
		shim.spec.balloon.deflate_on_oom = odd;
		shim.spec.balloon.free_page_reporting = !odd;
		shim.spec.balloon.stats_interval_s = 7;
		cr_assert_null(devices_balloon(&shim.devices));
		cr_assert_eq(device_balloon.create(&shim.devices, 0, &m.host), 0);
		features = balloon->device.features;
		cr_assert_eq(balloon->host_page, sizes[i / 2].bytes, "row %zu", i);
		cr_assert_eq(balloon->advice, odd ? MADV_DONTNEED_LOCKED : MADV_DONTNEED);
		cr_assert_eq(balloon->interval.tv_sec, 7);
		cr_assert_eq(!!(features & VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM)), odd);
		cr_assert_eq(!!(features & VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING)),
		             !odd && sizes[i / 2].bytes < GIB);
		cr_assert_eq(devices_balloon(&shim.devices), balloon);
		balloon_destroy(balloon);
		machine_stop(&m, 0);
		machine_done(&m);
	}
}

static int told_fd;

/* The events since the last time. */
static Axvm__V1__EventStream *new_events(void)
{
	static uint8_t bytes[4096];
	Axvm__V1__EventStream *stream;
	ssize_t n;

	cr_assert_eq(event_flush(&shim.events), 0);
	n = pread(told_fd, bytes, sizeof(bytes), 0);
	cr_assert_geq(n, 0);
	stream = axvm__v1__event_stream__unpack(NULL, (size_t)n, bytes);
	cr_assert_not_null(stream);
	cr_assert_eq(ftruncate(told_fd, 0), 0);
	cr_assert_eq(lseek(told_fd, 0, SEEK_SET), 0);
	return stream;
}

/* Nothing more; or one event, of this command. */
static void expect_told(uint64_t request_id, uint64_t target, uint64_t actual, bool reached)
{
	Axvm__V1__EventStream *stream = new_events();

	cr_assert_eq(stream->n_events, request_id ? 1 : 0);
	if (request_id) {
		const Axvm__V1__BalloonSettled *settled = stream->events[0]->balloon_settled;

		cr_assert_eq(stream->events[0]->body_case, AXVM__V1__EVENT__BODY_BALLOON_SETTLED);
		cr_expect_eq(settled->request_id, request_id);
		cr_expect_eq(settled->target_mib, target);
		cr_expect_eq(settled->actual_mib, actual, "%zu", (size_t)settled->actual_mib);
		cr_expect_eq(settled->reached, reached);
	}
	axvm__v1__event_stream__free_unpacked(stream, NULL);
}

static void expect_settled(uint64_t request_id, uint64_t target, uint64_t actual, bool reached)
{
	(void)devices_settle(&shim.devices, deadline_now_ns(),
	                     shim.lifecycle.state == STATE_PAUSED);
	expect_told(request_id, target, actual, reached);
	if (request_id)
		cr_expect_eq(shim.devices.balloon_command.standstill_ns, 0,
		             "nothing is waited for");
}

static int ask(uint64_t request_id, uint64_t target_mib)
{
	return devices_balloon_ask(&shim.devices, request_id, target_mib, deadline_now_ns());
}

static void says_actual(struct driver *driver, uint64_t bytes)
{
	mmio_out(driver->m,
	         driver->bar + VIRTIO_BAR_DEVICE + offsetof(struct balloon_config, actual),
	         bytes / BALLOON_PAGE, 4);
}

/* Once for each command, whatever the guest does; what stands still is told as that, and what moves
 * is waited for. */
Test(devices, what_has_come_of_a_balloon_command)
{
	struct test_machine m;
	struct driver driver;
	eventfd_t count;
	uint64_t all;

	told_fd = memfd_create("events", MFD_CLOEXEC);
	cr_assert_eq(event_writer_init(&shim.events, told_fd), 0);
	shim.lifecycle.state = STATE_RUNNING;
	shim.spec.memory.page_size = PAGE_SIZE_4K;
	shim.machine.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine_init(&m);
	cr_assert_eq(device_balloon.create(&shim.devices, 0, &m.host), 0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	driver_reset(&driver);
	cr_assert(driver_negotiate(&driver, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)));
	all = guest_memory_size(&m.memory) / MIB;
	cr_assert_eq(all, 2);
	expect_settled(0, 0, 0, false);
	cr_assert_eq(ask(7, all - 1), 0);
	expect_settled(0, 0, 0, false);
	/* The guest says so: the control thread is woken, and tells it, once, though the guest has
	 * gone on. */
	cr_assert_eq(eventfd_read(shim.machine.wake_fd, &count), -1);
	says_actual(&driver, MIB);
	cr_assert_eq(eventfd_read(shim.machine.wake_fd, &count), 0);
	says_actual(&driver, 0);
	expect_settled(7, all - 1, all - 1, true);
	for (int i = 0; i < 3; i++) {
		says_actual(&driver, MIB);
		expect_settled(0, 0, 0, false);
	}
	cr_assert_eq(eventfd_read(shim.machine.wake_fd, &count), -1, "nor is it woken");
	/* What is so already is told at once; what cannot be is refused, and leaves what is
	 * awaited. */
	cr_assert_eq(ask(8, all - 1), 0);
	cr_assert_eq(ask(9, 0), -ERANGE);
	cr_assert_eq(ask(9, all + 1), -ERANGE);
	cr_assert_eq(ask(9, UINT64_MAX), -ERANGE);
	expect_settled(8, all - 1, all - 1, true);
	/* A new command takes the place of one before it, of which is told how far the guest had
	 * got. */
	says_actual(&driver, 0);
	cr_assert_eq(ask(20, all - 1), 0);
	says_actual(&driver, MIB);
	cr_assert_eq(ask(10, 1), 0);
	expect_told(20, all - 1, all - 1, true);
	expect_settled(10, 1, 1, true);
	says_actual(&driver, 0);
	cr_assert_eq(ask(10, all - 1), 0);
	cr_assert_eq(ask(11, UINT64_MAX), -ERANGE);
	expect_told(0, 0, 0, false);
	says_actual(&driver, BALLOON_PAGE);
	cr_assert_eq(ask(11, all), 0);
	expect_told(10, all - 1, all - 1, false);
	says_actual(&driver, MIB);
	expect_settled(0, 0, 0, false);
	says_actual(&driver, 0);
	expect_settled(11, all, all, true);
	/* It moves, and is waited for; the VM is paused, and it cannot move; it stands still. */
	cr_assert_eq(ask(12, all - 1), 0);
	cr_assert_gt(shim.devices.balloon_command.standstill_ns, 0);
	says_actual(&driver, MIB + BALLOON_PAGE);
	shim.devices.balloon_command.standstill_ns = 1;
	expect_settled(0, 0, 0, false);
	cr_assert_gt(shim.devices.balloon_command.standstill_ns, 1);
	expect_settled(0, 0, 0, false);
	shim.lifecycle.state = STATE_PAUSED;
	shim.devices.balloon_command.standstill_ns = 1;
	expect_settled(0, 0, 0, false);
	shim.lifecycle.state = STATE_RUNNING;
	shim.devices.balloon_command.standstill_ns = 1;
	expect_settled(12, all - 1, 0, false);
	/* More than there is, by its own account. */
	cr_assert_eq(ask(13, 1), 0);
	says_actual(&driver, (all + 5) * MIB);
	shim.devices.balloon_command.standstill_ns = 1;
	expect_settled(0, 0, 0, false);
	shim.devices.balloon_command.standstill_ns = 1;
	expect_settled(13, 1, 0, false);
	/* The VM ends: once. */
	cr_assert_eq(ask(14, 1), 0);
	for (int i = 0; i < 2; i++) {
		devices_end(&shim.devices);
		expect_told(i ? 0 : 14, 1, 0, false);
	}
	machine_stop(&m, 0);
	balloon_destroy(&shim.devices.balloon);
	machine_done(&m);
	close(shim.machine.wake_fd);
	close(told_fd);
}

/* ---- disks ----------------------------------------------------------------------------------- */

/* A file of so many bytes, by path and by number. */
static int image_of(char *path, size_t bytes)
{
	int fd;

	strcpy(path, "/tmp/axvm-devices-XXXXXX");
	fd = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static struct spec_disk *disk_by_path(size_t index, const char *path)
{
	struct spec_disk *disk = &shim.spec.disks[index];

	disk->image = (struct spec_resource){ RESOURCE_SOURCE_PATH, -1, path };
	shim.spec.disks_count = index + 1;
	return disk;
}

/* Those that were handed over come first, each at its own place; a flag of one is none of
 * another. */
Test(devices, disks_are_acquired_as_their_spec_says)
{
	char paths[3][40];
	int fds[3];

	for (size_t i = 0; i < 3; i++)
		fds[i] = image_of(paths[i], (i + 1) * MIB);
	disk_by_path(0, paths[0])->read_only = true;
	shim.spec.disks[1].image = (struct spec_resource){ RESOURCE_SOURCE_FD, fds[1], NULL };
	disk_by_path(2, paths[2]);
	device_disk.acquire(&shim.devices, true);
	cr_assert_eq(shim.problems.count, 0, "%s", shim.problems.list[0].message);
	cr_assert(shim.devices.disk_files[1].fd == fds[1] &&
	          shim.devices.disk_files[1].size == 2 * MIB);
	cr_assert(shim.devices.disk_files[0].size == 0 && shim.devices.disk_files[2].size == 0);
	device_disk.acquire(&shim.devices, false);
	cr_assert_eq(shim.problems.count, 0, "%s", shim.problems.list[0].message);
	cr_assert(shim.devices.disk_files[0].size == MIB &&
	          shim.devices.disk_files[2].size == 3 * MIB);
	cr_assert(shim.devices.disk_files[0].read_only && !shim.devices.disk_files[1].read_only &&
	          !shim.devices.disk_files[2].read_only);
	cr_assert_eq(fcntl(shim.devices.disk_files[0].fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_assert_eq(fcntl(shim.devices.disk_files[2].fd, F_GETFL) & O_ACCMODE, O_RDWR);
	for (size_t i = 0; i < 3; i++)
		cr_assert_not(shim.devices.disk_files[i].direct);
	for (size_t i = 0; i < 3; i++)
		unlink(paths[i]);
}

/* By passing the page cache, or, on a file system that does not have it, refused by name. */
Test(devices, a_direct_disk_is_direct_or_refused)
{
	char path[40];

	image_of(path, MIB);
	disk_by_path(0, path)->direct = true;
	device_disk.acquire(&shim.devices, false);
	unlink(path);
	if (shim.problems.count > 0)
		cr_assert_str_eq(shim.problems.list[0].field, "disks[0].image");
	else
		cr_assert(shim.devices.disk_files[0].direct &&
		          fcntl(shim.devices.disk_files[0].fd, F_GETFL) & O_DIRECT);
}

/* The image's length is a multiple of it, or it is refused, with the disk's place in the spec. */
Test(devices, a_block_size_fits_its_image)
{
	static const struct {
		uint32_t block_size;
		size_t bytes;
		bool fits;
	} rows[] = {
		{ 0, MIB + 512, true },     { 512, MIB + 512, true }, { 1024, MIB + 512, false },
		{ 1024, MIB + 1024, true }, { 4096, MIB, true },      { 4096, MIB + 2048, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char path[40];

		new_shim();
		close(image_of(path, rows[i].bytes));
		disk_by_path(3, path)->block_size = rows[i].block_size;
		shim.spec.disks[0].image.kind = shim.spec.disks[1].image.kind =
			shim.spec.disks[2].image.kind = RESOURCE_SOURCE_FD;
		device_disk.acquire(&shim.devices, false);
		unlink(path);
		cr_assert_eq(shim.problems.count, rows[i].fits ? 0 : 1, "row %zu", i);
		if (!rows[i].fits) {
			cr_assert_eq(shim.problems.list[0].code, ERROR_CODE_IMAGE_INVALID);
			cr_assert_str_eq(shim.problems.list[0].field, "disks[3].block_size");
		}
		close(shim.devices.disk_files[3].fd);
	}
}

/* What an image may grow to is not less than it has, and not more than the kernel lets the
 * launcher's files have. */
Test(devices, what_an_image_may_grow_to)
{
	static const struct {
		uint64_t max_size, allowed; /* RLIMIT_FSIZE; 0: as it is */
		bool read_only;
		enum axvm_error_code code; /* 0: taken */
		const char *field;
	} rows[] = {
		{ 0, 0, false, 0, NULL },
		{ 2 * MIB, 0, false, 0, NULL },
		{ 2 * MIB - 512, 0, false, ERROR_CODE_IMAGE_INVALID, "disks[3].max_size" },
		{ 2 * MIB - 512, 0, true, ERROR_CODE_IMAGE_INVALID, "disks[3].max_size" },
		{ 0, 2 * MIB, false, 0, NULL },
		{ 0, 2 * MIB - 1, false, ERROR_CODE_HOST_LIMIT, "disks[3].image" },
		{ 0, 2 * MIB - 1, true, 0, NULL },
		{ 3 * MIB, 3 * MIB, false, 0, NULL },
		{ 3 * MIB, 3 * MIB - 1, false, ERROR_CODE_HOST_LIMIT, "disks[3].max_size" },
		{ 3 * MIB, 3 * MIB - 1, true, 0, NULL },
	};
	struct rlimit before;

	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rlimit allowed = before;
		const struct disk_file *file = &shim.devices.disk_files[3];
		char path[40];

		new_shim();
		close(image_of(path, 2 * MIB));
		disk_by_path(3, path)->max_size = rows[i].max_size;
		shim.spec.disks[3].read_only = rows[i].read_only;
		for (size_t k = 0; k < 3; k++)
			shim.spec.disks[k].image.kind = RESOURCE_SOURCE_FD;
		if (rows[i].allowed)
			allowed.rlim_cur = rows[i].allowed;
		cr_assert_eq(setrlimit(RLIMIT_FSIZE, &allowed), 0);
		device_disk.acquire(&shim.devices, false);
		cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
		unlink(path);
		cr_assert_eq(shim.problems.count, rows[i].field ? 1 : 0, "row %zu", i);
		if (rows[i].field) {
			cr_assert_eq(shim.problems.list[0].code, rows[i].code, "row %zu", i);
			cr_assert_str_eq(shim.problems.list[0].field, rows[i].field, "row %zu", i);
		}
		/* What the sandbox is told: nothing that is only read, of several the largest. */
		cr_assert_eq(devices_needs(&shim.devices).file_size,
		             rows[i].read_only
		                     ? 0
		                     : MAX(rows[i].max_size, file->size) -
		                               (rows[i].max_size == 2 * MIB - 512 ? 512 : 0),
		             "row %zu", i);
		shim.devices.disk_files[0] =
			(struct disk_file){ .fd = -1, .regular = true, .max_size = 9 * MIB };
		cr_assert_eq(devices_needs(&shim.devices).file_size, 9 * MIB);
		shim.devices.disk_files[0] = (struct disk_file){ .fd = -1, .max_size = UINT64_MAX };
		cr_assert_lt(devices_needs(&shim.devices).file_size, UINT64_MAX);
		close(file->fd);
	}
}

/* An image may be a kernel too, as long as the guest does not write it. */
Test(devices, an_image_that_is_written_is_nothing_else)
{
	static struct resource_claims claims;
	char path[40];
	int kernel = image_of(path, MIB);

	for (int read_only = 0; read_only < 2; read_only++) {
		new_shim();
		shim.devices.console_input = shim.devices.console_output = -1;
		disk_by_path(0, path)->read_only = read_only;
		device_disk.acquire(&shim.devices, false);
		cr_assert_eq(shim.problems.count, 0, "%s", shim.problems.list[0].message);
		claims.count = 0;
		resource_claim(&claims, kernel, false, "boot.linux.kernel");
		devices_check(&shim.devices, &claims);
		resource_check_claims(&claims, &shim.problems);
		cr_assert_eq(shim.problems.count, read_only ? 0 : 1);
		if (!read_only)
			cr_assert_str_eq(shim.problems.list[0].field, "disks[0].image");
		close(shim.devices.disk_files[0].fd);
	}
	unlink(path);
}

/* ---- vsock ----------------------------------------------------------------------------------- */

/* A UNIX socket of packets and nothing else. */
Test(devices, a_vsock_channel_is_of_its_kind)
{
	static const struct {
		int domain, type;
		bool fits;
	} rows[] = {
		{ AF_UNIX, SOCK_SEQPACKET, true }, { AF_UNIX, SOCK_STREAM, false },
		{ AF_UNIX, SOCK_DGRAM, false },    { AF_INET, SOCK_STREAM, false },
		{ AF_INET6, SOCK_DGRAM, false },   { AF_NETLINK, SOCK_RAW, false },
		{ AF_PACKET, SOCK_PACKET, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = socket(rows[i].domain, rows[i].type | SOCK_CLOEXEC, 0);

		new_shim();
		if (fd < 0)
			continue; /* a kernel without that family */
		shim.spec.vsock.present = true;
		shim.spec.vsock.channel = (struct spec_resource){ RESOURCE_SOURCE_FD, fd, NULL };
		device_vsock.acquire(&shim.devices, true);
		cr_assert_eq(shim.problems.count, rows[i].fits ? 0 : 1, "row %zu", i);
		cr_assert_eq(shim.devices.vsock_channel, rows[i].fits ? fd : 0, "row %zu", i);
		if (!rows[i].fits) {
			cr_assert_eq(shim.problems.list[0].code, ERROR_CODE_RESOURCE_WRONG_KIND);
			cr_assert_str_eq(shim.problems.list[0].field, "vsock.channel");
		}
		close(fd);
	}
	new_shim();
	shim.spec.vsock.present = true;
	shim.spec.vsock.channel =
		(struct spec_resource){ RESOURCE_SOURCE_PATH, -1, "/nonexistent/channel" };
	device_vsock.acquire(&shim.devices, true);
	cr_assert_eq(shim.problems.count, 1);
	cr_assert_eq(shim.problems.list[0].code, ERROR_CODE_RESOURCE_WRONG_KIND);
}

/* Packets of another family: of which kernel ever knows some. */
static bool packets_of_another_family(long nr, const uint64_t args[static 6], long *ret_result)
{
	int option = (int)args[2], *value = (int *)args[3];

	(void)nr;
	if (option != SO_DOMAIN && option != SO_TYPE)
		return false;
	*value = option == SO_DOMAIN ? AF_VSOCK : SOCK_SEQPACKET;
	*ret_result = 0;
	return true;
}

Test(devices, a_vsock_channel_is_of_its_family)
{
	static const long call = SYS_getsockopt;
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0) {
		new_shim();
		shim.spec.vsock.present = true;
		shim.spec.vsock.channel = (struct spec_resource){
			RESOURCE_SOURCE_FD, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL
		};
		if (fake_kernel_begin(&call, 1, packets_of_another_family) < 0)
			_exit(2);
		device_vsock.acquire(&shim.devices, true);
		_exit(shim.problems.count != 1 ||
		      shim.problems.list[0].code != ERROR_CODE_RESOURCE_WRONG_KIND);
	}
	cr_assert_eq(wait_child(child), 0);
}

/* ---- I/O threads ----------------------------------------------------------------------------- */

/* Thread n is of node n modulo their number, and has the next CPU that the plan has there. */
Test(devices, io_threads_go_round_the_nodes)
{
	static const uint32_t cpus[] = { 10, 20, 30, 11, 21, 31 };
	struct cpu_bitmap bound;

	shim.placement.node_count = 3;
	for (uint32_t node = 0; node < 3; node++)
		for (uint32_t i = 0; i < 2; i++)
			shim.placement.nodes[node].io[i].cpu = (int32_t)(10 * (node + 1) + i);
	for (uint32_t i = 0; i < ARRAY_SIZE(cpus); i++) {
		(void)plan_io_cpus(&shim, i, &bound);
		cr_assert(cpu_bitmap_has(&bound, cpus[i]) && cpu_bitmap_count(&bound) == 1,
		          "thread %u", i);
	} /* Who is not pinned is on all CPUs of the node. */
	shim.placement.nodes[1].io[1].cpu = PLACEMENT_UNPINNED;
	shim.placement.nodes[1].cpus = (struct cpu_bitmap){ { 0xf0 } };
	(void)plan_io_cpus(&shim, 4, &bound);
	cr_assert(bound.words[0] == 0xf0 && cpu_bitmap_count(&bound) == 4);
}
