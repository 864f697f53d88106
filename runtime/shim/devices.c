/* SPDX-License-Identifier: MIT */
/* The VM's devices and the I/O thread that serves them. */
#include "shim/devices.h"

#include <errno.h>
#include <string.h>

#include "io/restriction.h"
#include "sandbox/death.h"
#include "sandbox/fd_layout.h"
#include "shim/event.h"
#include "shim/shim.h"

/* Longest wait at the end of a VM for a reader of the console to take what is buffered. */
#define LINGER_MS 500

/* A device has something to tell: an event. On the I/O thread. */
static void on_device_event(void *context, const struct virtio_event *event)
{
	struct shim *shim = context;

	(void)event_device_failed(&shim->events, event->device_id, event->queue,
	                          event->error_number, event->needs_reset, event->message);
}

static int create_console(struct shim *shim, const struct virtio_host *host)
{
	struct console_spec spec = {
		.output_fd = shim->resources.console_output,
		.input_fd = shim->resources.console_input,
		.columns = (uint16_t)shim->spec.console.columns,
		.rows = (uint16_t)shim->spec.console.rows,
	};
	int r;

	if (!shim->spec.console.present)
		return 0;
	r = console_create(&shim->devices.console, &spec, host);
	if (r == 0 && shim->spec.console.early)
		r = console_add_early_ports(&shim->devices.console, &shim->machine.ports);
	return r;
}

/* One row a kind of device; a row plans and creates none, one or many, as the spec says. */
static const struct device_row {
	const char *field; /* of the spec */
	int (*create)(struct shim *shim, const struct virtio_host *host);
	void (*plan)(const struct vm_spec *spec, struct plan_devices *devices);
} device_table[] = {
	{ "console", create_console, plan_console },
	{ "disks", devices_create_disks, plan_disks },
	{ "rng", devices_create_rng, plan_rng },
	{ "nets", devices_create_nets, plan_nets },
	{ "balloon", devices_create_balloon, plan_balloon },
	{ "vsock", devices_create_vsock, plan_vsock },
};

void devices_plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	ret->count = 0;
	for (size_t i = 0; plan_has_apic(spec) && i < ARRAY_SIZE(device_table); i++)
		device_table[i].plan(spec, ret);
	plan_places(ret);
}

static int failed(struct shim *shim, int r, const char *field, const char *what)
{
	return problems_add(&shim->problems, PROBLEM_OS_FAILED, -r, field, "cannot create %s: %s",
	                    what, strerror(-r));
}

static void on_breach(void *context, const struct io_breach *breach)
{
	(void)context;
	sandbox_death_by_ring(&(struct sandbox_ring_breach){
		.opcode = breach->opcode, .name = breach->name, .what = breach->what });
}

int devices_build(struct shim *shim)
{
	struct shim_devices *devices = &shim->devices;
	struct virtio_host host = {
		.memory = &shim->machine.memory,
		.pci = &devices->pci,
		.loop = &devices->loop,
		.control = &devices->control,
		.event = on_device_event,
		.context = shim,
	};
	const struct io_loop_config loop_config = {
		.wake_fd_number = IO_WAKE_FD_BASE,
		.ring_fd_number = IO_RING_FD_BASE,
		.control_fd = shim->wake_fd,
		.breach = on_breach,
	};
	int r;

	if (!shim->machine.vm.has_apic)
		return 0;
	devices->present = true;
	devices->control.wake_fd = CONTROL_WAKE_FD;
	r = pci_host_init(&devices->pci, &shim->machine.vm.fabric, &shim->machine.mmio);
	if (r < 0)
		return failed(shim, r, NULL, "the PCI host bridge");
	r = io_loop_init(&devices->loop, &loop_config);
	if (r < 0)
		return failed(shim, r, NULL, "the I/O loop");
	for (size_t i = 0; i < ARRAY_SIZE(device_table); i++) {
		r = device_table[i].create(shim, &host);
		if (r < 0)
			return failed(shim, r, device_table[i].field, "the device");
	}
	r = io_loop_build(&devices->loop);
	return r < 0 ? failed(shim, r, NULL, "the I/O ring") : 0;
}

int devices_enable(struct shim *shim)
{
	const char *what = NULL;
	int r = io_loop_enable(&shim->devices.loop, &what);

	if (what)
		return problems_add(&shim->devices.io_problems, PROBLEM_SANDBOX_FAILED, -r, NULL,
		                    "read back: the I/O ring allows %s that it was restricted "
		                    "from", what);
	if (r < 0)
		return problems_add(&shim->devices.io_problems, PROBLEM_SANDBOX_FAILED, -r, NULL,
		                    "cannot enable the I/O ring: %s", strerror(-r));
	return 0;
}

void devices_serve(struct shim *shim)
{
	int r = io_loop_run(&shim->devices.loop);

	if (r < 0)
		(void)event_device_failed(&shim->events, "io0", -1, -r, false,
		                          "the I/O ring has failed: no device goes on");
	machine_wake_control(&shim->machine);
}

void devices_serve_control(struct shim *shim)
{
	control_desk_serve(&shim->devices.control);
}

void devices_stop(struct shim *shim)
{
	if (shim->devices.present)
		io_loop_stop(&shim->devices.loop, LINGER_MS);
}

bool devices_finished(const struct shim *shim)
{
	return !shim->devices.present || io_loop_phase(&shim->devices.loop) == IO_FINISHED;
}

uint64_t devices_console_dropped(const struct shim *shim)
{
	struct console_stats stats = { 0 };

	if (shim->devices.present && shim->spec.console.present)
		console_get_stats(&shim->devices.console, &stats);
	return stats.bytes_dropped;
}
