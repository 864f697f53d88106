/* SPDX-License-Identifier: MIT */
/* Stages confine, staff and seal: from one free thread to many confined ones.
 *
 * What is per thread is taken away while there is only one (confine), so that every later thread
 * inherits it. Then the threads start, each vCPU thread creates its own vCPU on its own CPU
 * (staff), and each puts itself under the filter of its role and waits at the gate (seal). One need
 * not wait for the others between the two, and that saves a sleep and a wake-up each. Nothing of
 * the guest runs before all of them have said that they are sealed. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/uses.h"
#include "machine/schedule.h"
#include "sandbox/confine.h"
#include "sandbox/fd_layout.h"
#include "sandbox/verify.h"
#include "shim/device/devices.h"
#include "shim/plan.h"
#include "shim/sealing.h"
#include "shim/shim.h"

/* The step of the gate. */
enum { GATE_RUN = 1 };

/* A vCPU thread runs a loop and a table; the kick handler needs a little. */
#define THREAD_STACK (64 * 1024)

/* Closes and frees the resources that only building the machine needed. */
static void close_building_materials(struct shim *shim)
{
	close_ptr(&shim->kvm_fd);
	close_ptr(&shim->resources.kernel);
	close_ptr(&shim->resources.initrd);
	close_ptr(&shim->resources.image);
	free_ptr(&shim->facts);
}

/* Requires: everything is open, mapped and loaded.
 * Does: all steps of sandbox/confine.c: limits, namespaces and an empty root, ids, capabilities,
 * attributes, Landlock.
 * Must not: start a thread before it is done, or go on without one of them. */
int stage_confine(struct shim *shim)
{
	const struct vm_spec *spec = &shim->spec;
	const struct sandbox_config config = {
		.has_uid = spec->sandbox.has_uid,
		.has_gid = spec->sandbox.has_gid,
		.uid = spec->sandbox.uid,
		.gid = spec->sandbox.gid,
		.stop_with_launcher = spec->lifecycle.stop_when_launcher_dies,
		.file_size = devices_needs(&shim->devices).file_size,
		.realtime = spec->cpus.fifo_priority > 0,
		.own_cores = spec->cpus.core_scheduling,
	};
	int r = sealing_prepare(shim);

	close_building_materials(shim);
	shim->machine.pid = getpid();
	return r < 0 ? r : sandbox_confine(&shim->sandbox, &config, &shim->problems);
}

/* RDX of a flat image: RAM below 4 GiB. Stacks grow down from the top of each slice. */
static struct vcpu_entry entry_of(const struct shim *shim, uint32_t index)
{
	const struct boot_entry *boot = &shim->entry;
	const struct spec_boot *spec = &shim->spec.boot;
	struct vcpu_entry entry = {
		.start = boot->mode == BOOT_LONG_MODE ? VCPU_LONG_MODE : VCPU_PROTECTED,
		.rip = boot->rip,
		.rsi = boot->rsi,
		.rbx = boot->rbx,
		.page_table = GPA(boot->cr3),
		.gdt = GPA(boot->gdt_base),
		.gdt_limit = boot->gdt_limit,
		.code_selector = boot->code_selector,
		.data_selector = boot->data_selector,
	};

	if (spec->kind == BOOT_KIND_LINUX_BOOT || spec->secondaries_wait) {
		if (index > 0)
			entry.start = VCPU_WAITS;
	}
	if (spec->kind == BOOT_KIND_FLAT_BOOT) {
		entry.rdi = index;
		entry.rsi = shim->machine.vcpu_count;
		entry.rdx = guest_memory_below_hole(&shim->machine.memory);
		entry.rsp = LAYOUT_FLAT_STACKS + (index + 1ULL) * LAYOUT_FLAT_STACK_SIZE;
	}
	return entry;
}

/* The last one wakes the control thread: to be woken by each of 64 would cost it 64 times as
 * much. */
static void count_staffed(struct shim *shim)
{
	if (atomic_fetch_add(&shim->staffed, 1) + 1 >= atomic_load(&shim->expected))
		futex_wake_all(&shim->staffed);
}

/* The thread has sealed itself, or has failed to and said so: after the last of them the control
 * thread looks. */
static void count_sealed(struct shim *shim)
{
	if (gate_count(&shim->gate) >= atomic_load(&shim->expected))
		machine_wake_control(&shim->machine);
}

/* Waits for the threads that were started: fewer than planned when one could not be. A thread that
 * counts itself in later sees the lower number, and one that did so before is seen here. */
static void await_staff(struct shim *shim)
{
	atomic_store(&shim->expected, shim->threads);
	futex_wait_until(&shim->staffed, shim->threads);
}

static int open_counters(struct vcpu *vcpu)
{
	int r = kvm_stats_open_vcpu(&vcpu->machine->stats, vcpu->index, vcpu->fd);

	if (r < 0)
		return problems_add(&vcpu->problems, ERROR_CODE_KVM_FAILED, -r, NULL,
		                    "vCPU %u: KVM does not give its counters: %s", vcpu->index,
		                    errno_text(-r));
	return 0;
}

static void *vcpu_main(void *argument)
{
	struct vcpu *vcpu = argument;
	struct shim *shim = CONTAINER_OF(vcpu->machine, struct shim, machine);
	struct thread_record *record = &shim->records[vcpu->index];
	struct vcpu_entry entry = entry_of(shim, vcpu->index);
	struct cpu_bitmap cpus;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	thread_record_start(record, name);
	atomic_store(&vcpu->tid, gettid());
	/* KVM should allocate this vCPU's memory on the node where the vCPU runs. */
	if (vcpu->host_node >= 0)
		(void)numa_prefer(vcpu->host_node);
	r = vcpu_create(vcpu, &entry, &shim->cpuid, &shim->topology);
	if (r == 0)
		r = open_counters(vcpu);
	thread_record_staffed(record);
	vcpu->shared_fd = vcpu->fd;
	vcpu->unmade = r < 0;
	count_staffed(shim);
	thread_record_sealing(record);
	if (r == 0)
		r = schedule_check_affinity(plan_vcpu_cpus(shim, vcpu->index, &cpus),
		                            &vcpu->problems);
	if (r == 0)
		(void)seal_vcpu_thread(shim, vcpu->fd, &vcpu->problems);
	vcpu->fd = VCPU_FD;
	count_sealed(shim);
	if (vcpu->index == 0)
		seal_try_kvm(shim);
	gate_pass(&shim->gate, GATE_RUN);
	vcpu_loop(vcpu);
	/* Does not return through the thread library: its exit code makes calls that the filter
	 * denies. */
	SANDBOX_USES(vcpu, exit, any);
	syscall(SYS_exit, 0);
	return NULL;
}

static void *io_main(void *argument)
{
	struct shim_io *io = argument;
	struct shim *shim = CONTAINER_OF(io->devices, struct shim, devices);
	struct thread_record *record = &shim->records[shim->machine.vcpu_count + io->index];
	struct cpu_bitmap cpus;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "io%u", io->index);
	thread_record_start(record, name);
	thread_record_staffed(record);
	count_staffed(shim);
	thread_record_sealing(record);
	r = devices_enable(io);
	if (r == 0)
		r = schedule_check_affinity(plan_io_cpus(shim, io->index, &cpus), &io->problems);
	if (r == 0)
		r = seal_io_thread(shim, io->index, &io->problems);
	count_sealed(shim);
	gate_pass(&shim->gate, GATE_RUN);
	if (r == 0)
		devices_serve(io);
	SANDBOX_USES(io, exit, any);
	syscall(SYS_exit, 0);
	return NULL;
}

static int start_thread(struct shim *shim, void *(*function)(void *), void *argument,
                        const struct cpu_bitmap *cpus, pthread_t *ret_thread)
{
	pthread_attr_t attributes;
	char list[128];
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	pthread_attr_setaffinity_np(&attributes, sizeof(cpus->words),
	                            (const cpu_set_t *)(const void *)cpus->words);
	r = pthread_create(ret_thread, &attributes, function, argument);
	pthread_attr_destroy(&attributes);
	if (r == EINVAL)
		return problems_add(&shim->problems, ERROR_CODE_HOST_LIMIT, r,
		                    shim->placement.by_hand ? "cpus.pins" : "cpus",
		                    "cannot start a thread on host CPU %s: this host has no such "
		                    "CPU, or the shim's affinity excludes it",
		                    cpu_bitmap_format(cpus, list, sizeof(list)));
	if (r != 0)
		return problems_add(&shim->problems, ERROR_CODE_HOST_LIMIT, r, NULL,
		                    "cannot start a thread: %s: " PROBLEM_RAISE_THREADS,
		                    errno_text(r));
	shim->threads++;
	return 0;
}

/* Of the vCPUs that could not be created. The other threads seal themselves meanwhile: what they
 * find wrong is still being written. */
static int collect_unmade(struct shim *shim)
{
	int r = 0;

	for (uint32_t i = 0; i < shim->machine.vcpu_count; i++) {
		const struct vcpu *vcpu = &shim->machine.vcpus[i];

		if (vcpu->unmade)
			r = problems_take_over(&shim->problems, &vcpu->problems);
	}
	return r;
}

/* Of all threads, once each has said that it is sealed or has failed to be. */
static int collect(struct shim *shim)
{
	int r = 0;

	for (uint32_t i = 0; i < shim->devices.io_count; i++) {
		int io = problems_take_over(&shim->problems, &shim->devices.io[i].problems);

		r = r < 0 ? r : io;
	}
	for (uint32_t i = 0; i < shim->machine.vcpu_count; i++) {
		int vcpu = problems_take_over(&shim->problems, &shim->machine.vcpus[i].problems);

		r = r < 0 ? r : vcpu;
	}
	return r;
}

/* Requires: the process is confined.
 * Does: start the threads, named, on their CPUs; each creates its vCPU.
 * Must not: let a thread past the gate. */
int stage_staff(struct shim *shim)
{
	struct machine *machine = &shim->machine;
	struct cpu_bitmap cpus;
	int r = 0;

	atomic_store(&shim->expected, machine->vcpu_count + shim->devices.io_count);
	for (uint32_t i = 0; i < machine->vcpu_count && r == 0; i++) {
		struct vcpu *vcpu = &machine->vcpus[i];

		r = start_thread(shim, vcpu_main, vcpu, plan_vcpu_cpus(shim, i, &cpus),
		                 &vcpu->thread);
	}
	/* The vCPUs' threads have inherited SCHED_FIFO; no other thread may. */
	if (r == 0 && shim->spec.cpus.fifo_priority > 0)
		r = schedule_leave_fifo(&shim->problems);
	for (uint32_t i = 0; i < shim->devices.io_count && r == 0; i++) {
		struct shim_io *io = &shim->devices.io[i];

		r = start_thread(shim, io_main, io, plan_io_cpus(shim, i, &cpus), &io->thread);
	}
	await_staff(shim);
	return r < 0 ? r : collect_unmade(shim);
}

/* Requires: every thread has what it needs, and is sealing itself.
 * Does: read back what is the process's meanwhile; wait for the threads; read back what is theirs;
 * seal this thread; announce Sealed.
 * Must not: fail softly. */
int stage_seal(struct shim *shim)
{
	struct sandbox_seen seen;
	struct cpu_bitmap cpus;
	int r;

	vm_forward_calls(&shim->machine.vm, shim->wake_fd);
	if (shim->placement.pinned &&
	    (r = schedule_check_affinity(plan_control_cpus(shim, &cpus), &shim->problems)) < 0)
		return r;
	r = sandbox_verify_process(&shim->sandbox, &seen, &shim->problems);
	if (r == 0)
		r = sealing_await(shim);
	if (r == 0)
		r = collect(shim);
	return r < 0 ? r : sealing_finish(shim, &seen);
}
