/* SPDX-License-Identifier: MIT */
/* The early console: port 0xE9, and an 8250 that can only be written to.
 *
 * Boot consoles of kernels need only an 8250's transmitter that is always ready: the line status
 * reads "empty", the transmit register takes bytes unless the divisor latch is switched in its
 * place, and all other registers read as zero, so that a real driver's probe finds no UART. Runs on
 * vCPU threads; every byte is an exit. */
#include <linux/serial_reg.h>
#include <stdatomic.h>

#include "guest/layout.h"
#include "virtio/console.h"

#define UART_PORTS 8

static uint64_t uart_read(void *context, uint64_t offset, uint32_t width)
{
	(void)context;
	(void)width;
	return offset == UART_LSR ? UART_LSR_THRE | UART_LSR_TEMT : 0;
}

static void uart_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct console *console = context;
	uint8_t byte = (uint8_t)value;

	if (width != 1)
		return;
	if (offset == UART_LCR)
		atomic_store_explicit(&console->line_control, byte, memory_order_relaxed);
	else if (offset == UART_TX &&
	         !(atomic_load_explicit(&console->line_control, memory_order_relaxed) &
	           UART_LCR_DLAB))
		console_append(console, &byte, 1);
}

static const struct bus_ops uart_ops = {
	.read = uart_read,
	.write = uart_write,
};

/* Reads as its own number: this tells a guest that the port exists. */
static uint64_t debug_read(void *context, uint64_t offset, uint32_t width)
{
	(void)context;
	(void)offset;
	(void)width;
	return LAYOUT_PORT_DEBUG;
}

static void debug_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	uint8_t byte = (uint8_t)value;

	(void)offset;
	(void)width;
	console_append(context, &byte, 1);
}

static const struct bus_ops debug_ops = {
	.read = debug_read,
	.write = debug_write,
};

int console_add_early_ports(struct console *console, struct bus *ports)
{
	int r = bus_add(ports, LAYOUT_PORT_DEBUG, 1, &debug_ops, console);

	return r < 0 ? r : bus_add(ports, LAYOUT_PORT_UART, UART_PORTS, &uart_ops, console);
}
