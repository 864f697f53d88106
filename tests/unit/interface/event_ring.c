/* SPDX-License-Identifier: MIT */
/* The ring of events when it wraps: what has been accepted comes out whole and in order, wherever
 * in the ring it lay. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "interface/wire.h"
#include "tests/unit/rig/put_event.h"

#define PIPE_SIZE 4096
#define ROUNDS 300

static struct event_writer writer;
static uint8_t bytes[8 * 1024 * 1024];

/* The reason of the n-th event that was accepted; its length changes, so that events do not divide
 * the ring. */
static void reason_of(unsigned n, char to[256])
{
	memset(to, 'a' + n % 26, 10 + n * 7 % 200);
	snprintf(to + 10 + n * 7 % 200, 20, " %u", n);
}

/* A reader that takes a little at a time, while events come as fast as there is room: the ring is
 * moved often. */
Test(event, a_ring_that_wraps_keeps_every_event, .timeout = 120)
{
	struct wire_cursor cursor = { bytes, bytes };
	struct wire_field field;
	unsigned put = 0, got = 0;
	int fds[2], flushed;
	ssize_t r;

	cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	cr_assert_geq(fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE), 0);
	cr_assert_eq(event_writer_init(&writer, fds[1]), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		char reason[256];

		for (;;) {
			reason_of(put, reason);
			if (put_state_changed(&writer, reason) != 0)
				break;
			put++;
		}
		cr_assert_eq(event_flush(&writer), -EAGAIN);
		cr_assert_lt((size_t)(cursor.end - bytes), sizeof(bytes) - 2 * PIPE_SIZE);
		r = read(fds[0], bytes + (cursor.end - bytes), PIPE_SIZE);
		cr_assert_gt(r, 0);
		cursor.end += r;
		(void)event_flush(&writer);
	}
	do {
		flushed = event_flush(&writer);
		r = read(fds[0], bytes + (cursor.end - bytes), PIPE_SIZE);
		cursor.end += r > 0 ? r : 0;
	} while (flushed == -EAGAIN || r > 0);
	cr_assert_gt(put, ROUNDS, "there was room again in each round");
	while (wire_next(&cursor, &field) > 0) {
		Axvm__V1__Event *event = axvm__v1__event__unpack(NULL, field.length, field.bytes);
		char reason[256];

		cr_assert(event && event->body_case == AXVM__V1__EVENT__BODY_STATE_CHANGED);
		reason_of(got++, reason);
		cr_assert_str_eq(event->state_changed->reason, reason);
		axvm__v1__event__free_unpacked(event, NULL);
	}
	cr_assert_eq(cursor.at, cursor.end, "not a whole event at byte %td", cursor.at - bytes);
	cr_assert_eq(got, put);
	event_writer_done(&writer);
	close(fds[0]);
	close(fds[1]);
}
