/* SPDX-License-Identifier: MIT */
/* turns= times: some arithmetic, requests of one byte to virtio-rng, one after the other, and a
 * batch of reads of 4 KiB anywhere on a disk; each doorbell is answered by an interrupt, for which
 * HLT waits. RBX: requests that were answered.
 *
 * arithmetic= turns of the loop of compute.c, doorbells= requests to virtio-rng (0: the device need
 * not be there), batch= reads, of which event=1 wants one interrupt, at the first that is answered,
 * as Linux does (VIRTIO 1.2 2.7.7). */
#include "portable.h"

#include "guests/block.h"
#include "lib/block.h"

#define DOORBELLS 2u
#define BATCH 4u
#define BATCH_MAX 32u
#define BYTES 4096u
#define DISK_QUEUE 128u /* three descriptors a read */
#define RNG_QUEUE 8u
#define ARITHMETIC 500u
#define BAR_WINDOW 0xd0000000u
#define BAR_IS_IO 1u
#define BAR_IS_64BIT 4u
#define DEVICES 32u
#define FUNCTION_BYTES (8u * 4096)
#define FIRST_4_GIB (1ULL << 32)

static struct virtio disk, rng;
static struct queue disk_queue, rng_queue;
static struct block_request requests[BATCH_MAX];
static uint64_t data, answered;

/* Where monitors have configuration space: AxVM and QEMU's microvm, Cloud Hypervisor,
 * Firecracker. */
static const uint64_t ecams[] = { LAYOUT_ECAM, 0xe8000000, 0xeec00000 };

static bool has_virtio(uint64_t ecam)
{
	for (uint64_t device = 0; device < DEVICES; device++)
		if (read16(ecam + device * FUNCTION_BYTES) == VIRTIO_VENDOR)
			return true;
	return false;
}

/* Gives a BAR that nobody has placed an address: QEMU's microvm leaves that to the kernel. One that
 * has an address is left alone. Returns whether the next BAR is its upper half. */
static bool place(const struct pci_function *f, unsigned index, uint32_t *window)
{
	uint64_t at = f->config + PCI_BAR0 + 4u * index;
	uint32_t was = read32(at), size;

	if (was & BAR_IS_IO)
		return false;
	if (pci_bar(f, index) != 0)
		return was & BAR_IS_64BIT;
	write32(at, ~0u);
	size = ~(read32(at) & ~0xfu) + 1;
	if (size != 0) {
		*window = (*window + size - 1) & ~(size - 1);
		write32(at, *window);
		*window += size;
	}
	return was & BAR_IS_64BIT;
}

static void place_all(void)
{
	uint32_t window = BAR_WINDOW;

	for (uint64_t device = 0; device < DEVICES; device++) {
		struct pci_function f = { .config = pci_ecam + device * FUNCTION_BYTES };

		if (read16(f.config) != VIRTIO_VENDOR)
			continue;
		for (unsigned i = 0; i < PCI_BARS; i++) {
			unsigned index = i;

			i += place(&f, index, &window);
			if (pci_bar(&f, index) >= FIRST_4_GIB)
				portable_map(pci_bar(&f, index));
		}
	}
}

static void find_host(void)
{
	unsigned i = 0;

	while (i < sizeof(ecams) / sizeof(ecams[0]) && !has_virtio(ecams[i]))
		i++;
	if (i == sizeof(ecams) / sizeof(ecams[0]))
		portable_end(GUEST_FAIL | __LINE__, 0);
	pci_ecam = ecams[i];
	place_all();
}

/* Takes what is answered until everything that was offered has been. There is no window: interrupts
 * are off until HLT, and the index up to which all is seen is stored before the look. */
static void await_all(struct queue *q)
{
	uint32_t length;

	queue_kick(q);
	__asm__ volatile("cli" : : : "memory");
	while (q->used_idx != q->avail_idx) {
		while (queue_used_idx(q) == q->used_idx)
			wait_for_interrupt();
		while (queue_used_idx(q) != q->used_idx) {
			(void)queue_wait(q, &length);
			answered++;
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
		}
	}
}

static void one_byte(void)
{
	static volatile uint8_t byte;
	const struct part part = { &byte, 1, true };

	(void)queue_add(&rng_queue, &part, 1);
	await_all(&rng_queue);
}

static void reads(uint32_t first, uint32_t batch)
{
	for (uint32_t i = 0; i < batch; i++)
		(void)block_offer(&disk_queue, &requests[i], BLOCK_IN,
		                  block_offset(first + i, BYTES, 1) / SECTOR,
		                  (void *)(data + (uint64_t)i * BYTES), BYTES);
	await_all(&disk_queue);
	for (uint32_t i = 0; i < batch; i++)
		if (requests[i].status != BLOCK_OK)
			portable_end(GUEST_FAIL | __LINE__, requests[i].status);
}

static void begin(struct virtio *device, struct queue *q, uint16_t type, uint16_t size,
                  uint64_t features)
{
	virtio_find(type, 0, device);
	virtio_begin(device, features);
	queue_begin(q, device, 0, size);
	virtio_start(device);
}

void guest_main(uint64_t start_info, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t x = 1, turns, arithmetic;
	uint32_t batch, doorbells;

	portable_begin(start_info);
	turns = portable_option("turns", 1);
	arithmetic = portable_option("arithmetic", ARITHMETIC);
	doorbells = (uint32_t)portable_option("doorbells", DOORBELLS);
	batch = (uint32_t)portable_option("batch", BATCH);
	if (batch < 1 || batch > BATCH_MAX)
		portable_end(GUEST_FAIL | __LINE__, batch);
	find_host();
	irq_begin();
	data = guest_pages(batch * BYTES);
	begin(&disk, &disk_queue, VIRTIO_BLOCK, DISK_QUEUE,
	      portable_option("event", 0) ? F_EVENT_IDX : 0);
	if (doorbells > 0)
		begin(&rng, &rng_queue, VIRTIO_RNG, RNG_QUEUE, 0);
	for (uint32_t n = 0; n < turns; n++) {
		for (uint64_t i = 0; i < arithmetic; i++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			__asm__ volatile("" : "+r"(x));
		}
		for (uint32_t i = 0; i < doorbells; i++)
			one_byte();
		reads(n * batch, batch);
	}
	portable_say("done", turns);
	portable_end(GUEST_PASS, answered);
}
