/* SPDX-License-Identifier: MIT */
/* The contract of fd 4, as axvm.proto has it; see judge.h. */
#include "tests/system/judge.h"

#include <inttypes.h>
#include <string.h>

/* Which status goes with an error code: the comments of enum ErrorCode. */
static int status_of(Axvm__V1__ErrorCode code)
{
	static const struct {
		unsigned first, last;
		int status;
	} classes[] = {
		{ 1, 3, 64 },   { 10, 23, 65 }, { 30, 32, 66 }, { 40, 46, 69 },
		{ 50, 50, 70 }, { 60, 61, 71 }, { 70, 71, 77 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (code >= classes[i].first && code <= classes[i].last)
			return classes[i].status;
	return -1;
}

/* A sentence has words. */
static bool is_sentence(const char *text)
{
	return text && strlen(text) >= 12 && strchr(text, ' ');
}

static bool error_complete(const Axvm__V1__Error *error)
{
	if (!error->has_code || error->code == AXVM__V1__ERROR_CODE__ERROR_CODE_UNSPECIFIED)
		return FAULT("an error without a code");
	if (!error->has_stage || error->stage == AXVM__V1__STAGE__STAGE_UNSPECIFIED)
		return FAULT("error %d without a stage", error->code);
	if (!error->has_severity || !error->has_retryable)
		return FAULT("error %d without severity or retryable", error->code);
	if (!is_sentence(error->message))
		return FAULT("error %d without a sentence", error->code);
	return true;
}

static bool terminal_fits(const Axvm__V1__Terminal *terminal, int status)
{
	static const int of_outcome[] = {
		[AXVM__V1__OUTCOME__OUTCOME_POWER_OFF] = 0,
		[AXVM__V1__OUTCOME__OUTCOME_HALTED] = 0,
		[AXVM__V1__OUTCOME__OUTCOME_GUEST_RESET] = 32,
		[AXVM__V1__OUTCOME__OUTCOME_TRIPLE_FAULT] = 33,
		[AXVM__V1__OUTCOME__OUTCOME_GUEST_PANIC] = 34,
		[AXVM__V1__OUTCOME__OUTCOME_VCPU_FAILED] = 35,
		[AXVM__V1__OUTCOME__OUTCOME_STOPPED_BY_HOST] = 36,
	};
	bool failed = terminal->outcome >= AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED;

	if ((int)terminal->exit_status != status)
		return FAULT("status %d, but the event says %u", status, terminal->exit_status);
	if (!terminal->has_outcome || terminal->outcome == 0 || !terminal->has_stage)
		return FAULT("no outcome or no stage");
	if (!is_sentence(terminal->message) &&
	    strcmp(terminal->message ? terminal->message : "", "powered off") != 0)
		return FAULT("no sentence: %s", terminal->message);
	for (size_t i = 0; i < terminal->n_errors; i++)
		if (!error_complete(terminal->errors[i]))
			return false;
	if (failed && terminal->n_errors == 0)
		return FAULT("failed without an error");
	if (failed && status_of(terminal->errors[0]->code) != status)
		return FAULT("status %d for error %d", status, terminal->errors[0]->code);
	if (!failed && of_outcome[terminal->outcome] != status)
		return FAULT("status %d for outcome %d", status, terminal->outcome);
	return true;
}

bool judge(const uint8_t *bytes, size_t length, int status, struct verdict *ret)
{
	Axvm__V1__EventStream *stream = axvm__v1__event_stream__unpack(NULL, length, bytes);
	struct verdict verdict = { .silent = length == 0 };
	Axvm__V1__Stage completed = AXVM__V1__STAGE__STAGE_UNSPECIFIED;
	uint64_t expected = 1;
	size_t terminals = 0;
	bool good = true;

	if (!stream)
		return FAULT("fd 4 holds no EventStream");
	for (size_t i = 0; i < stream->n_events && good; i++) {
		const Axvm__V1__Event *event = stream->events[i];

		expected += event->dropped;
		if (event->sequence != expected++)
			good = FAULT("event %zu has number %" PRIu64, i, event->sequence);
		if (event->body_case == AXVM__V1__EVENT__BODY_STAGE_COMPLETED)
			completed = event->stage_completed->stage;
		if (event->body_case != AXVM__V1__EVENT__BODY_TERMINAL)
			continue;
		terminals++;
		good = good && terminal_fits(event->terminal, status);
		if (event->terminal->outcome == AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED &&
		    event->terminal->stage != completed + 1)
			good = FAULT("stage %d is named, but stage %d was the last completed",
			             event->terminal->stage, completed);
		verdict.outcome = event->terminal->outcome;
		verdict.stage = event->terminal->stage;
		if (event->terminal->n_errors > 0) {
			verdict.code = event->terminal->errors[0]->code;
			verdict.stage = event->terminal->errors[0]->stage;
		}
	}
	if (good && terminals != 1)
		good = FAULT("%zu terminal events, status %d", terminals, status);
	if (good &&
	    stream->events[stream->n_events - 1]->body_case != AXVM__V1__EVENT__BODY_TERMINAL)
		good = FAULT("the terminal event is not the last");
	axvm__v1__event_stream__free_unpacked(stream, NULL);
	if (ret)
		*ret = verdict;
	return good;
}

/* Bytes of those events that are there to their end: each is a tag of one byte, a length, and as
 * much. */
static size_t whole_events(const uint8_t *bytes, size_t length)
{
	size_t whole = 0;

	for (;;) {
		size_t at = whole + 1, size = 0;

		for (unsigned shift = 0; at < length && shift < 35; shift += 7) {
			size |= (size_t)(bytes[at] & 0x7f) << shift;
			if (bytes[at++] < 0x80)
				break;
		}
		if (at > length || at < whole + 2 || bytes[at - 1] >= 0x80 || size > length - at)
			return whole;
		whole = at + size;
	}
}

static bool counts(const Axvm__V1__MetricsReport *report, const char *name)
{
	for (size_t i = 0; report && i < report->n_counters; i++)
		if (strcmp(report->counters[i]->name, name) == 0)
			return report->counters[i]->value > 0;
	return false;
}

static bool event_tells(const Axvm__V1__Event *event, const char *what)
{
	switch (event->body_case) {
	case AXVM__V1__EVENT__BODY_RUNNING:
		return strcmp(what, "running") == 0;
	case AXVM__V1__EVENT__BODY_STATE_CHANGED:
		return event->state_changed->to == AXVM__V1__STATE__STATE_STOPPING &&
		       strcmp(what, "stopping") == 0;
	case AXVM__V1__EVENT__BODY_METRICS:
		return counts(event->metrics, what);
	default:
		return false;
	}
}

enum told stream_tells(const uint8_t *bytes, size_t length, const char *what)
{
	Axvm__V1__EventStream *stream =
		axvm__v1__event_stream__unpack(NULL, whole_events(bytes, length), bytes);
	enum told told = TOLD_NOT_YET;

	for (size_t i = 0; stream && i < stream->n_events && told == TOLD_NOT_YET; i++) {
		if (event_tells(stream->events[i], what))
			told = TOLD_IT;
		else if (stream->events[i]->body_case == AXVM__V1__EVENT__BODY_TERMINAL)
			told = TOLD_THE_END;
	}
	if (stream)
		axvm__v1__event_stream__free_unpacked(stream, NULL);
	return told;
}
