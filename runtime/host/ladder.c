/* SPDX-License-Identifier: MIT */
/* The ladder: which of the host's CPUs a VM claims.
 *
 * The CPUs that a guest node may have are in one order: they alternate between nodes, first threads
 * of whole cores come before second threads, and cores are in ascending order. Slot 0 of each is
 * tried in that order, then slot 1 of each, and so on, and the first lock that succeeds is a claim.
 * No launch counts claims or waits for another: the kernel decides between two launches slot by
 * slot, and the CPU with the fewest claims has the lowest free slot. A guest node's vCPUs go to one
 * host node: the ladder gathers claims for all host nodes at once, the first host node with enough
 * claims gets the guest node, and the claims gathered for the others are dropped.
 *
 * A DEDICATED VM does not go slot by slot: it locks all slots of each thread of a core, which fails
 * while another VM has one. Cores are tried in the same order. Another launch may hold a core only
 * while it gathers its own, so a refusal is tried again a few times. */
#include "host/ladder.h"

#include "host/ladder_parts.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATIENCE 5       /* looks at a host that seems full, a millisecond apart and more */
#define PATIENCE_MS 1000 /* for all that is tried; a host of 2,000 VMs takes some 3 */

static const char *list_whole(const struct ladder *ladder, char *to, size_t size)
{
	return cpu_bitmap_count(&ladder->whole) > 0 ? cpu_bitmap_format(&ladder->whole, to, size)
	                                            : "none";
}

/* Refuses a launch because of the folder: something is wrong with it, or this VM may not use it. */
static void refuse_folder(struct ladder *ladder, int error, uint32_t cpu)
{
	if (ladder->error < 0)
		return;
	ladder->error = problems_add(ladder->problems, ERROR_CODE_RESOURCE_UNREADABLE, -error,
	                             "cpus.claims", "CPU %u cannot be claimed: %s: %s", cpu,
	                             error == -EMEDIUMTYPE ? "its file is no regular file"
	                                                   : errno_text(-error),
	                             error == -EMEDIUMTYPE ? "remove it"
	                                                   : "run the VM as a member of the "
	                                                     "folder's group, or without claims");
}

/* Each try walks a list of locks that anybody who can write to the folder can make long. The kernel
 * walks it in this thread's CPU time, so the limit is on that time: a host that stalls is no reason
 * to give up. */
static bool in_time(struct ladder *ladder)
{
	if (ladder->error == 0 && clock_ns(CLOCK_THREAD_CPUTIME_ID) > ladder->deadline_ns)
		ladder->error = problems_add(
			ladder->problems, ERROR_CODE_PLACEMENT_FAILED, ETIMEDOUT, "cpus.claims",
			"the claims of this host are too many to look through in %d ms: see who has so many locks in "
			"the folder (/proc/locks), or launch without claims",
			PATIENCE_MS);
	return ladder->error == 0;
}

int ladder_take(struct ladder *ladder, uint32_t cpu, enum claims_range range, uint32_t slot)
{
	int r;

	if (!in_time(ladder))
		return -EAGAIN;
	r = slot < ladder->past[range][cpu] ? -EAGAIN
	                                    : claims_take(ladder->claims, cpu, range, slot);

	if (r < 0 && r != -EAGAIN)
		refuse_folder(ladder, r, cpu);
	return r;
}

/* Claims a core for a DEDICATED VM: every thread of it or none. */
static int take_core(struct ladder *ladder, const struct host_cpu *core)
{
	const size_t count = MAX(core->sibling_count, (uint8_t)1);

	for (size_t i = 0; i < count && in_time(ladder); i++) {
		uint32_t cpu = core->sibling_count > 0 ? core->siblings[i] : core->id;
		int r = claims_take_whole(ladder->claims, cpu);

		if (r == 0)
			continue;
		if (r == -EAGAIN)
			cpu_bitmap_add(&ladder->whole, cpu);
		else
			refuse_folder(ladder, r, cpu);
		while (i-- > 0)
			claims_drop_whole(ladder->claims, core->siblings[i]);
		return r;
	}
	return ladder->error;
}

static void drop_core(struct ladder *ladder, const struct host_cpu *core)
{
	for (size_t i = 0; i < core->sibling_count; i++)
		claims_drop_whole(ladder->claims, core->siblings[i]);
	if (core->sibling_count == 0)
		claims_drop_whole(ladder->claims, core->id);
}

/* --------------------------------------------------------------------------------------- order */

static int by_key(const void *a, const void *b)
{
	const struct rung *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* The position of a CPU among the usable threads of its core; 0: the first. */
static uint32_t thread_of(const struct ladder *ladder, const struct host_cpu *cpu)
{
	uint32_t thread = 0;

	for (size_t i = 0; i < cpu->sibling_count && cpu->siblings[i] != cpu->id; i++)
		thread += placement_usable(facts_cpu(ladder->facts, cpu->siblings[i]));
	return thread;
}

static void add_rung(struct ladder *ladder, const struct host_cpu *cpu, size_t hand)
{
	bool whole = placement_whole_core(ladder->facts, cpu);
	uint64_t thread = thread_of(ladder, cpu);

	bool own = ladder->past[CLAIMS_VCPU][cpu->id] > 0;

	if (!placement_usable(cpu) || (ladder->request->dedicated && (!whole || thread > 0)))
		return;
	/* Another guest node of this VM has it already. */
	if (own && (ladder->request->dedicated || !ladder->request->overcommit))
		return;
	ladder->rungs[ladder->rung_count++] = (struct rung){
		.key = (2 * thread + !whole) << 40 | (uint64_t)ladder->hands[hand].live++ << 20 |
		       hand,
		.cpu = cpu,
		.hand = (uint16_t)hand,
	};
}

/* Sorts the rungs of all hands. Within a node CPUs are numbered in their order, thread by thread;
 * CPUs with the same number in different nodes follow one another. */
static void set_up(struct ladder *ladder)
{
	ladder->rung_count = ladder->got_count = 0;
	for (size_t h = 0; h < ladder->hand_count; h++) {
		struct cpu_bitmap cpus;

		placement_cpus(ladder->facts, ladder->hands[h].node, &cpus);
		ladder->hands[h].live = ladder->hands[h].got = 0;
		for (size_t i = 0; i < ladder->facts->cpu_count; i++)
			if (cpu_bitmap_has(&cpus, ladder->facts->cpus[i].id))
				add_rung(ladder, &ladder->facts->cpus[i], h);
	}
	qsort(ladder->rungs, ladder->rung_count, sizeof(ladder->rungs[0]), by_key);
}

/* ------------------------------------------------------------------------------------- climbing */

static void give_back(struct ladder *ladder, int except)
{
	for (size_t i = 0; i < ladder->got_count; i++) {
		const struct rung *rung = &ladder->rungs[ladder->got[i].rung];

		if (rung->hand == except)
			continue;
		if (ladder->request->dedicated)
			drop_core(ladder, rung->cpu);
		else
			claims_drop(ladder->claims, rung->cpu->id, CLAIMS_VCPU,
			            ladder->got[i].slot);
	}
}

static void note(struct ladder *ladder, size_t rung, uint32_t slot)
{
	ladder->got[ladder->got_count].rung = (uint16_t)rung;
	ladder->got[ladder->got_count++].slot = (uint16_t)slot;
	ladder->rungs[rung].got++;
	ladder->hands[ladder->rungs[rung].hand].got++;
}

/* Whether a host node can still get `wanted` vCPUs, and how many of them on one CPU. */
static uint32_t times_each(const struct ladder *ladder, const struct hand *hand, uint32_t wanted)
{
	if (hand->live == 0 || (!ladder->request->overcommit && hand->live < wanted))
		return 0;
	return (wanted + hand->live - 1) / hand->live;
}

static bool hopeful(const struct ladder *ladder, uint32_t wanted)
{
	for (size_t h = 0; h < ladder->hand_count; h++)
		if (times_each(ladder, &ladder->hands[h], wanted) > 0)
			return true;
	return false;
}

/* Claims slots on the least claimed CPUs; returns the first hand that has `wanted`, or -1. */
static int climb(struct ladder *ladder, uint32_t wanted)
{
	for (uint32_t slot = 0; slot < CLAIMS_LEVELS_MAX && hopeful(ladder, wanted); slot++)
		for (size_t i = 0; i < ladder->rung_count; i++) {
			struct rung *rung = &ladder->rungs[i];
			struct hand *hand = &ladder->hands[rung->hand];

			if (rung->gone || rung->got >= times_each(ladder, hand, wanted))
				continue;
			if (ladder_take(ladder, rung->cpu->id, CLAIMS_VCPU, slot) == 0) {
				note(ladder, i, slot);
				if (hand->got == wanted)
					return rung->hand;
			} else if (slot == 0 && claims_whole(ladder->claims, rung->cpu->id)) {
				rung->gone = true;
				hand->live--;
				cpu_bitmap_add(&ladder->whole, rung->cpu->id);
			}
			if (ladder->error < 0)
				return -1;
		}
	return -1;
}

/* How many vCPUs each of the plan's cores of a guest node has, in order. The guest sees this
 * topology. */
static size_t planned_cores(const struct ladder *ladder, size_t guest_node, uint8_t *ret_vcpus)
{
	size_t count = 0;

	for (uint32_t i = 0; i < ladder->planned.vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &ladder->planned.vcpus[i];

		if (vcpu->guest_node != guest_node)
			continue;
		if (count == 0 ||
		    thread_of(ladder, facts_cpu(ladder->facts, (uint32_t)vcpu->cpu)) == 0)
			ret_vcpus[count++] = 0;
		ret_vcpus[count - 1]++;
	}
	return count;
}

/* Claims cores on which no VM has a claim; returns the first hand that has enough, or -1. */
static int gather_cores(struct ladder *ladder, const uint8_t *vcpus, size_t wanted)
{
	for (size_t i = 0; i < ladder->rung_count; i++) {
		struct rung *rung = &ladder->rungs[i];
		struct hand *hand = &ladder->hands[rung->hand];

		if (MAX(rung->cpu->sibling_count, (uint8_t)1) < vcpus[hand->got])
			continue;
		if (take_core(ladder, rung->cpu) == 0) {
			note(ladder, i, 0);
			if (hand->got == wanted)
				return rung->hand;
		} else if (ladder->error < 0) {
			return -1;
		}
	}
	return -1;
}

/* ---------------------------------------------------------------------------------- guest nodes */

static bool taken_by_guest(const struct ladder *ladder, int32_t host_node, size_t guest_node)
{
	for (size_t n = 0; n < ladder->plan->node_count; n++)
		if (ladder->plan->nodes[n].host_node == host_node &&
		    (n < guest_node || ladder->request->host_node[n] >= 0))
			return true;
	return false;
}

/* Whether this process may use a CPU of the node. If the spec asks for a node without one, all
 * other CPUs are used. */
static bool has_cpus(const struct host_facts *facts, const struct host_node *node)
{
	for (size_t i = 0; i < facts->cpu_count; i++)
		if (facts->cpus[i].node == (int32_t)node->id && placement_usable(&facts->cpus[i]))
			return true;
	return false;
}

/* The host nodes to be considered for a guest node; `own`: only those that no other guest node of
 * this VM has; `memory`: only those that have enough memory, which is then claimed. */
static void deal_hands(struct ladder *ladder, size_t guest_node, bool own, bool memory)
{
	const struct host_facts *facts = ladder->facts;
	int asked = ladder->request->host_node[guest_node];

	ladder->hand_count = 0;
	if (facts->node_count == 0 && !own && !memory)
		ladder->hands[ladder->hand_count++] = (struct hand){ .node = -1 };
	for (size_t i = 0; i < facts->node_count; i++) {
		const struct host_node *node = &facts->nodes[i];
		struct hand hand = { .node = (int32_t)node->id, .has_memory = memory };
		uint64_t room = host_node_room_mib(node, ladder->request->page_kib);

		if (!node->allowed || (asked >= 0 ? asked != hand.node : !has_cpus(facts, node)) ||
		    (own && taken_by_guest(ladder, hand.node, guest_node)))
			continue;
		if (memory && claims_take_memory(ladder->claims, node->id,
		                                 ladder->request->memory_mib[guest_node], room,
		                                 &hand.memory_slot) < 0)
			continue;
		ladder->hands[ladder->hand_count++] = hand;
	}
}

static void fold_hands(struct ladder *ladder, size_t guest_node, int winner)
{
	for (size_t h = 0; h < ladder->hand_count; h++)
		if ((int)h != winner && ladder->hands[h].has_memory)
			claims_drop_memory(ladder->claims, (uint32_t)ladder->hands[h].node,
			                   ladder->request->memory_mib[guest_node],
			                   ladder->hands[h].memory_slot);
	give_back(ladder, winner);
}

/* Another guest node of this VM must not use them. */
static void mark_past(struct ladder *ladder, int winner)
{
	for (size_t i = 0; i < ladder->got_count; i++) {
		const struct rung *rung = &ladder->rungs[ladder->got[i].rung];

		if (rung->hand == winner)
			ladder->past[CLAIMS_VCPU][rung->cpu->id] = ladder->got[i].slot + 1;
	}
}

/* Puts the vCPUs on the claims of the winning hand, in the order of claiming. */
static const struct host_cpu *next_of(const struct ladder *ladder, int winner, size_t *at)
{
	while (*at < ladder->got_count) {
		const struct rung *rung = &ladder->rungs[ladder->got[(*at)++].rung];

		if (rung->hand == winner)
			return rung->cpu;
	}
	return NULL;
}

static void settle(struct ladder *ladder, size_t guest_node, int winner)
{
	struct placement_node *node = &ladder->plan->nodes[guest_node];
	const struct host_cpu *cpu = NULL;
	size_t at = 0;

	mark_past(ladder, winner);
	node->host_node = ladder->hands[winner].node;
	placement_cpus(ladder->facts, node->host_node, &node->cpus);
	for (uint32_t i = 0; i < ladder->plan->vcpu_count; i++) {
		const struct placement_vcpu *planned = &ladder->planned.vcpus[i];
		uint32_t thread = 0;

		if (planned->guest_node != guest_node)
			continue;
		if (ladder->request->dedicated)
			thread =
				thread_of(ladder, facts_cpu(ladder->facts, (uint32_t)planned->cpu));
		if (!cpu || thread == 0)
			cpu = next_of(ladder, winner, &at);
		placement_put(ladder->plan, i,
		              thread == 0 ? cpu : facts_cpu(ladder->facts, cpu->siblings[thread]));
	}
}

/* Tries once to claim the CPUs of a guest node; returns whether it has them. */
static bool try_guest_node(struct ladder *ladder, size_t guest_node)
{
	static const struct {
		bool own, memory;
	} tiers[] = {
		{ true, true },
		{ false, true },
		{ true, false },
		{ false, false },
	};
	const bool asked = ladder->request->host_node[guest_node] >= 0;
	uint8_t vcpus[PLACEMENT_VCPUS_MAX];
	uint32_t wanted = 0;

	for (uint32_t i = 0; i < ladder->plan->vcpu_count; i++)
		wanted += ladder->planned.vcpus[i].guest_node == guest_node;
	if (ladder->request->dedicated)
		wanted = (uint32_t)planned_cores(ladder, guest_node, vcpus);
	if (wanted == 0)
		return true; /* memory only: on the plan's node */
	for (size_t i = 0; i < ARRAY_SIZE(tiers) && ladder->error == 0; i++) {
		int winner;

		if (asked && tiers[i].own)
			continue;
		deal_hands(ladder, guest_node, tiers[i].own, tiers[i].memory);
		set_up(ladder);
		winner = ladder->request->dedicated ? gather_cores(ladder, vcpus, wanted)
		                                    : climb(ladder, wanted);
		fold_hands(ladder, guest_node, winner);
		if (winner >= 0) {
			settle(ladder, guest_node, winner);
			return true;
		}
	}
	return false;
}

static void pause_ms(long ms)
{
	const struct timespec time = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&time, NULL);
}

static void claim_guest_node(struct ladder *ladder, size_t guest_node)
{
	char field[PROBLEM_FIELD_MAX], list[128];
	int looks = ladder->claims->looks ? 1 : PATIENCE;

	for (int i = 0; i < looks; i++) {
		if (i > 0)
			pause_ms(i);
		ladder->whole = (struct cpu_bitmap){ 0 };
		if (try_guest_node(ladder, guest_node) || ladder->error < 0)
			return;
	}
	snprintf(field, sizeof(field), "%s",
	         ladder->request->dedicated ? "cpus.tenancy" : "cpus.count");
	ladder->error = problems_add(
		ladder->problems, ERROR_CODE_PLACEMENT_FAILED, EBUSY, field,
		"guest node %zu needs more %s than are free: other VMs have claimed CPUs %s%s; ask for fewer, or stop a VM",
		guest_node, ladder->request->dedicated ? "whole cores" : "CPUs",
		list_whole(ladder, list, sizeof(list)),
		ladder->request->dedicated ? ", or a part of their cores"
					   : " for themselves alone");
}

/* ----------------------------------------------------------------------------------------- pins */

/* Adds a problem on the last look only: before that, another launch may hold the pin just for a
 * moment. */
static void refuse_pin(struct ladder *ladder, uint32_t vcpu, bool last, const char *why)
{
	char field[PROBLEM_FIELD_MAX];

	if (!last)
		return;
	snprintf(field, sizeof(field), "cpus.pins[%u]", vcpu);
	ladder->error = problems_add(ladder->problems, ERROR_CODE_PLACEMENT_FAILED, EBUSY, field,
	                             "host CPU %d %s", ladder->plan->vcpus[vcpu].cpu, why);
}

/* Whether the core was claimed or refused together with the pin of an earlier vCPU. */
static bool had_before(const struct ladder *ladder, uint32_t vcpu, const struct host_cpu *core)
{
	for (uint32_t i = 0; i < vcpu; i++)
		for (size_t k = 0; k < core->sibling_count; k++)
			if (ladder->plan->vcpus[i].cpu == core->siblings[k])
				return true;
	return false;
}

/* Whether the pin is claimed. */
static bool claim_pin(struct ladder *ladder, uint32_t vcpu, bool last)
{
	uint32_t cpu = (uint32_t)ladder->plan->vcpus[vcpu].cpu;
	const struct host_cpu *core = facts_cpu(ladder->facts, cpu);
	uint32_t slot = 0;
	int r = -EAGAIN;

	if (ladder->request->dedicated) {
		if (had_before(ladder, vcpu, core))
			return true;
		r = take_core(ladder, core);
		if (r == -EAGAIN)
			refuse_pin(
				ladder, vcpu, last,
				"is on a core that other VMs have claimed, in whole or in part: give another pin");
		return r == 0;
	}
	if (claims_whole(ladder->claims, cpu)) {
		refuse_pin(ladder, vcpu, last, "is claimed by a DEDICATED VM: give another pin");
		return false;
	}
	while (slot < CLAIMS_LEVELS_MAX && r == -EAGAIN && ladder->error == 0)
		r = ladder_take(ladder, cpu, CLAIMS_VCPU, slot++);
	if (r == 0)
		ladder->past[CLAIMS_VCPU][cpu] = (uint16_t)slot;
	else if (ladder->error == 0)
		refuse_pin(ladder, vcpu, last,
		           "is claimed by as many VMs as can be counted: give another pin");
	return r == 0;
}

/* Reports every pin that is refused. */
static void claim_pins(struct ladder *ladder)
{
	bool had[PLACEMENT_VCPUS_MAX] = { false }, all = false;
	int looks = ladder->claims->looks ? 1 : PATIENCE;

	for (int look = 1; look <= looks && !all && ladder->error == 0; look++) {
		if (look > 1)
			pause_ms(look - 1);
		all = true;
		for (uint32_t i = 0; i < ladder->plan->vcpu_count; i++) {
			had[i] = had[i] || claim_pin(ladder, i, look == looks);
			all = all && had[i];
		}
	}
	for (size_t n = 0; n < ladder->plan->node_count && ladder->error == 0; n++) {
		const struct host_node *node =
			ladder->plan->nodes[n].host_node >= 0
				? facts_node(ladder->facts,
		                             (uint32_t)ladder->plan->nodes[n].host_node)
				: NULL;
		uint64_t slot;

		if (node)
			(void)claims_take_memory(ladder->claims, node->id,
			                         ladder->request->memory_mib[n],
			                         host_node_room_mib(node,
			                                            ladder->request->page_kib),
			                         &slot);
	}
}

/* Clears the choices that the plan made without knowing of other VMs. */
static void forget(struct placement *plan)
{
	for (uint32_t i = 0; i < plan->vcpu_count; i++) {
		plan->vcpus[i].cpu = PLACEMENT_UNPINNED;
		plan->vcpus[i].shared = false;
	}
	for (size_t n = 0; n < plan->node_count; n++)
		for (size_t i = 0; i < PLACEMENT_IO_MAX; i++)
			plan->nodes[n].io[i] = (struct placement_io){ .cpu = PLACEMENT_UNPINNED };
}

int ladder_claim(struct claims *claims, const struct host_facts *facts,
                 const struct placement_request *request, struct placement *plan,
                 struct problems *problems)
{
	const size_t gets = MAX(facts->node_count, (size_t)1) * PLACEMENT_VCPUS_MAX;
	_cleanup_free_ struct ladder *ladder =
		calloc(1, sizeof(*ladder) + gets * sizeof(ladder->got[0]));
	struct placement claimed = *plan;

	if (!ladder)
		return problems_add(problems, ERROR_CODE_OS_FAILED, ENOMEM, NULL,
		                    "out of memory while planning");
	ladder->claims = claims;
	claims->page_kib = request->page_kib;
	ladder->facts = facts;
	ladder->request = request;
	ladder->planned = *plan;
	ladder->plan = &claimed;
	ladder->problems = problems;
	ladder->deadline_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + PATIENCE_MS * NS_PER_MS;
	if (plan->by_hand) {
		claim_pins(ladder);
	} else {
		forget(&claimed);
		for (size_t n = 0; n < claimed.node_count && ladder->error == 0; n++)
			claim_guest_node(ladder, n);
	}
	if (ladder->error == 0)
		ladder_claim_io(ladder);
	if (ladder->error < 0)
		return ladder->error;
	claimed.pinned = claimed.claimed = true;
	*plan = claimed;
	return 0;
}
