/* SPDX-License-Identifier: MIT */
/* The plan of a launch: who runs where, and all that the guest sees of its machine. */
#include "shim/plan.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <string.h>

#include "host/ladder.h"
#include "shim/device/devices.h"
#include "shim/shim.h"

static_assert(SPEC_NODES_MAX == GUEST_NODES_MAX, "a spec has as many nodes as guest memory");
static_assert(SPEC_LOAD_ADDRESS_MAX == GUEST_HOLE_START - 4 * KIB, "the last page below the hole");

static void name_vcpus(struct machine *machine, const struct guest_topology *topology,
                       const struct placement *placement)
{
	machine->vcpu_count = placement->vcpu_count;
	for (uint32_t i = 0; i < machine->vcpu_count; i++) {
		struct vcpu *vcpu = &machine->vcpus[i];

		vcpu->index = i;
		vcpu->apic_id = topology->vcpus[i].apic_id;
		vcpu->host_cpu = placement->vcpus[i].cpu;
		vcpu->host_node = placement->vcpus[i].host_node;
		vcpu->machine = machine;
		vcpu->vm = &machine->vm;
	}
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t number_of(const char *vm_id)
{
	uint64_t hash = 0xcbf29ce484222325u;

	while (*vm_id)
		hash = (hash ^ (uint8_t)*vm_id++) * 0x100000001b3u;
	return hash;
}

static struct placement_request request_of(const struct vm_spec *spec)
{
	const struct spec_cpus *cpus = &spec->cpus;
	const struct spec_memory *memory = &spec->memory;
	static const uint32_t page_kib[] = { [PAGE_SIZE_4K] = 4,
		                             [PAGE_SIZE_THP] = 4,
		                             [PAGE_SIZE_2M] = 2048,
		                             [PAGE_SIZE_1G] = 1048576 };
	struct placement_request request = {
		.vcpus = cpus->count,
		.dedicated = cpus->tenancy == TENANCY_DEDICATED,
		.overcommit = cpus->overcommit,
		.realtime = cpus->fifo_priority > 0,
		.page_kib = page_kib[memory->page_size],
		.pin_count = cpus->pins_count,
		.pins = cpus->pins,
		.vcpu_nodes = cpus->nodes_count ? cpus->nodes : NULL,
		.node_count = memory->count,
		.io_threads = spec->io.threads_per_node,
		.io_count = devices_count_io(spec),
		.seed = number_of(spec->vm_id),
	};

	for (size_t i = 0; i < memory->count; i++) {
		request.host_node[i] = memory->nodes[i].host_node;
		request.memory_mib[i] = memory->nodes[i].size / MIB;
	}
	return request;
}

int plan_machine(struct shim *shim)
{
	const struct placement_request request = request_of(&shim->spec);
	int r;

	if (request.page_kib > 4 && shim->facts->quick)
		facts_probe_huge(shim->facts, NULL);
	r = placement_plan(shim->facts, &request, &shim->placement, &shim->problems);
	if (r < 0)
		return r;
	r = topology_derive(&shim->placement, shim->facts, &shim->topology);
	if (r < 0)
		return problems_add(
			&shim->problems, ERROR_CODE_INTERNAL, -r, "cpus",
			"the guest's topology cannot be derived from the placement; report this bug of the shim");
	name_vcpus(&shim->machine, &shim->topology, &shim->placement);
	return 0;
}

int plan_claim(struct shim *shim)
{
	const struct placement_request request = request_of(&shim->spec);
	int r = ladder_claim(&shim->claims, shim->facts, &request, &shim->placement,
	                     &shim->problems);

	if (r == 0)
		name_vcpus(&shim->machine, &shim->topology, &shim->placement);
	return r;
}

static const struct cpu_bitmap *cpus_of(const struct placement *placement, int32_t cpu, size_t node,
                                        struct cpu_bitmap *ret)
{
	*ret = cpu < 0 ? placement->nodes[node].cpus : (struct cpu_bitmap){ 0 };
	if (cpu >= 0)
		cpu_bitmap_add(ret, (uint32_t)cpu);
	return ret;
}

const struct cpu_bitmap *plan_vcpu_cpus(const struct shim *shim, uint32_t vcpu,
                                        struct cpu_bitmap *ret)
{
	const struct placement_vcpu *at = &shim->placement.vcpus[vcpu];

	return cpus_of(&shim->placement, at->cpu, at->guest_node, ret);
}

const struct cpu_bitmap *plan_io_cpus(const struct shim *shim, uint32_t io, struct cpu_bitmap *ret)
{
	const struct placement *placement = &shim->placement;
	size_t node = io % placement->node_count;

	return cpus_of(placement, placement->nodes[node].io[io / placement->node_count].cpu, node,
	               ret);
}

const struct cpu_bitmap *plan_control_cpus(const struct shim *shim, struct cpu_bitmap *ret)
{
	const uint32_t count = devices_count_io(&shim->spec);
	struct cpu_bitmap all = { 0 }, one;

	for (uint32_t i = 0; i < count; i++) {
		(void)plan_io_cpus(shim, i, &one);
		for (size_t k = 0; k < ARRAY_SIZE(all.words); k++)
			all.words[k] |= one.words[k];
	}
	if (count == 0)
		return plan_vcpu_cpus(shim, 0, ret);
	*ret = all;
	return ret;
}

/* KVM_FEATURE_* bits by enum axvm_pv_feature. The clock is four bits: two interfaces, the stable
 * bit, and no I/O port delay, which comes with every VM that has no ports. */
static uint32_t pv_bits(uint32_t chosen)
{
	static const uint32_t bits[] = {
		[PV_FEATURE_KVMCLOCK] = 1u << KVM_FEATURE_CLOCKSOURCE |
		                        1u << KVM_FEATURE_CLOCKSOURCE2 |
		                        1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT,
		[PV_FEATURE_EOI] = 1u << KVM_FEATURE_PV_EOI,
		[PV_FEATURE_UNHALT] = 1u << KVM_FEATURE_PV_UNHALT,
		[PV_FEATURE_TLB_FLUSH] = 1u << KVM_FEATURE_PV_TLB_FLUSH,
		[PV_FEATURE_SEND_IPI] = 1u << KVM_FEATURE_PV_SEND_IPI,
		[PV_FEATURE_STEAL_TIME] = 1u << KVM_FEATURE_STEAL_TIME,
		[PV_FEATURE_ASYNC_PF] = 1u << KVM_FEATURE_ASYNC_PF | 1u << KVM_FEATURE_ASYNC_PF_INT,
		[PV_FEATURE_POLL_CONTROL] = 1u << KVM_FEATURE_POLL_CONTROL,
		[PV_FEATURE_SCHED_YIELD] = 1u << KVM_FEATURE_PV_SCHED_YIELD,
	};
	uint32_t features = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (chosen & 1u << i)
			features |= bits[i];
	return features;
}

enum axvm_tenancy plan_tenancy(const struct shim *shim)
{
	return shim->spec.cpus.tenancy;
}

const struct profile_tenancy_tuning *plan_tuning(const struct shim *shim)
{
	return &shim->profile.tenancies[plan_tenancy(shim)];
}

static int plan_memory(struct shim *shim)
{
	const struct spec_memory *memory = &shim->spec.memory;
	uint64_t sizes[GUEST_NODES_MAX];
	int r;

	for (size_t i = 0; i < memory->count; i++)
		sizes[i] = memory->nodes[i].size;
	r = guest_memory_layout(&shim->plan.memory, sizes, memory->count);
	if (r < 0)
		return problems_add(
			&shim->problems, ERROR_CODE_SPEC_INVALID, -r, "memory.nodes",
			"the sizes of the nodes do not fit into the guest's address space: give the guest less");
	return 0;
}

static int plan_cpuid(struct shim *shim)
{
	const struct spec_cpus *cpus = &shim->spec.cpus;
	const struct profile_tenancy_tuning *tuning = plan_tuning(shim);

	shim->cpuid_config = (struct cpuid_config){
		.pv_features = pv_bits(cpus->has_paravirt ? cpus->paravirt : tuning->paravirt),
		.pv_hints = tuning->realtime_hint ? 1u << KVM_HINTS_REALTIME : 0,
		.has_apic = plan_has_apic(&shim->spec),
		.tsc_khz = shim->facts->kvm.tsc_khz,
		.profile = &shim->profile,
	};
	return cpuid_build(&shim->facts->kvm, &shim->cpuid_config, &shim->cpuid, &shim->problems);
}

static int plan_acpi(struct shim *shim)
{
	const struct guest_topology *topology = &shim->topology;
	struct acpi_cpu cpus[MACHINE_VCPUS_MAX];
	uint8_t distances[GUEST_NODES_MAX * GUEST_NODES_MAX];
	struct acpi_config config = {
		.cpus = cpus,
		.cpu_count = topology->vcpu_count,
		.nodes = shim->spec.memory.count,
		.distances = distances,
	};

	if (shim->spec.boot.kind != BOOT_KIND_LINUX_BOOT)
		return 0;
	for (uint32_t i = 0; i < topology->vcpu_count; i++) {
		cpus[i].apic_id = topology->vcpus[i].apic_id;
		cpus[i].node = topology->vcpus[i].node;
	}
	for (size_t from = 0; from < config.nodes; from++)
		for (size_t to = 0; to < config.nodes; to++)
			distances[from * config.nodes + to] = topology->distances[from][to];
	return acpi_build(&config, &shim->plan.memory, &shim->problems, &shim->plan.acpi);
}

/* Hashes numbers one by one, little-endian: the padding between members of a struct has no defined
 * value. */
static void hash_number(struct sha256 *hash, uint64_t number)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(number >> 8 * i);
	sha256_add(hash, bytes, sizeof(bytes));
}

/* vCPU 0's, which stands for all: the others differ by what the topology says. What the common
 * table has in the places that are a vCPU's own is of the CPU that was asked, and no part of the
 * machine. */
static int hash_cpuid(struct sha256 *hash, const struct shim *shim)
{
	struct cpuid_table table = shim->cpuid;
	int r = topology_cpuid(&shim->topology, 0, table.entries, &table.nent, CPUID_ENTRIES_MAX);

	hash_number(hash, table.nent);
	for (uint32_t i = 0; r == 0 && i < table.nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &table.entries[i];
		const uint32_t words[] = { entry->function, entry->index, entry->eax,
			                   entry->ebx,      entry->ecx,   entry->edx };

		for (size_t k = 0; k < ARRAY_SIZE(words); k++)
			hash_number(hash, words[k]);
	}
	return r;
}

static int plan_digest(struct shim *shim)
{
	struct machine_plan *plan = &shim->plan;
	const struct spec_boot *boot = &shim->spec.boot;
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;
	int r;

	sha256_begin(&hash);
	for (size_t i = 0; i < plan->memory.count; i++) {
		hash_number(&hash, plan->memory.regions[i].base.v);
		hash_number(&hash, plan->memory.regions[i].size);
		hash_number(&hash, plan->memory.regions[i].node);
	}
	r = hash_cpuid(&hash, shim);
	for (uint32_t i = 0; i < shim->topology.vcpu_count; i++) {
		const struct topology_vcpu *vcpu = &shim->topology.vcpus[i];

		hash_number(&hash, vcpu->apic_id);
		hash_number(&hash, vcpu->node);
	}
	for (size_t i = 0; i < plan->devices.count; i++) {
		const struct plan_device *device = &plan->devices.list[i];

		hash_number(&hash, device->virtio_id);
		hash_number(&hash, device->queues);
		hash_number(&hash, device->slot);
		hash_number(&hash, device->bar);
	}
	hash_number(&hash, boot->kind);
	hash_number(&hash, boot->load_address.v);
	sha256_add(&hash, boot->cmdline, strlen(boot->cmdline) + 1);
	sha256_add(&hash, plan->acpi.bytes, plan->acpi.used);
	sha256_end(&hash, digest);
	sha256_hex(digest, plan->digest);
	if (r < 0)
		return problems_add(
			&shim->problems, ERROR_CODE_INTERNAL, -r, "cpus",
			"the topology does not fit into CPUID; report this bug of the shim");
	return 0;
}

int plan_without_kvm(struct shim *shim)
{
	int r = plan_memory(shim);

	r = r ? r : plan_acpi(shim);
	if (r < 0)
		return r;
	devices_plan(&shim->spec, &shim->plan.devices);
	return 0;
}

int plan_guest(struct shim *shim)
{
	int r = plan_without_kvm(shim);

	r = r ? r : plan_cpuid(shim);
	return r ? r : plan_digest(shim);
}

int plan_check(struct shim *shim)
{
	const struct guest_memory *planned = &shim->plan.memory, *built = &shim->machine.memory;
	bool same = planned->count == built->count &&
	            devices_check_plan(&shim->devices, &shim->plan.devices) == 0;

	for (size_t i = 0; same && i < built->count; i++)
		same = planned->regions[i].base.v == built->regions[i].base.v &&
		       planned->regions[i].size == built->regions[i].size &&
		       planned->regions[i].node == built->regions[i].node;
	if (same)
		return 0;
	return problems_add(
		&shim->problems, ERROR_CODE_INTERNAL, EBADMSG, NULL,
		"the machine that was built differs from its plan; report this bug of the shim");
}
