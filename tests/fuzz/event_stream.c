/* SPDX-License-Identifier: MIT */
/* libaxvm's decoder of fd 4, and what the command makes of its events: any bytes, in any pieces;
 * the same events however it is cut. */
#include "lib/input.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "launch/cli/messages.h"

static uint64_t decode(const uint8_t *data, size_t size, size_t step)
{
	struct axvm_decoder *decoder = axvm_decoder_new();
	struct held_event held = { 0 };
	const Axvm__V1__Event *event;
	uint64_t sum = 0;
	int r = -EAGAIN;

	cr_assert_not_null(decoder);
	for (size_t at = 0; at < size && r == -EAGAIN; at += step) {
		if (axvm_decoder_feed(decoder, data + at, MIN(step, size - at)) < 0)
			break;
		while ((r = decoder_next_event(decoder, &held, &event)) == 1)
			sum = sum * 31 + event->sequence + 1 + (uint64_t)event->body_case;
	}
	cr_assert_leq(axvm_decoder_pending(decoder), size);
	held_event_release(&held);
	axvm_decoder_free(decoder);
	return r == -EBADMSG ? UINT64_MAX - sum : sum;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	cr_assert_eq(decode(data + 1, size - 1, size),
	             decode(data + 1, size - 1, 1 + data[0] % 32));
	return 0;
}
