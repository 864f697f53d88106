/* SPDX-License-Identifier: MIT */
/* Events from plain C. The messages are built on the stack, out of the caller's strings, and
 * encoded from there. */
#include "interface/event.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* protobuf-c's structs have no const; nothing is written through them when they are encoded. */
#define TEXT(s) ((char *)(uintptr_t)(s))
#define SET(message, field, value) ((message)->has_##field = 1, (message)->field = (value))
#define EVENT(case_)                                                                               \
	{                                                                                          \
		PROTOBUF_C_MESSAGE_INIT(&axvm__v1__event__descriptor),                             \
			.body_case = AXVM__V1__EVENT__BODY_##case_                                 \
	}

/* Beside its texts, with the VM's name, an event has numbers: tags, lengths and at most 10 bytes each. */
static_assert(EVENT_REPLY_BYTES >= PROBLEM_MESSAGE_MAX + PROBLEM_FIELD_MAX + 64 + 20 * 12,
              "the room that is kept for a reply is enough for any");
/* Kept at once: for the next command, for a pause that has not come into force, for the reply in question. */
static_assert(EVENT_REPORT_BYTES_MAX + 4 * EVENT_REPLY_BYTES <= EVENT_RING_SIZE,
              "there is room for a reply with the largest report when nothing else waits");

static void fill_stage(Axvm__V1__StageCompleted *to, enum axvm_stage stage, uint64_t duration_ns)
{
	axvm__v1__stage_completed__init(to);
	SET(to, stage, (Axvm__V1__Stage)stage);
	SET(to, duration_ns, duration_ns);
}

static void fill_error(Axvm__V1__Error *to, const struct problem *from, enum axvm_stage stage)
{
	const struct problem_class *class = problem_class_of(from->code);

	axvm__v1__error__init(to);
	SET(to, code, (Axvm__V1__ErrorCode)from->code);
	SET(to, stage, (Axvm__V1__Stage)stage);
	SET(to, severity, (Axvm__V1__Severity) class->severity);
	/* A kernel that had no memory for a call may have some later, whoever was refused. */
	SET(to, retryable, class->retryable || from->error_number == ENOMEM);
	to->has_error_number = from->error_number > 0;
	to->error_number = from->error_number;
	to->field = from->field[0] ? TEXT(from->field) : NULL;
	to->message = TEXT(from->message);
}

static void fill_requirements(Axvm__V1__Requirement *to, Axvm__V1__Requirement **list,
                              const struct event_requirement *from, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		axvm__v1__requirement__init(&to[i]);
		to[i].name = TEXT(from[i].name);
		to[i].asked = TEXT(from[i].asked);
		to[i].found = TEXT(from[i].found);
		SET(&to[i], met, from[i].met);
		SET(&to[i], waived, from[i].waived);
		list[i] = &to[i];
	}
}

int event_stage_completed(struct event_writer *w, enum axvm_stage stage, uint64_t duration_ns)
{
	Axvm__V1__Event event = EVENT(STAGE_COMPLETED);
	Axvm__V1__StageCompleted body;

	fill_stage(&body, stage, duration_ns);
	event.stage_completed = &body;
	return event_writer_put(w, &event);
}

int event_host_refused(struct event_writer *w, const char *profile,
                       const struct event_requirement *requirements, size_t count)
{
	Axvm__V1__Event event = EVENT(HOST_REFUSED);
	Axvm__V1__HostRefused body = AXVM__V1__HOST_REFUSED__INIT;
	Axvm__V1__Requirement rows[EVENT_REQUIREMENTS_MAX], *list[EVENT_REQUIREMENTS_MAX];

	if (count > EVENT_REQUIREMENTS_MAX)
		return -E2BIG;
	fill_requirements(rows, list, requirements, count);
	body.profile = TEXT(profile);
	body.requirements = list;
	body.n_requirements = count;
	event.host_refused = &body;
	return event_writer_put(w, &event);
}

int event_memory_placed(struct event_writer *w, const struct event_placed_node *nodes, size_t count,
                        uint64_t remote_pages)
{
	Axvm__V1__Event event = EVENT(MEMORY_PLACED);
	Axvm__V1__MemoryPlaced body = AXVM__V1__MEMORY_PLACED__INIT;
	Axvm__V1__PlacedNode rows[EVENT_NODES_MAX], *list[EVENT_NODES_MAX];

	if (count > EVENT_NODES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < count; i++) {
		axvm__v1__placed_node__init(&rows[i]);
		SET(&rows[i], guest_node, nodes[i].guest_node);
		SET(&rows[i], host_node, nodes[i].host_node);
		SET(&rows[i], pages_4k, nodes[i].pages_4k);
		SET(&rows[i], pages_2m, nodes[i].pages_2m);
		SET(&rows[i], pages_1g, nodes[i].pages_1g);
		SET(&rows[i], remote_pages, nodes[i].remote_pages);
		list[i] = &rows[i];
	}
	body.nodes = list;
	body.n_nodes = count;
	SET(&body, remote_pages, remote_pages);
	event.memory_placed = &body;
	return event_writer_put(w, &event);
}

int event_sealed(struct event_writer *w, const struct event_sealed *sealed)
{
	Axvm__V1__Event event = EVENT(SEALED);
	Axvm__V1__Sealed body = AXVM__V1__SEALED__INIT;
	Axvm__V1__SealedRole rows[EVENT_NAMES_MAX], *list[EVENT_NAMES_MAX];

	if (sealed->roles_count > EVENT_NAMES_MAX || sealed->fds_count > EVENT_FDS_MAX ||
	    sealed->namespaces_count > EVENT_NAMES_MAX ||
	    sealed->not_available_count > EVENT_NAMES_MAX || sealed->inherited_count > EVENT_NAMES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < sealed->roles_count; i++) {
		axvm__v1__sealed_role__init(&rows[i]);
		rows[i].role = TEXT(sealed->roles[i].role);
		SET(&rows[i], threads, sealed->roles[i].threads);
		SET(&rows[i], instructions, sealed->roles[i].instructions);
		list[i] = &rows[i];
	}
	SET(&body, threads, sealed->threads);
	SET(&body, no_new_privs, sealed->no_new_privs);
	SET(&body, dumpable, sealed->dumpable);
	SET(&body, capabilities_empty, sealed->capabilities_empty);
	SET(&body, uid, sealed->uid);
	SET(&body, gid, sealed->gid);
	SET(&body, landlock_abi, sealed->landlock_abi);
	body.namespaces = (char **)(uintptr_t)sealed->namespaces;
	body.n_namespaces = sealed->namespaces_count;
	body.namespace_inodes = (uint64_t *)(uintptr_t)sealed->namespace_inodes;
	body.n_namespace_inodes = sealed->namespace_inodes ? sealed->namespaces_count : 0;
	SET(&body, rings_restricted, sealed->rings_restricted);
	SET(&body, securebits_locked, sealed->securebits_locked);
	SET(&body, memory_deny_write_execute, sealed->memory_deny_write_execute);
	SET(&body, launcher_death_told, sealed->launcher_death_told);
	body.roles = list;
	body.n_roles = sealed->roles_count;
	body.policy_sha256 = TEXT(sealed->policy_sha256);
	body.not_available = (char **)(uintptr_t)sealed->not_available;
	body.n_not_available = sealed->not_available_count;
	body.inherited = (char **)(uintptr_t)sealed->inherited;
	body.n_inherited = sealed->inherited_count;
	body.fds = (uint32_t *)(uintptr_t)sealed->fds;
	body.n_fds = sealed->fds_count;
	event.sealed = &body;
	return event_writer_put(w, &event);
}

static void fill_threads(Axvm__V1__ThreadRecord *to, Axvm__V1__ThreadRecord **list,
                         const struct thread_record *from, size_t count, bool pinned)
{
	for (size_t i = 0; i < count; i++) {
		axvm__v1__thread_record__init(&to[i]);
		to[i].name = TEXT(from[i].name);
		to[i].has_host_cpu = pinned;
		to[i].host_cpu = from[i].host_cpu;
		SET(&to[i], host_node, from[i].host_node);
		SET(&to[i], started_ns, from[i].started_ns);
		SET(&to[i], staffed_ns, from[i].staffed_ns);
		SET(&to[i], sealing_ns, from[i].sealing_ns);
		list[i] = &to[i];
	}
}

static void fill_vulnerabilities(Axvm__V1__Vulnerability *to, Axvm__V1__Vulnerability **list,
                                 const struct host_named *from, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		axvm__v1__vulnerability__init(&to[i]);
		to[i].name = TEXT(from[i].name);
		to[i].state = TEXT(from[i].value);
		list[i] = &to[i];
	}
}

int event_running(struct event_writer *w, const struct event_running *running)
{
	Axvm__V1__Event event = EVENT(RUNNING);
	Axvm__V1__Running body = AXVM__V1__RUNNING__INIT;
	Axvm__V1__Requirement waived[EVENT_REQUIREMENTS_MAX], *waived_list[EVENT_REQUIREMENTS_MAX];
	Axvm__V1__VcpuPlacement vcpus[EVENT_VCPUS_MAX], *vcpu_list[EVENT_VCPUS_MAX];
	Axvm__V1__ThreadRecord threads[EVENT_THREADS_MAX], *thread_list[EVENT_THREADS_MAX];
	Axvm__V1__Vulnerability known[EVENT_VULNERABILITIES_MAX], *known_list[EVENT_VULNERABILITIES_MAX];

	if (running->waived_count > EVENT_REQUIREMENTS_MAX ||
	    running->vcpus_count > EVENT_VCPUS_MAX || running->threads_count > EVENT_THREADS_MAX ||
	    running->vulnerabilities_count > EVENT_VULNERABILITIES_MAX)
		return -E2BIG;
	fill_vulnerabilities(known, known_list, running->vulnerabilities, running->vulnerabilities_count);
	fill_threads(threads, thread_list, running->threads, running->threads_count,
	             running->pinned);
	fill_requirements(waived, waived_list, running->waived, running->waived_count);
	for (size_t i = 0; i < running->vcpus_count; i++) {
		axvm__v1__vcpu_placement__init(&vcpus[i]);
		SET(&vcpus[i], index, running->vcpus[i].index);
		SET(&vcpus[i], apic_id, running->vcpus[i].apic_id);
		vcpus[i].has_host_cpu = running->pinned;
		vcpus[i].host_cpu = running->vcpus[i].host_cpu;
		SET(&vcpus[i], host_node, running->vcpus[i].host_node);
		vcpu_list[i] = &vcpus[i];
	}
	body.profile = TEXT(running->profile);
	SET(&body, development, running->development);
	SET(&body, pinned, running->pinned);
	SET(&body, claimed, running->claimed);
	body.waived = waived_list;
	body.n_waived = running->waived_count;
	body.vcpus = vcpu_list;
	body.n_vcpus = running->vcpus_count;
	body.threads = thread_list;
	body.n_threads = running->threads_count;
	body.machine_sha256 = TEXT(running->machine_sha256);
	body.kernel_sha256 = TEXT(running->kernel_sha256);
	body.initrd_sha256 = TEXT(running->initrd_sha256);
	body.version = TEXT(running->version);
	body.vulnerabilities = known_list;
	body.n_vulnerabilities = running->vulnerabilities_count;
	event.running = &body;
	return event_writer_put(w, &event);
}

int event_state_changed(struct event_writer *w, enum axvm_state from, enum axvm_state to,
                        const char *reason)
{
	Axvm__V1__Event event = EVENT(STATE_CHANGED);
	Axvm__V1__StateChanged body = AXVM__V1__STATE_CHANGED__INIT;

	SET(&body, from, (Axvm__V1__State)from);
	SET(&body, to, (Axvm__V1__State)to);
	body.reason = TEXT(reason);
	event.state_changed = &body;
	return event_writer_put(w, &event);
}

int event_device_failed(struct event_writer *w, const char *device_id, int queue, int error_number,
                        bool needs_reset, const char *message, uint64_t suppressed)
{
	Axvm__V1__Event event = EVENT(DEVICE_FAILED);
	Axvm__V1__DeviceFailed body = AXVM__V1__DEVICE_FAILED__INIT;

	body.device_id = TEXT(device_id);
	body.message = TEXT(message);
	SET(&body, needs_reset, needs_reset);
	SET(&body, queue, queue);
	SET(&body, error_number, error_number);
	body.has_suppressed = suppressed > 0;
	body.suppressed = suppressed;
	event.device_failed = &body;
	return event_writer_put(w, &event);
}

int event_guest_panicked(struct event_writer *w, const char *message)
{
	Axvm__V1__Event event = EVENT(GUEST_PANICKED);
	Axvm__V1__GuestPanicked body = AXVM__V1__GUEST_PANICKED__INIT;

	body.message = TEXT(message);
	event.guest_panicked = &body;
	return event_writer_put(w, &event);
}

int event_balloon_settled(struct event_writer *w, const struct event_balloon_settled *settled)
{
	Axvm__V1__Event event = EVENT(BALLOON_SETTLED);
	Axvm__V1__BalloonSettled body = AXVM__V1__BALLOON_SETTLED__INIT;

	SET(&body, request_id, settled->request_id);
	SET(&body, target_mib, settled->target_mib);
	SET(&body, actual_mib, settled->actual_mib);
	SET(&body, reached, settled->reached);
	event.balloon_settled = &body;
	return event_writer_put(w, &event);
}

/* A report as the encoder wants it; the caller's lists stay in place. */
struct report {
	Axvm__V1__MetricsReport body;
	Axvm__V1__Counter rows[EVENT_COUNTERS_MAX], *list[EVENT_COUNTERS_MAX];
	Axvm__V1__Histogram histograms[EVENT_HISTOGRAMS_MAX], *histogram_list[EVENT_HISTOGRAMS_MAX];
};

static void fill_histogram(Axvm__V1__Histogram *to, const struct event_histogram *from)
{
	axvm__v1__histogram__init(to);
	to->name = TEXT(from->name);
	to->bounds = (uint64_t *)(uintptr_t)from->bounds;
	to->n_bounds = from->bounds_count;
	to->counts = (uint64_t *)(uintptr_t)from->counts;
	to->n_counts = from->bounds_count + 1;
	SET(to, sum, from->sum);
}

static int fill_report(struct report *to, const struct event_report *from)
{
	if (from->counters_count > EVENT_COUNTERS_MAX ||
	    from->histograms_count > EVENT_HISTOGRAMS_MAX)
		return -E2BIG;
	axvm__v1__metrics_report__init(&to->body);
	for (size_t i = 0; i < from->counters_count; i++) {
		axvm__v1__counter__init(&to->rows[i]);
		to->rows[i].name = TEXT(from->counters[i].name);
		SET(&to->rows[i], value, from->counters[i].value);
		to->list[i] = &to->rows[i];
	}
	for (size_t i = 0; i < from->histograms_count; i++) {
		if (from->histograms[i].bounds_count > EVENT_BOUNDS_MAX)
			return -E2BIG;
		fill_histogram(&to->histograms[i], &from->histograms[i]);
		to->histogram_list[i] = &to->histograms[i];
	}
	to->body.counters = to->list;
	to->body.n_counters = from->counters_count;
	to->body.histograms = to->histogram_list;
	to->body.n_histograms = from->histograms_count;
	return 0;
}

int event_metrics(struct event_writer *w, const struct event_report *metrics)
{
	Axvm__V1__Event event = EVENT(METRICS);
	struct report report;
	int r = fill_report(&report, metrics);

	event.metrics = &report.body;
	return r < 0 ? r : event_writer_put(w, &event);
}

int event_reply(struct event_writer *w, const struct event_reply *reply)
{
	Axvm__V1__Event event = EVENT(REPLY);
	Axvm__V1__Reply body = AXVM__V1__REPLY__INIT;
	Axvm__V1__Error error;
	struct report report;

	SET(&body, request_id, reply->request_id);
	SET(&body, ok, !reply->error);
	SET(&body, state, (Axvm__V1__State)reply->state);
	if (reply->error) {
		fill_error(&error, reply->error, reply->stage);
		body.error = &error;
	}
	if (reply->report) {
		int r = fill_report(&report, reply->report);

		if (r < 0)
			return r;
		body.metrics = &report.body;
	}
	event.reply = &body;
	return event_writer_put_kept(w, &event, EVENT_REPLY_BYTES);
}

/* ---- the terminal event ------------------------------------------------------------------- */

/* The registers in the schema are text; they are rendered here. */
#define REGISTER(name_)                                                                            \
	{                                                                                          \
		offsetof(struct event_vcpu, name_), offsetof(Axvm__V1__VcpuState, name_)           \
	}
static const struct {
	size_t from, to;
} registers[] = {
	REGISTER(rax), REGISTER(rbx), REGISTER(rcx),    REGISTER(rdx), REGISTER(rsi),
	REGISTER(rdi), REGISTER(rsp), REGISTER(rbp),    REGISTER(r8),  REGISTER(r9),
	REGISTER(r10), REGISTER(r11), REGISTER(r12),    REGISTER(r13), REGISTER(r14),
	REGISTER(r15), REGISTER(rip), REGISTER(rflags), REGISTER(cr0), REGISTER(cr2),
	REGISTER(cr3), REGISTER(cr4), REGISTER(efer),
};

struct vcpu_text {
	char registers[ARRAY_SIZE(registers)][sizeof("0x0123456789abcdef")];
	char code[2 * EVENT_CODE_MAX + 1];
};

static void fill_vcpu(Axvm__V1__VcpuState *to, const struct event_vcpu *from,
                      struct vcpu_text *text)
{
	axvm__v1__vcpu_state__init(to);
	SET(to, index, from->index);
	to->exit_reason = TEXT(from->exit_reason);
	SET(to, exit_detail, from->exit_detail);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		const uint64_t *value = (const void *)((const char *)from + registers[i].from);
		char **slot = (void *)((char *)to + registers[i].to);

		snprintf(text->registers[i], sizeof(text->registers[i]), "0x%016" PRIx64, *value);
		*slot = text->registers[i];
	}
	SET(to, cs_selector, from->cs_selector);
	SET(to, cs_is_64bit, from->cs_is_64bit);
	SET(to, cpl, from->cpl);
	for (size_t i = 0; i < MIN(from->code_length, (size_t)EVENT_CODE_MAX); i++)
		snprintf(text->code + 2 * i, 3, "%02x", from->code[i]);
	to->code_bytes = from->code_length > 0 ? text->code : NULL;
}

/* A sentence for a person, out of what is known. */
static void describe(const struct event_terminal *t, char *to, size_t size)
{
	const struct outcome_class *class = outcome_class_of(t->outcome);
	const struct problems *problems = t->problems;
	bool listed = problems && problems->count > 0;
	size_t more = listed ? problems->count + problems->not_listed - 1 : 0;
	const char *cs = t->vcpu && t->vcpu->cs_is_64bit ? "64-bit" : "not 64-bit";

	if (t->message)
		snprintf(to, size, "%s", t->message);
	else if (listed && more > 0 && (class->of_errors || !t->vcpu))
		snprintf(to, size, "%s: %s (and %zu more)", class->phrase,
		         problems->list[0].message, more);
	else if (listed && (class->of_errors || !t->vcpu))
		snprintf(to, size, "%s: %s", class->phrase, problems->list[0].message);
	else if (t->vcpu && t->outcome == OUTCOME_HALTED)
		snprintf(to, size, "%s: rax: 0x%016" PRIx64 ", cs %s", class->phrase, t->vcpu->rax,
		         cs);
	else if (t->vcpu)
		snprintf(to, size,
		         "%s: vCPU %" PRIu32 ", rip: 0x%016" PRIx64 ", rax: 0x%016" PRIx64
		         ", cs %s",
		         class->phrase, t->vcpu->index, t->vcpu->rip, t->vcpu->rax, cs);
	else
		snprintf(to, size, "%s: %s", class->phrase, class->meaning);
}

static void fill_death(Axvm__V1__DeathRecord *to, const struct event_death *from)
{
	axvm__v1__death_record__init(to);
	to->role = TEXT(from->role);
	SET(to, thread_id, from->thread_id);
	to->policy_sha256 = TEXT(from->policy_sha256);
	if (from->ring_refusal) {
		SET(to, ring_opcode, from->ring_opcode);
		to->ring_opcode_name = TEXT(from->ring_opcode_name);
		to->ring_refusal = TEXT(from->ring_refusal);
		return;
	}
	if (from->lost_page) {
		to->lost_page = TEXT(from->lost_page);
		SET(to, lost_address, from->lost_address);
		SET(to, instruction_pointer, from->instruction_pointer);
		return;
	}
	SET(to, syscall_number, from->syscall_number);
	to->syscall_name = TEXT(from->syscall_name);
	SET(to, instruction_pointer, from->instruction_pointer);
}

int event_terminal(struct event_writer *w, const struct event_terminal *terminal, int *ret_status)
{
	Axvm__V1__Event event = EVENT(TERMINAL);
	Axvm__V1__Terminal body = AXVM__V1__TERMINAL__INIT;
	Axvm__V1__Error errors[PROBLEMS_MAX], *error_list[PROBLEMS_MAX];
	Axvm__V1__StageCompleted stages[STAGES_COUNT], *stage_list[STAGES_COUNT];
	Axvm__V1__VcpuState vcpu;
	Axvm__V1__DeathRecord death;
	struct vcpu_text text = { 0 };
	char message[512];

	*ret_status = outcome_exit_status(terminal->outcome, terminal->problems);
	SET(&body, outcome, (Axvm__V1__Outcome)terminal->outcome);
	SET(&body, exit_status, (uint32_t)*ret_status);
	SET(&body, stage, (Axvm__V1__Stage)terminal->stage);
	SET(&body, console_bytes_dropped, terminal->console_bytes_dropped);
	for (size_t i = 0; terminal->problems && i < terminal->problems->count; i++) {
		fill_error(&errors[i], &terminal->problems->list[i], terminal->stage);
		error_list[body.n_errors++] = &errors[i];
	}
	body.errors = error_list;
	for (size_t i = 1; i < STAGES_COUNT; i++)
		if (terminal->stage_ns[i] > 0) {
			fill_stage(&stages[i], (enum axvm_stage)i, terminal->stage_ns[i]);
			stage_list[body.n_stages++] = &stages[i];
		}
	body.stages = stage_list;
	if (terminal->vcpu) {
		fill_vcpu(&vcpu, terminal->vcpu, &text);
		body.vcpu = &vcpu;
	}
	if (terminal->death) {
		fill_death(&death, terminal->death);
		body.death = &death;
	}
	describe(terminal, message, sizeof(message));
	body.message = message;
	event.terminal = &body;
	return event_writer_put_terminal(w, &event);
}
