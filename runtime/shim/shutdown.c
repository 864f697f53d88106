/* SPDX-License-Identifier: MIT */
/* Requests for the end of the VM.
 *
 * Who wants the VM's end often says so in more than one way: a batch system signals every
 * process of a step, the launcher makes a command of its signal and then ends, which ends fd 3. All
 * of these are one request, one press of the power button. A stop command stops the VM at once; so
 * does a signal that comes after another signal and does not belong to the same request. */
#include "shim/shutdown.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "interface/event.h"
#include "shim/deadline.h"
#include "shim/pause.h"
#include "shim/shim.h"

/* How long a guest that has reported a panic may take to reset or power off by itself. */
#define PANIC_GRACE_MS 2000

void shutdown_stop(struct shim *shim, const char *why)
{
	if (shim->shutdown.stop)
		return;
	shim->shutdown.stop = true;
	shim->shutdown.why = why;
	(void)lifecycle_happen(&shim->lifecycle, HAPPENS_STOP, why);
}

void shutdown_settle(struct shim *shim, uint64_t looked_ns)
{
	burst_looked(&shim->shutdown.request, looked_ns);
}

/* What each request does but for the clock: 0, or -EBUSY when the VM's state forbids it. */
static int ask_the_guest(struct shim *shim, uint64_t now_ns, const char *why)
{
	if (!shim->machine.vm.has_apic) {
		struct shim_shutdown *shutdown = &shim->shutdown;

		if (!shutdown->stop)
			snprintf(
				shutdown->no_button, sizeof(shutdown->no_button),
				"%s; this VM has no power button, for want of a local APIC, and is stopped",
				why);
		shutdown_stop(shim, shutdown->no_button);
		return 0;
	}
	if (lifecycle_happen(&shim->lifecycle, HAPPENS_SHUTDOWN, why) < 0)
		return -EBUSY;
	pause_let_go_on(shim);
	if (burst_take(&shim->shutdown.request, now_ns)) {
		shim->shutdown.why = why;
		acpi_press_power_button(&shim->machine.acpi);
	}
	return 0;
}

int shutdown_by_command(struct shim *shim, uint32_t timeout_ms, uint64_t now_ns, const char *why)
{
	int r = ask_the_guest(shim, now_ns, why);

	if (r == 0)
		shim->shutdown.deadline_ns = now_ns + timeout_ms * NS_PER_MS;
	return r;
}

void shutdown_ask(struct shim *shim, uint64_t now_ns, const char *why)
{
	struct shim_shutdown *shutdown = &shim->shutdown;

	if (ask_the_guest(shim, now_ns, why) == 0 && shutdown->deadline_ns == 0)
		shutdown->deadline_ns =
			now_ns + shim->spec.lifecycle.shutdown_timeout_ms * NS_PER_MS;
}

void shutdown_signal(struct shim *shim, uint64_t now_ns)
{
	struct shim_shutdown *shutdown = &shim->shutdown;
	bool again = shutdown->signalled && shutdown->request.until_ns == 0;

	shutdown->signalled = true;
	if (again)
		shutdown_stop(shim, "a second signal asked for the end");
	else
		shutdown_ask(shim, now_ns, "a signal asked for the end");
}

static void tell_panic(struct shim *shim)
{
	Axvm__V1__GuestPanicked body = AXVM__V1__GUEST_PANICKED__INIT;

	body.message = EVENT_TEXT("the guest's kernel reported a panic");
	(void)event_writer_put(&shim->events, EVENT(GUEST_PANICKED, guest_panicked, &body));
}

void shutdown_heed_panic(struct shim *shim)
{
	if (atomic_load(&shim->machine.acpi.panicked) && !shim->shutdown.panicked) {
		shim->shutdown.panicked = true;
		shim->shutdown.panic_deadline_ns = deadline_now_ns() + PANIC_GRACE_MS * NS_PER_MS;
		tell_panic(shim);
	}
}
