/* SPDX-License-Identifier: MIT */
/* Every field of every event: what goes in is what an orchestrator reads, and no field of the
 * schema is left out.
 *
 * What an event is filled from has a value of its own for each field, and is read back by
 * protobuf-c's own unpacking. Then the schema's descriptors are walked: a field that none of the
 * events of here holds would be one that nobody compares. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "interface/event.h"
#include "interface/version.h"
#include "interface/wire.h"
#include "sandbox/policy.h"
#include "shim/announce.h"
#include "shim/metrics.h"
#include "shim/reply.h"
#include "shim/shim.h"
#include "shim/shutdown.h"
#include "shim/terminal.h"
#include "tests/unit/rig/protoc.h"

#define EVENTS_MAX 64

static struct shim shim;
static Axvm__V1__Event *events[EVENTS_MAX];
static size_t events_count;

static int begin(void)
{
	int fd = memfd_create("events", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(event_writer_init(&shim.events, fd), 0);
	return fd;
}

/* Reads all events of the file into events[]. */
static void read_events(int fd)
{
	static uint8_t bytes[EVENT_RING_SIZE];
	struct wire_field field;
	struct wire_cursor cursor;
	int r;

	cr_assert_eq(event_finish(&shim.events, 0), 0);
	event_writer_done(&shim.events);
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

/* ---- what events are filled from, a value of its own for each field -------------------------- */

/* Met; unmet and waived; unmet. */
static const struct verdict_row rows[] = { { "vpid", "a", "b", true, false },
	                                   { "ept", "yes", "no", false, true },
	                                   { "cores", "c", "d", false, false } };
static const struct numa_counts counts[] = {
	{ .pages_4k = 2, .pages_2m = 3, .pages_1g = 4, .remote_pages = 5 },
	{ .pages_4k = 6, .pages_2m = 7, .pages_1g = 8, .remote_pages = 9 }
};
static const struct host_named vulnerabilities[] = { { "l1tf", "Not affected" },
	                                             { "mds", "Vulnerable" } };
static const struct sandbox_seen read_back = {
	.threads = 3,
	.namespaces = { "net", "mnt" },
	.namespace_inodes = { 4026531840, 4026531841 },
	.namespaces_count = 2,
	.fds = { 0, 3, 4 },
	.fds_count = 3,
};
static const struct problem problem = { ERROR_CODE_COMMAND_WRONG_STATE, EBUSY, "a.field",
	                                "is paused" };

static void set_host(void)
{
	strcpy(shim.profile.name, "xv2");
	strcpy(shim.verdict.profile, "xv2");
	shim.verdict.development = true;
	shim.verdict.count = ARRAY_SIZE(rows);
	memcpy(shim.verdict.rows, rows, sizeof(rows));
	memcpy(shim.vulnerabilities, vulnerabilities, sizeof(vulnerabilities));
	shim.vulnerabilities_count = 2;
	shim.placement.pinned = shim.placement.claimed = true;
	shim.placement.nodes[0].host_node = 1;
	shim.placement.nodes[1].host_node = 0;
}

static void set_machine(void)
{
	shim.spec.memory.count = 2;
	memcpy(shim.ram.nodes, counts, sizeof(counts));
	shim.ram.remote_pages = 14;
	strcpy(shim.plan.digest, "00");
	strcpy(shim.kernel_digest, "11");
	strcpy(shim.initrd_digest, "22");
	shim.machine.vcpu_count = 2;
	shim.machine.vcpus[1].apic_id = 6;
	shim.machine.vcpus[1].host_cpu = 5;
	shim.machine.vcpus[1].host_node = 2;
	shim.threads = 3;
	shim.records[2] = (struct thread_record){ "io0", 101, 102, 103, 11, 1 };
}

/* `odd`: which of the flags are set, so that each is seen set while its neighbours are not. */
static void set_sandbox(unsigned odd)
{
	shim.sandbox = (struct sandbox){
		.uid = 1000,
		.gid = 1001,
		.landlock_abi = 4,
		.namespaced = odd & 1,
		.writes_refused_exec = odd & 2,
		.config.stop_with_launcher = odd & 4,
		.inherited = { "nice: 5", "I/O priority: idle, level 7" },
		.inherited_count = 2,
		.not_available = { "landlock_scopes" },
		.not_available_count = 1,
	};
}

static void set_vcpu(struct vcpu *vcpu)
{
	__u64 *const registers[] = {
		&vcpu->regs.rax,  &vcpu->regs.rbx,    &vcpu->regs.rcx,  &vcpu->regs.rdx,
		&vcpu->regs.rsi,  &vcpu->regs.rdi,    &vcpu->regs.rsp,  &vcpu->regs.rbp,
		&vcpu->regs.r8,   &vcpu->regs.r9,     &vcpu->regs.r10,  &vcpu->regs.r11,
		&vcpu->regs.r12,  &vcpu->regs.r13,    &vcpu->regs.r14,  &vcpu->regs.r15,
		&vcpu->regs.rip,  &vcpu->regs.rflags, &vcpu->sregs.cr0, &vcpu->sregs.cr2,
		&vcpu->sregs.cr3, &vcpu->sregs.cr4,
	};

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		*registers[i] = 0x10 + i;
	vcpu->index = 1;
	vcpu->sregs.efer = 0x8000000000000400;
	vcpu->sregs.cs.selector = 0x27;
	vcpu->sregs.cs.l = 1;
	vcpu->sregs.ss.dpl = 3;
	memcpy(vcpu->code, (uint8_t[]){ 0x0f, 0x0b, 0xff }, 3);
	vcpu->code_length = 3;
}

static void set_end(void)
{
	set_vcpu(&shim.machine.vcpus[1]);
	atomic_store(&shim.machine.end, MACHINE_END_TRIPLE_FAULT);
	atomic_store(&shim.machine.end_vcpu, 1);
	shim.machine.end_exit = KVM_EXIT_SHUTDOWN;
	shim.machine.end_detail = 2;
	problems_add(&shim.problems, ERROR_CODE_GUEST_FAILED, 0, NULL, "why");
	shim.stage = STAGE_RUN;
	shim.stage_ns[STAGE_ACCOUNT] = 55;
	shim.stage_ns[STAGE_ARRIVE] = 44;
}

static void set_metrics(void)
{
	static const struct virtio_latency_stats latency = { .counts = { 5, 6, 7 }, .sum_ns = 88 };

	metrics_begin(&shim.metrics);
	metrics_add(&shim.metrics, 77, "vcpu.%d.exits", 0);
	metrics_add_latency(&shim.metrics, &latency, "disk.%s.latency_ns", "a");
}

static void emit_all(void)
{
	Axvm__V1__BalloonSettled settled = AXVM__V1__BALLOON_SETTLED__INIT;

	event_writer_set_vm_id(&shim.events, "web-17");
	shim.stage = STAGE_LEARN;
	shim.stage_ns[STAGE_LEARN] = 1234;
	cr_assert_eq(announce_stage(&shim), 0);
	shim.stage_ns[STAGE_LEARN] = 0;
	cr_assert_eq(announce_refusal(&shim), 0);
	cr_assert_eq(announce_memory(&shim), 0);
	for (unsigned bit = 0; bit < 3; bit++) {
		set_sandbox(1u << bit);
		cr_assert_eq(announce_sealed(&shim, &read_back), 0);
	}
	cr_assert_eq(announce_running(&shim), 0);
	shim.lifecycle = (struct lifecycle){ STATE_RUNNING, &shim.events };
	cr_assert_eq(lifecycle_happen(&shim.lifecycle, HAPPENS_PAUSE, "pause"), 0);
	cr_assert_eq(event_device_failed(&shim.events, "root", 2, EIO, true, "ring \xff broken", 3),
	             0);
	shim.machine.acpi.panicked = true;
	shutdown_heed_panic(&shim);
	settled.has_request_id = settled.has_target_mib = settled.has_actual_mib =
		settled.has_reached = 1;
	settled.request_id = 5;
	settled.target_mib = 24;
	settled.actual_mib = 30;
	settled.reached = 1;
	cr_assert_eq(event_writer_put(&shim.events,
	                              EVENT(BALLOON_SETTLED, balloon_settled, &settled)),
	             0);
	set_metrics();
	cr_assert_eq(event_writer_put(&shim.events,
	                              EVENT(METRICS, metrics, metrics_end(&shim.metrics))),
	             0);
	shim.stage = STAGE_RUN;
	cr_assert_eq(reply_put_report(&shim, 7, &shim.metrics.report), 0);
	reply_put(&shim, 8, &problem);
}

static int emit_terminal(const struct sandbox_death *death)
{
	shim.death = death;
	return terminal_emit(&shim, OUTCOME_TRIPLE_FAULT);
}

/* ---- what is read --------------------------------------------------------------------------- */

static void check_requirement(const Axvm__V1__Requirement *requirement,
                              const struct verdict_row *row)
{
	SAYS(requirement, name, row->name);
	SAYS(requirement, asked, row->asked);
	SAYS(requirement, found, row->found);
	IS(requirement, met, row->met);
	IS(requirement, waived, row->waived);
}

static void check_sealed(const Axvm__V1__Sealed *sealed, unsigned odd)
{
	static const char *const roles[] = { "control", "vcpu", "io" };
	static const uint32_t threads[] = { 1, 2, 1 };

	IS(sealed, threads, 3);
	IS(sealed, uid, 1000);
	IS(sealed, gid, 1001);
	IS(sealed, no_new_privs, true);
	IS(sealed, dumpable, false);
	IS(sealed, capabilities_empty, true);
	IS(sealed, securebits_locked, !!(odd & 1));
	IS(sealed, memory_deny_write_execute, !!(odd & 2));
	IS(sealed, launcher_death_told, !!(odd & 4));
	IS(sealed, landlock_abi, 4);
	IS(sealed, rings_restricted, 1);
	SAYS(sealed, policy_sha256, sandbox_policies_digest_hex);
	cr_assert(sealed->n_namespaces == 2 && sealed->n_namespace_inodes == 2);
	cr_assert_eq(sealed->n_not_available, 1);
	cr_assert_str_eq(sealed->not_available[0], "landlock_scopes");
	cr_assert_eq(sealed->n_inherited, 2);
	cr_assert_str_eq(sealed->inherited[0], "nice: 5");
	cr_assert_str_eq(sealed->inherited[1], "I/O priority: idle, level 7");
	for (size_t i = 0; i < 2; i++) {
		cr_assert_str_eq(sealed->namespaces[i], read_back.namespaces[i]);
		cr_assert_eq(sealed->namespace_inodes[i], read_back.namespace_inodes[i]);
	}
	cr_assert_eq(sealed->n_roles, 3);
	for (size_t i = 0; i < 3; i++) {
		bool found = false;

		for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++)
			if (strcmp(roles[i], sandbox_role_name(role)) == 0) {
				found = true;
				IS(sealed->roles[role], threads, threads[i]);
				IS(sealed->roles[role], instructions, sandbox_filters[role].count);
				SAYS(sealed->roles[role], role, roles[i]);
			}
		cr_assert(found, "%s", roles[i]);
	}
	cr_assert_eq(sealed->n_fds, 3);
	cr_assert_arr_eq(sealed->fds, read_back.fds, 3 * sizeof(read_back.fds[0]));
}

static void check_running(const Axvm__V1__Running *running)
{
	SAYS(running, profile, "xv2");
	IS(running, development, true);
	SAYS(running, machine_sha256, "00");
	SAYS(running, kernel_sha256, "11");
	SAYS(running, initrd_sha256, "22");
	SAYS(running, version, AXVM_VERSION);
	cr_assert_eq(running->n_waived, 1);
	check_requirement(running->waived[0], &rows[1]);
	cr_assert_eq(running->n_vcpus, 2);
	IS(running->vcpus[1], index, 1);
	IS(running->vcpus[1], apic_id, 6);
	IS(running, pinned, true);
	IS(running, claimed, true);
	IS(running->vcpus[1], host_cpu, 5);
	IS(running->vcpus[1], host_node, 2);
	cr_assert_eq(running->n_threads, 3);
	SAYS(running->threads[2], name, "io0");
	IS(running->threads[2], started_ns, 101);
	IS(running->threads[2], staffed_ns, 102);
	IS(running->threads[2], sealing_ns, 103);
	IS(running->threads[2], host_cpu, 11);
	IS(running->threads[2], host_node, 1);
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
	for (uint32_t i = 0; i < 2; i++) {
		IS(memory->nodes[i], guest_node, i);
		IS(memory->nodes[i], host_node, 1 - i);
		IS(memory->nodes[i], pages_4k, counts[i].pages_4k);
		IS(memory->nodes[i], pages_2m, counts[i].pages_2m);
		IS(memory->nodes[i], pages_1g, counts[i].pages_1g);
		IS(memory->nodes[i], remote_pages, counts[i].remote_pages);
	}
}

static void check_report(const Axvm__V1__MetricsReport *metrics)
{
	cr_assert(metrics && metrics->n_counters == 1 && metrics->n_histograms == 1);
	SAYS(metrics->counters[0], name, "vcpu.0.exits");
	IS(metrics->counters[0], value, 77);
	SAYS(metrics->histograms[0], name, "disk.a.latency_ns");
	IS(metrics->histograms[0], sum, 88);
	cr_assert_eq(metrics->histograms[0]->n_bounds, LATENCY_BOUNDS);
	cr_assert_eq(metrics->histograms[0]->n_counts, LATENCY_BOUNDS + 1);
	cr_assert_eq(metrics->histograms[0]->bounds[1], 2 * metrics->histograms[0]->bounds[0]);
	for (size_t i = 0; i < LATENCY_BOUNDS + 1; i++)
		cr_assert_eq(metrics->histograms[0]->counts[i], i < 3 ? 5 + i : 0);
}

static void check_vcpu(const Axvm__V1__VcpuState *vcpu)
{
	char *const registers[] = {
		vcpu->rax, vcpu->rbx, vcpu->rcx, vcpu->rdx, vcpu->rsi, vcpu->rdi,
		vcpu->rsp, vcpu->rbp, vcpu->r8,  vcpu->r9,  vcpu->r10, vcpu->r11,
		vcpu->r12, vcpu->r13, vcpu->r14, vcpu->r15, vcpu->rip, vcpu->rflags,
		vcpu->cr0, vcpu->cr2, vcpu->cr3, vcpu->cr4,
	};

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		char text[32];

		snprintf(text, sizeof(text), "0x%016zx", 0x10 + i);
		cr_assert_str_eq(registers[i], text);
	}
	SAYS(vcpu, efer, "0x8000000000000400");
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
	IS(terminal, console_bytes_dropped, 0);
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
	IS(good, state, AXVM__V1__STATE__STATE_PAUSED);
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

/* Whether a field of the message is there; *ret_n and *ret_at: its messages, where it is of
 * messages. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                   size_t *ret_n, ProtobufCMessage *const **ret_at)
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
		if (strcmp(descriptor->short_name, "Event") == 0 &&
		    strcmp(field->name, "dropped") == 0)
			continue;
		/* As what is planned is shim/planned.c's: it takes a plan. */
		if (strcmp(field->name, "planned") == 0)
			continue;
		cr_assert(was_seen(field), "no event of here has %s.%s", descriptor->short_name,
		          field->name);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			expect_fields(field->descriptor);
	}
}

static void note_events(void)
{
	for (size_t i = 0; i < events_count; i++)
		note_fields(&events[i]->base);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void check_deaths(void)
{
	static const struct sandbox_death deaths[] = {
		{ .role = SANDBOX_ROLE_VCPU,
		  .tid = 12,
		  .nr = SYS_open,
		  .instruction_pointer = 0x4000 },
		{ .role = SANDBOX_ROLE_IO,
		  .tid = 13,
		  .ring = { .what = "its opcode", .opcode = 22, .name = "READ" } },
		{ .role = SANDBOX_ROLE_IO,
		  .tid = 14,
		  .lost = { .what = "guest memory", .address = 0x7f00 },
		  .instruction_pointer = 0x4001 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(deaths); i++) {
		const Axvm__V1__DeathRecord *death;
		int fd = begin();

		(void)emit_terminal(&deaths[i]);
		read_events(fd);
		death = BODY(TERMINAL, terminal, 0)->death;
		SAYS(death, role, sandbox_role_name(deaths[i].role));
		SAYS(death, policy_sha256, sandbox_policies_digest_hex);
		IS(death, thread_id, deaths[i].tid);
		/* What is of another kind of death is absent, and not 0. */
		cr_assert_eq(death->has_syscall_number, i == 0);
		cr_assert_eq(death->has_ring_opcode, i == 1);
		cr_assert_eq(death->has_lost_address, i == 2);
		cr_assert_eq(death->has_instruction_pointer, i != 1);
		cr_assert_eq(death->syscall_number, i == 0 ? SYS_open : 0);
		cr_assert_eq(death->instruction_pointer, deaths[i].instruction_pointer);
		cr_assert_eq(death->ring_opcode, i == 1 ? 22u : 0u);
		cr_assert_eq(death->lost_address, i == 2 ? 0x7f00 : 0);
		cr_assert(i != 0 || strcmp(death->syscall_name, "open") == 0);
		cr_assert(i != 1 || strcmp(death->ring_opcode_name, "READ") == 0);
		cr_assert(i != 1 || strcmp(death->ring_refusal, "its opcode") == 0);
		cr_assert(i != 2 || strcmp(death->lost_page, "guest memory") == 0);
		note_events();
		free_events();
	}
}

static void set_all(void)
{
	memset(&shim, 0, sizeof(shim));
	set_host();
	set_machine();
}

Test(event, every_field_of_every_event_is_what_was_given)
{
	int fd;

	set_all();
	fd = begin();
	emit_all();
	set_end();
	cr_assert_eq(emit_terminal(NULL), 33);
	read_events(fd);
	IS(events[0], interface_version, AXVM_INTERFACE_VERSION);
	for (size_t i = 0; i < events_count; i++) {
		SAYS(events[i], vm_id, "web-17");
		IS(events[i], sequence, i + 1);
		cr_assert_eq(events[i]->has_interface_version, i == 0);
		cr_assert(events[i]->has_monotonic_ns && events[i]->monotonic_ns > 0);
		/* 2020 at least: the wall clock, and not the time since boot. */
		cr_assert(events[i]->has_wall_ns && events[i]->wall_ns > 1577836800000000000);
	}
	IS(BODY(STAGE_COMPLETED, stage_completed, 0), stage, AXVM__V1__STAGE__STAGE_LEARN);
	IS(BODY(STAGE_COMPLETED, stage_completed, 0), duration_ns, 1234);
	SAYS(BODY(HOST_REFUSED, host_refused, 0), profile, "xv2");
	cr_assert_eq(BODY(HOST_REFUSED, host_refused, 0)->n_requirements, 2);
	for (size_t i = 0; i < 2; i++)
		check_requirement(BODY(HOST_REFUSED, host_refused, 0)->requirements[i],
		                  &rows[1 + i]);
	check_memory(BODY(MEMORY_PLACED, memory_placed, 0));
	for (unsigned bit = 0; bit < 3; bit++)
		check_sealed(BODY(SEALED, sealed, bit), 1u << bit);
	check_running(BODY(RUNNING, running, 0));
	IS(BODY(STATE_CHANGED, state_changed, 0), from, AXVM__V1__STATE__STATE_RUNNING);
	IS(BODY(STATE_CHANGED, state_changed, 0), to, AXVM__V1__STATE__STATE_PAUSED);
	SAYS(BODY(STATE_CHANGED, state_changed, 0), reason, "pause");
	SAYS(BODY(DEVICE_FAILED, device_failed, 0), device_id, "root");
	SAYS(BODY(DEVICE_FAILED, device_failed, 0), message, "ring ? broken");
	IS(BODY(DEVICE_FAILED, device_failed, 0), queue, 2);
	IS(BODY(DEVICE_FAILED, device_failed, 0), error_number, EIO);
	IS(BODY(DEVICE_FAILED, device_failed, 0), needs_reset, true);
	IS(BODY(DEVICE_FAILED, device_failed, 0), suppressed, 3);
	SAYS(BODY(GUEST_PANICKED, guest_panicked, 0), message,
	     "the guest's kernel reported a panic");
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

/* In replies and in the terminal event alike: severity and whether a retry can help are those of
 * the code, and the exit status is that of the first error. */
Test(event, every_error_is_told_as_its_code_says)
{
	size_t count;
	const struct problem_class *classes = problem_classes(&count);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memset(&shim, 0, sizeof(shim));
		fd = begin();
		shim.stage = STAGE_BUILD;
		problems_add(&shim.problems, classes[i].code, 0, "", "%s", classes[i].name);
		problems_add(&shim.problems, ERROR_CODE_INTERNAL, 0, "", "and another");
		reply_put(&shim, 1, &shim.problems.list[0]);
		cr_assert_eq(terminal_emit(&shim, OUTCOME_RUNTIME_FAILED), classes[i].exit_status,
		             "%s", classes[i].name);
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
	static const struct {
		int error;
		bool retryable;
	} cases[] = {
		{ ENOMEM, true },
		{ EINVAL, false },
		{ 0, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct problem refusal = { ERROR_CODE_KVM_FAILED, cases[i].error, "",
			                         "KVM refuses a vCPU" };
		int fd = begin();

		reply_put(&shim, 1, &refusal);
		read_events(fd);
		IS(BODY(REPLY, reply, 0)->error, retryable, cases[i].retryable);
		free_events();
	}
}

/* What is no errno is not told as one. */
Test(event, an_errno_is_told_when_it_is_one)
{
	for (int number = -1; number <= 1; number++) {
		const struct problem wrong = { ERROR_CODE_INTERNAL, number, "", "m" };
		int fd = begin();

		reply_put(&shim, 1, &wrong);
		read_events(fd);
		cr_assert_eq(BODY(REPLY, reply, 0)->error->has_error_number, number > 0);
		free_events();
	}
}

/* protoc, with nothing but the schema, names every field. */
Test(event, protoc_reads_every_body)
{
	static const char *const lines[] = {
		"vm_id: \"web-17\"",
		"stage: STAGE_LEARN",
		"duration_ns: 1234",
		"host_refused {",
		"name: \"ept\"",
		"waived: true",
		"pages_1g: 8",
		"remote_pages: 14",
		"namespaces: \"mnt\"",
		"role: \"vcpu\"",
		"fds: 4",
		"landlock_abi: 4",
		"development: true",
		"apic_id: 6",
		"machine_sha256: \"00\"",
		"from: STATE_RUNNING",
		"to: STATE_PAUSED",
		"needs_reset: true",
		"error_number: 5",
		"message: \"ring ? broken\"",
		"ok: true",
		"ok: false",
		"code: ERROR_CODE_COMMAND_WRONG_STATE",
		"severity: SEVERITY_ERROR",
		"retryable: true",
		"name: \"io0\"",
		"started_ns: 101",
		"sealing_ns: 103",
		"host_cpu: 11",
		"name: \"vcpu.0.exits\"",
		"value: 77",
		"name: \"disk.a.latency_ns\"",
		"sum: 88",
		"outcome: OUTCOME_TRIPLE_FAULT",
		"exit_status: 33",
		"stage: STAGE_ACCOUNT",
		"rax: \"0x0000000000000010\"",
		"cs_is_64bit: true",
		"code_bytes: \"0f0bff\"",
		"exit_reason: \"KVM_EXIT_SHUTDOWN\"",
		"syscall_name: \"open\"",
		"code: ERROR_CODE_GUEST_FAILED",
		"message: \"triple fault: vCPU 1, rip: 0x0000000000000020, rax: 0x0000000000000010, cs 64-bit\"",
	};
	static const struct sandbox_death death = { .role = SANDBOX_ROLE_VCPU, .nr = SYS_open };
	static uint8_t bytes[EVENT_RING_SIZE];
	static char text[2 * EVENT_RING_SIZE];
	ssize_t n;
	int fd;

	set_all();
	fd = begin();
	emit_all();
	set_end();
	(void)emit_terminal(&death);
	cr_assert_eq(event_finish(&shim.events, EVENT_FINISH_MS), 0);
	n = pread(fd, bytes, sizeof(bytes), 0);
	cr_assert_gt(n, 0);
	cr_assert_eq(protoc_decode("EventStream", bytes, (size_t)n, text, sizeof(text)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		cr_assert(strstr(text, lines[i]), "no %s in: %s", lines[i], text);
	/* A field that protoc cannot name would show as its number. */
	for (const char *line = strchr(text, '\n'); line; line = strchr(line + 1, '\n'))
		cr_assert(!strchr("0123456789", line[1 + strspn(line + 1, " ")]) || !line[1], "%s",
		          line);
	close(fd);
}

/* The one event of the file, which is the terminal one. */
static const Axvm__V1__Terminal *terminal_of(int fd)
{
	read_events(fd);
	cr_assert_eq(events_count, 1);
	return BODY(TERMINAL, terminal, 0);
}

Test(event, the_sentence_of_a_halted_guest)
{
	int fd;

	memset(&shim, 0, sizeof(shim));
	fd = begin();
	atomic_store(&shim.machine.end, MACHINE_END_HALTED);
	shim.machine.vcpus[0].regs.rax = 0xcafebabedeadbeef;
	shim.machine.vcpus[0].sregs.cs.l = 1;
	shim.machine.vcpus[0].sregs.efer = 0x500;
	cr_assert_eq(terminal_emit(&shim, OUTCOME_HALTED), 0);
	SAYS(terminal_of(fd), message, "halted: rax: 0xcafebabedeadbeef, cs 64-bit");
	free_events();
}

Test(event, exactly_one_terminal_event_and_it_is_the_last)
{
	const Axvm__V1__Terminal *terminal;
	int fd;

	memset(&shim, 0, sizeof(shim));
	fd = begin();
	cr_assert_eq(terminal_emit(&shim, OUTCOME_POWER_OFF), 0);
	cr_assert_eq(terminal_emit(&shim, OUTCOME_GUEST_RESET), 32);
	cr_assert_eq(announce_stage(&shim), -ESHUTDOWN);
	terminal = terminal_of(fd);
	IS(terminal, outcome, AXVM__V1__OUTCOME__OUTCOME_POWER_OFF);
	free_events();
}

Test(event, the_largest_terminal_event_has_room)
{
	static char long_text[PROBLEM_MESSAGE_MAX + 10], long_field[PROBLEM_FIELD_MAX + 10];
	const Axvm__V1__Terminal *terminal;
	int fd;

	memset(&shim, 0, sizeof(shim));
	fd = begin();
	memset(long_text, 'm', sizeof(long_text) - 1);
	memset(long_field, 'f', sizeof(long_field) - 1);
	set_vcpu(&shim.machine.vcpus[0]);
	shim.machine.vcpus[0].code_length = sizeof(shim.machine.vcpus[0].code);
	atomic_store(&shim.machine.end, MACHINE_END_VCPU_FAILED);
	shim.machine.end_exit = KVM_EXIT_INTERNAL_ERROR;
	for (size_t i = 0; i < PROBLEMS_MAX + 5; i++)
		problems_add(&shim.problems, ERROR_CODE_SPEC_INVALID, ERANGE, long_field, "%s",
		             long_text);
	for (size_t i = 0; i < STAGES_COUNT; i++)
		shim.stage_ns[i] = UINT64_MAX;
	shim.stage = STAGE_RUN;
	cr_assert_eq(terminal_emit(&shim, OUTCOME_RUNTIME_FAILED), 65);
	terminal = terminal_of(fd);
	cr_assert_eq(terminal->n_errors, PROBLEMS_MAX, "errors were left out");
	cr_assert(strstr(terminal->message, "runtime failed: mmm"));
	free_events();
}
