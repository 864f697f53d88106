/* SPDX-License-Identifier: MIT */
/* The ladder's I/O threads: each claims a CPU beside the vCPUs that it serves, in a range of slots
 * for I/O threads only.
 *
 * The best CPU is the other thread of a core that the VM has, if no VM has a vCPU there. Else an
 * I/O thread shares the CPU of one of its node's vCPUs, the one with the fewest I/O threads. It
 * then alternates with the vCPU whose doorbell it waits for, and a wake-up crosses no CPU; on the
 * CPU of another VM it and that VM's guest would delay each other. A CPU where nothing runs yet is
 * no better, because the next VM's vCPU goes there (measured: README.md, "Claims").
 *
 * The I/O thread of a VM that is DEDICATED, or whose vCPUs are realtime threads, goes to another
 * CPU of its node, the one with the fewest I/O threads, and to a vCPU's CPU only if there is no
 * other. That of a DEDICATED VM avoids untouched cores: there it would keep any DEDICATED VM from
 * claiming the whole core. */
#include "host/ladder_parts.h"

static int32_t got(struct ladder *ladder, uint32_t cpu, uint32_t slot)
{
	ladder->past[CLAIMS_IO][cpu] = (uint16_t)(slot + 1);
	return (int32_t)cpu;
}

/* A thread beside a vCPU, on a core of this VM, on which no VM has a vCPU. */
static int32_t idle_beside(struct ladder *ladder, size_t guest_node, const uint8_t *given)
{
	int32_t best = PLACEMENT_UNPINNED;

	for (uint32_t i = 0; i < ladder->plan->vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &ladder->plan->vcpus[i];
		const struct host_cpu *cpu = facts_cpu(ladder->facts, (uint32_t)vcpu->cpu);

		for (size_t k = 0; vcpu->guest_node == guest_node && k < cpu->sibling_count; k++) {
			uint32_t other = cpu->siblings[k];

			if (cpu_bitmap_has(&ladder->mine, other) ||
			    !placement_usable(facts_cpu(ladder->facts, other)))
				continue;
			/* A DEDICATED VM has all slots of its own cores already. */
			if (!ladder->request->dedicated &&
			    (!claims_idle(ladder->claims, other) ||
			     ladder_take(ladder, other, CLAIMS_IO, 0) < 0))
				continue;
			if (!ladder->request->dedicated)
				return got(ladder, other, 0);
			if (best == PLACEMENT_UNPINNED || given[other] < given[best])
				best = (int32_t)other;
		}
	}
	return best;
}

static bool core_untouched(struct ladder *ladder, const struct host_cpu *cpu)
{
	for (size_t i = 0; i < cpu->sibling_count; i++)
		if (!claims_untouched(ladder->claims, cpu->siblings[i]))
			return false;
	return claims_untouched(ladder->claims, cpu->id);
}

/* Whether an I/O thread may be on a CPU of its node, which is one of this VM's vCPUs or another. */
static bool may_climb(struct ladder *ladder, const struct host_cpu *cpu, bool own)
{
	if (cpu_bitmap_has(&ladder->whole, cpu->id) ||
	    cpu_bitmap_has(&ladder->mine, cpu->id) != own)
		return false;
	return !ladder->request->dedicated || !core_untouched(ladder, cpu);
}

/* The CPU that the fewest I/O threads have claimed. */
static int32_t climb_io(struct ladder *ladder, const struct cpu_bitmap *cpus, bool own)
{
	bool any = true;

	for (uint32_t slot = 0; slot < CLAIMS_LEVELS_MAX && any; slot++) {
		any = false;
		for (size_t i = 0; i < ladder->facts->cpu_count; i++) {
			uint32_t cpu = ladder->facts->cpus[i].id;

			if (!cpu_bitmap_has(cpus, cpu) ||
			    !may_climb(ladder, &ladder->facts->cpus[i], own))
				continue;
			any = true;
			if (ladder_take(ladder, cpu, CLAIMS_IO, slot) == 0)
				return got(ladder, cpu, slot);
			if (slot == 0 && claims_whole(ladder->claims, cpu))
				cpu_bitmap_add(&ladder->whole, cpu);
			if (ladder->error < 0)
				return PLACEMENT_UNPINNED;
		}
	}
	return PLACEMENT_UNPINNED;
}

static void mark_mine(struct ladder *ladder)
{
	for (uint32_t i = 0; i < ladder->plan->vcpu_count; i++)
		cpu_bitmap_add(&ladder->mine, (uint32_t)ladder->plan->vcpus[i].cpu);
}

static int32_t last_vcpu(const struct placement *plan, size_t guest_node)
{
	int32_t cpu = plan->vcpus[plan->vcpu_count - 1].cpu;

	for (uint32_t i = 0; i < plan->vcpu_count; i++)
		if (plan->vcpus[i].guest_node == guest_node)
			cpu = plan->vcpus[i].cpu;
	return cpu;
}

/* The first thread of each node, then the second of each. */
void ladder_claim_io(struct ladder *ladder)
{
	uint8_t given[FACTS_CPUS_MAX] = { 0 };
	const size_t nodes = ladder->plan->node_count;
	const bool apart = ladder->request->dedicated || ladder->request->realtime;

	ladder->whole = (struct cpu_bitmap){ 0 };
	mark_mine(ladder);
	for (size_t i = 0;
	     i < MIN(nodes * ladder->request->io_threads, (size_t)ladder->request->io_count) &&
	     ladder->error == 0;
	     i++) {
		struct placement_node *node = &ladder->plan->nodes[i % nodes];
		struct placement_io *io = &node->io[i / nodes];

		io->cpu = idle_beside(ladder, i % nodes, given);
		for (int turn = 0; turn < 2 && io->cpu < 0 && ladder->error == 0; turn++)
			io->cpu = climb_io(ladder, &node->cpus, apart == (turn == 1));
		if (io->cpu < 0)
			io->cpu = last_vcpu(ladder->plan, i % nodes);
		io->shared = cpu_bitmap_has(&ladder->mine, (uint32_t)io->cpu);
		given[io->cpu]++;
	}
}
