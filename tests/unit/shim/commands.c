/* SPDX-License-Identifier: MIT */
/* What each command does to a VM, and what is replied: a shim without threads, its vCPUs and I/O
 * loops stood in for by their words. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "interface/command.h"
#include "interface/wire.h"
#include "shim/commands.h"
#include "shim/control.h"
#include "shim/deadline.h"
#include "shim/device/balloon.h"
#include "shim/device/devices.h"
#include "shim/device/disk.h"
#include "shim/device/net.h"
#include "shim/pause.h"
#include "shim/shim.h"
#include "shim/shutdown.h"
#include "shim/terminal.h"
#include "tests/unit/rig/protoc.h"
#include "tests/unit/rig/put_event.h"
#include "tests/unit/rig/wait.h"

static struct shim shim;
static struct kvm_run run_page;
static int events_fd;
static Axvm__V1__Event *events[32];
static size_t events_count;

static void new_shim(void)
{
	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	events_fd = memfd_create("events", MFD_CLOEXEC);
	while (events_count > 0)
		axvm__v1__event__free_unpacked(events[--events_count], NULL);
	cr_assert_eq(event_writer_init(&shim.events, events_fd), 0);
	cr_assert_eq(command_arena_map(&shim.command_arena), 0);
	shim.stage = STAGE_RUN;
	shim.running = true;
	shim.lifecycle = (struct lifecycle){ .state = STATE_RUNNING, .events = &shim.events };
	shim.machine.vm.has_apic = true;
	shim.machine.vcpu_count = 1;
	shim.machine.vcpus[0].run = &run_page;
	shim.machine.acpi.ioapic = &shim.machine.ioapic;
	ioapic_init(&shim.machine.ioapic, NULL, NULL);
	shim.machine.vm.fd = -1;
	shim.spec.lifecycle.shutdown_timeout_ms = 30000;
	shim.devices.present = true;
	shim.devices.io_count = 2;
	for (uint32_t i = 0; i < 2; i++)
		shim.devices.io[i].loop.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

TestSuite(commands, .init = new_shim, .timeout = 60);

/* Reads what has been told since the last time. */
static void read_events(void)
{
	static uint8_t bytes[EVENT_RING_SIZE];
	static off_t at;
	struct wire_field field;
	struct wire_cursor cursor;
	ssize_t n;

	if (events_count == 0)
		at = 0;
	cr_assert_eq(event_flush(&shim.events), 0);
	n = pread(events_fd, bytes, sizeof(bytes), at);
	at += n;
	cursor = (struct wire_cursor){ bytes, bytes + n };
	while (wire_next(&cursor, &field) > 0) {
		cr_assert_lt(events_count, ARRAY_SIZE(events));
		events[events_count++] = axvm__v1__event__unpack(NULL, field.length, field.bytes);
	}
}

static void give(const char *text)
{
	uint8_t bytes[512];
	size_t n = protoc_encode("Command", text, bytes, sizeof(bytes));
	const struct stream_command raw = { .bytes = bytes, .length = n, .full_length = n };

	commands_take(&raw, &shim);
	read_events();
}

/* The reply to a request; NULL: there is none yet. */
static const Axvm__V1__Reply *reply_to(uint64_t id)
{
	const Axvm__V1__Reply *found = NULL;

	for (size_t i = 0; i < events_count; i++)
		if (events[i]->body_case == AXVM__V1__EVENT__BODY_REPLY &&
		    events[i]->reply->request_id == id) {
			cr_assert_null(found, "two replies to request %zu", (size_t)id);
			found = events[i]->reply;
		}
	return found;
}

static void expect_done(uint64_t id, Axvm__V1__State state)
{
	const Axvm__V1__Reply *reply = reply_to(id);

	cr_assert_not_null(reply, "no reply to request %zu", (size_t)id);
	cr_assert(reply->ok && !reply->error, "%s", reply->error ? reply->error->message : "");
	cr_assert_eq(reply->state, state);
}

static void expect_refused(uint64_t id, Axvm__V1__ErrorCode code, const char *field)
{
	const Axvm__V1__Reply *reply = reply_to(id);

	cr_assert_not_null(reply, "no reply to request %zu", (size_t)id);
	cr_assert(!reply->ok && reply->error);
	cr_assert_eq(reply->error->code, code, "%s", reply->error->message);
	cr_assert_eq(reply->error->stage, AXVM__V1__STAGE__STAGE_RUN);
	cr_assert(field ? reply->error->field && strcmp(reply->error->field, field) == 0
	                : !reply->error->field);
}

static void all_io(enum io_request request, const char *when)
{
	for (uint32_t i = 0; i < shim.devices.io_count; i++)
		cr_assert_eq(shim.devices.io[i].loop.request, request, "I/O loop %u %s", i, when);
}

/* vCPUs first, then devices, then the reply; the state is told at once. */
Test(commands, a_pause_has_its_order)
{
	give("request_id: 1 pause {}");
	cr_assert_eq(shim.lifecycle.state, STATE_PAUSED);
	cr_assert_eq(shim.machine.want, MACHINE_PAUSE);
	all_io(IO_REQUEST_RUN, "is asked before the vCPUs rest");
	cr_assert_null(reply_to(1));
	shim.machine.parked = 1;
	pause_settle(&shim);
	all_io(IO_REQUEST_PAUSE, "is asked when they do");
	shim.devices.io[0].loop.phase = IO_PARKED;
	pause_settle(&shim);
	read_events();
	cr_assert_null(reply_to(1), "one of the loops is not there yet");
	shim.devices.io[1].loop.phase = IO_PARKED;
	pause_settle(&shim);
	pause_settle(&shim);
	read_events();
	expect_done(1, AXVM__V1__STATE__STATE_PAUSED);
	/* It is not paused twice. */
	give("request_id: 2 pause {}");
	expect_refused(2, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
	give("request_id: 3 resume {}");
	expect_done(3, AXVM__V1__STATE__STATE_RUNNING);
	cr_assert_eq(shim.machine.want, MACHINE_RUN);
	all_io(IO_REQUEST_RUN, "goes on");
	give("request_id: 4 resume {}");
	expect_refused(4, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
	/* And once more, from the beginning. */
	shim.machine.parked = 0;
	shim.devices.io[0].loop.phase = shim.devices.io[1].loop.phase = IO_RUNNING;
	give("request_id: 5 pause {}");
	cr_assert_null(reply_to(5));
	all_io(IO_REQUEST_RUN, "is asked before the vCPUs rest");
}

/* Whoever resumes before the pause is complete gets both replies; devices that were not asked are
 * not let go. */
Test(commands, a_resume_before_the_pause_is_complete)
{
	give("request_id: 1 pause {}");
	give("request_id: 2 resume {}");
	cr_assert_not_null(reply_to(1));
	expect_done(2, AXVM__V1__STATE__STATE_RUNNING);
	cr_assert_eq(shim.machine.want, MACHINE_RUN);
	shim.machine.parked = 1;
	pause_settle(&shim);
	all_io(IO_REQUEST_RUN, "is not paused any more");
}

/* A shutdown presses the button, lets a paused guest go on, and starts the clock: the command's or
 * the spec's. */
Test(commands, a_shutdown_presses_the_button)
{
	uint64_t before = deadline_now_ns();

	give("request_id: 1 pause {}");
	give("request_id: 2 shutdown { timeout_ms: 3600000 }");
	expect_done(2, AXVM__V1__STATE__STATE_RUNNING);
	cr_assert_not_null(reply_to(1), "who waits for the pause is told");
	cr_assert_eq(shim.machine.want, MACHINE_RUN);
	cr_assert(shim.shutdown.request.until_ns != 0 && !shim.shutdown.stop);
	cr_assert_eq(shim.machine.acpi.events, ACPI_EVENT_POWER_BUTTON);
	cr_assert_geq(shim.shutdown.deadline_ns, before + 3600000000000);
	cr_assert_leq(shim.shutdown.deadline_ns, deadline_now_ns() + 3600000000000);
	shim.spec.lifecycle.shutdown_timeout_ms = 7200000;
	give("request_id: 3 shutdown {}");
	cr_assert_geq(shim.shutdown.deadline_ns, before + 7200000000000);
	/* Nobody can press a button that no interrupt tells of. */
	shim.machine.vm.has_apic = false;
	give("request_id: 4 shutdown {}");
	expect_done(4, AXVM__V1__STATE__STATE_STOPPING);
	cr_assert(shim.shutdown.stop);
	shutdown_ask(&shim, deadline_now_ns(), "another reason");
	cr_assert_str_eq(
		shim.shutdown.why,
		"a command asked for the shutdown; this VM has no power button, for want of a "
		"local APIC, and is stopped");
	give("request_id: 5 pause {}");
	expect_refused(5, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
	shim.machine.vm.has_apic = true;
	give("request_id: 6 shutdown {}");
	expect_refused(6, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
}

/* ---- what is one request for the end --------------------------------------------------------- */

#define NS_PER_MS 1000000ULL

/* A request, `at_ms` after the first one by the clock of a loop that looks at once, or, where it is
 * `held_up`, has not looked since the one before. */
struct asked {
	enum { NOTHING, SIGNAL, COMMAND, FD_3_ENDS, PAUSE, STOP } what;
	uint32_t at_ms, timeout_ms; /* of a command */
	bool held_up;
};

/* clang-format off */
#define AT(what_, at_) { .what = what_, .at_ms = at_ }
#define LATE(what_, at_) { .what = what_, .at_ms = at_, .held_up = true }
#define SHUTDOWN(at_, timeout_) { .what = COMMAND, .at_ms = at_, .timeout_ms = timeout_ }
/* clang-format on */

static void ask(const struct asked *asked, uint64_t now_ns)
{
	switch (asked->what) {
	case SIGNAL:
		shutdown_signal(&shim, now_ns);
		break;
	case COMMAND:
		cr_assert_eq(shutdown_by_command(&shim, asked->timeout_ms, now_ns, "a command"), 0);
		break;
	case FD_3_ENDS:
		shutdown_ask(&shim, now_ns, "fd 3");
		break;
	case PAUSE:
		give("request_id: 1 pause {}");
		cr_assert_eq(shim.lifecycle.state, STATE_PAUSED);
		break;
	case STOP:
		give("request_id: 2 stop {}");
		break;
	case NOTHING:
		break;
	}
}

/* How often the button is pressed, whether the VM is stopped, and how long after the first request
 * that would be where the guest does not heed it. */
Test(commands, what_is_one_request_for_the_end)
{
	static const struct {
		struct asked asked[8];
		unsigned presses;
		bool stopped;
		uint32_t deadline_ms;
	} rows[] = {
		{ { AT(SIGNAL, 0) }, 1, false, 30000 },
		{ { AT(SIGNAL, 0), AT(SIGNAL, 0), AT(SIGNAL, 0), AT(SIGNAL, 1), AT(SIGNAL, 250),
		    AT(SIGNAL, 499) },
		  1,
		  false,
		  30000 },
		{ { AT(SIGNAL, 0), AT(SIGNAL, 499), AT(SIGNAL, 501) }, 1, true, 30000 },
		{ { AT(SIGNAL, 0), AT(SIGNAL, 86400000) }, 1, true, 30000 },
		/* Sent in time, seen late: nothing of a busy host stops the VM. */
		{ { AT(SIGNAL, 0), LATE(SIGNAL, 4000) }, 1, false, 30000 },
		{ { AT(SIGNAL, 0), LATE(SIGNAL, 4000), AT(SIGNAL, 4001) }, 1, true, 30000 },
		/* A command and a signal, however far apart; the clock is the command's. */
		{ { SHUTDOWN(0, 5000), AT(SIGNAL, 0) }, 1, false, 5000 },
		{ { AT(SIGNAL, 0), SHUTDOWN(3, 5000) }, 1, false, 5003 },
		{ { AT(SIGNAL, 0), SHUTDOWN(3, 50000), AT(SIGNAL, 4) }, 1, false, 50003 },
		{ { SHUTDOWN(0, 90000), AT(SIGNAL, 60000) }, 2, false, 90000 },
		{ { SHUTDOWN(0, 90000), AT(SIGNAL, 60000), AT(SIGNAL, 60499) }, 2, false, 90000 },
		{ { SHUTDOWN(0, 90000), AT(SIGNAL, 60000), AT(SIGNAL, 60501) }, 2, true, 90000 },
		{ { SHUTDOWN(0, 90000), AT(SIGNAL, 100), AT(SIGNAL, 60000) }, 1, true, 90000 },
		{ { AT(SIGNAL, 0), SHUTDOWN(10000, 30000), AT(SIGNAL, 10100) }, 2, false, 40000 },
		{ { AT(SIGNAL, 0), SHUTDOWN(10000, 30000), AT(SIGNAL, 10501) }, 2, true, 40000 },
		/* The launcher signals, commands and ends. */
		{ { AT(SIGNAL, 0), SHUTDOWN(2, 60000), AT(FD_3_ENDS, 3) }, 1, false, 60002 },
		{ { AT(FD_3_ENDS, 0), AT(SIGNAL, 3) }, 1, false, 30000 },
		{ { AT(FD_3_ENDS, 0), AT(SIGNAL, 10000) }, 2, false, 30000 },
		/* Commands are as many requests as there are, but for those that are close; each
		 * has its clock. */
		{ { SHUTDOWN(0, 60000), SHUTDOWN(100, 500) }, 1, false, 600 },
		{ { SHUTDOWN(0, 60000), SHUTDOWN(1000, 500) }, 2, false, 1500 },
		/* A paused guest is let go on by each. */
		{ { SHUTDOWN(0, 60000), AT(PAUSE, 100), AT(SIGNAL, 200) }, 1, false, 60000 },
		{ { AT(SIGNAL, 0), AT(PAUSE, 100), SHUTDOWN(200, 5000) }, 1, false, 5200 },
		{ { AT(SIGNAL, 0), AT(STOP, 1) }, 1, true, 30000 },
		{ { SHUTDOWN(0, 60000), AT(STOP, 0) }, 1, true, 60000 },
	};
	const uint64_t begin_ns = 3600000 * NS_PER_MS;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned presses = 0;

		new_shim();
		for (const struct asked *asked = rows[i].asked; asked->what != NOTHING; asked++) {
			uint64_t now_ns = begin_ns + asked->at_ms * NS_PER_MS,
				 due_ns = shim.shutdown.request.until_ns;

			cr_assert(asked == rows[i].asked || !shim.shutdown.stop,
			          "row %zu: stopped too early", i);
			/* An idle loop looks when it is due. */
			if (due_ns != 0 && due_ns < now_ns && !asked->held_up)
				shutdown_settle(&shim, due_ns);
			ask(asked, now_ns);
			shutdown_settle(&shim, now_ns);
			presses += atomic_exchange(&shim.machine.acpi.events, 0) != 0;
		}
		cr_expect_eq(presses, rows[i].presses, "row %zu: pressed %u times", i, presses);
		cr_expect_eq(shim.shutdown.stop, rows[i].stopped, "row %zu", i);
		cr_expect_eq(shim.lifecycle.state, rows[i].stopped ? STATE_STOPPING : STATE_RUNNING,
		             "row %zu", i);
		cr_expect_eq(shim.shutdown.deadline_ns, begin_ns + rows[i].deadline_ms * NS_PER_MS,
		             "row %zu: %ju ms", i,
		             (uintmax_t)((shim.shutdown.deadline_ns - begin_ns) / NS_PER_MS));
	}
}

/* The same by commands as they come, whose clock is the loop's. */
Test(commands, a_signal_after_a_command_is_no_second_one)
{
	give("request_id: 1 shutdown { timeout_ms: 3600000 }");
	cr_assert_eq(atomic_exchange(&shim.machine.acpi.events, 0), ACPI_EVENT_POWER_BUTTON);
	shutdown_signal(&shim, deadline_now_ns());
	give("request_id: 2 shutdown {}");
	expect_done(2, AXVM__V1__STATE__STATE_RUNNING);
	cr_assert_eq(shim.machine.acpi.events, 0, "one request, one press");
	cr_assert_not(shim.shutdown.stop);
	shutdown_settle(&shim, shim.shutdown.request.until_ns);
	shutdown_signal(&shim, deadline_now_ns());
	cr_assert(shim.shutdown.stop);
	cr_assert_str_eq(shim.shutdown.why, "a second signal asked for the end");
}

Test(commands, a_stop_stops_and_the_first_reason_stands)
{
	give("request_id: 1 stop {}");
	expect_done(1, AXVM__V1__STATE__STATE_STOPPING);
	cr_assert(shim.shutdown.stop);
	cr_assert_str_eq(shim.shutdown.why, "a command asked for the stop");
	shutdown_stop(&shim, "another reason");
	cr_assert_str_eq(shim.shutdown.why, "a command asked for the stop");
	give("request_id: 2 status {}");
	expect_done(2, AXVM__V1__STATE__STATE_STOPPING);
}

/* What a VM does not have is named, and leaves it as it is. */
Test(commands, what_a_vm_does_not_have)
{
	give("request_id: 1 balloon { target_mib: 5 }");
	expect_refused(1, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
	give("request_id: 2 limit { device_id: 'none' limit {} }");
	expect_refused(2, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_INVALID, "limit.device_id");
	give("request_id: 3 resize { disk_id: 'none' }");
	expect_refused(3, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_INVALID, "resize.disk_id");
	give("request_id: 4 console_size { columns: 80 rows: 25 }");
	expect_refused(4, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
	shim.machine.vm.has_apic = false;
	give("request_id: 5 nmi {}");
	expect_refused(5, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_WRONG_STATE, NULL);
	shim.machine.vm.has_apic = true;
	give("request_id: 6 nmi {}");
	expect_refused(6, AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_FAILED, NULL);
	give("request_id: 7");
	expect_refused(7, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_INVALID, NULL);
	give("request_id: 8 balloon { target_mib: 0 }");
	expect_refused(8, AXVM__V1__ERROR_CODE__ERROR_CODE_COMMAND_INVALID, "balloon.target_mib");
	give("request_id: 9 status {}");
	expect_done(9, AXVM__V1__STATE__STATE_RUNNING);
	give("request_id: 10 metrics {}");
	expect_done(10, AXVM__V1__STATE__STATE_RUNNING);
	cr_assert_not_null(reply_to(10)->metrics);
	cr_assert_null(reply_to(9)->metrics);
	cr_assert_not(shim.shutdown.stop || shim.shutdown.request.until_ns || shim.pause.wanted);
}

/* By its own id, whole, and none by that of another kind. */
Test(commands, devices_are_found_by_their_ids)
{
	static struct block disks[3];
	static const char *const ids[] = { "root", "roo", "data" };
	static const struct virtio_device_ops ops;

	cr_assert_null(devices_disk(&shim.devices, "root"));
	cr_assert_null(devices_balloon(&shim.devices));
	shim.devices.disks = disks;
	shim.spec.disks_count = 3;
	for (size_t i = 0; i < 3; i++)
		strcpy(shim.spec.disks[i].id, ids[i]);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(devices_disk(&shim.devices, ids[i]), &disks[i], "%s", ids[i]);
	cr_assert_null(devices_disk(&shim.devices, "dat"));
	cr_assert_null(devices_disk(&shim.devices, ""));
	cr_assert_null(devices_net(&shim.devices, "root"));
	shim.devices.balloon.device.ops = &ops;
	cr_assert_eq(devices_balloon(&shim.devices), &shim.devices.balloon);
}

/* ---- the terminal event ---------------------------------------------------------------------- */

static const Axvm__V1__Terminal *terminal_of(enum axvm_outcome outcome, int status)
{
	const Axvm__V1__Terminal *terminal = NULL;

	cr_assert_eq(terminal_emit(&shim, outcome), status);
	read_events();
	for (size_t i = 0; i < events_count; i++)
		if (events[i]->body_case == AXVM__V1__EVENT__BODY_TERMINAL)
			terminal = events[i]->terminal;
	cr_assert_not_null(terminal);
	return terminal;
}

/* The vCPU that ended the VM is the one that is shown, register by register. */
Test(commands, the_terminal_event_shows_who_ended_it)
{
	struct vcpu *vcpu = &shim.machine.vcpus[1];
	const Axvm__V1__Terminal *terminal;

	shim.machine.end = MACHINE_END_TRIPLE_FAULT;
	shim.machine.end_vcpu = 1;
	shim.machine.end_exit = KVM_EXIT_SHUTDOWN;
	shim.machine.end_detail = 77;
	*vcpu = (struct vcpu){ .index = 1, .code_length = 2, .code = { 0x0f, 0x0b } };
	vcpu->regs = (struct kvm_regs){ .rax = 1,
		                        .rbx = 2,
		                        .rcx = 3,
		                        .rdx = 4,
		                        .rsi = 5,
		                        .rdi = 6,
		                        .rsp = 7,
		                        .rbp = 8,
		                        .r8 = 9,
		                        .r9 = 10,
		                        .r10 = 11,
		                        .r11 = 12,
		                        .r12 = 13,
		                        .r13 = 14,
		                        .r14 = 15,
		                        .r15 = 16,
		                        .rip = 17,
		                        .rflags = 18 };
	vcpu->sregs = (struct kvm_sregs){ .cr0 = 19,
		                          .cr2 = 20,
		                          .cr3 = 21,
		                          .cr4 = 22,
		                          .efer = 0x400,
		                          .cs = { .selector = 0x10, .l = 1 },
		                          .ss.dpl = 3 };
	shim.stage_ns[STAGE_LEARN] = 5;
	terminal = terminal_of(OUTCOME_TRIPLE_FAULT, 33);
	{
		const Axvm__V1__VcpuState *got = terminal->vcpu;
		char *const texts[] = { got->rax, got->rbx, got->rcx,    got->rdx, got->rsi,
			                got->rdi, got->rsp, got->rbp,    got->r8,  got->r9,
			                got->r10, got->r11, got->r12,    got->r13, got->r14,
			                got->r15, got->rip, got->rflags, got->cr0, got->cr2,
			                got->cr3, got->cr4 };

		for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
			cr_assert_eq(strtoull(texts[i], NULL, 16), i + 1, "register %zu", i);
		cr_assert_eq(strtoull(got->efer, NULL, 16), 0x400);
		cr_assert(got->index == 1 && got->cs_selector == 0x10 && got->cpl == 3 &&
		          got->cs_is_64bit);
		cr_assert_str_eq(got->exit_reason, "KVM_EXIT_SHUTDOWN");
		cr_assert_eq(got->exit_detail, 77);
		cr_assert_str_eq(got->code_bytes, "0f0b");
	}
	cr_assert(terminal->stage == AXVM__V1__STAGE__STAGE_RUN && terminal->n_stages == 1 &&
	          !terminal->death);
}

/* A guest that was stopped has no vCPU to show; the reason is told instead. */
Test(commands, the_terminal_event_of_a_stop)
{
	const Axvm__V1__Terminal *terminal;

	shutdown_stop(&shim, "for a reason");
	terminal = terminal_of(OUTCOME_STOPPED_BY_HOST, 36);
	cr_assert_null(terminal->vcpu);
	cr_assert_str_eq(terminal->message, "for a reason");
}

/* 64-bit code takes both: CS.L, and a processor that is in long mode. */
Test(commands, code_is_64_bit_in_long_mode_only)
{
	shim.machine.end = MACHINE_END_VCPU_FAILED;
	shim.machine.end_exit = KVM_EXIT_UNKNOWN;
	shim.machine.end_detail = EFAULT;
	shim.machine.vcpus[0].sregs.cs.l = 1;
	{
		const Axvm__V1__Terminal *terminal = terminal_of(OUTCOME_VCPU_FAILED, 35);

		cr_assert_not(terminal->vcpu->cs_is_64bit);
		cr_assert_not_null(strstr(terminal->message, "a page behind its memory"), "%s",
		                   terminal->message);
	}
}

Test(commands, a_death_is_told_as_it_was)
{
	static const struct sandbox_death death = {
		.role = SANDBOX_ROLE_IO, .tid = 55, .nr = 2, .instruction_pointer = 0x1234
	};
	const Axvm__V1__DeathRecord *got;

	shim.death = &death;
	problems_add(&shim.problems, ERROR_CODE_SANDBOX_VIOLATION, 0, NULL, "a violation");
	got = terminal_of(OUTCOME_RUNTIME_FAILED, 77)->death;
	cr_assert_not_null(got);
	cr_assert_str_eq(got->role, "io");
	cr_assert_str_eq(got->syscall_name, "open");
	cr_assert(got->thread_id == 55 && got->syscall_number == 2 &&
	          got->instruction_pointer == 0x1234);
	cr_assert_eq(strlen(got->policy_sha256), 64);
}

/* One by a ring, one for a page: each has its own members, and those of the other kinds are not
 * there. */
Test(commands, every_kind_of_death_is_told_as_it_was)
{
	static const struct sandbox_death by_ring = {
		.role = SANDBOX_ROLE_IO,
		.tid = 56,
		.ring = { .opcode = 13, .name = "ACCEPT", .what = "it is not allowed" }
	};
	static const struct sandbox_death of_page = { .role = SANDBOX_ROLE_VCPU,
		                                      .tid = 57,
		                                      .instruction_pointer = 0x77,
		                                      .lost = { .address = 0x5000,
		                                                .what = "no page" } };
	const Axvm__V1__DeathRecord *got;

	shim.death = &by_ring;
	got = terminal_of(OUTCOME_RUNTIME_FAILED, 70)->death;
	cr_assert_str_eq(got->role, "io");
	cr_assert_str_eq(got->ring_refusal, "it is not allowed");
	cr_assert_str_eq(got->ring_opcode_name, "ACCEPT");
	cr_assert(got->thread_id == 56 && got->ring_opcode == 13 && !got->lost_page &&
	          !got->syscall_name);
	new_shim();
	shim.death = &of_page;
	got = terminal_of(OUTCOME_RUNTIME_FAILED, 70)->death;
	cr_assert_str_eq(got->role, "vcpu");
	cr_assert_str_eq(got->lost_page, "no page");
	cr_assert(got->thread_id == 57 && got->lost_address == 0x5000 &&
	          got->instruction_pointer == 0x77);
	cr_assert(!got->ring_refusal && !got->has_syscall_number);
}

/* ---- an end that no turn of the loop has come before ----------------------------------------- */

/* The guest's one vCPU has ended and rests, there are no devices, and no wake-up is read. Returns
 * the status. */
static int account_after(enum machine_end end)
{
	shim.devices.present = false;
	shim.devices.io_count = 0;
	shim.lifecycle.state = STATE_STOPPING;
	shim.machine.end = end;
	shim.machine.parked = 1;
	return stage_account(&shim);
}

static size_t count_of(Axvm__V1__Event__BodyCase body)
{
	size_t n = 0;

	for (size_t i = 0; i < events_count; i++)
		n += events[i]->body_case == body;
	return n;
}

/* A guest that resets right after its panic: both are there before the control thread has looked
 * once. */
Test(commands, a_panic_that_no_turn_has_seen_is_told)
{
	atomic_store(&shim.machine.acpi.panicked, true);
	cr_assert_eq(account_after(MACHINE_END_RESET), 34);
	read_events();
	cr_assert_eq(count_of(AXVM__V1__EVENT__BODY_GUEST_PANICKED), 1);
	cr_assert_eq(events[events_count - 1]->body_case, AXVM__V1__EVENT__BODY_TERMINAL);
	cr_assert_eq(events[events_count - 1]->terminal->outcome,
	             AXVM__V1__OUTCOME__OUTCOME_GUEST_PANIC);
}

/* One that was told is not told again; one that powers off afterwards has panicked and powered off;
 * none is made up. */
Test(commands, a_panic_is_told_once_at_the_end)
{
	atomic_store(&shim.machine.acpi.panicked, true);
	shutdown_heed_panic(&shim);
	cr_assert_eq(account_after(MACHINE_END_TRIPLE_FAULT), 34);
	read_events();
	cr_assert_eq(count_of(AXVM__V1__EVENT__BODY_GUEST_PANICKED), 1);
	new_shim();
	atomic_store(&shim.machine.acpi.panicked, true);
	cr_assert_eq(account_after(MACHINE_END_POWER_OFF), 0);
	read_events();
	cr_assert_eq(count_of(AXVM__V1__EVENT__BODY_GUEST_PANICKED), 1);
	new_shim();
	cr_assert_eq(account_after(MACHINE_END_RESET), 32);
	read_events();
	cr_assert_eq(count_of(AXVM__V1__EVENT__BODY_GUEST_PANICKED), 0);
}

/* A command has one reply, whatever comes after it: here a pause, and the guest ends before it is
 * at rest. */
Test(commands, a_pause_that_an_end_overtakes_is_replied_to)
{
	give("request_id: 7 pause {}");
	cr_assert_null(reply_to(7));
	cr_assert_eq(account_after(MACHINE_END_RESET), 32);
	read_events();
	expect_done(7, AXVM__V1__STATE__STATE_STOPPING);
	cr_assert_eq(events[events_count - 1]->body_case, AXVM__V1__EVENT__BODY_TERMINAL);
}

/* ---- room for replies ------------------------------------------------------------------------ */

/* A reader that stalls: fd 4 is a pipe. */
static int stalled[2];

static void stall(void)
{
	cr_assert_eq(pipe2(stalled, O_CLOEXEC | O_NONBLOCK), 0);
	event_writer_done(&shim.events);
	cr_assert_eq(event_writer_init(&shim.events, stalled[1]), 0);
	shim.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	while (event_flush(&shim.events) == 0)
		(void)put_state_changed(&shim.events, "fills the pipe");
	while (put_state_changed(&shim.events, "fills the ring") == 0)
		;
}

/* Commands as they were read from fd 3, with the numbers from 1 on. */
static void queue_commands(const char *what, unsigned count)
{
	shim.stream.parser.launched = true;
	for (unsigned i = 1; i <= count; i++) {
		char text[64];

		snprintf(text, sizeof(text), "commands { request_id: %u %s }", i, what);
		shim.stream.chunk_end +=
			protoc_encode("ControlStream", text,
		                      shim.stream.chunk + shim.stream.chunk_end,
		                      sizeof(shim.stream.chunk) - shim.stream.chunk_end);
	}
}

static uint64_t last_reply, reply_count;
static bool with_counters;

/* What has come through the pipe; the numbers of replies must be in order. */
static void read_stalled(void)
{
	static uint8_t bytes[1024 * 1024];
	static size_t have;
	struct wire_cursor cursor;
	struct wire_field field;
	size_t whole = 0;
	ssize_t n;

	while ((n = read(stalled[0], bytes + have, sizeof(bytes) - have)) > 0)
		have += (size_t)n;
	cursor = (struct wire_cursor){ bytes, bytes + have };
	while (wire_next(&cursor, &field) > 0) {
		Axvm__V1__Event *event = axvm__v1__event__unpack(NULL, field.length, field.bytes);

		whole = (size_t)(cursor.at - bytes);
		if (event->body_case == AXVM__V1__EVENT__BODY_REPLY) {
			cr_assert_eq(event->reply->request_id, last_reply + 1);
			last_reply++;
			reply_count++;
			with_counters =
				event->reply->metrics && event->reply->metrics->n_counters > 0;
		}
		axvm__v1__event__free_unpacked(event, NULL);
	}
	memmove(bytes, bytes + whole, have - whole);
	have -= whole;
}

/* While the reader stalls no command is taken for whose reply there is no room; afterwards each is
 * taken, in its order, and has its reply. */
Test(commands, none_is_taken_without_room_for_its_reply)
{
	size_t all;

	stall();
	queue_commands("nmi {}", 60);
	control_begin(&shim);
	cr_assert(shim.stream.stopped);
	cr_assert_eq(shim.stream.chunk_at, 0, "not one was taken");
	for (int i = 0; i < 5; i++)
		control_turn(&shim, 0);
	cr_assert_eq(shim.stream.chunk_at, 0);
	all = shim.stream.chunk_end;
	for (int i = 0; i < 100 && reply_count < 60; i++) {
		read_stalled();
		control_turn(&shim, 0);
	}
	read_stalled();
	cr_assert_eq(reply_count, 60);
	cr_assert_not(shim.stream.stopped);
	cr_assert_eq(shim.stream.chunk_at, all);
}

/* A report needs more room than other replies: it waits for that, and what follows it waits for
 * it. */
Test(commands, a_report_waits_for_its_room)
{
	stall();
	queue_commands("metrics {}", 3);
	control_begin(&shim);
	cr_assert(shim.stream.stopped);
	/* Room for a reply, and not for a report. */
	shim.events.end -= 2 * EVENT_REPLY_BYTES;
	shim.devices.present = false;
	for (unsigned i = 0; i < 100; i++)
		shim.machine.vcpus[i].run = &run_page;
	shim.machine.vcpu_count = 100;
	control_turn(&shim, 0);
	cr_assert(shim.metrics.reply_due);
	cr_assert(shim.stream.stopped);
	cr_assert_lt(shim.stream.chunk_at, shim.stream.chunk_end / 2, "one was taken");
	cr_assert_eq(event_writer_dropped(&shim.events), 1, "the one that found the ring full");
	/* What is cut off there is no event: away with all of it. */
	shim.events.start = shim.events.end = 0;
	for (int i = 0; i < 100 && reply_count < 3; i++) {
		char byte[4096];

		if (i == 0)
			while (read(stalled[0], byte, sizeof(byte)) > 0)
				;
		control_turn(&shim, 0);
		read_stalled();
	}
	cr_assert_eq(reply_count, 3);
	cr_assert(with_counters);
	cr_assert_not(shim.metrics.reply_due);
}

/* The VM may end before there was room. */
Test(commands, a_report_that_an_end_overtakes_is_replied_to)
{
	shim.metrics.reply_due = true;
	shim.metrics.request_id = 4;
	commands_end(&shim);
	read_events();
	cr_assert_not_null(reply_to(4));
	cr_assert_not_null(reply_to(4)->metrics);
}

/* ---- fd 3 as a file -------------------------------------------------------------------------- */

/* The control loop on a file of one command of nearly 2 GiB, then of a short one. In a child: 3 is
 * a number that the tests may use themselves. */
static int reads_a_huge_file(void)
{
	static const uint8_t huge[] = { 0x12, 0xff, 0xff, 0xff, 0xff, 0x07 },
			     end[] = { 0x12, 0x00 };
	int fd = memfd_create("control", MFD_CLOEXEC);
	uint64_t at, began;

	if (write(fd, huge, sizeof(huge)) != sizeof(huge) || dup2(fd, CONTROL_FD) != CONTROL_FD ||
	    ftruncate(CONTROL_FD, (off_t)sizeof(huge) + INT32_MAX) < 0 ||
	    lseek(CONTROL_FD, 0, SEEK_SET) != 0)
		return 1;
	shim.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	shim.control_is_file = true;
	shim.stream.parser.launched = true;
	control_begin(&shim);
	at = shim.stream.parser.offset;
	if (at == 0 || at > MIB)
		return 2;
	/* Nothing else is waited for meanwhile, and what is read is not for nothing. */
	began = deadline_now_ns();
	control_turn(&shim, 10000);
	if (deadline_now_ns() - began > 5 * NS_PER_S)
		return 3;
	if (shim.stream.parser.offset <= at || shim.stream.parser.offset > at + MIB)
		return 4;
	/* The rest of it is shorter. */
	if (lseek(CONTROL_FD, 0, SEEK_SET) != 0 || ftruncate(CONTROL_FD, 0) < 0 ||
	    write(CONTROL_FD, end, sizeof(end)) != sizeof(end) ||
	    lseek(CONTROL_FD, 0, SEEK_SET) != 0)
		return 5;
	shim.stream.parser.have = shim.stream.parser.length = 0;
	shim.stream.parser.state = STREAM_TAG;
	control_turn(&shim, 0);
	return shim.control_ended && shim.stream.parser.state == STREAM_TAG ? 0 : 6;
}

/* However large a file the launcher has made of fd 3, signals and the other sources have their
 * turns. */
Test(commands, a_file_is_read_a_piece_at_a_turn)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		_exit(reads_a_huge_file());
	cr_assert_eq(WEXITSTATUS(wait_child(child)), 0);
}

/* The VM may end before the guest has done what a balloon command asked. */
Test(commands, a_balloon_command_that_an_end_overtakes_is_told)
{
	shim.devices.balloon.memory = &shim.machine.memory;
	atomic_store(&shim.devices.balloon.target_pages, 1);
	shim.devices.balloon_command =
		(struct shim_balloon){ .awaited = true, .request_id = 5, .target_mib = 3 };
	cr_assert_eq(account_after(MACHINE_END_RESET), 32);
	read_events();
	cr_assert_eq(count_of(AXVM__V1__EVENT__BODY_BALLOON_SETTLED), 1);
	cr_assert_eq(events[events_count - 1]->body_case, AXVM__V1__EVENT__BODY_TERMINAL);
	for (size_t i = 0; i < events_count; i++)
		if (events[i]->body_case == AXVM__V1__EVENT__BODY_BALLOON_SETTLED)
			cr_assert(events[i]->balloon_settled->request_id == 5 &&
			          !events[i]->balloon_settled->reached);
}
