/* SPDX-License-Identifier: MIT */
/* TAPs: what is refused, in which words; and virtio-net on a real TAP, in a network namespace of
 * the test's own. Needs root: otherwise each test is skipped, and says so. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "io/tap.h"
#include "rig/fake_kvm.h"
#include "rig/net_rig.h"

#define TEST_PROTOCOL 0x88b5 /* IEEE 802: for local experiments */

static struct problems problems;

static bool own_namespace(void)
{
	if (unshare(CLONE_NEWNET) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0)
		return true;
	cr_skip_test("no network namespace or no /dev/net/tun: %s", errno_text(errno));
	return false;
}

/* A queue of a TAP or TUN, attached; makes the interface when there is none. */
static int attach(const char *name, short flags)
{
	struct ifreq request = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0, "%s: %s", name, errno_text(errno));
	return fd;
}

static void make(const char *name, short flags)
{
	int fd = attach(name, flags);

	cr_assert_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

static void set_up_interface(const char *name)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	request.ifr_flags = IFF_UP | IFF_NOARP;
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

static void delete_interface(const char *name)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} message = {
		.header = { .nlmsg_len = sizeof(message),
		            .nlmsg_type = RTM_DELLINK,
		            .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info = { .ifi_index = (int)if_nametoindex(name) },
	};
	char answer[256];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	cr_assert_eq(send(fd, &message, sizeof(message), 0), (ssize_t)sizeof(message));
	cr_assert_gt(wait_read(fd, answer, sizeof(answer)), 0);
	cr_assert_eq(if_nametoindex(name), 0);
	close(fd);
}

static int take_name(const char *name, uint32_t queues, int *fds)
{
	const struct tap_request request = { .name = name, .queues = queues, .field = "nets[0]" };

	memset(&problems, 0, sizeof(problems));
	return tap_take(&request, fds, &problems);
}

static int take_fds(const int *in, uint32_t queues, int *fds)
{
	const struct tap_request request = { .fds = in, .queues = queues, .field = "nets[0]" };

	memset(&problems, 0, sizeof(problems));
	return tap_take(&request, fds, &problems);
}

static void expect_problem(enum axvm_error_code code, int error, const char *words)
{
	cr_assert_eq(problems.count, 1);
	cr_assert_str_eq(problems.list[0].field, "nets[0]");
	cr_assert_eq(problems.list[0].error_number, error, "%s", problems.list[0].message);
	cr_assert_eq(problems.list[0].code, code, "%s", problems.list[0].message);
	cr_assert_not_null(strstr(problems.list[0].message, words), "%s", problems.list[0].message);
}

Test(tap, names_that_will_not_do_are_refused_in_words)
{
	int fds[TAP_QUEUES_MAX] = { -7, -7 };
	int busy;

	if (!own_namespace())
		return;
	cr_assert_lt(take_name("absent0", 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_MISSING, ENODEV, "there is no interface \"absent0\"");
	cr_assert_eq(if_nametoindex("absent0"), 0, "and none is made");
	cr_assert_lt(take_name("lo", 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "is no TAP");
	make("tun0", IFF_TUN | IFF_NO_PI);
	cr_assert_lt(take_name("tun0", 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "is a TUN");
	make("single0", IFF_TAP | IFF_NO_PI);
	cr_assert_lt(take_name("single0", 2, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "multi_queue");
	busy = attach("single0", IFF_TAP | IFF_NO_PI);
	cr_assert_lt(take_name("single0", 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_UNREADABLE, EBUSY, "in use");
	close(busy);
	cr_assert_eq(fds[0], -7, "untouched on failure");
	cr_assert_eq(take_name("single0", 1, fds), 0);
	make("multi0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	cr_assert_eq(take_name("multi0", 1, fds), 0);
	close(fds[0]);
	cr_assert_eq(take_name("multi0", 4, fds), 0);
}

/* A driver of TAPs that is made up: every interface is one; a request fails from its nth on with
 * this errno. */
static struct {
	unsigned long failing;
	int error;
	uint32_t after, attached, flags[TAP_QUEUES_MAX + 2];
	char name[IFNAMSIZ];
	int header, little_endian;
	unsigned long offloads, refused; /* a set with one of the latter is refused */
} driver;

static void take_request(unsigned long request, void *argument)
{
	if (request == TUNSETIFF) {
		const struct ifreq *wanted = argument;

		memcpy(driver.name, wanted->ifr_name, IFNAMSIZ);
		/* A busy one is asked again for as long as it takes. */
		if (driver.attached < ARRAY_SIZE(driver.flags))
			driver.flags[driver.attached] = (uint16_t)wanted->ifr_flags;
		driver.attached++;
	} else if (request == TUNSETVNETHDRSZ) {
		driver.header = *(int *)argument;
	} else if (request == TUNSETVNETLE) {
		driver.little_endian = *(int *)argument;
	} else {
		driver.offloads = (unsigned long)(uintptr_t)argument;
	}
}

static bool answer_tap(int fd, unsigned long request, void *argument, int *ret_result)
{
	(void)fd;
	*ret_result = 0;
	if (request == SIOCETHTOOL) {
		struct ethtool_drvinfo *info = (void *)((struct ifreq *)argument)->ifr_data;

		strcpy(info->driver, "tun");
		strcpy(info->bus_info, "tap");
		return true;
	}
	if (request != TUNSETIFF && request != TUNSETVNETHDRSZ && request != TUNSETVNETLE &&
	    request != TUNSETOFFLOAD)
		return false;
	take_request(request, argument);
	if (request == TUNSETOFFLOAD && driver.offloads & driver.refused) {
		errno = EINVAL;
		*ret_result = -1;
	}
	if (request == driver.failing && driver.after-- == 0) {
		driver.after = 0;
		errno = driver.error;
		*ret_result = -1;
	}
	return true;
}

static size_t open_fds(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Whatever attaching or preparing fails with: told with its errno and its queue, and no queue stays
 * open. */
Test(tap, what_the_kernel_refuses)
{
	static const struct {
		unsigned long request;
		uint32_t queues, after;
		int error;
		enum axvm_error_code code;
		const char *words;
	} rows[] = {
		{ TUNSETIFF, 1, 0, EPERM, ERROR_CODE_RESOURCE_UNREADABLE,
		  "cannot attach queue 0 to TAP \"lo\": it belongs to another user" },
		{ TUNSETIFF, 4, 2, EPERM, ERROR_CODE_RESOURCE_UNREADABLE,
		  "cannot attach queue 2 to TAP \"lo\": it belongs to another user" },
		{ TUNSETIFF, 2, 1, E2BIG, ERROR_CODE_HOST_LIMIT,
		  "cannot attach queue 1 to TAP \"lo\": it has no more queues to give" },
		{ TUNSETIFF, 2, 0, EINVAL, ERROR_CODE_RESOURCE_WRONG_KIND,
		  "cannot attach queue 0 to TAP \"lo\": it has a single queue" },
		{ TUNSETIFF, 1, 0, ENOMEM, ERROR_CODE_OS_FAILED,
		  "cannot attach queue 0 to TAP \"lo\": Cannot allocate memory" },
		{ TUNSETVNETHDRSZ, 1, 0, EIO, ERROR_CODE_OS_FAILED,
		  "cannot prepare the TAP: Input/output error" },
		{ TUNSETVNETLE, 2, 1, ENOTTY, ERROR_CODE_OS_FAILED,
		  "cannot prepare the TAP: Inappropriate ioctl" },
		{ TUNSETOFFLOAD, 3, 2, EBADFD, ERROR_CODE_OS_FAILED,
		  "cannot prepare the TAP: File descriptor in bad state" },
	};
	int fds[TAP_QUEUES_MAX] = { -7 };
	size_t before;

	if (!own_namespace())
		return;
	before = open_fds();
	fake_kvm_ioctl = answer_tap;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(&driver, 0, sizeof(driver));
		driver.failing = rows[i].request;
		driver.error = rows[i].error;
		driver.after = rows[i].after;
		cr_assert_eq(take_name("lo", rows[i].queues, fds), -rows[i].error, "row %zu", i);
		expect_problem(rows[i].code, rows[i].error, rows[i].words);
		cr_assert_eq(open_fds(), before, "row %zu: a queue is left", i);
		cr_assert_eq(fds[0], -7);
	}
	cr_assert_eq(take_name("lo", TAP_QUEUES_MAX + 1, fds), -E2BIG);
	expect_problem(ERROR_CODE_HOST_LIMIT, E2BIG, "a TAP has at most 64 queues");
}

/* Each offload is found out for itself, though one must go with another; none is left on. */
Test(tap, which_offloads_it_has)
{
	static const unsigned long all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	fake_kvm_ioctl = answer_tap;
	for (unsigned long refused = 0; refused <= all; refused++) {
		unsigned long expected = refused & all;

		if (refused & TUN_F_CSUM)
			expected = all;
		else if ((refused & (TUN_F_TSO4 | TUN_F_TSO6)) == (TUN_F_TSO4 | TUN_F_TSO6))
			expected |= TUN_F_TSO_ECN;
		memset(&driver, 0, sizeof(driver));
		driver.refused = refused;
		driver.offloads = 99;
		cr_assert_eq(tap_missing_offloads(0), expected, "refused %#lx", refused);
		cr_assert_eq(driver.offloads, 0);
	}
}

/* What is asked of a TAP: several queues where there are several; one of a TAP that has several,
 * when it must be. */
Test(tap, what_is_asked_of_the_kernel)
{
	const uint32_t one = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, several = one | IFF_MULTI_QUEUE;
	int fds[4];

	if (!own_namespace())
		return;
	fake_kvm_ioctl = answer_tap;
	for (uint32_t queues = 1; queues <= 4; queues++) {
		memset(&driver, 0, sizeof(driver));
		driver.offloads = 99;
		cr_assert_eq(take_name("lo", queues, fds), 0);
		cr_assert_eq(driver.attached, queues);
		for (uint32_t i = 0; i < queues; i++) {
			cr_assert_eq(driver.flags[i], queues == 1 ? one : several, "queue %u of %u",
			             i, queues);
			cr_assert_eq(fcntl(fds[i], F_GETFL) & (O_NONBLOCK | O_ACCMODE),
			             O_NONBLOCK | O_RDWR);
			cr_assert_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
			close(fds[i]);
		}
		cr_assert_str_eq(driver.name, "lo");
		cr_assert(driver.header == 12 && driver.little_endian == 1 && driver.offloads == 0);
	}
	/* EINVAL is how a TAP with several queues says that it has. Another refusal is one. */
	for (int i = 0; i < 2; i++) {
		memset(&driver, 0, sizeof(driver));
		driver.failing = TUNSETIFF;
		driver.error = i ? EPERM : EINVAL;
		cr_assert_eq(take_name("lo", 1, fds), -driver.error);
		cr_assert_eq(driver.attached, i ? 1 : 2);
		cr_assert_eq(driver.flags[0], one);
		cr_assert_eq(driver.flags[1], i ? 0 : several);
	}
}

Test(tap, fds_that_will_not_do_are_refused_in_words)
{
	const short good = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	static const struct {
		short flags;
		const char *words;
	} rows[] = {
		{ IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "IFF_TAP" },
		{ IFF_TAP | IFF_NO_PI, "IFF_VNET_HDR" },
	};
	int fds[2], in[2];

	if (!own_namespace())
		return;
	in[0] = 1000;
	cr_assert_lt(take_fds(in, 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_MISSING, EBADF, "fd 1000 is not open");
	in[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	cr_assert_lt(take_fds(in, 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, ENOTTY, "no queue of a TAP");
	in[0] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	cr_assert_lt(take_fds(in, 1, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EBADFD, "attached to no TAP");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		in[0] = attach("wrong0", rows[i].flags);
		cr_assert_lt(take_fds(in, 1, fds), 0, "%s", rows[i].words);
		expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, rows[i].words);
		close(in[0]);
	}
	in[0] = attach("a0", good | IFF_MULTI_QUEUE);
	in[1] = attach("b0", good | IFF_MULTI_QUEUE);
	cr_assert_lt(take_fds(in, 2, fds), 0);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "another TAP");
	close(in[1]);
	in[1] = attach("a0", good | IFF_MULTI_QUEUE);
	cr_assert_eq(take_fds(in, 2, fds), 0);
	cr_assert_eq(memcmp(in, fds, sizeof(in)), 0);
	cr_assert(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
}

/* A TAP of one queue will do for one pair, and for no more; names are compared whole. */
Test(tap, fds_of_one_queue_and_of_names_that_are_alike)
{
	static const short good = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	static const char *const names[][2] = { { "t0", "t1" },
		                                { "tap", "tap0" },
		                                { "axvmtap00000000", "axvmtap00000001" } };
	struct ifreq detach = { .ifr_flags = IFF_DETACH_QUEUE };
	int fds[2], in[2];

	if (!own_namespace())
		return;
	in[0] = in[1] = attach("single0", good);
	cr_assert_eq(take_fds(in, 1, fds), 0);
	cr_assert_eq(fds[0], in[0]);
	cr_assert_eq(take_fds(in, 2, fds), -EINVAL);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "IFF_MULTI_QUEUE");
	close(in[0]);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (size_t turn = 0; turn < 2; turn++) {
			in[0] = attach(names[i][turn], good | IFF_MULTI_QUEUE);
			in[1] = attach(names[i][!turn], good | IFF_MULTI_QUEUE);
			cr_assert_eq(take_fds(in, 2, fds), -EINVAL, "%s", names[i][turn]);
			expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "another TAP");
			cr_assert_not_null(strstr(problems.list[0].message, names[i][!turn]));
			close(in[0]);
			close(in[1]);
		}
	/* A queue that was switched off carries nothing. */
	in[0] = attach("multi0", good | IFF_MULTI_QUEUE);
	in[1] = attach("multi0", good | IFF_MULTI_QUEUE);
	cr_assert_eq(ioctl(in[1], TUNSETQUEUE, &detach), 0);
	cr_assert_eq(take_fds(in, 2, fds), -EINVAL);
	expect_problem(ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "TUNSETQUEUE");
	detach.ifr_flags = IFF_ATTACH_QUEUE;
	cr_assert_eq(ioctl(in[1], TUNSETQUEUE, &detach), 0);
	cr_assert_eq(take_fds(in, 2, fds), 0);
}

/* ------------------------------------------------------------------------ the device on a TAP */

static struct net_rig rig;
static int tap;

/* A packet socket on the interface: the host's side. */
static int host_socket(const char *name)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(TEST_PROTOCOL),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TEST_PROTOCOL));

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static bool start_on_tap(void)
{
	struct net_spec spec = {
		.id = "net0", .fds = &tap, .pairs = 1, .offloads = true, .queue_size = NET_RIG_SIZE
	};

	if (!own_namespace())
		return false;
	make("tap0", IFF_TAP | IFF_NO_PI);
	set_up_interface("tap0");
	cr_assert_eq(take_name("tap0", 1, &tap), 0);
	spec.tap_fd = tap;
	rig.pairs = 1;
	rig.wire[0] = rig.device[0] = -1;
	machine_init(&rig.m);
	cr_assert_eq(net_create(&spec, &rig.m.host, &rig.net), 0);
	machine_start(&rig.m);
	driver_probe(&rig.driver, &rig.m, 1);
	return true;
}

static void ethernet(uint8_t *frame, uint8_t fill, size_t length)
{
	memset(frame, fill, length);
	memset(frame, 0xff, 6);
	frame[6] = 2;
	frame[12] = TEST_PROTOCOL >> 8;
	frame[13] = TEST_PROTOCOL & 0xff;
}

Test(tap, frames_go_both_ways_through_a_real_tap, .init = NULL)
{
	uint8_t frame[NET_RIG_HEADER + 1514] = { 0 };
	uint8_t got[2000];
	int host;

	if (!start_on_tap())
		return;
	host = host_socket("tap0");
	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	ethernet(frame + NET_RIG_HEADER, 0xab, 1514);
	net_rig_transmit(&rig, 1, frame, sizeof(frame), 500);
	cr_assert_eq(wait_read(host, got, sizeof(got)), 1514);
	cr_assert_eq(memcmp(got, frame + NET_RIG_HEADER, 1514), 0);

	for (uint16_t i = 0; i < 30; i++)
		net_rig_give(&rig, 0, i, 2048);
	for (int i = 0; i < 100; i++) {
		struct virtq_used used;
		uint8_t type[2] = { 0 };

		ethernet(frame, (uint8_t)i, 1514);
		cr_assert_eq(send(host, frame, 1000, 0), 1000);
		/* The kernel may say something of its own on a new interface. */
		do {
			used = net_rig_used(&rig, 0);
			guest_memory_read(&rig.m.memory,
			                  GPA(net_rig_rx_address(0, (uint16_t)used.id) +
			                      NET_RIG_HEADER + 12),
			                  type, 2);
			net_rig_give(&rig, 0, (uint16_t)used.id, 2048);
		} while (type[0] != TEST_PROTOCOL >> 8 || type[1] != (TEST_PROTOCOL & 0xff));
		cr_assert_eq(used.length, NET_RIG_HEADER + 1000);
	}
	cr_assert_eq(rig.m.event_count, 0);
	close(host);
	net_rig_stop(&rig);
	close(tap);
}

/* The offloads in force, as the interface tells: TUNGETIFF does not. */
static bool has_segmentation(const char *name)
{
	struct {
		uint32_t cmd, data;
	} value = { .cmd = 0x1e /* ETHTOOL_GTSO */ };
	struct ifreq request = { .ifr_data = (void *)&value };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	cr_assert_eq(ioctl(fd, 0x8946 /* SIOCETHTOOL */, &request), 0);
	close(fd);
	return value.data;
}

Test(tap, the_tap_does_what_the_driver_negotiated)
{
	if (!start_on_tap())
		return;
	cr_assert(!has_segmentation("tap0"));
	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	WAIT_UNTIL(has_segmentation("tap0"));
	net_rig_up(&rig, NET_RIG_MERGED);
	WAIT_UNTIL(!has_segmentation("tap0"));
	net_rig_stop(&rig);
	close(tap);
}

Test(tap, a_tap_removed_under_the_device_is_one_event)
{
	uint8_t frame[NET_RIG_HEADER + 100] = { 0 };
	uint64_t nudges = 0;

	if (!start_on_tap())
		return;
	net_rig_up(&rig, NET_RIG_MERGED);
	net_rig_give(&rig, 0, 0, 2048);
	delete_interface("tap0");
	/* The kernel wakes those that poll a TAP before it is marked as gone, so now and then one
	 * of them looks too early and sleeps on. The next frame sent notices then. */
	while (atomic_load(&rig.m.event_count) == 0) {
		for (int i = 0; i < 2000 && atomic_load(&rig.m.event_count) == 0; i++)
			pause_a_little();
		if (atomic_load(&rig.m.event_count) == 0) {
			net_rig_transmit(&rig, 1, frame, sizeof(frame), 200);
			nudges++;
		}
	}
	cr_assert(!rig.m.events[0].needs_reset);
	cr_assert_not_null(strstr(rig.m.events[0].message, "the TAP has been removed"));
	for (int i = 0; i < 10; i++)
		net_rig_transmit(&rig, 1, frame, sizeof(frame), 200);
	net_rig_up(&rig, NET_RIG_MERGED);
	net_rig_transmit(&rig, 1, frame, sizeof(frame), 200);
	cr_assert_eq(net_rig_stats(&rig).tx_dropped, 11 + nudges);
	cr_assert_eq(rig.m.event_count, 1);
	net_rig_stop(&rig);
	close(tap);
}
