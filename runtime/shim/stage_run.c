/* SPDX-License-Identifier: MIT */
/* Stages run and account: the guest's life as the control thread sees it, and the end. */
#include <assert.h>

#include "base/base.h"
#include "base/clock.h"
#include "interface/version.h"
#include "shim/announce.h"
#include "shim/commands.h"
#include "shim/control.h"
#include "shim/deadline.h"
#include "shim/device/devices.h"
#include "shim/metrics.h"
#include "shim/sealing.h"
#include "shim/shim.h"
#include "shim/shutdown.h"
#include "shim/terminal.h"

enum { GATE_RUN = 1 };

/* How long vCPUs and devices may take to stop once they are asked to. */
#define STOP_GRACE_MS 2000

/* Requires: every thread is sealed.
 * Does: announce Running, open the gate, serve until the guest ends or is ended.
 * Must not: open, map, allocate, or do a device's work. */
int stage_run(struct shim *shim)
{
	struct shim_shutdown *shutdown = &shim->shutdown;
	struct machine *machine = &shim->machine;

	shim->running = true;
	(void)announce_running(shim);
	(void)lifecycle_happen(&shim->lifecycle, HAPPENS_START, NULL);
	gate_open(&shim->gate, GATE_RUN);
	control_begin(shim);
	while (!shutdown->stop && atomic_load(&machine->end) == MACHINE_END_NONE) {
		int timeout_ms = deadline_wait_ms(metrics_tick(shim), -1);
		uint64_t looked_ns = deadline_now_ns();

		timeout_ms = deadline_wait_ms(devices_settle(&shim->devices, looked_ns,
		                                             shim->lifecycle.state == STATE_PAUSED),
		                              timeout_ms);
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

/* Takes every vCPU out of the guest, then has the devices finish. Calls that vCPUs wait for are
 * served meanwhile. */
static void stop_machine(struct shim *shim)
{
	uint64_t deadline = deadline_now_ns() + STOP_GRACE_MS * NS_PER_MS;

	machine_ask(&shim->machine, MACHINE_STOP);
	while (!machine_all_parked(&shim->machine) && !deadline_passed(deadline) && !shim->death)
		control_turn(shim, deadline_wait_ms(deadline, -1));
	devices_stop(&shim->devices);
	while (!devices_finished(&shim->devices) && !deadline_passed(deadline) && !shim->death)
		control_turn(shim, deadline_wait_ms(deadline, -1));
}

/* The loop leaves off as soon as the guest has ended, perhaps without a turn since it reported its
 * panic or since the vCPUs came to rest for a pause: what such a turn would have told is told
 * now. */
static void heed_what_is_left(struct shim *shim)
{
	shutdown_heed_panic(shim);
	commands_end(shim);
	devices_end(&shim->devices);
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

/* Requires: nothing; every stage may have failed. Does: stop vCPUs, quiesce devices, write the last
 * metrics and the one terminal event, give the exit status. Must not: fail, or wait without a
 * limit. */
int stage_account(struct shim *shim)
{
	int status;

	/* A thread that made a denied call stays where it is, so an orderly stop is not
	 * possible. */
	if (shim->running && !shim->death) {
		stop_machine(shim);
		heed_what_is_left(shim);
		metrics_last(shim);
	}
	/* A plan had no VM that could have a state. */
	if (!shim->planning.told)
		(void)lifecycle_happen(&shim->lifecycle,
		                       shim->problems.count ? HAPPENS_FAIL : HAPPENS_ACCOUNTED,
		                       NULL);
	status = terminal_emit(shim, stage_outcome(shim));
	(void)event_finish(&shim->events, EVENT_FINISH_MS);
	return status;
}
