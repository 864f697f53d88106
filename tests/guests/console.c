/* SPDX-License-Identifier: MIT */
/* Writes what it reads, until a full stop comes. With guest_numbers[0] it gives no receive buffers
 * for a while at first; with guest_numbers[1] it writes so many buffers of 64 KiB and reads
 * nothing. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#define BUFFERS 8u
#define BUFFER_BYTES 256u
#define FLOOD_BYTES 65536u

static struct virtio console;
static struct queue rx, tx;
static uint64_t buffers;

static void send(uint64_t at, uint32_t length)
{
	const struct part part = { (const volatile void *)at, length, false };
	uint32_t written;

	(void)queue_add(&tx, &part, 1);
	queue_kick(&tx);
	(void)queue_wait(&tx, &written);
	check_equal(written, 0);
}

static void offer(uint32_t i)
{
	queue_describe(&rx, (uint16_t)i, buffers + i * BUFFER_BYTES, BUFFER_BYTES, DESC_WRITE, 0);
	queue_offer(&rx, (uint16_t)i);
}

/* What came in; true when the end was in it. */
static bool echo(uint64_t *bytes)
{
	uint32_t length, i = queue_wait(&rx, &length);
	uint64_t at = buffers + i * BUFFER_BYTES;

	check(i < BUFFERS && length > 0 && length <= BUFFER_BYTES);
	*bytes += length;
	send(at, length);
	if (read8(at + length - 1) == '.')
		return true;
	offer(i);
	queue_kick(&rx);
	return false;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t bytes = 0, flood;

	irq_begin();
	virtio_find(VIRTIO_CONSOLE, 0, &console);
	virtio_begin(&console, F_EVENT_IDX);
	queue_begin(&rx, &console, 0, 64);
	queue_begin(&tx, &console, 1, 64);
	buffers = guest_pages(BUFFERS * BUFFER_BYTES);
	flood = guest_pages(FLOOD_BYTES);
	virtio_start(&console);
	for (uint64_t i = 0; i < guest_numbers[1]; i++)
		send(flood, FLOOD_BYTES);
	if (guest_numbers[1])
		guest_power_off(GUEST_PASS, guest_numbers[1]);
	for (uint64_t i = 0; i < guest_numbers[0]; i++)
		(void)virtio_status(&console);
	for (uint32_t i = 0; i < BUFFERS; i++)
		offer(i);
	queue_kick(&rx);
	while (!echo(&bytes))
		;
	guest_power_off(GUEST_PASS, bytes);
}
