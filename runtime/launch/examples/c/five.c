/* SPDX-License-Identifier: MIT */
/* Five VMs by one program: launches them from one spec, follows their events with poll(2), pauses
 * one and resumes it, shrinks one by its balloon, shuts all down, and holds the end of each
 * against its terminal event.
 *
 *	protoc -I "$(pkg-config --variable=schemadir libaxvm)" --c_out=. proto/axvm.proto
 *	cc -I. -o five five.c proto/axvm.pb-c.c $(pkg-config --cflags --libs libaxvm libprotobuf-c)
 *	five SHIM GUEST_IMAGE
 *
 * GUEST_IMAGE is a flat image that drives a balloon (tests/guests/balloon.c). Prints a line for
 * each VM, and ends with 0 when all went as it should. What an orchestrator adds to this is its
 * own event loop and its own specs. */
#include <axvm/axvm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/axvm.pb-c.h"

#define GUESTS 5
#define IMAGE_FD 5 /* as the spec calls it */
#define MEMORY_MIB 32
#define TARGET_MIB 24      /* what the shrunk VM is to be left with */
#define BUTTON_MS 500      /* from the power button to the end, for a guest that does not heed it */
#define PATIENCE_MS 60000  /* for all of it */
#define REPORTS_COUNTER "balloon.guest_reports"

enum { PAUSED, SHRUNK }; /* the first two; nothing befalls the others */

struct guest {
	struct axvm_vm *vm;
	char id[16];
	const char *did;
	uint64_t balloon_id; /* the request that asked for the balloon; 0: not yet */
	bool ready;          /* all that is to befall it has */
	bool ended;          /* there are no more events */
	bool told;           /* there was a terminal one, with these: */
	Axvm__V1__Outcome outcome;
	int stated;
	int status; /* of the process; -1 until it has ended */
};

static int complain(const struct guest *guest, const char *what)
{
	fprintf(stderr, "five: %s: %s\n", guest->id, what);
	return -EPROTO;
}

/* ---- in: a spec and commands, encoded by the code that protobuf-c made of the schema */

static int launch(struct guest *guest, const char *shim, int image)
{
	Axvm__V1__LaunchSpec spec = AXVM__V1__LAUNCH_SPEC__INIT;
	Axvm__V1__Cpus cpus = AXVM__V1__CPUS__INIT;
	Axvm__V1__MemoryNode node = AXVM__V1__MEMORY_NODE__INIT, *nodes[] = { &node };
	Axvm__V1__Memory memory = AXVM__V1__MEMORY__INIT;
	Axvm__V1__Resource file = AXVM__V1__RESOURCE__INIT;
	Axvm__V1__FlatBoot flat = AXVM__V1__FLAT_BOOT__INIT;
	Axvm__V1__Boot boot = AXVM__V1__BOOT__INIT;
	Axvm__V1__Balloon balloon = AXVM__V1__BALLOON__INIT;
	Axvm__V1__Metrics metrics = AXVM__V1__METRICS__INIT;
	const struct axvm_fd fds[] = { { STDERR_FILENO, 2 }, { image, IMAGE_FD } };
	struct axvm_launch what = { .shim = shim, .fds = fds, .fds_count = 2 };
	char profile[] = "dev";
	struct axvm_error error;
	uint8_t bytes[256];
	int r;

	spec.vm_id = guest->id;
	spec.profile = profile;
	cpus.has_count = 1;
	cpus.count = 1;
	spec.cpus = &cpus;
	node.has_size_mib = 1;
	node.size_mib = MEMORY_MIB;
	memory.nodes = nodes;
	memory.n_nodes = 1;
	spec.memory = &memory;
	file.source_case = AXVM__V1__RESOURCE__SOURCE_FD;
	file.fd = IMAGE_FD;
	flat.image = &file;
	flat.has_local_apic = 1;
	flat.local_apic = 1;
	boot.kind_case = AXVM__V1__BOOT__KIND_FLAT_BOOT;
	boot.flat_boot = &flat;
	spec.boot = &boot;
	/* The figures that a balloon's driver gives are how it is known that there is one. */
	balloon.has_stats_interval_s = 1;
	balloon.stats_interval_s = 1;
	spec.balloon = &balloon;
	metrics.has_interval_ms = 1;
	metrics.interval_ms = 100;
	spec.metrics = &metrics;
	if (axvm__v1__launch_spec__get_packed_size(&spec) > sizeof(bytes))
		return complain(guest, "the spec is longer than there is room for");
	what.spec = bytes;
	what.spec_size = axvm__v1__launch_spec__pack(&spec, bytes);
	r = axvm_spawn(&what, &guest->vm, &error);
	return r < 0 ? complain(guest, error.text) : 0;
}

/* The library gives each command a request id, by which its reply is known. */
static int send_command(struct guest *guest, const Axvm__V1__Command *command, uint64_t *ret_id)
{
	uint8_t bytes[64];
	int r = -EMSGSIZE;

	if (axvm__v1__command__get_packed_size(command) <= sizeof(bytes))
		r = axvm_vm_send(guest->vm, bytes, axvm__v1__command__pack(command, bytes), ret_id);
	return r < 0 ? complain(guest, strerror(-r)) : 0;
}

static int send_pause(struct guest *guest)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__PauseCommand pause = AXVM__V1__PAUSE_COMMAND__INIT;

	command.what_case = AXVM__V1__COMMAND__WHAT_PAUSE;
	command.pause = &pause;
	return send_command(guest, &command, NULL);
}

static int send_resume(struct guest *guest)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ResumeCommand resume = AXVM__V1__RESUME_COMMAND__INIT;

	command.what_case = AXVM__V1__COMMAND__WHAT_RESUME;
	command.resume = &resume;
	return send_command(guest, &command, NULL);
}

static int send_balloon(struct guest *guest)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__BalloonCommand balloon = AXVM__V1__BALLOON_COMMAND__INIT;

	command.what_case = AXVM__V1__COMMAND__WHAT_BALLOON;
	command.balloon = &balloon;
	balloon.has_target_mib = 1;
	balloon.target_mib = TARGET_MIB;
	return send_command(guest, &command, &guest->balloon_id);
}

static int send_shutdown(struct guest *guest)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ShutdownCommand shutdown = AXVM__V1__SHUTDOWN_COMMAND__INIT;

	command.what_case = AXVM__V1__COMMAND__WHAT_SHUTDOWN;
	command.shutdown = &shutdown;
	shutdown.has_timeout_ms = 1;
	shutdown.timeout_ms = BUTTON_MS;
	return send_command(guest, &command, NULL);
}

/* ---- out: events, decoded by the same code */

static int on_running(struct guest *guest, int index)
{
	if (index == PAUSED)
		return send_pause(guest);
	guest->ready = index != SHRUNK;
	guest->did = "ran";
	return 0;
}

static int on_state(struct guest *guest, const Axvm__V1__StateChanged *change)
{
	if (change->to == AXVM__V1__STATE__STATE_PAUSED)
		return send_resume(guest);
	if (change->from == AXVM__V1__STATE__STATE_PAUSED) {
		guest->ready = true;
		guest->did = "was paused, and resumed";
	}
	return 0;
}

/* Asks for the balloon once the guest's driver has reported its memory. */
static int on_metrics(struct guest *guest, int index, const Axvm__V1__MetricsReport *metrics)
{
	if (index != SHRUNK || guest->balloon_id != 0)
		return 0;
	for (size_t i = 0; i < metrics->n_counters; i++)
		if (strcmp(metrics->counters[i]->name, REPORTS_COUNTER) == 0 && metrics->counters[i]->value > 0)
			return send_balloon(guest);
	return 0;
}

static int on_settled(struct guest *guest, const Axvm__V1__BalloonSettled *settled)
{
	if (settled->request_id != guest->balloon_id || !settled->reached)
		return complain(guest, "the guest did not give up its memory");
	guest->ready = true;
	guest->did = "was shrunk from 32 to 24 MiB";
	return 0;
}

/* What is not known here, or does not matter, is passed over: later releases have more events. */
static int on_event(struct guest *guest, int index, const Axvm__V1__Event *event)
{
	switch (event->body_case) {
	case AXVM__V1__EVENT__BODY_RUNNING:
		return on_running(guest, index);
	case AXVM__V1__EVENT__BODY_STATE_CHANGED:
		return on_state(guest, event->state_changed);
	case AXVM__V1__EVENT__BODY_METRICS:
		return on_metrics(guest, index, event->metrics);
	case AXVM__V1__EVENT__BODY_BALLOON_SETTLED:
		return on_settled(guest, event->balloon_settled);
	case AXVM__V1__EVENT__BODY_REPLY:
		return event->reply->ok ? 0 : complain(guest, event->reply->error->message);
	case AXVM__V1__EVENT__BODY_TERMINAL:
		guest->told = true;
		guest->outcome = event->terminal->outcome;
		guest->stated = (int)event->terminal->exit_status;
		return guest->ready ? 0 : complain(guest, event->terminal->message);
	default:
		return 0;
	}
}

static int take_events(struct guest *guest, int index)
{
	const void *bytes;
	size_t size;
	int r;

	while ((r = axvm_vm_next_event(guest->vm, &bytes, &size)) == 1) {
		Axvm__V1__Event *event = axvm__v1__event__unpack(NULL, size, bytes);

		if (!event)
			return complain(guest, "an event that cannot be decoded");
		r = on_event(guest, index, event);
		axvm__v1__event__free_unpacked(event, NULL);
		if (r < 0)
			return r;
	}
	guest->ended = r == 0;
	return r == 0 || r == -EAGAIN ? 0 : complain(guest, strerror(-r));
}

/* ---- the loop */

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int wait_for_any(struct guest *guests, long long until_ms)
{
	long long left_ms = until_ms - now_ms();
	struct pollfd fds[3 * GUESTS];

	for (int i = 0; i < GUESTS; i++) {
		struct axvm_vm *vm = guests[i].vm;
		bool waits = axvm_vm_flush(vm) == -EAGAIN, over = guests[i].status >= 0;

		fds[3 * i] = (struct pollfd){ guests[i].ended ? -1 : axvm_vm_event_fd(vm), POLLIN, 0 };
		fds[3 * i + 1] = (struct pollfd){ over ? -1 : axvm_vm_pidfd(vm), POLLIN, 0 };
		fds[3 * i + 2] = (struct pollfd){ waits ? axvm_vm_control_fd(vm) : -1, POLLOUT, 0 };
	}
	if (left_ms > 0 && poll(fds, 3 * GUESTS, (int)left_ms) != 0)
		return 0;
	fprintf(stderr, "five: not all is done after %d s\n", PATIENCE_MS / 1000);
	return -ETIMEDOUT;
}

static bool all_are_ready(const struct guest *guests)
{
	for (int i = 0; i < GUESTS; i++)
		if (!guests[i].ready)
			return false;
	return true;
}

/* Until all have ended. A guest may have ended by itself when the others are shut down: it is
 * left alone. */
static int serve(struct guest *guests)
{
	long long until_ms = now_ms() + PATIENCE_MS;
	bool shut_down = false;
	int left = GUESTS, r;

	while (left > 0) {
		r = wait_for_any(guests, until_ms);
		for (int i = 0; i < GUESTS && r == 0; i++)
			if (!guests[i].ended)
				r = take_events(&guests[i], i);
		if (r < 0)
			return r;
		for (int i = 0; i < GUESTS; i++)
			if (guests[i].status < 0)
				left -= axvm_vm_exit_status(guests[i].vm, &guests[i].status) == 0;
		if (shut_down || !all_are_ready(guests))
			continue;
		shut_down = true;
		for (int i = 0; i < GUESTS && r == 0; i++)
			r = guests[i].told ? 0 : send_shutdown(&guests[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Switched off by the guest, or stopped after its time; and the process agrees with the event. */
static bool ended_well(const struct guest *guest)
{
	bool known = guest->outcome == AXVM__V1__OUTCOME__OUTCOME_POWER_OFF ||
	             guest->outcome == AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST;

	printf("%s %s; %s, status %d\n", guest->id, guest->did,
	       guest->outcome == AXVM__V1__OUTCOME__OUTCOME_POWER_OFF ? "switched itself off" : "was stopped",
	       guest->status);
	return guest->told && known && guest->stated == guest->status;
}

int main(int argc, char **argv)
{
	struct guest guests[GUESTS] = { 0 };
	int image = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
	int r = 0;
	bool well = true;

	if (image < 0) {
		fprintf(stderr, "five: %s\n", argc == 3 ? strerror(errno) : "five SHIM GUEST_IMAGE");
		return 64;
	}
	for (int i = 0; i < GUESTS && r == 0; i++) {
		snprintf(guests[i].id, sizeof(guests[i].id), "five-%d", i + 1);
		guests[i].status = -1;
		r = launch(&guests[i], argv[1], image);
	}
	if (r == 0)
		r = serve(guests);
	for (int i = 0; i < GUESTS; i++) {
		if (r == 0)
			well &= ended_well(&guests[i]);
		else if (guests[i].vm)
			(void)axvm_vm_signal(guests[i].vm, SIGKILL);
		axvm_vm_free(guests[i].vm);
	}
	return r == 0 && well ? 0 : 1;
}
