/* SPDX-License-Identifier: MIT */
/* Events as lines of text. */
#include "launch/cli/event_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "host/facts.h"
#include "launch/cli/text.h"

#define BODY(name) AXVM__V1__EVENT__BODY_##name

const char *format_ns(uint64_t ns, char *to, size_t size)
{
	static const struct {
		uint64_t unit;
		const char *name;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" } };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (ns >= units[i].unit) {
			snprintf(to, size, "%.*f %s", ns >= 100 * units[i].unit ? 0 : 1,
			         (double)ns / (double)units[i].unit, units[i].name);
			return to;
		}
	snprintf(to, size, "%" PRIu64 " ns", ns);
	return to;
}

const char *format_bytes(uint64_t bytes, char *to, size_t size)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t i = 0;

	for (; value >= 1024 && i + 1 < ARRAY_SIZE(names); i++)
		value /= 1024;
	snprintf(to, size, "%.*f %s", i > 0 && value < 10 ? 1 : 0, value, names[i]);
	return to;
}

/* The name of a value for a person, without the enum's prefix: "POWER_OFF". */
static const char *value_name(const ProtobufCEnumDescriptor *descriptor, int value)
{
	const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(descriptor, value);

	return found ? found->name + strlen(descriptor->values[0].name) - strlen("UNSPECIFIED")
	             : "?";
}

const char *state_name(int state)
{
	return value_name(&axvm__v1__state__descriptor, state);
}

const char *event_stage_name(int stage)
{
	return value_name(&axvm__v1__stage__descriptor, stage);
}

static const char *text_of(const char *text)
{
	return text ? text : "";
}

static void print_stage(FILE *out, const Axvm__V1__Event *event)
{
	char took[32];

	fprintf(out, "%s in %s", event_stage_name(event->stage_completed->stage),
	        format_ns(event->stage_completed->duration_ns, took, sizeof(took)));
}

static void print_requirements(FILE *out, Axvm__V1__Requirement *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!list[i]->met)
			fprintf(out, "\n             %s: asked %s, found %s%s",
			        text_of(list[i]->name), text_of(list[i]->asked),
			        text_of(list[i]->found), list[i]->waived ? " (waived)" : "");
}

static void print_refused(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__HostRefused *refused = event->host_refused;

	fprintf(out, "profile %s", text_of(refused->profile));
	print_requirements(out, refused->requirements, refused->n_requirements);
}

static void print_placed(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__MemoryPlaced *placed = event->memory_placed;

	for (size_t i = 0; i < placed->n_nodes; i++) {
		const Axvm__V1__PlacedNode *node = placed->nodes[i];
		uint64_t bytes =
			node->pages_4k * 4 * KIB + node->pages_2m * 2 * MIB + node->pages_1g * GIB;
		char size[32];

		fprintf(out, "%snode %u on host node %u: %s", i ? "; " : "", node->guest_node,
		        node->host_node, format_bytes(bytes, size, sizeof(size)));
	}
	fprintf(out, "; %" PRIu64 " pages elsewhere", placed->remote_pages);
}

static void print_sealed(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__Sealed *sealed = event->sealed;

	fprintf(out, "%u threads, uid %u, gid %u", sealed->threads, sealed->uid, sealed->gid);
	for (size_t i = 0; i < sealed->n_roles; i++)
		fprintf(out, ", %u %s", sealed->roles[i]->threads, text_of(sealed->roles[i]->role));
	if (sealed->policy_sha256)
		fprintf(out, ", policy %.12s", sealed->policy_sha256);
	for (size_t i = 0; i < sealed->n_not_available; i++)
		fprintf(out, "%s%s", i ? ", " : "; without ", sealed->not_available[i]);
	for (size_t i = 0; i < sealed->n_inherited; i++)
		fprintf(out, "%s%s", i ? ", " : "; inherited ", sealed->inherited[i]);
}

/* Prints the CPU of each vCPU, in order; if none is bound to one CPU, the host nodes whose CPUs
 * they may use. */
static void print_vcpus(FILE *out, const Axvm__V1__Running *running)
{
	size_t pinned = 0;

	for (size_t i = 0; i < running->n_vcpus; i++)
		pinned += running->vcpus[i]->has_host_cpu;
	if (running->n_vcpus > 0)
		fputs(pinned ? ", vCPUs on host CPUs" : ", vCPUs not pinned, on host nodes", out);
	for (size_t i = 0; i < running->n_vcpus; i++) {
		const Axvm__V1__VcpuPlacement *vcpu = running->vcpus[i];

		if (pinned && !vcpu->has_host_cpu)
			fputs(" -", out);
		else if (pinned || vcpu->has_host_node)
			fprintf(out, " %u", pinned ? vcpu->host_cpu : vcpu->host_node);
		else
			fputs(" ?", out);
	}
	if (running->claimed)
		fputs(" (claimed)", out);
}

static void print_running(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__Running *running = event->running;
	size_t open = 0;

	fprintf(out, "profile %s%s", text_of(running->profile),
	        running->development ? " (for development)" : "");
	print_vcpus(out, running);
	if (running->machine_sha256)
		fprintf(out, ", machine %.12s", running->machine_sha256);
	for (size_t i = 0; i < running->n_vulnerabilities; i++) {
		const Axvm__V1__Vulnerability *entry = running->vulnerabilities[i];

		if (facts_is_vulnerable(text_of(entry->state)))
			fprintf(out, "%s%s",
			        open++ ? ", " : ", host vulnerable: ", text_of(entry->name));
	}
	print_requirements(out, running->waived, running->n_waived);
}

static void print_state(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__StateChanged *changed = event->state_changed;

	fprintf(out, "%s -> %s", state_name(changed->from), state_name(changed->to));
	if (changed->reason && changed->reason[0])
		fprintf(out, ": %s", changed->reason);
}

static void print_device(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__DeviceFailed *failed = event->device_failed;

	fprintf(out, "%s: %s", text_of(failed->device_id), text_of(failed->message));
	if (failed->needs_reset)
		fputs(" (waits for its driver to reset it)", out);
	if (failed->suppressed > 0)
		fprintf(out, " (and %" PRIu64 " more since its last event)", failed->suppressed);
}

static void print_panic(FILE *out, const Axvm__V1__Event *event)
{
	fputs(text_of(event->guest_panicked->message), out);
}

static void print_balloon(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__BalloonSettled *settled = event->balloon_settled;

	fprintf(out, "of request %" PRIu64 ": the guest is left with %" PRIu64 " MiB",
	        settled->request_id, settled->actual_mib);
	if (settled->reached)
		fputs(", as asked", out);
	else
		fprintf(out, ", asked for %" PRIu64 " MiB, and has come to a standstill",
		        settled->target_mib);
}

static void print_metrics(FILE *out, const Axvm__V1__Event *event)
{
	fprintf(out, "%zu counters, %zu histograms", event->metrics->n_counters,
	        event->metrics->n_histograms);
}

static void print_reply(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__Reply *reply = event->reply;

	fprintf(out, "to request %" PRIu64 ": ", reply->request_id);
	if (reply->ok)
		fprintf(out, "done, %s", state_name(reply->state));
	else
		fputs(text_of(reply->error ? reply->error->message : "refused"), out);
}

const char *event_end_phrase(const Axvm__V1__Terminal *terminal, char *to, size_t size)
{
	snprintf(to, size, "%s", text_of(terminal->message));
	for (size_t i = 0; i < terminal->n_errors; i++) {
		const char *error = text_of(terminal->errors[i]->message);
		char *at = error[0] ? to : NULL;

		while (at && (at = strstr(at, ": "))) {
			at += 2;
			if (strncmp(at, error, strlen(error)) == 0)
				at[-2] = '\0';
		}
	}
	return to;
}

static void print_planned(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__Planned *planned = event->planned;

	fprintf(out, "profile %s%s", text_of(planned->profile),
	        planned->admitted ? "" : ", refused");
	if (planned->n_vcpus > 0)
		fprintf(out, ", %zu vCPUs on %zu nodes, %zu devices", planned->n_vcpus,
		        planned->n_nodes, planned->n_devices);
	if (planned->machine_sha256)
		fprintf(out, ", machine %.12s", planned->machine_sha256);
	print_requirements(out, planned->unmet, planned->n_unmet);
}

static void print_terminal(FILE *out, const Axvm__V1__Event *event)
{
	const Axvm__V1__Terminal *terminal = event->terminal;
	char phrase[512];

	fprintf(out, "%s, status %u: %s",
	        value_name(&axvm__v1__outcome__descriptor, terminal->outcome),
	        terminal->exit_status, event_end_phrase(terminal, phrase, sizeof(phrase)));
	for (size_t i = 0; i < terminal->n_errors; i++) {
		const Axvm__V1__Error *error = terminal->errors[i];

		fprintf(out, "\n             %s%s%s: %s",
		        value_name(&axvm__v1__error_code__descriptor, (int)error->code),
		        error->field && error->field[0] ? " " : "", text_of(error->field),
		        text_of(error->message));
	}
}

static const struct {
	Axvm__V1__Event__BodyCase body;
	const char *kind;
	void (*print)(FILE *out, const Axvm__V1__Event *event);
} kinds[] = {
	{ BODY(STAGE_COMPLETED), "stage", print_stage },
	{ BODY(HOST_REFUSED), "host refused", print_refused },
	{ BODY(MEMORY_PLACED), "memory", print_placed },
	{ BODY(SEALED), "sealed", print_sealed },
	{ BODY(RUNNING), "running", print_running },
	{ BODY(STATE_CHANGED), "state", print_state },
	{ BODY(DEVICE_FAILED), "device", print_device },
	{ BODY(GUEST_PANICKED), "guest panic", print_panic },
	{ BODY(METRICS), "metrics", print_metrics },
	{ BODY(REPLY), "reply", print_reply },
	{ BODY(PLANNED), "planned", print_planned },
	{ BODY(TERMINAL), "end", print_terminal },
	{ BODY(BALLOON_SETTLED), "balloon", print_balloon },
};

const char *event_kind(const Axvm__V1__Event *event)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].body == event->body_case)
			return kinds[i].kind;
	return NULL;
}

void event_print(FILE *out, const Axvm__V1__Event *event, uint64_t start_ns)
{
	uint64_t since = event->monotonic_ns > start_ns ? event->monotonic_ns - start_ns : 0;
	const char *kind = event_kind(event);

	if (event->dropped > 0)
		fprintf(out, "%12s %" PRIu64 " events before this one were lost\n", "",
		        event->dropped);
	fprintf(out, "%5" PRIu64 ".%06" PRIu64 " %s", since / 1000000000, since / 1000 % 1000000,
	        kind ? kind : "an event of a later version");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].body == event->body_case) {
			fputc(' ', out);
			kinds[i].print(out, event);
		}
	fputc('\n', out);
}

void event_print_json(FILE *out, const Axvm__V1__Event *event)
{
	text_print_json_line(out, &event->base);
}
