/* SPDX-License-Identifier: MIT */
/* The ladder: which CPUs many VMs get who know of each other by claims alone. Each has its own
 * `struct claims` on one folder, as its process would; that locks end with a process is the
 * business of other tests. */
#include "host/ladder.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define VMS 170

static struct fixture_tree tree;
static struct vm {
	struct claims claims;
	struct placement plan;
	struct problems problems;
} vms[VMS];

static void set_up(void)
{
	fixture_tree_new(&tree);
}

static void tear_down(void)
{
	for (size_t i = 0; i < VMS; i++)
		claims_close(&vms[i].claims);
	fixture_tree_done(&tree);
}

TestSuite(ladder, .init = set_up, .fini = tear_down, .timeout = 60);

static struct placement_request ask(uint32_t vcpus)
{
	return (struct placement_request){
		.vcpus = vcpus,
		.overcommit = true,
		.node_count = 1,
		.io_threads = 1,
		.host_node = { -1, -1, -1, -1, -1, -1, -1, -1 },
		.memory_mib = { 64, 64, 64, 64, 64, 64, 64, 64 },
	};
}

static int launch(size_t vm, const struct host_facts *facts,
                  const struct placement_request *request)
{
	struct vm *v = &vms[vm];
	int r;

	v->problems = (struct problems){ 0 };
	cr_assert_eq(claims_open(&v->claims, -1, tree.root, false), 0);
	r = placement_plan(facts, request, &v->plan, &v->problems);
	cr_assert_eq(r, 0, "%s", v->problems.list[0].message);
	r = ladder_claim(&v->claims, facts, request, &v->plan, &v->problems);
	cr_assert_eq(r == 0, v->problems.count == 0);
	if (r < 0)
		claims_close(&v->claims);
	return r;
}

static void end(size_t vm)
{
	claims_close(&vms[vm].claims);
}

/* "0 8 | 1": the vCPUs' CPUs, and those of node 0's I/O threads. */
static const char *places(size_t vm, uint32_t io)
{
	static char text[256];
	const struct placement *plan = &vms[vm].plan;

	text[0] = '\0';
	for (uint32_t i = 0; i < plan->vcpu_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), i ? " %d" : "%d",
		         plan->vcpus[i].cpu);
	for (uint32_t i = 0; i < io; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), i ? " %d" : " | %d",
		         plan->nodes[0].io[i].cpu);
	return text;
}

#define LAUNCHED(vm, facts, request, io, text)                                                     \
	do {                                                                                       \
		cr_assert_eq(launch(vm, facts, request), 0, "%s",                                  \
		             vms[vm].problems.list[0].message);                                    \
		cr_assert_str_eq(places(vm, io), text);                                            \
	} while (0)

static void refused(size_t vm, const struct host_facts *facts,
                    const struct placement_request *request, enum axvm_error_code code,
                    const char *field, const char *says)
{
	cr_assert_lt(launch(vm, facts, request), 0);
	cr_assert_eq(vms[vm].problems.list[0].code, code);
	cr_assert_str_eq(vms[vm].problems.list[0].field, field);
	cr_assert(strstr(vms[vm].problems.list[0].message, says), "%s",
	          vms[vm].problems.list[0].message);
}

/* 2 nodes of 2 cores of 2 threads: node 0 has CPUs 0, 1, 4, 5, node 1 has 2, 3, 6, 7. Node by node
 * in turn, whole cores before second threads; then a second time round. */
Test(ladder, vms_take_whole_cores_before_second_threads)
{
	static const int order[] = { 0, 2, 1, 3, 4, 6, 5, 7 };
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2);
	struct placement_request request = ask(1);

	for (size_t i = 0; i < 16; i++) {
		const struct placement *plan = &vms[i].plan;

		cr_assert_eq(launch(i, facts, &request), 0);
		cr_assert_eq(plan->vcpus[0].cpu, order[i % 8], "VM %zu is on %d", i,
		             plan->vcpus[0].cpu);
		cr_assert(plan->pinned && plan->claimed && !plan->by_hand);
		cr_assert_eq(plan->nodes[0].host_node, plan->vcpus[0].host_node);
		cr_assert_eq(cpu_bitmap_count(&plan->nodes[0].cpus), 4);
	}
	/* The one that has ended leaves the lowest slot. */
	end(3);
	end(12);
	LAUNCHED(3, facts, &request, 0, "3");
	LAUNCHED(12, facts, &request, 0, "4");
	LAUNCHED(16, facts, &request, 0, "0");
}

/* Where the threads of a core are numbered side by side, too, cores come before threads. */
Test(ladder, threads_side_by_side)
{
	static const int order[] = { 0, 2, 1, 3 };
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1);
	struct placement_request request = ask(1);

	for (uint16_t i = 0; i < 4; i++) {
		facts->cpus[i].sibling_count = 2;
		facts->cpus[i].siblings[0] = i & ~1u;
		facts->cpus[i].siblings[1] = i | 1u;
	}
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(launch(i, facts, &request), 0);
		cr_assert_eq(vms[i].plan.vcpus[0].cpu, order[i]);
	}
}

/* 40 CPUs of two nodes, 160 VMs of which some end meanwhile: 4 a CPU, exactly. */
Test(ladder, as_many_on_every_cpu)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 10, 2);
	struct placement_request request = ask(1);
	unsigned times[40] = { 0 }, io[40] = { 0 };

	request.io_count = 1;
	for (size_t i = 0; i < 160; i++)
		cr_assert_eq(launch(i, facts, &request), 0);
	for (size_t i = 7; i < 160; i += 3)
		end(i);
	for (size_t i = 7; i < 160; i += 3)
		cr_assert_eq(launch(i, facts, &request), 0);
	for (size_t i = 0; i < 160; i++) {
		times[vms[i].plan.vcpus[0].cpu]++;
		io[vms[i].plan.nodes[0].io[0].cpu]++;
		cr_assert_eq(facts_cpu(facts, (uint32_t)vms[i].plan.nodes[0].io[0].cpu)->node,
		             vms[i].plan.nodes[0].host_node);
	}
	for (size_t i = 0; i < 40; i++) {
		cr_assert_eq(times[i], 4, "CPU %zu has %u vCPUs", i, times[i]);
		cr_assert(io[i] >= 2 && io[i] <= 6, "CPU %zu has %u I/O threads", i, io[i]);
	}
}

/* The vCPUs of a guest node are on one host node, on as many CPUs as there are; what was gathered
 * elsewhere is given back. */
Test(ladder, vcpus_of_a_guest_node_get_cpus_of_one_host_node)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 1);
	struct placement_request request = ask(3), one = ask(1);

	LAUNCHED(0, facts, &request, 0, "0 1 2");
	LAUNCHED(1, facts, &request, 0, "4 5 6");
	LAUNCHED(2, facts, &one, 0, "3");
	LAUNCHED(3, facts, &one, 0, "7");
	LAUNCHED(4, facts, &one, 0, "0");
	/* More than a node has CPUs: some twice, on that node. */
	request.vcpus = 6;
	cr_assert_eq(launch(5, facts, &request), 0);
	for (uint32_t i = 0; i < 6; i++)
		cr_assert_eq(vms[5].plan.vcpus[i].host_node, vms[5].plan.nodes[0].host_node);
	cr_assert(vms[5].plan.vcpus[0].shared);
	request.vcpus = 4;
	request.overcommit = false;
	cr_assert_eq(launch(6, facts, &request), 0);
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_not(vms[6].plan.vcpus[i].shared);
}

Test(ladder, several_guest_nodes)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 1);
	struct placement_request request = ask(4);

	request.node_count = 2;
	LAUNCHED(0, facts, &request, 0, "0 1 2 3");
	request.vcpus = 2;
	LAUNCHED(1, facts, &request, 0, "0 2");
	cr_assert_eq(vms[1].plan.nodes[1].host_node, 1);
	/* Both asked for on one host node: its two CPUs, not one of them twice. */
	request.host_node[0] = request.host_node[1] = 1;
	request.overcommit = false;
	LAUNCHED(2, facts, &request, 0, "3 2");
	request.vcpus = 4;
	request.overcommit = true;
	LAUNCHED(3, facts, &request, 0, "3 2 3 2");
	cr_assert(vms[3].plan.vcpus[0].shared && vms[3].plan.vcpus[3].shared);
}

/* Whole cores or none, in the shape that the guest is shown; nobody climbs to them, and they to
 * nobody's. */
Test(ladder, a_dedicated_vm_gets_whole_cores_or_none)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 2);
	struct placement_request shared = ask(1), request = ask(3), pins = ask(1);

	request.dedicated = true;
	request.io_count = shared.io_count = pins.io_count = 1;
	LAUNCHED(0, facts, &request, 1, "0 4 1 | 5");
	LAUNCHED(1, facts, &shared, 1, "2 | 6");
	request.vcpus = 2;
	LAUNCHED(2, facts, &request, 1, "3 7 | 2");
	refused(3, facts, &request, ERROR_CODE_PLACEMENT_FAILED, "cpus.tenancy", "0-3");
	LAUNCHED(4, facts, &shared, 1, "6 | 6");
	LAUNCHED(5, facts, &shared, 0, "2");
	/* By hand. */
	pins.pin_count = 1;
	pins.pins = (const uint32_t[]){ 5 };
	refused(6, facts, &pins, ERROR_CODE_PLACEMENT_FAILED, "cpus.pins[0]",
	        "host CPU 5 is claimed by a DEDICATED VM: give another pin");
	pins.pins = (const uint32_t[]){ 6 };
	LAUNCHED(6, facts, &pins, 0, "6");
	pins.dedicated = true;
	refused(7, facts, &pins, ERROR_CODE_PLACEMENT_FAILED, "cpus.pins[0]",
	        "host CPU 6 is on a core that other VMs have claimed");
	end(0);
	pins.pins = (const uint32_t[]){ 5 };
	LAUNCHED(7, facts, &pins, 1, "5 | 1");
	end(2);
	end(7);
	/* Now three cores are free but for one I/O thread that is no more. */
	request.vcpus = 6;
	LAUNCHED(8, facts, &request, 0, "0 4 1 5 3 7");
	refused(9, facts, &request, ERROR_CODE_PLACEMENT_FAILED, "cpus.tenancy",
	        "guest node 0 needs more whole cores than are free");
}

/* An I/O thread keeps no core from being somebody's own: it goes where others are already, or to
 * its own vCPU. */
Test(ladder, io_threads_of_dedicated_vms)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1),
					 *smt = fixture_shape(1, 3, 2);
	struct placement_request request = ask(1), shared = ask(1), pair = ask(2);

	request.dedicated = pair.dedicated = true;
	request.io_count = pair.io_count = 1;
	LAUNCHED(0, facts, &request, 1, "0 | 0");
	cr_assert(vms[0].plan.nodes[0].io[0].shared);
	LAUNCHED(1, facts, &request, 1, "1 | 1");
	LAUNCHED(2, facts, &shared, 0, "2");
	LAUNCHED(3, facts, &request, 1, "3 | 2");
	cr_assert_not(vms[3].plan.nodes[0].io[0].shared);
	for (size_t i = 0; i < 4; i++)
		end(i);
	LAUNCHED(0, smt, &pair, 1, "0 3 | 3");
	LAUNCHED(1, smt, &shared, 0, "1");
	LAUNCHED(2, smt, &pair, 1, "2 5 | 1");
}

/* On the idle thread of a vCPU's core, else on the CPU of one of the VM's own vCPUs that has the
 * fewest I/O threads, although another CPU is idle; side by side in a DEDICATED VM's core. */
Test(ladder, places_of_io_threads)
{
	_cleanup_free_ struct host_facts *smt = fixture_shape(1, 2, 2),
					 *plain = fixture_shape(1, 2, 1),
					 *four = fixture_shape(1, 2, 4);
	struct placement_request pin = ask(1), pair = ask(2), dedicated = ask(1);

	pin.pin_count = 1;
	pin.io_count = 1;
	pin.pins = (const uint32_t[]){ 0 };
	LAUNCHED(0, plain, &pin, 1, "0 | 0");
	end(0);
	LAUNCHED(0, smt, &pin, 0, "0");
	end(0);
	pin.io_count = 0;
	pin.pins = (const uint32_t[]){ 3 };
	LAUNCHED(0, smt, &pin, 0, "3");
	pin.io_count = 1;
	pin.pins = (const uint32_t[]){ 1 };
	LAUNCHED(1, smt, &pin, 1, "1 | 1");
	end(0);
	end(1);
	pair.io_count = 1;
	LAUNCHED(0, plain, &pair, 1, "0 1 | 0");
	LAUNCHED(1, plain, &pair, 1, "0 1 | 1");
	end(0);
	end(1);
	/* A realtime vCPU would not let it run. */
	pair.realtime = pin.realtime = true;
	LAUNCHED(0, plain, &pair, 1, "0 1 | 0");
	LAUNCHED(1, plain, &pin, 1, "1 | 0");
	end(0);
	end(1);
	dedicated.dedicated = true;
	dedicated.io_count = dedicated.io_threads = 3;
	LAUNCHED(2, four, &dedicated, 3, "0 | 2 4 6");
}

/* CPUs that a DEDICATED VM has are no room: the others are had more than once, where that is
 * allowed. */
Test(ladder, what_dedicated_vms_leave)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 3, 1),
					 *smt = fixture_shape(1, 2, 2);
	struct placement_request dedicated = ask(1), request = ask(3), pin = ask(1), nodes = ask(2);

	dedicated.dedicated = true;
	LAUNCHED(0, facts, &dedicated, 0, "0");
	LAUNCHED(1, facts, &request, 0, "1 2 1");
	request.overcommit = false;
	refused(2, facts, &request, ERROR_CODE_PLACEMENT_FAILED, "cpus.count", "CPUs 0");
	/* Nor is there room for a second guest node on a CPU of the first. */
	nodes.node_count = 2;
	nodes.overcommit = false;
	end(1);
	LAUNCHED(1, facts, &nodes, 0, "1 2");
	end(1);
	LAUNCHED(1, facts, &dedicated, 0, "1");
	refused(2, facts, &nodes, ERROR_CODE_PLACEMENT_FAILED, "cpus.count",
	        "guest node 1 needs more CPUs than are free");
	nodes.dedicated = true;
	end(1);
	LAUNCHED(1, facts, &nodes, 0, "1 2");
	end(0);
	end(1);
	/* Of a core that is not to be had in whole, nothing is kept. */
	pin.pin_count = 1;
	pin.pins = (const uint32_t[]){ 2 };
	LAUNCHED(3, smt, &pin, 0, "2");
	LAUNCHED(4, smt, &dedicated, 0, "1");
	pin.pins = (const uint32_t[]){ 0 };
	LAUNCHED(5, smt, &pin, 0, "0");
}

/* One with claims on every core of both nodes: DEDICATED goes to the node that has as many whole
 * ones. */
Test(ladder, dedicated_cores_of_one_node)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 3, 1);
	struct placement_request request = ask(2), shared = ask(1);

	shared.pin_count = 1;
	for (uint32_t i = 0; i < 2; i++) {
		shared.pins = &(uint32_t){ i };
		cr_assert_eq(launch(i, facts, &shared), 0);
	}
	request.dedicated = true;
	LAUNCHED(2, facts, &request, 0, "3 4");
	cr_assert_eq(vms[2].plan.nodes[0].host_node, 1);
	refused(3, facts, &request, ERROR_CODE_PLACEMENT_FAILED, "cpus.tenancy", "0-1,3-4");
	/* What was tried on the way is free. */
	request.vcpus = 1;
	LAUNCHED(4, facts, &request, 0, "2");
	LAUNCHED(5, facts, &request, 0, "5");
	/* All belong to others now. */
	shared = ask(1);
	LAUNCHED(6, facts, &shared, 0, "0");
	end(0);
	end(1);
	end(6);
	request.vcpus = 2;
	LAUNCHED(7, facts, &request, 0, "0 1");
	refused(8, facts, &shared, ERROR_CODE_PLACEMENT_FAILED, "cpus.count",
	        "other VMs have claimed CPUs 0-5 for themselves alone");
}

/* Core 0 has one thread, the others two: a core that the guest sees two threads of is one of
 * those. */
Test(ladder, cores_of_unlike_shape)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 2);
	struct placement_request request = ask(3);

	facts->cpus[0].sibling_count = 1;
	facts->cpus[4].online = facts->cpus[4].allowed = false;
	request.dedicated = true;
	LAUNCHED(0, facts, &request, 0, "0 1 5");
	LAUNCHED(1, facts, &request, 0, "2 3 7");
	end(0);
	request.vcpus = 1;
	LAUNCHED(2, facts, &request, 0, "0");
	LAUNCHED(3, facts, &request, 0, "1");
	end(2);
	end(3);
	request.vcpus = 2;
	facts->cpus[0].sibling_count = 0;
	LAUNCHED(4, facts, &request, 0, "0 1");
	end(4);
	/* The plan has two threads of core 1 when core 0 is barred; it is tried when it is back. */
	facts->cpus[0].allowed = false;
	cr_assert_eq(claims_open(&vms[5].claims, -1, tree.root, false), 0);
	cr_assert_eq(placement_plan(facts, &request, &vms[5].plan, &vms[5].problems), 0);
	facts->cpus[0].allowed = true;
	cr_assert_eq(ladder_claim(&vms[5].claims, facts, &request, &vms[5].plan, &vms[5].problems),
	             0);
	cr_assert_str_eq(places(5, 0), "1 5");
}

/* A node is taken for as long as memory is left there after what others have spoken for; where it
 * is left nowhere the CPUs alone count. */
Test(ladder, memory_of_the_nodes)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 1);
	struct placement_request request = ask(1);
	unsigned on_0 = 0;

	facts->nodes[0].free_mib = 1000;
	facts->nodes[1].free_mib = 4000;
	request.memory_mib[0] = 450;
	for (size_t i = 0; i < 8; i++) {
		cr_assert_eq(launch(i, facts, &request), 0);
		on_0 += vms[i].plan.nodes[0].host_node == 0;
	}
	cr_assert_eq(on_0, 1, "512 MiB is what 450 take of it");
	/* It is there, and no longer only spoken for: what is free would say so. */
	for (size_t i = 0; i < 8; i++)
		claims_drop_all_memory(&vms[i].claims);
	LAUNCHED(8, facts, &request, 0, "1");
	LAUNCHED(9, facts, &request, 0, "7");
	LAUNCHED(10, facts, &request, 0, "4");
	request.memory_mib[0] = 5000;
	LAUNCHED(11, facts, &request, 0, "2");
}

/* Only the CPUs of the process's own affinity; those that a spec names twice; I/O threads where
 * there is but one CPU. */
Test(ladder, few_cpus_are_shared)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1);
	struct placement_request request = ask(2);

	facts->cpus[0].allowed = facts->cpus[2].online = facts->cpus[2].allowed =
		facts->cpus[3].allowed = false;
	request.io_count = request.io_threads = 3;
	LAUNCHED(0, facts, &request, 3, "1 1 | 1 1 1");
	cr_assert(vms[0].plan.nodes[0].io[2].shared && vms[0].plan.vcpus[1].shared);
	facts->cpus[3].allowed = true;
	LAUNCHED(1, facts, &request, 3, "3 1 | 3 3 3");
	request.pin_count = 2;
	request.pins = (const uint32_t[]){ 3, 3 };
	LAUNCHED(2, facts, &request, 1, "3 3 | 3");
	facts->node_count = 0;
	for (size_t i = 0; i < 4; i++)
		facts->cpus[i].node = -1;
	request.pin_count = 0;
	LAUNCHED(3, facts, &request, 0, "1 3");
	cr_assert_eq(vms[3].plan.nodes[0].host_node, -1);
}

/* Whoever may write to the folder can make each look at it long. That ends, and says why. */
Test(ladder, a_folder_full_of_locks)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 1);
	struct placement_request request = ask(1);
	struct claims hostile = { 0 }, far = { 0 };

	cr_assert_eq(claims_open(&far, -1, tree.root, false), 0);
	cr_assert_eq(claims_open(&hostile, -1, tree.root, false), 0);
	/* Far ones first, and another's, which each later look goes past. */
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		for (uint32_t slot = 0; slot < 8000; slot++)
			cr_assert_eq(claims_take(&far, cpu, CLAIMS_VCPU, 900000 + 2 * slot), 0);
		for (uint32_t slot = 0; slot < CLAIMS_LEVELS_MAX; slot++)
			cr_assert_eq(claims_take(&hostile, cpu, CLAIMS_VCPU, slot), 0);
	}
	/* To the end it would be ten times as long as it may take. */
	refused(0, facts, &request, ERROR_CODE_PLACEMENT_FAILED, "cpus.claims",
	        "too many to look through");
	cr_assert_eq(vms[0].problems.count, 1);
	claims_close(&hostile);
	claims_close(&far);
	LAUNCHED(1, facts, &request, 0, "0");
}

/* An asked node without a CPU for this process: all others, as for a VM that is not pinned. */
Test(ladder, an_asked_node_without_a_cpu)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 1);
	struct placement_request request = ask(1);

	request.host_node[0] = 1;
	facts->cpus[2].allowed = facts->cpus[3].allowed = false;
	LAUNCHED(0, facts, &request, 0, "0");
	cr_assert_eq(vms[0].plan.nodes[0].host_node, 1);
	cr_assert(vms[0].plan.vcpus[0].remote);
	request.host_node[0] = -1;
	LAUNCHED(1, facts, &request, 0, "1");
	cr_assert_eq(vms[1].plan.nodes[0].host_node, 0);
}

/* Huge pages that are free, less those that others have asked for. */
Test(ladder, memory_in_huge_pages)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 1);
	struct placement_request request = ask(1);

	for (size_t n = 0; n < 2; n++) {
		facts->nodes[n].huge[0] = (struct host_huge_pages){ 2048, 512, n ? 512 : 256 };
		facts->nodes[n].huge_count = 1;
	}
	request.page_kib = 2048;
	request.memory_mib[0] = 512;
	LAUNCHED(0, facts, &request, 0, "0");
	LAUNCHED(1, facts, &request, 0, "2");
	LAUNCHED(2, facts, &request, 0, "3");
	/* By hand it is spoken for as well. */
	end(2);
	request.pin_count = 1;
	request.pins = (const uint32_t[]){ 3 };
	LAUNCHED(2, facts, &request, 0, "3");
	request.pin_count = 0;
	request.page_kib = 0;
	request.memory_mib[0] = 59968;
	LAUNCHED(3, facts, &request, 0, "1");
	LAUNCHED(4, facts, &request, 0, "2");
}

/* More VMs than are looked at in order speak for memory of one node. */
Test(ladder, memory_of_six_hundred_vms_is_counted)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 1);
	struct claims *many = calloc(600, sizeof(*many));
	unsigned spoke = 0;
	uint64_t slot;

	facts->nodes[0].free_mib = 1024 * 1024;
	for (size_t i = 0; i < 600; i++) {
		cr_assert_eq(claims_open(&many[i], -1, tree.root, false), 0);
		spoke += claims_take_memory(&many[i], 0, 64, facts->nodes[0].free_mib, &slot) == 0;
	}
	cr_assert_eq(spoke, 600);
	for (size_t i = 0; i < 600; i++)
		claims_close(&many[i]);
	free(many);
}

/* A look is what a launch would get, and changes nothing. */
Test(ladder, a_look_claims_nothing)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 2);
	struct placement_request request = ask(2), dedicated = ask(2);
	struct claims looks = { 0 };
	struct placement plan;
	struct problems problems = { 0 };

	dedicated.dedicated = true;
	request.io_count = 1;
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(claims_open(&looks, -1, tree.root, true), 0);
		cr_assert_eq(placement_plan(facts, &dedicated, &plan, &problems), 0);
		cr_assert_eq(ladder_claim(&looks, facts, &dedicated, &plan, &problems), 0);
		cr_assert(plan.vcpus[0].cpu == 0 && plan.vcpus[1].cpu == 2);
		claims_close(&looks);
	}
	LAUNCHED(0, facts, &dedicated, 0, "0 2");
	cr_assert_eq(claims_open(&looks, -1, tree.root, true), 0);
	cr_assert_eq(placement_plan(facts, &request, &plan, &problems), 0);
	cr_assert_eq(ladder_claim(&looks, facts, &request, &plan, &problems), 0);
	cr_assert(plan.vcpus[0].cpu == 1 && plan.vcpus[1].cpu == 3 && plan.nodes[0].io[0].cpu == 1);
	cr_assert_eq(placement_plan(facts, &dedicated, &plan, &problems), 0);
	cr_assert_eq(ladder_claim(&looks, facts, &dedicated, &plan, &problems), 0);
	cr_assert_eq(plan.vcpus[0].cpu, 1);
	claims_close(&looks);
	LAUNCHED(1, facts, &dedicated, 0, "1 3");
}

/* The folder is at fault: one error that names the CPU, whatever had been claimed. */
Test(ladder, a_cpu_whose_file_is_none)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 1);
	struct placement_request request = ask(2);
	char path[128];

	snprintf(path, sizeof(path), "%s/cpu1", tree.root);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused(0, facts, &request, ERROR_CODE_RESOURCE_UNREADABLE, "cpus.claims",
	        "CPU 1 cannot be claimed: its file is no regular file: remove it");
	cr_assert_eq(vms[0].problems.count, 1);
	request.dedicated = true;
	refused(1, facts, &request, ERROR_CODE_RESOURCE_UNREADABLE, "cpus.claims",
	        "CPU 1 cannot be claimed");
	request.dedicated = false;
	request.vcpus = 1;
	LAUNCHED(2, facts, &request, 0, "0");
}
