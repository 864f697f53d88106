/* SPDX-License-Identifier: MIT */
/* Fifty VMs launched at once, served from one poll(2) loop and reaped, by a program that uses
 * nothing but libaxvm, its header, and code made of the schema.
 *
 *	fifty SHIM IMAGE_THAT_HALTS IMAGE_THAT_SPINS [COUNT]
 *
 * Every second VM spins until it is ended by a signal. Neither an fd nor a child may be left.
 * Prints one line for each thing checked, and ends with 0 when all of them hold. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/axvm.h"
#include "proto/axvm.pb-c.h"

#define COUNT_MAX 200
#define IMAGE_FD 5
#define TIMEOUT_MS 60000

struct guest {
	struct axvm_vm *vm;
	bool spins, running, terminal, events_ended, reaped;
	uint64_t sequence;
	bool in_order;
	unsigned stated; /* exit status in the terminal event */
	int wait_status;
};

static int failures;

static void check(bool holds, const char *what)
{
	printf("%s  fifty: %s\n", holds ? "ok  " : "FAIL", what);
	failures += !holds;
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static int launch(struct guest *guest, const char *shim, int image, unsigned index)
{
	Axvm__V1__LaunchSpec spec = AXVM__V1__LAUNCH_SPEC__INIT;
	Axvm__V1__Cpus cpus = AXVM__V1__CPUS__INIT;
	Axvm__V1__Memory memory = AXVM__V1__MEMORY__INIT;
	Axvm__V1__MemoryNode node = AXVM__V1__MEMORY_NODE__INIT, *nodes[] = { &node };
	Axvm__V1__Boot boot = AXVM__V1__BOOT__INIT;
	Axvm__V1__FlatBoot flat = AXVM__V1__FLAT_BOOT__INIT;
	Axvm__V1__Resource resource = AXVM__V1__RESOURCE__INIT;
	struct axvm_fd fds[] = { { STDERR_FILENO, 2 }, { image, IMAGE_FD } };
	struct axvm_launch launch = { .shim = shim, .fds = fds, .fds_count = 2 };
	uint8_t encoded[256];
	struct axvm_error error;
	char id[16], profile[] = "dev";
	int r;

	snprintf(id, sizeof(id), "fifty-%u", index);
	spec.vm_id = id;
	spec.profile = profile;
	spec.cpus = &cpus;
	cpus.has_count = 1;
	cpus.count = 1;
	spec.memory = &memory;
	memory.n_nodes = 1;
	memory.nodes = nodes;
	node.has_size_mib = 1;
	node.size_mib = 4;
	spec.boot = &boot;
	boot.kind_case = AXVM__V1__BOOT__KIND_FLAT_BOOT;
	boot.flat_boot = &flat;
	flat.image = &resource;
	resource.source_case = AXVM__V1__RESOURCE__SOURCE_FD;
	resource.fd = IMAGE_FD;
	if (axvm__v1__launch_spec__get_packed_size(&spec) > sizeof(encoded))
		return -EMSGSIZE;
	launch.spec = encoded;
	launch.spec_size = axvm__v1__launch_spec__pack(&spec, encoded);
	r = axvm_spawn(&launch, &guest->vm, &error);
	if (r < 0)
		fprintf(stderr, "fifty: %s\n", error.text);
	guest->in_order = true;
	return r;
}

static void take_events(struct guest *guest)
{
	Axvm__V1__Event *event;
	const void *bytes;
	size_t size;
	int r;

	while ((r = axvm_vm_next_event(guest->vm, &bytes, &size)) > 0) {
		event = axvm__v1__event__unpack(NULL, size, bytes);
		if (!event) {
			r = -EBADMSG;
			break;
		}
		guest->in_order &= event->sequence == ++guest->sequence && !guest->terminal;
		if (event->body_case == AXVM__V1__EVENT__BODY_RUNNING) {
			guest->running = true;
			if (guest->spins)
				(void)axvm_vm_signal(guest->vm, SIGTERM);
		}
		if (event->body_case == AXVM__V1__EVENT__BODY_TERMINAL) {
			guest->terminal = true;
			guest->stated = event->terminal->exit_status;
		}
		axvm__v1__event__free_unpacked(event, NULL);
	}
	if (r == 0)
		guest->events_ended = true;
	else if (r != -EAGAIN)
		guest->in_order = false, guest->events_ended = true;
}

/* One loop for all of them: true when every VM has been reaped. */
static bool serve(struct guest *guests, unsigned count)
{
	struct pollfd fds[2 * COUNT_MAX];
	unsigned left = count;

	while (left > 0) {
		for (unsigned i = 0; i < count; i++) {
			struct guest *guest = &guests[i];
			int events = axvm_vm_event_fd(guest->vm), end = axvm_vm_pidfd(guest->vm);

			fds[2 * i] =
				(struct pollfd){ guest->events_ended ? -1 : events, POLLIN, 0 };
			fds[2 * i + 1] = (struct pollfd){ guest->reaped ? -1 : end, POLLIN, 0 };
		}
		if (poll(fds, 2 * count, TIMEOUT_MS) <= 0)
			return false;
		for (unsigned i = 0; i < count; i++) {
			if (fds[2 * i].revents)
				take_events(&guests[i]);
			if (!fds[2 * i + 1].revents)
				continue;
			guests[i].reaped = axvm_vm_reap(guests[i].vm, &guests[i].wait_status) == 0;
			left -= guests[i].reaped;
		}
	}
	for (unsigned i = 0; i < count; i++)
		if (!guests[i].events_ended)
			take_events(&guests[i]);
	return true;
}

static void judge(const struct guest *guests, unsigned count)
{
	unsigned ran = 0, right = 0, agreeing = 0, ordered = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct guest *guest = &guests[i];
		int status = WIFEXITED(guest->wait_status) ? WEXITSTATUS(guest->wait_status) : -1;

		ran += guest->running;
		right += status == (guest->spins ? 36 : 0);
		agreeing += guest->terminal && (int)guest->stated == status;
		ordered += guest->in_order && guest->events_ended;
	}
	check(ran == count, "each ran");
	check(right == count, "each ended with the status of its outcome");
	check(agreeing == count, "each terminal event states that status");
	check(ordered == count, "events without a gap, the terminal one the last");
}

int main(int argc, char **argv)
{
	static struct guest guests[COUNT_MAX];
	unsigned count = argc > 4 ? (unsigned)atoi(argv[4]) : 50, before, launched = 0;
	int halts, spins;

	if (argc < 4 || count == 0 || count > COUNT_MAX)
		return 64;
	halts = open(argv[2], O_RDONLY | O_CLOEXEC);
	spins = open(argv[3], O_RDONLY | O_CLOEXEC);
	if (halts < 0 || spins < 0)
		return 66;
	before = open_fds();
	for (; launched < count; launched++) {
		guests[launched].spins = launched % 2;
		if (launch(&guests[launched], argv[1], launched % 2 ? spins : halts, launched) < 0)
			break;
	}
	check(launched == count, "all launched");
	check(serve(guests, launched), "all reaped");
	judge(guests, launched);
	for (unsigned i = 0; i < launched; i++)
		axvm_vm_free(guests[i].vm);
	check(open_fds() == before, "no fd is left");
	check(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "no child is left");
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
