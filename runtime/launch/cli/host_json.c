/* SPDX-License-Identifier: MIT */
/* `axvm host --json`: axvm.v1.HostUse. Its pointers are borrowed from the facts and the VMs, or
 * point into one arena. */
#include <errno.h>
#include <string.h>

#include "launch/cli/host.h"
#include "launch/cli/text.h"

struct arena {
	uint8_t *memory;
	size_t used, size;
};

/* Takes zeroed, aligned memory. NULL: json_size() reckoned with less. */
static void *take(struct arena *arena, size_t size)
{
	size_t rounded = (size + 15) & ~(size_t)15;
	void *at = arena->memory + arena->used;

	if (rounded > arena->size - arena->used)
		return NULL;
	arena->used += rounded;
	return at;
}

static size_t vms_on(const struct host_use *use, uint32_t cpu)
{
	size_t count = 0;

	for (size_t i = 0; i < use->vm_count; i++)
		count += cpu_bitmap_has(&use->vms[i].threads.pinned, cpu);
	return count;
}

static size_t json_size(const struct host_use *use)
{
	const struct host_facts *facts = use->facts;
	size_t size = 1024 + facts->node_count * (sizeof(Axvm__V1__NodeUse) + 32) +
	              facts->cpu_count * (sizeof(Axvm__V1__CpuUse) +
	                                  FACTS_SIBLINGS_MAX * sizeof(uint32_t) + 96) +
	              use->vm_count * (sizeof(Axvm__V1__VmUse) + 96);

	for (size_t i = 0; i < facts->cpu_count; i++)
		size += vms_on(use, facts->cpus[i].id) * sizeof(char *);
	for (size_t i = 0; i < use->vm_count; i++)
		size += (cpu_bitmap_count(&use->vms[i].threads.pinned) +
		         cpu_bitmap_count(&use->vms[i].threads.free)) *
		        sizeof(uint32_t);
	return size;
}

static void put_nodes(const struct host_use *use, struct arena *arena, Axvm__V1__HostUse *message)
{
	const struct host_facts *facts = use->facts;

	message->nodes = take(arena, facts->node_count * sizeof(Axvm__V1__NodeUse *));
	for (size_t i = 0; message->nodes && i < facts->node_count; i++) {
		Axvm__V1__NodeUse *node = take(arena, sizeof(*node));

		if (!node)
			return;
		axvm__v1__node_use__init(node);
		node->has_id = node->has_memory_mib = node->has_free_mib = 1;
		node->id = facts->nodes[i].id;
		node->memory_mib = facts->nodes[i].memory_mib;
		node->free_mib = facts->nodes[i].free_mib;
		node->has_claimed_mib = use->claims_error == 0;
		node->claimed_mib = use->claimed_mib[i];
		message->nodes[message->n_nodes++] = node;
	}
}

static void put_cpu(const struct host_use *use, struct arena *arena, size_t position,
                    Axvm__V1__CpuUse *to)
{
	const struct host_cpu *cpu = &use->facts->cpus[position];
	const struct claims_load *load = &use->loads[position];

	axvm__v1__cpu_use__init(to);
	to->has_id = 1;
	to->id = cpu->id;
	to->has_node = cpu->node >= 0;
	to->node = (uint32_t)cpu->node;
	to->core_cpus = take(arena, FACTS_SIBLINGS_MAX * sizeof(*to->core_cpus));
	for (size_t i = 0; to->core_cpus && i < cpu->sibling_count; i++)
		to->core_cpus[to->n_core_cpus++] = cpu->siblings[i];
	to->has_whole = to->has_vcpu_claims = to->has_io_claims = use->claims_error == 0;
	to->whole = load->whole;
	to->vcpu_claims = load->whole ? 0 : load->vcpus;
	to->io_claims = load->whole ? 0 : load->io;
	to->vm_ids = take(arena, vms_on(use, cpu->id) * sizeof(*to->vm_ids));
	for (size_t i = 0; to->vm_ids && i < use->vm_count; i++)
		if (cpu_bitmap_has(&use->vms[i].threads.pinned, cpu->id))
			to->vm_ids[to->n_vm_ids++] = use->vms[i].id;
}

static void put_cpus(const struct host_use *use, struct arena *arena, Axvm__V1__HostUse *message)
{
	message->cpus = take(arena, use->facts->cpu_count * sizeof(Axvm__V1__CpuUse *));
	for (size_t i = 0; message->cpus && i < use->facts->cpu_count; i++) {
		Axvm__V1__CpuUse *cpu =
			use->facts->cpus[i].online ? take(arena, sizeof(*cpu)) : NULL;

		if (!cpu)
			continue;
		put_cpu(use, arena, i, cpu);
		message->cpus[message->n_cpus++] = cpu;
	}
}

static size_t put_list(struct arena *arena, const struct cpu_bitmap *cpus, uint32_t **ret)
{
	size_t count = 0;

	*ret = take(arena, cpu_bitmap_count(cpus) * sizeof(**ret));
	for (uint32_t cpu = 0; *ret && cpu < CPU_BITMAP_MAX; cpu++)
		if (cpu_bitmap_has(cpus, cpu))
			(*ret)[count++] = cpu;
	return count;
}

static void put_vms(const struct host_use *use, struct arena *arena, Axvm__V1__HostUse *message)
{
	message->vms = take(arena, use->vm_count * sizeof(Axvm__V1__VmUse *));
	for (size_t i = 0; message->vms && i < use->vm_count; i++) {
		const struct host_vm *from = &use->vms[i];
		Axvm__V1__VmUse *vm = take(arena, sizeof(*vm));

		if (!vm)
			return;
		axvm__v1__vm_use__init(vm);
		vm->id = use->vms[i].id;
		vm->has_pid = from->pid > 0;
		vm->pid = (uint32_t)from->pid;
		vm->n_pinned_cpus = put_list(arena, &from->threads.pinned, &vm->pinned_cpus);
		vm->n_shared_cpus = put_list(arena, &from->threads.free, &vm->shared_cpus);
		message->vms[message->n_vms++] = vm;
	}
}

int host_print_json(FILE *out, const struct host_use *use)
{
	Axvm__V1__HostUse message = AXVM__V1__HOST_USE__INIT;
	struct arena arena = { .size = json_size(use) };
	_cleanup_free_ char *folder = use->folder ? strdup(use->folder) : NULL;
	char error[512];

	arena.memory = calloc(1, arena.size);
	if (!arena.memory)
		return -ENOMEM;
	message.claims = folder;
	if (use->claims_error < 0) {
		(void)host_claims_error(use, error, sizeof(error));
		message.claims_error = error;
	}
	put_nodes(use, &arena, &message);
	put_cpus(use, &arena, &message);
	put_vms(use, &arena, &message);
	text_print_json(out, &message.base);
	free(arena.memory);
	return 0;
}
