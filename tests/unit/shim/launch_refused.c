/* SPDX-License-Identifier: MIT */
/* Launches that fail: at which stage, with which errors, and all that are wrong at once. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/futex.h"
#include "sandbox/fd_layout.h"
#include "shim/control.h"
#include "shim/deadline.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/launch_rig.h"

#define FLAT "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } } cpus { count: 2 } "
#define IMAGE "boot { flat_boot { image { fd: 5 } } } "
#define WITH_APIC "boot { flat_boot { image { fd: 5 } local_apic: true } } "

TestSuite(sandbox_refused, .timeout = 120);

static const Axvm__V1__Error *error_of(Axvm__V1__ErrorCode code, const char *field)
{
	const Axvm__V1__Terminal *terminal = rig_terminal();

	for (size_t i = 0; i < terminal->n_errors; i++) {
		const Axvm__V1__Error *error = terminal->errors[i];

		if (error->code == code &&
		    (field ? error->field && strcmp(error->field, field) == 0 : true))
			return error;
	}
	return NULL;
}

static void expect_failed(int status, int wanted, Axvm__V1__Stage stage, const char *what)
{
	const Axvm__V1__Terminal *terminal = rig_terminal();

	cr_expect_eq(status, wanted, "%s: status %d, %s", what, status,
	             terminal->n_errors ? terminal->errors[0]->message : "no error");
	cr_expect_eq(terminal->outcome, AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED, "%s", what);
	cr_expect_eq(terminal->stage, stage, "%s: stage %d", what, terminal->stage);
	cr_expect_null(rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0), "%s", what);
	cr_assert_not_null(rig_event(AXVM__V1__EVENT__BODY_STATE_CHANGED, 0), "%s", what);
	cr_expect_eq(rig_event(AXVM__V1__EVENT__BODY_STATE_CHANGED, 0)->state_changed->to,
	             AXVM__V1__STATE__STATE_FAILED, "%s", what);
	cr_expect_null(rig_event(AXVM__V1__EVENT__BODY_STATE_CHANGED, 1), "%s", what);
	cr_expect_null(terminal->vcpu);
}

/* On fd 2 a line for each, while there is a sandbox to come; the last stages have no poll(2). */
static void expect_words(const char *what)
{
	const Axvm__V1__Terminal *terminal = rig_terminal();
	size_t lines = 0;

	for (const char *at = rig_stderr; (at = strstr(at, "axvm-shim: ")); at++)
		lines++;
	cr_expect_eq(lines, terminal->n_errors, "%s: %zu lines: %s", what, lines, rig_stderr);
	for (size_t i = 0; i < terminal->n_errors; i++)
		cr_expect_not_null(strstr(rig_stderr, terminal->errors[i]->message), "%s: %s", what,
		                   rig_stderr);
}

/* ---- KVM ------------------------------------------------------------------------------------- */

Test(sandbox_refused, what_kvm_refuses_ends_the_launch)
{
	static const struct {
		unsigned long request;
		const char *spec;
		Axvm__V1__Stage stage;
		const char *says;
	} rows[] = {
		{ KVM_CREATE_VM, IMAGE, AXVM__V1__STAGE__STAGE_BUILD, "" },
		{ KVM_SET_USER_MEMORY_REGION, IMAGE, AXVM__V1__STAGE__STAGE_BUILD, "" },
		{ KVM_SET_TSS_ADDR, IMAGE, AXVM__V1__STAGE__STAGE_BUILD, "" },
		{ KVM_ENABLE_CAP, WITH_APIC, AXVM__V1__STAGE__STAGE_BUILD, "" },
		{ KVM_GET_STATS_FD, IMAGE, AXVM__V1__STAGE__STAGE_BUILD,
		  "KVM does not give its counters" },
		{ KVM_CREATE_VCPU, IMAGE, AXVM__V1__STAGE__STAGE_STAFF,
		  "vCPU 0: KVM refuses to create it" },
		{ KVM_SET_CPUID2, IMAGE, AXVM__V1__STAGE__STAGE_STAFF,
		  "vCPU 0: KVM refuses its CPUID" },
		{ KVM_SET_REGS, WITH_APIC, AXVM__V1__STAGE__STAGE_STAFF,
		  "vCPU 0: KVM refuses its registers" },
		{ KVM_SET_MSRS, WITH_APIC, AXVM__V1__STAGE__STAGE_STAFF,
		  "vCPU 0: KVM refuses its MSRs" },
		{ KVM_RUN, IMAGE, AXVM__V1__STAGE__STAGE_SEAL, "vCPU 0: KVM refuses to run it" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char spec[512], what[32];
		const struct rig_launch launch = { .spec = spec, .refused = rows[i].request };
		const Axvm__V1__Error *error;

		snprintf(spec, sizeof(spec), FLAT "%s", rows[i].spec);
		snprintf(what, sizeof(what), "row %zu", i);
		expect_failed(rig_launch(&launch), 71, rows[i].stage, what);
		error = error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_FAILED, NULL);
		cr_assert_not_null(error, "%s", what);
		cr_expect_eq(error->stage, rows[i].stage, "%s", what);
		cr_expect_eq(error->error_number, EPERM, "%s", what);
		cr_expect_not_null(strstr(error->message, rows[i].says), "%s: %s", what,
		                   error->message);
		/* Each vCPU says so. */
		cr_expect_eq(rig_terminal()->n_errors,
		             rows[i].stage == AXVM__V1__STAGE__STAGE_STAFF ? 2 : 1, "%s", what);
		if (rows[i].stage != AXVM__V1__STAGE__STAGE_SEAL)
			expect_words(what);
	}
}

/* The facts have it as a requirement, and stage acquire has the words: one error, not two. */
Test(sandbox_refused, kvm_that_is_not_there)
{
	static const struct {
		struct rig_launch launch;
		Axvm__V1__ErrorCode code;
	} rows[] = {
		{ { .spec = FLAT IMAGE, .kvm_error = ENOENT },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING },
		{ { .spec = FLAT IMAGE, .kvm_error = EACCES },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_DENIED },
		{ { .spec = FLAT IMAGE, .kvm_error = EPERM },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_DENIED },
		{ { .spec = FLAT IMAGE, .kvm_error = ENODEV },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING },
		{ { .spec = FLAT IMAGE, .old_api = true },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING },
		{ { .spec = FLAT IMAGE, .lacks = KVM_CAP_IRQFD },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_CAPABILITY_MISSING },
		{ { .spec = FLAT IMAGE, .lacks = KVM_CAP_SYNC_REGS },
		  AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_CAPABILITY_MISSING },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char what[32];

		snprintf(what, sizeof(what), "row %zu", i);
		expect_failed(rig_launch(&rows[i].launch), 69, AXVM__V1__STAGE__STAGE_ACQUIRE,
		              what);
		cr_expect_eq(rig_terminal()->n_errors, 1, "%s", what);
		cr_expect_not_null(error_of(rows[i].code, NULL), "%s: %s", what,
		                   rig_terminal()->errors[0]->message);
		expect_words(what);
	}
}

/* A vCPU more than the made-up KVM's 64. */
Test(sandbox_refused, more_vcpus_than_kvm_has)
{
	const struct rig_launch launch = {
		.spec = "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } } cpus { count: 65 overcommit: true } " IMAGE
	};
	const Axvm__V1__Error *error;

	expect_failed(rig_launch(&launch), 69, AXVM__V1__STAGE__STAGE_ACQUIRE, "65");
	error = error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_LIMIT, "cpus.count");
	cr_assert_not_null(error, "%s", rig_terminal()->errors[0]->message);
	cr_assert_not_null(strstr(error->message, "65 vCPUs were asked"), "%s", error->message);
}

/* ---- resources ------------------------------------------------------------------------------- */

/* All of them, each by its field, and KVM's absence with them. */
Test(sandbox_refused, all_that_is_wrong_is_listed)
{
	static const struct {
		const char *field;
		Axvm__V1__ErrorCode code;
	} errors[] = {
		/* what was handed over comes first, before its number can be another's */
		{ "console.input", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_MISSING },
		{ "disks[1].image", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_MISSING },
		{ "disks[2].block_size", AXVM__V1__ERROR_CODE__ERROR_CODE_IMAGE_INVALID },
		{ "nets[0].tap", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_WRONG_KIND },
		{ "nets[1].tap", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_MISSING },
		{ "vsock.channel", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_WRONG_KIND },
		{ NULL, AXVM__V1__ERROR_CODE__ERROR_CODE_SANDBOX_FAILED }, /* no cgroup */
		{ NULL, AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING },
		{ "boot.flat_boot.image", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_MISSING },
		{ "console.output", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_WRONG_KIND },
		{ "disks[0].image", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_MISSING },
		{ "nets[1].vhost", AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_MISSING },
	};
	const struct rig_launch launch = {
		.spec = "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } } cpus { count: 1 } "
			"boot { flat_boot { image { path: '/nonexistent/image' } local_apic: true } } "
			"console { input { fd: 44 } output { path: '/' } } disks { id: 'a' image { path: '/nonexistent/a' } } "
			"disks { id: 'b' image { fd: 45 } } disks { id: 'c' image { fd: 7 } block_size: 4096 } "
			"nets { id: 'n' tap { fd: 6 } } "
			"nets { id: 'm' tap { fd: 46 } vhost { path: '/nonexistent/vhost' } } "
			"vsock { cid: 3 channel { fd: 5 } } sandbox { cgroup_fds: 8 }",
		.kvm_error = ENOENT,
		.odd_disk = true,
	};

	expect_failed(rig_launch(&launch), 66, AXVM__V1__STAGE__STAGE_ACQUIRE, "all");
	cr_assert_eq(rig_terminal()->n_errors, ARRAY_SIZE(errors));
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		const Axvm__V1__Error *error = rig_terminal()->errors[i];

		cr_expect_eq(error->code, errors[i].code, "%zu: %d, %s", i, error->code,
		             error->message);
		cr_expect_eq(strcmp(error->field ? error->field : "",
		                    errors[i].field ? errors[i].field : ""),
		             0, "%zu: %s", i, error->message);
	}
	expect_words("all");
}

/* The nest has failed meanwhile, or would have. */
static bool nest_has_failed(enum axvm_stage stage)
{
	struct sandbox_nest *nest = &rig_shim.sandbox.nest;

	if (stage != STAGE_ACQUIRE)
		return true;
	if (nest->begun)
		futex_wait_until(&nest->state, 1);
	nest->begun = true;
	nest->state = MAX(nest->state, 1u);
	nest->result = -EPERM;
	nest->problems.count = 0;
	problems_add(&nest->problems, ERROR_CODE_SANDBOX_FAILED, EPERM, NULL,
	             "no namespaces for you");
	return true;
}

/* What stage confine will say belongs with what is wrong before it. */
Test(sandbox_refused, a_sandbox_that_cannot_be_is_told_with_the_rest)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE,
		                           .kvm_error = ENOENT,
		                           .before = nest_has_failed };
	const Axvm__V1__Error *error;

	expect_failed(rig_launch(&launch), 69, AXVM__V1__STAGE__STAGE_ACQUIRE, "both");
	cr_assert_eq(rig_terminal()->n_errors, 2);
	cr_assert_not_null(error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING, NULL));
	error = error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_SANDBOX_FAILED, NULL);
	cr_assert_not_null(error);
	cr_assert_str_eq(error->message, "no namespaces for you");
	cr_assert_eq(error->error_number, EPERM);
}

enum { ONLY_WRITTEN = 20, ONLY_READ = 21 };

static bool wrong_way_round(enum axvm_stage stage)
{
	if (stage == STAGE_ACQUIRE) {
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), ONLY_WRITTEN);
		dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), ONLY_READ);
	}
	return true;
}

/* Each must be open for what it is for. */
Test(sandbox_refused, resources_that_are_open_the_wrong_way)
{
	static const struct {
		const char *spec, *field;
	} rows[] = {
		{ "boot { flat_boot { image { fd: 20 } } }", "boot.flat_boot.image" },
		{ "boot { linux_boot { kernel { fd: 20 } } }", "boot.linux_boot.kernel" },
		{ "boot { linux_boot { kernel { fd: 5 } initrd { fd: 20 } } }",
		  "boot.linux_boot.initrd" },
		{ WITH_APIC "console { input { fd: 20 } }", "console.input" },
		{ WITH_APIC "console { output { fd: 21 } }", "console.output" },
		{ WITH_APIC "vsock { cid: 3 channel { fd: 20 } }", "vsock.channel" },
		{ WITH_APIC "vsock { cid: 3 channel { fd: 21 } }", "vsock.channel" },
		{ WITH_APIC "nets { id: 'n' tap { fd: 10 } vhost { fd: 20 } }", "nets[0].vhost" },
		{ WITH_APIC "nets { id: 'n' tap { fd: 10 } vhost { fd: 21 } }", "nets[0].vhost" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char spec[512];
		const struct rig_launch launch = { .spec = spec, .before = wrong_way_round };

		snprintf(spec, sizeof(spec), FLAT "%s", rows[i].spec);
		expect_failed(rig_launch(&launch), 66, AXVM__V1__STAGE__STAGE_ACQUIRE,
		              rows[i].field);
		cr_assert_eq(rig_terminal()->n_errors, 1, "%s: %s", rows[i].field, rig_stderr);
		cr_assert_not_null(error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_RESOURCE_UNREADABLE,
		                            rows[i].field),
		                   "%s: %s", rows[i].field, rig_stderr);
	}
}

enum { ALSO_THE_IMAGE = 22 };

static bool once_more(enum axvm_stage stage)
{
	if (stage == STAGE_ACQUIRE)
		dup2(open("/proc/self/fd/5", O_RDWR | O_APPEND | O_CLOEXEC), ALSO_THE_IMAGE);
	return true;
}

/* What the guest writes to is nothing else of the spec's, under whatever number. */
Test(sandbox_refused, what_is_written_is_nothing_else)
{
	static const struct {
		const char *spec, *field, *other;
	} rows[] = {
		{ WITH_APIC "console { output { fd: 22 } }", "console.output",
		  "boot.flat_boot.image" },
		{ WITH_APIC
		  "console { output { path: '/proc/self/fd/7' } } disks { id: 'd' image { fd: 7 } read_only: true }",
		  "console.output", "disks[0].image" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char spec[512];
		const struct rig_launch launch = { .spec = spec, .before = once_more };
		const Axvm__V1__Error *error;

		snprintf(spec, sizeof(spec), FLAT "%s", rows[i].spec);
		expect_failed(rig_launch(&launch), 65, AXVM__V1__STAGE__STAGE_ACQUIRE,
		              rows[i].field);
		cr_assert_eq(rig_terminal()->n_errors, 1, "%zu: %s", i, rig_stderr);
		error = error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID, rows[i].field);
		cr_assert_not_null(error, "%zu: %s", i, rig_stderr);
		cr_assert_not_null(strstr(error->message, rows[i].other), "%s", error->message);
	}
}

static bool stdin_is_a_file(enum axvm_stage stage)
{
	if (stage == STAGE_ACQUIRE)
		dup2(memfd_create("input", MFD_CLOEXEC), 0);
	return true;
}

/* What could not be opened is no file at all, whatever is on fd 0. */
Test(sandbox_refused, what_is_missing_is_not_compared)
{
	const struct rig_launch launch = {
		.spec = FLAT WITH_APIC
		"console { input { path: '/nonexistent/i' } output { path: '/nonexistent/o' } }",
		.before = stdin_is_a_file,
	};

	expect_failed(rig_launch(&launch), 66, AXVM__V1__STAGE__STAGE_ACQUIRE, "missing");
	cr_assert_eq(rig_terminal()->n_errors, 2, "%s", rig_stderr);
}

/* While the devices are built, after the plan was made. */
static void change_plan(unsigned long request)
{
	if (request == KVM_IRQFD || request == KVM_IOEVENTFD)
		rig_shim.plan.memory.regions[0].size ^= 4096;
}

static void change_devices(unsigned long request)
{
	if (request == KVM_IRQFD || request == KVM_IOEVENTFD)
		rig_shim.plan.devices.list[0].bar = 0;
}

/* A machine is compared with its plan before anything is loaded into it. */
Test(sandbox_refused, what_was_not_planned_is_not_run)
{
	static void (*const changes[])(unsigned long) = { change_plan, change_devices };

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const struct rig_launch launch = { .spec = FLAT WITH_APIC "rng {}",
			                           .asked = changes[i] };

		expect_failed(rig_launch(&launch), 70, AXVM__V1__STAGE__STAGE_BUILD, "changed");
		cr_assert_eq(rig_terminal()->n_errors, 1);
		cr_assert_not_null(error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_INTERNAL, NULL), "%s",
		                   rig_stderr);
	}
}

/* ---- rings ----------------------------------------------------------------------------------- */

static struct {
	enum axvm_stage from; /* the call fails from here on */
	long call;
	int error;
} refused_call;

static bool refuse_call(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	*ret_result = -refused_call.error;
	return true;
}

static bool without_call(enum axvm_stage stage)
{
	if (stage != refused_call.from)
		return true;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       fake_kernel_begin(&refused_call.call, 1, refuse_call) == 0;
}

/* Who denies them is told, at whichever of the two stages it comes out; a kernel that is out of
 * memory is none. */
Test(sandbox_refused, rings_that_cannot_be_made)
{
	static const struct {
		enum axvm_stage stage;
		int error, status;
		Axvm__V1__ErrorCode code;
	} rows[] = {
		{ STAGE_ACQUIRE, EPERM, 69, AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_LIMIT },
		{ STAGE_ACQUIRE, ENOMEM, 71, AXVM__V1__ERROR_CODE__ERROR_CODE_OS_FAILED },
		{ STAGE_BUILD, EPERM, 69, AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_LIMIT },
		{ STAGE_BUILD, ENOMEM, 71, AXVM__V1__ERROR_CODE__ERROR_CODE_OS_FAILED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch launch = { .spec = FLAT WITH_APIC "rng {}",
			                           .before = without_call };
		const struct rig_launch none = { .spec = FLAT WITH_APIC, .before = without_call };
		const Axvm__V1__Error *error;
		char what[32];

		refused_call.from = rows[i].stage;
		refused_call.call = SYS_io_uring_setup;
		refused_call.error = rows[i].error;
		snprintf(what, sizeof(what), "row %zu", i);
		expect_failed(rig_launch(&launch), rows[i].status, (Axvm__V1__Stage)rows[i].stage,
		              what);
		cr_assert_eq(rig_terminal()->n_errors, 1, "%s", what);
		error = error_of(rows[i].code, NULL);
		cr_assert_not_null(error, "%s: %s", what, rig_terminal()->errors[0]->message);
		cr_assert_eq(error->error_number, rows[i].error, "%s", what);
		cr_assert_not_null(strstr(error->message, "cannot create an I/O ring (io_uring): "),
		                   "%s", error->message);
		/* One that has no devices asks for none; its filters are counted, and there is one
		 * more than it knows. */
		(void)rig_launch(&none);
		cr_assert_neq(rig_terminal()->stage, (Axvm__V1__Stage)rows[i].stage, "%s", what);
	}
}

/* Calls of the launch itself, each with the stage that tells of it and its words. */
Test(sandbox_refused, calls_that_fail_end_the_launch)
{
	static const struct {
		enum axvm_stage from, told;
		long call;
		int error;
		const char *words;
	} rows[] = {
		{ STAGE_ARRIVE, STAGE_ACQUIRE, SYS_eventfd2, EMFILE,
		  "cannot create the control loop's descriptors" },
		{ STAGE_ARRIVE, STAGE_ACQUIRE, SYS_signalfd4, EMFILE,
		  "cannot create the control loop's descriptors" },
		{ STAGE_ARRIVE, STAGE_ACQUIRE, SYS_epoll_create1, EMFILE,
		  "cannot create the control loop's descriptors" },
		{ STAGE_LEARN, STAGE_LEARN, SYS_mmap, ENOMEM, "no memory to read the launch: " },
		{ STAGE_BUILD, STAGE_BUILD, SYS_eventfd2, EMFILE, "cannot create an I/O loop: " },
		{ STAGE_BUILD, STAGE_BUILD, SYS_epoll_ctl, ENOSPC, "cannot watch fd 897: " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch launch = { .spec = FLAT WITH_APIC "rng {}",
			                           .before = without_call };
		const Axvm__V1__Error *error;
		char what[32];

		refused_call.from = rows[i].from;
		refused_call.call = rows[i].call;
		refused_call.error = rows[i].error;
		snprintf(what, sizeof(what), "row %zu", i);
		expect_failed(rig_launch(&launch), 71, (Axvm__V1__Stage)rows[i].told, what);
		error = rig_terminal()->errors[0];
		cr_assert_eq(error->code, AXVM__V1__ERROR_CODE__ERROR_CODE_OS_FAILED, "%s: %s",
		             what, error->message);
		cr_assert_eq(error->error_number, rows[i].error, "%s: %s", what, error->message);
		cr_assert_eq(strncmp(error->message, rows[i].words, strlen(rows[i].words)), 0,
		             "%s: %s", what, error->message);
	}
}

static bool no_second_layer(enum axvm_stage stage)
{
	if (stage == STAGE_STAFF)
		rig_shim.sandbox.landlock_fd = -1;
	return true;
}

/* What a thread could not do is the launch's failure: each has its say, and the control thread goes
 * no further. */
Test(sandbox_refused, threads_that_cannot_be_sealed)
{
	static const struct {
		const char *spec;
		size_t threads;
	} rows[] = { { FLAT IMAGE, 2 }, { FLAT WITH_APIC "rng {}", 3 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch launch = { .spec = rows[i].spec,
			                           .before = no_second_layer };

		expect_failed(rig_launch(&launch), 77, AXVM__V1__STAGE__STAGE_SEAL, "unsealed");
		cr_assert_eq(rig_terminal()->n_errors, rows[i].threads);
		for (size_t k = 0; k < rows[i].threads; k++)
			cr_assert_not_null(strstr(rig_terminal()->errors[k]->message,
			                          "cannot restrict a thread by Landlock"));
		cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_SEALED, 0));
	}
}

/* The second of two: the ring is another kind of descriptor by then. */
static bool ring_is_none(enum axvm_stage stage)
{
	if (stage == STAGE_STAFF)
		rig_shim.devices.io[1].loop.ring.ring_fd = CONTROL_WAKE_FD;
	return true;
}

/* The same, where the kernel has no workers to bind before. */
static bool ring_is_none_when_enabled(enum axvm_stage stage)
{
	rig_shim.devices.io[1].loop.knows_workers = false;
	return ring_is_none(stage);
}

Test(sandbox_refused, a_ring_that_cannot_be_enabled)
{
	const struct rig_launch launch = { .spec = FLAT WITH_APIC
		                           "io { threads_per_node: 2 } rng {} balloon {}",
		                           .before = ring_is_none_when_enabled };
	const struct rig_launch unbound = { .spec = FLAT WITH_APIC
		                            "io { threads_per_node: 2 } rng {} balloon {}",
		                            .before = ring_is_none };
	const Axvm__V1__Error *error;

	expect_failed(rig_launch(&launch), 77, AXVM__V1__STAGE__STAGE_SEAL, "the second");
	cr_assert_eq(rig_terminal()->n_errors, 1);
	error = error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_SANDBOX_FAILED, NULL);
	cr_assert_not_null(error, "%s", rig_terminal()->errors[0]->message);
	cr_assert_gt(error->error_number, 0);
	cr_assert_not_null(strstr(error->message, "the ring of I/O thread 1"), "%s",
	                   error->message);
	expect_failed(rig_launch(&unbound), 69, AXVM__V1__STAGE__STAGE_SEAL,
	              "workers of the second");
	cr_assert_eq(rig_terminal()->n_errors, 1);
	error = error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_PLACEMENT_FAILED, NULL);
	cr_assert_not_null(error, "%s", rig_terminal()->errors[0]->message);
	cr_assert_not_null(strstr(error->message, "workers of I/O thread 1"), "%s", error->message);
}

/* ---- the host -------------------------------------------------------------------------------- */

/* A host that is surely no E5 v2, whatever this one is. */
static bool poor_host(enum axvm_stage stage)
{
	if (stage == STAGE_ADMIT && rig_shim.facts) {
		memset(rig_shim.facts->flags, 0, sizeof(rig_shim.facts->flags));
		/* young for this hour */
		rig_shim.facts_ns = deadline_now_ns() + 3600ULL * 1000000000;
	}
	return true;
}

#define XV2 "vm_id: 't' profile: 'xv2' memory { nodes { size_mib: 16 } } "

Test(sandbox_refused, a_host_that_does_not_meet_the_profile)
{
	const struct rig_launch launch = { .spec = XV2 IMAGE "cpus { count: 1 }",
		                           .before = poor_host };
	const struct rig_launch without = { .spec = XV2 IMAGE "cpus { count: 1 }",
		                            .before = poor_host,
		                            .kvm_error = ENOENT };
	const struct rig_launch report = { .spec = XV2 IMAGE
		                           "cpus { count: 1 } admission: ADMISSION_REPORT",
		                           .before = poor_host };
	const Axvm__V1__HostRefused *refused;
	const Axvm__V1__Running *running;
	bool kvm_among = false;
	char lacking[64][64];
	size_t of_host = 0, lacks = 0;

	expect_failed(rig_launch(&launch), 69, AXVM__V1__STAGE__STAGE_ADMIT, "xv2");
	cr_assert_not_null(rig_event(AXVM__V1__EVENT__BODY_HOST_REFUSED, 0));
	refused = rig_event(AXVM__V1__EVENT__BODY_HOST_REFUSED, 0)->host_refused;
	cr_assert_str_eq(refused->profile, "xv2");
	cr_assert_gt(refused->n_requirements, 0);
	for (size_t i = 0; i < refused->n_requirements; i++) {
		const Axvm__V1__Requirement *row = refused->requirements[i];

		cr_assert(!row->met && !row->waived && row->asked[0] != '\0', "%s", row->name);
		cr_assert_neq(strcmp(row->asked, row->found), 0, "%s", row->name);
		/* What opening the device finds as well is told in its words; a KVM without EPT is
		 * the profile's. */
		of_host += strcmp(row->name, "kvm") != 0 && strcmp(row->name, "kvm_api_12") != 0;
		cr_assert_lt(lacks, ARRAY_SIZE(lacking));
		snprintf(lacking[lacks++], sizeof(lacking[0]), "%s", row->name);
	}
	cr_assert_eq(rig_terminal()->n_errors, of_host);
	cr_assert_eq(rig_terminal()->errors[0]->code,
	             AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_REFUSED);
	expect_words("xv2");
	/* KVM's absence is told in the words of stage acquire. */
	expect_failed(rig_launch(&without), 69, AXVM__V1__STAGE__STAGE_ADMIT, "without KVM");
	cr_assert_not_null(error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING, NULL));
	refused = rig_event(AXVM__V1__EVENT__BODY_HOST_REFUSED, 0)->host_refused;
	for (size_t i = 0; i < refused->n_requirements; i++)
		kvm_among |= strncmp(refused->requirements[i]->name, "kvm", 3) == 0;
	cr_assert(kvm_among);
	for (size_t i = 0; i < rig_terminal()->n_errors; i++) {
		cr_assert_null(strstr(rig_terminal()->errors[i]->message, "asks for kvm:"));
		cr_assert_null(strstr(rig_terminal()->errors[i]->message, "asks for kvm_api_12:"));
	}
	/* Asked to report only: it runs, and says what was waived: what refused it. */
	cr_assert_eq(rig_launch(&report), 0, "%s", rig_stderr);
	running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
	cr_assert(!running->development);
	cr_assert_eq(running->n_waived, lacks);
	for (size_t i = 0; i < running->n_waived; i++) {
		const Axvm__V1__Requirement *row = running->waived[i];

		cr_assert_str_eq(row->name, lacking[i]);
		cr_assert(row->waived && !row->met && row->asked[0]);
		cr_assert_neq(strcmp(row->asked, row->found), 0, "%s", row->name);
	}
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_HOST_REFUSED, 0));
}

static bool stale_facts(enum axvm_stage stage)
{
	if (stage == STAGE_ADMIT) {
		rig_shim.facts_ns = 0;
		rig_shim.facts->cpus[0].online = !rig_shim.facts->cpus[0].online;
		rig_shim.facts->node_count = 0;
	}
	return true;
}

/* Told when they were read, so that stage admit can tell how old they are. */
static bool dated_facts(enum axvm_stage stage)
{
	if (stage == STAGE_ARRIVE)
		rig_told->word[1] = deadline_now_ns();
	if (stage == STAGE_ADMIT)
		rig_told->word[2] = rig_shim.facts_ns >= rig_told->word[1] &&
		                    rig_shim.facts_ns <= deadline_now_ns();
	return true;
}

static bool no_facts(enum axvm_stage stage)
{
	if (stage == STAGE_ADMIT)
		free_ptr(&rig_shim.facts);
	return true;
}

/* What was read long before the launch came is read again; what could not be read then, now. */
Test(sandbox_refused, facts_are_those_of_now)
{
	const struct rig_launch stale = { .spec = FLAT IMAGE, .before = stale_facts };
	const struct rig_launch none = { .spec = FLAT IMAGE, .before = no_facts };
	const struct rig_launch dated = { .spec = FLAT IMAGE, .before = dated_facts };

	cr_assert_eq(rig_launch(&dated), 0, "%s", rig_stderr);
	cr_assert_eq(rig_told->word[2], 1);
	cr_assert_eq(rig_launch(&stale), 0, "%s", rig_stderr);
	cr_assert_eq(rig_launch(&none), 0, "%s", rig_stderr);
}

/* ---- arrive and learn ------------------------------------------------------------------------ */

static bool no_control(enum axvm_stage stage)
{
	if (stage == STAGE_ARRIVE)
		close(CONTROL_FD);
	return true;
}

static bool write_only_control(enum axvm_stage stage)
{
	if (stage == STAGE_ARRIVE)
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), CONTROL_FD);
	return true;
}

static bool signalled(enum axvm_stage stage)
{
	if (stage == STAGE_LEARN) {
		dup2(open("/dev/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY), CONTROL_FD);
		kill(getpid(), SIGTERM);
	}
	return true;
}

static bool no_events(enum axvm_stage stage)
{
	if (stage == STAGE_ARRIVE)
		close(EVENT_FD);
	return true;
}

static bool events_to_nowhere(enum axvm_stage stage)
{
	if (stage == STAGE_ARRIVE)
		dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), EVENT_FD);
	return true;
}

static bool few_files(enum axvm_stage stage)
{
	struct rlimit limit = { 64, INTERNAL_FD_LAST + 1 };

	if (stage == STAGE_ARRIVE && setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	/* As many as there are numbers for, and no fewer. */
	return stage != STAGE_LEARN ||
	       (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == INTERNAL_FD_LAST + 1);
}

static bool too_few_files(enum axvm_stage stage)
{
	const struct rlimit limit = { INTERNAL_FD_LAST - 200, INTERNAL_FD_LAST - 200 };

	if (stage == STAGE_ARRIVE && setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	return true;
}

/* There is fd 2 to say so, and the status. */
Test(sandbox_refused, without_a_place_for_events)
{
	const struct rig_launch closed = { .spec = FLAT IMAGE, .before = no_events };
	const struct rig_launch unwritable = { .spec = FLAT IMAGE, .before = events_to_nowhere };

	cr_expect_eq(rig_launch(&closed), 64, "%s", rig_stderr);
	cr_expect_not_null(strstr(rig_stderr, "fd 4 is not open"), "%s", rig_stderr);
	cr_expect_eq(rig_launch(&unwritable), 64, "%s", rig_stderr);
	cr_expect_not_null(strstr(rig_stderr, "fd 4 is not open for writing"), "%s", rig_stderr);
}

/* Of all signals three are let in, and the requests to end wait; a launch is let go of once it has
 * been read. */
static bool look_at_signals(enum axvm_stage stage)
{
	static const int let_in[] = { MACHINE_KICK_SIGNAL, SIGSYS, SIGBUS };
	static const int interrupting[] = { MACHINE_KICK_SIGNAL, SIGTERM, SIGINT, SIGHUP };
	sigset_t mask;

	if (stage == STAGE_ADMIT)
		HOLDS(!rig_shim.stream.launch);
	if (stage != STAGE_LEARN)
		return true;
	HOLDS(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(let_in); i++)
		HOLDS(!sigismember(&mask, let_in[i]));
	for (int number = 1; number < 32; number++) {
		bool in = number == SIGKILL || number == SIGSTOP;

		for (size_t i = 0; i < ARRAY_SIZE(let_in); i++)
			in |= number == let_in[i];
		HOLDS(!!sigismember(&mask, number) != in);
	}
	for (size_t i = 0; i < ARRAY_SIZE(interrupting); i++) {
		struct sigaction action;

		HOLDS(sigaction(interrupting[i], NULL, &action) == 0 &&
		      action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
		      !(action.sa_flags & SA_RESTART));
	}
	return true;
}

Test(sandbox_refused, signals_are_held_until_they_are_read)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE, .before = look_at_signals };

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_held();
}

/* What nobody named is closed once the spec is known, and nothing else is. */
static bool look_at_foreign(enum axvm_stage stage)
{
	if (stage == STAGE_ARRIVE)
		HOLDS(dup2(STDERR_FD, 30) == 30 && dup2(STDERR_FD, SPEC_FD_LAST) == SPEC_FD_LAST);
	if (stage == STAGE_LEARN)
		HOLDS(fcntl(30, F_GETFD) >= 0 && fcntl(RIG_DISK, F_GETFD) >= 0);
	if (stage == STAGE_ADMIT) {
		HOLDS(fcntl(30, F_GETFD) < 0 && fcntl(SPEC_FD_LAST, F_GETFD) < 0 &&
		      fcntl(RIG_DISK, F_GETFD) < 0);
		HOLDS(fcntl(RIG_IMAGE, F_GETFD) >= 0 && fcntl(STDERR_FD, F_GETFD) >= 0);
		HOLDS(fcntl(CONTROL_FD, F_GETFD) >= 0 && fcntl(EVENT_FD, F_GETFD) >= 0);
	}
	return true;
}

Test(sandbox_refused, what_nobody_named_is_closed)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE, .before = look_at_foreign };

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_held();
}

Test(sandbox_refused, before_there_is_a_spec)
{
	const struct rig_launch closed = { .spec = FLAT IMAGE, .before = no_control };
	const struct rig_launch unreadable = { .spec = FLAT IMAGE, .before = write_only_control };
	const struct rig_launch invalid = { .spec = FLAT "boot { flat_boot { } }" };
	const struct rig_launch unknown = {
		.spec = "vm_id: 't' profile: 'nosuch' memory { nodes { size_mib: 16 } } "
			"cpus { count: 1 } " IMAGE
	};
	const struct rig_launch raised = { .spec = FLAT IMAGE, .before = few_files };
	const struct rig_launch limited = { .spec = FLAT IMAGE, .before = too_few_files };
	const struct rig_launch stopped = { .spec = FLAT IMAGE, .before = signalled };

	expect_failed(rig_launch(&closed), 64, AXVM__V1__STAGE__STAGE_ARRIVE, "closed");
	cr_expect_not_null(error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_CONTROL_FD_UNUSABLE, NULL));
	expect_failed(rig_launch(&unreadable), 64, AXVM__V1__STAGE__STAGE_ARRIVE, "unreadable");
	expect_failed(rig_launch(&invalid), 65, AXVM__V1__STAGE__STAGE_LEARN, "invalid");
	cr_expect_str_eq(rig_events[rig_events_count - 1]->vm_id
	                         ? rig_events[rig_events_count - 1]->vm_id
	                         : "",
	                 "");
	expect_failed(rig_launch(&unknown), 65, AXVM__V1__STAGE__STAGE_LEARN, "unknown profile");
	cr_expect_not_null(error_of(AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID, "profile"));
	/* A soft limit is raised; a hard one is named, with what is needed. */
	cr_expect_eq(rig_launch(&raised), 0, "%s", rig_stderr);
	expect_failed(rig_launch(&limited), 71, AXVM__V1__STAGE__STAGE_ACQUIRE, "limited");
	cr_expect_not_null(strstr(rig_stderr, "at least 1024"), "%s", rig_stderr);
	cr_expect_eq(rig_terminal()->errors[0]->error_number, EBADF);
	/* Nothing has come on fd 3 when the signal does. */
	cr_expect_eq(rig_launch(&stopped), 36, "%s", rig_stderr);
	cr_expect_eq(rig_terminal()->outcome, AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST);
	cr_expect_not_null(strstr(rig_terminal()->message, "before the launch was whole"));
}
