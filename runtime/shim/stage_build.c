/* SPDX-License-Identifier: MIT */
/* Stages acquire and build: from a spec to a machine that only waits for its vCPUs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "base/denied.h"
#include "boot/reset_vector.h"
#include "guest/layout.h"
#include "interface/command.h"
#include "machine/kvm.h"
#include "machine/ram.h"
#include "machine/schedule.h"
#include "sandbox/cgroup.h"
#include "sandbox/fd_layout.h"
#include "sandbox/nest.h"
#include "shim/announce.h"
#include "shim/control.h"
#include "shim/device/devices.h"
#include "shim/device/resources.h"
#include "shim/fds.h"
#include "shim/measure.h"
#include "shim/plan.h"
#include "shim/shim.h"

/* Those that were handed over by number, or all others. */
static void take_resources(struct shim *shim, bool by_number)
{
	const struct vm_spec *spec = &shim->spec;
	struct shim_resources *fds = &shim->resources;
	const struct {
		const struct spec_resource *resource;
		enum resource_use use;
		const char *field;
		int *fd;
	} rows[] = {
		{ &spec->boot.kernel, RESOURCE_READ, "boot.linux_boot.kernel", &fds->kernel },
		{ &spec->boot.initrd, RESOURCE_READ, "boot.linux_boot.initrd", &fds->initrd },
		{ &spec->boot.image, RESOURCE_READ, "boot.flat_boot.image", &fds->image },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if ((rows[i].resource->kind == RESOURCE_SOURCE_FD) == by_number) {
			*rows[i].fd = -1;
			(void)resource_take(rows[i].resource, rows[i].use, rows[i].field,
			                    rows[i].fd, &shim->problems);
		}
	devices_acquire(&shim->devices, by_number);
}

/* Devices' resources as a whole; and what the guest writes to must be nothing else that the spec
 * names: not the kernel, not a disk whose size is limited. */
static void check_resources(struct shim *shim)
{
	const struct shim_resources *fds = &shim->resources;
	struct resource_claims claims;

	claims.count = 0;
	resource_claim(&claims, fds->kernel, false, "boot.linux_boot.kernel");
	resource_claim(&claims, fds->initrd, false, "boot.linux_boot.initrd");
	resource_claim(&claims, fds->image, false, "boot.flat_boot.image");
	devices_check(&shim->devices, &claims);
	resource_check_claims(&claims, &shim->problems);
}

static void reserve_memory(struct shim *shim)
{
	static const enum ram_pages pages[] = {
		[PAGE_SIZE_4K] = RAM_PAGES_4K,
		[PAGE_SIZE_THP] = RAM_PAGES_THP,
		[PAGE_SIZE_2M] = RAM_PAGES_2M,
		[PAGE_SIZE_1G] = RAM_PAGES_1G,
	};
	const struct spec_memory *memory = &shim->spec.memory;
	struct ram_config config = {
		.pages = pages[memory->page_size],
		.populate = memory->populate,
		.lock = memory->lock,
		.remote_pages_allowed = memory->remote_pages_allowed,
		.nodes = memory->count,
		.facts = shim->facts,
	};

	for (size_t i = 0; i < memory->count; i++) {
		config.node_size[i] = memory->nodes[i].size;
		config.host_node[i] = memory->nodes[i].host_node;
		/* A host with one node offers no choice. */
		if (config.host_node[i] < 0 && shim->facts->node_count > 1)
			config.host_node[i] = shim->placement.nodes[i].host_node;
	}
	if (ram_acquire(&config, &shim->machine.memory, &shim->ram, &shim->problems) == 0 &&
	    shim->ram.populated)
		(void)announce_memory(shim);
}

/* The folder of claims. It is not held open for the VM's life: see claims_keep(). */
static void open_claims(struct shim *shim)
{
	const struct spec_resource *folder = &shim->spec.cpus.claims;
	char name[24];
	int r;

	if (folder->kind == RESOURCE_SOURCE_NOT_SET)
		return;
	snprintf(name, sizeof(name), "fd %d", folder->fd);
	r = claims_open(&shim->claims, folder->fd,
	                folder->kind == RESOURCE_SOURCE_PATH ? folder->path : NULL, false);
	if (folder->kind == RESOURCE_SOURCE_FD && r != -EBADF)
		close(folder->fd);
	if (r < 0)
		(void)problems_add(&shim->problems,
		                   r == -ENOTDIR                 ? ERROR_CODE_RESOURCE_WRONG_KIND
		                   : r == -ENOENT || r == -EBADF ? ERROR_CODE_RESOURCE_MISSING
		                                                 : ERROR_CODE_RESOURCE_UNREADABLE,
		                   -r, "cpus.claims",
		                   "\"%s\" is not the folder of this host's claims: %s; launch "
		                   "without claims, or see that the folder is there",
		                   folder->kind == RESOURCE_SOURCE_PATH ? folder->path : name,
		                   errno_text(-r));
}

/* The VM's CPUs, among the host's other VMs. The threads that populate memory avoid CPUs that other
 * VMs have claimed whole. After a refused claim the claims are closed, and nothing is compared. */
static void claim_cpus(struct shim *shim)
{
	const struct spec_memory *memory = &shim->spec.memory;

	if (!shim->claims.open)
		return;
	if (plan_claim(shim) < 0)
		claims_close(&shim->claims);
	if (!memory->populate && !memory->lock && memory->page_size == PAGE_SIZE_4K)
		return;
	for (size_t i = 0; i < shim->facts->cpu_count && shim->claims.open; i++) {
		struct host_cpu *cpu = &shim->facts->cpus[i];

		cpu->allowed = cpu->allowed && !claims_whole(&shim->claims, cpu->id);
	}
}

/* Keeps this thread, and threads that the kernel starts for it (vhost's workers inherit its CPUs
 * since Linux 6.4), off the CPUs of other VMs. In a VM that is not pinned it stays on the
 * launcher's CPUs. */
static void bind_control(struct shim *shim)
{
	struct cpu_bitmap cpus;

	if (shim->placement.pinned)
		(void)schedule_bind(plan_control_cpus(shim, &cpus), &shim->problems);
}

/* Called when guest memory is in place. */
static void keep_claims(struct shim *shim)
{
	int r;

	if (shim->ram.populated)
		claims_drop_all_memory(&shim->claims);
	r = claims_keep(&shim->claims);
	if (r < 0)
		(void)problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, "cpus.claims",
		                   "cannot keep the CPUs that were claimed: %s", errno_text(-r));
}

/* Cgroups may bring a cpuset, within which all is planned again. */
static void heed_cgroups(struct shim *shim)
{
	if (shim->spec.sandbox.cgroups_count == 0 || !shim->facts)
		return;
	(void)facts_refresh(shim->facts, NULL);
	(void)plan_machine(shim);
}

/* While it is still allowed, and after the threads that populate memory have gone. */
static void ask_scheduler(struct shim *shim)
{
	const struct spec_cpus *cpus = &shim->spec.cpus;

	if (cpus->tenancy == TENANCY_SHARED)
		schedule_short_turns();
	if (cpus->core_scheduling)
		(void)schedule_own_cores(&shim->problems);
	if (cpus->fifo_priority > 0)
		(void)schedule_take_fifo(cpus->fifo_priority, &shim->problems);
}

/* Rings are created in stage build, too late to report a failure together with the other problems
 * of stage acquire. */
static void check_rings(struct problems *problems)
{
	char why[DENIED_TEXT_MAX];
	int error = denied_ask_io_uring();

	if (error != 0)
		(void)problems_add(problems,
		                   denied_by_host(error) ? ERROR_CODE_HOST_LIMIT
		                                         : ERROR_CODE_OS_FAILED,
		                   error, NULL, "cannot create an I/O ring (io_uring): %s",
		                   denied_here(DENIED_IO_URING, error, why));
}

/* Mappings from here on are guest memory, or too small for huge pages. */
static void allow_huge_pages(struct shim *shim)
{
	if (prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) < 0)
		problems_add(&shim->problems, ERROR_CODE_OS_FAILED, errno, "memory",
		             "cannot allow huge pages for guest memory: %s", errno_text(errno));
}

/* Requires: a valid spec and an admitted host. Does: join the cgroups, open /dev/kvm and every
 * resource, claim CPUs, reserve, bind, populate and lock guest memory. Must not: stop at the first
 * thing that is wrong: all reasons go into one refusal, what went wrong before it among them. */
int stage_acquire(struct shim *shim)
{
	devices_init(&shim->devices, &shim->spec, &shim->machine, &shim->events, &shim->problems);
	/* What was handed over comes first: a number that nobody handed over is taken by the first
	 * thing that is opened. */
	take_resources(shim, true);
	open_claims(shim);
	shim->kvm_fd = -1;
	/* First, so that guest memory is charged to the groups it is to be limited by. */
	(void)sandbox_join_cgroups(shim->spec.sandbox.cgroup_fds, shim->spec.sandbox.cgroups_count,
	                           &shim->problems);
	if (kvm_open(&shim->kvm_fd, &shim->problems) == 0)
		(void)kvm_check(shim->kvm_fd, shim->spec.cpus.count, &shim->problems);
	take_resources(shim, false);
	check_resources(shim);
	heed_cgroups(shim);
	claim_cpus(shim);
	allow_huge_pages(shim);
	reserve_memory(shim);
	keep_claims(shim);
	bind_control(shim);
	ask_scheduler(shim);
	if (devices_count_io(&shim->spec) > 0)
		check_rings(&shim->problems);
	if (shim->problems.count == 0)
		return 0;
	/* It will not come to stage confine, whose reasons belong with these. */
	(void)nest_foresee(&shim->sandbox, &shim->problems);
	return -EINVAL;
}

static void deliver_pin(void *context, const struct msi_message *message)
{
	(void)vm_signal_msi(context, message->address, message->data);
}

static int build_buses(struct machine *machine)
{
	int r = 0;

	machine->acpi.ioapic = &machine->ioapic;
	ioapic_init(&machine->ioapic, deliver_pin, &machine->vm);
	r = r ? r
	      : bus_add(&machine->mmio, LAYOUT_IOAPIC, 0x1000, &ioapic_bus_ops, &machine->ioapic);
	r = r ? r
	      : bus_add(&machine->mmio, LAYOUT_ACPI_REGISTERS, LAYOUT_ACPI_REGISTERS_SIZE,
	                &acpi_registers_bus_ops, &machine->acpi);
	r = r ? r
	      : bus_add(&machine->mmio, LAYOUT_PANIC_REGISTER, 0x10, &panic_register_bus_ops,
	                &machine->acpi);
	r = r ? r
	      : bus_add(&machine->ports, LAYOUT_PORT_RESET, 1, &reset_port_bus_ops, &machine->acpi);
	return r ? r : legacy_ports_add(&machine->legacy, &machine->acpi, &machine->ports);
}

static int tune(struct shim *shim)
{
	const struct profile_tenancy_tuning *tuning = plan_tuning(shim);
	const struct vm_tuning vm = {
		.disable_hlt_exits = tuning->disable_hlt_exits && shim->machine.vm.has_apic,
		.disable_pause_exits = tuning->disable_pause_exits,
		.disable_cstate_exits = tuning->disable_cstate_exits,
		.has_halt_poll_ns = tuning->has_halt_poll_ns,
		.halt_poll_ns = tuning->halt_poll_ns,
	};

	return vm_tune(&shim->machine.vm, &vm, &shim->problems);
}

static int load_flat(struct shim *shim)
{
	struct boot_flat_config config = {
		.image = { .fd = shim->resources.image, .field = "boot.flat_boot.image" },
		.load_address = shim->spec.boot.load_address.v,
		.load_address_field = "boot.flat_boot.load_address",
	};

	return boot_load_flat(&config, &shim->machine.memory, &shim->problems, &shim->entry);
}

static int load_linux(struct shim *shim)
{
	struct boot_linux_config config = {
		.kernel = { .fd = shim->resources.kernel, .field = "boot.linux_boot.kernel" },
		.initrd = { .fd = shim->resources.initrd, .field = "boot.linux_boot.initrd" },
		.cmdline = shim->spec.boot.cmdline,
		.cmdline_field = "boot.linux_boot.cmdline",
		.rsdp = LAYOUT_ACPI,
	};
	const struct acpi_image *acpi = &shim->plan.acpi;
	int r = guest_memory_write(&shim->machine.memory, GPA(LAYOUT_ACPI), acpi->bytes,
	                           acpi->used);

	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_INTERNAL, -r, NULL,
		                    "there is no RAM where the plan has the ACPI tables");
	r = boot_write_reset_vector(&shim->machine.memory);
	if (r < 0)
		return problems_add(
			&shim->problems, ERROR_CODE_SPEC_INVALID, -r, "memory.nodes",
			"the guest has less than the 1 MiB of memory that Linux needs; give it more");
	return boot_load_linux(&config, &shim->machine.memory, &shim->problems, &shim->entry);
}

/* From here on the copies are what is booted. */
static int measure(struct shim *shim)
{
	uint64_t most = MAX(MEASURE_FILE_MAX, guest_memory_size(&shim->machine.memory));
	struct shim_resources *fds = &shim->resources;
	const struct {
		int *fd;
		const char *what, *field;
		enum axvm_error_code invalid;
		char *digest;
	} rows[] = {
		{ &fds->image, "image", "boot.flat_boot.image", ERROR_CODE_IMAGE_INVALID,
		  shim->kernel_digest },
		{ &fds->kernel, "kernel", "boot.linux_boot.kernel", ERROR_CODE_KERNEL_INVALID,
		  shim->kernel_digest },
		{ &fds->initrd, "initrd", "boot.linux_boot.initrd", ERROR_CODE_INITRD_INVALID,
		  shim->initrd_digest },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++) {
		const struct measured file = { { *rows[i].fd, rows[i].field },
			                       rows[i].what,
			                       rows[i].invalid };
		int copy = -1;

		if (*rows[i].fd < 0)
			continue;
		r = measure_copy(&file, most, &copy, rows[i].digest, &shim->problems);
		if (r < 0)
			break;
		close(*rows[i].fd);
		*rows[i].fd = copy;
	}
	return r;
}

/* Requires: memory and descriptors.
 * Does: create the VM, its slots, then its interrupt chip; buses, devices, tables, kernel.
 * Must not: start a thread. */
int stage_build(struct shim *shim)
{
	struct machine *machine = &shim->machine;
	bool flat = shim->spec.boot.kind == BOOT_KIND_FLAT_BOOT;
	int r;

	r = vm_create(&machine->vm, shim->kvm_fd, &machine->memory, plan_has_apic(&shim->spec),
	              &shim->problems);
	if (r < 0)
		return r;
	r = fd_settle(machine->vm.fd, VM_FD);
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
		                    "cannot place the VM's descriptor: %s", errno_text(-r));
	machine->vm.fd = VM_FD;
	r = kvm_stats_open_vm(&machine->stats, VM_FD);
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_KVM_FAILED, -r, NULL,
		                    "KVM does not give its counters: %s", errno_text(-r));
	r = build_buses(machine);
	if (r < 0)
		return problems_add(
			&shim->problems, ERROR_CODE_INTERNAL, -r, NULL,
			"the address ranges of the buses overlap; report this bug of the shim");
	r = tune(shim);
	if (r < 0)
		return r;
	/* The quick facts lack this one: only a VM tells it. */
	shim->facts->kvm.tsc_khz = (uint32_t)MAX(ioctl(VM_FD, KVM_GET_TSC_KHZ, 0), 0);
	r = plan_guest(shim);
	if (r < 0)
		return r;
	r = devices_build(&shim->devices);
	if (r < 0)
		return r;
	r = control_watch(shim);
	if (r < 0)
		return r;
	r = command_arena_map(&shim->command_arena);
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
		                    "no memory for commands: %s", errno_text(-r));
	r = plan_check(shim);
	if (r < 0)
		return r;
	r = shim->spec.boot.measure ? measure(shim) : 0;
	if (r < 0)
		return r;
	return flat ? load_flat(shim) : load_linux(shim);
}
