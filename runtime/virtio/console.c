/* SPDX-License-Identifier: MIT */
/* virtio-console (VIRTIO 1.2 §5.3): queue 0 receives, queue 1 transmits.
 *
 * Output. What the guest transmits is copied into a bounded buffer and completed at once, whatever
 * the reader does: Linux's hvc driver spins until its buffer comes back, so a reader that stalls
 * must not delay it. The buffer is written to the output through the ring, one write in flight.
 * When the buffer is full the first bytes are kept and later ones dropped and counted, with one
 * event for each spell of dropping, which ends when the buffer has been empty. A reader that is
 * gone (EPIPE) turns the output into a sink, with one event. A launcher that gives a FIFO or a PTY
 * whose readers come and go holds the other end open, so that the reader is never gone
 * (shim/resources.h).
 *
 * A file has no reader that sets the pace, so its output can have a limit. The limit is applied
 * when a write is about to start, by the clock of the loop's turn (vCPU threads append too, but
 * read no clock). Output over the limit is dropped and counted, not kept: a guest that exceeds it
 * for a minute would be a minute behind. One event reports a spell of dropping, which ends after a
 * second without.
 *
 * Input is read through the ring into a small buffer, and only when the guest has receive buffers
 * and the last input has been delivered: input that the guest does not take stays in the pipe. No
 * read goes into guest memory, so a reset or a pause waits for neither direction; input that
 * arrives between two drivers goes to the second. */
#include "virtio/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "io/op.h"

#define QUEUE_RECEIVE 0
#define QUEUE_TRANSMIT 1
#define MAIL_OUTPUT VIRTIO_MAIL(0)
#define PCI_CLASS_SIMPLE_COMMUNICATION 0x078000
#define SPELL_NS NS_PER_S

static const uint16_t queue_sizes[CONSOLE_QUEUES] = { CONSOLE_QUEUE_SIZE, CONSOLE_QUEUE_SIZE };

static struct console *console_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct console, device);
}

/* ------------------------------------------------------------------------------------- output */

/* Copies the bytes that fit into the buffer; lock held. */
static void append_locked(struct console *console, const uint8_t *data, size_t length)
{
	size_t room = console->capacity - console->used;
	size_t fits = MIN(length, console->output_gone ? 0 : room);
	size_t tail = (console->head + console->used) % console->capacity;
	size_t first = MIN(fits, console->capacity - tail);

	memcpy(console->buffer + tail, data, first);
	memcpy(console->buffer, data + first, fits - first);
	console->used += fits;
	if (fits == length)
		return;
	atomic_fetch_add_explicit(&console->bytes_dropped, length - fits, memory_order_relaxed);
	if (!console->output_gone && !console->dropping) {
		console->dropping = true;
		console->report_drop = true;
	}
}

/* Takes bytes out of the buffer's front. */
static void consume(struct console *console, size_t bytes)
{
	pthread_mutex_lock(&console->lock);
	bytes = MIN(bytes, console->used);
	console->head = (console->head + bytes) % console->capacity;
	console->used -= bytes;
	if (console->used == 0)
		console->dropping = false;
	pthread_mutex_unlock(&console->lock);
}

/* Whether a write of `length` bytes exceeds the limit. If so, they are dropped, and the next turn
 * goes on with the rest. */
static bool exceeds_limit(struct console *console, size_t length)
{
	uint64_t now;
	bool told;

	if (!rate_limit_is_set(&console->limit))
		return false;
	now = io_turn_ns(console->device.loop);
	if (rate_limit_wait(&console->limit, now, length, 1) == 0)
		return false;
	told = now < console->spell_until_ns;
	consume(console, length);
	atomic_fetch_add_explicit(&console->bytes_dropped, length, memory_order_relaxed);
	counter_add(&console->bytes_over_limit, length);
	console->spell_until_ns = now + SPELL_NS;
	if (!told)
		virtio_report(
			&console->device, QUEUE_TRANSMIT, 0,
			"the guest prints more than console.limit allows: output beyond the limit is "
			"dropped");
	io_client_again(&console->device.client, MAIL_OUTPUT);
	return true;
}

/* Starts a write of the buffered bytes, unless one is in flight. I/O thread. */
static void write_output(struct console *console)
{
	bool report;
	uint8_t *start;
	size_t length;

	pthread_mutex_lock(&console->lock);
	report = console->report_drop;
	console->report_drop = false;
	start = console->buffer + console->head;
	length = MIN(console->used, console->capacity - console->head);
	pthread_mutex_unlock(&console->lock);
	if (report)
		virtio_report(&console->device, QUEUE_TRANSMIT, 0,
		              "the console's reader does not keep up: output is being dropped");
	if (console->writing || length == 0 || exceeds_limit(console, length))
		return;
	/* The bytes from `head` on stay untouched by append until the write is done. */
	console->writing = io_write(console->device.loop, &console->write_op, console->output_file,
	                            start, (uint32_t)length, IO_CURRENT_POSITION);
}

/* Drops everything, now and from now on. */
static void lose_output(struct console *console, int error)
{
	pthread_mutex_lock(&console->lock);
	atomic_fetch_add_explicit(&console->bytes_dropped, console->used, memory_order_relaxed);
	console->used = 0;
	console->output_gone = true;
	pthread_mutex_unlock(&console->lock);
	virtio_report(&console->device, QUEUE_TRANSMIT, error,
	              "the console's output cannot be written: it is discarded from now on");
}

static void take_written(struct console *console, size_t written)
{
	consume(console, written);
	if (rate_limit_is_set(&console->limit))
		rate_limit_charge(&console->limit, io_turn_ns(console->device.loop), written, 1);
	atomic_fetch_add_explicit(&console->bytes_out, written, memory_order_relaxed);
}

static void write_done(struct io_op *op, int result, uint32_t flags)
{
	struct console *console = CONTAINER_OF(op, struct console, write_op);

	(void)flags;
	console->writing = false;
	if (result == -EAGAIN) {
		/* A non-blocking output is full: wait until it is not. */
		console->writing = io_poll(console->device.loop, &console->writable_op,
		                           console->output_file, POLLOUT);
		return;
	}
	if (result > 0)
		take_written(console, (size_t)result);
	else if (result != -EINTR && result != -ECANCELED)
		lose_output(console, result < 0 ? result : -EIO);
	write_output(console);
}

static void writable_done(struct io_op *op, int result, uint32_t flags)
{
	struct console *console = CONTAINER_OF(op, struct console, writable_op);

	(void)result;
	(void)flags;
	console->writing = false;
	write_output(console);
}

void console_append(struct console *console, const void *data, size_t length)
{
	bool idle;

	pthread_mutex_lock(&console->lock);
	idle = console->used == 0;
	append_locked(console, data, length);
	idle = (idle && console->used > 0) || console->report_drop;
	pthread_mutex_unlock(&console->lock);
	/* If the buffer was not empty, a write is under way or mail is posted. */
	if (idle)
		io_client_post(&console->device.client, MAIL_OUTPUT);
}

static void transmit(struct console *console)
{
	struct virtq_chain chain = { .iov = console->iov, .iov_max = ARRAY_SIZE(console->iov) };

	do {
		while (virtio_pop(&console->device, QUEUE_TRANSMIT, &chain)) {
			pthread_mutex_lock(&console->lock);
			for (uint16_t i = 0; i < chain.readable; i++)
				append_locked(console, chain.iov[i].iov_base, chain.iov[i].iov_len);
			pthread_mutex_unlock(&console->lock);
			virtio_push(&console->device, QUEUE_TRANSMIT, chain.head, 0);
		}
	} while (virtio_want_kicks(&console->device, QUEUE_TRANSMIT));
	write_output(console);
}

/* -------------------------------------------------------------------------------------- input */

static void start_reading(struct console *console)
{
	if (console->reading || console->input_ended || console->input_used > 0)
		return;
	console->reading = io_read(console->device.loop, &console->read_op, console->input_file,
	                           console->input, sizeof(console->input), IO_CURRENT_POSITION);
}

/* Hands buffered input to the guest, and reads more while there are buffers for it. */
static void receive(struct console *console)
{
	struct virtq_chain chain = { .iov = console->iov, .iov_max = ARRAY_SIZE(console->iov) };
	struct virtio_device *device = &console->device;

	do {
		while (console->input_used > 0 && virtio_pop(device, QUEUE_RECEIVE, &chain)) {
			size_t copied =
				virtq_copy_to(&chain, 0, console->input + console->input_head,
			                      console->input_used);

			console->input_head += (uint32_t)copied;
			console->input_used -= (uint32_t)copied;
			atomic_fetch_add_explicit(&console->bytes_in, copied, memory_order_relaxed);
			virtio_push(device, QUEUE_RECEIVE, chain.head, (uint32_t)copied);
		}
		if (console->input_used == 0 && virtio_available(device, QUEUE_RECEIVE)) {
			start_reading(console);
			return;
		}
	} while (virtio_want_kicks(device, QUEUE_RECEIVE));
}

static void read_done(struct io_op *op, int result, uint32_t flags)
{
	struct console *console = CONTAINER_OF(op, struct console, read_op);

	(void)flags;
	console->reading = false;
	if (result > 0) {
		console->input_head = 0;
		console->input_used = (uint32_t)result;
		receive(console);
	} else if (result == -EAGAIN) {
		console->reading = io_poll(console->device.loop, &console->readable_op,
		                           console->input_file, POLLIN);
	} else if (result == -EINTR) {
		start_reading(console);
	} else if (result != -ECANCELED) {
		console->input_ended = true;
		if (result < 0)
			virtio_report(&console->device, QUEUE_RECEIVE, result,
			              "the console's input cannot be read: it has ended");
	}
}

static void readable_done(struct io_op *op, int result, uint32_t flags)
{
	struct console *console = CONTAINER_OF(op, struct console, readable_op);

	(void)result;
	(void)flags;
	console->reading = false;
	start_reading(console);
}

/* ------------------------------------------------------------------------------- as a device */

static void console_kick(struct virtio_device *device, uint16_t queue)
{
	if (queue == QUEUE_TRANSMIT)
		transmit(console_of(device));
	else
		receive(console_of(device));
}

static void console_mail(struct virtio_device *device, uint32_t bits)
{
	if (bits & MAIL_OUTPUT)
		write_output(console_of(device));
}

static void console_start(struct virtio_device *device)
{
	write_output(console_of(device));
}

static bool console_lingers(const struct virtio_device *device)
{
	const char *at = (const char *)device - offsetof(struct console, device);

	return ((const struct console *)(const void *)at)->writing;
}

static const struct virtio_device_ops console_ops = {
	.name = "console",
	.device_id = VIRTIO_ID_CONSOLE,
	.pci_class = PCI_CLASS_SIMPLE_COMMUNICATION,
	.start = console_start,
	.kick = console_kick,
	.mail = console_mail,
	.lingers = console_lingers,
};

int console_create(struct console *console, const struct console_spec *spec,
                   const struct virtio_host *host)
{
	int r = 0;

	console->capacity = spec->buffer_bytes ? spec->buffer_bytes : CONSOLE_BUFFER_DEFAULT;
	console->buffer = malloc(console->capacity);
	if (!console->buffer)
		return -ENOMEM;
	pthread_mutex_init(&console->lock, NULL);
	console->output_fd = spec->output_fd;
	console->input_fd = spec->input_fd;
	console->output_gone = spec->output_fd < 0;
	console->input_ended = spec->input_fd < 0;
	rate_limit_init(&console->limit, &spec->limit, 0);
	console->write_op.done = write_done;
	console->read_op.done = read_done;
	console->writable_op.done = writable_done;
	console->readable_op.done = readable_done;
	console->config = (struct console_config){
		.columns = spec->columns,
		.rows = spec->rows,
		.max_ports = 1,
	};
	console->device.ops = &console_ops;
	console->device.id = "console";
	console->device.features = VIRTIO_FEATURE(VIRTIO_CONSOLE_F_SIZE);
	console->device.queue_count = CONSOLE_QUEUES;
	console->device.queue_sizes = queue_sizes;
	console->device.config = &console->config;
	console->device.config_size = sizeof(console->config);
	console->write_op.in_worker = !console->output_gone && io_may_wait(spec->output_fd);
	console->read_op.in_worker = !console->input_ended && io_may_wait(spec->input_fd);
	if (console->write_op.in_worker || console->read_op.in_worker)
		io_loop_uses(host->loop, IO_USE_WORKERS);
	if (!console->output_gone)
		r = io_loop_add_file(host->loop, spec->output_fd, &console->output_file);
	if (r == 0 && !console->input_ended)
		r = io_loop_add_file(host->loop, spec->input_fd, &console->input_file);
	if (r == 0)
		r = io_loop_reserve(host->loop, CONSOLE_QUEUES);
	if (r == 0)
		r = virtio_pci_attach(&console->device, host);
	if (r < 0)
		console_destroy(console);
	return r;
}

void console_destroy(struct console *console)
{
	if (!console->buffer)
		return;
	virtio_pci_detach(&console->device);
	pthread_mutex_destroy(&console->lock);
	free(console->buffer);
	memset(console, 0, sizeof(*console));
}

void console_resize(struct console *console, uint16_t columns, uint16_t rows)
{
	uint16_t size[2] = { columns, rows };

	virtio_config_update(&console->device, offsetof(struct console_config, columns), size,
	                     sizeof(size));
}

void console_get_stats(const struct console *console, struct console_stats *ret_stats)
{
	*ret_stats = (struct console_stats){
		.bytes_out = atomic_load_explicit(&console->bytes_out, memory_order_relaxed),
		.bytes_in = atomic_load_explicit(&console->bytes_in, memory_order_relaxed),
		.bytes_dropped =
			atomic_load_explicit(&console->bytes_dropped, memory_order_relaxed),
		.bytes_over_limit = counter_read(&console->bytes_over_limit),
	};
}
