/* SPDX-License-Identifier: MIT */
/* `axvm plan`: what a launch would be given on this host, without launching it.
 *
 * The shim's own stages learn and admit, called on a `struct shim` that never becomes one: the same
 * code decides, so the plan is the one that a launch would get. */
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "launch/cli/run.h"
#include "launch/cli/verb.h"
#include "shim/plan.h"
#include "shim/shim.h"

const struct flags plan_flags = { "plan", NULL, 0 };

static int complain(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "axvm plan: %s%s%s\n", problems->list[i].field,
		        problems->list[i].field[0] ? ": " : "", problems->list[i].message);
	return problems->count ? problem_class_of(problems->list[0].code)->exit_status : EX_SOFTWARE;
}

static int learn(struct shim *shim, const char *path)
{
	Axvm__V1__LaunchSpec *spec = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size;
	int r = spec_file_read("axvm plan", path, &spec);

	if (r)
		return r;
	size = axvm__v1__launch_spec__get_packed_size(spec);
	bytes = malloc(size + 1);
	if (bytes)
		(void)axvm__v1__launch_spec__pack(spec, bytes);
	axvm__v1__launch_spec__free_unpacked(spec, NULL);
	if (!bytes)
		return EX_OSERR;
	return spec_parse(bytes, size, &shim->spec, &shim->problems) < 0 ? complain(&shim->problems)
	                                                                 : 0;
}

/* 0 also when the host does not meet the profile: the table says so, and the status in the end. */
static int decide(struct shim *shim)
{
	shim->facts = facts_new();
	if (!shim->facts || facts_probe_quick(shim->facts, NULL) < 0) {
		fputs("axvm plan: cannot tell what this host is\n", stderr);
		return EX_OSERR;
	}
	if (profile_load(shim->spec.profile, &shim->profile) < 0) {
		fprintf(stderr, "axvm plan: there is no profile \"%s\"\n", shim->spec.profile);
		return EX_DATAERR;
	}
	if (admit(shim->facts, &shim->profile, &shim->verdict) < 0)
		return EX_SOFTWARE;
	return plan_machine(shim) < 0 ? complain(&shim->problems) : 0;
}

static bool print_verdict(const struct shim *shim, FILE *out)
{
	size_t unmet = 0;

	for (size_t i = 0; i < shim->verdict.count; i++)
		unmet += !shim->verdict.rows[i].met;
	fprintf(out, "profile %s: %s\n", shim->profile.name,
	        !unmet                                    ? "this host meets it"
	        : shim->spec.admission == SPEC_ENFORCE ? "this host is refused"
	                                                  : "unmet, but waived by the spec");
	for (size_t i = 0; i < shim->verdict.count; i++)
		if (!shim->verdict.rows[i].met)
			fprintf(out, "  %s: asked %s, found %s\n", shim->verdict.rows[i].name,
			        shim->verdict.rows[i].asked, shim->verdict.rows[i].found);
	return unmet == 0 || shim->spec.admission != SPEC_ENFORCE;
}

static void print_plan(const struct shim *shim, FILE *out)
{
	const struct placement *placement = &shim->placement;

	fprintf(out, "%5s %8s %8s %9s %10s\n", "VCPU", "APIC ID", "HOST CPU", "HOST NODE",
	        "GUEST NODE");
	for (uint32_t i = 0; i < placement->vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &placement->vcpus[i];

		fprintf(out, "%5u %8u %8u %9d %10u%s%s\n", i, shim->topology.vcpus[i].apic_id,
		        vcpu->cpu, vcpu->host_node, vcpu->guest_node,
		        vcpu->shared ? "  shares its CPU" : "",
		        vcpu->remote ? "  far from its memory" : "");
	}
	for (size_t i = 0; i < placement->node_count; i++) {
		const struct placement_node *node = &placement->nodes[i];

		fprintf(out, "guest node %zu: %llu MiB on host node %d%s; I/O thread on CPU %u%s\n", i,
		        (unsigned long long)(shim->spec.memory.nodes[i].size / MIB),
		        node->host_node, node->chosen ? " (chosen here)" : "", node->io_cpu,
		        node->io_shared ? ", with a vCPU" : "");
	}
}

int axvm_cmd_plan(int argc, char **argv, FILE *out)
{
	static struct shim shim;
	bool admitted;
	int words, r;

	r = flags_parse(&plan_flags, argc, argv, NULL, &words);
	if (r)
		return r;
	if (words != 1) {
		fputs(verb_find("plan")->help, stderr);
		return EX_USAGE;
	}
	memset(&shim, 0, sizeof(shim));
	r = learn(&shim, argv[1]);
	if (r == 0)
		r = decide(&shim);
	if (r == 0) {
		admitted = print_verdict(&shim, out);
		print_plan(&shim, out);
		r = fflush(out) != 0 ? EX_IOERR : admitted ? EX_OK : EX_UNAVAILABLE;
	}
	free(shim.facts);
	shim.facts = NULL;
	return r;
}
