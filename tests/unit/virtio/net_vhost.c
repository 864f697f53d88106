/* SPDX-License-Identifier: MIT */
/* virtio-net on vhost-net: which rings run when, by which addresses and eventfds. The ioctls are
 * ours here and carry no frames; the test is also the control thread. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/vhost.h"
#include "rig/launch_rig.h"
#include "rig/net_rig.h"
#include "virtio/net_parts.h"

#define VHOST 1000 /* no descriptor: only our own functions see it */
#define TAP 1001

static struct net_rig rig;
static struct control_desk desk;

/* What vhost-net has been told. Of a whole launch (launch_rig.h) its rig is told. */
static struct {
	uint64_t features;
	struct {
		bool on;
		uint16_t base;
		struct vhost_place place;
		unsigned starts, stops;
	} rings[VHOST_RINGS];
	int start_error;
	uint16_t stop_base;
} kernel;

int vhost_get_features(int fd, uint64_t *ret_features)
{
	cr_assert(fd == VHOST || rig_told);
	*ret_features = UINT64_MAX;
	return 0;
}

int vhost_own(int fd, const struct guest_memory *memory)
{
	if (rig_told) {
		rig_told->vhost_owned = fd;
		rig_told->vhost_memory = memory->regions[0].size;
	}
	return 0;
}

int vhost_set_features(int fd, uint64_t features)
{
	cr_assert(fd == VHOST && !kernel.rings[VHOST_RX].on && !kernel.rings[VHOST_TX].on);
	kernel.features = features;
	return 0;
}

int vhost_start(int fd, enum vhost_ring ring, const struct vhost_place *place, uint16_t base,
                int tap_fd)
{
	cr_assert(fd == VHOST && tap_fd == TAP && !kernel.rings[ring].on);
	if (kernel.start_error)
		return kernel.start_error;
	kernel.rings[ring].on = true;
	kernel.rings[ring].base = base;
	kernel.rings[ring].place = *place;
	kernel.rings[ring].starts++;
	return 0;
}

int vhost_stop(int fd, enum vhost_ring ring, uint16_t *ret_base)
{
	cr_assert(fd == VHOST && kernel.rings[ring].on);
	kernel.rings[ring].on = false;
	kernel.rings[ring].stops++;
	*ret_base = kernel.stop_base;
	return 0;
}

int vhost_set_call(int fd, enum vhost_ring ring, int call)
{
	cr_assert(fd == VHOST && kernel.rings[ring].on);
	kernel.rings[ring].place.call = call;
	return 0;
}

static void set_up(void)
{
	struct net_spec spec = { .id = "net0",
		                 .fds = rig.device,
		                 .tap_fd = TAP,
		                 .vhost_fd = VHOST,
		                 .pairs = 1,
		                 .queue_size = NET_RIG_SIZE,
		                 .offloads = true };

	rig.pairs = 1;
	machine_init(&rig.m);
	desk.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig.m.host.control = &desk;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
	                        rig.device),
	             0);
	rig.wire[0] = rig.device[1];
	cr_assert_eq(net_create(&spec, &rig.m.host, &rig.net), 0);
	/* The TAP's own ioctl is not what is tested. */
	rig.net->tap_fd = -1;
	machine_start(&rig.m);
	driver_probe(&rig.driver, &rig.m, 1);
}

static void tear_down(void)
{
	machine_stop(&rig.m, 100);
	net_destroy(rig.net);
	machine_done(&rig.m);
	close_ptr(&rig.device[0]);
	close_ptr(&rig.wire[0]);
	close_ptr(&desk.wake_fd);
}

TestSuite(net_vhost, .init = set_up, .fini = tear_down);

/* Serves the desk until what is waited for has happened. */
#define SERVE_UNTIL(condition) WAIT_UNTIL((control_desk_serve(&desk), (condition)))

static bool both(bool on)
{
	return kernel.rings[VHOST_RX].on == on && kernel.rings[VHOST_TX].on == on;
}

/* As driver_reset(), with the desk served meanwhile. */
static void reset(void)
{
	common_out(&rig.driver, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	SERVE_UNTIL(driver_status(&rig.driver) == 0);
}

static void up(void)
{
	reset();
	net_rig_up(&rig,
	           NET_RIG_MERGED | NET_RIG_OFFLOADS | VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX));
	SERVE_UNTIL(both(true));
}

Test(net_vhost, the_rings_are_the_drivers)
{
	const uint64_t ring_features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
	                               VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
	                               VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX);

	up();
	cr_assert_eq(kernel.features, ring_features);
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS; ring++) {
		const struct vhost_place *place = &kernel.rings[ring].place;
		const struct ring *theirs = &rig.rings[ring];
		const struct guest_memory *memory = &rig.m.memory;

		cr_assert_eq(place->size, NET_RIG_SIZE);
		cr_assert_eq(place->desc, guest_memory_at(memory, GPA(theirs->desc), 16));
		cr_assert_eq(place->avail, guest_memory_at(memory, GPA(theirs->avail), 4));
		cr_assert_eq(place->used, guest_memory_at(memory, GPA(theirs->used), 4));
		cr_assert_eq(kernel.rings[ring].base, 0);
	}
}

/* A kick wakes the kernel, not us: nothing is taken from the ring, nothing put into it. */
Test(net_vhost, nobody_else_touches_the_rings)
{
	struct pollfd doorbell;
	uint64_t kicks;

	up();
	doorbell = (struct pollfd){ kernel.rings[VHOST_TX].place.kick, POLLIN, 0 };
	(void)!read(doorbell.fd, &kicks, sizeof(kicks));
	net_rig_give(&rig, 0, 0, 2048);
	ring_desc(&rig.rings[1], 0, 0x70000, 100, 0, 0);
	ring_offer(&rig.rings[1], 0);
	driver_kick(&rig.driver, 1);
	wait_readable(doorbell.fd);
	cr_assert_eq(net_rig_command(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
	             VIRTIO_NET_OK, "the control queue is ours");
	cr_assert_eq(ring_used_idx(&rig.rings[0]), 0);
	cr_assert_eq(ring_used_idx(&rig.rings[1]), 0);
}

/* The reset is complete when the kernel has let go, not before. */
Test(net_vhost, a_reset_waits_for_the_kernel)
{
	up();
	common_out(&rig.driver, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_neq(driver_status(&rig.driver), 0);
	cr_assert(both(true));
	SERVE_UNTIL(driver_status(&rig.driver) == 0);
	cr_assert(both(false));
	kernel.stop_base = 9;
	up();
	cr_assert_eq(kernel.rings[VHOST_RX].base, 0);
	cr_assert_eq(kernel.rings[VHOST_RX].starts, 2);
}

Test(net_vhost, a_queue_is_reset_alone)
{
	up();
	/* Where the kernel left it is no place for a queue that begins anew. */
	kernel.stop_base = 77;
	common_out(&rig.driver, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	common_out(&rig.driver, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	cr_assert_eq(common_in(&rig.driver, VIRTIO_PCI_COMMON_Q_RESET, 2), 1);
	SERVE_UNTIL(common_in(&rig.driver, VIRTIO_PCI_COMMON_Q_RESET, 2) == 0);
	cr_assert(!kernel.rings[VHOST_RX].on && kernel.rings[VHOST_TX].on);
	driver_queue(&rig.driver, 0, &rig.rings[0]);
	SERVE_UNTIL(both(true));
	cr_assert_eq(kernel.rings[VHOST_RX].base, 0);
	cr_assert_eq(kernel.rings[VHOST_TX].starts, 1);
}

/* After a pause the ring goes on where the kernel left it, with a kick for what came meanwhile. */
Test(net_vhost, a_pause_keeps_the_index)
{
	uint64_t kicks;

	up();
	kernel.stop_base = 77;
	io_loop_pause(&rig.m.loop);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_neq(io_loop_phase(&rig.m.loop), IO_PARKED);
	SERVE_UNTIL(io_loop_phase(&rig.m.loop) == IO_PARKED);
	cr_assert(both(false));
	(void)!read(kernel.rings[VHOST_TX].place.kick, &kicks, sizeof(kicks));
	io_loop_resume(&rig.m.loop);
	SERVE_UNTIL(both(true));
	cr_assert_eq(kernel.rings[VHOST_TX].base, 77);
	cr_assert_eq(wait_read(kernel.rings[VHOST_TX].place.kick, &kicks, sizeof(kicks)), 8);
}

/* Queue 0 has vector 0: while it is masked its interrupts come to us, and stay pending. */
Test(net_vhost, a_masked_vector_delivers_later)
{
	const uint64_t pending = rig.driver.bar + VIRTIO_BAR_MSIX_PBA, one = 1;

	up();
	/* More than once each: who listens to the kernel goes on doing so. */
	for (uint32_t i = 0; i < 2 * VHOST_RINGS; i++) {
		const uint32_t ring = i % VHOST_RINGS;
		const uint64_t control = rig.driver.bar + VIRTIO_BAR_MSIX_TABLE + 16 * ring + 12;
		const int direct = kernel.rings[ring].place.call;

		cr_assert_eq(write(direct, &one, sizeof(one)), 8);
		cr_assert_geq(driver_interrupts(&rig.driver, ring), 1, "not the irqfd");
		mmio_out(&rig.m, control, 1, 4);
		SERVE_UNTIL(kernel.rings[ring].place.call != direct);
		cr_assert_eq(write(kernel.rings[ring].place.call, &one, sizeof(one)), 8);
		WAIT_UNTIL(mmio_in(&rig.m, pending, 8) == 1u << ring);
		cr_assert_eq(driver_interrupts(&rig.driver, ring), 0);
		mmio_out(&rig.m, control, 0, 4);
		SERVE_UNTIL(kernel.rings[ring].place.call == direct);
		WAIT_UNTIL(driver_interrupts(&rig.driver, ring) != 0);
	}
}

/* Bus mastering off: the kernel must keep away from guest memory. */
Test(net_vhost, without_bus_mastering_rings_are_stopped)
{
	uint32_t command;

	up();
	command = config_in(&rig.driver, 4, 2);
	config_out(&rig.driver, 4, command & ~4u, 2);
	SERVE_UNTIL(both(false));
	config_out(&rig.driver, 4, command, 2);
	SERVE_UNTIL(both(true));
}

Test(net_vhost, a_ring_that_is_refused)
{
	reset();
	kernel.start_error = -EFAULT;
	net_rig_up(&rig, NET_RIG_MERGED);
	SERVE_UNTIL(rig.m.event_count > 0);
	cr_assert(rig.m.events[0].needs_reset && rig.m.events[0].error == EFAULT);
	cr_assert(driver_status(&rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	kernel.start_error = 0;
	up();
}

/* Whatever order it comes in, what counts is the last. */
Test(net_vhost, of_many_changes_the_last_counts)
{
	for (int i = 0; i < 200; i++) {
		io_loop_pause(&rig.m.loop);
		io_loop_resume(&rig.m.loop);
		if (i % 7 == 0)
			up();
		if (i % 3 == 0)
			control_desk_serve(&desk);
	}
	SERVE_UNTIL(both(true));
	reset();
	cr_assert(both(false));
	cr_assert_eq(rig.m.event_count, 0);
}
