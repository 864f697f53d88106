/* SPDX-License-Identifier: MIT */
/* Stages run and account: the guest's life as the control thread sees it, and the end. */
#include <assert.h>

#include "base/base.h"
#include "base/clock.h"
#include "shim/commands.h"
#include "shim/control.h"
#include "interface/event.h"
#include "shim/metrics.h"
#include "shim/sealing.h"
#include "shim/shim.h"
#include "shim/terminal.h"
#include "interface/version.h"
#include "shim/deadline.h"
#include "shim/devices.h"
#include "shim/devices_balloon.h"
#include "shim/shutdown.h"

enum { GATE_RUN = 1 };

/* How long vCPUs and devices may take to stop once they are asked to. */
#define STOP_GRACE_MS 2000

/* Else the event would be lost as a whole. */
static_assert(FACTS_VULNERABILITIES_MAX <= EVENT_VULNERABILITIES_MAX, "the running event has room for all");

static void announce(struct shim *shim)
{
	struct event_vcpu_placement vcpus[MACHINE_VCPUS_MAX];
	struct event_requirement waived[PROFILE_NAMES_MAX];
	struct event_running event = {
		.profile = shim->profile.name,
		.development = shim->profile.development,
		.version = AXVM_VERSION,
		.pinned = shim->placement.pinned,
		.claimed = shim->placement.claimed,
		.machine_sha256 = shim->plan.digest,
		.waived = waived,
		.vcpus = vcpus,
		.vcpus_count = shim->machine.vcpu_count,
		.threads = shim->records,
		.threads_count = shim->threads,
		.vulnerabilities = shim->vulnerabilities,
		.vulnerabilities_count = shim->vulnerabilities_count,
	};

	if (shim->kernel_digest[0])
		event.kernel_sha256 = shim->kernel_digest;
	if (shim->initrd_digest[0])
		event.initrd_sha256 = shim->initrd_digest;
	for (size_t i = 0; i < shim->verdict.count; i++) {
		const struct verdict_row *row = &shim->verdict.rows[i];

		if (row->waived)
			waived[event.waived_count++] = (struct event_requirement){
				.name = row->name, .asked = row->asked, .found = row->found,
				.waived = true,
			};
	}
	for (uint32_t i = 0; i < shim->machine.vcpu_count; i++) {
		const struct vcpu *vcpu = &shim->machine.vcpus[i];

		vcpus[i] = (struct event_vcpu_placement){
			.index = i,
			.apic_id = vcpu->apic_id,
			.host_cpu = (uint32_t)MAX(vcpu->host_cpu, 0),
			.host_node = (uint32_t)MAX(vcpu->host_node, 0),
		};
	}
	(void)event_running(&shim->events, &event);
}

/* Requires: every thread is sealed.
 * Does: announce Running, open the gate, serve until the guest ends or is ended.
 * Must not: open, map, allocate, or do a device's work. */
int stage_run(struct shim *shim)
{
	struct shim_shutdown *shutdown = &shim->shutdown;
	struct machine *machine = &shim->machine;

	shim->running = true;
	announce(shim);
	(void)lifecycle_happen(&shim->lifecycle, HAPPENS_START, NULL);
	gate_open(&shim->gate, GATE_RUN);
	control_begin(shim);
	while (!shutdown->stop && atomic_load(&machine->end) == MACHINE_END_NONE) {
		int timeout_ms = deadline_wait_ms(metrics_tick(shim), -1);
		uint64_t looked_ns = deadline_now_ns();

		devices_balloon_settle(shim);
		timeout_ms = deadline_wait_ms(shim->balloon.standstill_ns, timeout_ms);
		timeout_ms = deadline_wait_ms(shutdown->request.until_ns, timeout_ms);
		timeout_ms = deadline_wait_ms(shutdown->deadline_ns, timeout_ms);
		control_turn(shim, deadline_wait_ms(shutdown->panic_deadline_ns, timeout_ms));
		shutdown_settle(shim, looked_ns);
		if (deadline_passed(shutdown->deadline_ns))
			shutdown_stop(shim, "the guest did not power off in time");
		else if (deadline_passed(shutdown->panic_deadline_ns))
			shutdown_stop(shim, "the guest panicked and did not go on");
	}
	if (!shutdown->stop)
		(void)lifecycle_happen(&shim->lifecycle, HAPPENS_END, NULL);
	return 0;
}

/* Takes every vCPU out of the guest, then has the devices finish. Calls that vCPUs wait for are served
 * meanwhile. */
static void stop_machine(struct shim *shim)
{
	uint64_t deadline = deadline_now_ns() + STOP_GRACE_MS * NS_PER_MS;

	machine_ask(&shim->machine, MACHINE_STOP);
	while (!machine_all_parked(&shim->machine) && !deadline_passed(deadline) && !shim->death)
		control_turn(shim, deadline_wait_ms(deadline, -1));
	devices_stop(shim);
	while (!devices_finished(shim) && !deadline_passed(deadline) && !shim->death)
		control_turn(shim, deadline_wait_ms(deadline, -1));
}

/* The loop leaves off as soon as the guest has ended, perhaps without a turn since it reported its panic or
 * since the vCPUs came to rest for a pause: what such a turn would have told is told now. */
static void heed_what_is_left(struct shim *shim)
{
	shutdown_heed_panic(shim);
	commands_end(shim);
	devices_balloon_end(shim);
}

enum axvm_outcome stage_outcome(const struct shim *shim)
{
	enum machine_end end = atomic_load(&shim->machine.end);

	if (shim->planning.told)
		return OUTCOME_PLANNED;
	if (!shim->running)
		return shim->shutdown.stop ? OUTCOME_STOPPED_BY_HOST : OUTCOME_LAUNCH_FAILED;
	if (shim->problems.count > 0)
		return OUTCOME_RUNTIME_FAILED;
	if (shim->shutdown.panicked && end != MACHINE_END_POWER_OFF)
		return OUTCOME_GUEST_PANIC;
	if (end != MACHINE_END_NONE)
		return (enum axvm_outcome)end;
	return OUTCOME_STOPPED_BY_HOST;
}

/* Requires: nothing; every stage may have failed.
 * Does: stop vCPUs, quiesce devices, write the last metrics and the one terminal event, give the exit status.
 * Must not: fail, or wait without a limit. */
int stage_account(struct shim *shim)
{
	int status;

	/* A thread that made a denied call stays where it is: there is nobody to stop in order. */
	if (shim->running && !shim->death) {
		stop_machine(shim);
		heed_what_is_left(shim);
		metrics_last(shim);
	}
	/* A plan had no VM that could have a state. */
	if (!shim->planning.told)
		(void)lifecycle_happen(&shim->lifecycle,
		                       shim->problems.count ? HAPPENS_FAIL : HAPPENS_ACCOUNTED, NULL);
	status = terminal_emit(shim, stage_outcome(shim));
	(void)event_finish(&shim->events, EVENT_FINISH_MS);
	return status;
}
