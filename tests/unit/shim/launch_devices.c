/* SPDX-License-Identifier: MIT */
/* What a launch builds of its spec: buses, devices, I/O threads, memory, tuning, schedulers,
 * kernels. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sha256.h"
#include "guest/layout.h"
#include "sandbox/fd_layout.h"
#include "shim/control.h"
#include "shim/device/disk.h"
#include "shim/plan.h"
#include "tests/unit/rig/launch_rig.h"
#include "tests/unit/rig/wait.h"

#define SMALL "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } } "
#define IMAGE "boot { flat_boot { image { fd: 5 } } } "
#define WITH_APIC "boot { flat_boot { image { fd: 5 } local_apic: true } } "
#define ONE "cpus { count: 1 } "

TestSuite(sandbox_devices, .timeout = 120);

static int powers_off(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	return 0;
}

static void write_number(struct bus *bus, uint64_t address, uint32_t value, uint32_t width)
{
	bus_write(bus, address, (const uint8_t *)&value, width);
}

/* ---- devices --------------------------------------------------------------------------------- */

static bool look_at_buses(void)
{
	struct machine *machine = &rig_shim.machine;

	/* The pin of the I/O APIC as vector 0x31 for APIC 2, unmasked: raising it is a message. */
	write_number(&machine->mmio, LAYOUT_IOAPIC, 0x10, 4);
	write_number(&machine->mmio, LAYOUT_IOAPIC + 0x10, 0x31, 4);
	write_number(&machine->mmio, LAYOUT_IOAPIC, 0x11, 4);
	write_number(&machine->mmio, LAYOUT_IOAPIC + 0x10, 2u << 24, 4);
	acpi_press_power_button(&machine->acpi);
	HOLDS(rig_told->msis == 1 && rig_told->msi.address_lo == 0xfee02000 &&
	      (rig_told->msi.data & 0xff) == 0x31);
	atomic_store(&machine->acpi.events, 0);
	write_number(&machine->ports, LAYOUT_PORT_RESET, ACPI_RESET_VALUE, 1);
	HOLDS(atomic_exchange(&machine->acpi.request, ACPI_REQUEST_NONE) == ACPI_REQUEST_RESET);
	write_number(&machine->mmio, LAYOUT_ACPI_REGISTERS + ACPI_REG_RESET, ACPI_RESET_VALUE, 1);
	HOLDS(atomic_exchange(&machine->acpi.request, ACPI_REQUEST_NONE) == ACPI_REQUEST_RESET);
	write_number(&machine->ports, LAYOUT_PORT_KEYBOARD, 0xfe, 1);
	HOLDS(atomic_exchange(&machine->acpi.request, ACPI_REQUEST_NONE) == ACPI_REQUEST_RESET);
	write_number(&machine->mmio, LAYOUT_PANIC_REGISTER, 1, 1);
	HOLDS(atomic_exchange(&machine->acpi.panicked, false));
	return true;
}

/* Descriptors that lead to a file. */
static size_t opened(const char *path)
{
	char link[64], name[32];
	size_t count = 0;

	for (int fd = 0; fd <= INTERNAL_FD_LAST; fd++) {
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, link, sizeof(link) - 1);
		link[MAX(n, (ssize_t)0)] = '\0';
		count += strcmp(link, path) == 0;
	}
	return count;
}

static bool look_at_devices(enum axvm_stage stage)
{
	const struct shim_devices *devices = &rig_shim.devices;

	if (stage != STAGE_CONFINE)
		return true;
	HOLDS(devices->present && devices->io_count == 1);
	HOLDS(devices->pci.slot_count == 1 + 6);
	HOLDS(devices->console.output_fd == RIG_OUTPUT);
	HOLDS(devices->console.config.columns == 80 && devices->console.config.rows == 25);
	HOLDS(devices->console.limit.bytes.rate == 30 && devices->console.limit.bytes.burst == 40);
	HOLDS(devices->console.limit.ops.rate == 50 && devices->console.limit.ops.burst == 60);
	HOLDS(devices->control.wake_fd == CONTROL_WAKE_FD);
	HOLDS(strcmp(devices->disks[0].serial, "serial") == 0);
	HOLDS(devices->disks[0].device.queue_count == 2 && devices->disks[0].queue_sizes[0] == 128);
	HOLDS(devices->disks[0].config.blk_size == 4096 && devices->disks[0].starts_write_through);
	HOLDS(devices->disks[0].limit.bytes.rate == 1000 &&
	      devices->disks[0].limit.bytes.burst == 2000);
	HOLDS(devices->disks[0].limit.ops.rate == 3 && devices->disks[0].limit.ops.burst == 4);
	HOLDS(!devices->disks[1].starts_write_through && devices->disks[1].config.blk_size == 512);
	HOLDS(devices->disks[0].file == &devices->disk_files[0] &&
	      devices->disks[1].file == &devices->disk_files[1]);
	HOLDS(devices->random_fd >= 0 && opened("/dev/urandom") == 1);
	HOLDS(devices->rng.limit.bytes.rate == 5 && devices->rng.limit.bytes.burst == 6);
	HOLDS(devices->rng.limit.ops.rate == 7 && devices->rng.limit.ops.burst == 8);
	HOLDS(devices->vsock.cid == 77 && devices->vsock_channel == RIG_CHANNEL);
	HOLDS(devices->balloon.device.ops != NULL && devices->balloon.interval.tv_sec == 9);
	HOLDS(devices->io[0].loop.busy_poll_us == 12);
	HOLDS(devices_disk(&rig_shim.devices, "b") == &devices->disks[1]);
	return look_at_buses();
}

#define ALL_DEVICES                                                                                                           \
	SMALL WITH_APIC ONE                                                                                                   \
		"io { busy_poll_us: 12 } console { output { fd: 6 } columns: 80 rows: 25 early: true "                        \
		"limit { bytes_per_s: 30 bytes_burst: 40 ops_per_s: 50 ops_burst: 60 } } "                                    \
		"disks { id: 'a' image { fd: 7 } serial: 'serial' queues: 2 queue_size: 128 cache: CACHE_MODE_WRITE_THROUGH " \
		"block_size: 4096 limit { bytes_per_s: 1000 bytes_burst: 2000 ops_per_s: 3 ops_burst: 4 } } "                 \
		"disks { id: 'b' image { fd: 9 } } "                                                                          \
		"rng { limit { bytes_per_s: 5 bytes_burst: 6 ops_per_s: 7 ops_burst: 8 } } "                                  \
		"balloon { stats_interval_s: 9 } vsock { cid: 77 channel { fd: 8 } }"

Test(sandbox_devices, every_device_is_as_its_spec)
{
	const struct rig_launch launch = { .spec = ALL_DEVICES,
		                           .guest = powers_off,
		                           .before = look_at_devices };
	int status = rig_launch(&launch);
	const Axvm__V1__Sealed *sealed;

	rig_terminal();
	expect_held();
	cr_assert_eq(status, 0, "status %d: %s", status, rig_stderr);
	sealed = rig_event(AXVM__V1__EVENT__BODY_SEALED, 0)->sealed;
	cr_assert_eq(sealed->threads, 3);
	cr_assert_eq(sealed->rings_restricted, 1);
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_DEVICE_FAILED, 0));
}

static bool look_at_the_limit(enum axvm_stage stage)
{
	const struct rate_limit *limit = &rig_shim.devices.console.limit;

	if (stage == STAGE_CONFINE)
		rig_told->word[1] = limit->bytes.rate + limit->bytes.burst + limit->ops.rate;
	return true;
}

/* A file has a limit unless the spec says that it has none; what has a reader has none, and is
 * given none. */
Test(sandbox_devices, a_consoles_limit_is_a_files)
{
	static const struct {
		const char *spec;
		uint64_t sum;
	} rows[] = {
		{ SMALL WITH_APIC ONE "console { output { fd: 6 } }", 9 * MIB },
		/* A burst of 0 is a tenth of a second's. */
		{ SMALL WITH_APIC ONE "console { output { fd: 6 } limit { bytes_per_s: 1000 } }",
		  1100 },
		{ SMALL WITH_APIC ONE "console { output { fd: 6 } limit {} }", 1 },
		{ SMALL WITH_APIC ONE "console { output { fd: 8 } }", 1 },
		{ SMALL WITH_APIC ONE "console {}", 1 },
	};
	struct rig_launch launch = { .guest = powers_off, .before = look_at_the_limit };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		launch.spec = rows[i].spec;
		cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
		cr_assert_eq(rig_told->word[1], rows[i].sum, "%s: %zu", rows[i].spec,
		             (size_t)rig_told->word[1]);
	}
	launch.spec = SMALL WITH_APIC ONE "console { output { fd: 8 } limit {} }";
	cr_assert_eq(rig_launch(&launch), 66);
	cr_assert_eq(rig_terminal()->n_errors, 1);
	cr_assert_eq(rig_terminal()->errors[0]->code,
	             AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_WRONG_KIND);
	cr_assert_str_eq(rig_terminal()->errors[0]->field, "console.limit");
}

/* Bytes of the early console, which come out at the latest when the VM ends. */
static int says_hello(struct kvm_run *run, uint32_t vcpu)
{
	static const char words[] = "hello";

	if (rig_told->word[1] == sizeof(words) - 1)
		return powers_off(run, vcpu);
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = KVM_EXIT_IO_OUT;
	run->io.port = LAYOUT_PORT_DEBUG;
	run->io.size = 1;
	run->io.count = 1;
	run->io.data_offset = 4096;
	((char *)run)[4096] = words[rig_told->word[1]++];
	return 0;
}

Test(sandbox_devices, the_console_is_written_out)
{
	const struct rig_launch launch = { .spec = SMALL WITH_APIC ONE
		                           "console { output { fd: 6 } early: true }",
		                           .guest = says_hello };
	const struct rig_launch none = { .spec = SMALL WITH_APIC ONE "console { output { fd: 6 } }",
		                         .guest = says_hello };

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	cr_assert_str_eq(rig_output, "hello");
	cr_assert_eq(rig_terminal()->console_bytes_dropped, 0);
	cr_assert_eq(rig_launch(&none), 0, "%s", rig_stderr);
	cr_assert_str_eq(rig_output, "", "there is no early console");
}

/* ---- I/O threads ----------------------------------------------------------------------------- */

/* Each I/O thread may run on the plan's CPUs for it and nowhere else. */
static bool look_at_places(enum axvm_stage stage)
{
	for (uint32_t i = 0; stage == STAGE_SEAL && i < rig_shim.devices.io_count; i++) {
		const struct shim_io *io = &rig_shim.devices.io[i];
		struct cpu_bitmap bound = { 0 }, wanted;

		HOLDS(pthread_getaffinity_np(io->thread, sizeof(bound),
		                             (cpu_set_t *)(void *)&bound) == 0);
		(void)plan_io_cpus(&rig_shim, i, &wanted);
		HOLDS(memcmp(&bound, &wanted, sizeof(bound)) == 0);
	}
	return true;
}

static bool look_at_loops(enum axvm_stage stage)
{
	if (stage != STAGE_CONFINE)
		return look_at_places(stage);
	rig_told->word[1] = rig_shim.devices.io_count;
	for (uint32_t i = 0; i < rig_shim.devices.io_count; i++) {
		const struct shim_io *io = &rig_shim.devices.io[i];

		HOLDS(io->index == i && io->devices == &rig_shim.devices);
		HOLDS(io->loop.wake_fd == IO_WAKE_FD_BASE + (int)i);
		HOLDS(io->loop.ring.ring_fd == IO_RING_FD_BASE + (int)i);
		rig_told->word[2 + i] = io->loop.uses;
	}
	return true;
}

/* One a device at most, as many a node as asked for, none where there is no device. */
Test(sandbox_devices, as_many_io_threads_as_have_work)
{
	static const struct {
		const char *spec;
		uint32_t threads;
		uint32_t uses[4]; /* of each ring: what its devices need and no more */
	} rows[] = {
		{ SMALL WITH_APIC ONE, 0, { 0 } },
		{ SMALL WITH_APIC ONE "io { threads_per_node: 3 }", 0, { 0 } },
		{ SMALL WITH_APIC ONE "rng {}", 1, { 0 } },
		{ SMALL WITH_APIC ONE "io { threads_per_node: 3 } rng {} balloon {}",
		  2,
		  { 0, IO_USE_MEMORY } },
		{ SMALL WITH_APIC ONE "io { threads_per_node: 2 } rng {} balloon {} console {}",
		  2,
		  { IO_USE_MEMORY, 0 } },
		{ SMALL WITH_APIC ONE
		  "io { threads_per_node: 2 } rng {} disks { id: 'a' image { fd: 7 } }",
		  2,
		  { IO_USE_FILES | IO_USE_STORAGE, 0 } },
		{ "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } nodes { size_mib: 16 } } " WITH_APIC
		  "cpus { count: 2 } io { threads_per_node: 2 } rng {} balloon {} console {} vsock { cid: 3 channel { fd: 8 } }",
		  4,
		  { 0, 0, IO_USE_MEMORY, IO_USE_DESCRIPTORS } },
		{ SMALL IMAGE ONE, 0, { 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch launch = { .spec = rows[i].spec,
			                           .guest = powers_off,
			                           .before = look_at_loops };
		const Axvm__V1__Running *running;

		cr_assert_eq(rig_launch(&launch), 0, "row %zu: %s", i, rig_stderr);
		expect_held();
		cr_assert_eq(rig_told->word[1], rows[i].threads, "row %zu", i);
		for (uint32_t k = 0; k < rows[i].threads; k++)
			cr_assert_eq(rig_told->word[2 + k], rows[i].uses[k],
			             "row %zu, thread %u: %#x", i, k,
			             (unsigned)rig_told->word[2 + k]);
		cr_assert_eq(rig_event(AXVM__V1__EVENT__BODY_SEALED, 0)->sealed->rings_restricted,
		             rows[i].threads);
		running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
		cr_assert_eq(running->n_threads, running->n_vcpus + rows[i].threads, "row %zu", i);
		for (size_t k = running->n_vcpus; k < running->n_threads; k++) {
			const Axvm__V1__ThreadRecord *io = running->threads[k];

			cr_assert(io->name[0] == 'i' && io->started_ns > 0 &&
			                  io->staffed_ns >= io->started_ns &&
			                  io->sealing_ns >= io->staffed_ns,
			          "row %zu: %s", i, io->name);
		}
	}
}

/* ---- memory, measuring ----------------------------------------------------------------------- */

Test(sandbox_devices, memory_is_told_where_it_was_populated)
{
	const struct rig_launch launch = {
		.spec = "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } nodes { size_mib: 8 } populate: true } " IMAGE
			ONE
	};
	const Axvm__V1__MemoryPlaced *placed;
	static const uint64_t pages[] = { 4096, 2048 };

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	cr_assert_not_null(rig_event(AXVM__V1__EVENT__BODY_MEMORY_PLACED, 0));
	placed = rig_event(AXVM__V1__EVENT__BODY_MEMORY_PLACED, 0)->memory_placed;
	cr_assert_eq(placed->n_nodes, 2);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(placed->nodes[i]->guest_node, i);
		cr_assert_eq(placed->nodes[i]->pages_4k + placed->nodes[i]->pages_2m * 512,
		             pages[i]);
		cr_assert_eq(placed->nodes[i]->pages_1g, 0);
	}
}

Test(sandbox_devices, what_was_asked_to_be_measured_is)
{
	const struct rig_launch launch = {
		.spec = SMALL "boot { flat_boot { image { fd: 5 } } measure: true } " ONE
	};
	const Axvm__V1__Running *running;
	char wanted[SHA256_HEX_SIZE];
	uint8_t image[16], digest[SHA256_SIZE];
	struct sha256 hash;

	memset(image, 0x90, sizeof(image));
	sha256_begin(&hash);
	sha256_add(&hash, image, sizeof(image));
	sha256_end(&hash, digest);
	sha256_hex(digest, wanted);
	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
	cr_assert_str_eq(running->kernel_sha256, wanted);
	cr_assert_null(running->initrd_sha256);
}

/* In the child: as much of the process's memory as the line of its status says, in KiB. */
static uint64_t status_kib(const char *line)
{
	char text[4096] = "";
	FILE *file = fopen("/proc/self/status", "re");
	const char *at;

	if (file) {
		(void)!fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
	}
	at = strstr(text, line);
	return at ? strtoull(at + strlen(line), NULL, 10) : 0;
}

static bool look_at_lock(enum axvm_stage stage)
{
	if (stage == STAGE_CONFINE)
		rig_told->word[1] = status_kib("VmLck:");
	return true;
}

static int may_lock(void)
{
	void *map =
		mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int may = map != MAP_FAILED && mlock(map, 16 * MIB) == 0;

	munmap(map, 16 * MIB);
	return may;
}

/* All of the guest's and nothing else, which is then there, and told of; where the host does not
 * allow it, the launch fails. */
Test(sandbox_devices, memory_is_locked_where_asked)
{
	const struct rig_launch locked = {
		.spec = "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } lock: true } " IMAGE
			ONE,
		.before = look_at_lock
	};
	const struct rig_launch plain = { .spec = SMALL IMAGE ONE, .before = look_at_lock };
	const Axvm__V1__Event *placed;
	int status = rig_launch(&locked);

	if (may_lock()) {
		cr_assert_eq(status, 0, "%s", rig_stderr);
		cr_assert_geq(rig_told->word[1], 16 * 1024);
		placed = rig_event(AXVM__V1__EVENT__BODY_MEMORY_PLACED, 0);
		cr_assert(placed && placed->memory_placed->n_nodes == 1);
		cr_assert_eq(placed->memory_placed->nodes[0]->pages_4k +
		                     placed->memory_placed->nodes[0]->pages_2m * 512,
		             4096);
	} else {
		cr_assert_neq(status, 0);
	}
	cr_assert_eq(rig_launch(&plain), 0, "%s", rig_stderr);
	cr_assert_lt(rig_told->word[1], 16 * 1024);
}

/* ---- tuning, schedulers ---------------------------------------------------------------------- */

static const struct kvm_enable_cap *enabled(uint32_t cap)
{
	for (uint32_t i = 0; i < rig_told->caps; i++)
		if (rig_told->cap[i].cap == cap)
			return &rig_told->cap[i];
	return NULL;
}

/* By the profile's row for the tenancy; a guest without local APICs must still exit when it
 * halts. */
Test(sandbox_devices, kvm_is_tuned_by_profile_and_tenancy)
{
	static const struct {
		const char *spec;
		uint64_t exits, halt_poll_ns;
	} rows[] = {
		{ "profile: 'xv2' cpus { count: 1 tenancy: TENANCY_DEDICATED overcommit: true } " WITH_APIC,
		  0xe, 0 },
		{ "profile: 'xv2' cpus { count: 1 tenancy: TENANCY_DEDICATED overcommit: true } " IMAGE,
		  0xc, 0 },
		{ "profile: 'xv2' cpus { count: 1 } " WITH_APIC, 0, 50000 },
		{ "profile: 'dev' cpus { count: 1 tenancy: TENANCY_DEDICATED overcommit: true } " WITH_APIC,
		  0, 0 },
		{ "profile: 'dev' cpus { count: 1 } " WITH_APIC, 0, UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char spec[512];
		const struct rig_launch launch = { .spec = spec, .guest = powers_off };
		const struct kvm_enable_cap *cap;

		snprintf(
			spec, sizeof(spec),
			"vm_id: 't' admission: ADMISSION_REPORT memory { nodes { size_mib: 16 } } %s",
			rows[i].spec);
		cr_assert_eq(rig_launch(&launch), 0, "row %zu: %s", i, rig_stderr);
		cap = enabled(KVM_CAP_X86_DISABLE_EXITS);
		cr_assert_eq(cap ? cap->args[0] : 0, rows[i].exits, "row %zu", i);
		cap = enabled(KVM_CAP_HALT_POLL);
		cr_assert_eq(cap ? cap->args[0] : UINT64_MAX, rows[i].halt_poll_ns, "row %zu", i);
	}
}

static int may_have_fifo(void)
{
	const struct sched_param param = { .sched_priority = 3 };
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		_exit(sched_setscheduler(0, SCHED_FIFO, &param) == 0);
	return WEXITSTATUS(wait_child(child));
}

static bool look_at_policy(enum axvm_stage stage)
{
	if (stage == STAGE_SEAL)
		rig_told->word[1] = (uint64_t)sched_getscheduler(0) + 1;
	return true;
}

/* The vCPUs' threads have it and nobody else; where the host does not let the shim have it, the
 * launch fails. */
Test(sandbox_devices, the_scheduler_of_vcpus)
{
	const struct rig_launch plain = { .spec = SMALL WITH_APIC ONE, .guest = powers_off };
	static const struct {
		const char *spec;
		int priority;
	} rows[] = {
		{ SMALL WITH_APIC "cpus { count: 1 tenancy: TENANCY_DEDICATED fifo_priority: 1 }",
		  1 },
		{ SMALL WITH_APIC "cpus { count: 1 tenancy: TENANCY_DEDICATED fifo_priority: 3 }",
		  3 }
	};

	cr_assert_eq(rig_launch(&plain), 0, "%s", rig_stderr);
	cr_assert_eq(rig_told->policy[0], sched_getscheduler(0), "%d, %d", rig_told->policy[0],
	             sched_getscheduler(0));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch fifo = { .spec = rows[i].spec,
			                         .guest = powers_off,
			                         .before = look_at_policy };
		int status = rig_launch(&fifo);

		if (may_have_fifo()) {
			cr_assert_eq(status, 0, "%s", rig_stderr);
			cr_assert(rig_told->policy[0] == SCHED_FIFO &&
			          rig_told->priority[0] == rows[i].priority);
			cr_assert_eq(rig_told->word[1], SCHED_OTHER + 1);
			continue;
		}
		cr_assert_eq(status, 69);
		cr_assert_str_eq(rig_terminal()->errors[0]->field, "cpus.fifo_priority");
	}
	/* A limit at which the kernel would kill the VM; it does not matter without a realtime
	 * class. */
	cr_assert_eq(setrlimit(RLIMIT_RTTIME, &(struct rlimit){ 60000000, 60000000 }), 0);
	cr_assert_eq(rig_launch(&plain), 0, "%s", rig_stderr);
	const struct rig_launch killed = { .spec = rows[0].spec, .guest = powers_off };

	cr_assert_eq(rig_launch(&killed), 69);
	cr_assert_eq(rig_terminal()->n_errors, 1, "%s", rig_stderr);
	cr_assert_eq(rig_terminal()->errors[0]->code, AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_LIMIT);
	cr_assert_str_eq(rig_terminal()->errors[0]->field, "cpus.fifo_priority");
	cr_assert_not_null(strstr(rig_terminal()->errors[0]->message, "RLIMIT_RTTIME is 60000000"),
	                   "%s", rig_stderr);
}

static int may_own_cores(void)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		_exit(prctl(62, 1, 0, 1, 0) == 0); /* PR_SCHED_CORE, CREATE, of the thread group */
	return WEXITSTATUS(wait_child(child));
}

Test(sandbox_devices, cores_of_its_own)
{
	const struct rig_launch launch = { .spec = SMALL IMAGE
		                           "cpus { count: 1 core_scheduling: true }" };
	int status = rig_launch(&launch);

	cr_assert_eq(status, may_own_cores() ? 0 : 69, "status %d", status);
	if (status != 0)
		cr_assert_str_eq(rig_terminal()->errors[0]->field, "cpus.core_scheduling");
}

/* ---- metrics --------------------------------------------------------------------------------- */

static int spins(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	while (!*(volatile uint8_t *)&run->immediate_exit)
		__builtin_ia32_pause();
	return EINTR;
}

/* Each interval while it runs, and once more at the end; none at all where nobody asked. */
Test(sandbox_devices, metrics_come_by_themselves)
{
	const struct rig_launch asked = { .spec = SMALL IMAGE ONE
		                          "metrics { interval_ms: 100 } "
		                          "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }",
		                          .guest = spins };
	const struct rig_launch none = { .spec = SMALL IMAGE ONE
		                         "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }",
		                         .guest = spins };

	cr_assert_eq(rig_launch(&asked), 36, "%s", rig_stderr);
	cr_assert_not_null(rig_event(AXVM__V1__EVENT__BODY_METRICS, 0));
	cr_assert_eq(rig_launch(&none), 36, "%s", rig_stderr);
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_METRICS, 0));
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* What is open, by what it leads to; a name ends where the row's does. */
struct census {
	const char *name;
	unsigned count;
};

/* clang-format off */
#define CENSUS_RIG /* handed over, and the rig's own: its made-up KVM and four vCPUs */            \
	{ "/memfd:words", 1 }, { "/memfd:control", 1 }, { "/memfd:events", 1 }, { "/memfd:vcpu", 4 }
#define CENSUS_CONTROL                                                                             \
	{ "anon_inode:[eventpoll]", 1 }, { "anon_inode:[signalfd]", 1 }, { "/proc/", 1 }
/* clang-format on */

/* Image, output, disk and disk; the channel, two queues of TAPs and what stands at their numbers;
 * vhost-net where it belongs and nowhere else; one source of random bytes. */
static const struct census acquired[] = {
	CENSUS_RIG,          CENSUS_CONTROL,        { "/memfd:rig", 5 },           { "socket:", 5 },
	{ "/memfd:kvm", 2 }, { "/dev/urandom", 1 }, { "anon_inode:[eventfd]", 1 },
};

/* A queue has a doorbell and a vector, a device one vector more: console 2, disks 2 and 1, rng 1,
 * nets 3 each, balloon 5, vsock 3. Vhost has two eventfds of its own, the I/O loop and the control
 * thread one each. */
#define QUEUES (2 + 2 + 1 + 1 + 3 + 3 + 5 + 3)
static const struct census built[] = {
	CENSUS_RIG,
	CENSUS_CONTROL,
	{ "/memfd:rig", 5 },
	{ "socket:", 5 },
	{ "/memfd:kvm", 3 },
	{ "/dev/urandom", 1 },
	{ "anon_inode:[eventfd]", QUEUES + QUEUES + 8 + 2 + 1 + 1 },
	{ "anon_inode:[io_uring]", 1 },
};

static const struct census *row_of(const struct census *census, size_t count, const char *link)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(link, census[i].name, strlen(census[i].name)) == 0)
			return &census[i];
	return NULL;
}

/* From standard error on. What is wrong goes there, and so to the test. */
static bool census_holds(const struct census *census, size_t count)
{
	unsigned found[16] = { 0 };
	bool holds = true;

	for (int fd = 2; fd <= INTERNAL_FD_LAST; fd++) {
		char link[64], name[32];
		const struct census *row;
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = '\0';
		row = row_of(census, count, link);
		if (row)
			found[row - census]++;
		else
			dprintf(2, "fd %d, \"%s\", is nobody's\n", fd, link);
		holds &= row != NULL;
	}
	for (size_t i = 0; i < count; i++) {
		if (found[i] != census[i].count)
			dprintf(2, "%s: %u instead of %u\n", census[i].name, found[i],
			        census[i].count);
		holds &= found[i] == census[i].count;
	}
	return holds;
}

static bool take_census(enum axvm_stage stage)
{
	static_assert(ARRAY_SIZE(acquired) <= 16 && ARRAY_SIZE(built) <= 16,
	              "room for what is found");

	if (stage == STAGE_BUILD)
		HOLDS(census_holds(acquired, ARRAY_SIZE(acquired)));
	if (stage == STAGE_CONFINE)
		HOLDS(census_holds(built, ARRAY_SIZE(built)));
	return true;
}

/* Nothing stays open that nobody needs, and nothing is opened twice. */
Test(sandbox_devices, every_descriptor_is_accounted_for)
{
	const struct rig_launch launch = {
		.spec = ALL_DEVICES
		" nets { id: 'n' tap { fd: 10 } } "
		"nets { id: 'v' tap { fd: 11 } vhost { fd: 12 } offloads: false }",
		.guest = powers_off,
		.before = take_census
	};

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	cr_assert_eq(rig_told->word[0], 0, "%s", rig_stderr);
}
