/* SPDX-License-Identifier: MIT */
/* The event writer: full rings, stalled and vanished readers, many
 * threads. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "interface/event.h"
#include "interface/wire.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/put_event.h"
#include "tests/unit/rig/wait.h"

static struct event_writer writer;

static void ignore_sigpipe(void)
{
	signal(SIGPIPE, SIG_IGN);
}

TestSuite(event, .init = ignore_sigpipe);

static int new_file(void)
{
	int fd = memfd_create("events", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	return fd;
}

/* What has been read of a stream of events. */
struct tally {
	size_t events, terminals, missing;
	uint64_t sequence, dropped;
	bool well_formed;
};

static struct tally count_events(const uint8_t *bytes, size_t n)
{
	struct wire_cursor cursor = { bytes, bytes + n };
	struct wire_field field;
	struct tally tally = { 0 };
	int r;

	while ((r = wire_next(&cursor, &field)) > 0) {
		Axvm__V1__Event *event = axvm__v1__event__unpack(NULL, field.length, field.bytes);

		cr_assert(event && field.number == 1);
		cr_assert_gt(event->sequence, tally.sequence, "out of order");
		/* The gap is exactly what the event says was dropped. */
		cr_assert_eq(event->sequence - tally.sequence - 1, event->dropped);
		cr_assert_eq(tally.terminals, 0, "an event behind the terminal one");
		tally.events++;
		tally.sequence = event->sequence;
		tally.dropped += event->dropped;
		if (event->body_case == AXVM__V1__EVENT__BODY_TERMINAL) {
			tally.terminals++;
			cr_assert_eq(event->terminal->events_dropped, tally.dropped);
		}
		axvm__v1__event__free_unpacked(event, NULL);
	}
	tally.well_formed = r == 0;
	return tally;
}

/* A pipe whose reader does nothing. */
static void stalled_pipe(int fds[2])
{
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_assert(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 0);
	cr_assert_eq(event_writer_init(&writer, fds[1]), 0);
}

static size_t fill_ring(void)
{
	size_t kept = 0;

	while (put_state_changed(&writer, "some reason") == 0) {
		int r = event_flush(&writer);

		cr_assert(r == 0 || r == -EAGAIN, "%d", r);
		cr_assert_lt(++kept, 100000);
	}
	return kept;
}

/* Reads what comes until the writer is done with its terminal event. */
static void *drain_pipe(void *context)
{
	static uint8_t bytes[2 * EVENT_RING_SIZE];
	static struct tally tally;
	size_t n = 0;
	ssize_t r;

	while ((r = wait_read(*(int *)context, bytes + n, sizeof(bytes) - n)) > 0)
		n += (size_t)r;
	tally = count_events(bytes, n);
	return &tally;
}

Test(event, a_stalled_reader_costs_events_and_they_are_counted)
{
	int fds[2];
	size_t kept;
	pthread_t reader;
	void *result;
	const struct tally *tally;

	stalled_pipe(fds);
	kept = fill_ring();
	for (int i = 0; i < 41; i++)
		cr_assert_eq(put_state_changed(&writer, "a longer reason, so as not to fit either"),
		             -ENOBUFS);
	cr_assert_eq(event_flush(&writer), -EAGAIN);
	cr_assert_eq(event_writer_dropped(&writer), 42);
	/* The terminal event has its place all the same. */
	cr_assert_eq(put_terminal(&writer), 0);
	cr_assert_eq(event_finish(&writer, 1), -ETIMEDOUT);
	cr_assert_eq(pthread_create(&reader, NULL, drain_pipe, &fds[0]), 0);
	cr_assert_eq(event_finish(&writer, 30000), 0);
	close(fds[1]);
	wait_join(reader, &result);
	tally = result;
	cr_assert(tally->well_formed);
	cr_assert_eq(tally->terminals, 1);
	cr_assert_eq(tally->events, kept + 1);
	cr_assert_eq(tally->dropped, 42);
	close(fds[0]);
}

Test(event, the_next_event_says_how_many_were_dropped)
{
	static uint8_t bytes[2 * EVENT_RING_SIZE];
	int fds[2];
	size_t n = 0, kept;
	struct tally tally;

	stalled_pipe(fds);
	kept = fill_ring();
	/* Read on until all that was kept is out, then go on. */
	while (event_flush(&writer) == -EAGAIN)
		n += (size_t)wait_read(fds[0], bytes + n, 4096);
	cr_assert_eq(put_stage(&writer), 0);
	cr_assert_eq(put_terminal(&writer), 0);
	while (event_flush(&writer) == -EAGAIN)
		n += (size_t)wait_read(fds[0], bytes + n, 4096);
	close(fds[1]);
	for (ssize_t r; (r = wait_read(fds[0], bytes + n, sizeof(bytes) - n)) > 0;)
		n += (size_t)r;
	tally = count_events(bytes, n);
	cr_assert_eq(tally.events, kept + 2);
	cr_assert_eq(tally.dropped, 1);
	cr_assert_eq(tally.sequence, kept + 3);
	cr_assert(tally.well_formed);
	close(fds[0]);
}

Test(event, a_reader_that_is_gone)
{
	int fds[2];

	stalled_pipe(fds);
	cr_assert_eq(put_stage(&writer), 0);
	close(fds[0]);
	cr_assert_eq(event_flush(&writer), -EPIPE);
	cr_assert_eq(put_stage(&writer), -EPIPE);
	cr_assert_eq(event_flush(&writer), -EPIPE);
	cr_assert_eq(put_terminal(&writer), 0);
	cr_assert_eq(event_finish(&writer, 60000), -EPIPE);
	close(fds[1]);
}

Test(event, a_full_disk_ends_writing)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(event_writer_init(&writer, fd), 0);
	cr_assert_eq(put_stage(&writer), 0);
	cr_assert_eq(event_flush(&writer), -ENOSPC);
	cr_assert_eq(put_stage(&writer), -EPIPE);
	close(fd);
}

Test(event, a_socket_keeps_its_flags)
{
	static uint8_t bytes[1024 * 1024];
	int fds[2];
	size_t kept, n = 0;
	struct tally tally;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(event_writer_init(&writer, fds[1]), 0);
	kept = fill_ring();
	cr_assert_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	cr_assert_eq(put_terminal(&writer), 0);
	cr_assert_eq(event_finish(&writer, 1), -ETIMEDOUT);
	while (event_flush(&writer) == -EAGAIN)
		n += (size_t)wait_read(fds[0], bytes + n, 4096);
	close(fds[1]);
	for (ssize_t r; (r = wait_read(fds[0], bytes + n, sizeof(bytes) - n)) > 0;)
		n += (size_t)r;
	tally = count_events(bytes, n);
	cr_assert(tally.well_formed);
	cr_assert_eq(tally.events, kept + 1);
	cr_assert_eq(tally.dropped, 1);
	close(fds[0]);
}

Test(event, the_control_thread_is_woken)
{
	int fd = new_file(), wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t times = 0;

	cr_assert_eq(event_writer_init(&writer, fd), 0);
	event_writer_set_wake_fd(&writer, wake);
	cr_assert_eq(put_stage(&writer), 0);
	cr_assert_eq(put_stage(&writer), 0);
	cr_assert_eq(read(wake, &times, sizeof(times)), sizeof(times));
	cr_assert_eq(times, 1, "once for an empty ring");
	cr_assert_eq(event_flush(&writer), 0);
	cr_assert_eq(put_stage(&writer), 0);
	cr_assert_eq(read(wake, &times, sizeof(times)), sizeof(times));
	close(fd);
	close(wake);
}

#define THREADS 4
#define EACH 2000

static void *emit_many(void *context)
{
	char reason[64];

	for (int i = 0; i < EACH; i++) {
		snprintf(reason, sizeof(reason), "thread %d, event %d", *(int *)context, i);
		(void)put_state_changed(&writer, reason);
	}
	return NULL;
}

Test(event, many_threads)
{
	static uint8_t bytes[2 * 1024 * 1024];
	int fds[2], numbers[THREADS];
	pthread_t threads[THREADS];
	struct tally tally;
	size_t n = 0;
	ssize_t r;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_assert_eq(event_writer_init(&writer, fds[1]), 0);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		cr_assert_eq(pthread_create(&threads[i], NULL, emit_many, &numbers[i]), 0);
	}
	/* Reader and control thread in one, while the threads emit. */
	for (int i = 0; i < 2000; i++) {
		struct pollfd some = { .fd = fds[0], .events = POLLIN };

		(void)event_flush(&writer);
		if (poll(&some, 1, 1) > 0)
			n += (size_t)wait_read(fds[0], bytes + n, 4096);
	}
	for (int i = 0; i < THREADS; i++)
		wait_join(threads[i], NULL);
	cr_assert_eq(put_terminal(&writer), 0);
	while (event_flush(&writer) == -EAGAIN)
		n += (size_t)wait_read(fds[0], bytes + n, 4096);
	close(fds[1]);
	while ((r = wait_read(fds[0], bytes + n, sizeof(bytes) - n)) > 0)
		n += (size_t)r;
	tally = count_events(bytes, n);
	cr_assert(tally.well_formed);
	cr_assert_eq(tally.terminals, 1);
	cr_assert_eq(tally.events + tally.dropped, THREADS * EACH + 1);
	close(fds[0]);
}

/* ------------------------------------------------------------------- room that is spoken for */

static int put_state(void)
{
	return put_state_changed(&writer, "a reason of some length, to take some room");
}

/* The largest reply that there can be. */
static int put_large_reply(void)
{
	struct problem problem = { .code = ERROR_CODE_COMMAND_WRONG_STATE,
		                   .error_number = INT32_MAX };

	memset(problem.message, 'm', sizeof(problem.message) - 1);
	memset(problem.field, 'f', sizeof(problem.field) - 1);
	return put_reply(&writer, UINT64_MAX, &problem);
}

/* A full ring has room for the replies it was asked to keep, for no more, and for nothing else in
 * their place. */
Test(event, a_reply_has_the_room_that_was_kept)
{
	static uint8_t bytes[2 * EVENT_RING_SIZE];
	int fd = new_file();
	struct tally tally;
	size_t kept = 0;
	uint64_t dropped;

	cr_assert_eq(event_writer_init(&writer, fd), 0);
	event_writer_set_vm_id(&writer,
	                       "a-name-of-64-characters-which-is-the-longest-that-there-can-be-x");
	cr_assert_eq(event_writer_keep(&writer, EVENT_REPLY_BYTES), 0);
	while (put_state() == 0)
		;
	dropped = event_writer_dropped(&writer);
	cr_assert_eq(dropped, 1);
	cr_assert_eq(event_writer_keep(&writer, EVENT_REPLY_BYTES), -ENOBUFS);
	cr_assert_eq(put_large_reply(), 0);
	/* That was all: without room nothing is put, and nothing counts as lost. */
	while (put_reply(&writer, 1, NULL) == 0)
		cr_assert_lt(kept++, 20);
	cr_assert_eq(put_reply(&writer, 1, NULL), -ENOBUFS);
	cr_assert_eq(event_writer_dropped(&writer), dropped);
	cr_assert_eq(event_flush(&writer), 0);
	cr_assert_eq(event_writer_keep(&writer, EVENT_RING_SIZE), 0, "what was kept is given back");
	cr_assert_eq(put_state(), -ENOBUFS);
	cr_assert_eq(put_large_reply(), 0);
	cr_assert_eq(event_flush(&writer), 0);
	cr_assert_eq(put_terminal(&writer), 0);
	cr_assert_eq(event_finish(&writer, EVENT_FINISH_MS), 0);
	tally = count_events(bytes, (size_t)pread(fd, bytes, sizeof(bytes), 0));
	cr_assert(tally.well_formed);
	close(fd);
}

/* Where nothing is written any more a command is obeyed all the same. */
Test(event, without_a_reader_nothing_needs_room)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_assert_eq(event_writer_init(&writer, fds[1]), 0);
	while (put_state() == 0)
		;
	cr_assert_eq(event_writer_keep(&writer, EVENT_REPLY_BYTES), -ENOBUFS);
	close(fds[0]);
	cr_assert_eq(event_flush(&writer), -EPIPE);
	cr_assert_eq(event_writer_keep(&writer, EVENT_REPLY_BYTES), 0);
	cr_assert_eq(put_reply(&writer, 1, NULL), -EPIPE);
	close(fds[1]);
}

/* While a chunk is written, more than a chunk comes. */
static bool refill(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)ret_result;
	for (int i = 0; (int)args[0] == writer.fd && i < 100; i++)
		(void)put_state();
	return false;
}

/* Whoever puts events as fast as they are written does not keep the thread that writes them. */
Test(event, a_flush_ends_though_more_events_come, .timeout = 60)
{
	static const long calls[] = { SYS_write };
	int fd = new_file();
	struct stat st;

	cr_assert_eq(event_writer_init(&writer, fd), 0);
	cr_assert_eq(put_state(), 0);
	cr_assert_eq(fake_kernel_begin(calls, 1, refill), 0);
	cr_assert_eq(event_flush(&writer), 1);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_leq(st.st_size, EVENT_FLUSH_CHUNKS * PIPE_BUF);
	cr_assert_geq(st.st_size, EVENT_RING_SIZE + EVENT_TERMINAL_SIZE,
	              "all that can be there is written in one go");
}
