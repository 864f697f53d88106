/* SPDX-License-Identifier: MIT */
/* The life cycle: what every happening does in every state, and what is told of it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "interface/wire.h"
#include "proto/axvm.pb-c.h"
#include "shim/lifecycle.h"

#define STATES (STATE_FAILED + 1)
#define NO (-1)

/* A row a state, a column a happening: the state that follows, or NO where it may not happen. */
static const int expected[STATES][HAPPENINGS] = {
	/* START PAUSE RESUME SHUTDOWN STOP END FAIL ACCOUNTED */
	[STATE_STARTING] = { STATE_RUNNING, NO, NO, NO, STATE_STOPPING, NO, STATE_FAILED, NO },
	[STATE_RUNNING] = { NO, STATE_PAUSED, NO, STATE_RUNNING, STATE_STOPPING, STATE_STOPPING,
	                    STATE_FAILED, NO },
	[STATE_PAUSED] = { NO, NO, STATE_RUNNING, STATE_RUNNING, STATE_STOPPING, STATE_STOPPING,
	                   STATE_FAILED, NO },
	[STATE_STOPPING] = { NO, NO, NO, NO, STATE_STOPPING, STATE_STOPPING, STATE_FAILED,
	                     STATE_STOPPED },
	[STATE_STOPPED] = { NO, NO, NO, NO, NO, NO, NO, NO },
	[STATE_FAILED] = { NO, NO, NO, NO, STATE_FAILED, NO, STATE_FAILED, NO },
};

Test(lifecycle, every_happening_in_every_state)
{
	for (int state = STATE_STARTING; state < STATES; state++)
		for (int what = 0; what < HAPPENINGS; what++) {
			struct lifecycle life = { .state = (enum axvm_state)state };
			int next = expected[state][what];

			cr_assert_eq(lifecycle_allows(&life, (enum happening)what), next != NO,
			             "state %d, happening %d", state, what);
			cr_assert_eq(lifecycle_happen(&life, (enum happening)what, NULL),
			             next == NO ? -EBUSY : 0, "state %d, happening %d", state,
			             what);
			cr_assert_eq((int)life.state, next == NO ? state : next,
			             "state %d, happening %d leads to %d", state, what,
			             (int)life.state);
		}
}

/* The one event that is in the file, or NULL. */
static Axvm__V1__Event *only_event(int fd)
{
	static uint8_t bytes[4096];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
	struct wire_cursor cursor = { bytes, bytes + n };
	struct wire_field field;
	Axvm__V1__Event *event;

	cr_assert_geq(n, 0);
	if (wire_next(&cursor, &field) == 0)
		return NULL;
	event = axvm__v1__event__unpack(NULL, field.length, field.bytes);
	cr_assert_eq(wire_next(&cursor, &field), 0, "more than one event");
	return event;
}

/* A change of state is told once, with where from, where to and why; what leaves the state as it
 * is, and what may not happen, is not told. */
Test(lifecycle, each_change_is_told_and_nothing_else)
{
	static struct event_writer writer;

	for (int state = STATE_STARTING; state < STATES; state++)
		for (int what = 0; what < HAPPENINGS; what++) {
			int fd = memfd_create("events", MFD_CLOEXEC), next = expected[state][what];
			struct lifecycle life = { .state = (enum axvm_state)state,
				                  .events = &writer };
			Axvm__V1__Event *event;

			cr_assert_eq(event_writer_init(&writer, fd), 0);
			(void)lifecycle_happen(&life, (enum happening)what, "for a reason");
			cr_assert_eq(event_flush(&writer), 0);
			event = only_event(fd);
			cr_assert_eq(event != NULL, next != NO && next != state,
			             "state %d, happening %d", state, what);
			if (event) {
				cr_assert_eq(event->body_case, AXVM__V1__EVENT__BODY_STATE_CHANGED);
				cr_assert_eq((int)event->state_changed->from, state);
				cr_assert_eq((int)event->state_changed->to, next);
				cr_assert_str_eq(event->state_changed->reason, "for a reason");
				axvm__v1__event__free_unpacked(event, NULL);
			}
			event_writer_done(&writer);
			close(fd);
		}
}

Test(lifecycle, every_state_and_stage_has_its_name)
{
	static const char *const states[STATES] = { "unknown",  "starting", "running", "paused",
		                                    "stopping", "stopped",  "failed" };
	static const char *const stages[STAGES_COUNT] = {
		"none",    "arrive", "learn", "admit", "acquire", "build",
		"confine", "staff",  "seal",  "run",   "account",
	};

	for (int i = 0; i < STATES; i++)
		cr_assert_str_eq(vm_state_name((enum axvm_state)i), states[i]);
	cr_assert_str_eq(vm_state_name((enum axvm_state)STATES), "unknown");
	for (int i = 0; i < STAGES_COUNT; i++)
		cr_assert_str_eq(stage_name((enum axvm_stage)i), stages[i]);
	cr_assert_str_eq(stage_name((enum axvm_stage)STAGES_COUNT), "none");
}
