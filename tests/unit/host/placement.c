/* SPDX-License-Identifier: MIT */
/* Placement: rules on known shapes, and properties on many random ones. */
#include "host/placement.h"
#include "host/cpulist.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct placement_request ask(uint32_t vcpus)
{
	return (struct placement_request){
		.vcpus = vcpus,
		.node_count = 1,
		.io_threads = 1,
		.host_node = { -1, -1, -1, -1, -1, -1, -1, -1 },
	};
}

static struct placement_request ask_dedicated(uint32_t vcpus)
{
	struct placement_request request = ask(vcpus);

	request.dedicated = true;
	return request;
}

/* The host CPUs of a plan as "0 4 1", -1 where a vCPU is not pinned, or the fields of the problems
 * as "!cpus.count". */
static const char *plan(const struct host_facts *facts, const struct placement_request *request,
                        struct placement *ret)
{
	static char text[1024];
	struct problems problems = { 0 };
	int r = placement_plan(facts, request, ret, &problems);

	text[0] = '\0';
	for (uint32_t i = 0; r == 0 && i < ret->vcpu_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), i ? " %d" : "%d",
		         ret->vcpus[i].cpu);
	for (size_t i = 0; r < 0 && i < problems.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s!%s", i ? " " : "",
		         problems.list[i].field);
	cr_assert_eq(r == 0, problems.count == 0);
	return text;
}

#define cr_assert_plan(facts_, request_, text_)                                                    \
	do {                                                                                       \
		struct placement ret_;                                                             \
		cr_assert_str_eq(plan(facts_, request_, &ret_), text_);                            \
	} while (0)

/* 2 nodes of 4 cores of 2 threads: node 0 has CPUs 0-3 and 8-11, node 1 has 4-7 and 12-15. */
Test(placement, whole_cores_of_one_node_first)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 2);
	struct placement_request request = ask_dedicated(4);
	struct placement out;

	cr_assert_plan(facts, &request, "0 8 1 9");
	request.vcpus = 8;
	cr_assert_plan(facts, &request, "0 8 1 9 2 10 3 11");
	request.host_node[0] = 1;
	request.vcpus = 3;
	cr_assert_str_eq(plan(facts, &request, &out), "4 12 5");
	cr_assert_eq(out.vcpus[2].host_node, 1);
	cr_assert_not(out.nodes[0].chosen);
	/* The I/O thread: same node, on a core that has no vCPU. */
	cr_assert_eq(out.nodes[0].io[0].cpu, 6);
	cr_assert_not(out.nodes[0].io[0].shared);
}

/* CPUs of their own while there are any, on their node; then with one another, not with a vCPU. */
Test(placement, several_io_threads_of_a_node)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 2);
	struct placement_request request = ask(2);
	struct placement out;

	request.node_count = 2;
	request.host_node[1] = -1;
	request.pin_count = 2;
	request.pins = (const uint32_t[]){ 0, 12 };
	request.io_threads = 9;
	cr_assert_str_eq(plan(facts, &request, &out), "0 12");
	cr_assert_eq(out.nodes[1].host_node, 1);
	for (size_t n = 0; n < 2; n++)
		for (size_t i = 0, used = 0; i < request.io_threads; i++) {
			const struct placement_io *io = &out.nodes[n].io[i];

			cr_assert_not(io->shared, "node %zu, thread %zu", n, i);
			cr_assert_eq(facts_cpu(facts, (uint32_t)io->cpu)->node,
			             out.nodes[n].host_node);
			cr_assert(i >= 7 || !(used & 1u << io->cpu), "node %zu, thread %zu", n, i);
			used |= 1u << io->cpu;
		}
	request.io_threads = PLACEMENT_IO_MAX + 1;
	cr_assert_plan(facts, &request, "!io.threads_per_node");
}

Test(placement, a_half_core_is_not_dedicated)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 2);
	struct placement_request request = ask_dedicated(3);

	facts->cpus[4].allowed = false; /* CPU 0 loses its sibling */
	cr_assert_plan(facts, &request, "1 5 2");
	request.vcpus = 6;
	cr_assert_plan(facts, &request, "1 5 2 6 3 7");
	request.vcpus = 7;
	cr_assert_plan(facts, &request, "!cpus.tenancy");
}

Test(placement, a_node_with_room_is_preferred_and_none_is_crossed)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2);
	struct placement_request request = ask_dedicated(4);
	struct placement out;

	facts->cpus[4].online = facts->cpus[4].allowed = false;
	facts->cpus[0].sibling_count = 1;
	cr_assert_plan(facts, &request, "2 6 3 7");
	request.vcpus = 5;
	request.overcommit = true;
	cr_assert_plan(facts, &request, "!cpus.tenancy");
	/* Not pinned, and not overcommitted: only on the node with as many CPUs, whatever the
	 * lot. */
	request = ask(4);
	for (request.seed = 0; request.seed < 20; request.seed++) {
		cr_assert_str_eq(plan(facts, &request, &out), "-1 -1 -1 -1");
		cr_assert_eq(out.nodes[0].host_node, 1);
	}
	request.vcpus = 5;
	cr_assert_plan(facts, &request, "!cpus.count");
	request.overcommit = true;
	cr_assert_plan(facts, &request, "-1 -1 -1 -1 -1");
}

static void expect_cpus(const struct placement_node *node, const char *list)
{
	char text[64];

	cr_assert_str_eq(cpu_bitmap_format(&node->cpus, text, sizeof(text)), list);
}

/* On its node's CPUs, as far as this process may use them; of a node without one, and without a
 * node, on all. */
Test(placement, who_is_not_pinned_is_bound_to_a_node)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 2);
	struct placement_request request = ask(2);
	struct placement out;

	request.host_node[0] = 1;
	facts->cpus[5].allowed = facts->cpus[13].online = false;
	cr_assert_str_eq(plan(facts, &request, &out), "-1 -1");
	cr_assert_not(out.pinned || out.claimed || out.by_hand || out.vcpus[0].shared ||
	              out.vcpus[0].remote);
	cr_assert_eq(out.vcpus[1].host_node, 1);
	cr_assert_eq(out.nodes[0].io[0].cpu, PLACEMENT_UNPINNED);
	cr_assert_eq(out.nodes[0].io[PLACEMENT_IO_MAX - 1].cpu, PLACEMENT_UNPINNED);
	expect_cpus(&out.nodes[0], "4,6-7,12,14-15");
	for (size_t i = 0; i < facts->cpu_count; i++)
		facts->cpus[i].allowed = facts->cpus[i].node == 0;
	cr_assert_str_eq(plan(facts, &request, &out), "-1 -1");
	cr_assert_eq(out.nodes[0].host_node, 1, "where its memory is");
	expect_cpus(&out.nodes[0], "0-3,8-11");
	/* Two guest nodes on one host node count together. */
	request.node_count = 2;
	request.vcpus = 9;
	request.host_node[0] = request.host_node[1] = 0;
	cr_assert_plan(facts, &request, "!cpus.count");
	request.vcpus = 8;
	cr_assert_plan(facts, &request, "-1 -1 -1 -1 -1 -1 -1 -1");
}

/* Many VMs that know nothing of each other: by lot, and three times as many where thrice the memory
 * is free. One that has not enough gets none, while another has. Guest nodes of one VM are
 * apart. */
Test(placement, nodes_are_drawn_by_free_memory)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 2);
	struct placement_request request = ask(2);
	unsigned on_1 = 0;
	struct placement out;

	facts->nodes[0].free_mib = 1000;
	facts->nodes[1].free_mib = 3000;
	for (request.seed = 1; request.seed <= 4000; request.seed++) {
		cr_assert_str_eq(plan(facts, &request, &out), "-1 -1");
		on_1 += out.nodes[0].host_node == 1;
	}
	cr_assert(on_1 > 2800 && on_1 < 3200, "%u of 4000 on node 1", on_1);
	request.memory_mib[0] = 1001;
	request.node_count = 2;
	for (request.seed = 1; request.seed <= 100; request.seed++) {
		cr_assert_str_eq(plan(facts, &request, &out), "-1 -1");
		cr_assert(out.nodes[0].host_node == 1 && out.nodes[1].host_node == 0);
	}
	/* Nowhere enough: a node of its own is what is left to choose by. */
	request.memory_mib[0] = request.memory_mib[1] = 5000;
	for (request.seed = 1; request.seed <= 100; request.seed++) {
		cr_assert_str_eq(plan(facts, &request, &out), "-1 -1");
		cr_assert_eq(out.nodes[0].host_node, 1 - out.nodes[1].host_node);
	}
	facts->nodes[1].allowed = false;
	cr_assert_str_eq(plan(facts, &request, &out), "-1 -1");
	cr_assert(out.nodes[0].host_node == 0 && out.nodes[1].host_node == 0);
}

/* A node that holds another guest node's vCPUs already has fewer left, which counts before its
 * memory does. */
Test(placement, guest_nodes_that_fit_apart)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 1);
	struct placement_request request = ask(4);
	struct placement out;

	request.node_count = 2;
	request.memory_mib[0] = request.memory_mib[1] = 1000;
	facts->nodes[0].free_mib = 4000;
	facts->nodes[1].free_mib = 500;
	for (request.seed = 0; request.seed < 20; request.seed++) {
		cr_assert_str_eq(plan(facts, &request, &out), "-1 -1 -1 -1");
		cr_assert_eq(out.nodes[0].host_node, 1 - out.nodes[1].host_node);
	}
}

/* The pins may give two vCPUs one CPU where that is allowed. */
Test(placement, equal_pins_are_refused_unless_overcommit_allows_them)
{
	static const uint32_t pins[] = { 3, 1, 3 };
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1);
	struct placement_request request = ask(3);
	struct placement out;

	request.pins = pins;
	request.pin_count = 3;
	cr_assert_plan(facts, &request, "!cpus.pins[2]");
	request.overcommit = true;
	cr_assert_str_eq(plan(facts, &request, &out), "3 1 3");
	cr_assert(out.vcpus[0].shared && !out.vcpus[1].shared && out.vcpus[2].shared &&
	          out.by_hand && out.pinned);
	request.dedicated = true;
	cr_assert_plan(facts, &request, "!cpus.pins[2]");
}

/* Whose vCPUs are pinned by hand, their I/O threads are not all on the same CPU. */
Test(placement, io_threads_of_pinned_vms_are_spread)
{
	static const uint32_t pin[] = { 0 };
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1);
	struct placement_request request = ask(1);
	unsigned seen = 0;
	struct placement out;

	request.pins = pin;
	request.pin_count = 1;
	for (request.seed = 0; request.seed < 50; request.seed++) {
		cr_assert_str_eq(plan(facts, &request, &out), "0");
		seen |= 1u << out.nodes[0].io[0].cpu;
	}
	cr_assert_eq(seen, 0xe);
}

/* Of a DEDICATED VM's in this order: whole cores, and memory too; whole cores; and of two that do
 * not, the one with more. Node 0 has CPUs 0-2 and 6-8, node 1 has 3-5 and 9-11. */
Test(placement, which_node_suits_better)
{
	static const struct {
		uint64_t free_mib[2];
		const char *barred; /* CPUs outside the affinity */
		int node;
		const char *refused;
	} rows[] = {
		{ { 5000, 5000 }, "", 0, NULL },
		{ { 5000, 5000 }, "8", 0, NULL },
		{ { 5000, 4096 }, "7,8", 1, NULL },
		{ { 4095, 4096 }, "", 1, NULL },
		{ { 4095, 4095 }, "", 0, NULL },
		{ { 4096, 100 }, "7,8", 1, NULL },
		{ { 5000, 5000 }, "0,1,3,4,5", 0, "host node 0, where 2 are" },
		{ { 5000, 5000 }, "0,1,2,3,4", 1, "host node 1, where 2 are" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = fixture_shape(2, 3, 2);
		struct placement_request request = ask_dedicated(3);
		struct problems problems = { 0 };
		struct cpu_bitmap barred;
		struct placement out;
		int r;

		cr_assert_eq(cpu_bitmap_parse(rows[i].barred, &barred), 0);
		for (size_t k = 0; k < facts->cpu_count; k++)
			facts->cpus[k].allowed = !cpu_bitmap_has(&barred, facts->cpus[k].id);
		facts->nodes[0].free_mib = rows[i].free_mib[0];
		facts->nodes[1].free_mib = rows[i].free_mib[1];
		request.memory_mib[0] = 4096;
		r = placement_plan(facts, &request, &out, &problems);
		cr_assert_eq(r < 0, rows[i].refused != NULL, "row %zu: %s", i,
		             problems.list[0].message);
		if (rows[i].refused)
			cr_expect(strstr(problems.list[0].message, rows[i].refused), "row %zu: %s",
			          i, problems.list[0].message);
		else
			cr_expect_eq(out.nodes[0].host_node, rows[i].node, "row %zu", i);
	}
}

Test(placement, memory_decides_between_equal_nodes)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 1);
	struct placement_request request = ask_dedicated(2);

	request.memory_mib[0] = 4096;
	cr_assert_plan(facts, &request, "0 1");
	facts->nodes[0].free_mib = 100;
	cr_assert_plan(facts, &request, "2 3");
}

/* Memory in huge pages is looked for in their pool, whatever else is free. */
Test(placement, huge_pages_decide_where_they_are_asked_for)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 1);
	struct placement_request request = ask_dedicated(2), shared = ask(1);
	struct problems problems = { 0 };
	struct placement out;

	facts->nodes[0].huge[0] = (struct host_huge_pages){ 2048, 4096, 2047 };
	facts->nodes[1].huge[0] = (struct host_huge_pages){ 2048, 4096, 2048 };
	facts->nodes[0].huge[1] = facts->nodes[1].huge[1] =
		(struct host_huge_pages){ 1048576, 8, 4 };
	facts->nodes[0].huge_count = facts->nodes[1].huge_count = 2;
	request.memory_mib[0] = shared.memory_mib[0] = 4096;
	facts->nodes[1].free_mib = 100;
	cr_assert_plan(facts, &request, "0 1");
	request.page_kib = shared.page_kib = 2048;
	cr_assert_plan(facts, &request, "2 3");
	for (shared.seed = 0; shared.seed < 20; shared.seed++) {
		cr_assert_eq(placement_plan(facts, &shared, &out, &problems), 0);
		cr_assert_eq(out.nodes[0].host_node, 1);
	}
	request.page_kib = 1048576;
	cr_assert_plan(facts, &request, "0 1");
	facts->nodes[0].huge[1].free = 3;
	cr_assert_plan(facts, &request, "2 3");
	request.page_kib = 16;
	cr_assert_plan(facts, &request, "0 1");
}

Test(placement, guest_nodes_go_to_host_nodes_of_their_own)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2);
	struct placement_request request = ask_dedicated(5);
	static const uint8_t crossed[] = { 1, 0, 1, 0, 1 };
	struct placement out;

	request.node_count = 2;
	cr_assert_str_eq(plan(facts, &request, &out), "0 4 1 2 6");
	cr_assert_eq(out.nodes[1].host_node, 1);
	request.vcpu_nodes = crossed;
	cr_assert_plan(facts, &request, "2 0 6 4 3");
	request.host_node[1] = 0;
	cr_assert_str_eq(plan(facts, &request, &out), "0 2 4 6 1");
	cr_assert_eq(out.nodes[0].host_node, 1);
	/* Both on one host node: what the first took is gone for the second. */
	request.host_node[0] = 0;
	cr_assert_plan(facts, &request, "!cpus.tenancy");
	request.vcpus = 4;
	cr_assert_plan(facts, &request, "1 0 5 4");
}

Test(placement, dedicated_takes_whole_cores_or_refuses)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 2);
	struct placement_request request = ask(3);
	struct placement out;

	request.dedicated = true;
	cr_assert_str_eq(plan(facts, &request, &out), "0 2 1");
	/* The idle sibling is the VM's own, and the I/O thread's place. */
	cr_assert_eq(out.nodes[0].io[0].cpu, 3);
	cr_assert_not(out.nodes[0].io[0].shared);
	facts->cpus[3].allowed = false;
	cr_assert_plan(facts, &request, "!cpus.tenancy");
	request.dedicated = false;
	cr_assert_plan(facts, &request, "-1 -1 -1");
}

Test(placement, two_dedicated_guest_nodes_never_share_a_core)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 2);
	struct placement_request request = ask(2);

	request.dedicated = true;
	request.node_count = 2;
	cr_assert_plan(facts, &request, "0 1");
	request.vcpus = 4;
	cr_assert_plan(facts, &request, "0 2 1 3");
	facts->cpus[1].allowed = false;
	request.vcpus = 2;
	cr_assert_plan(facts, &request, "!cpus.tenancy");
}

Test(placement, pins_are_checked_one_by_one)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2);
	const uint32_t good[] = { 5, 1, 2 }, bad[] = { 3, 3, 77, 6, 0 };
	struct placement_request request = ask(3);
	struct placement out;

	request.pins = good;
	request.pin_count = 3;
	cr_assert_str_eq(plan(facts, &request, &out), "5 1 2");
	cr_assert_eq(out.nodes[0].host_node, 0);
	cr_assert_not(out.vcpus[1].remote);
	cr_assert(out.vcpus[2].remote, "CPU 2 is on node 1, and that is said");
	request.pins = bad;
	request.vcpus = request.pin_count = 5;
	facts->cpus[6].online = facts->cpus[6].allowed = false;
	facts->cpus[0].allowed = false;
	cr_assert_plan(facts, &request, "!cpus.pins[1] !cpus.pins[2] !cpus.pins[3] !cpus.pins[4]");
	request.pin_count = 4;
	cr_assert_plan(facts, &request, "!cpus.pins");
	request.pins = good;
	request.vcpus = request.pin_count = 3;
	request.dedicated = true;
	facts->cpus[6].online = true;
	cr_assert_plan(facts, &request, "!cpus.pins[2]");
}

Test(placement, wrong_requests_are_refused)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2);
	static const uint8_t nodes[] = { 0, 2 };
	struct placement_request request = ask(0);

	cr_assert_plan(facts, &request, "!cpus.count");
	request.vcpus = 256;
	cr_assert_plan(facts, &request, "!cpus.count");
	request = ask(1);
	request.node_count = 9;
	cr_assert_plan(facts, &request, "!memory.nodes");
	request = ask(2);
	request.node_count = 2;
	request.vcpu_nodes = nodes;
	cr_assert_plan(facts, &request, "!cpus.nodes[1]");
	request = ask(1);
	request.host_node[0] = 2;
	cr_assert_plan(facts, &request, "!memory.nodes[0].host_node");
	facts->nodes[1].allowed = false;
	request.host_node[0] = 1;
	cr_assert_plan(facts, &request, "!memory.nodes[0].host_node");
}

/* clang-format off */
#define SPEC(...)                                                                                  \
	{ .node_count = 1, .io_threads = 1, .host_node = { -1, -1 }, __VA_ARGS__ }, ERROR_CODE_SPEC_INVALID
#define HOST(...) { .node_count = 1, .io_threads = 1, __VA_ARGS__ }, ERROR_CODE_HOST_LIMIT
/* clang-format on */

/* Whose fault it is, by which errno, at which field and in which words: all of it goes into the
 * terminal event. */
Test(placement, each_refusal_in_full)
{
	static const uint8_t nodes[] = { 0, 2 };
	static const uint32_t absent[] = { 77 }, offline[] = { 6 }, barred[] = { 0 },
			      twice[] = { 3, 3 }, half[] = { 2 };
	static const struct {
		struct placement_request request;
		enum axvm_error_code code;
		const char *field, *message;
	} rows[] = {
		{ SPEC(.vcpus = 0), "cpus.count", "must be 1 to 255" },
		{ SPEC(.vcpus = 256), "cpus.count", "must be 1 to 255" },
		{ { .vcpus = 1 }, ERROR_CODE_SPEC_INVALID, "memory.nodes", "must be 1 to 8" },
		{ { .vcpus = 1, .node_count = 9 },
		  ERROR_CODE_SPEC_INVALID,
		  "memory.nodes",
		  "must be 1 to 8" },
		{ { .vcpus = 1, .node_count = 1, .io_threads = 17 },
		  ERROR_CODE_SPEC_INVALID,
		  "io.threads_per_node",
		  "must be at most 16" },
		{ SPEC(.vcpus = 2, .pins = twice, .pin_count = 1), "cpus.pins",
		  "must be absent or one for each vCPU" },
		{ { .vcpus = 2, .node_count = 2, .vcpu_nodes = nodes },
		  ERROR_CODE_SPEC_INVALID,
		  "cpus.nodes[1]",
		  "names a guest node that memory.nodes does not have" },
		{ SPEC(.vcpus = 2, .pins = twice, .pin_count = 2), "cpus.pins[1]",
		  "host CPU 3 is there twice: give each vCPU its own, or set overcommit" },
		{ HOST(.vcpus = 1, .pins = absent, .pin_count = 1), "cpus.pins[0]",
		  "host CPU 77 does not exist; pin to CPUs of 1-5,7" },
		{ HOST(.vcpus = 1, .pins = offline, .pin_count = 1), "cpus.pins[0]",
		  "host CPU 6 is offline; pin to CPUs of 1-5,7" },
		{ HOST(.vcpus = 1, .pins = barred, .pin_count = 1), "cpus.pins[0]",
		  "host CPU 0 is outside the affinity or cpuset of this process; pin to CPUs of 1-5,7" },
		{ HOST(.vcpus = 1, .pins = half, .pin_count = 1, .dedicated = true), "cpus.pins[0]",
		  "a dedicated VM needs every thread of host CPU 2's core; one is offline or outside the affinity of "
		  "this process: pin to another core" },
		{ HOST(.vcpus = 1, .host_node = { 2 }), "memory.nodes[0].host_node",
		  "host node 2 does not exist: name another" },
		{ HOST(.vcpus = 1, .host_node = { 1 }), "memory.nodes[0].host_node",
		  "host node 1 is outside the cpuset of this process: name another" },
		{ HOST(.vcpus = 4), "cpus.count",
		  "guest node 0 asks for 4 CPUs on host node 0, where 3 are free within the affinity and cpuset of this "
		  "process: ask for fewer, or start the shim with more" },
		{ HOST(.vcpus = 3, .dedicated = true), "cpus.tenancy",
		  "guest node 0 asks for 3 CPUs of whole cores on host node 0, where 2 are free within the affinity and "
		  "cpuset of this process: ask for fewer, or start the shim with more" },
	};
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2),
					 *small = fixture_shape(1, 1, 1);
	struct problems problems = { 0 };
	struct placement out;

	facts->cpus[6].online = facts->cpus[6].allowed = facts->cpus[0].allowed = false;
	facts->nodes[1].allowed = false;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const int error = rows[i].code == ERROR_CODE_SPEC_INVALID ? EINVAL : ENOSPC;

		problems = (struct problems){ 0 };
		cr_expect_eq(placement_plan(facts, &rows[i].request, &out, &problems), -error,
		             "row %zu", i);
		cr_expect_eq(problems.list[0].code, rows[i].code, "row %zu", i);
		cr_expect_eq(problems.list[0].error_number, error, "row %zu", i);
		cr_expect_str_eq(problems.list[0].field, rows[i].field);
		cr_expect_str_eq(problems.list[0].message, rows[i].message);
	}
	small->node_count = 0;
	small->cpus[0].node = -1;
	problems = (struct problems){ 0 };
	cr_expect_eq(placement_plan(small,
	                            &(struct placement_request){
					    .vcpus = 2, .node_count = 1, .host_node = { -1 } },
	                            &out, &problems),
	             -ENOSPC);
	cr_expect_str_eq(problems.list[0].message,
	                 "guest node 0 asks for 2 CPUs on this host, where 1 is free within the "
	                 "affinity and cpuset of this process: ask for fewer, or "
	                 "start the shim with more");
}

/* Half a core is enough for a VM that is not dedicated. */
Test(placement, a_pin_on_half_a_core)
{
	static const uint32_t pin[] = { 2 };
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 2);
	struct placement_request request = ask(1);
	struct placement out;

	facts->cpus[6].allowed = false;
	request.pins = pin;
	request.pin_count = 1;
	cr_assert_str_eq(plan(facts, &request, &out), "2");
}

/* Where every CPU has a vCPU, I/O threads begin at the last. */
Test(placement, io_threads_of_a_full_host)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1);
	struct placement_request request = ask_dedicated(4);
	struct placement out;

	request.io_threads = 2;
	cr_assert_str_eq(plan(facts, &request, &out), "0 1 2 3");
	cr_expect(out.nodes[0].io[0].cpu == 3 && out.nodes[0].io[0].shared);
	cr_expect(out.nodes[0].io[1].cpu == 2 && out.nodes[0].io[1].shared);
}

Test(placement, a_host_without_numa_information_is_one_place)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 4, 1);
	struct placement_request request = ask_dedicated(3);
	struct placement out;

	facts->node_count = 0;
	for (size_t i = 0; i < facts->cpu_count; i++)
		facts->cpus[i].node = -1;
	cr_assert_str_eq(plan(facts, &request, &out), "0 1 2");
	cr_assert_eq(out.nodes[0].host_node, -1);
	cr_assert_eq(out.nodes[0].io[0].cpu, 3);
	request.dedicated = false;
	cr_assert_str_eq(plan(facts, &request, &out), "-1 -1 -1");
	cr_assert_eq(out.nodes[0].host_node, -1);
	expect_cpus(&out.nodes[0], "0-3");
}

Test(placement, vcpus_are_dealt_evenly)
{
	for (uint32_t vcpus = 1; vcpus <= 64; vcpus++)
		for (size_t nodes = 1; nodes <= PLACEMENT_NODES_MAX; nodes++) {
			uint32_t counts[PLACEMENT_NODES_MAX] = { 0 }, least = 255, most = 0;

			for (uint32_t i = 0; i < vcpus; i++)
				counts[placement_dealt_node(i, vcpus, nodes)]++;
			for (size_t n = 0; n < nodes; n++) {
				least = MIN(least, counts[n]);
				most = MAX(most, counts[n]);
			}
			cr_assert_leq(most - least, 1);
		}
}

/* ---------------------------------------------------------------------------- random topologies */

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static struct host_facts *random_host(uint64_t *seed)
{
	static const uint32_t threads[] = { 1, 2, 2, 4 };
	struct host_facts *facts =
		fixture_shape(1 + (uint32_t)(next(seed) % 4), 1 + (uint32_t)(next(seed) % 12),
	                      threads[next(seed) % 4]);
	unsigned int offline = (unsigned int)(next(seed) % 4),
		     barred = (unsigned int)(next(seed) % 5);

	for (size_t i = 0; i < facts->cpu_count; i++) {
		facts->cpus[i].online = next(seed) % 16 >= offline;
		facts->cpus[i].allowed = facts->cpus[i].online && next(seed) % 8 >= barred;
	}
	return facts;
}

static void check_pinned(const struct host_facts *facts, const struct placement *out, uint64_t seed)
{
	uint32_t times[FACTS_CPUS_MAX] = { 0 };

	for (uint32_t i = 0; i < out->vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &out->vcpus[i];
		const struct host_cpu *cpu = facts_cpu(facts, (uint32_t)vcpu->cpu);

		cr_assert(cpu && cpu->online && cpu->allowed, "seed %#lx: vCPU %u", seed, i);
		cr_assert_eq(cpu->node, out->nodes[vcpu->guest_node].host_node,
		             "seed %#lx: vCPU %u", seed, i);
		cr_assert_not(vcpu->remote || vcpu->shared, "seed %#lx", seed);
		cr_assert_eq(++times[vcpu->cpu], 1, "seed %#lx: twice", seed);
		for (size_t k = 0; k < cpu->sibling_count; k++)
			cr_assert(facts_cpu(facts, cpu->siblings[k])->allowed,
			          "seed %#lx: half a core is not dedicated", seed);
	}
	for (size_t n = 0; n < out->node_count; n++) {
		const struct host_cpu *io = facts_cpu(facts, (uint32_t)out->nodes[n].io[0].cpu);

		cr_assert(io && io->online && io->allowed, "seed %#lx: I/O CPU", seed);
		cr_assert_eq(out->nodes[n].io[0].shared, times[io->id] > 0, "seed %#lx", seed);
	}
}

static void check_properties(const struct host_facts *facts,
                             const struct placement_request *request, const struct placement *out,
                             uint64_t seed)
{
	cr_assert_eq(out->pinned, request->dedicated, "seed %#lx", seed);
	if (out->pinned)
		check_pinned(facts, out, seed);
	for (uint32_t i = 0; !out->pinned && i < out->vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &out->vcpus[i];

		cr_assert_eq(vcpu->cpu, PLACEMENT_UNPINNED, "seed %#lx: vCPU %u", seed, i);
		cr_assert_eq(vcpu->host_node, out->nodes[vcpu->guest_node].host_node,
		             "seed %#lx: vCPU %u", seed, i);
	}
	for (size_t n = 0; n < out->node_count; n++)
		for (uint32_t cpu = 0; cpu < FACTS_CPUS_MAX; cpu++)
			cr_assert(!cpu_bitmap_has(&out->nodes[n].cpus, cpu) ||
			                  facts_cpu(facts, cpu)->allowed,
			          "seed %#lx: CPU %u of node %zu", seed, cpu, n);
}

Test(placement, properties_on_random_hosts)
{
	uint64_t start = (uint64_t)time(NULL) * 2654435761u | 1;
	unsigned int placed = 0, refused = 0;

	for (unsigned int round = 0; round < 3000; round++) {
		uint64_t seed = start + round * 2, state = seed;
		_cleanup_free_ struct host_facts *facts = random_host(&state);
		struct placement_request request = ask(1 + (uint32_t)(next(&state) % 40));
		struct placement out, again;
		struct problems problems = { 0 };

		request.node_count = 1 + next(&state) % 3;
		request.dedicated = next(&state) % 2;
		request.overcommit = next(&state) % 2;
		if (next(&state) % 3 == 0)
			request.host_node[0] = (int)(next(&state) % facts->node_count);
		memset(&out, 0x55, sizeof(out));
		memset(&again, 0x55, sizeof(again));
		if (placement_plan(facts, &request, &out, &problems) < 0) {
			cr_assert_gt(problems.count, 0, "seed %#lx", seed);
			refused++;
			continue;
		}
		placed++;
		check_properties(facts, &request, &out, seed);
		cr_assert_eq(placement_plan(facts, &request, &again, &problems), 0);
		cr_assert_eq(memcmp(&out, &again, sizeof(out)), 0, "seed %#lx: not deterministic",
		             seed);
	}
	printf("placement: first seed %#lx, %u placed, %u refused\n", start, placed, refused);
	cr_assert_gt(placed, 100);
	cr_assert_gt(refused, 100);
}
