/* SPDX-License-Identifier: MIT */
/* Configuration space, BARs, MSI-X tables and every device's registers: reads and writes of any
 * width at any offset, in any order. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

#define DEVICES 6

static struct test_machine m;
static struct rng rng;
static struct console console;
static struct block block;
static struct balloon balloon;
static struct vsock vsock;
static struct net *net;
static struct disk_file disk;
static struct driver drivers[DEVICES];

static void create_devices(void)
{
	int wire[2], channel[2], file = memfd_create("disk", MFD_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct problems problems = { 0 };

	cr_assert_eq(ftruncate(file, 1 << 20), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, wire),
	             0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	cr_assert_eq(disk_file_open(&(struct disk_file_config){ .fd = file, .field = "disk" },
	                            &disk, &problems),
	             0);
	cr_assert_eq(rng_create(&rng, &(struct rng_spec){ .source_fd = null }, &m.host), 0);
	cr_assert_eq(console_create(&console,
	                            &(struct console_spec){ .output_fd = null, .input_fd = -1 },
	                            &m.host),
	             0);
	cr_assert_eq(block_create(&block,
	                          &(struct block_spec){ .id = "disk",
	                                                .serial = "",
	                                                .queues = 2,
	                                                .queue_size = 64 },
	                          &disk, &m.host),
	             0);
	cr_assert_eq(balloon_create(&balloon, &(struct balloon_spec){ .host_page = 4096 }, &m.host),
	             0);
	cr_assert_eq(vsock_create(&vsock,
	                          &(struct vsock_spec){ .cid = 3, .channel_fd = channel[0] },
	                          &m.host),
	             0);
	cr_assert_eq(net_create(&(struct net_spec){ .id = "net",
	                                            .fds = wire,
	                                            .tap_fd = -1,
	                                            .pairs = 2,
	                                            .queue_size = 64,
	                                            .offloads = true },
	                        &m.host, &net),
	             0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	machine_init(&m);
	create_devices();
	cr_assert_eq(console_add_early_ports(&console, &m.ports), 0);
	machine_start(&m);
	for (uint32_t i = 0; i < DEVICES; i++)
		driver_probe(&drivers[i], &m, i + 1);
	return 0;
}

/* Where BARs were at first is where they are now, and no device is live. */
static void start_over(void)
{
	for (uint32_t i = 0; i < DEVICES; i++)
		config_out(&drivers[i], PCI_COMMAND, 0, 2);
	for (uint32_t i = 0; i < DEVICES; i++) {
		config_out(&drivers[i], PCI_BASE_ADDRESS_0, (uint32_t)drivers[i].bar, 4);
		config_out(&drivers[i], PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
		driver_reset(&drivers[i]);
	}
}

static uint64_t take_place(struct input *input)
{
	uint8_t where = (uint8_t)take(input, 1);
	const struct driver *d = &drivers[where % DEVICES];

	switch (where >> 4 & 7) {
	case 0:
		return LAYOUT_ECAM + ((uint64_t)d->slot << 15) + take(input, 1);
	case 1:
		return LAYOUT_ECAM + take(input, 3);
	case 2:
	case 3:
		return d->bar + VIRTIO_BAR_COMMON + (take(input, 1) & 0x3f);
	case 4:
		return d->bar + VIRTIO_BAR_DEVICE + (take(input, 1) & 0x3f);
	case 5:
		return d->bar + VIRTIO_BAR_MSIX_TABLE + (take(input, 2) & 0x1fff);
	case 6:
		return d->bar + VIRTIO_BAR_NOTIFY + (take(input, 1) & 0x3f);
	default:
		return where & 0x80 ? LAYOUT_BAR_WINDOW + take(input, 4) % LAYOUT_BAR_WINDOW_SIZE
		                    : d->bar + take(input, 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	script_clear(&m.memory);
	start_over();
	for (int ops = 0; input.left > 0 && ops < SCRIPT_OPS_MAX; ops++) {
		uint8_t op = (uint8_t)take(&input, 1);
		uint32_t width = 1u << (op >> 1 & 3);
		uint64_t value = take(&input, op & 8 ? width : 1);

		if (op & 16) /* a port */
			op & 1 ? bus_write(&m.ports, 0x3f8 + (op >> 5), &value, width)
			       : bus_read(&m.ports, 0x3f8 + (op >> 5), &value, width);
		else if (op & 1)
			mmio_out(&m, take_place(&input), value, width);
		else
			(void)mmio_in(&m, take_place(&input), width);
	}
	start_over();
	for (uint32_t i = 0; i < DEVICES; i++)
		cr_assert_eq(driver_status(&drivers[i]), 0);
	/* Doorbells stand where the BARs are, once each. */
	for (uint32_t i = 0; i < m.fake.doorbell_count; i++)
		cr_assert_eq(m.fake.doorbells[i].gpa >> 28, LAYOUT_BAR_WINDOW >> 28);
	return 0;
}
