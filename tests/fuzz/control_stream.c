/* SPDX-License-Identifier: MIT */
/* Fd 3: any bytes, in any pieces. However a stream is cut, the same commands come out of it. */
#include "lib/input.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "interface/command.h"

static struct arena arena;
static int file;

struct heard {
	uint32_t commands;
	uint64_t bytes, sum;
};

static void hear(const struct stream_command *raw, void *context)
{
	struct heard *heard = context;
	struct problem error = { 0 };
	struct command command = { 0 };

	cr_assert_leq(raw->length, STREAM_COMMAND_MAX);
	cr_assert_leq(raw->length, raw->full_length);
	heard->commands++;
	heard->bytes += raw->full_length;
	for (size_t i = 0; i < raw->length; i++)
		heard->sum = heard->sum * 31 + raw->bytes[i];
	if (command_parse(&arena, raw, &command, &error) < 0)
		cr_assert_eq(error.code, ERROR_CODE_COMMAND_INVALID);
}

/* All of it out of a file, as a harness hands it over, or the rest in pieces of `step` bytes. */
static struct heard read_stream(const uint8_t *data, size_t size, size_t step)
{
	static struct stream stream;
	struct problems problems = { 0 };
	struct heard heard = { 0 };
	const uint8_t *launch;
	size_t length;
	int r;

	cr_assert_eq(stream_init(&stream), 0);
	cr_assert_eq(ftruncate(file, 0), 0);
	cr_assert_eq(pwrite(file, data, size, 0), (ssize_t)size);
	cr_assert_eq(lseek(file, 0, SEEK_SET), 0);
	r = stream_read_launch(&stream, file, &launch, &length, &problems);
	cr_assert_eq(r == 0, problems.count == 0);
	if (r == 0) {
		cr_assert_leq(length, stream.parser.planned ? STREAM_PLAN_MAX : STREAM_MESSAGE_MAX);
		stream_release_launch(&stream);
		r = stream_drain(&stream, hear, &heard, &problems);
		if (step == 0)
			while (r == 0 && stream_read(&stream, file, hear, &heard, &problems) == 1)
				;
		else {
			uint8_t piece[64];
			ssize_t n;

			while (r == 0 && (n = read(file, piece, MIN(step, sizeof(piece)))) > 0)
				r = stream_feed(&stream, piece, (size_t)n, hear, &heard, &problems);
			if (r == 0)
				(void)stream_end(&stream, &problems);
		}
	}
	stream_done(&stream);
	return heard;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	file = memfd_create("stream", MFD_CLOEXEC);
	cr_assert_eq(command_arena_map(&arena), 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct heard whole, pieces;

	if (size == 0)
		return 0;
	whole = read_stream(data + 1, size - 1, 0);
	pieces = read_stream(data + 1, size - 1, 1 + data[0] % 64);
	cr_assert_eq(whole.commands, pieces.commands);
	cr_assert_eq(whole.bytes, pieces.bytes);
	cr_assert_eq(whole.sum, pieces.sum);
	return 0;
}
