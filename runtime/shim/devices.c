/* SPDX-License-Identifier: MIT */
/* The VM's devices and the I/O threads that serve them. */
#include "shim/devices.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/denied.h"
#include "io/restriction.h"
#include "sandbox/death.h"
#include "interface/event.h"
#include "shim/devices_balloon.h"
#include "shim/devices_block.h"
#include "shim/devices_console.h"
#include "shim/devices_net.h"
#include "shim/devices_plan.h"
#include "shim/devices_vsock.h"
#include "shim/shim.h"

/* Longest wait at the end of a VM for a reader of the console to take what is buffered. */
#define LINGER_MS 500

/* As many as any Linux has on x86-64: a set that is smaller than the kernel's is refused by it. */
#define HOST_CPUS_MAX 8192

/* A device has something to tell: an event. On the I/O thread. */
static void on_device_event(void *context, const struct virtio_event *event)
{
	struct shim *shim = context;

	(void)event_device_failed(&shim->events, event->device_id, event->queue,
	                          event->error_number, event->needs_reset, event->message,
	                          event->suppressed);
}

/* One row a kind of device: what the spec has of it, and how the one of that place is made. */
static const struct device_row {
	const char *field; /* of the spec */
	void (*plan)(const struct vm_spec *spec, struct plan_devices *devices);
	int (*create)(struct shim *shim, size_t index, const struct virtio_host *host);
} device_table[] = {
	{ "console", plan_console, devices_create_console },
	{ "disks", plan_disks, devices_create_disk },
	{ "rng", plan_rng, devices_create_rng },
	{ "nets", plan_nets, devices_create_net },
	{ "balloon", plan_balloon, devices_create_balloon },
	{ "vsock", plan_vsock, devices_create_vsock },
};

/* Without a device too there is one I/O thread, so that "present" means the same everywhere; without local APICs there is
 * none. */
static uint32_t count_io(const struct vm_spec *spec, size_t devices)
{
	if (!plan_has_apic(spec))
		return 0;
	return MIN((uint32_t)MAX(devices, (size_t)1),
	           (uint32_t)spec->memory.count * spec->io.threads_per_node);
}

void devices_plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	ret->count = 0;
	for (size_t i = 0; plan_has_apic(spec) && i < ARRAY_SIZE(device_table); i++)
		device_table[i].plan(spec, ret);
	plan_places(ret);
	for (uint32_t i = 0; i < ret->count; i++)
		ret->list[i].io = i % count_io(spec, ret->count);
}

uint32_t devices_count_io(const struct vm_spec *spec)
{
	struct plan_devices plan;

	devices_plan(spec, &plan);
	return count_io(spec, plan.count);
}

static int failed(struct shim *shim, int r, const char *field, const char *what)
{
	return problems_add(&shim->problems, PROBLEM_OS_FAILED, -r, field, "cannot create %s: %s",
	                    what, strerror(-r));
}

/* A host may allow the call that stage acquire asks about, and deny another one. */
static int ring_failed(struct shim *shim, int r)
{
	char why[DENIED_TEXT_MAX];

	return problems_add(&shim->problems,
	                    denied_by_host(-r) ? PROBLEM_HOST_LIMIT : PROBLEM_OS_FAILED, -r, NULL,
	                    "cannot create an I/O ring (io_uring): %s",
	                    denied_here(DENIED_IO_URING, -r, why));
}

static void on_breach(void *context, const struct io_breach *breach)
{
	(void)context;
	sandbox_death_by_ring(&(struct sandbox_ring_breach){
		.opcode = breach->opcode, .name = breach->name, .what = breach->what });
}

static int init_loops(struct shim *shim, uint32_t count)
{
	struct shim_devices *devices = &shim->devices;
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++) {
		const struct io_loop_config config = {
			.wake_fd_number = IO_WAKE_FD_BASE + (int)i,
			.ring_fd_number = IO_RING_FD_BASE + (int)i,
			.control_fd = shim->wake_fd,
			.breach = on_breach,
			.busy_poll_us = shim->spec.io.busy_poll_us,
		};

		devices->io[i].shim = shim;
		devices->io[i].index = i;
		r = io_loop_init(&devices->io[i].loop, &config);
		devices->io_count += r == 0;
	}
	return r < 0 ? failed(shim, r, "io", "an I/O loop") : 0;
}

static int create_devices(struct shim *shim, const struct plan_devices *plan)
{
	struct shim_devices *devices = &shim->devices;
	struct virtio_host host = {
		.memory = &shim->machine.memory,
		.pci = &devices->pci,
		.control = &devices->control,
		.event = on_device_event,
		.context = shim,
	};
	size_t made = 0;

	for (size_t i = 0; i < ARRAY_SIZE(device_table); i++) {
		struct plan_devices kind = { 0 };

		device_table[i].plan(&shim->spec, &kind);
		for (size_t k = 0; k < kind.count; k++) {
			int r;

			host.loop = &devices->io[plan->list[made++].io].loop;
			r = device_table[i].create(shim, k, &host);
			if (r < 0)
				return failed(shim, r, device_table[i].field, "the device");
		}
	}
	return 0;
}

int devices_build(struct shim *shim)
{
	struct shim_devices *devices = &shim->devices;
	struct plan_devices plan;
	int r;

	if (!shim->machine.vm.has_apic)
		return 0;
	devices_plan(&shim->spec, &plan);
	devices->present = true;
	devices->control.wake_fd = CONTROL_WAKE_FD;
	r = pci_host_init(&devices->pci, &shim->machine.vm.fabric, &shim->machine.mmio);
	if (r < 0)
		return failed(shim, r, NULL, "the PCI host bridge");
	r = init_loops(shim, count_io(&shim->spec, plan.count));
	if (r == 0)
		r = create_devices(shim, &plan);
	for (uint32_t i = 0; i < devices->io_count && r == 0; i++) {
		r = io_loop_build(&devices->io[i].loop);
		if (r < 0)
			return ring_failed(shim, r);
	}
	return r;
}

/* To where the thread itself may run: its CPUs are those of this VM, and others may be other VMs' own. */
static int bind_workers(struct shim_io *io)
{
	unsigned long words[HOST_CPUS_MAX / 64] = { 0 };
	cpu_set_t *cpus = (cpu_set_t *)(void *)words;
	int r = sched_getaffinity(0, sizeof(words), cpus) < 0 ? -errno : 0;

	if (r == 0)
		r = io_loop_bind_workers(&io->loop, cpus, sizeof(words));
	if (r < 0)
		return problems_add(&io->problems, PROBLEM_PLACEMENT_FAILED, -r, NULL,
		                    "cannot bind the kernel's workers of I/O thread %u to its CPUs: %s", io->index,
		                    strerror(-r));
	return 0;
}

int devices_enable(struct shim_io *io)
{
	const char *what = NULL;
	int r = bind_workers(io);

	if (r < 0)
		return r;
	r = io_loop_enable(&io->loop, &what);
	if (what)
		return problems_add(&io->problems, PROBLEM_SANDBOX_FAILED, -r, NULL,
		                    "sandbox check: the I/O ring allows %s that it was restricted "
		                    "from", what);
	if (r < 0)
		return problems_add(&io->problems, PROBLEM_SANDBOX_FAILED, -r, NULL,
		                    "cannot enable the ring of I/O thread %u: %s", io->index,
		                    strerror(-r));
	return 0;
}

void devices_serve(struct shim_io *io)
{
	struct shim *shim = io->shim;
	int r = io_loop_run(&io->loop);
	char name[8];

	if (r < 0) {
		snprintf(name, sizeof(name), "io%u", io->index);
		(void)event_device_failed(&shim->events, name, -1, -r, false,
		                          "the I/O ring has failed: all its devices have stopped", 0);
	}
	machine_wake_control(&shim->machine);
}

void devices_serve_control(struct shim *shim)
{
	control_desk_serve(&shim->devices.control);
}

void devices_pause(struct shim *shim)
{
	for (uint32_t i = 0; i < shim->devices.io_count; i++)
		io_loop_pause(&shim->devices.io[i].loop);
}

void devices_resume(struct shim *shim)
{
	for (uint32_t i = 0; i < shim->devices.io_count; i++)
		io_loop_resume(&shim->devices.io[i].loop);
}

static bool all_reached(const struct shim *shim, enum io_phase phase)
{
	for (uint32_t i = 0; i < shim->devices.io_count; i++)
		if (io_loop_phase(&shim->devices.io[i].loop) != phase)
			return false;
	return true;
}

bool devices_parked(const struct shim *shim)
{
	return all_reached(shim, IO_PARKED);
}

void devices_stop(struct shim *shim)
{
	for (uint32_t i = 0; i < shim->devices.io_count; i++)
		io_loop_stop(&shim->devices.io[i].loop, LINGER_MS);
}

bool devices_finished(const struct shim *shim)
{
	return all_reached(shim, IO_FINISHED);
}

uint64_t devices_console_dropped(const struct shim *shim)
{
	struct console_stats stats = { 0 };

	if (shim->devices.present && shim->spec.console.present)
		console_get_stats(&shim->devices.console, &stats);
	return stats.bytes_dropped;
}
