/* SPDX-License-Identifier: MIT */
/* A console on pipes, with its early ports: any driver, any input, a reader that comes and goes. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>

#include "virtio/console.h"

static struct test_machine m;
static struct console console;
static struct driver driver;
static struct ring rings[CONSOLE_QUEUES];
static int out[2], in[2];

static void bring_up(void *context)
{
	(void)context;
	script_bring_up(&driver, rings, CONSOLE_QUEUES, 16);
}

static void backend(struct input *input, void *context)
{
	uint8_t what = (uint8_t)take(input, 1), bytes[256];
	uint64_t value = take(input, 2);
	size_t length;
	const uint8_t *from;

	(void)context;
	switch (what % 4) {
	case 0:
		from = take_bytes(input, what, &length);
		(void)!write(in[1], from, length);
		break;
	case 1:
		(void)!read(out[0], bytes, sizeof(bytes));
		break;
	case 2:
		console_resize(&console, (uint16_t)value, what);
		break;
	default:
		bus_write(&m.ports, 0x3f8 + (value & 7), &value, 1u << (what >> 2) % 3);
		bus_read(&m.ports, 0x3f8 + (value & 7), &value, 1);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct console_spec spec = { .columns = 80, .rows = 25, .buffer_bytes = 4096 };

	(void)argc, (void)argv;
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	cr_assert_eq(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	spec.output_fd = out[1];
	spec.input_fd = in[0];
	machine_init(&m);
	cr_assert_eq(console_create(&console, &spec, &m.host), 0);
	cr_assert_eq(console_add_early_ports(&console, &m.ports), 0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script script = {
		.driver = &driver,
		.rings = rings,
		.queues = CONSOLE_QUEUES,
		.bring_up = bring_up,
		.backend = backend,
	};
	uint8_t bytes[4096];

	script_run(&script, data, size);
	while (read(out[0], bytes, sizeof(bytes)) > 0)
		;
	return 0;
}
