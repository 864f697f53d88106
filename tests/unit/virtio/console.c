/* SPDX-License-Identifier: MIT */
/* virtio-console through a real io_uring, with pipes, files and readers that stall or leave. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>

#include "rig/virtio_driver.h"
#include "rig/wait.h"
#include "shim/device/resources.h"
#include "virtio/console.h"

#define RX 0
#define TX 1
#define SIZE 16
#define RX_DATA 0x60000
#define TX_DATA 0x80000
#define FEATURES                                                                                   \
	(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_CONSOLE_F_SIZE) |              \
	 VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX))

static struct test_machine m;
static struct console console;
static struct driver driver;
static struct ring rings[2];
static int out_pipe[2];
static int in_pipe[2];

static void create(int output, int input, size_t buffer)
{
	const struct console_spec spec = {
		.output_fd = output,
		.input_fd = input,
		.columns = 80,
		.rows = 25,
		.buffer_bytes = buffer,
	};

	signal(SIGPIPE, SIG_IGN);
	machine_init(&m);
	memset(&console, 0, sizeof(console));
	cr_assert_eq(console_create(&console, &spec, &m.host), 0);
	cr_assert_eq(console_add_early_ports(&console, &m.ports), 0);
}

static void bring_up(void)
{
	driver_reset(&driver);
	ring_init(&rings[RX], &m.memory, SIZE, 0x10000);
	ring_init(&rings[TX], &m.memory, SIZE, 0x20000);
	cr_assert(driver_negotiate(&driver, FEATURES));
	common_out(&driver, VIRTIO_PCI_COMMON_MSIX, 2, 2);
	driver_queue(&driver, RX, &rings[RX]);
	driver_queue(&driver, TX, &rings[TX]);
	driver_ok(&driver);
}

static void start(int output, int input, size_t buffer)
{
	create(output, input, buffer);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	bring_up();
}

static void set_up(void)
{
	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(in_pipe, O_CLOEXEC), 0);
	start(out_pipe[1], in_pipe[0], 0);
}

static void tear_down(void)
{
	machine_stop(&m, 100);
	console_destroy(&console);
	machine_done(&m);
}

/* Transmits and waits for the completion, which must come whatever the reader does. */
static void transmit(const void *data, uint32_t length)
{
	uint16_t done = ring_used_idx(&rings[TX]);

	cr_assert_eq(guest_memory_write(&m.memory, GPA(TX_DATA), data, length), 0);
	ring_desc(&rings[TX], 0, TX_DATA, length, 0, 0);
	ring_offer(&rings[TX], 0);
	driver_kick(&driver, TX);
	driver_await_used(&rings[TX], (uint16_t)(done + 1));
}

static void offer_receive(uint16_t index, uint32_t length)
{
	ring_desc(&rings[RX], index, RX_DATA + index * 4096u, length, VRING_DESC_F_WRITE, 0);
	ring_offer(&rings[RX], index);
	driver_kick(&driver, RX);
}

static void expect(int fd, const char *text)
{
	char buffer[256] = { 0 };
	size_t have = 0;

	while (have < strlen(text)) {
		ssize_t n = wait_read(fd, buffer + have, strlen(text) - have);

		cr_assert_gt(n, 0);
		have += (size_t)n;
	}
	cr_assert_str_eq(buffer, text);
}

static struct console_stats stats(void)
{
	struct console_stats s;

	console_get_stats(&console, &s);
	return s;
}

TestSuite(console, .timeout = 60);

Test(console, output_reaches_the_pipe, .init = set_up, .fini = tear_down)
{
	transmit("hello, ", 7);
	transmit("world\n", 6);
	expect(out_pipe[0], "hello, world\n");
	WAIT_UNTIL(driver_interrupts(&driver, TX) != 0);
	cr_assert_eq(ring_used(&rings[TX], 0).length, 0);
	cr_assert_eq(stats().bytes_dropped, 0);
}

Test(console, input_reaches_the_guest, .init = set_up, .fini = tear_down)
{
	cr_assert_eq(write(in_pipe[1], "abcdefgh", 8), 8);
	offer_receive(0, 5);
	driver_await_used(&rings[RX], 1);
	cr_assert_eq(ring_used(&rings[RX], 0).length, 5);
	cr_assert_arr_eq(guest_memory_at(&m.memory, GPA(RX_DATA), 5), "abcde", 5);
	offer_receive(1, 4096);
	driver_await_used(&rings[RX], 2);
	cr_assert_eq(ring_used(&rings[RX], 1).length, 3);
	WAIT_UNTIL(driver_interrupts(&driver, RX) != 0);
	/* And again, after the pipe was empty. */
	offer_receive(2, 4096);
	cr_assert_eq(write(in_pipe[1], "x", 1), 1);
	driver_await_used(&rings[RX], 3);
}

Test(console, input_stays_in_the_pipe_while_the_guest_has_no_buffers, .init = set_up,
     .fini = tear_down)
{
	char byte;

	cr_assert_eq(write(in_pipe[1], "kept", 4), 4);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(fcntl(in_pipe[0], F_SETFL, O_NONBLOCK), 0);
	cr_assert_eq(read(in_pipe[0], &byte, 1), 1);
	cr_assert_eq(byte, 'k');
}

Test(console, the_end_of_input_is_no_failure, .init = set_up, .fini = tear_down)
{
	offer_receive(0, 16);
	close(in_pipe[1]);
	transmit("still here", 10);
	expect(out_pipe[0], "still here");
	cr_assert_eq(atomic_load(&m.event_count), 0);
	cr_assert_eq(ring_used_idx(&rings[RX]), 0);
}

/* What there is to read now. The loop counts bytes a moment after they can be read, so a reader
 * that waits for the count must not wait in read(2) for more bytes: there may be none. */
static size_t read_some(char *to, size_t room)
{
	ssize_t n = read(out_pipe[0], to, room);

	if (n < 0 && errno == EAGAIN) {
		pause_a_little();
		return 0;
	}
	cr_assert_gt(n, 0);
	return (size_t)n;
}

Test(console, a_stalled_reader_costs_output_not_time)
{
	char block[4096];
	char *all;
	size_t got = 0;

	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	cr_assert_eq(fcntl(out_pipe[0], F_SETFL, O_NONBLOCK), 0);
	start(out_pipe[1], -1, 16384);
	for (int i = 0; i < 64; i++) {
		memset(block, 'a' + i % 26, sizeof(block));
		transmit(block, sizeof(block));
	}
	cr_assert_gt(stats().bytes_dropped, 0);
	machine_await_events(&m, 1);
	cr_assert_not(m.events[0].needs_reset);
	cr_assert_eq(atomic_load(&m.event_count), 1, "one event a spell");
	cr_assert_eq(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	/* The reader comes back: what was first is there, and what is written now. */
	all = malloc(1 << 20);
	while (stats().bytes_out + stats().bytes_dropped < 64 * sizeof(block))
		got += read_some(all + got, (1 << 20) - got);
	transmit("END", 3);
	while (got < 3 || memcmp(all + got - 3, "END", 3) != 0)
		got += read_some(all + got, (1 << 20) - got);
	for (size_t i = 0; i < 16384; i++)
		cr_assert_eq(all[i], 'a' + (char)(i / sizeof(block) % 26));
	cr_assert_eq(stats().bytes_out, got);
	cr_assert_eq(stats().bytes_out + stats().bytes_dropped, 64 * sizeof(block) + 3);
	/* A second spell, a second event. */
	for (int i = 0; i < 64; i++)
		transmit(block, sizeof(block));
	machine_await_events(&m, 2);
	free(all);
	tear_down();
}

Test(console, a_reset_while_a_write_is_stalled)
{
	static char block[4096];

	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	start(out_pipe[1], -1, 128 * KIB);
	for (int i = 0; i < 20; i++)
		transmit(block, sizeof(block));
	bring_up();
	transmit("after", 5);
	cr_assert_eq(ring_used_idx(&rings[TX]), 1);
	for (int i = 0; i < 20; i++)
		for (size_t got = 0; got < sizeof(block);) {
			ssize_t n = wait_read(out_pipe[0], block, sizeof(block) - got);

			cr_assert_gt(n, 0);
			got += (size_t)n;
		}
	expect(out_pipe[0], "after");
	tear_down();
}

Test(console, a_reset_while_a_read_waits_keeps_the_input, .init = set_up, .fini = tear_down)
{
	offer_receive(0, 16);
	bring_up();
	cr_assert_eq(write(in_pipe[1], "late", 4), 4);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(ring_used_idx(&rings[RX]), 0, "no buffers were offered since");
	offer_receive(0, 16);
	driver_await_used(&rings[RX], 1);
	cr_assert_arr_eq(guest_memory_at(&m.memory, GPA(RX_DATA), 4), "late", 4);
}

Test(console, a_reader_that_leaves_is_one_event_and_its_output_dropped, .init = set_up,
     .fini = tear_down)
{
	close(out_pipe[0]);
	transmit("lost", 4);
	machine_await_events(&m, 1);
	cr_assert_eq(m.events[0].error, EPIPE);
	cr_assert_not(m.events[0].needs_reset);
	transmit("lost too", 8);
	WAIT_UNTIL(stats().bytes_dropped >= 12);
	cr_assert_eq(atomic_load(&m.event_count), 1);
}

Test(console, output_that_is_not_blocking, .init = set_up, .fini = tear_down)
{
	char block[4096] = { 0 };
	size_t got = 0;

	cr_assert_eq(fcntl(out_pipe[1], F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 40; i++)
		transmit(block, sizeof(block));
	while (got < 40 * sizeof(block)) {
		ssize_t n = wait_read(out_pipe[0], block, sizeof(block));

		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
	WAIT_UNTIL(stats().bytes_out >= got);
	cr_assert_eq(atomic_load(&m.event_count), 0);
}

Test(console, a_file_is_appended_to)
{
	char text[32] = { 0 };
	int fd = memfd_create("console", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "before ", 7), 7);
	start(fd, -1, 0);
	transmit("one ", 4);
	transmit("two", 3);
	WAIT_UNTIL(stats().bytes_out >= 7);
	cr_assert_eq(pread(fd, text, sizeof(text), 0), 14);
	cr_assert_str_eq(text, "before one two");
	tear_down();
}

Test(console, no_output_and_no_input)
{
	start(-1, -1, 0);
	transmit("nothing", 7);
	offer_receive(0, 16);
	transmit("nothing", 7);
	cr_assert_eq(stats().bytes_dropped, 14);
	cr_assert_eq(atomic_load(&m.event_count), 0);
	tear_down();
}

Test(console, the_last_words_are_waited_for)
{
	char text[32] = { 0 };

	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	start(out_pipe[1], -1, 0);
	/* Offered and kicked, and not waited for: as a guest that powers off. */
	cr_assert_eq(guest_memory_write(&m.memory, GPA(TX_DATA), "goodbye", 7), 0);
	ring_desc(&rings[TX], 0, TX_DATA, 7, 0, 0);
	ring_offer(&rings[TX], 0);
	driver_kick(&driver, TX);
	machine_stop(&m, 1000);
	cr_assert_eq(wait_read(out_pipe[0], text, sizeof(text)), 7);
	cr_assert_str_eq(text, "goodbye");
	tear_down();
}

Test(console, a_stop_does_not_wait_for_a_stalled_reader_for_ever)
{
	static char block[4096];

	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(in_pipe, O_CLOEXEC), 0);
	start(out_pipe[1], in_pipe[0], 0);
	offer_receive(0, 16);
	for (int i = 0; i < 40; i++)
		transmit(block, sizeof(block));
	machine_stop(&m, 50);
	tear_down();
}

Test(console, its_size_can_change, .init = set_up, .fini = tear_down)
{
	uint64_t base = driver.bar + VIRTIO_BAR_DEVICE;

	cr_assert_eq(mmio_in(&m, base, 4), 25 << 16 | 80);
	console_resize(&console, 132, 50);
	cr_assert_eq(mmio_in(&m, base, 4), 50 << 16 | 132);
	WAIT_UNTIL(driver_interrupts(&driver, 2) != 0);
}

Test(console, the_early_console_writes_what_the_ports_get, .init = set_up, .fini = tear_down)
{
	uint8_t byte = 0;
	const char *text = "early\n";

	bus_read(&m.ports, LAYOUT_PORT_UART + 5, &byte, 1);
	cr_assert_eq(byte, 0x60);
	bus_read(&m.ports, LAYOUT_PORT_UART + 1, &byte, 1);
	cr_assert_eq(byte, 0);
	/* The divisor latch takes what is no output. */
	bus_write(&m.ports, LAYOUT_PORT_UART + 3, "\x83", 1);
	bus_write(&m.ports, LAYOUT_PORT_UART, "\x01", 1);
	bus_write(&m.ports, LAYOUT_PORT_UART + 3, "\x03", 1);
	for (const char *c = text; *c; c++)
		bus_write(&m.ports, c == text ? LAYOUT_PORT_DEBUG : LAYOUT_PORT_UART, c, 1);
	expect(out_pipe[0], text);
	cr_assert_eq(m.ports.unmatched_writes + m.ports.unmatched_reads, 0);
}

Test(console, bytes_before_the_loop_runs_are_kept)
{
	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	create(out_pipe[1], -1, 0);
	console_append(&console, "first ", 6);
	machine_start(&m);
	console_append(&console, "second", 6);
	expect(out_pipe[0], "first second");
	tear_down();
}

/* The kernels at hand wait by themselves; a kernel that does not must cost nothing either. */
Test(console, a_write_or_read_that_would_block_is_tried_again)
{
	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(in_pipe, O_CLOEXEC), 0);
	create(out_pipe[1], in_pipe[0], 0);
	console_append(&console, "x", 1);
	console.write_op.done(&console.write_op, -EAGAIN, 0);
	console.read_op.done(&console.read_op, -EAGAIN, 0);
	machine_start(&m);
	expect(out_pipe[0], "x");
	driver_probe(&driver, &m, 1);
	bring_up();
	offer_receive(0, 16);
	cr_assert_eq(write(in_pipe[1], "y", 1), 1);
	driver_await_used(&rings[RX], 1);
	cr_assert_eq(atomic_load(&m.event_count), 0);
	tear_down();
}

Test(console, an_idle_console_makes_no_turns, .init = set_up, .fini = tear_down)
{
	uint64_t turns;

	transmit("x", 1);
	expect(out_pipe[0], "x");
	WAIT_UNTIL(stats().bytes_out >= 1);
	for (int i = 0; i < 50; i++)
		pause_a_little();
	turns = atomic_load(&m.loop.stats.turns);
	for (int i = 0; i < 50; i++)
		pause_a_little();
	cr_assert_eq(atomic_load(&m.loop.stats.turns), turns);
	cr_assert_eq(atomic_load(&m.loop.stats.overflows), 0);
}

/* ----------------------------------------------------------------------------- to the last byte */

/* Before the loop runs nothing is written, so that the buffer's bounds can be met exactly. */
Test(console, what_does_not_fit_is_counted_to_the_byte)
{
	static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	create(out_pipe[1], -1, 20);
	console_append(&console, text, 15);
	cr_assert_eq(stats().bytes_dropped, 0);
	console_append(&console, text + 15, 5);
	cr_assert_eq(stats().bytes_dropped, 0, "it is just full");
	cr_assert_eq(atomic_load(&m.event_count), 0);
	console_append(&console, text + 20, 1);
	cr_assert_eq(stats().bytes_dropped, 1);
	console_append(&console, text + 21, 9);
	cr_assert_eq(stats().bytes_dropped, 10);
	machine_start(&m);
	expect(out_pipe[0], "0123456789abcdefghij");
	WAIT_UNTIL(stats().bytes_out >= 20);
	cr_assert_eq(stats().bytes_out, 20);
	cr_assert_eq(stats().bytes_dropped, 10);
	tear_down();
}

Test(console, of_a_chunk_that_fits_in_part_the_rest_is_dropped)
{
	for (size_t kept = 0; kept <= 8; kept++) {
		cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
		create(out_pipe[1], -1, 8);
		console_append(&console, "........", 8 - kept);
		console_append(&console, "abcdefghijk", 11);
		cr_assert_eq(stats().bytes_dropped, 11 - kept);
		machine_start(&m);
		WAIT_UNTIL(stats().bytes_out >= 8);
		cr_assert_eq(stats().bytes_out, 8);
		tear_down();
		close(out_pipe[0]);
		close(out_pipe[1]);
	}
}

Test(console, bytes_keep_their_order_around_the_buffers_end)
{
	char text[8] = { 0 };

	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	start(out_pipe[1], -1, 16);
	for (char i = 0; i < 64; i++) {
		memset(text, 0, sizeof(text));
		for (char j = 0; j < 7; j++)
			text[(int)j] = (char)('!' + (i * 7 + j) % 90);
		transmit(text, 7);
		expect(out_pipe[0], text);
		/* So that the next one begins where this one has ended. */
		WAIT_UNTIL(stats().bytes_out >= (uint64_t)(i + 1) * 7);
	}
	cr_assert_eq(stats().bytes_dropped, 0);
	tear_down();
}

/* A spell of dropping, and its one event, lasts until the buffer has been empty. */
Test(console, a_spell_ends_when_the_buffer_is_empty)
{
	cr_assert_eq(pipe2(out_pipe, O_CLOEXEC), 0);
	create(out_pipe[1], -1, 10);
	console_append(&console, "0123456789ab", 12);
	cr_assert_eq(atomic_load(&m.event_count), 1);
	/* Nine bytes are written: there is room, and still something left. */
	console.write_op.done(&console.write_op, 9, 0);
	console_append(&console, "0123456789ab", 12);
	cr_assert_eq(stats().bytes_dropped, 5);
	cr_assert_eq(atomic_load(&m.event_count), 1);
	console.write_op.done(&console.write_op, 10, 0);
	console_append(&console, "0123456789ab", 12);
	cr_assert_eq(stats().bytes_dropped, 7);
	cr_assert_eq(atomic_load(&m.event_count), 2);
	cr_assert_eq(stats().bytes_out, 19);
	tear_down();
}

Test(console, input_is_counted_to_the_byte, .init = set_up, .fini = tear_down)
{
	uint64_t total = 0;

	for (uint16_t i = 0; i < 5; i++) {
		size_t length = i * 3u + 1;

		cr_assert_eq(write(in_pipe[1], "abcdefghijklmn", length), (ssize_t)length);
		offer_receive(i, 4096);
		driver_await_used(&rings[RX], (uint16_t)(i + 1));
		total += length;
		cr_assert_eq(ring_used(&rings[RX], i).length, length);
		cr_assert_eq(stats().bytes_in, total);
	}
}

/* The 8250's registers by number, and port 0xe9, which reads as itself. */
Test(console, the_early_consoles_ports_read_as_an_idle_transmitter, .init = set_up,
     .fini = tear_down)
{
	uint8_t debug = 0;

	for (uint16_t port = 0; port < 8; port++) {
		uint8_t byte = 0xff;

		bus_read(&m.ports, 0x3f8u + port, &byte, 1);
		cr_assert_eq(byte, port == 5 ? 0x60 : 0, "port %u", port);
	}
	bus_read(&m.ports, 0xe9, &debug, 1);
	cr_assert_eq(debug, 0xe9);
	/* Only single bytes to the transmit register are output. */
	bus_write(&m.ports, 0x3f8, "xy", 2);
	for (uint16_t port = 1; port < 8; port++)
		if (port != 3)
			bus_write(&m.ports, 0x3f8u + port, "z", 1);
	bus_write(&m.ports, 0x3f8, "!", 1);
	expect(out_pipe[0], "!");
	WAIT_UNTIL(stats().bytes_out >= 1);
	cr_assert_eq(stats().bytes_out + stats().bytes_dropped, 1);
}

/* Each byte that there is, through either port. */
Test(console, the_early_console_writes_every_byte, .init = set_up, .fini = tear_down)
{
	static const uint16_t ports[] = { 0x3f8, 0xe9 };

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		for (unsigned byte = 0; byte < 256; byte++) {
			uint8_t sent = (uint8_t)byte, seen;

			bus_write(&m.ports, ports[i], &sent, 1);
			cr_assert_eq(wait_read(out_pipe[0], &seen, 1), 1);
			cr_assert_eq(seen, sent, "port %#x", ports[i]);
		}
}

/* What a driver sends in one chain comes out whole, in its order, of however many pieces. */
Test(console, output_in_pieces, .init = set_up, .fini = tear_down)
{
	static const char text[] = "abcdefghijklmnop";

	cr_assert_eq(guest_memory_write(&m.memory, GPA(TX_DATA), text, SIZE), 0);
	for (uint16_t pieces = 1; pieces <= SIZE; pieces++) {
		uint16_t done = ring_used_idx(&rings[TX]);
		char seen[SIZE + 1] = { 0 };

		/* A byte each, and the rest in the last. */
		for (uint16_t i = 0; i < pieces; i++)
			ring_desc(&rings[TX], i, TX_DATA + i,
			          i + 1 < pieces ? 1 : (uint32_t)(SIZE - i),
			          i + 1 < pieces ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
		ring_offer(&rings[TX], 0);
		driver_kick(&driver, TX);
		driver_await_used(&rings[TX], (uint16_t)(done + 1));
		cr_assert_eq(ring_used(&rings[TX], done).length, 0);
		for (size_t have = 0; have < SIZE;) {
			ssize_t n = wait_read(out_pipe[0], seen + have, SIZE - have);

			cr_assert_gt(n, 0);
			have += (size_t)n;
		}
		cr_assert_str_eq(seen, text, "%u pieces", pieces);
	}
	cr_assert_eq(stats().bytes_dropped, 0);
}

/* Where the loop has no room for it there is no console, and nothing of it is left. */
Test(console, a_loop_without_room_has_no_console)
{
	static const struct console_spec spec = {
		.output_fd = 1, .input_fd = 0, .columns = 80, .rows = 25
	};
	uint32_t index;

	for (int what = 0; what < 3; what++) {
		machine_init(&m);
		memset(&console, 0, sizeof(console));
		/* No file, one, and no operation. */
		while (what < 2 && m.host.loop->file_count < IO_FILES_MAX - (uint32_t)what)
			cr_assert_eq(io_loop_add_file(m.host.loop, 0, &index), 0);
		while (what == 2 && io_loop_reserve(m.host.loop, 1) == 0)
			;
		cr_assert_eq(console_create(&console, &spec, &m.host), -ENOSPC, "case %d", what);
		cr_assert_null(console.buffer);
		console_destroy(&console);
		machine_done(&m);
	}
}

/* -------------------------------------------------------------------------------- a limit on it */

#define START 7000000000ULL
#define MS 1000000ULL

/* Without a ring no write is under way but those that the test says are done, and time stands where
 * it says. */
static void create_limited(int output, struct rate_config limit)
{
	const struct console_spec spec = { .output_fd = output, .input_fd = -1, .limit = limit };

	machine_init(&m);
	memset(&console, 0, sizeof(console));
	cr_assert_eq(console_create(&console, &spec, &m.host), 0);
	m.loop.turn_ns = START;
}

static void print(uint32_t bytes)
{
	static const char text[4096];

	console_append(&console, text, bytes);
}

static void written(int bytes)
{
	console.write_op.done(&console.write_op, bytes, 0);
}

Test(console, what_exceeds_the_limit_is_dropped_and_counted)
{
	create_limited(memfd_create("console", MFD_CLOEXEC),
	               (struct rate_config){ .bytes_per_s = 1000, .bytes_burst = 100 });
	print(60);
	written(60);
	cr_assert_eq(stats().bytes_out, 60);
	/* 40 are left. */
	print(41);
	cr_assert_eq(stats().bytes_dropped, 41);
	cr_assert_eq(stats().bytes_over_limit, 41);
	cr_assert_eq(console.used, 0);
	print(40);
	cr_assert_eq(console.used, 40, "that it may");
	written(40);
	print(1);
	cr_assert_eq(stats().bytes_over_limit, 42);
	/* A millisecond a byte. */
	m.loop.turn_ns += 10 * MS;
	print(10);
	written(10);
	print(1);
	cr_assert_eq(stats().bytes_over_limit, 43);
	cr_assert_eq(stats().bytes_out, 110);
	cr_assert_eq(stats().bytes_dropped, 43);
	/* More than the burst passes when the bucket is full, and is paid for. */
	m.loop.turn_ns += 100 * MS;
	print(300);
	written(300);
	m.loop.turn_ns += 200 * MS;
	print(1);
	cr_assert_eq(stats().bytes_over_limit, 44);
	m.loop.turn_ns += MS;
	print(1);
	cr_assert_eq(console.used, 1);
	console_destroy(&console);
	machine_done(&m);
}

/* As writes. */
Test(console, its_limit_has_operations)
{
	create_limited(memfd_create("console", MFD_CLOEXEC),
	               (struct rate_config){ .ops_per_s = 10, .ops_burst = 2 });
	for (int i = 0; i < 3; i++) {
		print(1000);
		if (console.used > 0)
			written(1000);
	}
	cr_assert_eq(stats().bytes_out, 2000);
	cr_assert_eq(stats().bytes_over_limit, 1000);
	console_destroy(&console);
	machine_done(&m);
}

/* A spell of it is told once, and is over after a second without. */
Test(console, a_spell_over_the_limit_is_told_once)
{
	create_limited(memfd_create("console", MFD_CLOEXEC),
	               (struct rate_config){ .bytes_per_s = 1, .bytes_burst = 1 });
	print(1);
	written(1);
	for (int i = 0; i < 100; i++) {
		print(2);
		cr_assert_eq(console.used, 0);
		/* Nine tenths of a token come, and are taken away. */
		m.loop.turn_ns += 900 * MS;
		print(1);
		console.limit.bytes.level = 0;
	}
	cr_assert_eq(stats().bytes_over_limit, 300);
	cr_assert_eq(atomic_load(&m.event_count), 1);
	m.loop.turn_ns += 999 * MS;
	print(2);
	cr_assert_eq(atomic_load(&m.event_count), 1);
	console.limit.bytes.level = -2000000000;
	m.loop.turn_ns += 1000 * MS;
	print(2);
	cr_assert_eq(atomic_load(&m.event_count), 2);
	cr_assert_not(m.events[1].needs_reset);
	console_destroy(&console);
	machine_done(&m);
}

/* Through the ring: the file is no larger than its limit allows, and every byte is accounted
 * for. */
Test(console, a_file_does_not_outgrow_its_limit)
{
	static const struct rate_config limit = { .bytes_per_s = 1, .bytes_burst = 100000 };
	int fd = memfd_create("console", MFD_CLOEXEC);
	struct stat st;

	create_limited(fd, limit);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	bring_up();
	for (unsigned i = 0; i < 200; i++) {
		static const char text[4096];

		transmit(text, sizeof(text));
	}
	WAIT_UNTIL(stats().bytes_out + stats().bytes_dropped == 200 * 4096);
	/* What found no room in the buffer is dropped as well. */
	WAIT_UNTIL(stats().bytes_over_limit > 0);
	cr_assert_leq(stats().bytes_over_limit, stats().bytes_dropped);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq((uint64_t)st.st_size, stats().bytes_out);
	cr_assert_leq(st.st_size, 100000 + 3600, "an hour's worth more");
	cr_assert_gt(st.st_size, 0);
	tear_down();
}

/* Long chains, a full ring of them: what they cost to walk counts, so that it takes more than one
 * turn. */
Test(console, long_chains_take_more_than_a_turn)
{
	struct virtio_queue_stats queue;
	struct ring *ring = &rings[TX];

	start(-1, -1, 0);
	driver_reset(&driver);
	ring_init(&rings[RX], &m.memory, CONSOLE_QUEUE_SIZE, 0x10000);
	ring_init(ring, &m.memory, CONSOLE_QUEUE_SIZE, 0x20000);
	cr_assert(driver_negotiate(&driver, FEATURES));
	driver_queue(&driver, RX, &rings[RX]);
	driver_queue(&driver, TX, ring);
	driver_ok(&driver);
	for (uint16_t i = 0; i < CONSOLE_QUEUE_SIZE; i++) {
		ring_desc(ring, i, TX_DATA + i, 1,
		          i + 1 < CONSOLE_QUEUE_SIZE ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
		ring_offer(ring, 0);
	}
	driver_kick(&driver, TX);
	driver_await_used(ring, CONSOLE_QUEUE_SIZE);
	virtio_get_queue_stats(&console.device, TX, &queue);
	/* 128 chains of 128, of which a turn takes 8192; one is looked at more, which finds
	 * nothing. */
	cr_assert_geq(queue.kicks, CONSOLE_QUEUE_SIZE * CONSOLE_QUEUE_SIZE /
	                                           (VIRTIO_TURN_WORK / CONSOLE_QUEUES) +
	                                   1);
	cr_assert_eq(stats().bytes_dropped, CONSOLE_QUEUE_SIZE * CONSOLE_QUEUE_SIZE);
	tear_down();
}

/* --------------------------------------------------------------------- clients that come and go */

static char folder[32], fifo_in[64], fifo_out[64];

static void held(int fd)
{
	struct problems problems = { 0 };

	cr_assert_eq(resource_hold_open(fd, "console", &problems), 0, "%s",
	             problems.list[0].message);
}

static void no_turns(void)
{
	uint64_t turns;

	for (int i = 0; i < 50; i++)
		pause_a_little();
	turns = atomic_load(&m.loop.stats.turns);
	for (int i = 0; i < 50; i++)
		pause_a_little();
	cr_assert_eq(atomic_load(&m.loop.stats.turns), turns,
	             "nobody is there, and it does not rest");
}

/* Whoever is there types a word and reads one; in between nobody is, and the loop rests. Each
 * leaves with the receive buffer of the next already there. */
static void clients_come_and_go(const char *to_type, const char *to_read)
{
	offer_receive(0, 16);
	no_turns();
	for (uint16_t i = 0; i < 4; i++) {
		int keys = open(to_type, O_WRONLY | O_NOCTTY | O_CLOEXEC);
		int screen = open(to_read, O_RDONLY | O_NOCTTY | O_CLOEXEC);
		char word[8];

		cr_assert(keys >= 0 && screen >= 0, "%s", errno_text(errno));
		snprintf(word, sizeof(word), "word%u", i);
		cr_assert_eq(write(keys, word, 5), 5);
		driver_await_used(&rings[RX], (uint16_t)(i + 1));
		cr_assert_eq(ring_used(&rings[RX], i).length, 5);
		cr_assert_arr_eq(guest_memory_at(&m.memory, GPA(RX_DATA + i * 4096u), 5), word, 5);
		transmit(word, 5);
		expect(screen, word);
		offer_receive((uint16_t)(i + 1), 16);
		close(keys);
		close(screen);
		no_turns();
	}
	/* What is printed while nobody is there waits for the next one. */
	transmit("late", 4);
	WAIT_UNTIL(stats().bytes_out == 24);
	no_turns();
	cr_assert_eq(atomic_load(&m.event_count), 0, "%s", m.events[0].message);
	cr_assert_eq(stats().bytes_dropped, 0);
}

Test(console, clients_of_fifos_come_and_go)
{
	int in, out, screen;

	strcpy(folder, "/tmp/axvm-fifos-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(fifo_in, sizeof(fifo_in), "%s/in", folder);
	snprintf(fifo_out, sizeof(fifo_out), "%s/out", folder);
	cr_assert(mkfifo(fifo_in, 0600) == 0 && mkfifo(fifo_out, 0600) == 0);
	in = open(fifo_in, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	screen = open(fifo_out, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	out = open(fifo_out, O_WRONLY | O_CLOEXEC);
	held(in);
	held(out);
	close(screen);
	start(out, in, 0);
	clients_come_and_go(fifo_in, fifo_out);
	screen = open(fifo_out, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	expect(screen, "late");
	close(screen);
	tear_down();
	unlink(fifo_in);
	unlink(fifo_out);
	rmdir(folder);
}

static int new_pty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios attributes;

	cr_assert(master >= 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_eq(tcgetattr(slave, &attributes), 0);
	cfmakeraw(&attributes);
	cr_assert_eq(tcsetattr(slave, TCSANOW, &attributes), 0);
	held(master);
	close(slave);
	return master;
}

Test(console, clients_of_a_pty_come_and_go)
{
	int master = new_pty(), screen;
	char name[64];

	strcpy(name, ptsname(master));
	start(master, dup(master), 0);
	clients_come_and_go(name, name);
	screen = open(name, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	expect(screen, "late");
	close(screen);
	tear_down();
	close(master);
}

/* A terminal that has room for a few bytes is asked to take thousands: whoever writes waits for its
 * reader then, and that must not be the I/O thread. */
Test(console, a_terminal_with_little_room_holds_nobody_up, .timeout = 100)
{
	static char block[4096];
	int master = new_pty(), screen = open(ptsname(master), O_RDONLY | O_NOCTTY | O_CLOEXEC),
	    writer;
	struct pollfd room = { .fd = master, .events = POLLOUT };

	/* Full to the byte, through a description that does not wait. */
	writer = dup(master);
	cr_assert_eq(fcntl(writer, F_SETFL, O_NONBLOCK), 0);
	for (int quiet = 0; quiet < 20; quiet++) {
		while (write(writer, block, 1) == 1)
			quiet = 0;
		pause_a_little();
	}
	cr_assert_eq(fcntl(writer, F_SETFL, 0), 0);
	close(writer);
	for (int i = 0; i < 200 && poll(&room, 1, 1) == 0; i++)
		cr_assert_eq(read(screen, block, 64), 64);
	cr_assert(room.revents & POLLOUT);
	start(master, dup(master), 16384);
	for (int i = 0; i < 8; i++)
		transmit(block, sizeof(block));
	machine_await_events(&m, 1);
	machine_stop(&m, 50);
	tear_down();
	close(screen);
	close(master);
}

/* With nobody there for long it is as with a reader that stalls: what is kept has a bound, and the
 * end does not wait. */
Test(console, a_pty_that_nobody_reads_fills)
{
	static char block[4096];
	int master = new_pty();

	start(master, dup(master), 16384);
	for (int i = 0; i < 64; i++)
		transmit(block, sizeof(block));
	cr_assert_gt(stats().bytes_dropped, 0);
	machine_await_events(&m, 1);
	cr_assert_eq(m.events[0].error, 0, "it is no failure");
	machine_stop(&m, 50);
	tear_down();
	close(master);
}
