/* SPDX-License-Identifier: MIT */
/* Placement of vCPUs and I/O threads, as far as it follows from the spec and the host alone.
 * host/ladder.c considers other VMs later, because what a guest sees must not depend on them.
 *
 * 1. Each guest node gets a host node: the one asked for; or that of its first pin; or for a
 *    DEDICATED VM the lowest that no other guest node has and that holds its vCPUs on whole cores
 *    and its memory. A VM that is not pinned gets a random one of those with enough memory,
 *    weighted by free memory. The VM's own number is the seed, so VMs spread over the nodes without
 *    knowing of each other.
 * 2. Inside a host node a DEDICATED VM's vCPUs take whole cores in order, and the threads of a core
 *    one after another, so neighbours in the guest are neighbours on a core. CPUs that a guest node
 *    took are not available to the next one.
 * 3. The I/O thread of a host node takes the best CPU there that no vCPU has: on a core without
 *    vCPUs; else the idle thread of a core; else it shares with the last vCPU. */
#include "host/placement.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct plan {
	const struct host_facts *facts;
	const struct placement_request *request;
	struct problems *problems;
	struct placement out;
	struct cpu_bitmap taken; /* host CPUs, by vCPUs */
	int error;
};

bool placement_usable(const struct host_cpu *cpu)
{
	return cpu && cpu->online && cpu->allowed;
}

bool placement_whole_core(const struct host_facts *facts, const struct host_cpu *cpu)
{
	for (size_t i = 0; i < cpu->sibling_count; i++)
		if (!placement_usable(facts_cpu(facts, cpu->siblings[i])))
			return false;
	return true;
}

static bool core_untouched(const struct plan *plan, const struct host_cpu *cpu)
{
	for (size_t i = 0; i < cpu->sibling_count; i++)
		if (cpu_bitmap_has(&plan->taken, cpu->siblings[i]))
			return false;
	return !cpu_bitmap_has(&plan->taken, cpu->id);
}

static uint32_t core_first(const struct host_cpu *cpu)
{
	return cpu->sibling_count > 0 ? cpu->siblings[0] : cpu->id;
}

struct ranked {
	uint64_t key;
	const struct host_cpu *cpu;
};

static int by_key(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* The CPUs of a host node (-1: of all) on whole cores without vCPUs, in their order: so a thread
 * that one guest node leaves idle on a core is never given to the next. Returns how many. */
static size_t candidates(const struct plan *plan, int32_t node, struct ranked *ret_list)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &plan->facts->cpus[i];

		if (!placement_usable(cpu) || (node >= 0 && cpu->node != node) ||
		    !placement_whole_core(plan->facts, cpu) || !core_untouched(plan, cpu))
			continue;
		ret_list[count++] = (struct ranked){
			.key = (uint64_t)core_first(cpu) << 20 | cpu->id,
			.cpu = cpu,
		};
	}
	qsort(ret_list, count, sizeof(*ret_list), by_key);
	return count;
}

static uint8_t guest_node_of(const struct placement_request *request, uint32_t vcpu)
{
	return request->vcpu_nodes
	               ? request->vcpu_nodes[vcpu]
	               : placement_dealt_node(vcpu, request->vcpus, request->node_count);
}

uint8_t placement_dealt_node(uint32_t vcpu, uint32_t vcpus, size_t nodes)
{
	return (uint8_t)((uint64_t)vcpu * nodes / vcpus);
}

/* --------------------------------------------------------------------------------------- nodes */

static uint32_t demand(const struct plan *plan, size_t guest_node)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < plan->request->vcpus; i++)
		count += guest_node_of(plan->request, i) == guest_node;
	return count;
}

static bool host_node_used(const struct plan *plan, int32_t host_node)
{
	for (size_t i = 0; i < plan->request->node_count; i++)
		if (plan->out.nodes[i].host_node == host_node)
			return true;
	return false;
}

static uint64_t room_mib(const struct plan *plan, const struct host_node *node)
{
	return host_node_room_mib(node, plan->request->page_kib);
}

/* How well a host node suits a guest node of a DEDICATED VM; larger is better, 0 is not at all. */
static uint32_t suitability(const struct plan *plan, const struct host_node *node,
                            size_t guest_node, uint32_t wanted)
{
	struct ranked list[FACTS_CPUS_MAX];
	size_t free_cpus = candidates(plan, (int32_t)node->id, list);
	uint64_t memory = plan->request->memory_mib[guest_node];

	if (!node->allowed)
		return 0;
	if (free_cpus >= wanted)
		return memory <= room_mib(plan, node) ? 0x40000000 : 0x20000000;
	return 1 + (uint32_t)free_cpus;
}

static int32_t choose_node(const struct plan *plan, size_t guest_node)
{
	uint32_t wanted = demand(plan, guest_node), best_score = 0;
	int32_t best = -1;

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < plan->facts->node_count; i++) {
			const struct host_node *node = &plan->facts->nodes[i];
			uint32_t score;

			/* Tries host nodes that no guest node has yet; then any. */
			if (host_node_used(plan, (int32_t)node->id) != (pass == 1))
				continue;
			score = suitability(plan, node, guest_node, wanted);
			/* Two guest nodes share a host node only if the first pass found no
			 * room. */
			if (score > best_score && (pass == 0 || best_score < 0x20000000)) {
				best_score = score;
				best = (int32_t)node->id;
			}
		}
	return best;
}

void placement_cpus(const struct host_facts *facts, int32_t host_node, struct cpu_bitmap *ret)
{
	struct cpu_bitmap near = { 0 }, all = { 0 };

	for (size_t i = 0; i < facts->cpu_count; i++)
		if (placement_usable(&facts->cpus[i])) {
			cpu_bitmap_add(&all, facts->cpus[i].id);
			if (facts->cpus[i].node == host_node)
				cpu_bitmap_add(&near, facts->cpus[i].id);
		}
	*ret = host_node >= 0 && cpu_bitmap_count(&near) > 0 ? near : all;
}

/* Whether a VM that is not pinned may be on a host node; the better tiers ask for more. */
enum tier { TIER_OWN_AND_MEMORY, TIER_MEMORY, TIER_OWN, TIER_ANY, TIER_SHORT_OF_CPUS, TIERS };

static bool suits(const struct plan *plan, const struct host_node *node, size_t guest_node,
                  enum tier tier)
{
	bool own = tier == TIER_OWN_AND_MEMORY || tier == TIER_OWN;
	bool memory = tier == TIER_OWN_AND_MEMORY || tier == TIER_MEMORY;
	struct cpu_bitmap cpus;
	uint32_t wanted = 0;

	if (!node->allowed || (own && host_node_used(plan, (int32_t)node->id)) ||
	    (memory && plan->request->memory_mib[guest_node] > room_mib(plan, node)))
		return false;
	for (size_t n = 0; n <= guest_node; n++)
		if (n == guest_node || plan->out.nodes[n].host_node == (int32_t)node->id)
			wanted += demand(plan, n);
	placement_cpus(plan->facts, (int32_t)node->id, &cpus);
	for (size_t i = 0; i < plan->facts->cpu_count; i++)
		if (cpu_bitmap_has(&cpus, plan->facts->cpus[i].id))
			return plan->facts->cpus[i].node == (int32_t)node->id &&
			       (plan->request->overcommit || tier == TIER_SHORT_OF_CPUS ||
			        cpu_bitmap_count(&cpus) >= wanted);
	return false;
}

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): the finalizer. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* A random node, weighted by free memory. */
static int32_t draw_node(const struct plan *plan, size_t guest_node)
{
	const struct host_facts *facts = plan->facts;

	for (enum tier tier = 0; tier < TIERS; tier++) {
		uint64_t tickets = 0, drawn;

		for (size_t i = 0; i < facts->node_count; i++)
			tickets += suits(plan, &facts->nodes[i], guest_node, tier)
			                   ? room_mib(plan, &facts->nodes[i]) + 1
			                   : 0;
		if (tickets == 0)
			continue;
		drawn = mix(plan->request->seed + guest_node) % tickets;
		for (size_t i = 0; i < facts->node_count; i++) {
			uint64_t own = room_mib(plan, &facts->nodes[i]) + 1;

			if (!suits(plan, &facts->nodes[i], guest_node, tier))
				continue;
			if (drawn < own)
				return (int32_t)facts->nodes[i].id;
			drawn -= own;
		}
	}
	return -1;
}

static void refuse(struct plan *plan, enum axvm_error_code code, const char *field,
                   const char *message)
{
	plan->error = problems_add(plan->problems, code,
	                           code == ERROR_CODE_SPEC_INVALID ? EINVAL : ENOSPC, field, "%s",
	                           message);
}

static void check_asked_node(struct plan *plan, size_t guest_node)
{
	char field[PROBLEM_FIELD_MAX], message[PROBLEM_MESSAGE_MAX];
	const struct host_node *node =
		facts_node(plan->facts, (uint32_t)plan->request->host_node[guest_node]);

	if (node && node->allowed)
		return;
	snprintf(field, sizeof(field), "memory.nodes[%zu].host_node", guest_node);
	snprintf(message, sizeof(message), "host node %d %s", plan->request->host_node[guest_node],
	         node ? "is outside the cpuset of this process: name another"
	              : "does not exist: name another");
	refuse(plan, ERROR_CODE_HOST_LIMIT, field, message);
}

/* ---------------------------------------------------------------------------------------- vCPUs */

void placement_put(struct placement *plan, uint32_t vcpu, const struct host_cpu *cpu)
{
	struct placement_vcpu *at = &plan->vcpus[vcpu];
	int32_t wanted = plan->nodes[at->guest_node].host_node;

	at->cpu = (int32_t)cpu->id;
	at->host_node = cpu->node;
	at->remote = wanted >= 0 && cpu->node != wanted;
	at->shared = false;
	for (uint32_t i = 0; i < plan->vcpu_count; i++)
		if (i != vcpu && plan->vcpus[i].cpu == at->cpu)
			plan->vcpus[i].shared = at->shared = true;
}

static void put(struct plan *plan, uint32_t vcpu, const struct host_cpu *cpu)
{
	placement_put(&plan->out, vcpu, cpu);
	cpu_bitmap_add(&plan->taken, cpu->id);
}

static void refuse_room(struct plan *plan, size_t guest_node, uint32_t wanted, size_t count)
{
	char message[PROBLEM_MESSAGE_MAX], where[32] = "this host";
	int32_t host_node = plan->out.nodes[guest_node].host_node;

	if (host_node >= 0)
		snprintf(where, sizeof(where), "host node %d", host_node);
	snprintf(message, sizeof(message),
	         "guest node %zu asks for %u %s on %s, where %zu %s free within the affinity and "
	         "cpuset of this process: ask for fewer, or start the shim with more",
	         guest_node, wanted, plan->request->dedicated ? "CPUs of whole cores" : "CPUs",
	         where, count, count == 1 ? "is" : "are");
	refuse(plan, ERROR_CODE_HOST_LIMIT,
	       plan->request->dedicated ? "cpus.tenancy" : "cpus.count", message);
}

static void place_dedicated(struct plan *plan, size_t guest_node)
{
	struct ranked list[FACTS_CPUS_MAX];
	size_t next = 0, count = candidates(plan, plan->out.nodes[guest_node].host_node, list);
	uint32_t wanted = demand(plan, guest_node);

	if (count < wanted) {
		refuse_room(plan, guest_node, wanted, count);
		return;
	}
	for (uint32_t i = 0; i < plan->request->vcpus; i++)
		if (plan->out.vcpus[i].guest_node == guest_node)
			put(plan, i, list[next++].cpu);
}

/* Binds vCPUs to the node and not to a CPU: guest nodes on one host node share its CPUs. */
static void place_unpinned(struct plan *plan, size_t guest_node)
{
	struct placement_node *node = &plan->out.nodes[guest_node];
	size_t count = cpu_bitmap_count(&node->cpus);
	uint32_t wanted = 0;

	for (size_t n = 0; n <= guest_node; n++)
		if (plan->out.nodes[n].host_node == node->host_node)
			wanted += demand(plan, n);
	if (count < wanted && (!plan->request->overcommit || count == 0))
		refuse_room(plan, guest_node, wanted, count);
	for (uint32_t i = 0; i < plan->request->vcpus; i++)
		if (plan->out.vcpus[i].guest_node == guest_node)
			plan->out.vcpus[i].host_node = node->host_node;
}

/* "0-3,8": the CPUs that a vCPU may be pinned to. */
static const char *list_usable(const struct host_facts *facts, char *to, size_t size)
{
	struct cpu_bitmap bitmap = { 0 };

	for (size_t i = 0; i < facts->cpu_count; i++)
		if (placement_usable(&facts->cpus[i]))
			cpu_bitmap_add(&bitmap, facts->cpus[i].id);
	return cpu_bitmap_format(&bitmap, to, size);
}

static void check_pin(struct plan *plan, uint32_t vcpu)
{
	uint32_t pin = plan->request->pins[vcpu];
	const struct host_cpu *cpu = facts_cpu(plan->facts, pin);
	char field[PROBLEM_FIELD_MAX], message[PROBLEM_MESSAGE_MAX], list[128];

	snprintf(field, sizeof(field), "cpus.pins[%u]", vcpu);
	if (!placement_usable(cpu)) {
		snprintf(message, sizeof(message), "host CPU %u %s; pin to CPUs of %s", pin,
		         !cpu           ? "does not exist"
		         : !cpu->online ? "is offline"
		                        : "is outside the affinity or cpuset of this process",
		         list_usable(plan->facts, list, sizeof(list)));
		refuse(plan, ERROR_CODE_HOST_LIMIT, field, message);
		return;
	}
	if (cpu_bitmap_has(&plan->taken, pin) &&
	    (plan->request->dedicated || !plan->request->overcommit)) {
		snprintf(message, sizeof(message),
		         "host CPU %u is there twice: give each vCPU its own, or set overcommit",
		         pin);
		refuse(plan, ERROR_CODE_SPEC_INVALID, field, message);
		return;
	}
	if (plan->request->dedicated && !placement_whole_core(plan->facts, cpu)) {
		snprintf(
			message, sizeof(message),
			"a dedicated VM needs every thread of host CPU %u's core; one is offline or outside "
			"the affinity of this process: pin to another core",
			pin);
		refuse(plan, ERROR_CODE_HOST_LIMIT, field, message);
		return;
	}
	put(plan, vcpu, cpu);
}

/* A guest node for which the spec names no host node follows its first pin. */
static void follow_pins(struct plan *plan)
{
	for (uint32_t i = 0; i < plan->request->vcpus; i++) {
		struct placement_node *node = &plan->out.nodes[guest_node_of(plan->request, i)];
		const struct host_cpu *cpu = facts_cpu(plan->facts, plan->request->pins[i]);

		if (node->host_node < 0 && cpu) {
			node->host_node = cpu->node;
			node->said = true;
		}
	}
}

/* -------------------------------------------------------------------------------------- threads */

/* Rank of a CPU for the I/O thread of a host node: 3 a core without vCPUs, 2 an idle thread beside
 * a vCPU, 1 a vCPU's own CPU. */
static int io_rank(const struct plan *plan, const struct host_cpu *cpu)
{
	if (cpu_bitmap_has(&plan->taken, cpu->id))
		return 1;
	return core_untouched(plan, cpu) ? 3 : 2;
}

/* An unused CPU is better than one that has an I/O thread already, and that one is better than a
 * vCPU's. If several are equal for a VM that is pinned by hand, the VM's number chooses, because
 * other VMs' I/O threads are probably nearby and it is unknown where. `near`: only CPUs of this
 * host node. */
static const struct host_cpu *io_cpu_for(const struct plan *plan, const struct cpu_bitmap *given,
                                         int host_node, bool near)
{
	const struct host_cpu *best[FACTS_CPUS_MAX];
	size_t count = 0;
	int best_rank = 0;

	for (size_t i = 0; i < plan->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &plan->facts->cpus[i];
		int rank = io_rank(plan, cpu) * 2 - 3 * cpu_bitmap_has(given, cpu->id);

		if (!placement_usable(cpu) || (near && cpu->node != host_node))
			continue;
		if (count == 0 || rank > best_rank) {
			best_rank = rank;
			count = 0;
		}
		if (rank == best_rank)
			best[count++] = cpu;
	}
	if (count == 0)
		return NULL;
	if (plan->out.by_hand && best_rank > 2)
		return best[mix(plan->request->seed) % count];
	return best[best_rank > 2 ? 0 : count - 1];
}

/* The first thread of each node, then the second of each. */
static void place_io(struct plan *plan)
{
	struct cpu_bitmap given = { 0 };
	const size_t nodes = plan->out.node_count;

	for (size_t i = 0; i < nodes * plan->request->io_threads; i++) {
		struct placement_node *node = &plan->out.nodes[i % nodes];
		const struct host_cpu *cpu =
			io_cpu_for(plan, &given, node->host_node, node->host_node >= 0);

		/* The node has no usable CPU: take any other node's. */
		if (!cpu)
			cpu = io_cpu_for(plan, &given, -1, false);
		if (!cpu)
			continue;
		node->io[i / nodes].cpu = (int32_t)cpu->id;
		node->io[i / nodes].shared = cpu_bitmap_has(&plan->taken, cpu->id);
		cpu_bitmap_add(&given, cpu->id);
	}
}

static int check_request(struct plan *plan)
{
	const struct placement_request *request = plan->request;

	if (request->vcpus == 0 || request->vcpus > PLACEMENT_VCPUS_MAX)
		refuse(plan, ERROR_CODE_SPEC_INVALID, "cpus.count", "must be 1 to 255");
	if (request->node_count == 0 || request->node_count > PLACEMENT_NODES_MAX)
		refuse(plan, ERROR_CODE_SPEC_INVALID, "memory.nodes", "must be 1 to 8");
	if (request->io_threads > PLACEMENT_IO_MAX)
		refuse(plan, ERROR_CODE_SPEC_INVALID, "io.threads_per_node", "must be at most 16");
	if (request->pin_count != 0 && request->pin_count != request->vcpus)
		refuse(plan, ERROR_CODE_SPEC_INVALID, "cpus.pins",
		       "must be absent or one for each vCPU");
	for (uint32_t i = 0; plan->error == 0 && request->vcpu_nodes && i < request->vcpus; i++)
		if (request->vcpu_nodes[i] >= request->node_count) {
			char field[PROBLEM_FIELD_MAX];

			snprintf(field, sizeof(field), "cpus.nodes[%u]", i);
			refuse(plan, ERROR_CODE_SPEC_INVALID, field,
			       "names a guest node that memory.nodes does not have");
		}
	return plan->error;
}

static void begin(struct plan *plan)
{
	const struct placement_request *request = plan->request;
	struct placement *out = &plan->out;

	out->vcpu_count = request->vcpus;
	out->by_hand = request->pin_count > 0;
	out->pinned = out->by_hand || request->dedicated;
	for (uint32_t i = 0; i < request->vcpus; i++) {
		out->vcpus[i].guest_node = guest_node_of(request, i);
		out->vcpus[i].cpu = PLACEMENT_UNPINNED;
		out->vcpus[i].host_node = -1;
	}
	out->node_count = request->node_count;
	for (size_t n = 0; n < request->node_count; n++) {
		out->nodes[n].host_node = request->host_node[n];
		out->nodes[n].chosen = request->host_node[n] < 0;
		out->nodes[n].said = request->host_node[n] >= 0;
		for (size_t i = 0; i < PLACEMENT_IO_MAX; i++)
			out->nodes[n].io[i].cpu = PLACEMENT_UNPINNED;
		if (request->host_node[n] >= 0)
			check_asked_node(plan, n);
	}
}

int placement_plan(const struct host_facts *facts, const struct placement_request *request,
                   struct placement *ret, struct problems *problems)
{
	struct plan plan = { .facts = facts, .request = request, .problems = problems };

	if (check_request(&plan) < 0)
		return plan.error;
	begin(&plan);
	if (plan.out.by_hand) {
		follow_pins(&plan);
		for (uint32_t i = 0; i < request->vcpus; i++)
			check_pin(&plan, i);
	}
	for (size_t n = 0; n < request->node_count; n++) {
		struct placement_node *node = &plan.out.nodes[n];

		if (node->host_node < 0)
			node->host_node =
				request->dedicated ? choose_node(&plan, n) : draw_node(&plan, n);
		placement_cpus(facts, node->host_node, &node->cpus);
		if (!plan.out.pinned)
			place_unpinned(&plan, n);
		else if (!plan.out.by_hand)
			place_dedicated(&plan, n);
	}
	if (plan.error < 0)
		return plan.error;
	if (plan.out.pinned)
		place_io(&plan);
	*ret = plan.out;
	return 0;
}
