/* SPDX-License-Identifier: MIT */
/* An orchestrator's work with libaxvm, as small as it gets: build a spec, start the VM with its
 * image handed over, command it, follow its events, reap it.
 *
 * protoc -I "$(pkg-config --variable=schemadir libaxvm)" --c_out=. proto/axvm.proto cc -I. -o
 * example example.c proto/axvm.pb-c.c $(pkg-config --cflags --libs libaxvm libprotobuf-c) example
 * SHIM IMAGE [CLAIMS]
 *
 * IMAGE is a flat image that does not stop by itself (tests/guests/spin.S). CLAIMS is the folder in
 * which this host's VMs claim CPUs (AXVM_CLAIMS_PATH). Ends with 0 when all went as it should. */
#include <axvm/axvm.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/axvm.pb-c.h"

#define IMAGE_FD 5
#define CLAIMS_FD 6
#define PATIENCE_MS 20000

/* What is sent, one after the reply to the other. */
static const Axvm__V1__Command__WhatCase plan[] = {
	AXVM__V1__COMMAND__WHAT_STATUS, AXVM__V1__COMMAND__WHAT_PAUSE,
	AXVM__V1__COMMAND__WHAT_RESUME, AXVM__V1__COMMAND__WHAT_METRICS,
	AXVM__V1__COMMAND__WHAT_STOP,
};
#define PLAN_COUNT (sizeof(plan) / sizeof(plan[0]))

struct example {
	struct axvm_vm *vm;
	size_t sent, counters;
	uint64_t request_id;
	int claims; /* -1: the VM is to have none */
};

static int launch(struct example *example, const char *shim, int image)
{
	Axvm__V1__LaunchSpec spec = AXVM__V1__LAUNCH_SPEC__INIT;
	Axvm__V1__Cpus cpus = AXVM__V1__CPUS__INIT;
	Axvm__V1__Memory memory = AXVM__V1__MEMORY__INIT;
	Axvm__V1__MemoryNode node = AXVM__V1__MEMORY_NODE__INIT, *nodes[] = { &node };
	Axvm__V1__Boot boot = AXVM__V1__BOOT__INIT;
	Axvm__V1__FlatBoot flat = AXVM__V1__FLAT_BOOT__INIT;
	Axvm__V1__Resource resource = AXVM__V1__RESOURCE__INIT, claims = AXVM__V1__RESOURCE__INIT;
	char id[] = "example", profile[] = "dev";
	const struct axvm_fd fds[] = { { STDERR_FILENO, 2 },
		                       { image, IMAGE_FD },
		                       { example->claims, CLAIMS_FD } };
	uint8_t encoded[256];
	struct axvm_launch what = {
		.shim = shim,
		.spec = encoded,
		.fds = fds,
		.fds_count = example->claims < 0 ? 2 : 3,
	};
	struct axvm_error error;
	int r;

	spec.vm_id = id;
	spec.profile = profile;
	spec.cpus = &cpus;
	cpus.has_count = 1;
	cpus.count = 1;
	cpus.claims = example->claims < 0 ? NULL : &claims;
	claims.source_case = AXVM__V1__RESOURCE__SOURCE_FD;
	claims.fd = CLAIMS_FD;
	spec.memory = &memory;
	memory.nodes = nodes;
	memory.n_nodes = 1;
	node.has_size_mib = 1;
	node.size_mib = 16;
	spec.boot = &boot;
	boot.kind_case = AXVM__V1__BOOT__KIND_FLAT_BOOT;
	boot.flat_boot = &flat;
	flat.image = &resource;
	resource.source_case = AXVM__V1__RESOURCE__SOURCE_FD;
	resource.fd = IMAGE_FD;
	if (axvm__v1__launch_spec__get_packed_size(&spec) > sizeof(encoded))
		return -EMSGSIZE;
	what.spec_size = axvm__v1__launch_spec__pack(&spec, encoded);
	r = axvm_spawn(&what, &example->vm, &error);
	if (r < 0)
		fprintf(stderr, "example: %s\n", error.text);
	return r;
}

/* The next command of the plan; all of these have no fields, so one empty message serves for
 * each. */
static int send_next(struct example *example)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__StatusCommand empty = AXVM__V1__STATUS_COMMAND__INIT;
	uint8_t encoded[64];

	if (example->sent == PLAN_COUNT)
		return 0;
	command.what_case = plan[example->sent++];
	command.status = &empty;
	return axvm_vm_send(example->vm, encoded, axvm__v1__command__pack(&command, encoded),
	                    &example->request_id);
}

static int on_event(struct example *example, const Axvm__V1__Event *event)
{
	printf("%3" PRIu64 " ", event->sequence);
	switch (event->body_case) {
	case AXVM__V1__EVENT__BODY_RUNNING:
		printf("runs%s\n", event->running->claimed ? ", its CPUs claimed" : "");
		if ((example->claims >= 0) != !!event->running->claimed)
			return -EPROTO;
		return send_next(example);
	case AXVM__V1__EVENT__BODY_REPLY:
		printf("reply to %" PRIu64 ": %s\n", event->reply->request_id,
		       event->reply->ok ? "done" : event->reply->error->message);
		if (!event->reply->ok || event->reply->request_id != example->request_id)
			return -EPROTO;
		if (event->reply->metrics)
			example->counters = event->reply->metrics->n_counters;
		return send_next(example);
	case AXVM__V1__EVENT__BODY_TERMINAL:
		printf("end: %s\n", event->terminal->message);
		return 0;
	default:
		printf("kind %d\n", event->body_case);
		return 0;
	}
}

/* Until fd 4 has ended and the process with it: the VM's exit status, or -errno. */
static int follow(struct example *example)
{
	Axvm__V1__Event *event;
	const void *bytes;
	size_t size;
	int r = -EAGAIN, status;

	while (r != 0) {
		struct pollfd events = { axvm_vm_event_fd(example->vm), POLLIN, 0 };

		if (poll(&events, 1, PATIENCE_MS) <= 0)
			return -ETIMEDOUT;
		while ((r = axvm_vm_next_event(example->vm, &bytes, &size)) == 1) {
			event = axvm__v1__event__unpack(NULL, size, bytes);
			if (!event)
				return -EBADMSG;
			r = on_event(example, event);
			axvm__v1__event__free_unpacked(event, NULL);
			if (r < 0)
				return r;
		}
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	while ((r = axvm_vm_exit_status(example->vm, &status)) == -EAGAIN) {
		struct pollfd end = { axvm_vm_pidfd(example->vm), POLLIN, 0 };

		if (poll(&end, 1, PATIENCE_MS) <= 0)
			return -ETIMEDOUT;
	}
	return r < 0 ? r : status;
}

int main(int argc, char **argv)
{
	struct example example = { .claims = -1 };
	int image = argc == 3 || argc == 4 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1, status;
	struct axvm_error error;

	if (argc == 4 && axvm_claims_open(argv[3], &example.claims, &error) < 0) {
		fprintf(stderr, "example: %s\n", error.text);
		return 1;
	}
	if (image < 0 || launch(&example, argv[1], image) < 0)
		return 1;
	status = follow(&example);
	if (status < 0)
		(void)axvm_vm_signal(example.vm, SIGKILL);
	axvm_vm_free(example.vm);
	if (status < 0)
		fprintf(stderr, "example: %s\n", strerror(-status));
	/* 36: stopped from outside, as it was told. */
	return status == 36 && example.counters > 0 ? 0 : 1;
}
