/* SPDX-License-Identifier: MIT */
/* MSI-X masks and pending bits, a reset of one queue, and resets of a whole device with requests in
 * flight, after which nothing is completed any more and the device serves its next driver. */
#define GUEST_HAS_APIC
#include "lib/block.h"

#define RESETS 50u
#define IN_FLIGHT 16u

static struct virtio disk;
static struct queue q;
static struct block_request requests[IN_FLIGHT];
static volatile uint8_t data[IN_FLIGHT][SECTOR] __attribute__((aligned(8)));

static void begin(void)
{
	guest_pages_reset();
	virtio_begin(&disk, F_RING_RESET | BLOCK_F_FLUSH);
	queue_begin(&q, &disk, 0, 64);
	virtio_start(&disk);
}

/* A completion under a mask pends, and is delivered once, when the mask goes. */
static void masks(void)
{
	static const uint16_t idle = MSIX_ENABLE;
	uint32_t before = irq_count[0];

	check(!msix_pending(&disk.pci, 0));
	msix_mask(&disk.pci, 0, true);
	block_prove(&q, 1, 1);
	await(msix_pending(&disk.pci, 0));
	check_equal(irq_count[0], before);
	msix_mask(&disk.pci, 0, false);
	await(irq_count[0] > before);
	await(!msix_pending(&disk.pci, 0));

	before = irq_count[0];
	msix_control(&disk.pci, idle | MSIX_MASK_ALL);
	block_prove(&q, 2, 2);
	await(msix_pending(&disk.pci, 0));
	check(!msix_pending(&disk.pci, 1));
	check_equal(irq_count[0], before);
	msix_control(&disk.pci, idle);
	await(irq_count[0] > before);

	/* Another vector for the same queue: the new one rings, the old one does not. */
	before = irq_count[0];
	msix_mask(&disk.pci, 0, true);
	msix_set(&disk.pci, 0, IRQ_BASE + 5);
	block_prove(&q, 3, 3);
	await(irq_count[5] > 0);
	check_equal(irq_count[0], before);
}

/* Bus mastering off: nothing is completed; on again: all of it. */
static void bus_master(void)
{
	uint32_t length;

	write16(disk.pci.config + PCI_COMMAND, PCI_COMMAND_MEMORY);
	(void)block_offer(&q, &requests[0], BLOCK_FLUSH, 0, NULL, 0);
	queue_ring(&q);
	/* Some exits later it has still not been taken. */
	for (unsigned i = 0; i < 1000; i++)
		(void)virtio_status(&disk);
	check_equal(queue_used_idx(&q), q.used_idx);
	write16(disk.pci.config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	(void)queue_wait(&q, &length);
	check_equal(requests[0].status, BLOCK_OK);
}

static void queue_reset(void)
{
	struct queue old = q;

	queue_write16(&q, COMMON_QUEUE_RESET, 1);
	await(queue_read16(&q, COMMON_QUEUE_RESET) == 0);
	check_equal(queue_read16(&q, COMMON_QUEUE_ENABLE), 0);
	queue_begin(&q, &disk, 0, 32);
	block_prove(&q, 4, 4);
	/* The old ring is nobody's. */
	check_equal(queue_used_idx(&old), old.used_idx);
	check(!(virtio_status(&disk) & STATUS_NEEDS_RESET));
}

static void reset_in_flight(void)
{
	uint16_t used;

	for (unsigned i = 0; i < IN_FLIGHT; i++)
		(void)block_offer(&q, &requests[i], i % 4 ? BLOCK_IN : BLOCK_FLUSH, i % 4 ? i : 0,
		                  data[i], i % 4 ? SECTOR : 0);
	queue_ring(&q);
	virtio_reset(&disk);
	used = queue_used_idx(&q);
	/* From here on memory is the driver's alone. */
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		requests[i].status = 0x55;
		data[i][0] = 0x55;
	}
	for (unsigned i = 0; i < 200; i++)
		(void)virtio_status(&disk);
	check_equal(queue_used_idx(&q), used);
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		check_equal(requests[i].status, 0x55);
		check_equal(data[i][0], 0x55);
	}
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	irq_begin();
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	begin();
	masks();
	bus_master();
	queue_reset();
	for (unsigned i = 0; i < RESETS; i++) {
		begin();
		reset_in_flight();
	}
	begin();
	block_prove(&q, 5, 5);
	guest_power_off(GUEST_PASS, RESETS);
}
