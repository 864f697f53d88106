/* SPDX-License-Identifier: MIT */
/* Every field of every event: what goes in is what an orchestrator reads, and no field of the schema is left out.
 *
 * Each body is given a value of its own for each field, and read back by protobuf-c's own unpacking. Then the
 * schema's descriptors are walked: a field that none of the events of here holds would be one that nobody
 * compares. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/axvm.pb-c.h"
#include "interface/event.h"
#include "interface/wire.h"

#define EVENTS_MAX 64

static struct event_writer writer;
static Axvm__V1__Event *events[EVENTS_MAX];
static size_t events_count;

static int begin(void)
{
	int fd = memfd_create("events", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(event_writer_init(&writer, fd), 0);
	return fd;
}

/* Reads all events of the file into events[]. */
static void read_events(int fd)
{
	static uint8_t bytes[EVENT_RING_SIZE];
	struct wire_field field;
	struct wire_cursor cursor;
	int r;

	cr_assert_eq(event_finish(&writer, 0), 0);
	event_writer_done(&writer);
	cursor = (struct wire_cursor){ bytes, bytes + pread(fd, bytes, sizeof(bytes), 0) };
	events_count = 0;
	while ((r = wire_next(&cursor, &field)) > 0) {
		cr_assert_lt(events_count, EVENTS_MAX);
		events[events_count] = axvm__v1__event__unpack(NULL, field.length, field.bytes);
		cr_assert_not_null(events[events_count++]);
	}
	cr_assert_eq(r, 0);
	close(fd);
}

static void free_events(void)
{
	for (size_t i = 0; i < events_count; i++)
		axvm__v1__event__free_unpacked(events[i], NULL);
	events_count = 0;
}

static const Axvm__V1__Event *body(Axvm__V1__Event__BodyCase kind, size_t which)
{
	for (size_t i = 0; i < events_count; i++)
		if (events[i]->body_case == kind && which-- == 0)
			return events[i];
	cr_assert_fail("no event of kind %d", kind);
	return NULL;
}

#define BODY(kind, member, which) (body(AXVM__V1__EVENT__BODY_##kind, which)->member)
/* A number or flag is there, and has this value. */
#define IS(message, field, value)                                                                  \
	cr_assert((message)->has_##field && (message)->field == (value), #field)
#define SAYS(message, field, value) cr_assert_str_eq((message)->field, (value))

/* ---- the events, a value of its own for each field --------------------------------------------- */

static const struct event_requirement requirements[] = { { "ept", "yes", "no", false, true },
	                                                 { "vpid", "a", "b", true, false } };
static const char *const namespaces[] = { "net", "mnt" }, *const lacking[] = { "landlock_scopes" };
static const char *const heirlooms[] = { "nice: 5", "I/O priority: idle, level 7" };
static const uint64_t inodes[] = { 4026531840, 4026531841 };
static const struct event_sealed_role roles[] = { { "vcpu", 2, 40 }, { "io", 1, 50 } };
static const uint32_t fds[] = { 0, 3, 4 };
static const struct event_vcpu_placement placed_vcpus[] = { { 1, 6, 5, 2 } };
static const struct thread_record thread = { "io0", 101, 102, 103, 11, 1 };
static const struct event_placed_node nodes[] = { { 0, 1, 2, 3, 4, 5 }, { 1, 0, 6, 7, 8, 9 } };
static const struct event_counter counters[] = { { "vcpu.0.exits", 77 } };
static const uint64_t bounds[] = { 1024, 2048 };
static const struct event_histogram histograms[] = { { "disk.a.latency_ns", bounds, 2, { 5, 6, 7 }, 88 } };
static const struct event_report report = { counters, 1, histograms, 1 };
static const struct problem problem = { ERROR_CODE_COMMAND_WRONG_STATE, EBUSY, "a.field", "is paused" };

/* `odd`: which of the flags are set, so that each is seen set while its neighbours are not. */
static struct event_sealed sealed_with(unsigned odd)
{
	return (struct event_sealed){
		.threads = 3, .uid = 1000, .gid = 1001,
		.no_new_privs = odd & 1, .dumpable = odd & 2, .capabilities_empty = odd & 4,
		.securebits_locked = odd & 8, .memory_deny_write_execute = odd & 16,
		.launcher_death_told = odd & 32,
		.landlock_abi = 4, .policy_sha256 = "abcd", .rings_restricted = 9,
		.namespaces = namespaces, .namespaces_count = 2, .namespace_inodes = inodes,
		.not_available = lacking, .not_available_count = 1,
		.inherited = heirlooms, .inherited_count = 2,
		.roles = roles, .roles_count = 2, .fds = fds, .fds_count = 3,
	};
}

static const struct event_vcpu ended_vcpu = {
	.index = 1, .exit_reason = "KVM_EXIT_SHUTDOWN", .exit_detail = 2,
	.rax = 0x10, .rbx = 0x11, .rcx = 0x12, .rdx = 0x13, .rsi = 0x14, .rdi = 0x15, .rsp = 0x16,
	.rbp = 0x17, .r8 = 0x18, .r9 = 0x19, .r10 = 0x1a, .r11 = 0x1b, .r12 = 0x1c, .r13 = 0x1d,
	.r14 = 0x1e, .r15 = 0x1f, .rip = 0x20, .rflags = 0x21, .cr0 = 0x22, .cr2 = 0x23, .cr3 = 0x24,
	.cr4 = 0x25, .efer = 0x8000000000000026, .cs_selector = 0x27, .cpl = 3, .cs_is_64bit = true,
	.code = { 0x0f, 0x0b, 0xff }, .code_length = 3,
};

static const struct host_named vulnerabilities[] = { { "l1tf", "Not affected" }, { "mds", "Vulnerable" } };

static void emit_all(void)
{
	const struct event_running running = {
		.pinned = true,
		.claimed = true,
		.profile = "dev", .development = true, .machine_sha256 = "00", .kernel_sha256 = "11",
		.initrd_sha256 = "22", .version = "1", .waived = requirements, .waived_count = 1,
		.vcpus = placed_vcpus, .vcpus_count = 1, .threads = &thread, .threads_count = 1,
		.vulnerabilities = vulnerabilities, .vulnerabilities_count = 2,
	};
	const struct event_reply good = { .request_id = 7, .state = STATE_RUNNING, .report = &report };
	const struct event_reply bad = { .request_id = 8, .state = STATE_PAUSED, .stage = STAGE_RUN,
		                         .error = &problem };

	event_writer_set_vm_id(&writer, "web-17");
	cr_assert_eq(event_stage_completed(&writer, STAGE_LEARN, 1234), 0);
	cr_assert_eq(event_host_refused(&writer, "xv2", requirements, 2), 0);
	cr_assert_eq(event_memory_placed(&writer, nodes, 2, 14), 0);
	for (unsigned bit = 0; bit < 6; bit++) {
		struct event_sealed sealed = sealed_with(1u << bit);

		cr_assert_eq(event_sealed(&writer, &sealed), 0);
	}
	cr_assert_eq(event_running(&writer, &running), 0);
	cr_assert_eq(event_state_changed(&writer, STATE_RUNNING, STATE_PAUSED, "pause"), 0);
	cr_assert_eq(event_device_failed(&writer, "root", 2, EIO, true, "ring broken", 3), 0);
	cr_assert_eq(event_guest_panicked(&writer, "panic"), 0);
	cr_assert_eq(event_balloon_settled(&writer, &(struct event_balloon_settled){ 5, 24, 30, true }), 0);
	cr_assert_eq(event_metrics(&writer, &report), 0);
	cr_assert_eq(event_reply(&writer, &good), 0);
	cr_assert_eq(event_reply(&writer, &bad), 0);
}

static void emit_terminal(const struct event_death *death)
{
	struct problems problems = { 0 };
	struct event_terminal terminal = { .outcome = OUTCOME_TRIPLE_FAULT, .stage = STAGE_RUN,
		                           .problems = &problems, .vcpu = &ended_vcpu,
		                           .death = death, .console_bytes_dropped = 99 };
	int status;

	problems_add(&problems, ERROR_CODE_GUEST_FAILED, 0, NULL, "why");
	terminal.stage_ns[STAGE_ACCOUNT] = 55;
	terminal.stage_ns[STAGE_ARRIVE] = 44;
	cr_assert_eq(event_terminal(&writer, &terminal, &status), 0);
	cr_assert_eq(status, 33);
}

/* ---- what is read --------------------------------------------------------------------------- */

static void check_requirements(Axvm__V1__Requirement *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		SAYS(list[i], name, requirements[i].name);
		SAYS(list[i], asked, requirements[i].asked);
		SAYS(list[i], found, requirements[i].found);
		IS(list[i], met, requirements[i].met);
		IS(list[i], waived, requirements[i].waived);
	}
}

static void check_sealed(const Axvm__V1__Sealed *sealed, unsigned odd)
{
	IS(sealed, threads, 3);
	IS(sealed, uid, 1000);
	IS(sealed, gid, 1001);
	IS(sealed, no_new_privs, !!(odd & 1));
	IS(sealed, dumpable, !!(odd & 2));
	IS(sealed, capabilities_empty, !!(odd & 4));
	IS(sealed, securebits_locked, !!(odd & 8));
	IS(sealed, memory_deny_write_execute, !!(odd & 16));
	IS(sealed, launcher_death_told, !!(odd & 32));
	IS(sealed, landlock_abi, 4);
	IS(sealed, rings_restricted, 9);
	SAYS(sealed, policy_sha256, "abcd");
	cr_assert_eq(sealed->n_namespaces, 2);
	cr_assert_eq(sealed->n_namespace_inodes, 2);
	cr_assert_eq(sealed->n_not_available, 1);
	cr_assert_str_eq(sealed->not_available[0], lacking[0]);
	cr_assert_eq(sealed->n_inherited, 2);
	cr_assert_str_eq(sealed->inherited[0], heirlooms[0]);
	cr_assert_str_eq(sealed->inherited[1], heirlooms[1]);
	cr_assert_eq(sealed->n_roles, 2);
	for (size_t i = 0; i < 2; i++) {
		cr_assert_str_eq(sealed->namespaces[i], namespaces[i]);
		cr_assert_eq(sealed->namespace_inodes[i], inodes[i]);
		SAYS(sealed->roles[i], role, roles[i].role);
		IS(sealed->roles[i], threads, roles[i].threads);
		IS(sealed->roles[i], instructions, roles[i].instructions);
	}
	cr_assert_eq(sealed->n_fds, 3);
	cr_assert_arr_eq(sealed->fds, fds, sizeof(fds));
}

static void check_running(const Axvm__V1__Running *running)
{
	SAYS(running, profile, "dev");
	IS(running, development, true);
	SAYS(running, machine_sha256, "00");
	SAYS(running, kernel_sha256, "11");
	SAYS(running, initrd_sha256, "22");
	SAYS(running, version, "1");
	cr_assert_eq(running->n_waived, 1);
	check_requirements(running->waived, 1);
	cr_assert_eq(running->n_vcpus, 1);
	IS(running->vcpus[0], index, 1);
	IS(running->vcpus[0], apic_id, 6);
	IS(running, pinned, true);
	IS(running, claimed, true);
	IS(running->vcpus[0], host_cpu, 5);
	IS(running->vcpus[0], host_node, 2);
	cr_assert_eq(running->n_threads, 1);
	SAYS(running->threads[0], name, "io0");
	IS(running->threads[0], started_ns, 101);
	IS(running->threads[0], staffed_ns, 102);
	IS(running->threads[0], sealing_ns, 103);
	IS(running->threads[0], host_cpu, 11);
	IS(running->threads[0], host_node, 1);
	cr_assert_eq(running->n_vulnerabilities, 2);
	for (size_t i = 0; i < 2; i++) {
		SAYS(running->vulnerabilities[i], name, vulnerabilities[i].name);
		SAYS(running->vulnerabilities[i], state, vulnerabilities[i].value);
	}
}

static void check_memory(const Axvm__V1__MemoryPlaced *memory)
{
	IS(memory, remote_pages, 14);
	cr_assert_eq(memory->n_nodes, 2);
	for (size_t i = 0; i < 2; i++) {
		IS(memory->nodes[i], guest_node, nodes[i].guest_node);
		IS(memory->nodes[i], host_node, nodes[i].host_node);
		IS(memory->nodes[i], pages_4k, nodes[i].pages_4k);
		IS(memory->nodes[i], pages_2m, nodes[i].pages_2m);
		IS(memory->nodes[i], pages_1g, nodes[i].pages_1g);
		IS(memory->nodes[i], remote_pages, nodes[i].remote_pages);
	}
}

static void check_report(const Axvm__V1__MetricsReport *metrics)
{
	cr_assert(metrics && metrics->n_counters == 1 && metrics->n_histograms == 1);
	SAYS(metrics->counters[0], name, "vcpu.0.exits");
	IS(metrics->counters[0], value, 77);
	SAYS(metrics->histograms[0], name, "disk.a.latency_ns");
	IS(metrics->histograms[0], sum, 88);
	cr_assert(metrics->histograms[0]->n_bounds == 2 && metrics->histograms[0]->n_counts == 3);
	cr_assert_arr_eq(metrics->histograms[0]->bounds, bounds, sizeof(bounds));
	cr_assert_arr_eq(metrics->histograms[0]->counts, histograms[0].counts, 3 * sizeof(uint64_t));
}

static void check_vcpu(const Axvm__V1__VcpuState *vcpu)
{
	char *const registers[] = {
		vcpu->rax, vcpu->rbx, vcpu->rcx, vcpu->rdx, vcpu->rsi, vcpu->rdi,    vcpu->rsp, vcpu->rbp,
		vcpu->r8,  vcpu->r9,  vcpu->r10, vcpu->r11, vcpu->r12, vcpu->r13,    vcpu->r14, vcpu->r15,
		vcpu->rip, vcpu->rflags, vcpu->cr0, vcpu->cr2, vcpu->cr3, vcpu->cr4,
	};

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		char text[32];

		snprintf(text, sizeof(text), "0x%016zx", 0x10 + i);
		cr_assert_str_eq(registers[i], text);
	}
	SAYS(vcpu, efer, "0x8000000000000026");
	IS(vcpu, index, 1);
	SAYS(vcpu, exit_reason, "KVM_EXIT_SHUTDOWN");
	IS(vcpu, exit_detail, 2);
	IS(vcpu, cs_selector, 0x27);
	IS(vcpu, cpl, 3);
	IS(vcpu, cs_is_64bit, true);
	SAYS(vcpu, code_bytes, "0f0bff");
}

static void check_terminal(const Axvm__V1__Terminal *terminal)
{
	IS(terminal, outcome, AXVM__V1__OUTCOME__OUTCOME_TRIPLE_FAULT);
	IS(terminal, exit_status, 33);
	IS(terminal, stage, AXVM__V1__STAGE__STAGE_RUN);
	IS(terminal, events_dropped, 0);
	IS(terminal, console_bytes_dropped, 99);
	cr_assert_eq(terminal->n_stages, 2);
	IS(terminal->stages[0], stage, AXVM__V1__STAGE__STAGE_ARRIVE);
	IS(terminal->stages[0], duration_ns, 44);
	IS(terminal->stages[1], stage, AXVM__V1__STAGE__STAGE_ACCOUNT);
	IS(terminal->stages[1], duration_ns, 55);
	cr_assert_eq(terminal->n_errors, 1);
	IS(terminal->errors[0], code, AXVM__V1__ERROR_CODE__ERROR_CODE_GUEST_FAILED);
	IS(terminal->errors[0], stage, AXVM__V1__STAGE__STAGE_RUN);
	cr_assert_not(terminal->errors[0]->has_error_number, "there is no errno");
	cr_assert_null(terminal->errors[0]->field);
	cr_assert_not_null(terminal->message);
	check_vcpu(terminal->vcpu);
}

static void check_replies(void)
{
	const Axvm__V1__Reply *good = BODY(REPLY, reply, 0), *bad = BODY(REPLY, reply, 1);

	IS(good, request_id, 7);
	IS(good, ok, true);
	IS(good, state, AXVM__V1__STATE__STATE_RUNNING);
	cr_assert_null(good->error);
	check_report(good->metrics);
	IS(bad, request_id, 8);
	IS(bad, ok, false);
	IS(bad, state, AXVM__V1__STATE__STATE_PAUSED);
	cr_assert_null(bad->metrics);
	IS(bad->error, code, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE);
	IS(bad->error, stage, AXVM__V1__STAGE__STAGE_RUN);
	IS(bad->error, severity, AXVM__V1__SEVERITY__SEVERITY_ERROR);
	IS(bad->error, retryable, true);
	IS(bad->error, error_number, EBUSY);
	SAYS(bad->error, field, "a.field");
	SAYS(bad->error, message, "is paused");
}

/* ---- the schema's fields --------------------------------------------------------------------- */

/* Fields that were seen set, by the address of their descriptor. */
static const ProtobufCFieldDescriptor *seen[512];
static size_t seen_count;

static bool was_seen(const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; i < seen_count; i++)
		if (seen[i] == field)
			return true;
	return false;
}

/* Whether a field of the message is there; *ret_n and *ret_at: its messages, where it is of messages. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t *ret_n,
                   ProtobufCMessage *const **ret_at)
{
	const char *base = (const char *)message;
	const void *at = base + field->offset;
	uint32_t oneof = 0;

	*ret_n = 1;
	*ret_at = at;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		memcpy(ret_n, base + field->quantifier_offset, sizeof(*ret_n));
		memcpy(ret_at, at, sizeof(*ret_at));
		return *ret_n > 0;
	}
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		memcpy(&oneof, base + field->quantifier_offset, sizeof(oneof));
		return oneof == field->id;
	}
	if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
		return *(const void *const *)at != NULL;
	memcpy(&oneof, base + field->quantifier_offset, sizeof(oneof));
	return oneof != 0;
}

static void note_fields(const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		ProtobufCMessage *const *list;
		size_t n;

		if (!is_set(message, field, &n, &list))
			continue;
		if (!was_seen(field)) {
			cr_assert_lt(seen_count, ARRAY_SIZE(seen));
			seen[seen_count++] = field;
		}
		for (size_t k = 0; field->type == PROTOBUF_C_TYPE_MESSAGE && k < n; k++)
			note_fields(list[k]);
	}
}

static void expect_fields(const ProtobufCMessageDescriptor *descriptor)
{
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		/* What is dropped is interface/event.c's matter: it takes a full ring. */
		if (strcmp(descriptor->short_name, "Event") == 0 && strcmp(field->name, "dropped") == 0)
			continue;
		/* As what is planned is shim/planned.c's: it takes a plan. */
		if (strcmp(field->name, "planned") == 0)
			continue;
		cr_assert(was_seen(field), "no event of here has %s.%s", descriptor->short_name, field->name);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			expect_fields(field->descriptor);
	}
}

static void note_events(void)
{
	for (size_t i = 0; i < events_count; i++)
		note_fields(&events[i]->base);
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void check_deaths(void)
{
	static const struct event_death deaths[] = {
		{ .role = "vcpu", .syscall_name = "open", .policy_sha256 = "ef", .thread_id = 12,
		  .syscall_number = 2, .instruction_pointer = 0x4000 },
		{ .role = "io", .policy_sha256 = "ef", .thread_id = 13, .ring_refusal = "its opcode",
		  .ring_opcode = 22, .ring_opcode_name = "READ" },
		{ .role = "io", .policy_sha256 = "ef", .thread_id = 14, .lost_page = "guest memory",
		  .lost_address = 0x7f00, .instruction_pointer = 0x4001 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(deaths); i++) {
		const Axvm__V1__DeathRecord *death;
		int fd = begin();

		emit_terminal(&deaths[i]);
		read_events(fd);
		death = BODY(TERMINAL, terminal, 0)->death;
		SAYS(death, role, deaths[i].role);
		SAYS(death, policy_sha256, "ef");
		IS(death, thread_id, deaths[i].thread_id);
		/* What is of another kind of death is absent, and not 0. */
		cr_assert_eq(death->has_syscall_number, i == 0);
		cr_assert_eq(death->has_ring_opcode, i == 1);
		cr_assert_eq(death->has_lost_address, i == 2);
		cr_assert_eq(death->has_instruction_pointer, i != 1);
		cr_assert_eq(death->syscall_number, i == 0 ? 2 : 0);
		cr_assert_eq(death->instruction_pointer, deaths[i].instruction_pointer);
		cr_assert_eq(death->ring_opcode, i == 1 ? 22u : 0u);
		cr_assert_eq(death->lost_address, deaths[i].lost_address);
		cr_assert(i != 0 || strcmp(death->syscall_name, "open") == 0);
		cr_assert(i != 1 || strcmp(death->ring_opcode_name, "READ") == 0);
		cr_assert(i != 1 || strcmp(death->ring_refusal, "its opcode") == 0);
		cr_assert(i != 2 || strcmp(death->lost_page, "guest memory") == 0);
		note_events();
		free_events();
	}
}

Test(event, every_field_of_every_event_is_what_was_given)
{
	int fd = begin();

	emit_all();
	emit_terminal(NULL);
	read_events(fd);
	for (size_t i = 0; i < events_count; i++) {
		SAYS(events[i], vm_id, "web-17");
		IS(events[i], sequence, i + 1);
		cr_assert(events[i]->has_monotonic_ns && events[i]->monotonic_ns > 0);
		/* 2020 at least: the wall clock, and not the time since boot. */
		cr_assert(events[i]->has_wall_ns && events[i]->wall_ns > 1577836800000000000);
	}
	IS(BODY(STAGE_COMPLETED, stage_completed, 0), stage, AXVM__V1__STAGE__STAGE_LEARN);
	IS(BODY(STAGE_COMPLETED, stage_completed, 0), duration_ns, 1234);
	SAYS(BODY(HOST_REFUSED, host_refused, 0), profile, "xv2");
	cr_assert_eq(BODY(HOST_REFUSED, host_refused, 0)->n_requirements, 2);
	check_requirements(BODY(HOST_REFUSED, host_refused, 0)->requirements, 2);
	check_memory(BODY(MEMORY_PLACED, memory_placed, 0));
	for (unsigned bit = 0; bit < 6; bit++)
		check_sealed(BODY(SEALED, sealed, bit), 1u << bit);
	check_running(BODY(RUNNING, running, 0));
	IS(BODY(STATE_CHANGED, state_changed, 0), from, AXVM__V1__STATE__STATE_RUNNING);
	IS(BODY(STATE_CHANGED, state_changed, 0), to, AXVM__V1__STATE__STATE_PAUSED);
	SAYS(BODY(STATE_CHANGED, state_changed, 0), reason, "pause");
	SAYS(BODY(DEVICE_FAILED, device_failed, 0), device_id, "root");
	SAYS(BODY(DEVICE_FAILED, device_failed, 0), message, "ring broken");
	IS(BODY(DEVICE_FAILED, device_failed, 0), queue, 2);
	IS(BODY(DEVICE_FAILED, device_failed, 0), error_number, EIO);
	IS(BODY(DEVICE_FAILED, device_failed, 0), needs_reset, true);
	IS(BODY(DEVICE_FAILED, device_failed, 0), suppressed, 3);
	SAYS(BODY(GUEST_PANICKED, guest_panicked, 0), message, "panic");
	IS(BODY(BALLOON_SETTLED, balloon_settled, 0), request_id, 5);
	IS(BODY(BALLOON_SETTLED, balloon_settled, 0), target_mib, 24);
	IS(BODY(BALLOON_SETTLED, balloon_settled, 0), actual_mib, 30);
	IS(BODY(BALLOON_SETTLED, balloon_settled, 0), reached, true);
	check_report(BODY(METRICS, metrics, 0));
	check_replies();
	check_terminal(BODY(TERMINAL, terminal, 0));
	note_events();
	free_events();
	check_deaths();
	expect_fields(&axvm__v1__event__descriptor);
}

/* In replies and in the terminal event alike: severity and whether a retry can help are those of the code, and the
 * exit status is that of the first error. */
Test(event, every_error_is_told_as_its_code_says)
{
	size_t count;
	const struct problem_class *classes = problem_classes(&count);

	for (size_t i = 0; i < count; i++) {
		struct problems problems = { 0 };
		struct event_reply reply = { .error = &problems.list[0], .stage = STAGE_BUILD };
		struct event_terminal terminal = { .outcome = OUTCOME_LAUNCH_FAILED, .stage = STAGE_BUILD,
			                           .problems = &problems };
		int fd = begin(), status;

		problems_add(&problems, classes[i].code, 0, "", "%s", classes[i].name);
		problems_add(&problems, ERROR_CODE_INTERNAL, 0, "", "and another");
		cr_assert_eq(event_reply(&writer, &reply), 0);
		cr_assert_eq(event_terminal(&writer, &terminal, &status), 0);
		cr_assert_eq(status, classes[i].exit_status, "%s", classes[i].name);
		read_events(fd);
		for (size_t k = 0; k < 2; k++) {
			const Axvm__V1__Error *error = k ? BODY(TERMINAL, terminal, 0)->errors[0]
			                                 : BODY(REPLY, reply, 0)->error;

			IS(error, code, (Axvm__V1__ErrorCode)classes[i].code);
			IS(error, stage, AXVM__V1__STAGE__STAGE_BUILD);
			IS(error, severity, (Axvm__V1__Severity)classes[i].severity);
			IS(error, retryable, classes[i].retryable);
			SAYS(error, message, classes[i].name);
		}
		IS(BODY(TERMINAL, terminal, 0), exit_status, (uint32_t)classes[i].exit_status);
		free_events();
	}
}

/* Want of memory passes: KVM that refuses a call for it may take the call later. */
Test(event, want_of_memory_is_retryable)
{
	static const struct { int error; bool retryable; } rows[] = {
		{ ENOMEM, true }, { EINVAL, false }, { 0, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct problems problems = { 0 };
		struct event_reply reply = { .error = &problems.list[0], .stage = STAGE_STAFF };
		int fd = begin();

		problems_add(&problems, ERROR_CODE_KVM_FAILED, rows[i].error, NULL, "KVM refuses a vCPU");
		cr_assert_eq(event_reply(&writer, &reply), 0);
		read_events(fd);
		IS(BODY(REPLY, reply, 0)->error, retryable, rows[i].retryable);
		free_events();
	}
}

/* What is no errno is not told as one. */
Test(event, an_errno_is_told_when_it_is_one)
{
	for (int number = -1; number <= 1; number++) {
		const struct problem wrong = { ERROR_CODE_INTERNAL, number, "", "m" };
		const struct event_reply reply = { .error = &wrong };
		int fd = begin();

		cr_assert_eq(event_reply(&writer, &reply), 0);
		read_events(fd);
		cr_assert_eq(BODY(REPLY, reply, 0)->error->has_error_number, number > 0);
		free_events();
	}
}

static void check_too_long(int r, const char *what)
{
	cr_assert_eq(r, -E2BIG, "%s", what);
}

/* A list longer than its bound is refused whole. */
Test(event, lists_beyond_their_bounds_are_refused)
{
	static const struct event_requirement many[EVENT_REQUIREMENTS_MAX + 1];
	static const struct event_placed_node many_nodes[EVENT_NODES_MAX + 1];
	struct event_sealed sealed = { .roles_count = EVENT_NAMES_MAX + 1 };
	struct event_running running = { .waived_count = EVENT_REQUIREMENTS_MAX + 1 };
	struct event_report large = { .counters_count = EVENT_COUNTERS_MAX + 1 };
	struct event_histogram wide = { .bounds_count = EVENT_BOUNDS_MAX + 1 };
	struct event_reply reply = { .report = &large };
	int fd = begin();

	check_too_long(event_host_refused(&writer, "p", many, ARRAY_SIZE(many)), "requirements");
	cr_assert_eq(event_host_refused(&writer, "p", many, ARRAY_SIZE(many) - 1), 0);
	check_too_long(event_memory_placed(&writer, many_nodes, ARRAY_SIZE(many_nodes), 0), "nodes");
	cr_assert_eq(event_memory_placed(&writer, many_nodes, ARRAY_SIZE(many_nodes) - 1, 0), 0);
	check_too_long(event_sealed(&writer, &sealed), "roles");
	sealed = (struct event_sealed){ .fds_count = EVENT_FDS_MAX + 1 };
	check_too_long(event_sealed(&writer, &sealed), "fds");
	sealed = (struct event_sealed){ .namespaces_count = EVENT_NAMES_MAX + 1 };
	check_too_long(event_sealed(&writer, &sealed), "namespaces");
	sealed = (struct event_sealed){ .not_available_count = EVENT_NAMES_MAX + 1 };
	check_too_long(event_sealed(&writer, &sealed), "not_available");
	sealed = (struct event_sealed){ .inherited_count = EVENT_NAMES_MAX + 1 };
	check_too_long(event_sealed(&writer, &sealed), "inherited");
	check_too_long(event_running(&writer, &running), "waived");
	running = (struct event_running){ .vcpus_count = EVENT_VCPUS_MAX + 1 };
	check_too_long(event_running(&writer, &running), "vcpus");
	running = (struct event_running){ .threads_count = EVENT_THREADS_MAX + 1 };
	check_too_long(event_running(&writer, &running), "threads");
	running = (struct event_running){ .vulnerabilities_count = EVENT_VULNERABILITIES_MAX + 1 };
	check_too_long(event_running(&writer, &running), "vulnerabilities");
	check_too_long(event_metrics(&writer, &large), "counters");
	check_too_long(event_reply(&writer, &reply), "a reply's counters");
	large = (struct event_report){ .histograms_count = EVENT_HISTOGRAMS_MAX + 1 };
	check_too_long(event_metrics(&writer, &large), "histograms");
	large = (struct event_report){ .histograms = &wide, .histograms_count = 1 };
	check_too_long(event_metrics(&writer, &large), "bounds");
	event_writer_done(&writer);
	close(fd);
}
