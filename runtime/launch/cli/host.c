/* SPDX-License-Identifier: MIT */
/* `axvm host`: nodes, cores and CPUs of this host, the claims on them, and the VMs there.
 *
 * It joins three independent sources: the host's facts; the locks in the folder of claims, which
 * have no names; and the control sockets of VMs, whose threads' affinity tells where they run. So a
 * VM without a control socket appears with claims and no name, and a VM without claims with a name
 * and no claims. */
#include "launch/cli/host.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "launch/cli/claims_here.h"
#include "launch/cli/verb.h"

struct request {
	bool json;
};

static int set_json(void *context, const char *value)
{
	(void)value;
	((struct request *)context)->json = true;
	return 0;
}

static const struct flag rows[] = { { "json", FLAG_NONE, set_json } };
const struct flags host_flags = { "host", rows, ARRAY_SIZE(rows) };

/* ---- looking ------------------------------------------------------------------------------ */

static void look_at_claims(struct host_use *use)
{
	struct claims claims = { 0 };
	int r = use->folder ? claims_open(&claims, -1, use->folder, true) : -ENOENT;

	use->error_cpu = UINT32_MAX;
	for (size_t i = 0; r == 0 && i < use->facts->cpu_count; i++) {
		r = claims_look(&claims, use->facts->cpus[i].id, &use->loads[i]);
		if (r < 0)
			use->error_cpu = use->facts->cpus[i].id;
	}
	for (size_t i = 0; r == 0 && i < use->facts->node_count; i++)
		r = claims_look_memory(&claims, use->facts->nodes[i].id, &use->claimed_mib[i]);
	claims_close(&claims);
	use->claims_error = r;
	if (r < 0) /* drop a partial result */
		memset(use->loads, 0, sizeof(use->loads));
}

static int add_vm(void *context, const char *id, struct client *client)
{
	struct host_use *use = context;
	struct host_vm *vms = use->vms;

	/* In steps of 64. */
	if (use->vm_count % 64 == 0)
		vms = reallocarray(use->vms, use->vm_count + 64, sizeof(*vms));
	if (!vms)
		return -ENOMEM;
	use->vms = vms;
	vms += use->vm_count++;
	*vms = (struct host_vm){ .pid = client ? vms_shim(client) : -1 };
	snprintf(vms->id, sizeof(vms->id), "%s", id);
	if (vms->pid > 0)
		(void)vms_threads(vms->pid, &vms->threads);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct host_vm *)a)->id, ((const struct host_vm *)b)->id);
}

static int look(struct host_use *use)
{
	int r;

	use->facts = facts_new();
	r = use->facts ? facts_probe_quick(use->facts, NULL) : -ENOMEM;
	if (r < 0)
		return r;
	use->folder = claims_here_folder();
	look_at_claims(use);
	sockets_places(&use->places);
	vms_each(&use->places, add_vm, use, &use->beside);
	if (use->vm_count > 0)
		qsort(use->vms, use->vm_count, sizeof(*use->vms), compare);
	return 0;
}

const char *host_claims_error(const struct host_use *use, char *to, size_t size)
{
	static const struct {
		int error;
		const char *text;
	} reasons[] = {
		{ ENOENT,
		  "there is no such folder, so no VM here has claims; `systemd-tmpfiles --create` makes "
		  "axvm's" },
		{ EACCES, "this user may not look there; root may, and the group kvm" },
		{ E2BIG, "a node's memory is claimed in more pieces than there are VMs" },
		{ EMEDIUMTYPE, "what is there is no regular file; remove it" },
	};
	const char *text = errno_text(-use->claims_error);
	char file[24] = "";

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].error == -use->claims_error)
			text = reasons[i].text;
	if (use->error_cpu != UINT32_MAX)
		snprintf(file, sizeof(file), "/cpu%u", use->error_cpu);
	if (use->folder)
		snprintf(to, size, "%s%s: %s", use->folder, file, text);
	else
		snprintf(to, size, "AXVM_CLAIMS_DIR is empty");
	return to;
}

/* ---- printing ------------------------------------------------------------------------------ */

#define NAMES_WIDTH 36

/* The names that fit, and the number of the others. */
struct names {
	/* the first may be longer than the column, and is not cut */
	char text[VM_ID_MAX + NAMES_WIDTH];
	size_t left_out;
};

static void add_name(struct names *names, const char *name)
{
	size_t used = strlen(names->text);

	if (names->left_out > 0 || used + 1 + strlen(name) > NAMES_WIDTH - 5) {
		/* The first is never left out. */
		if (used > 0) {
			names->left_out++;
			return;
		}
	}
	snprintf(names->text + used, sizeof(names->text) - used, "%s%s", used ? " " : "", name);
}

static const char *names_end(struct names *names)
{
	size_t used = strlen(names->text);

	if (names->left_out > 0)
		snprintf(names->text + used, sizeof(names->text) - used, " +%zu", names->left_out);
	return names->text;
}

/* Adjacent cores with the same use. */
struct row {
	size_t cores, threads;
	int32_t node;
	struct cpu_bitmap cpus;
	/* of each thread of a core, in the order of the CPUs */
	struct claims_load loads[FACTS_SIBLINGS_MAX];
	struct names names;
};

static bool is_first_of_core(const struct host_cpu *cpu)
{
	return cpu->online && (cpu->sibling_count == 0 || cpu->siblings[0] == cpu->id);
}

static void add_thread(const struct host_use *use, struct row *row, uint32_t id)
{
	const struct host_cpu *cpu = facts_cpu(use->facts, id);

	if (!cpu || !cpu->online || row->threads == FACTS_SIBLINGS_MAX)
		return;
	cpu_bitmap_add(&row->cpus, id);
	row->loads[row->threads++] = use->loads[cpu - use->facts->cpus];
}

static bool overlap(const struct cpu_bitmap *a, const struct cpu_bitmap *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(a->words); i++)
		if (a->words[i] & b->words[i])
			return true;
	return false;
}

static struct row row_of_core(const struct host_use *use, const struct host_cpu *first)
{
	struct row row = { .cores = 1, .node = first->node };

	if (first->sibling_count == 0)
		add_thread(use, &row, first->id);
	for (size_t i = 0; i < first->sibling_count; i++)
		add_thread(use, &row, first->siblings[i]);
	for (size_t i = 0; i < use->vm_count; i++)
		if (overlap(&use->vms[i].threads.pinned, &row.cpus))
			add_name(&row.names, use->vms[i].id);
	return row;
}

static bool is_like(const struct row *a, const struct row *b)
{
	bool same = a->threads == b->threads && a->names.left_out == b->names.left_out &&
	            strcmp(a->names.text, b->names.text) == 0;

	for (size_t i = 0; same && i < a->threads; i++)
		same = a->loads[i].vcpus == b->loads[i].vcpus && a->loads[i].io == b->loads[i].io &&
		       a->loads[i].whole == b->loads[i].whole;
	return same;
}

/* A cell: "2,1": claims of each thread; "-": none at all; "whole"; "?": not known. */
static const char *cell(const struct host_use *use, const struct row *row, bool io, char *to,
                        size_t size)
{
	size_t used = 0, whole = 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < row->threads; i++) {
		whole += row->loads[i].whole;
		sum += io ? row->loads[i].io : row->loads[i].vcpus;
	}
	if (sum == 0 || whole == row->threads) {
		snprintf(to, size, "%s", use->claims_error < 0 ? "?" : whole ? "whole" : "-");
		return to;
	}
	for (size_t i = 0; i < row->threads && used < size; i++) {
		const struct claims_load *load = &row->loads[i];

		if (load->whole)
			used += (size_t)snprintf(to + used, size - used, "%swhole", i ? "," : "");
		else
			used += (size_t)snprintf(to + used, size - used, "%s%u", i ? "," : "",
			                         io ? load->io : load->vcpus);
	}
	return to;
}

static void print_row(FILE *out, const struct host_use *use, struct row *row)
{
	char list[512], vcpus[64], io[64];
	const char *names;

	if (row->cores == 0)
		return;
	names = names_end(&row->names);
	fprintf(out, "%6zu  %-15s %-9s ", row->cores,
	        cpu_bitmap_format(&row->cpus, list, sizeof(list)),
	        cell(use, row, false, vcpus, sizeof(vcpus)));
	fprintf(out, *names ? "%-9s %s\n" : "%s\n", cell(use, row, true, io, sizeof(io)), names);
}

static void print_cores(FILE *out, const struct host_use *use, int32_t node)
{
	struct row pending = { 0 };

	for (size_t i = 0; i < use->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &use->facts->cpus[i];
		struct row row;

		if (!is_first_of_core(cpu) || cpu->node != node)
			continue;
		row = row_of_core(use, cpu);
		if (pending.cores > 0 && is_like(&pending, &row)) {
			pending.cores++;
			for (size_t k = 0; k < ARRAY_SIZE(row.cpus.words); k++)
				pending.cpus.words[k] |= row.cpus.words[k];
			continue;
		}
		print_row(out, use, &pending);
		pending = row;
	}
	print_row(out, use, &pending);
}

static void print_nodes(FILE *out, const struct host_use *use)
{
	const struct host_facts *facts = use->facts;

	fprintf(out, "%6s  %-15s %-9s %-9s %s\n", "CORES", "CPUS", "VCPUS", "I/O", "VMS");
	for (size_t i = 0; i < facts->node_count; i++) {
		const struct host_node *node = &facts->nodes[i];

		fprintf(out, "node %u: %llu MiB, %llu free", node->id,
		        (unsigned long long)node->memory_mib, (unsigned long long)node->free_mib);
		if (use->claims_error == 0 && use->claimed_mib[i] > 0)
			fprintf(out, ", %llu of that claimed",
			        (unsigned long long)use->claimed_mib[i]);
		fputc('\n', out);
		print_cores(out, use, (int32_t)node->id);
	}
	print_cores(out, use, -1);
}

static void print_summary(FILE *out, const struct host_use *use)
{
	const struct host_facts *facts = use->facts;
	struct claims_sum sum = { 0 };
	size_t cores = 0;
	char text[512];

	for (size_t i = 0; i < facts->cpu_count; i++) {
		cores += is_first_of_core(&facts->cpus[i]);
		if (facts->cpus[i].online)
			claims_sum_add(&sum, &use->loads[i]);
	}
	fprintf(out, "nodes %zu, cores %zu, CPUs %zu; VMs with a control socket: %zu\n",
	        facts->node_count, cores, sum.cpus, use->vm_count);
	if (use->claims_error < 0)
		fprintf(out, "claims: not known: %s\n", host_claims_error(use, text, sizeof(text)));
	else
		fprintf(out, "CPUs: %s; by %llu vCPUs and %llu I/O threads that share them\n",
		        claims_sum_text(&sum, text, sizeof(text)), (unsigned long long)sum.vcpus,
		        (unsigned long long)sum.io);
}

/* Prints VMs whose threads are bound to several CPUs, by these sets; `told` has an entry for each
 * VM. */
static void print_shared(FILE *out, const struct host_use *use, bool *told)
{
	for (size_t i = 0; i < use->vm_count; i++) {
		const struct cpu_bitmap *cpus = &use->vms[i].threads.free;
		struct names names = { .text = "" };
		char list[512];

		if (told[i] || cpu_bitmap_count(cpus) == 0)
			continue;
		for (size_t k = i; k < use->vm_count; k++)
			if (memcmp(cpus, &use->vms[k].threads.free, sizeof(*cpus)) == 0) {
				add_name(&names, use->vms[k].id);
				told[k] = true;
			}
		fprintf(out, "not pinned, on CPUs %s: %s\n",
		        cpu_bitmap_format(cpus, list, sizeof(list)), names_end(&names));
	}
}

static void print_others(FILE *out, const struct host_use *use)
{
	struct names names = { .text = "" };

	for (size_t i = 0; i < use->vm_count; i++)
		if (cpu_bitmap_count(&use->vms[i].threads.pinned) == 0 &&
		    cpu_bitmap_count(&use->vms[i].threads.free) == 0)
			add_name(&names, use->vms[i].id);
	if (names.text[0])
		fprintf(out, "no threads of vCPUs yet, or not to be looked at: %s\n",
		        names_end(&names));
	(void)vms_print_beside(out, &use->beside);
}

void host_print(FILE *out, const struct host_use *use)
{
	_cleanup_free_ bool *told = calloc(use->vm_count + 1, sizeof(*told));

	print_summary(out, use);
	print_nodes(out, use);
	if (told)
		print_shared(out, use, told);
	print_others(out, use);
}

int axvm_cmd_host(int argc, char **argv, FILE *out)
{
	_cleanup_free_ struct host_use *use = calloc(1, sizeof(*use));
	struct request request = { 0 };
	int words, r;

	r = flags_parse(&host_flags, argc, argv, &request, &words);
	if (r)
		return r;
	if (words > 0) {
		fputs(verb_find("host")->help, stderr);
		return EX_USAGE;
	}
	r = use ? look(use) : -ENOMEM;
	if (r < 0)
		fprintf(stderr, "axvm host: cannot tell what this host is: %s\n", facts_error(r));
	else if (request.json)
		r = host_print_json(out, use);
	else
		host_print(out, use);
	if (use) {
		free(use->facts);
		free(use->vms);
	}
	if (r < 0 || fflush(out) != 0)
		return r < 0 ? EX_OSERR : EX_IOERR;
	/* Without a folder there are no claims, which is no error. */
	return use->claims_error < 0 && use->claims_error != -ENOENT ? EX_UNAVAILABLE : EX_OK;
}
