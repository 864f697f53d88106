/* SPDX-License-Identifier: MIT */
/* Launches from their first stage to their last: what each stage leaves behind, what is told, and
 * how a VM ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "guest/layout.h"
#include "interface/version.h"
#include "sandbox/policy.h"
#include "tests/unit/rig/launch_rig.h"

#define FLAT "vm_id: 't' profile: 'dev' memory { nodes { size_mib: 16 } } "
#define IMAGE "boot { flat_boot { image { fd: 5 } } } "
#define WITH_APIC "boot { flat_boot { image { fd: 5 } local_apic: true } } "
#define ONE "cpus { count: 1 } "

TestSuite(sandbox_launch, .timeout = 120);

/* ---- guests ---------------------------------------------------------------------------------- */

static int halts(struct kvm_run *run, uint32_t vcpu)
{
	run->s.regs.regs.rax = 0x1234 + vcpu;
	run->s.regs.regs.rip = 0x100004;
	return 0;
}

static int event(struct kvm_run *run, uint32_t type)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = type;
	return 0;
}

static int powers_off(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	return event(run, KVM_SYSTEM_EVENT_SHUTDOWN);
}

static int resets(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	return event(run, KVM_SYSTEM_EVENT_RESET);
}

static int crashes(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	return event(run, KVM_SYSTEM_EVENT_CRASH);
}

static int faults(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static int cannot_run(struct kvm_run *run, uint32_t vcpu)
{
	(void)run;
	(void)vcpu;
	return EFAULT;
}

static int is_refused(struct kvm_run *run, uint32_t vcpu)
{
	(void)run;
	(void)vcpu;
	return ENOSPC;
}

static int is_not_emulated(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	return 0;
}

static int is_not_delivered(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
	return 0;
}

/* Until it is kicked. */
static int spins(struct kvm_run *run, uint32_t vcpu)
{
	(void)vcpu;
	while (!*(volatile uint8_t *)&run->immediate_exit)
		__builtin_ia32_pause();
	return EINTR;
}

/* Until its power button is pressed. */
static int heeds(struct kvm_run *run, uint32_t vcpu)
{
	while (!*(volatile uint8_t *)&run->immediate_exit) {
		if (atomic_load(&rig_shim.machine.acpi.events))
			return powers_off(run, vcpu);
		__builtin_ia32_pause();
	}
	return EINTR;
}

static void writes(struct kvm_run *run, uint64_t address, uint8_t value)
{
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = address;
	run->mmio.len = 1;
	run->mmio.is_write = 1;
	run->mmio.data[0] = value;
}

static int panics(struct kvm_run *run, uint32_t vcpu)
{
	if (atomic_load(&rig_shim.machine.acpi.panicked))
		return spins(run, vcpu);
	writes(run, LAYOUT_PANIC_REGISTER, 1);
	return 0;
}

/* It powers off once the control thread has heard of the panic. */
static int panics_and_powers_off(struct kvm_run *run, uint32_t vcpu)
{
	if (!atomic_load(&rig_shim.machine.acpi.panicked)) {
		writes(run, LAYOUT_PANIC_REGISTER, 1);
		return 0;
	}
	while (!*(volatile bool *)&rig_shim.shutdown.panicked &&
	       !*(volatile uint8_t *)&run->immediate_exit)
		__builtin_ia32_pause();
	return powers_off(run, vcpu);
}

/* ---- a whole life ---------------------------------------------------------------------------- */

static void expect_stages(enum axvm_stage last)
{
	for (enum axvm_stage stage = STAGE_ARRIVE; stage <= last; stage++) {
		const Axvm__V1__Event *told =
			rig_event(AXVM__V1__EVENT__BODY_STAGE_COMPLETED, stage - STAGE_ARRIVE);

		cr_assert_not_null(told, "stage %d", stage);
		cr_assert_eq((int)told->stage_completed->stage, (int)stage);
	}
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_STAGE_COMPLETED, last - STAGE_ARRIVE + 1));
}

static void expect_state(size_t which, Axvm__V1__State from, Axvm__V1__State to)
{
	const Axvm__V1__Event *told = rig_event(AXVM__V1__EVENT__BODY_STATE_CHANGED, which);

	cr_assert_not_null(told);
	cr_assert(told->state_changed->from == from && told->state_changed->to == to);
}

static bool names_fd(const Axvm__V1__Sealed *sealed, uint32_t fd)
{
	for (size_t i = 0; i < sealed->n_fds; i++)
		if (sealed->fds[i] == fd)
			return true;
	return false;
}

static void expect_role(const Axvm__V1__SealedRole *told, enum sandbox_role role, uint32_t threads)
{
	cr_assert_str_eq(told->role, sandbox_role_name(role));
	cr_assert_eq(told->threads, threads);
	cr_assert_eq(told->instructions, sandbox_filters[role].count);
}

static void expect_sealed(uint32_t vcpus, uint32_t io, bool launcher)
{
	const Axvm__V1__Sealed *sealed = rig_event(AXVM__V1__EVENT__BODY_SEALED, 0)->sealed;

	cr_assert_eq(sealed->threads, 1 + vcpus + io);
	cr_assert(sealed->no_new_privs && !sealed->dumpable && sealed->has_dumpable &&
	          sealed->capabilities_empty);
	cr_assert(sealed->has_uid && sealed->has_gid && sealed->landlock_abi >= 0);
	cr_assert_eq(sealed->rings_restricted, io);
	cr_assert_str_eq(sealed->policy_sha256, sandbox_policies_digest_hex);
	cr_assert_eq(sealed->launcher_death_told, launcher);
	cr_assert_eq(sealed->n_namespaces, sealed->n_namespace_inodes);
	cr_assert_eq(sealed->n_roles, io ? 3 : 2);
	expect_role(sealed->roles[0], SANDBOX_ROLE_CONTROL, 1);
	expect_role(sealed->roles[1], SANDBOX_ROLE_VCPU, vcpus);
	if (io)
		expect_role(sealed->roles[2], SANDBOX_ROLE_IO, io);
	cr_assert(names_fd(sealed, CONTROL_FD) && names_fd(sealed, EVENT_FD) &&
	          names_fd(sealed, EPOLL_FD) && names_fd(sealed, VM_FD));
	cr_assert(!names_fd(sealed, RIG_IMAGE), "what the machine was built of is closed");
	cr_assert(!names_fd(sealed, PROC_FD));
}

static void expect_running(uint32_t vcpus, uint32_t io)
{
	const Axvm__V1__Running *running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
	_cleanup_free_ struct host_facts *facts = facts_new();
	uint64_t before = 0;

	cr_assert_str_eq(running->profile, "dev");
	cr_assert(running->development);
	cr_assert_str_eq(running->version, AXVM_VERSION);
	cr_assert_eq(strlen(running->machine_sha256), 64);
	cr_assert_eq(running->n_vcpus, vcpus);
	for (uint32_t i = 0; i < vcpus; i++) {
		cr_assert_eq(running->vcpus[i]->index, i);
		cr_assert(i == 0 || running->vcpus[i]->apic_id > running->vcpus[i - 1]->apic_id);
		cr_assert_eq(running->vcpus[i]->has_host_cpu, running->pinned);
		cr_assert_eq(running->threads[i]->has_host_cpu, running->pinned);
		cr_assert(!running->pinned || (int)running->vcpus[i]->host_cpu == rig_told->cpu[i],
		          "it was made there");
		cr_assert_eq(running->threads[i]->host_cpu, running->vcpus[i]->host_cpu);
		cr_assert_eq(running->threads[i]->host_node, running->vcpus[i]->host_node);
	}
	cr_assert_eq(facts_probe_quick(facts, NULL), 0);
	cr_assert_eq(running->n_vulnerabilities, facts->vulnerability_count);
	for (size_t i = 0; i < running->n_vulnerabilities; i++) {
		cr_assert_str_eq(running->vulnerabilities[i]->name, facts->vulnerabilities[i].name);
		cr_assert_str_eq(running->vulnerabilities[i]->state,
		                 facts->vulnerabilities[i].value);
	}
	cr_assert_eq(running->n_threads, vcpus + io);
	for (uint32_t i = 0; i < vcpus + io; i++) {
		const Axvm__V1__ThreadRecord *record = running->threads[i];
		char name[16];

		snprintf(name, sizeof(name), i < vcpus ? "vcpu%u" : "io%u",
		         i < vcpus ? i : i - vcpus);
		cr_assert_str_eq(record->name, name);
		cr_assert(record->started_ns > 0 && record->staffed_ns >= record->started_ns &&
		          record->sealing_ns >= record->staffed_ns && record->started_ns >= before);
		before = i < vcpus ? 0 : record->started_ns;
	}
}

/* Until guest memory is mapped the process has no huge pages of its own; then it is as it was. */
static bool look_at_huge_pages(enum axvm_stage stage)
{
	if (stage >= STAGE_LEARN && stage <= STAGE_ACQUIRE)
		HOLDS(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
	if (stage == STAGE_BUILD)
		HOLDS(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0);
	return true;
}

Test(sandbox_launch, no_huge_pages_before_guest_memory)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE ONE,
		                           .guest = halts,
		                           .before = look_at_huge_pages };

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_held();
}

/* As a launcher does between fork and exec. */
static bool launcher_leaves(enum axvm_stage stage)
{
	static const struct itimerval late = { .it_value = { 9000, 0 } };

	if (stage == STAGE_ARRIVE)
		HOLDS(setpriority(PRIO_PROCESS, 0, 18) == 0 &&
		      setitimer(ITIMER_REAL, &late, NULL) == 0 &&
		      prctl(PR_SET_TIMERSLACK, 1000000, 0, 0, 0) == 0 &&
		      prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0);
	if (stage == STAGE_STAFF) {
		struct itimerval timer;

		HOLDS(getitimer(ITIMER_REAL, &timer) == 0 && timer.it_value.tv_sec == 0);
		HOLDS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 50000);
	}
	return true;
}

/* What is cleared is not told, and what stays is. */
Test(sandbox_launch, what_the_launcher_left_is_in_the_sealed_event)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE "cpus { count: 1 }",
		                           .guest = halts,
		                           .before = launcher_leaves };
	const Axvm__V1__Sealed *sealed;
	size_t nice = 0;

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_held();
	sealed = rig_event(AXVM__V1__EVENT__BODY_SEALED, 0)->sealed;
	for (size_t i = 0; i < sealed->n_inherited; i++) {
		nice += strcmp(sealed->inherited[i], "nice: 18") == 0;
		cr_expect(!strstr(sealed->inherited[i], "timer") &&
		                  !strstr(sealed->inherited[i], "death"),
		          "%s", sealed->inherited[i]);
	}
	cr_expect_eq(nice, 1);
}

/* What the machine was built of is closed, and forgotten, before there is a second thread. */
static bool nothing_is_left(enum axvm_stage stage)
{
	if (stage == STAGE_STAFF)
		rig_told->word[1] = rig_shim.kvm_fd == -1 && rig_shim.resources.image == -1 &&
		                    rig_shim.resources.kernel == -1 &&
		                    rig_shim.resources.initrd == -1 && !rig_shim.facts &&
		                    rig_shim.machine.pid == getpid();
	if (stage == STAGE_CONFINE)
		rig_told->word[2] = rig_shim.facts->kvm.tsc_khz;
	/* From the seal on a vCPU's thread has the control thread make its calls. */
	if (stage == STAGE_RUN)
		rig_told->word[3] = atomic_load(&rig_shim.machine.vm.calls_forwarded);
	return true;
}

Test(sandbox_launch, a_flat_image_from_arrive_to_account)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE "cpus { count: 2 }",
		                           .guest = halts,
		                           .before = nothing_is_left };
	int status = rig_launch(&launch);
	const Axvm__V1__Terminal *terminal = rig_terminal();

	cr_assert_eq(status, 0, "status %d: %s", status, rig_stderr);
	cr_assert_str_eq(rig_stderr, "");
	cr_assert_eq(rig_told->word[1], 1);
	cr_assert_eq(rig_told->word[2], 2500000, "the TSC's frequency is the VM's");
	cr_assert_eq(rig_told->word[3], 1);
	expect_stages(STAGE_RUN);
	expect_sealed(2, 0, false);
	expect_running(2, 0);
	expect_state(0, AXVM__V1__STATE__STATE_STARTING, AXVM__V1__STATE__STATE_RUNNING);
	expect_state(1, AXVM__V1__STATE__STATE_RUNNING, AXVM__V1__STATE__STATE_STOPPING);
	expect_state(2, AXVM__V1__STATE__STATE_STOPPING, AXVM__V1__STATE__STATE_STOPPED);
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_MEMORY_PLACED, 0), "nothing was populated");
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running->kernel_sha256,
	               "nor measured");
	cr_assert_eq(rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running->n_waived, 0);
	for (size_t i = 2; i < rig_events_count; i++)
		cr_assert_str_eq(rig_events[i]->vm_id, "t", "event %zu", i);
	cr_assert_eq(terminal->outcome, AXVM__V1__OUTCOME__OUTCOME_HALTED);
	cr_assert_eq(terminal->exit_status, 0);
	cr_assert_eq(terminal->n_errors, 0);
	cr_assert_eq(terminal->n_stages, STAGE_RUN);
	/* vCPU 0's registers, whoever was the last to halt. */
	cr_assert(terminal->vcpu && terminal->vcpu->index == 0);
	cr_assert_not_null(strstr(terminal->vcpu->rax, "1234"));
	cr_assert_str_eq(terminal->vcpu->exit_reason, "KVM_EXIT_HLT");
	cr_assert_null(terminal->death);
}

/* vCPUs that have a CPU each are made there, and the event says so. */
Test(sandbox_launch, vcpus_that_are_pinned)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE
		                           "cpus { count: 2 tenancy: TENANCY_DEDICATED }",
		                           .guest = halts };
	const Axvm__V1__Running *running;

	cr_assert_eq(rig_launch(&launch), 0, "%s", rig_stderr);
	expect_running(2, 0);
	running = rig_event(AXVM__V1__EVENT__BODY_RUNNING, 0)->running;
	cr_assert(running->pinned && !running->claimed);
	cr_assert_neq(running->vcpus[0]->host_cpu, running->vcpus[1]->host_cpu);
}

/* The state that FlatBoot in proto/axvm.proto describes, of each vCPU. */
Test(sandbox_launch, registers_of_a_flat_image)
{
	static const struct {
		const char *spec;
		uint64_t rip;
		bool second;
	} rows[] = {
		{ FLAT IMAGE "cpus { count: 2 }", 0x100000, true },
		{ FLAT
		  "boot { flat_boot { image { fd: 5 } load_address: 0x200000 } } cpus { count: 2 }",
		  0x200000, true },
		{ FLAT
		  "boot { flat_boot { image { fd: 5 } local_apic: true secondaries_wait: true } } cpus { count: 2 }",
		  0x100000, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rig_launch launch = { .spec = rows[i].spec, .guest = powers_off };

		rig_launch(&launch);
		rig_terminal();
		cr_assert_eq(rig_told->set[0], true);
		cr_assert_eq(rig_told->set[1], rows[i].second, "row %zu", i);
		for (uint32_t v = 0; v < (rows[i].second ? 2 : 1); v++) {
			const struct kvm_regs *regs = &rig_told->regs[v];

			cr_assert_eq(regs->rip, rows[i].rip);
			cr_assert_eq(regs->rdi, v);
			cr_assert_eq(regs->rsi, 2);
			cr_assert_eq(regs->rdx, 16 * MIB);
			cr_assert_eq(regs->rsp,
			             LAYOUT_FLAT_STACKS + (v + 1) * LAYOUT_FLAT_STACK_SIZE);
			cr_assert_eq(rig_told->sregs[v].cr3, LAYOUT_PAGE_TABLES);
			cr_assert_eq(rig_told->sregs[v].gdt.base, LAYOUT_GDT);
			cr_assert_neq(rig_told->sregs[v].gdt.limit, 0);
			cr_assert(rig_told->sregs[v].cs.l && rig_told->sregs[v].cs.selector != 0 &&
			          rig_told->sregs[v].ds.selector != rig_told->sregs[v].cs.selector);
		}
	}
	for (size_t i = 0; i < 16; i++)
		cr_assert_eq(rig_told->boot[i], 0x90, "the image lies at 1 MiB");
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static bool raise_term(enum axvm_stage stage)
{
	if (stage == STAGE_CONFINE)
		kill(getpid(), SIGTERM);
	return true;
}

static bool raise_both(enum axvm_stage stage)
{
	if (stage == STAGE_CONFINE) {
		kill(getpid(), SIGINT);
		kill(getpid(), SIGHUP);
	}
	return true;
}

/* Again and again, until there is nobody any more. */
static bool raise_again(enum axvm_stage stage)
{
	pid_t whom;

	if (stage != STAGE_CONFINE)
		return true;
	whom = getpid();
	if (fork() != 0)
		return true;
	while (getppid() == whom && kill(whom, SIGTERM) == 0)
		usleep(20000);
	_exit(0);
}

static bool launcher_dies(enum axvm_stage stage)
{
	if (stage == STAGE_CONFINE)
		kill(getpid(), SANDBOX_LAUNCHER_DIED);
	return true;
}

/* Another stream behind the launch, which is over after these bytes. */
static void replace_control(const char *bytes, size_t size)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 &&
	    dup2(pair[0], CONTROL_FD) == CONTROL_FD)
		(void)!write(pair[1], bytes, size);
	close(pair[0]);
	close(pair[1]);
}

static bool control_ends(enum axvm_stage stage)
{
	if (stage == STAGE_ADMIT)
		replace_control("", 0);
	return true;
}

static bool control_is_garbage(enum axvm_stage stage)
{
	if (stage == STAGE_ADMIT)
		replace_control("\x0f\x01", 2);
	return true;
}

static bool launch_fails(enum axvm_stage stage)
{
	return stage != STAGE_BUILD;
}

Test(sandbox_launch, each_end_has_its_status)
{
	static const struct {
		struct rig_launch launch;
		int status;
		Axvm__V1__Outcome outcome;
		const char *says; /* in the terminal event */
	} rows[] = {
		{ { .spec = FLAT IMAGE ONE, .guest = halts },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_HALTED,
		  "halted: " },
		{ { .spec = FLAT IMAGE ONE, .guest = powers_off },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE, .guest = resets },
		  32,
		  AXVM__V1__OUTCOME__OUTCOME_GUEST_RESET,
		  "guest reset: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE, .guest = faults },
		  33,
		  AXVM__V1__OUTCOME__OUTCOME_TRIPLE_FAULT,
		  "triple fault: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE, .guest = crashes },
		  34,
		  AXVM__V1__OUTCOME__OUTCOME_GUEST_PANIC,
		  "guest panic: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE, .guest = cannot_run },
		  35,
		  AXVM__V1__OUTCOME__OUTCOME_VCPU_FAILED,
		  "KVM could not run the guest: a page behind its memory could not be had" },
		{ { .spec = FLAT IMAGE ONE, .guest = is_refused },
		  35,
		  AXVM__V1__OUTCOME__OUTCOME_VCPU_FAILED,
		  "vCPU failed: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE, .guest = is_not_emulated },
		  35,
		  AXVM__V1__OUTCOME__OUTCOME_VCPU_FAILED,
		  "vCPU failed: vCPU 0: KVM could not emulate the instruction at rip 0x" },
		{ { .spec = FLAT IMAGE ONE, .guest = is_not_delivered },
		  35,
		  AXVM__V1__OUTCOME__OUTCOME_VCPU_FAILED,
		  "vCPU failed: vCPU 0, rip: 0x" },
		{ { .spec = FLAT WITH_APIC ONE, .guest = panics },
		  34,
		  AXVM__V1__OUTCOME__OUTCOME_GUEST_PANIC,
		  "the guest panicked and did not go on" },
		{ { .spec = FLAT WITH_APIC ONE, .guest = panics_and_powers_off },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT WITH_APIC ONE, .guest = heeds, .before = raise_term },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT WITH_APIC ONE, .guest = heeds, .before = raise_both },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT WITH_APIC ONE, .guest = spins, .before = raise_again },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "a second signal asked for the end" },
		{ { .spec = FLAT IMAGE ONE, .guest = spins, .before = raise_term },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "a signal asked for the end; this VM has no power button" },
		{ { .spec = FLAT WITH_APIC ONE "lifecycle { stop_when_launcher_dies: true }",
		    .guest = heeds,
		    .before = launcher_dies },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "the launcher has died" },
		{ { .spec = FLAT WITH_APIC ONE "lifecycle { shutdown_timeout_ms: 1 }",
		    .guest = spins,
		    .before = raise_term },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "the guest did not power off in time" },
		{ { .spec = FLAT WITH_APIC ONE
		    "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }",
		    .guest = heeds },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT WITH_APIC ONE
		    "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN shutdown_timeout_ms: 1 }",
		    .guest = spins },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "the guest did not power off in time" },
		{ { .spec = FLAT WITH_APIC ONE "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }",
		    .guest = heeds },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "fd 3 has ended, which means stop" },
		{ { .spec = FLAT IMAGE ONE "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }",
		    .guest = spins },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "fd 3 has ended, which means shut down; this VM has no power button" },
		{ { .spec = FLAT IMAGE ONE, .guest = spins, .command = "request_id: 1 stop {}" },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "a command asked for the stop" },
		{ { .spec = FLAT IMAGE ONE,
		    .guest = spins,
		    .command = "request_id: 1 stop {}",
		    .open_ended = true },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "a command asked for the stop" },
		{ { .spec = FLAT WITH_APIC ONE,
		    .guest = heeds,
		    .command = "request_id: 1 shutdown {}",
		    .open_ended = true },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		/* The launcher made a command of the signal that the shim has got too. */
		{ { .spec = FLAT WITH_APIC ONE,
		    .guest = heeds,
		    .command = "request_id: 1 shutdown {}",
		    .open_ended = true,
		    .before = raise_term },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT WITH_APIC ONE,
		    .guest = heeds,
		    .open_ended = true,
		    .command = "request_id: 1 pause {} } commands { request_id: 2 resume {} } "
		               "commands { request_id: 3 shutdown {}" },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }",
		    .guest = spins,
		    .open_ended = true,
		    .before = control_ends },
		  36,
		  AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST,
		  "fd 3 has ended, which means stop" },
		{ { .spec = FLAT WITH_APIC ONE
		    "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }",
		    .guest = heeds,
		    .open_ended = true,
		    .before = control_ends },
		  0,
		  AXVM__V1__OUTCOME__OUTCOME_POWER_OFF,
		  "powered off: vCPU 0" },
		{ { .spec = FLAT IMAGE ONE, .before = launch_fails },
		  70,
		  AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED,
		  "launch failed: never ran" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int status = rig_launch(&rows[i].launch);
		const Axvm__V1__Terminal *terminal = rig_terminal();
		bool ended_itself = rows[i].outcome != AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST &&
		                    rows[i].outcome != AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED &&
		                    rows[i].launch.guest != panics;

		cr_expect_eq(status, rows[i].status, "row %zu: status %d", i, status);
		cr_expect_eq(terminal->outcome, rows[i].outcome, "row %zu: outcome %d", i,
		             terminal->outcome);
		cr_expect_eq(terminal->exit_status, (uint32_t)rows[i].status, "row %zu", i);
		cr_expect_eq(terminal->n_errors, 0, "row %zu", i);
		cr_expect_not_null(strstr(terminal->message, rows[i].says), "row %zu: %s", i,
		                   terminal->message);
		cr_expect_eq(terminal->vcpu != NULL, ended_itself, "row %zu", i);
		cr_expect_eq(rig_event(AXVM__V1__EVENT__BODY_GUEST_PANICKED, 0) != NULL,
		             rows[i].launch.guest == panics ||
		                     rows[i].launch.guest == panics_and_powers_off,
		             "row %zu", i);
		cr_expect_null(rig_event(AXVM__V1__EVENT__BODY_GUEST_PANICKED, 1));
		for (size_t k = 0; k < 3; k++) {
			const Axvm__V1__Event *reply = rig_event(AXVM__V1__EVENT__BODY_REPLY, k);

			cr_expect(!reply || (reply->reply->ok && reply->reply->request_id == k + 1),
			          "row %zu", i);
		}
		cr_expect_eq(rig_event(AXVM__V1__EVENT__BODY_REPLY, 0) != NULL,
		             rows[i].launch.command != NULL);
	}
}

/* Bytes that are no stream cost the stream, with one reply that is to no request, and are like its
 * end. */
Test(sandbox_launch, garbage_ends_the_control_stream)
{
	const struct rig_launch launch = { .spec = FLAT IMAGE ONE
		                           "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }",
		                           .guest = spins,
		                           .open_ended = true,
		                           .before = control_is_garbage };
	const Axvm__V1__Reply *reply;

	cr_assert_eq(rig_launch(&launch), 36, "%s", rig_stderr);
	cr_assert_not_null(rig_event(AXVM__V1__EVENT__BODY_REPLY, 0));
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_REPLY, 1));
	reply = rig_event(AXVM__V1__EVENT__BODY_REPLY, 0)->reply;
	cr_assert(!reply->ok && reply->request_id == 0 && reply->error);
	cr_assert_eq(reply->error->code, AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_MALFORMED);
	cr_assert_not_null(strstr(reply->error->message, "this is not a ControlStream"), "%s",
	                   reply->error->message);
	cr_assert_str_eq(rig_terminal()->message, "fd 3 has ended, which means stop");
}
