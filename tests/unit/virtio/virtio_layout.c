/* SPDX-License-Identifier: MIT */
/* What a guest finds where, of every device: identities, capabilities, registers, configuration,
 * features. Held against numbers of VIRTIO 1.2 and PCI 3.0 that are written out here, not against
 * the headers that the product is built with. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "rig/keeper.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

/* §4.1.4: the kinds of structures. */
enum { COMMON = 1, NOTIFY, ISR, DEVICE, PCI_CFG, KINDS };

#define BIT(n) (1ULL << (n))
/* §6: INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_RESET. */
#define TRANSPORT (BIT(28) | BIT(29) | BIT(32) | BIT(40))
#define PAIRS 2

static struct test_machine m;
static struct console console;
static struct rng rng;
static struct balloon balloon;
static struct block disk, read_only_disk;
static struct net *net;
static struct vsock vsock;
static int source, image, taps[PAIRS], wires[PAIRS], channel[2];

/* What is expected of each slot from 1 on. */
struct expected {
	const char *name;
	uint16_t id;    /* §5 */
	uint32_t class; /* PCI: 0xccsspp */
	uint16_t queues;
	uint16_t queue_size; /* of the first */
	uint64_t features;   /* beside those of the transport */
	uint32_t config_size;
	const char *config; /* hexadecimal */
};

/* Offsets by spaces: a word of the text is a field. */
static const struct expected devices[] = {
	/* §5.3.4: cols, rows, max_nr_ports, emerg_wr. F_SIZE is bit 0. */
	{ "console", 3, 0x078000, 2, 128, BIT(0), 12, "5000 1900 01000000 00000000" },
	/* §5.4: no configuration, no features. */
	{ "rng", 4, 0xff0000, 1, 8, 0, 0, "" },
	/* §5.5.4: num_pages, actual, free_page_hint_cmd_id, poison_val; §5.5.3: MUST_TELL_HOST 0,
	 * STATS_VQ 1, DEFLATE_ON_OOM 2, FREE_PAGE_HINT 3, PAGE_REPORTING 5. */
	{ "balloon", 5, 0xff0000, 5, 128, BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(5), 16,
	  "00010000 00000000 00000000 00000000" },
	/* §5.2.4: capacity, size_max, seg_max, geometry (cylinders, heads, sectors), blk_size,
	 * topology (4 fields), writeback, unused0, num_queues, max_discard_sectors,
	 * max_discard_seg, discard_sector_alignment, max_write_zeroes_sectors,
	 * max_write_zeroes_seg, write_zeroes_may_unmap, unused1. §5.2.3: SEG_MAX 2, BLK_SIZE 6,
	 * FLUSH 9, TOPOLOGY 10, CONFIG_WCE 11, MQ 12, DISCARD 13, WRITE_ZEROES 14. */
	{ "disk", 2, 0x018000, 3, 64,
	  BIT(2) | BIT(6) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14), 60,
	  "0008000000000000 00000000 3e000000 0000 00 00 00020000 03 00 0800 80000000 01 00 0300 "
	  "00002000 10000000 08000000 00002000 10000000 01 000000" },
	/* The same with RO, bit 5, one queue of the largest size, blocks of 4096, write-through. */
	{ "read-only disk", 2, 0x018000, 1, 1024, BIT(2) | BIT(5) | BIT(6) | BIT(9) | BIT(10), 60,
	  "0008000000000000 00000000 fe000000 0000 00 00 00100000 00 00 0100 10000000 00 00 0100 "
	  "00002000 10000000 08000000 00200000 10000000 00 000000" },
	/* §5.1.4: mac, status, max_virtqueue_pairs, mtu. §5.1.3: CSUM 0, GUEST_CSUM 1, MTU 3, MAC
	 * 5, GUEST_TSO4 7, GUEST_TSO6 8, GUEST_ECN 9, HOST_TSO4 11, HOST_TSO6 12, HOST_ECN 13,
	 * MRG_RXBUF 15, STATUS 16, CTRL_VQ 17, CTRL_RX 18, MQ 22, CTRL_MAC_ADDR 23. */
	{ "net", 1, 0x020000, 2 * PAIRS + 1, 128,
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(12) |
	          BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(18) | BIT(22) | BIT(23),
	  12, "02a1b2c3d4e5 0100 0200 dc05" },
	/* §5.10.4: guest_cid. §5.10.3: STREAM 0. */
	{ "vsock", 19, 0xff0000, 3, 256, BIT(0), 8, "0807060504030201" },
};

static void add_disks(void)
{
	static struct disk_file file, other;
	const struct block_spec spec = {
		.id = "disk", .serial = "s", .queues = 3, .queue_size = 64
	};
	const struct block_spec spec_ro = { .id = "ro",
		                            .serial = "s",
		                            .queues = 1,
		                            .queue_size = 1024,
		                            .block_size = 4096,
		                            .write_through = true };

	file = (struct disk_file){
		.fd = image,
		.size = MIB,
		.logical_block = 512,
		.physical_block = 4096,
		.optimal_io = 65536,
		.memory_align = 1,
		.ranges = { .discard = true, .punch = true, .zero = true, .align = 1 }
	};
	other = file;
	other.read_only = true;
	other.ranges = (struct disk_ranges){ .align = 1 };
	cr_assert_eq(block_create(&disk, &spec, &file, &m.host), 0);
	cr_assert_eq(block_create(&read_only_disk, &spec_ro, &other, &m.host), 0);
}

static void add_net(void)
{
	struct net_spec spec = { .id = "net0",
		                 .fds = taps,
		                 .tap_fd = -1,
		                 .pairs = PAIRS,
		                 .queue_size = 128,
		                 .mtu = 1500,
		                 .offloads = true };

	memcpy(spec.mac, "\x02\xa1\xb2\xc3\xd4\xe5", 6);
	for (int i = 0; i < PAIRS; i++) {
		int ends[2];

		cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		                        ends),
		             0);
		taps[i] = ends[0];
		wires[i] = ends[1];
	}
	cr_assert_eq(net_create(&spec, &m.host, &net), 0);
}

/* All on one bus, before its loop runs: whatever a register does is done at once. */
static void set_up(void)
{
	const struct console_spec console_spec = {
		.output_fd = -1, .input_fd = -1, .columns = 80, .rows = 25
	};
	const struct balloon_spec balloon_spec = { .host_page = 65536,
		                                   .free_page_reporting = true,
		                                   .deflate_on_oom = true };
	struct vsock_spec vsock_spec = { .cid = 0x0102030405060708 };

	machine_init(&m);
	source = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	image = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	cr_assert(source >= 0 && image >= 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	vsock_spec.channel_fd = channel[0];
	cr_assert_eq(console_create(&console, &console_spec, &m.host), 0);
	cr_assert_eq(rng_create(&rng, &(struct rng_spec){ .source_fd = source }, &m.host), 0);
	cr_assert_eq(balloon_create(&balloon, &balloon_spec, &m.host), 0);
	cr_assert_eq(balloon_set_target(&balloon, MIB), 0);
	add_disks();
	add_net();
	cr_assert_eq(vsock_create(&vsock, &vsock_spec, &m.host), 0);
}

static void tear_down(void)
{
	vsock_destroy(&vsock);
	net_destroy(net);
	block_destroy(&read_only_disk);
	block_destroy(&disk);
	balloon_destroy(&balloon);
	rng_destroy(&rng);
	console_destroy(&console);
	machine_done(&m);
	for (int i = 0; i < PAIRS; i++) {
		close(taps[i]);
		close(wires[i]);
	}
	close(source);
	close(image);
	close(channel[0]);
	close(channel[1]);
}

TestSuite(virtio_layout, .timeout = 30);

static struct driver probe(size_t slot)
{
	struct driver d;

	driver_probe(&d, &m, (uint32_t)slot);
	return d;
}

/* -------------------------------------------------------------------------- configuration space */

/* PCI 3.0 §6.1, and VIRTIO 1.2 §4.1.2: vendor, device, revision 1 or above, subsystem. */
Test(virtio_layout, identities, .init = set_up, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		const struct expected *e = &devices[i];
		struct driver d = probe(i + 1);

		cr_assert_eq(config_in(&d, 0x00, 2), 0x1af4, "%s", e->name);
		cr_assert_eq(config_in(&d, 0x02, 2), 0x1040u + e->id, "%s", e->name);
		cr_assert_eq(config_in(&d, 0x08, 1), 1);
		cr_assert_eq(config_in(&d, 0x08, 4) >> 8, e->class, "%s", e->name);
		cr_assert_eq(config_in(&d, 0x0e, 1), 0, "one function, a plain header");
		cr_assert_eq(config_in(&d, 0x2c, 2), 0x1af4);
		cr_assert_eq(config_in(&d, 0x2e, 2), 0x1040u + e->id);
		cr_assert_eq(config_in(&d, 0x3d, 1), 0, "no INTx pin");
		cr_assert_eq(config_in(&d, 0x10, 4) & 0xf, 0, "BAR 0: memory, 32 bits");
		for (uint32_t bar = 0x14; bar < 0x28; bar += 4)
			cr_assert_eq(config_in(&d, bar, 4), 0);
	}
}

/* §4.1.4: cap_vndr, cap_next, cap_len, cfg_type, bar, id, padding[2], offset, length; a multiplier
 * or a data field behind them for two of the kinds. */
static uint32_t check_structure(struct driver *d, const struct expected *e, uint32_t at)
{
	static const uint32_t offsets[KINDS] = { 0, 0x0000, 0x3000, 0x1000, 0x2000, 0 };
	const uint32_t lengths[KINDS] = { 0, 64, 4u * e->queues, 4, e->config_size, 0 };
	uint32_t kind = config_in(d, at + 3, 1);

	cr_assert(kind >= COMMON && kind < KINDS);
	cr_assert_eq(config_in(d, at + 2, 1), kind == NOTIFY || kind == PCI_CFG ? 20 : 16);
	cr_assert_eq(config_in(d, at + 4, 1), 0, "in BAR 0");
	cr_assert_eq(config_in(d, at + 5, 1), 0, "id: one of each kind");
	cr_assert_eq(config_in(d, at + 6, 2), 0);
	cr_assert_eq(config_in(d, at + 8, 4), offsets[kind], "%s, kind %u", e->name, kind);
	cr_assert_eq(config_in(d, at + 12, 4), lengths[kind], "%s, kind %u", e->name, kind);
	if (kind == NOTIFY)
		cr_assert_eq(config_in(d, at + 16, 4), 4, "notify_off_multiplier");
	return kind;
}

/* PCI 3.0 §6.8.2: a vector a queue and one for configuration; table and PBA in BAR 0. */
static void check_msix(struct driver *d, const struct expected *e, uint32_t at)
{
	cr_assert_eq(config_in(d, at + 2, 2) & 0x7ff, e->queues, "%s", e->name);
	cr_assert_eq(config_in(d, at + 4, 4), 0x4000);
	cr_assert_eq(config_in(d, at + 8, 4), 0x5000);
}

Test(virtio_layout, capabilities, .init = set_up, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		const struct expected *e = &devices[i];
		struct driver d = probe(i + 1);
		uint32_t seen = 0, msix = 0;

		cr_assert(config_in(&d, 0x06, 2) & 0x10, "a list of capabilities");
		for (uint32_t at = config_in(&d, 0x34, 1); at != 0; at = config_in(&d, at + 1, 1)) {
			uint32_t id = config_in(&d, at, 1);

			cr_assert(at >= 0x40 && at % 4 == 0);
			if (id == 0x09)
				seen |= 1u << check_structure(&d, e, at);
			else if (id == 0x11)
				msix++, check_msix(&d, e, at);
			else
				cr_assert_fail("capability %#x", id);
		}
		/* §4.1.4.6: device configuration is left out by a device that has none. */
		cr_assert_eq(seen, e->config_size > 0 ? 0x3e : 0x2e, "%s: %#x", e->name, seen);
		cr_assert_eq(msix, 1);
	}
}

/* ------------------------------------------------------------------------------------- features */

Test(virtio_layout, each_device_offers_exactly_its_features, .init = set_up, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		struct driver d = probe(i + 1);

		cr_assert_eq(driver_offered(&d), TRANSPORT | devices[i].features, "%s: %#lx",
		             devices[i].name, (unsigned long)driver_offered(&d));
	}
}

/* ----------------------------------------------------------------- configuration of the devices */

static uint32_t bytes_of(const char *text, uint8_t *bytes)
{
	uint32_t count = 0;

	while (*text) {
		unsigned value;

		if (*text == ' ') {
			text++;
			continue;
		}
		cr_assert_eq(sscanf(text, "%2x", &value), 1);
		bytes[count++] = (uint8_t)value;
		text += 2;
	}
	return count;
}

Test(virtio_layout, device_configuration, .init = set_up, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		const struct expected *e = &devices[i];
		struct driver d = probe(i + 1);
		uint8_t bytes[64] = { 0 };

		cr_assert_eq(bytes_of(e->config, bytes), e->config_size, "%s", e->name);
		for (uint32_t at = 0; at < e->config_size; at++)
			cr_assert_eq(mmio_in(&m, d.bar + 0x2000 + at, 1), bytes[at],
			             "%s, byte %u: %#x", e->name, at,
			             (unsigned)mmio_in(&m, d.bar + 0x2000 + at, 1));
		for (uint32_t at = e->config_size; at < 0x1000; at++)
			cr_assert_eq(mmio_in(&m, d.bar + 0x2000 + at, 1), 0);
	}
}

/* ----------------------------------------------------------------------------- common registers */

/* §4.1.4.3, struct virtio_pci_common_cfg. */
static const struct {
	uint32_t offset, width;
	uint64_t first; /* value after a reset, of a device with nothing set */
	bool of_queue;
} registers[] = {
	{ 0x00, 4, 0, false },      /* device_feature_select */
	{ 0x08, 4, 0, false },      /* driver_feature_select */
	{ 0x0c, 4, 0, false },      /* driver_feature */
	{ 0x10, 2, 0xffff, false }, /* config_msix_vector */
	{ 0x14, 1, 0, false },      /* device_status */
	{ 0x16, 2, 0, false },      /* queue_select */
	{ 0x1a, 2, 0xffff, true },  /* queue_msix_vector */
	{ 0x1c, 2, 0, true },       /* queue_enable */
	{ 0x20, 8, 0, true },       /* queue_desc */
	{ 0x28, 8, 0, true },       /* queue_driver */
	{ 0x30, 8, 0, true },       /* queue_device */
	{ 0x38, 2, 0, true },       /* queue_notify_data */
	{ 0x3a, 2, 0, true },       /* queue_reset */
};

static void check_first_values(struct driver *d, const struct expected *e)
{
	cr_assert_eq(common_in(d, 0x12, 2), e->queues, "num_queues of %s", e->name);
	for (size_t r = 0; r < ARRAY_SIZE(registers); r++)
		if (!registers[r].of_queue)
			cr_assert_eq(common_in(d, registers[r].offset, registers[r].width),
			             registers[r].first, "%s, %#x", e->name, registers[r].offset);
	cr_assert_eq(common_in(d, 0x18, 2), e->queue_size);
	for (uint16_t queue = 0; queue < e->queues; queue++) {
		common_out(d, 0x16, queue, 2);
		cr_assert_eq(common_in(d, 0x16, 2), queue);
		for (size_t r = 0; r < ARRAY_SIZE(registers); r++)
			if (registers[r].of_queue)
				cr_assert_eq(common_in(d, registers[r].offset, registers[r].width),
				             registers[r].first, "%s, %#x", e->name,
				             registers[r].offset);
		cr_assert_eq(common_in(d, 0x1e, 2), queue, "queue_notify_off");
	}
	/* A queue that is not there: size 0 (§4.1.4.3.1), and no vector. */
	common_out(d, 0x16, e->queues, 2);
	cr_assert_eq(common_in(d, 0x18, 2), 0);
	cr_assert_eq(common_in(d, 0x1a, 2), 0xffff);
	for (uint32_t at = 0x20; at < 0x40; at++)
		cr_assert_eq(common_in(d, at, 1), 0);
}

Test(virtio_layout, registers_after_a_reset, .init = set_up, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		struct driver d = probe(i + 1);

		driver_reset(&d);
		check_first_values(&d, &devices[i]);
	}
}

/* Every register is written and read back at its own width, and disturbs no other. */
Test(virtio_layout, registers_keep_what_is_written, .init = set_up, .fini = tear_down)
{
	struct driver d = probe(6); /* net: five queues, six vectors */
	const struct {
		uint32_t offset, width;
		uint64_t value;
	} rows[] = {
		{ 0x00, 4, 0x89abcdef },
		{ 0x08, 4, 1 },
		{ 0x0c, 4, 0x76543210 },
		{ 0x10, 2, 5 },
		{ 0x14, 1, 3 },
		{ 0x16, 2, 4 },
		{ 0x18, 2, 32 },
		{ 0x1a, 2, 2 },
		{ 0x20, 8, 0x1122334455667788 },
		{ 0x28, 8, 0x99aabbccddeeff01 },
		{ 0x30, 8, 0x0203040506070809 },
	};

	driver_reset(&d);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		common_out(&d, rows[i].offset, rows[i].value, rows[i].width);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_assert_eq(common_in(&d, rows[i].offset, rows[i].width), rows[i].value, "%#x",
		             rows[i].offset);
	/* The halves of addresses, which drivers write one by one (§4.1.3.1), leave each other
	 * alone. */
	for (uint32_t at = 0x20; at < 0x38; at += 4) {
		uint64_t other = common_in(&d, at ^ 4, 4);

		common_out(&d, at, 0xa0b0c000u + at, 4);
		cr_assert_eq(common_in(&d, at, 4), 0xa0b0c000u + at);
		cr_assert_eq(common_in(&d, at ^ 4, 4), other);
	}
	common_out(&d, 0x16, 3, 2);
	cr_assert_eq(common_in(&d, 0x20, 8), 0, "of another queue nothing was written");
	cr_assert_eq(common_in(&d, 0x1a, 2), 0xffff);
	/* Writes of no register's width are nothing. */
	common_out(&d, 0x18, 0x00020010, 4);
	common_out(&d, 0x10, 1, 1);
	common_out(&d, 0x14, 0xf, 2);
	cr_assert_eq(common_in(&d, 0x18, 2), 128);
	cr_assert_eq(common_in(&d, 0x10, 2), 5);
	cr_assert_eq(common_in(&d, 0x14, 1), 3);
	/* What is read-only stays. */
	common_out(&d, 0x12, 9, 2);
	common_out(&d, 0x15, 9, 1);
	common_out(&d, 0x1e, 9, 2);
	common_out(&d, 0x38, 9, 2);
	cr_assert_eq(common_in(&d, 0x12, 2), 5);
	cr_assert_eq(common_in(&d, 0x15, 1), 0);
	cr_assert_eq(common_in(&d, 0x1e, 2), 3);
	cr_assert_eq(common_in(&d, 0x38, 2), 0);
}

Test(virtio_layout, sizes_and_vectors_at_their_bounds, .init = set_up, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		const struct expected *e = &devices[i];
		struct driver d = probe(i + 1);
		uint16_t vectors = (uint16_t)(e->queues + 1);

		driver_reset(&d);
		for (uint32_t size = 0; size <= 2048; size++) {
			bool good = size > 0 && size <= e->queue_size && (size & (size - 1)) == 0;

			common_out(&d, 0x18, e->queue_size, 2);
			common_out(&d, 0x18, size, 2);
			cr_assert_eq(common_in(&d, 0x18, 2), good ? size : e->queue_size, "%s: %u",
			             e->name, size);
		}
		/* §4.1.5.1.2: a vector that cannot be had reads back as none. */
		for (uint16_t vector = 0; vector < vectors + 3; vector++) {
			common_out(&d, 0x10, vector, 2);
			common_out(&d, 0x1a, vector, 2);
			cr_assert_eq(common_in(&d, 0x10, 2), vector < vectors ? vector : 0xffff);
			cr_assert_eq(common_in(&d, 0x1a, 2), vector < vectors ? vector : 0xffff);
		}
		/* §4.1.4.3: the driver writes 1 to queue_enable, and nothing else. */
		common_out(&d, 0x1c, 2, 2);
		cr_assert_eq(common_in(&d, 0x1c, 2), 0);
		common_out(&d, 0x1c, 1, 2);
		cr_assert_eq(common_in(&d, 0x1c, 2), 1);
	}
}
