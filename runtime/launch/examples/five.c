/* SPDX-License-Identifier: MIT */
/* Five VMs from C, by libaxvm: launched, followed, commanded and shut down from one poll(2) loop.
 * README.md, beside this file, says what happens.
 *
 *	protoc -I "$(pkg-config --variable=schemadir libaxvm)" --c_out=. proto/axvm.proto
 *	cc -I. -o five five.c proto/axvm.pb-c.c $(pkg-config --cflags --libs libaxvm libprotobuf-c)
 *	five /usr/sbin/axvm-shim IMAGE */
#include <axvm/axvm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/axvm.pb-c.h"

#define SPEC_BYTES_MAX 256
#define COUNT 5
#define INTERFACE 1 /* the oldest that has all that is used here: proto/released/CHANGELOG.md */
#define IMAGE_FD 5  /* in the shim */
#define SIZE_MIB 16
#define SHRUNK_MIB 12
#define PATIENCE_MS 60000

enum step { END, PAUSE, RESUME, BALLOON, SHUTDOWN };
static const char *const step_names[] = { "end", "pause", "resume", "balloon", "shutdown" };
static const enum step plans[COUNT][4] = {
	{ PAUSE, RESUME, SHUTDOWN },
	{ BALLOON, SHUTDOWN },
	{ SHUTDOWN },
	{ SHUTDOWN },
	{ SHUTDOWN },
};

struct five {
	struct axvm_vm *vm;
	char id[16];
	const enum step *next; /* to be sent */
	uint64_t request_id;   /* of the last one sent */
	uint64_t sequence;
	bool events_ended;
	int outcome; /* once the terminal event has come; else -1 */
};

/* Says what went wrong with a VM; -EPROTO. */
__attribute__((format(printf, 2, 3))) static int failed(const struct five *five, const char *format,
                                                        ...)
{
	va_list list;

	fprintf(stderr, "five: %s: ", five->id);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	return -EPROTO;
}

/* What is wrong with the spec comes as a terminal event. */
static int launch(struct five *five, const char *shim, int image)
{
	Axvm__V1__LaunchSpec spec = AXVM__V1__LAUNCH_SPEC__INIT;
	Axvm__V1__Cpus cpus = AXVM__V1__CPUS__INIT;
	Axvm__V1__Memory memory = AXVM__V1__MEMORY__INIT;
	Axvm__V1__MemoryNode node = AXVM__V1__MEMORY_NODE__INIT, *nodes[] = { &node };
	Axvm__V1__Boot boot = AXVM__V1__BOOT__INIT;
	Axvm__V1__FlatBoot flat = AXVM__V1__FLAT_BOOT__INIT;
	Axvm__V1__Resource resource = AXVM__V1__RESOURCE__INIT;
	Axvm__V1__Balloon balloon = AXVM__V1__BALLOON__INIT;
	Axvm__V1__Lifecycle lifecycle = AXVM__V1__LIFECYCLE__INIT;
	const struct axvm_fd fds[] = { { STDERR_FILENO, 2 }, { image, IMAGE_FD } };
	struct axvm_launch what = { .shim = shim, .fds = fds, .fds_count = 2 };
	uint8_t bytes[SPEC_BYTES_MAX];
	struct axvm_error error;
	char profile[] = "dev";
	int r;

	spec.vm_id = five->id;
	spec.profile = profile;
	spec.cpus = &cpus;
	cpus.has_count = 1;
	cpus.count = 1;
	spec.memory = &memory;
	memory.nodes = nodes;
	memory.n_nodes = 1;
	node.has_size_mib = 1;
	node.size_mib = SIZE_MIB;
	spec.boot = &boot;
	boot.kind_case = AXVM__V1__BOOT__KIND_FLAT_BOOT;
	boot.flat_boot = &flat;
	flat.image = &resource;
	flat.has_local_apic = 1;
	flat.local_apic = 1;
	resource.source_case = AXVM__V1__RESOURCE__SOURCE_FD;
	resource.fd = IMAGE_FD;
	spec.balloon = &balloon; /* there is one, with all its defaults */
	/* When this program dies, its ends of all pipes are closed: no VM stays behind. */
	spec.lifecycle = &lifecycle;
	lifecycle.has_on_control_eof = 1;
	lifecycle.on_control_eof = AXVM__V1__ON_CONTROL_EOF__ON_CONTROL_EOF_STOP;
	/* The library takes bytes, whatever encoded them. Of this spec only the id's length
	 * varies. */
	what.spec = bytes;
	what.spec_size = axvm__v1__launch_spec__pack(&spec, bytes);
	r = axvm_spawn(&what, &five->vm, &error);
	return r < 0 ? failed(five, "%s", error.text) : 0;
}

static int send_next(struct five *five)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__PauseCommand pause = AXVM__V1__PAUSE_COMMAND__INIT;
	Axvm__V1__ResumeCommand resume = AXVM__V1__RESUME_COMMAND__INIT;
	Axvm__V1__BalloonCommand balloon = AXVM__V1__BALLOON_COMMAND__INIT;
	Axvm__V1__ShutdownCommand shutdown = AXVM__V1__SHUTDOWN_COMMAND__INIT;
	uint8_t bytes[AXVM_COMMAND_MAX];
	int r;

	switch (*five->next++) {
	case PAUSE:
		command.what_case = AXVM__V1__COMMAND__WHAT_PAUSE;
		command.pause = &pause;
		break;
	case RESUME:
		command.what_case = AXVM__V1__COMMAND__WHAT_RESUME;
		command.resume = &resume;
		break;
	case BALLOON:
		command.what_case = AXVM__V1__COMMAND__WHAT_BALLOON;
		command.balloon = &balloon;
		balloon.has_target_mib = 1;
		balloon.target_mib = SHRUNK_MIB;
		break;
	case SHUTDOWN:
		command.what_case = AXVM__V1__COMMAND__WHAT_SHUTDOWN;
		command.shutdown = &shutdown;
		break;
	case END:
		five->next--;
		return 0;
	}
	/* A shim that reads no more is about to say why, in its terminal event. */
	r = axvm_vm_send(five->vm, bytes, axvm__v1__command__pack(&command, bytes),
	                 &five->request_id);
	return r == 0 || r == -EPIPE ? 0 : failed(five, "cannot send: %s", strerror(-r));
}

static int on_reply(struct five *five, const Axvm__V1__Reply *reply)
{
	enum step step = five->next[-1];

	if (reply->request_id != five->request_id)
		return failed(five, "a reply to nothing that was asked");
	if (!reply->ok)
		return failed(five, "%s: %s", step_names[step],
		              reply->error ? reply->error->message : "refused");
	/* The balloon's reply says that the guest is asked, an event of its own that it is done. */
	return step == BALLOON ? 0 : send_next(five);
}

/* Events of other kinds, and those of a later schema, are for other programs. */
static int on_event(struct five *five, const Axvm__V1__Event *event)
{
	if (event->sequence != ++five->sequence)
		return failed(five, "event %llu was lost", (unsigned long long)five->sequence);
	if (event->sequence == 1 && event->interface_version < INTERFACE)
		return failed(five, "the shim has interface %u, this needs %u",
		              event->interface_version, INTERFACE);
	switch (event->body_case) {
	case AXVM__V1__EVENT__BODY_RUNNING:
		return send_next(five);
	case AXVM__V1__EVENT__BODY_REPLY:
		return on_reply(five, event->reply);
	case AXVM__V1__EVENT__BODY_BALLOON_SETTLED:
		if (!event->balloon_settled->reached)
			return failed(five, "it has %llu MiB",
			              (unsigned long long)event->balloon_settled->actual_mib);
		return send_next(five);
	case AXVM__V1__EVENT__BODY_TERMINAL:
		five->outcome = (int)event->terminal->outcome;
		if (five->outcome != AXVM__V1__OUTCOME__OUTCOME_POWER_OFF)
			return failed(five, "%s", event->terminal->message);
		return 0;
	default:
		return 0;
	}
}

/* All events that are here. */
static int take_events(struct five *five)
{
	const void *bytes;
	size_t size;
	int r;

	while ((r = axvm_vm_next_event(five->vm, &bytes, &size)) == 1) {
		Axvm__V1__Event *event = axvm__v1__event__unpack(NULL, size, bytes);

		r = event ? on_event(five, event) : failed(five, "an event cannot be decoded");
		if (event)
			axvm__v1__event__free_unpacked(event, NULL);
		if (r < 0)
			return r;
	}
	five->events_ended = r == 0;
	return r == 0 || r == -EAGAIN ? 0 : failed(five, "cannot read events: %s", strerror(-r));
}

/* One loop for all of them, until all have ended their events. */
static int serve(struct five *fives)
{
	unsigned left = COUNT;

	while (left > 0) {
		struct pollfd fds[COUNT];

		for (unsigned i = 0; i < COUNT; i++) {
			int fd = axvm_vm_event_fd(fives[i].vm);

			fds[i] = (struct pollfd){ fives[i].events_ended ? -1 : fd, POLLIN, 0 };
		}
		if (poll(fds, COUNT, PATIENCE_MS) <= 0) {
			fprintf(stderr, "five: nothing happens\n");
			return -ETIMEDOUT;
		}
		for (unsigned i = 0; i < COUNT; i++) {
			int r = fds[i].revents ? take_events(&fives[i]) : 0;

			if (r < 0)
				return r;
			left -= fds[i].revents && fives[i].events_ended;
		}
	}
	return 0;
}

/* The process ends after its events; its status is that of the terminal event, or the library
 * says 70. */
static int tell_end(struct five *five, const enum step *plan)
{
	struct pollfd end = { axvm_vm_pidfd(five->vm), POLLIN, 0 };
	int r, status;

	while ((r = axvm_vm_exit_status(five->vm, &status)) == -EAGAIN)
		if (poll(&end, 1, PATIENCE_MS) <= 0)
			return failed(five, "the process does not end");
	if (r < 0 || status != 0 || five->outcome < 0)
		return failed(five, "status %d", r < 0 ? r : status);
	printf("%s: ", five->id);
	for (; *plan != END; plan++)
		printf("%s%s", step_names[*plan], plan[1] == END ? ": " : ", ");
	printf("%s, status %d\n",
	       protobuf_c_enum_descriptor_get_value(&axvm__v1__outcome__descriptor, five->outcome)
	               ->name,
	       status);
	return 0;
}

int main(int argc, char **argv)
{
	static struct five fives[COUNT];
	int image = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1, r = 0;

	if (image < 0) {
		fprintf(stderr, argc == 3 ? "five: %s: %s\n" : "usage: five SHIM IMAGE\n",
		        argv[argc - 1], strerror(errno));
		return argc == 3 ? 66 : 64;
	}
	for (unsigned i = 0; i < COUNT && r == 0; i++) {
		snprintf(fives[i].id, sizeof(fives[i].id), "five-%u", i);
		fives[i].next = plans[i];
		fives[i].outcome = -1;
		r = launch(&fives[i], argv[1], image);
	}
	if (r == 0)
		r = serve(fives);
	for (unsigned i = 0; i < COUNT && r == 0; i++)
		r = tell_end(&fives[i], plans[i]);
	/* Those that still run end with their fd 3 (on_control_eof). */
	for (unsigned i = 0; i < COUNT; i++)
		axvm_vm_free(fives[i].vm);
	return r == 0 ? 0 : 1;
}
