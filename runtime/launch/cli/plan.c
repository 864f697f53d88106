/* SPDX-License-Identifier: MIT */
/* `axvm plan`: what a launch would get on this host, or on a host whose facts are in a file,
 * without launching it.
 *
 * The shim decides (ControlStream.plan), by the same code as in a launch, so a launch would get
 * this plan, and its Running event this digest. The command prints the shim's answer. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/problem.h"
#include "base/varint.h"
#include "host/cpulist.h"
#include "launch/cli/ask_shim.h"
#include "launch/cli/claims_here.h"
#include "launch/cli/facts_file.h"
#include "launch/cli/run_options.h"
#include "launch/cli/shim_path.h"
#include "launch/cli/verb.h"

struct request {
	const char *facts; /* NULL: this host */
	const char *shim;  /* NULL: looked up */
};

static int set_facts(void *context, const char *value)
{
	((struct request *)context)->facts = value;
	return 0;
}

static int set_shim(void *context, const char *value)
{
	((struct request *)context)->shim = value;
	return 0;
}

static const struct flag rows[] = { { "facts", FLAG_FILE, set_facts },
	                            { "shim", FLAG_FILE, set_shim } };
const struct flags plan_flags = { "plan", rows, ARRAY_SIZE(rows) };

/* ---- the question ------------------------------------------------------------------------- */

/* Adds a channel to a vsock without one, as `axvm run` does at the launch; the plan does not depend
 * on it. */
static int add_channel(Axvm__V1__LaunchSpec *spec)
{
	Axvm__V1__Resource *channel;

	if (!spec->vsock || spec->vsock->channel)
		return 0;
	channel = malloc(sizeof(*channel));
	if (!channel)
		return EX_OSERR;
	axvm__v1__resource__init(channel);
	spec->vsock->channel = channel;
	channel->path = strdup("axvm run");
	if (!channel->path)
		return EX_OSERR;
	channel->source_case = AXVM__V1__RESOURCE__SOURCE_PATH;
	return 0;
}

/* Fields of messages that are packed already. */
enum { TAG_PLAN = 3 << 3 | 2, TAG_FACTS = 2 << 3 | 2 };

/* Encodes a ControlStream with the given PlanRequest and the packed facts in it. The caller frees
 * it. */
static uint8_t *pack(const Axvm__V1__PlanRequest *plan, const uint8_t *facts, size_t facts_size,
                     size_t *ret_size)
{
	uint8_t head[1 + VARINT_BYTES_MAX] = { TAG_FACTS };
	size_t head_size = facts ? 1 + varint_put(head + 1, facts_size) : 0;
	size_t size = axvm__v1__plan_request__get_packed_size(plan), at = 0;
	uint8_t *bytes = malloc(1 + VARINT_BYTES_MAX + size + sizeof(head) + facts_size);

	if (!bytes)
		return NULL;
	bytes[at++] = TAG_PLAN;
	at += varint_put(bytes + at, size + head_size + facts_size);
	at += axvm__v1__plan_request__pack(plan, bytes + at);
	memcpy(bytes + at, head, head_size);
	at += head_size;
	if (facts)
		memcpy(bytes + at, facts, facts_size);
	*ret_size = at + facts_size;
	return bytes;
}

/* Makes the stream for a spec's file. The caller frees it, and *ret_spec. */
static int make_question(const struct request *request, const char *path,
                         Axvm__V1__LaunchSpec **ret_spec, uint8_t **ret_bytes, size_t *ret_size)
{
	Axvm__V1__PlanRequest plan = AXVM__V1__PLAN_REQUEST__INIT;
	_cleanup_free_ uint8_t *facts = NULL;
	size_t facts_size = 0;
	int r = spec_file_read("axvm plan", path, ret_spec);

	if (r == 0)
		r = add_channel(*ret_spec);
	if (r == 0 && request->facts)
		r = facts_file_pack("axvm plan", request->facts, &facts, &facts_size);
	if (r)
		return r;
	plan.launch = *ret_spec;
	plan.claims = request->facts ? NULL : (char *)(uintptr_t)claims_here_folder();
	*ret_bytes = pack(&plan, facts, facts_size, ret_size);
	return *ret_bytes ? 0 : EX_OSERR;
}

/* ---- the answer --------------------------------------------------------------------------- */

static const char *text_of(const char *text)
{
	return text ? text : "";
}

static void print_verdict(const Axvm__V1__Planned *plan, FILE *out)
{
	fprintf(out, "profile %s: %s\n", text_of(plan->profile),
	        plan->n_unmet == 0 ? "this host meets it"
	        : !plan->admitted  ? "this host is refused"
	                           : "unmet, but waived by the spec");
	for (size_t i = 0; i < plan->n_unmet; i++)
		fprintf(out, "  %s: asked %s, found %s\n", text_of(plan->unmet[i]->name),
		        text_of(plan->unmet[i]->asked), text_of(plan->unmet[i]->found));
}

/* If no VM of this user could claim, says so in the words of `axvm run`, which would go without
 * claims too. */
static void complain_of_claims(const Axvm__V1__Planned *plan)
{
	bool made = geteuid() == 0 && strcmp(text_of(claims_here_folder()), CLAIMS_PATH) == 0 &&
	            access(CLAIMS_PATH, F_OK) < 0 && errno == ENOENT;

	if (plan->claims_error)
		fprintf(stderr, "axvm plan: %s%s\n", plan->claims_error,
		        made ? ", and so does root's `axvm run`, whose VM then claims CPUs" : "");
}

static void print_claims(const Axvm__V1__Planned *plan, FILE *out)
{
	if (plan->claims)
		fprintf(out, "CPUs as the claims in %s are now; the next launch changes them\n",
		        plan->claims);
	else
		fprintf(out, "CPUs without a look at other VMs%s\n",
		        plan->will_claim
		                ? ": the launch will claim its own, which is not looked at here"
		        : plan->pinned ? ""
		                       : ": not pinned, the kernel balances within the node");
}

static void print_cpus(const Axvm__V1__Planned *plan, FILE *out)
{
	char cpu[16];

	fprintf(out, "%5s %8s %8s %9s %10s\n", "VCPU", "APIC ID", "HOST CPU", "HOST NODE",
	        "GUEST NODE");
	for (size_t i = 0; i < plan->n_vcpus; i++) {
		const Axvm__V1__PlannedVcpu *vcpu = plan->vcpus[i];

		snprintf(cpu, sizeof(cpu), "%u", vcpu->host_cpu);
		fprintf(out, "%5u %8u %8s %9d %10u%s%s\n", vcpu->index, vcpu->apic_id,
		        vcpu->has_host_cpu ? cpu : "-",
		        vcpu->has_host_node ? (int)vcpu->host_node : -1, vcpu->guest_node,
		        vcpu->shares_cpu ? "  shares its CPU" : "",
		        vcpu->far_from_memory ? "  far from its memory" : "");
	}
}

#define PLAN_LIST_MAX 128

static const char *io_cpus(const Axvm__V1__PlannedNode *node, const Axvm__V1__PlannedIoThread *io,
                           char list[PLAN_LIST_MAX])
{
	struct cpu_bitmap cpus = { 0 };

	if (io->has_host_cpu)
		cpu_bitmap_add(&cpus, io->host_cpu);
	for (size_t i = 0; !io->has_host_cpu && i < node->n_host_cpus; i++)
		cpu_bitmap_add(&cpus, node->host_cpus[i]);
	return cpu_bitmap_format(&cpus, list, PLAN_LIST_MAX);
}

static void print_nodes(const Axvm__V1__Planned *plan, FILE *out)
{
	static const char *const pages[] = {
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_4K] = "4 KiB pages",
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_THP] =
			"4 KiB pages, transparent huge ones where there are",
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_2M] = "2 MiB pages",
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_1G] = "1 GiB pages",
	};
	const char *size =
		plan->page_size < ARRAY_SIZE(pages) ? text_of(pages[plan->page_size]) : "";
	char list[PLAN_LIST_MAX];

	for (size_t i = 0; i < plan->n_nodes; i++) {
		const Axvm__V1__PlannedNode *node = plan->nodes[i];

		fprintf(out, "guest node %u: %llu MiB on host node %d%s in %s; I/O thread on CPU",
		        node->guest_node, (unsigned long long)node->size_mib,
		        node->has_host_node ? (int)node->host_node : -1,
		        node->chosen ? " (chosen here)" : "", size);
		for (size_t k = 0; k < node->n_io_threads; k++)
			fprintf(out, "%s %s%s", k > 0 ? "," : "",
			        io_cpus(node, node->io_threads[k], list),
			        node->io_threads[k]->shares_cpu ? ", with a vCPU" : "");
		fputs("; distances", out);
		for (size_t k = 0; k < node->n_distances; k++)
			fprintf(out, " %u", node->distances[k]);
		fputc('\n', out);
	}
}

static void print_ranges(Axvm__V1__PlannedRange *const *ranges, size_t count, FILE *out)
{
	for (size_t i = 0; i < count; i++) {
		const Axvm__V1__PlannedRange *range = ranges[i];

		fprintf(out, "memory 0x%012llx-0x%012llx %s", (unsigned long long)range->address,
		        (unsigned long long)(range->address + range->size - 1),
		        text_of(range->what));
		if (range->has_guest_node)
			fprintf(out, " of node %u", range->guest_node);
		fputc('\n', out);
	}
}

/* The command line is taken from the spec, since it may be larger than an event. */
static void print_boot(const Axvm__V1__Planned *plan, const Axvm__V1__LaunchSpec *spec, FILE *out)
{
	if (plan->has_load_address) {
		fprintf(out, "flat image at %#llx\n", (unsigned long long)plan->load_address);
		return;
	}
	fprintf(out, "command line: %s\n",
	        spec->boot && spec->boot->kind_case == AXVM__V1__BOOT__KIND_LINUX_BOOT
	                ? text_of(spec->boot->linux_boot->cmdline)
	                : "");
	if (plan->loaded_unknown)
		fprintf(out, "kernel: placed at launch, by files that are not here\n");
	print_ranges(plan->loaded, plan->n_loaded, out);
}

static void print_devices(const Axvm__V1__Planned *plan, FILE *out)
{
	for (size_t i = 0; i < plan->n_devices; i++) {
		const Axvm__V1__PlannedDevice *device = plan->devices[i];

		fprintf(out,
		        "device 00:%02x.0 %s%s%s: BAR 0 at %#llx, %u queue%s, vectors 0-%u as GSI "
		        "%u-%u, io%u\n",
		        device->slot, text_of(device->kind), device->id ? " " : "",
		        text_of(device->id), (unsigned long long)device->bar, device->queues,
		        device->queues == 1 ? "" : "s", device->queues, device->first_gsi,
		        device->first_gsi + device->queues, device->io_thread);
	}
}

static void print_digests(const Axvm__V1__Planned *plan, FILE *out)
{
	for (size_t i = 0; i < plan->n_tables; i++)
		fprintf(out, "table %s at %#llx, %u bytes, sha256 %s\n",
		        text_of(plan->tables[i]->signature),
		        (unsigned long long)plan->tables[i]->address, plan->tables[i]->size,
		        text_of(plan->tables[i]->sha256));
	if (plan->machine_sha256)
		fprintf(out, "machine_sha256 %s\n", plan->machine_sha256);
}

static void print(const Axvm__V1__Planned *plan, const Axvm__V1__LaunchSpec *spec, FILE *out)
{
	print_verdict(plan, out);
	if (plan->n_vcpus > 0) {
		complain_of_claims(plan);
		print_claims(plan, out);
		print_cpus(plan, out);
		print_nodes(plan, out);
		print_ranges(plan->ranges, plan->n_ranges, out);
		print_boot(plan, spec, out);
		print_devices(plan, out);
		print_digests(plan, out);
	}
	if (plan->other_profile)
		fprintf(out,
		        "profile %s would take this host, for development: profile: \"%s\" in the spec\n",
		        plan->other_profile, plan->other_profile);
}

/* An error about facts names their file; if the file is not HostFacts at all, no byte of it is
 * shown. */
static const char *error_line(const Axvm__V1__Error *error, const char *facts_path,
                              char line[PROBLEM_LINE_MAX])
{
	const char *field = text_of(error->field), *message = text_of(error->message);

	if (!facts_path || strncmp(field, "facts", strlen("facts")) != 0)
		return problem_line(field, message, line);
	if (error->code == AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_MALFORMED)
		message = "is not an axvm.v1.HostFacts; `axvm probe --text` writes one";
	snprintf(line, PROBLEM_LINE_MAX, "%s: %s", facts_path, message);
	return line;
}

/* Prints all errors that the verdict has not told. */
static void complain(const Axvm__V1__Terminal *terminal, const char *facts_path)
{
	char line[PROBLEM_LINE_MAX];

	for (size_t i = 0; i < terminal->n_errors; i++)
		if (terminal->errors[i]->code != AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_REFUSED)
			fprintf(stderr, "axvm plan: %s\n",
			        error_line(terminal->errors[i], facts_path, line));
}

/* Prints all events in order; the exit status is the shim's. */
static int print_answer(const Axvm__V1__EventStream *answer, const Axvm__V1__LaunchSpec *spec,
                        const char *facts_path, FILE *out)
{
	for (size_t i = 0; i < answer->n_events; i++) {
		const Axvm__V1__Event *event = answer->events[i];

		if (event->body_case == AXVM__V1__EVENT__BODY_PLANNED)
			print(event->planned, spec, out);
		if (event->body_case != AXVM__V1__EVENT__BODY_TERMINAL)
			continue;
		complain(event->terminal, facts_path);
		return fflush(out) != 0 ? EX_IOERR : (int)event->terminal->exit_status;
	}
	return -ENOENT;
}

static int ask(const struct request *request, const uint8_t *bytes, size_t size,
               const Axvm__V1__LaunchSpec *spec, FILE *out)
{
	Axvm__V1__EventStream *answer = NULL;
	char path[PATH_MAX];
	const char *shim = shim_path(request->shim, path);
	int wait_status = 0, r = ask_shim(shim, bytes, size, &answer, &wait_status);

	if (r < 0 && r != -EBADMSG) {
		fprintf(stderr, "axvm plan: cannot run %s: %s%s\n", shim ? shim : "axvm-shim",
		        errno_text(-r),
		        r == -ENOENT ? " (--shim FILE or AXVM_SHIM say where it is)" : "");
		return r == -ENOENT ? EX_NOINPUT : EX_OSERR;
	}
	r = answer ? print_answer(answer, spec, request->facts, out) : -ENOENT;
	if (answer)
		axvm__v1__event_stream__free_unpacked(answer, NULL);
	if (r >= 0)
		return r;
	if (WIFSIGNALED(wait_status))
		fprintf(stderr, "axvm plan: the shim was ended by signal %d (%s)\n",
		        WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	else
		fprintf(stderr,
		        "axvm plan: the shim ended with status %d and no terminal event: it has a bug, or --shim or "
		        "AXVM_SHIM name another program\n",
		        WEXITSTATUS(wait_status));
	return EX_SOFTWARE;
}

int axvm_cmd_plan(int argc, char **argv, FILE *out)
{
	Axvm__V1__LaunchSpec *spec = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct request request = { 0 };
	size_t size = 0;
	int words, r;

	r = flags_parse(&plan_flags, argc, argv, &request, &words);
	if (r)
		return r;
	if (words != 1) {
		fputs(verb_find("plan")->help, stderr);
		return EX_USAGE;
	}
	r = make_question(&request, argv[1], &spec, &bytes, &size);
	if (r == 0)
		r = ask(&request, bytes, size, spec, out);
	if (spec)
		axvm__v1__launch_spec__free_unpacked(spec, NULL);
	return r;
}
