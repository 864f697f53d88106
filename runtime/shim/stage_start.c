/* SPDX-License-Identifier: MIT */
/* Stages arrive and learn: from exec to a spec that is valid. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "host/facts_proto.h"
#include "interface/plan_request.h"
#include "sandbox/fd_layout.h"
#include "sandbox/nest.h"
#include "sandbox/process.h"
#include "shim/control.h"
#include "shim/fds.h"
#include "shim/shim.h"

static void interrupted(int signal_number)
{
	(void)signal_number; /* KVM_RUN or a wait has returned: that was all */
}

/* Every signal is blocked, in this thread and so in all later ones, but for the kick that takes a
 * vCPU out of the guest, the report of a denied system call and that of a page that could not be
 * had: their handlers tell of them (sandbox/death.h). Those that end a process by themselves stay
 * as they are: they cannot be blocked when the kernel raises them. The requests to end are let in
 * only by whoever waits for the launch, to end that wait; later they are read from a signalfd. */
static int arrange_signals(struct problems *problems)
{
	static const int interrupting[] = { MACHINE_KICK_SIGNAL, SIGTERM, SIGINT, SIGHUP };
	struct sigaction interrupt = { .sa_handler = interrupted };
	sigset_t set;
	int r;

	sigfillset(&set);
	sigdelset(&set, MACHINE_KICK_SIGNAL);
	sigdelset(&set, SIGSYS);
	sigdelset(&set, SIGBUS);
	r = sigprocmask(SIG_SETMASK, &set, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(interrupting) && r == 0; i++)
		r = sigaction(interrupting[i], &interrupt, NULL);
	if (r < 0)
		return problems_add(problems, ERROR_CODE_OS_FAILED, errno, NULL,
		                    "cannot arrange signals: %s", errno_text(errno));
	return 0;
}

/* Requires: a fresh process with fds 3 and 4. Does: check both, get the event writer going, take
 * the process's attributes away; then what later stages do that does not depend on the spec: a shim
 * that was started before its spec is written has it behind itself. Must not: read the spec, write
 * to fd 1, or take a number that the spec may name. */
int stage_arrive(struct shim *shim)
{
	int r = arrange_signals(&shim->problems);

	shim->lifecycle.state = STATE_STARTING;
	if (r < 0)
		return r;
	r = check_event_fd(EVENT_FD, CONTROL_FD, &shim->problems);
	if (r < 0)
		return r;
	r = event_writer_init(&shim->events, EVENT_FD);
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
		                    "cannot prepare fd 4: %s", errno_text(-r));
	shim->lifecycle.events = &shim->events;
	r = check_control_fd(CONTROL_FD, &shim->problems);
	if (r < 0)
		return r;
	r = sandbox_arrive(&shim->sandbox, &shim->problems);
	if (r < 0)
		return r;
	/* Where the kernel gives huge pages unasked, each arena that a launch touches at its start
	 * would be cleared 2 MiB of. Guest memory may have them again (stage acquire). */
	(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	/* Listed with all that stage acquire finds wrong. */
	(void)control_open(shim);
	nest_begin(&shim->sandbox);
	sandbox_prepare(&shim->sandbox);
	(void)admit_probe(shim);
	return 0;
}

static int take_facts(struct shim *shim, const struct plan_request *request)
{
	int r;

	free_ptr(&shim->facts);
	shim->facts = facts_new();
	r = shim->facts ? facts_unpack(request->facts, request->facts_size, shim->facts) : -ENOMEM;
	if (r == -ENOMEM)
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, ENOMEM, "facts",
		                    "no memory for them");
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_SPEC_INVALID, -r, "facts",
		                    "is not an axvm.v1.HostFacts; `axvm probe --text` writes one");
	return 0;
}

static int learn_plan(struct shim *shim, const uint8_t *bytes, size_t length)
{
	struct shim_planning *planning = &shim->planning;
	struct plan_request request;
	int r = plan_request_parse(bytes, length, &shim->spec, &request, &shim->problems);

	if (r < 0)
		return r;
	planning->asked = true;
	planning->here = !request.facts;
	planning->claims = request.claims[0] ? strdup(request.claims) : NULL;
	if (request.claims[0] && !planning->claims)
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, ENOMEM, "claims",
		                    "no memory for a path");
	return request.facts ? take_facts(shim, &request) : 0;
}

/* Requires: fd 3 readable.
 * Does: read the launch, or plan, validate it once into shim->spec, close what it does not name.
 * Must not: look at the raw message again, or open anything. */
int stage_learn(struct shim *shim)
{
	int keep[SPEC_FDS_MAX];
	const uint8_t *bytes = NULL;
	size_t length = 0, kept;
	int r = stream_init(&shim->stream);

	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
		                    "no memory to read the launch: %s", errno_text(-r));
	r = stream_read_launch(&shim->stream, CONTROL_FD, &bytes, &length, &shim->problems);
	if (r == -EINTR) {
		shim->shutdown.stop = true;
		shim->shutdown.why = "a signal asked for the end before the launch was whole";
	}
	if (r < 0)
		return r;
	r = shim->stream.parser.planned ? learn_plan(shim, bytes, length)
	                                : spec_parse(bytes, length, &shim->spec, &shim->problems);
	stream_release_launch(&shim->stream);
	if (r < 0)
		return r;
	event_writer_set_vm_id(&shim->events, shim->spec.vm_id);
	kept = shim->planning.asked ? 0 : shim->spec.fds_count;
	memcpy(keep, shim->spec.fds, kept * sizeof(*keep));
	return sandbox_close_foreign(keep, kept, &shim->problems);
}
