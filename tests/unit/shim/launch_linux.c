/* SPDX-License-Identifier: MIT */
/* Launches of a Linux kernel, of nets, and of what is told on the way: the sandbox as it is,
 * devices that fail. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sha256.h"
#include "guest/layout.h"
#include "sandbox/fd_layout.h"
#include "shim/device/net.h"
#include "tests/unit/rig/boot_guest.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/fake_kvm.h"
#include "tests/unit/rig/launch_rig.h"
#include "virtio/net_parts.h"

#define SMALL "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } } "
#define IMAGE "boot { flat_boot { image { fd: 5 } } } "
#define WITH_APIC "boot { flat_boot { image { fd: 5 } local_apic: true } } "
#define ONE "cpus { count: 1 } "

static int powers_off(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	return 0;
}

/* ---- Linux ----------------------------------------------------------------------------------- */

static uint64_t in_guest(uint64_t address, size_t width)
{
	return peek(&rig_shim.machine.memory, address, width);
}

static bool holds_text(uint64_t address, const char *text)
{
	const char *at = guest_memory_at(&rig_shim.machine.memory, GPA(address), strlen(text) + 1);

	return at && memcmp(at, text, strlen(text) + 1) == 0;
}

/* hvm_start_info (Linux, include/xen/interface/hvm/start_info.h): a module, the command line, the
 * ACPI tables. */
static bool look_at_linux(enum axvm_stage stage)
{
	const struct boot_entry *entry = &rig_shim.entry;
	const uint64_t info = LAYOUT_PVH_START_INFO;

	if (stage != STAGE_CONFINE)
		return true;
	HOLDS(entry->mode == BOOT_PVH32);
	HOLDS(in_guest(info, 4) == 0x336ec578);
	HOLDS(in_guest(info + 12, 4) == 1 && in_guest(in_guest(info + 16, 8) + 8, 8) == MIB);
	HOLDS(holds_text(in_guest(info + 24, 8), "quiet root=/dev/vda"));
	HOLDS(in_guest(info + 32, 8) == LAYOUT_ACPI);
	HOLDS(memcmp(guest_memory_at(&rig_shim.machine.memory, GPA(LAYOUT_ACPI), 8), "RSD PTR ",
	             8) == 0);
	HOLDS(in_guest(0xffff0, 1) == 0xb0 &&
	      in_guest(0xffff2, 2) == (0xe6 | LAYOUT_PORT_RESET << 8));
	HOLDS(in_guest(16 * MIB, 1) == 0x90);
	return true;
}

static void digest_of(const void *bytes, size_t size, char text[static SHA256_HEX_SIZE])
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;

	sha256_begin(&hash);
	sha256_add(&hash, bytes, size);
	sha256_end(&hash, digest);
	sha256_hex(digest, text);
}

#define LINUX                                                                                      \
	"vm_id: 't' profile: 'dev' memory { nodes { size_mib: 32 } } cpus { count: 2 } "           \
	"boot { linux_boot { kernel { fd: 5 } initrd { fd: 7 } cmdline: 'quiet root=/dev/vda' } measure: true } "

/* The first vCPU enters it as PVH says, the second waits for its INIT; each file has the digest of
 * its own. */
Test(sandbox_devices, a_linux_kernel_finds_what_it_was_promised)
{
	static uint8_t kernel[512], initrd[MIB];
	const struct rig_launch launch = { .spec = LINUX,
		                           .guest = powers_off,
		                           .before = look_at_linux,
		                           .image = kernel,
		                           .image_size = pvh_kernel(kernel) };
	const Axvm__V1__Running *running;
	char wanted[SHA256_HEX_SIZE];
	int status = rig_launch(&launch);

	rig_terminal();
	expect_held();
	cr_assert_eq(status, 0, "status %d: %s", status, rig_stderr);
	cr_assert(rig_told->set[0] && !rig_told->set[1]);
	cr_assert_eq(rig_told->regs[0].rip, 16 * MIB + 2);
	cr_assert_eq(rig_told->regs[0].rbx, LAYOUT_PVH_START_INFO);
	cr_assert(rig_told->regs[0].rdi == 0 && rig_told->regs[0].rsp == 0,
	          "what a flat image has, it has not");
	cr_assert(rig_told->sregs[0].cs.selector == 0x08 && rig_told->sregs[0].ds.selector == 0x18);
	cr_assert(!rig_told->sregs[0].cs.l && rig_told->sregs[0].cr3 == 0 &&
	          rig_told->sregs[0].gdt.base == LAYOUT_GDT);
	running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
	digest_of(kernel, launch.image_size, wanted);
	cr_assert_str_eq(running->kernel_sha256, wanted);
	digest_of(initrd, sizeof(initrd), wanted);
	cr_assert_str_eq(running->initrd_sha256, wanted);
}

/* Whoever reads the files again finds other code in the one, and other bytes at both ends of the
 * other. */
static bool writer_comes_after(int fd, void *buffer, size_t length, off_t offset,
                               ssize_t *ret_result)
{
	static uint8_t next = 0xa0;

	if ((fd != RIG_IMAGE && fd != RIG_DISK) || offset < 0)
		return false;
	*ret_result = syscall(SYS_pread64, fd, buffer, length, offset);
	next++;
	/* A number that is free again may be a copy's, which nobody writes to. */
	HOLDS(pwrite(fd, &next, 1, fd == RIG_IMAGE ? 0x1f0 : 0) == 1 || errno == EPERM);
	HOLDS(fd == RIG_IMAGE || pwrite(fd, &next, 1, MIB - 1) == 1 || errno == EPERM);
	return true;
}

/* The digest of the initrd that is in the guest's memory is left in word[4] to word[7]. */
static bool look_at_measured(enum axvm_stage stage)
{
	struct sha256 hash;
	const void *at;

	if (stage != STAGE_CONFINE)
		return true;
	at = guest_memory_at(&rig_shim.machine.memory,
	                     GPA(in_guest(in_guest(LAYOUT_PVH_START_INFO + 16, 8), 8)), MIB);
	HOLDS(at != NULL);
	if (!at)
		return false;
	sha256_begin(&hash);
	sha256_add(&hash, at, MIB);
	sha256_end(&hash, (uint8_t *)&rig_told->word[4]);
	return look_at_linux(stage);
}

/* The digests are of what was loaded, whatever a writer does to the files meanwhile. */
Test(sandbox_devices, what_is_measured_is_what_is_booted)
{
	static uint8_t kernel[512], initrd[MIB];
	const struct rig_launch launch = { .spec = LINUX,
		                           .guest = powers_off,
		                           .before = look_at_measured,
		                           .image = kernel,
		                           .image_size = pvh_kernel(kernel) };
	const Axvm__V1__Running *running;
	char wanted[SHA256_HEX_SIZE];
	int status;

	fake_read = writer_comes_after;
	status = rig_launch(&launch);
	fake_read = NULL;
	rig_terminal();
	expect_held();
	cr_assert_eq(status, 0, "status %d: %s", status, rig_stderr);
	running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
	digest_of(kernel, launch.image_size, wanted);
	cr_expect_str_eq(running->kernel_sha256, wanted, "the kernel has 0x90 where it is entered");
	sha256_hex((const uint8_t *)&rig_told->word[4], wanted);
	cr_expect_str_eq(running->initrd_sha256, wanted);
	digest_of(initrd, sizeof(initrd), wanted);
	cr_expect(strcmp(running->initrd_sha256, wanted) != 0, "the writer came while it was read");
}

/* Each by its field, as the launcher wrote it. */
Test(sandbox_devices, what_cannot_be_booted_is_named)
{
	static const struct {
		const char *spec, *field;
		Axvm__V1__ErrorCode code;
	} rows[] = {
		{ SMALL ONE "boot { linux_boot { kernel { fd: 5 } } }", "boot.linux_boot.kernel",
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KERNEL_INVALID },
		{ SMALL ONE "boot { flat_boot { image { fd: 6 } } }", "boot.flat_boot.image",
		  AXVM__V1__ERROR_CODE__ERROR_CODE_IMAGE_INVALID },
		{ SMALL ONE "boot { flat_boot { image { fd: 7 } load_address: 0xf80000 } }",
		  "boot.flat_boot.image", AXVM__V1__ERROR_CODE__ERROR_CODE_IMAGE_INVALID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch launch = { .spec = rows[i].spec };
		const Axvm__V1__Terminal *terminal;

		cr_assert_eq(rig_launch(&launch), 65, "row %zu: %s", i, rig_stderr);
		terminal = rig_terminal();
		cr_assert_eq(terminal->stage, AXVM__V1__STAGE__STAGE_BUILD);
		cr_assert_eq(terminal->n_errors, 1);
		cr_assert_str_eq(terminal->errors[0]->field, rows[i].field);
		cr_assert_eq(terminal->errors[0]->code, rows[i].code, "row %zu: %d", i,
		             terminal->errors[0]->code);
	}
}

/* ---- nets ------------------------------------------------------------------------------------ */

static bool same_file(int a, int b)
{
	struct stat of_a, of_b;

	return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

static bool look_at_pairs(enum axvm_stage stage)
{
	const struct net *net = rig_shim.devices.nets.list[0];

	if (stage != STAGE_CONFINE)
		return true;
	HOLDS(net->pairs == 2 && net->device.queue_count == 5 && net->queue_sizes[0] == 64 &&
	      net->queue_sizes[3] == 64);
	HOLDS(net->config.mtu == 1400 && memcmp(net->config.mac, "\x02\0\0\0\0\x09", 6) == 0);
	HOLDS(net->device.features & VIRTIO_FEATURE(VIRTIO_NET_F_CSUM));
	HOLDS(net->device.features & VIRTIO_FEATURE(VIRTIO_NET_F_MTU));
	HOLDS(net->rx_gate.limit.bytes.rate == 1000 && net->rx_gate.limit.bytes.burst == 2000);
	HOLDS(net->rx_gate.limit.ops.rate == 3 && net->rx_gate.limit.ops.burst == 4);
	HOLDS(net->tx_gate.limit.bytes.rate == 5000 && net->tx_gate.limit.bytes.burst == 6000);
	HOLDS(net->tx_gate.limit.ops.rate == 7 && net->tx_gate.limit.ops.burst == 8);
	HOLDS(rig_shim.devices.nets.fds[0][0] == RIG_TAP &&
	      rig_shim.devices.nets.fds[0][1] == RIG_TAP_2);
	HOLDS(net->tap_fd == TAP_FD_BASE && same_file(TAP_FD_BASE, RIG_TAP) && !net->vhost.net);
	HOLDS(devices_net(&rig_shim.devices, "n") == net && !devices_net(&rig_shim.devices, "nn"));
	return true;
}

static bool look_at_vhost(enum axvm_stage stage)
{
	struct net *const *list = rig_shim.devices.nets.list;
	uint8_t mac[NET_MAC_BYTES];

	if (stage != STAGE_CONFINE)
		return true;
	HOLDS(list[0]->pairs == 1 && list[0]->device.queue_count == 3 && !list[0]->vhost.net);
	HOLDS(list[1]->tap_fd == TAP_FD_BASE + 1 && same_file(TAP_FD_BASE + 1, RIG_TAP_2));
	HOLDS(list[1]->vhost.net == list[1] && list[1]->vhost.fd == VHOST_FD_BASE + 1);
	HOLDS(same_file(VHOST_FD_BASE + 1, VHOST_FD_BASE + 1) &&
	      !same_file(VHOST_FD_BASE, VHOST_FD_BASE));
	HOLDS(!same_file(RIG_VHOST, VHOST_FD_BASE + 1)); /* it has its own number alone */
	HOLDS(!(list[1]->device.features & VIRTIO_FEATURE(VIRTIO_NET_F_CSUM)));
	HOLDS(!(list[1]->device.features & VIRTIO_FEATURE(VIRTIO_NET_F_MTU)));
	net_derive_mac("t", "v", mac);
	HOLDS(memcmp(list[1]->config.mac, mac, sizeof(mac)) == 0);
	HOLDS(devices_net(&rig_shim.devices, "v") == list[1] &&
	      devices_net(&rig_shim.devices, "a") == list[0]);
	return true;
}

#define PAIRS                                                                                                          \
	SMALL WITH_APIC ONE                                                                                            \
		"nets { id: 'n' tap { fd: 10 fd: 11 } queue_pairs: 2 queue_size: 64 mtu: 1400 "                        \
		"mac: '02:00:00:00:00:09' rx_limit { bytes_per_s: 1000 bytes_burst: 2000 ops_per_s: 3 ops_burst: 4 } " \
		"tx_limit { bytes_per_s: 5000 bytes_burst: 6000 ops_per_s: 7 ops_burst: 8 } }"
#define VHOST                                                                                      \
	SMALL WITH_APIC ONE                                                                        \
		"nets { id: 'a' tap { fd: 10 } } nets { id: 'v' tap { fd: 11 } vhost { fd: 12 } offloads: false }"

/* Every field of it; vhost-net is given the guest's memory by the one that it belongs to. */
Test(sandbox_devices, every_net_is_as_its_spec)
{
	const struct rig_launch pairs = { .spec = PAIRS,
		                          .guest = powers_off,
		                          .before = look_at_pairs };
	const struct rig_launch vhost = { .spec = VHOST,
		                          .guest = powers_off,
		                          .before = look_at_vhost };

	rig_launch(&pairs);
	expect_held();
	cr_assert_eq(rig_terminal()->exit_status, 0, "%s", rig_stderr);
	cr_assert_eq(rig_told->vhost_owned, 0);
	rig_launch(&vhost);
	expect_held();
	cr_assert_eq(rig_terminal()->exit_status, 0, "%s", rig_stderr);
	cr_assert_eq(rig_told->vhost_owned, VHOST_FD_BASE + 1);
	cr_assert_eq(rig_told->vhost_memory, 16 * MIB);
}

/* ---- commands that are for a device ---------------------------------------------------------- */

/* As far as its spec says, which is what the sandbox was told; the rig's own files have no
 * limit. */
static bool grow_disk(enum axvm_stage stage)
{
	if (stage != STAGE_STAFF)
		return true;
	HOLDS(rig_shim.sandbox.config.file_size == 2 * MIB);
	return ftruncate(RIG_DISK_2, 2 * MIB) == 0;
}

static bool same_rate(const struct rate_config *rate, uint64_t first)
{
	return rate->bytes_per_s == first && rate->bytes_burst == first + 1 &&
	       rate->ops_per_s == first + 2 && rate->ops_burst == first + 3;
}

/* What each has got of them, once the button is pressed, which comes last. */
static int heeds_and_looks(struct kvm_run *run, uint32_t vcpu)
{
	const struct shim_devices *devices = &rig_shim.devices;
	static const struct rate_config none;

	while (!*(volatile uint8_t *)&run->immediate_exit &&
	       !atomic_load(&rig_shim.machine.acpi.events))
		__builtin_ia32_pause();
	if (!atomic_load(&rig_shim.machine.acpi.events))
		return EINTR;
	HOLDS(memcmp(&devices->disks[0].new_limit, &none, sizeof(none)) == 0);
	HOLDS(same_rate(&devices->disks[1].new_limit, 11));
	HOLDS(same_rate(&devices->nets.list[0]->limits[0], 21) &&
	      same_rate(&devices->nets.list[0]->limits[1], 31));
	HOLDS(atomic_load(&devices->disks[0].capacity) == 2048 &&
	      atomic_load(&devices->disks[1].capacity) == 4096);
	HOLDS(atomic_load(&devices->balloon.target_pages) == (16 - 5) * 256);
	HOLDS(devices->console.config.columns == 101 && devices->console.config.rows == 31);
	return powers_off(run, vcpu);
}

#define RATE(first, a, b, c)                                                                       \
	"limit { bytes_per_s: " #first " bytes_burst: " #a " ops_per_s: " #b " ops_burst: " #c " } "
#define NEXT(id, command) "} commands { request_id: " #id " " command " "

/* Each does what it says to the device that it names and to no other, and has its one reply. */
Test(sandbox_devices, commands_reach_their_devices)
{
	const struct rig_launch launch = {
		.spec = SMALL WITH_APIC ONE
		"console { output { fd: 6 } columns: 80 rows: 25 } balloon {} "
		"disks { id: 'a' image { fd: 7 } } disks { id: 'b' image { fd: 9 } max_size: 2097152 } nets { id: 'n' tap { fd: 10 } }",
		.command = "request_id: 1 limit { device_id: 'b' " RATE(11, 12, 13, 14) "} " NEXT(
			2, "limit { device_id: 'n' " RATE(21, 22, 23, 24) "}")
			NEXT(3, "limit { device_id: 'n' transmit: true " RATE(31, 32, 33, 34) "}")
				NEXT(4, "resize { disk_id: 'b' }") NEXT(5,
		                                                        "balloon { target_mib: 5 }")
					NEXT(6, "console_size { columns: 101 rows: 31 }") NEXT(
						7, "nmi {}") NEXT(8, "balloon { target_mib: 17 }")
						NEXT(9,
		                                     "limit { device_id: 'b' transmit: true " RATE(
							     41, 42, 43, 44) "}")
							NEXT(10, "shutdown {}"),
		.guest = heeds_and_looks,
		.before = grow_disk,
		.open_ended = true
	};

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_held();
	for (uint64_t id = 1; id <= 10; id++) {
		const Axvm__V1__Event *event = rig_event(AXVM__V1__EVENT__BODY_REPLY, id - 1);

		cr_assert_not_null(event, "to %" PRIu64, id);
		cr_assert_eq(event->reply->request_id, id);
		cr_assert_eq(event->reply->ok, id != 8 && id != 9, "%" PRIu64, id);
	}
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_REPLY, 10));
	cr_assert_str_eq(rig_event(AXVM__V1__EVENT__BODY_REPLY, 7)->reply->error->field,
	                 "balloon.target_mib");
	cr_assert_str_eq(rig_event(AXVM__V1__EVENT__BODY_REPLY, 8)->reply->error->field,
	                 "limit.transmit");
	cr_assert_eq(rig_event(AXVM__V1__EVENT__BODY_REPLY, 8)->reply->error->code,
	             AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_INVALID);
	/* An NMI is delivery mode 4, to the first local APIC (SDM 3A 11.11). */
	cr_assert(rig_told->msis == 1 && rig_told->msi.address_lo == LAYOUT_LAPIC &&
	          rig_told->msi.data == 0x400);
}

/* ---- the sandbox as it is told --------------------------------------------------------------- */

static bool note_sandbox(enum axvm_stage stage)
{
	const struct sandbox *sandbox = &rig_shim.sandbox;

	/* One more than this host is without. */
	if (stage == STAGE_CONFINE)
		sandbox_not_available(&rig_shim.sandbox, "a step of ours");
	if (stage != STAGE_RUN)
		return true;
	rig_told->word[1] = (uint64_t)sandbox->landlock_abi;
	rig_told->word[2] = sandbox->uid;
	rig_told->word[3] = sandbox->gid;
	rig_told->word[4] = sandbox->privileged || sandbox->namespaced;
	rig_told->word[5] = sandbox->writes_refused_exec;
	rig_told->word[6] = sandbox->not_available_count;
	rig_told->word[7] = sandbox->privileged;
	return true;
}

/* What the sealed event says is what the steps have left, for a uid and a gid that are not the
 * same. */
Test(sandbox_devices, the_sealed_event_says_what_was_done)
{
	const struct rig_launch own = { .spec = SMALL IMAGE ONE "sandbox { uid: 4001 gid: 4002 }",
		                        .before = note_sandbox };
	const struct rig_launch one = { .spec = SMALL IMAGE ONE "sandbox { gid: 4003 }",
		                        .before = note_sandbox };
	const Axvm__V1__Sealed *sealed;

	cr_assert_eq(rig_launch(&own), 0, "%s", rig_stderr);
	sealed = rig_event(AXVM__V1__EVENT__BODY_SEALED, 0)->sealed;
	cr_assert_eq((uint64_t)sealed->landlock_abi, rig_told->word[1]);
	cr_assert_eq(sealed->uid, rig_told->word[2]);
	cr_assert_eq(sealed->gid, rig_told->word[3]);
	cr_assert_eq((uint64_t)sealed->securebits_locked, rig_told->word[4]);
	cr_assert_eq((uint64_t)sealed->memory_deny_write_execute, rig_told->word[5]);
	cr_assert_eq(sealed->n_not_available, rig_told->word[6]);
	cr_assert_gt(sealed->n_not_available, 0);
	cr_assert_str_eq(sealed->not_available[0], "a step of ours");
	if (rig_told->word[7]) {
		cr_assert(sealed->uid == 4001 && sealed->gid == 4002);
		cr_assert_eq(sealed->n_namespaces,
		             5 + (strcmp(sealed->namespaces[sealed->n_namespaces - 1], "pid") ==
		                  0));
	}
	/* The one that is not named is the sandbox's own. */
	cr_assert_eq(rig_launch(&one), 0, "%s", rig_stderr);
	sealed = rig_event(AXVM__V1__EVENT__BODY_SEALED, 0)->sealed;
	if (rig_told->word[7])
		cr_assert(sealed->uid == SANDBOX_DEFAULT_ID && sealed->gid == 4003);
}

/* ---- what devices tell ----------------------------------------------------------------------- */

static bool devices_complain(enum axvm_stage stage)
{
	if (stage != STAGE_CONFINE)
		return true;
	virtio_report(&rig_shim.devices.console.device, 1, ENOSPC, "it has no more room");
	virtio_fail(&rig_shim.devices.disks[0].device, 0, EINVAL, "the driver broke the rules");
	return true;
}

static void expect_complaint(size_t which, const char *id, int queue, int error, bool needs_reset,
                             const char *message)
{
	const Axvm__V1__Event *event = rig_event(AXVM__V1__EVENT__BODY_DEVICE_FAILED, which);

	cr_assert_not_null(event, "of %s", id);
	cr_assert_str_eq(event->device_failed->device_id, id);
	cr_assert_eq(event->device_failed->queue, queue, "of %s: %d", id,
	             event->device_failed->queue);
	cr_assert_eq(event->device_failed->error_number, error);
	cr_assert_eq(event->device_failed->needs_reset, needs_reset);
	cr_assert_not_null(strstr(event->device_failed->message, message), "%s",
	                   event->device_failed->message);
}

Test(sandbox_devices, what_a_device_complains_of_is_told)
{
	const struct rig_launch launch = {
		.spec = SMALL WITH_APIC ONE
		"console { output { fd: 6 } } disks { id: 'root' image { fd: 7 } }",
		.guest = powers_off,
		.before = devices_complain
	};

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_complaint(0, "console", 1, ENOSPC, false, "it has no more room");
	expect_complaint(1, "root", 0, EINVAL, true, "the driver broke the rules");
}

/* Its thread has no ring at the number where it looks for one; its filter lets it ask. */
static bool ring_breaks(enum axvm_stage stage)
{
	struct io_uring *ring = &rig_shim.devices.io[0].loop.ring;

	if (stage == STAGE_RUN) {
		ring->ring_fd = ring->enter_ring_fd = IO_RING_FD_BASE + 1;
		rig_told->word[1] = rig_shim.events.sequence;
	}
	return true;
}

/* Until the event of its ring has been put: running, its state, and that. */
static int waits_for_the_event(struct kvm_run *run, uint32_t vcpu)
{
	while (!*(volatile uint8_t *)&run->immediate_exit) {
		if (io_loop_phase(&rig_shim.devices.io[0].loop) == IO_FINISHED &&
		    *(volatile uint64_t *)&rig_shim.events.sequence >= rig_told->word[1] + 3)
			return powers_off(run, vcpu);
		__builtin_ia32_pause();
	}
	return EINTR;
}

static void look_at_the_end(void)
{
	HOLDS(machine_all_parked(&rig_shim.machine));
	for (uint32_t i = 0; i < rig_shim.devices.io_count; i++)
		HOLDS(io_loop_phase(&rig_shim.devices.io[i].loop) == IO_FINISHED);
	HOLDS(rig_shim.devices.io_count == 2);
}

/* Whether the guest ended by itself or was stopped. */
Test(sandbox_devices, everything_has_come_to_rest_at_the_end)
{
	const struct rig_launch itself = { .spec = SMALL WITH_APIC ONE
		                           "io { threads_per_node: 2 } rng {} balloon {}",
		                           .guest = powers_off,
		                           .after = look_at_the_end };
	const struct rig_launch stopped = { .spec = SMALL WITH_APIC ONE
		                            "io { threads_per_node: 2 } rng {} balloon {} "
		                            "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }",
		                            .guest = heeds_and_looks,
		                            .after = look_at_the_end };

	cr_assert_eq(rig_launch(&itself), 0, "%s", rig_stderr);
	expect_held();
	cr_assert_eq(rig_launch(&stopped), 36, "%s", rig_stderr);
	expect_held();
}

/* It is about none of the queues of any device. */
Test(sandbox_devices, a_ring_that_fails_is_told)
{
	const struct rig_launch launch = { .spec = SMALL WITH_APIC ONE "rng {}",
		                           .guest = waits_for_the_event,
		                           .before = ring_breaks };

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_complaint(0, "io0", -1, EBADF, false, "all its devices have stopped");
}

/* ---- nodes of the host ----------------------------------------------------------------------- */

/* mbind(2) succeeds and is told of: bytes and node of each, one after the other from word[1] on. */
static bool note_binding(long nr, const uint64_t args[static 6], long *ret_result)
{
	const uint64_t *mask = (const uint64_t *)(uintptr_t)args[3];
	uint64_t *free_word = &rig_told->word[1];

	(void)nr;
	while (*free_word && free_word < &rig_told->word[5])
		free_word += 2;
	free_word[0] = args[1];
	for (uint64_t node = 0; node + 1 < args[4]; node++)
		if (mask[node / 64] >> node % 64 & 1)
			free_word[1] = node;
	*ret_result = 0;
	return true;
}

/* A host of several nodes, whatever this one is, and a plan; the VM goes no further. */
static bool several_nodes(enum axvm_stage stage)
{
	static const long calls[] = { SYS_mbind };

	if (stage == STAGE_ACQUIRE) {
		rig_shim.facts->node_count = 8;
		rig_shim.placement.nodes[0].host_node = 6;
		rig_shim.placement.nodes[1].host_node = 5;
		return fake_kernel_begin(calls, ARRAY_SIZE(calls), note_binding) == 0;
	}
	return stage != STAGE_BUILD;
}

/* Memory goes where the plan says, unless the spec has said where: the first node of any host. */
Test(sandbox_devices, memory_goes_to_the_nodes_of_the_plan)
{
	static const struct {
		const char *node;
		uint64_t host_node;
	} rows[] = { { "", 5 }, { "host_node: 0", 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char spec[256];
		const struct rig_launch launch = { .spec = spec, .before = several_nodes };

		snprintf(spec, sizeof(spec),
		         "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } "
		         "nodes { size_mib: 8 %s } } cpus { count: 2 } " IMAGE,
		         rows[i].node);
		cr_assert_eq(rig_launch(&launch), 70, "%s", rig_stderr);
		cr_assert_eq(rig_terminal()->n_errors, 0);
		cr_assert(rig_told->word[1] == 16 * MIB && rig_told->word[2] == 6);
		cr_assert(rig_told->word[3] == 8 * MIB && rig_told->word[4] == rows[i].host_node,
		          "row %zu", i);
		cr_assert_eq(rig_told->word[5], 0);
	}
}
