/* SPDX-License-Identifier: MIT */
/* Returns each frame to its sender, until one with the type END comes. With guest_numbers[0] it
 * first gives no receive buffers for a while: frames come meanwhile that there is no room for. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#define BUFFERS 32u
#define BUFFER_BYTES 2048u
#define HEADER_BYTES 12u
#define TYPE_HELLO 0xb488u /* as stored: 0x88b4, 0x88b6 are for local experiments and alike */
#define TYPE_END 0xb688u
#define F_MRG_RXBUF (1ULL << 15)

static struct virtio net;
static struct queue rx, tx;
static uint64_t buffers;
static struct {
	uint8_t header[HEADER_BYTES], to[6], from[6];
	uint16_t type;
	uint8_t data[46];
} __attribute__((packed)) hello;

static uint64_t buffer(uint32_t i)
{
	return buffers + i * BUFFER_BYTES;
}

static void offer(uint32_t i)
{
	queue_describe(&rx, (uint16_t)i, buffer(i), BUFFER_BYTES, DESC_WRITE, 0);
	queue_offer(&rx, (uint16_t)i);
}

static void send(const volatile void *frame, uint32_t length)
{
	const struct part part = { frame, length, false };
	uint32_t written;

	(void)queue_add(&tx, &part, 1);
	queue_kick(&tx);
	(void)queue_wait(&tx, &written);
	check_equal(written, 0);
}

static void say_hello(void)
{
	for (unsigned i = 0; i < 6; i++) {
		hello.to[i] = 0xff;
		hello.from[i] = read8(net.specific + i);
	}
	hello.type = TYPE_HELLO;
	send(&hello, sizeof(hello));
}

/* Sender and receiver change places; the header asks for nothing. */
static void turn_around(uint64_t frame)
{
	for (unsigned i = 0; i < HEADER_BYTES; i++)
		write8(frame + i, 0);
	for (unsigned i = HEADER_BYTES; i < HEADER_BYTES + 6; i++) {
		uint8_t to = read8(frame + i);

		write8(frame + i, read8(frame + i + 6));
		write8(frame + i + 6, to);
	}
}

/* One frame; returns its type. */
static uint16_t echo(void)
{
	uint32_t length, i = queue_wait(&rx, &length);
	uint16_t type = read16(buffer(i) + HEADER_BYTES + 12);

	check(i < BUFFERS && length > HEADER_BYTES + 14 && length <= BUFFER_BYTES);
	check_equal(read16(buffer(i) + 10), 1); /* num_buffers */
	turn_around(buffer(i));
	send((const volatile void *)buffer(i), length);
	offer(i);
	queue_kick(&rx);
	return type;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t frames = 0;

	irq_begin();
	virtio_find(VIRTIO_NET, 0, &net);
	virtio_begin(&net, F_EVENT_IDX | F_MRG_RXBUF);
	queue_begin(&rx, &net, 0, 64);
	queue_begin(&tx, &net, 1, 64);
	buffers = guest_pages(BUFFERS * BUFFER_BYTES);
	virtio_start(&net);
	say_hello();
	for (uint64_t i = 0; i < guest_numbers[0]; i++)
		(void)virtio_status(&net);
	for (uint32_t i = 0; i < BUFFERS; i++)
		offer(i);
	queue_kick(&rx);
	do
		frames++;
	while (echo() != TYPE_END);
	guest_power_off(GUEST_PASS, frames);
}
