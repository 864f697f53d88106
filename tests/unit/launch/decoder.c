/* SPDX-License-Identifier: MIT */
/* libaxvm's decoder of event streams: any split, any bytes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "launch/cli/messages.h"

static size_t encode_two(uint8_t *to, size_t room)
{
	Axvm__V1__EventStream stream = AXVM__V1__EVENT_STREAM__INIT;
	Axvm__V1__Event one = AXVM__V1__EVENT__INIT, two = AXVM__V1__EVENT__INIT;
	Axvm__V1__Event *events[] = { &one, &two };
	Axvm__V1__StateChanged changed = AXVM__V1__STATE_CHANGED__INIT;
	Axvm__V1__GuestPanicked panicked = AXVM__V1__GUEST_PANICKED__INIT;
	char text[300];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	stream.n_events = 2;
	stream.events = events;
	one.has_sequence = two.has_sequence = 1;
	one.sequence = 1;
	two.sequence = 2;
	one.body_case = AXVM__V1__EVENT__BODY_STATE_CHANGED;
	one.state_changed = &changed;
	changed.has_to = 1;
	changed.to = AXVM__V1__STATE__STATE_PAUSED;
	two.body_case = AXVM__V1__EVENT__BODY_GUEST_PANICKED;
	two.guest_panicked = &panicked;
	panicked.message = text;
	cr_assert_leq(axvm__v1__event_stream__get_packed_size(&stream), room);
	return axvm__v1__event_stream__pack(&stream, to);
}

Test(launch_decoder, split_at_every_byte)
{
	uint8_t bytes[1024];
	size_t n = encode_two(bytes, sizeof(bytes));

	for (size_t cut = 0; cut <= n; cut++) {
		struct axvm_decoder *decoder = axvm_decoder_new();
		struct held_event held = { 0 };
		const Axvm__V1__Event *event;
		uint64_t seen = 0;

		for (int half = 0; half < 2; half++) {
			cr_assert_eq(axvm_decoder_feed(decoder, bytes + (half ? cut : 0),
			                               half ? n - cut : cut),
			             0);
			while (decoder_next_event(decoder, &held, &event) == 1)
				cr_assert_eq(event->sequence, ++seen);
			cr_assert_eq(decoder_next_event(decoder, &held, &event), -EAGAIN);
		}
		cr_assert_eq(seen, 2, "cut at %zu", cut);
		cr_assert_eq(axvm_decoder_pending(decoder), 0);
		held_event_release(&held);
		axvm_decoder_free(decoder);
	}
}

Test(launch_decoder, byte_by_byte)
{
	struct axvm_decoder *decoder = axvm_decoder_new();
	uint8_t bytes[1024];
	size_t n = encode_two(bytes, sizeof(bytes));
	struct held_event held = { 0 };
	const Axvm__V1__Event *event;
	uint64_t seen = 0;

	for (size_t i = 0; i < n; i++) {
		cr_assert_eq(axvm_decoder_feed(decoder, &bytes[i], 1), 0);
		if (decoder_next_event(decoder, &held, &event) == 1)
			cr_assert_eq(event->sequence, ++seen);
	}
	cr_assert_eq(seen, 2);
	cr_assert_str_eq(event->guest_panicked->message + 290, "xxxxxxxxx");
	held_event_release(&held);
	axvm_decoder_free(decoder);
}

/* clang-format off */
#define BYTES(...) { (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) }
/* clang-format on */

static const struct {
	struct {
		const uint8_t *bytes;
		size_t size;
	} in;
	int r; /* of the first call */
} strange[] = {
	{ BYTES(0x0a, 0x00), 1 }, /* an event with nothing in it */
	/* a field of a later version first */
	{ BYTES(0x12, 0x01, 'x', 0x0a, 0x02, 0x08, 0x05), 1 },
	{ BYTES(0x0a), -EAGAIN },
	{ BYTES(0x0a, 0x05, 0x08), -EAGAIN },
	{ BYTES(0x08, 0x01), -EBADMSG },             /* a varint is no event */
	{ BYTES(0x02, 0x00), -EBADMSG },             /* field 0 */
	{ BYTES(0x0a, 0x81, 0x80, 0x40), -EBADMSG }, /* above 1 MiB */
	{ BYTES(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	        0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	  -EBADMSG },                                /* a length without end */
	{ BYTES(0x0a, 0x02, 0x0a, 0x7f), -EBADMSG }, /* an event that is cut inside */
};

Test(launch_decoder, bytes_that_are_no_events_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
		struct axvm_decoder *decoder = axvm_decoder_new();
		const void *event = NULL;
		size_t size;

		axvm_decoder_feed(decoder, strange[i].in.bytes, strange[i].in.size);
		cr_assert_eq(axvm_decoder_next(decoder, &event, &size), strange[i].r, "case %zu",
		             i);
		cr_assert_eq(event != NULL, strange[i].r == 1);
		if (strange[i].r == -EBADMSG)
			cr_assert_eq(axvm_decoder_next(decoder, &event, &size), -EBADMSG);
		axvm_decoder_free(decoder);
	}
}

/* What is no UTF-8 can be printed all the same. */
Test(launch_decoder, strings_are_mended)
{
	static const uint8_t bytes[] = { 0x0a, 0x05, 0x2a, 0x03, 'a', 0xff, 'b' };
	struct axvm_decoder *decoder = axvm_decoder_new();
	struct held_event held = { 0 };
	const Axvm__V1__Event *event;

	axvm_decoder_feed(decoder, bytes, sizeof(bytes));
	cr_assert_eq(decoder_next_event(decoder, &held, &event), 1);
	cr_assert_str_eq(event->vm_id, "a?b");
	held_event_release(&held);
	axvm_decoder_free(decoder);
}

/* Whole fields whose inside is no event are libaxvm's to give out, and not the command's to guess
 * at; nor is what follows. */
Test(launch_decoder, an_event_that_cannot_be_decoded)
{
	static const uint8_t bytes[] = { 0x0a, 0x03, 0x62, 0x01, 0x08, 0x0a, 0x02, 0x08, 0x05 };
	struct axvm_decoder *decoder = axvm_decoder_new();
	struct held_event held = { 0 };
	const Axvm__V1__Event *event;
	const void *given;
	size_t size;

	cr_assert_eq(axvm_decoder_feed(decoder, bytes, sizeof(bytes)), 0);
	cr_expect_eq(decoder_next_event(decoder, &held, &event), -EBADMSG);
	cr_expect_eq(decoder_next_event(decoder, &held, &event), -EBADMSG, "and from then on");
	cr_expect_eq(axvm_decoder_next(decoder, &given, &size), 1);
	cr_expect(size == 2 && memcmp(given, bytes + 7, size) == 0);
	held_event_release(&held);
	axvm_decoder_free(decoder);
}
