/* SPDX-License-Identifier: MIT */
/* Placement of vCPUs and I/O threads.
 *
 * 1. Each guest node gets a host node: the one asked for; or the lowest that no other guest node
 * has and that holds its vCPUs on whole cores and its memory; or the lowest that holds its vCPUs at
 * all; or, when overcommit is allowed, the one with most CPUs.
 * 2. Inside a host node CPUs are ordered: cores of which every thread is usable first, then by core
 *    (lowest CPU number of it), then by thread. vCPUs take them in that order, so neighbours in the
 *    guest are neighbours on a core. What a guest node took is gone for the next one.
 * 3. The I/O thread of a host node takes the best CPU there that no vCPU has: on a core without
 * vCPUs; else the idle thread of a core; else it shares with the last vCPU.
 */
#include "host/placement.h"

#include "host/cpulist.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct plan {
	const struct host_facts *facts;
	const struct placement_request *request;
	struct problems *problems;
	struct placement out;
	struct cpu_bitmap placed; /* vCPUs */
	struct cpu_bitmap taken;  /* host CPUs, by vCPUs */
	int error;
};

static bool usable(const struct host_cpu *cpu)
{
	return cpu && cpu->online && cpu->allowed;
}

/* Whether every thread of the CPU's core may be used by this process. */
static bool whole_core(const struct host_facts *facts, const struct host_cpu *cpu)
{
	for (size_t i = 0; i < cpu->sibling_count; i++)
		if (!usable(facts_cpu(facts, cpu->siblings[i])))
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

/* Free CPUs of a host node (-1: of all) in the order of preference; *ret_whole of them, the first
 * ones, are on cores that are whole and untouched. A dedicated VM has no others, and so the thread
 * that one guest node leaves idle on a core is never given to the next. Returns how many. */
static size_t candidates(const struct plan *plan, int32_t node, struct ranked *ret_list,
                         size_t *ret_whole)
{
	size_t count = 0, wholes = 0;

	for (size_t i = 0; i < plan->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &plan->facts->cpus[i];
		bool whole;

		if (!usable(cpu) || (node >= 0 && cpu->node != node) ||
		    cpu_bitmap_has(&plan->taken, cpu->id))
			continue;
		whole = whole_core(plan->facts, cpu) && core_untouched(plan, cpu);
		if (!whole && plan->request->dedicated)
			continue;
		ret_list[count++] = (struct ranked){
			.key = (uint64_t)!whole << 40 | (uint64_t)core_first(cpu) << 20 | cpu->id,
			.cpu = cpu,
		};
		wholes += whole;
	}
	qsort(ret_list, count, sizeof(*ret_list), by_key);
	*ret_whole = wholes;
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

/* How well a host node suits a guest node; larger is better, 0 is not at all. */
static uint32_t suitability(const struct plan *plan, const struct host_node *node,
                            size_t guest_node, uint32_t wanted)
{
	struct ranked list[FACTS_CPUS_MAX];
	size_t whole = 0, usable_cpus = 0;
	size_t free_cpus = candidates(plan, (int32_t)node->id, list, &whole);
	uint64_t memory = plan->request->memory_mib[guest_node];
	bool fits_memory = memory == 0 || memory <= node->free_mib;

	for (size_t i = 0; i < plan->facts->cpu_count; i++)
		usable_cpus += usable(&plan->facts->cpus[i]) &&
		               plan->facts->cpus[i].node == (int32_t)node->id;
	if (!node->allowed || (usable_cpus == 0 && wanted > 0))
		return 0;
	if (whole >= wanted)
		return fits_memory ? 0x40000000 : 0x20000000;
	if (free_cpus >= wanted)
		return fits_memory ? 0x30000000 : 0x10000000;
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

			/* First host nodes that no guest node has yet; then any. */
			if (host_node_used(plan, (int32_t)node->id) != (pass == 1))
				continue;
			score = suitability(plan, node, guest_node, wanted);
			/* A second guest node moves in only where the first pass found no room. */
			if (score > best_score && (pass == 0 || best_score < 0x10000000)) {
				best_score = score;
				best = (int32_t)node->id;
			}
		}
	return best;
}

static void refuse(struct plan *plan, enum problem_code code, const char *field,
                   const char *message)
{
	plan->error =
		problems_add(plan->problems, code, code == PROBLEM_SPEC_INVALID ? EINVAL : ENOSPC,
	                     field, "%s", message);
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
	         node ? "is outside the cpuset of this process" : "does not exist");
	refuse(plan, PROBLEM_HOST_LIMIT, field, message);
}

/* ---------------------------------------------------------------------------------------- vCPUs */

static void put(struct plan *plan, uint32_t vcpu, const struct host_cpu *cpu)
{
	struct placement_vcpu *at = &plan->out.vcpus[vcpu];
	uint8_t guest_node = guest_node_of(plan->request, vcpu);
	int32_t wanted = plan->out.nodes[guest_node].host_node;

	*at = (struct placement_vcpu){
		.cpu = cpu->id,
		.guest_node = guest_node,
		.host_node = cpu->node,
		.shared = cpu_bitmap_has(&plan->taken, cpu->id),
		.remote = wanted >= 0 && cpu->node != wanted,
	};
	/* Of those that share a CPU, the first learns of it when the second comes. */
	for (uint32_t i = 0; at->shared && i < PLACEMENT_VCPUS_MAX; i++)
		if (cpu_bitmap_has(&plan->placed, i) && plan->out.vcpus[i].cpu == cpu->id)
			plan->out.vcpus[i].shared = true;
	cpu_bitmap_add(&plan->placed, vcpu);
	cpu_bitmap_add(&plan->taken, cpu->id);
}

/* More vCPUs than CPUs: round robin over all usable CPUs of the node, free or not. */
static bool share_cpus(struct plan *plan, size_t guest_node, int32_t host_node)
{
	const struct host_cpu *list[FACTS_CPUS_MAX];
	size_t count = 0, next = 0;

	for (size_t i = 0; i < plan->facts->cpu_count; i++)
		if (usable(&plan->facts->cpus[i]) &&
		    (host_node < 0 || plan->facts->cpus[i].node == host_node))
			list[count++] = &plan->facts->cpus[i];
	for (uint32_t i = 0; i < plan->request->vcpus && count > 0; i++)
		if (guest_node_of(plan->request, i) == guest_node)
			put(plan, i, list[next++ % count]);
	return count > 0;
}

static void place_node(struct plan *plan, size_t guest_node)
{
	struct ranked list[FACTS_CPUS_MAX];
	int32_t host_node = plan->out.nodes[guest_node].host_node;
	uint32_t wanted = demand(plan, guest_node);
	size_t whole, next = 0, count = candidates(plan, host_node, list, &whole);
	char message[PROBLEM_MESSAGE_MAX], where[32] = "this host";

	if (count >= wanted) {
		for (uint32_t i = 0; i < plan->request->vcpus; i++)
			if (guest_node_of(plan->request, i) == guest_node)
				put(plan, i, list[next++].cpu);
		return;
	}
	if (plan->request->overcommit && !plan->request->dedicated &&
	    share_cpus(plan, guest_node, host_node))
		return;
	if (host_node >= 0)
		snprintf(where, sizeof(where), "host node %d", host_node);
	snprintf(message, sizeof(message),
	         "guest node %zu asks for %u %s on %s, where %zu %s free within the affinity and "
	         "cpuset "
	         "of this process",
	         guest_node, wanted, plan->request->dedicated ? "CPUs of whole cores" : "CPUs",
	         where, count, count == 1 ? "is" : "are");
	refuse(plan, PROBLEM_HOST_LIMIT, plan->request->dedicated ? "cpus.tenancy" : "cpus.count",
	       message);
}

/* "0-3,8": those that a vCPU may be pinned to. */
static const char *list_usable(const struct host_facts *facts, char *to, size_t size)
{
	struct cpu_bitmap bitmap = { 0 };

	for (size_t i = 0; i < facts->cpu_count; i++)
		if (usable(&facts->cpus[i]))
			cpu_bitmap_add(&bitmap, facts->cpus[i].id);
	return cpu_bitmap_format(&bitmap, to, size);
}

static void check_pin(struct plan *plan, uint32_t vcpu)
{
	uint32_t pin = plan->request->pins[vcpu];
	const struct host_cpu *cpu = facts_cpu(plan->facts, pin);
	char field[PROBLEM_FIELD_MAX], message[PROBLEM_MESSAGE_MAX], list[128];

	snprintf(field, sizeof(field), "cpus.pins[%u]", vcpu);
	if (!usable(cpu)) {
		snprintf(message, sizeof(message), "host CPU %u %s; pin to CPUs of %s", pin,
		         !cpu           ? "does not exist"
		         : !cpu->online ? "is offline"
		                        : "is outside the affinity or cpuset of this process",
		         list_usable(plan->facts, list, sizeof(list)));
		refuse(plan, PROBLEM_HOST_LIMIT, field, message);
		return;
	}
	if (cpu_bitmap_has(&plan->taken, pin)) {
		snprintf(message, sizeof(message), "host CPU %u is there twice", pin);
		refuse(plan, PROBLEM_SPEC_INVALID, field, message);
		return;
	}
	if (plan->request->dedicated && !whole_core(plan->facts, cpu)) {
		snprintf(message, sizeof(message),
		         "a dedicated VM needs every thread of host CPU %u's core; one is offline "
		         "or "
		         "outside the affinity of this process",
		         pin);
		refuse(plan, PROBLEM_HOST_LIMIT, field, message);
		return;
	}
	put(plan, vcpu, cpu);
}

/* A guest node whose host node was left open follows its first pin. */
static void follow_pins(struct plan *plan)
{
	for (uint32_t i = 0; i < plan->request->vcpus; i++) {
		struct placement_node *node = &plan->out.nodes[guest_node_of(plan->request, i)];
		const struct host_cpu *cpu = facts_cpu(plan->facts, plan->request->pins[i]);

		if (node->host_node < 0 && cpu)
			node->host_node = cpu->node;
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

/* A CPU of its own is better than one that has an I/O thread already; that is still better than a
 * vCPU's. `near`: of this host node alone. */
static const struct host_cpu *io_cpu_for(const struct plan *plan, const struct cpu_bitmap *given,
                                         int host_node, bool near)
{
	const struct host_cpu *best = NULL;
	int best_rank = 0;

	for (size_t i = 0; i < plan->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &plan->facts->cpus[i];
		int rank = io_rank(plan, cpu) * 2 - 3 * cpu_bitmap_has(given, cpu->id);

		if (!usable(cpu) || (near && cpu->node != host_node))
			continue;
		if (!best || rank > best_rank || (rank == best_rank && rank <= 2)) {
			best_rank = rank;
			best = cpu;
		}
	}
	return best;
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

		/* A node without a usable CPU: any other's. */
		if (!cpu)
			cpu = io_cpu_for(plan, &given, -1, false);
		if (!cpu)
			continue;
		node->io[i / nodes].cpu = cpu->id;
		node->io[i / nodes].shared = cpu_bitmap_has(&plan->taken, cpu->id);
		cpu_bitmap_add(&given, cpu->id);
	}
}

static int check_request(struct plan *plan)
{
	const struct placement_request *request = plan->request;

	if (request->vcpus == 0 || request->vcpus > PLACEMENT_VCPUS_MAX)
		refuse(plan, PROBLEM_SPEC_INVALID, "cpus.count", "must be 1 to 255");
	if (request->node_count == 0 || request->node_count > PLACEMENT_NODES_MAX)
		refuse(plan, PROBLEM_SPEC_INVALID, "memory.nodes", "must be 1 to 8");
	if (request->io_threads > PLACEMENT_IO_MAX)
		refuse(plan, PROBLEM_SPEC_INVALID, "io.threads_per_node", "must be at most 16");
	if (request->pin_count != 0 && request->pin_count != request->vcpus)
		refuse(plan, PROBLEM_SPEC_INVALID, "cpus.pins",
		       "must be absent or one for each vCPU");
	for (uint32_t i = 0; plan->error == 0 && request->vcpu_nodes && i < request->vcpus; i++)
		if (request->vcpu_nodes[i] >= request->node_count) {
			char field[PROBLEM_FIELD_MAX];

			snprintf(field, sizeof(field), "cpus.nodes[%u]", i);
			refuse(plan, PROBLEM_SPEC_INVALID, field, "there is no such guest node");
		}
	return plan->error;
}

int placement_plan(const struct host_facts *facts, const struct placement_request *request,
                   struct placement *ret, struct problems *problems)
{
	struct plan plan = { .facts = facts, .request = request, .problems = problems };

	if (check_request(&plan) < 0)
		return plan.error;
	plan.out.node_count = request->node_count;
	for (size_t n = 0; n < request->node_count; n++) {
		plan.out.nodes[n].host_node = request->host_node[n];
		plan.out.nodes[n].chosen = request->host_node[n] < 0;
		if (request->host_node[n] >= 0)
			check_asked_node(&plan, n);
	}
	if (request->pin_count > 0) {
		follow_pins(&plan);
		for (uint32_t i = 0; i < request->vcpus; i++)
			check_pin(&plan, i);
	}
	for (size_t n = 0; n < request->node_count; n++) {
		if (plan.out.nodes[n].host_node < 0)
			plan.out.nodes[n].host_node = choose_node(&plan, n);
		if (request->pin_count == 0)
			place_node(&plan, n);
	}
	if (plan.error < 0)
		return plan.error;
	plan.out.vcpu_count = request->vcpus;
	place_io(&plan);
	*ret = plan.out;
	return 0;
}

bool placement_owns(const struct host_facts *facts, const struct placement *plan, bool dedicated,
                    uint32_t cpu)
{
	const struct host_cpu *host_cpu = facts_cpu(facts, cpu);

	for (uint32_t i = 0; i < plan->vcpu_count; i++) {
		if (plan->vcpus[i].cpu == cpu)
			return true;
		for (size_t k = 0; dedicated && host_cpu && k < host_cpu->sibling_count; k++)
			if (plan->vcpus[i].cpu == host_cpu->siblings[k])
				return true;
	}
	return false;
}
