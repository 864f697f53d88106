/* SPDX-License-Identifier: MIT */
/* virtio-console, one port (VIRTIO 1.2 §5.3), and the early console. Theory in console.c. */
#ifndef AXVM_VIRTIO_CONSOLE_H
#define AXVM_VIRTIO_CONSOLE_H

#include <pthread.h>

#include "bus/bus.h"
#include "io/rate_limit.h"
#include "virtio/device.h"
#include "virtio/pci.h"

#define CONSOLE_BUFFER_DEFAULT (256 * KIB)
#define CONSOLE_INPUT_BYTES 4096
#define CONSOLE_QUEUES 2
#define CONSOLE_QUEUE_SIZE 128

/* VIRTIO 1.2 §5.3.4, little-endian. */
struct console_config {
	uint16_t columns;
	uint16_t rows;
	uint32_t max_ports;
	uint32_t emergency_write;
};

struct console_spec {
	int output_fd;            /* borrowed; -1: output is discarded */
	int input_fd;             /* borrowed; -1: none */
	uint16_t columns, rows;   /* 0: unknown */
	size_t buffer_bytes;      /* for output that its reader has not taken; 0: the default */
	struct rate_config limit; /* of output, in bytes and writes; excess output is dropped */
};

struct console_stats {
	uint64_t bytes_out;        /* handed to output_fd */
	uint64_t bytes_in;         /* handed to the guest */
	uint64_t bytes_dropped;    /* buffer full, the reader is gone, or over the limit */
	uint64_t bytes_over_limit; /* of those, over the limit */
};

struct console {
	struct virtio_device device;
	struct console_config config;
	int output_fd, input_fd;
	uint32_t output_file, input_file;
	/* Output: a ring of bytes, under `lock`. */
	pthread_mutex_t lock;
	uint8_t *buffer; /* owned */
	size_t capacity;
	size_t head; /* first byte not yet written */
	size_t used;
	bool output_gone; /* EPIPE or the like: discard */
	bool dropping;    /* output was dropped since the buffer was last empty */
	bool report_drop; /* the event about dropped output is due */
	_Atomic uint64_t bytes_out, bytes_in, bytes_dropped, bytes_over_limit;
	_Atomic uint8_t line_control; /* of the early 8250 */
	/* I/O thread. */
	struct rate_limit limit;
	uint64_t spell_until_ns; /* until then, output over the limit causes no further event */
	struct io_op write_op, writable_op, read_op, readable_op;
	bool writing; /* a write is in flight, or waits until the fd is writable */
	bool reading;
	bool input_ended;
	uint8_t input[CONSOLE_INPUT_BYTES];
	uint32_t input_head, input_used;
	struct iovec iov[VIRTQ_IOV_MAX(CONSOLE_QUEUE_SIZE)];
};

/* Build time, before io_loop_build; allocates. `console` is zeroed by the caller and must not move.
 * Returns 0, -ENOMEM, or an error of virtio_pci_attach(). */
int console_create(struct console *console, const struct console_spec *spec,
                   const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed console is fine. */
void console_destroy(struct console *console);

/* Appends bytes to the output buffer; bytes that do not fit are dropped and counted. Any thread;
 * never waits for the reader. */
void console_append(struct console *console, const void *data, size_t length);

/* Changes the size of the guest's terminal and raises a configuration interrupt. Any thread. */
void console_resize(struct console *console, uint16_t columns, uint16_t rows);

/* Reads the counters; any thread. */
void console_get_stats(const struct console *console, struct console_stats *ret_stats);

/* Registers port 0xE9 and a write-only 8250 at 0x3F8 with the port bus; bytes written there are
 * appended to `console`. Build time. Returns 0 or an error of bus_add(). */
int console_add_early_ports(struct console *console, struct bus *ports);

#endif
