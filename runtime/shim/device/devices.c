/* SPDX-License-Identifier: MIT */
/* The VM's devices, by the table of their kinds, and the I/O threads that serve them. */
#include "shim/device/devices.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/denied.h"
#include "io/restriction.h"
#include "sandbox/death.h"
#include "shim/device/table.h"

/* Longest wait at the end of a VM for a reader of the console to take what is buffered. */
#define LINGER_MS 500

/* As many as any Linux has on x86-64: a set that is smaller than the kernel's is refused by it. */
#define HOST_CPUS_MAX 8192

void devices_init(struct shim_devices *devices, const struct vm_spec *spec, struct machine *machine,
                  struct event_writer *events, struct problems *problems)
{
	devices->spec = spec;
	devices->machine = machine;
	devices->events = events;
	devices->problems = problems;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Without a device there is no I/O thread; without local APICs there is no device. */
static uint32_t count_io(const struct vm_spec *spec, size_t devices)
{
	return MIN((uint32_t)devices, (uint32_t)spec->memory.count * spec->io.threads_per_node);
}

void devices_plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	ret->count = 0;
	for (size_t k = 0; plan_has_apic(spec) && k < DEVICE_KINDS; k++) {
		size_t first = ret->count;

		device_turns[k]->plan(spec, ret);
		for (size_t i = first; i < ret->count; i++)
			ret->list[i].kind = device_turns[k]->kind;
	}
	places_give(ret);
	for (uint32_t i = 0; i < ret->count; i++)
		ret->list[i].io = i % MAX(count_io(spec, ret->count), 1u);
}

uint32_t devices_count_io(const struct vm_spec *spec)
{
	struct plan_devices plan;

	devices_plan(spec, &plan);
	return count_io(spec, plan.count);
}

int devices_check_plan(const struct shim_devices *devices, const struct plan_devices *plan)
{
	if (!devices->present)
		return plan->count == 0 ? 0 : -EBADMSG;
	return places_check(plan, &devices->pci);
}

/* ---- acquire --------------------------------------------------------------------------------- */

void devices_acquire(struct shim_devices *devices, bool handed_over)
{
	for (size_t k = 0; k < DEVICE_KINDS; k++)
		if (device_rows[k]->acquire)
			device_rows[k]->acquire(devices, handed_over);
}

void devices_check(struct shim_devices *devices, struct resource_claims *claims)
{
	for (size_t k = 0; k < DEVICE_KINDS; k++)
		if (device_rows[k]->check)
			device_rows[k]->check(devices, claims);
}

/* ---- build ----------------------------------------------------------------------------------- */

/* A device has something to tell: an event. On the I/O thread. */
static void on_device_event(void *context, const struct virtio_event *event)
{
	const struct shim_devices *devices = context;

	(void)event_device_failed(devices->events, event->device_id, event->queue,
	                          event->error_number, event->needs_reset, event->message,
	                          event->suppressed);
}

static int failed(struct shim_devices *devices, int r, const char *field, const char *what)
{
	return problems_add(devices->problems, ERROR_CODE_OS_FAILED, -r, field,
	                    "cannot create %s: %s", what, errno_text(-r));
}

/* A host may allow the call that stage acquire asks about, and deny another one. */
static int ring_failed(struct shim_devices *devices, int r)
{
	char why[DENIED_TEXT_MAX];

	return problems_add(devices->problems,
	                    denied_by_host(-r) ? ERROR_CODE_HOST_LIMIT : ERROR_CODE_OS_FAILED, -r,
	                    NULL, "cannot create an I/O ring (io_uring): %s",
	                    denied_here(DENIED_IO_URING, -r, why));
}

static void on_breach(void *context, const struct io_breach *breach)
{
	(void)context;
	sandbox_death_by_ring(&(struct sandbox_ring_breach){
		.opcode = breach->opcode, .name = breach->name, .what = breach->what });
}

static int init_loops(struct shim_devices *devices, uint32_t count)
{
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++) {
		const struct io_loop_config config = {
			.wake_fd_number = IO_WAKE_FD_BASE + (int)i,
			.ring_fd_number = IO_RING_FD_BASE + (int)i,
			.control_fd = devices->machine->wake_fd,
			.breach = on_breach,
			.busy_poll_us = devices->spec->io.busy_poll_us,
		};

		devices->io[i].devices = devices;
		devices->io[i].index = i;
		r = io_loop_init(&devices->io[i].loop, &config);
		devices->io_count += r == 0;
	}
	return r < 0 ? failed(devices, r, "io", "an I/O loop") : 0;
}

static int create_devices(struct shim_devices *devices, const struct plan_devices *plan)
{
	struct virtio_host host = {
		.memory = &devices->machine->memory,
		.pci = &devices->pci,
		.control = &devices->control,
		.event = on_device_event,
		.context = devices,
	};
	size_t made = 0;

	for (size_t k = 0; k < DEVICE_KINDS; k++) {
		const struct device_row *row = device_turns[k];
		struct plan_devices kind = { 0 };

		row->plan(devices->spec, &kind);
		for (size_t i = 0; i < kind.count; i++) {
			int r;

			host.loop = &devices->io[plan->list[made++].io].loop;
			r = row->create(devices, i, &host);
			if (r < 0)
				return failed(devices, r, row->field, "the device");
		}
	}
	return 0;
}

int devices_build(struct shim_devices *devices)
{
	struct machine *machine = devices->machine;
	struct plan_devices plan;
	int r;

	if (!machine->vm.has_apic)
		return 0;
	devices_plan(devices->spec, &plan);
	devices->present = true;
	devices->control.wake_fd = CONTROL_WAKE_FD;
	r = pci_host_init(&devices->pci, &machine->vm.fabric, &machine->mmio);
	if (r < 0)
		return failed(devices, r, NULL, "the PCI host bridge");
	r = init_loops(devices, count_io(devices->spec, plan.count));
	if (r == 0)
		r = create_devices(devices, &plan);
	for (uint32_t i = 0; i < devices->io_count && r == 0; i++) {
		r = io_loop_build(&devices->io[i].loop);
		if (r < 0)
			return ring_failed(devices, r);
	}
	return r;
}

/* ---- confine, seal, run ---------------------------------------------------------------------- */

struct device_needs devices_needs(const struct shim_devices *devices)
{
	struct device_needs needs = { 0 };

	for (size_t k = 0; k < DEVICE_KINDS; k++)
		if (device_rows[k]->needs)
			device_rows[k]->needs(devices, &needs);
	return needs;
}

int devices_seal(struct shim_devices *devices)
{
	int r = 0;

	for (size_t k = 0; k < DEVICE_KINDS && r == 0; k++)
		if (device_rows[k]->seal)
			r = device_rows[k]->seal(devices);
	return r;
}

uint64_t devices_settle(struct shim_devices *devices, uint64_t now_ns, bool paused)
{
	uint64_t first = 0;

	for (size_t k = 0; k < DEVICE_KINDS; k++) {
		uint64_t next = device_rows[k]->settle
		                        ? device_rows[k]->settle(devices, now_ns, paused)
		                        : 0;

		if (next != 0 && (first == 0 || next < first))
			first = next;
	}
	return first;
}

void devices_end(struct shim_devices *devices)
{
	for (size_t k = 0; k < DEVICE_KINDS; k++)
		if (device_rows[k]->end)
			device_rows[k]->end(devices);
}

/* ---- I/O threads ----------------------------------------------------------------------------- */

/* Moves them to the CPUs where the thread itself may run: those are this VM's, and others may
 * belong to other VMs. */
static int bind_workers(struct shim_io *io)
{
	unsigned long words[HOST_CPUS_MAX / 64] = { 0 };
	cpu_set_t *cpus = (cpu_set_t *)(void *)words;
	int r = sched_getaffinity(0, sizeof(words), cpus) < 0 ? -errno : 0;

	if (r == 0)
		r = io_loop_bind_workers(&io->loop, cpus, sizeof(words));
	if (r < 0)
		return problems_add(
			&io->problems, ERROR_CODE_PLACEMENT_FAILED, -r, NULL,
			"cannot bind the kernel's workers of I/O thread %u to its CPUs: %s",
			io->index, errno_text(-r));
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
		return problems_add(&io->problems, ERROR_CODE_SANDBOX_FAILED, -r, NULL,
		                    "read back: the I/O ring allows %s that it was restricted "
		                    "from",
		                    what);
	if (r < 0)
		return problems_add(&io->problems, ERROR_CODE_SANDBOX_FAILED, -r, NULL,
		                    "cannot enable the ring of I/O thread %u: %s", io->index,
		                    errno_text(-r));
	return 0;
}

void devices_serve(struct shim_io *io)
{
	struct shim_devices *devices = io->devices;
	int r = io_loop_run(&io->loop);
	char name[8];

	if (r < 0) {
		snprintf(name, sizeof(name), "io%u", io->index);
		(void)event_device_failed(devices->events, name, -1, -r, false,
		                          "the I/O ring has failed: all its devices have stopped",
		                          0);
	}
	machine_wake_control(devices->machine);
}

void devices_serve_control(struct shim_devices *devices)
{
	control_desk_serve(&devices->control);
}

void devices_pause(struct shim_devices *devices)
{
	for (uint32_t i = 0; i < devices->io_count; i++)
		io_loop_pause(&devices->io[i].loop);
}

void devices_resume(struct shim_devices *devices)
{
	for (uint32_t i = 0; i < devices->io_count; i++)
		io_loop_resume(&devices->io[i].loop);
}

static bool all_reached(const struct shim_devices *devices, enum io_phase phase)
{
	for (uint32_t i = 0; i < devices->io_count; i++)
		if (io_loop_phase(&devices->io[i].loop) != phase)
			return false;
	return true;
}

bool devices_parked(const struct shim_devices *devices)
{
	return all_reached(devices, IO_PARKED);
}

void devices_stop(struct shim_devices *devices)
{
	for (uint32_t i = 0; i < devices->io_count; i++)
		io_loop_stop(&devices->io[i].loop, LINGER_MS);
}

bool devices_finished(const struct shim_devices *devices)
{
	return all_reached(devices, IO_FINISHED);
}
