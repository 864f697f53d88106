/* SPDX-License-Identifier: MIT */
/* The incremental reader of fd 3.
 *
 * On the wire a ControlStream is a run of (tag, length, payload) fields, so a push parser needs
 * only four states. parse() consumes bytes until a payload is whole or the bytes are used up; it
 * stores at most as much of a payload as its caller has room for and skips the rest, so that an
 * oversized command costs nothing but its reply. (Protocol Buffers encoding: varints, wire
 * types.) */
#include "interface/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/varint.h"

#define FIELD_LAUNCH 1
#define FIELD_COMMAND 2
#define FIELD_PLAN 3
#define WIRE_LENGTH_PREFIXED 2
/* Of which text is recognised. */
#define TEXT_BYTES_MIN 4
#define TEXT_BYTES_MAX ((size_t)16)
/* Protocol Buffers take no message of 2 GiB or more. */
#define WIRE_LENGTH_MAX INT32_MAX

struct store {
	uint8_t *bytes;
	size_t size;
};

static int refuse(struct stream_parser *parser, struct problems *problems,
                  enum axvm_error_code code, const char *what)
{
	parser->state = STREAM_BROKEN;
	return problems_add(problems, code, 0, NULL, "fd 3, byte %" PRIu64 ": %s", parser->start,
	                    what);
}

/* Takes one byte of a varint. 1 when it is whole, 0 when more is to come, -EINVAL. */
static int take_varint(struct stream_parser *parser, uint8_t byte, uint64_t max)
{
	unsigned shift = 7 * parser->varint_bytes;
	uint64_t part = byte & 0x7f;

	if (++parser->varint_bytes > VARINT_BYTES_MAX || (part << shift) >> shift != part)
		return -EINVAL;
	parser->varint |= part << shift;
	if (byte & 0x80)
		return 0;
	return parser->varint > max ? -EINVAL : 1;
}

/* What is wrong with a launch or plan that is not the first of either. */
static const char *second(const struct stream_parser *parser, uint32_t field)
{
	static const char *const words[2][2] = {
		{ "a second launch; a shim takes exactly one",
		  "a plan behind a launch; a shim takes one of them" },
		{ "a launch behind a plan; a shim takes one of them",
		  "a second plan; a shim takes exactly one" },
	};

	return words[parser->planned][field == FIELD_PLAN];
}

static int take_tag(struct stream_parser *parser, uint8_t byte, struct problems *problems)
{
	int r;

	if (parser->varint_bytes == 0)
		parser->start = parser->offset - 1;
	r = take_varint(parser, byte, UINT32_MAX);
	if (r < 0)
		return refuse(parser, problems, ERROR_CODE_SPEC_MALFORMED,
		              "a field's tag is no 32-bit varint; this is not a ControlStream");
	if (r == 0)
		return 0;

	uint32_t field = (uint32_t)(parser->varint >> 3);
	unsigned type = parser->varint & 7;

	if (field == 0 || type == 3 || type == 4 || type > 5)
		return refuse(parser, problems, ERROR_CODE_SPEC_MALFORMED,
		              "the tag has field number 0 or an impossible wire type; "
		              "this is not a ControlStream");
	if (field < FIELD_LAUNCH || field > FIELD_PLAN) {
		parser->state = STREAM_BROKEN;
		return problems_add(
			problems, ERROR_CODE_SPEC_UNKNOWN_FIELD, 0, NULL,
			"fd 3, byte %" PRIu64 ": ControlStream has no field %" PRIu32
			" (1 is launch, 2 is commands, 3 is plan); a bare LaunchSpec goes "
			"into ControlStream.launch",
			parser->start, field);
	}
	if (type != WIRE_LENGTH_PREFIXED)
		return refuse(
			parser, problems, ERROR_CODE_SPEC_MALFORMED,
			"launch, commands and plan are messages, and this field's wire type is another; this is not a ControlStream");
	if (field != FIELD_COMMAND && parser->launched)
		return refuse(parser, problems, ERROR_CODE_SPEC_DUPLICATE, second(parser, field));
	if (field == FIELD_COMMAND && !parser->launched)
		return refuse(parser, problems, ERROR_CODE_SPEC_MALFORMED,
		              "a command before the launch; the launch must come first");
	parser->field = field;
	parser->state = STREAM_LENGTH;
	parser->varint = 0;
	parser->varint_bytes = 0;
	return 0;
}

/* A command may have any length here: its bytes are skipped, and its reply says that it is too
 * large. */
static uint64_t most_of(uint32_t field)
{
	return field == FIELD_LAUNCH ? STREAM_MESSAGE_MAX
	       : field == FIELD_PLAN ? STREAM_PLAN_MAX
	                             : WIRE_LENGTH_MAX;
}

static int take_length(struct stream_parser *parser, uint8_t byte, struct problems *problems)
{
	int r = take_varint(parser, byte, WIRE_LENGTH_MAX);

	if (r == 0)
		return 0;
	if (r < 0)
		return refuse(
			parser, problems, ERROR_CODE_SPEC_MALFORMED,
			"a message's length is not a varint below 2 GiB; this is not a ControlStream");
	if (parser->varint > most_of(parser->field)) {
		parser->state = STREAM_BROKEN;
		return problems_add(problems, ERROR_CODE_SPEC_TOO_LARGE, 0, NULL,
		                    "fd 3, byte %" PRIu64 ": the %s has %" PRIu64
		                    " bytes; at most %" PRIu64 " are taken",
		                    parser->start, parser->field == FIELD_PLAN ? "plan" : "launch",
		                    parser->varint, most_of(parser->field));
	}
	parser->length = parser->varint;
	parser->have = 0;
	parser->state = STREAM_PAYLOAD;
	parser->varint = 0;
	parser->varint_bytes = 0;
	return 0;
}

/* Consumes bytes: 1 when a payload has become whole (*ret_used bytes were needed), 0 when all were
 * used and none has, -EINVAL when a problem was added. */
static int parse(struct stream_parser *parser, const uint8_t *bytes, size_t n,
                 const struct store *store, size_t *ret_used, struct problems *problems)
{
	size_t used = 0;
	int r = 0;

	while (used < n && r == 0 && parser->state != STREAM_BROKEN) {
		if (parser->state == STREAM_PAYLOAD) {
			size_t take = MIN(n - used, parser->length - parser->have);

			if (parser->have < store->size)
				memcpy(store->bytes + parser->have, bytes + used,
				       MIN(take, store->size - parser->have));
			parser->have += take;
			parser->offset += take;
			used += take;
		} else {
			uint8_t byte = bytes[used++];

			parser->offset++;
			r = parser->state == STREAM_TAG ? take_tag(parser, byte, problems)
			                                : take_length(parser, byte, problems);
		}
		if (parser->state == STREAM_PAYLOAD && parser->have == parser->length) {
			parser->state = STREAM_TAG;
			parser->launched = true;
			parser->planned |= parser->field == FIELD_PLAN;
			r = 1;
		}
	}
	if (parser->state == STREAM_BROKEN)
		return -EINVAL;
	*ret_used = used;
	return r;
}

static int parser_end(struct stream_parser *parser, struct problems *problems)
{
	if (parser->state == STREAM_BROKEN)
		return -EINVAL;
	if (parser->state != STREAM_TAG || parser->varint_bytes > 0) {
		parser->state = STREAM_BROKEN;
		return problems_add(problems, ERROR_CODE_SPEC_TRUNCATED, 0, NULL,
		                    "fd 3 ended at byte %" PRIu64
		                    ", inside the message that begins at byte %" PRIu64,
		                    parser->offset, parser->start);
	}
	if (!parser->launched) {
		parser->state = STREAM_BROKEN;
		return problems_add(
			problems, ERROR_CODE_SPEC_EMPTY, 0, NULL,
			"fd 3 ended at byte 0; write a ControlStream with a launch, or a plan, to it");
	}
	return 0;
}

/* Reads more bytes behind those that the chunk still holds; there must be room. Returns the number
 * of bytes, 0 at the end, or -errno. */
static int fill(struct stream *stream, int fd)
{
	size_t kept = stream->chunk_end - stream->chunk_at;
	ssize_t n;

	memmove(stream->chunk, stream->chunk + stream->chunk_at, kept);
	stream->chunk_at = 0;
	stream->chunk_end = kept;
	do
		n = read(fd, stream->chunk + kept, sizeof(stream->chunk) - kept);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	stream->chunk_end += (size_t)n;
	stream->ended = n == 0;
	return (int)n;
}

static int fd_failed(struct stream *stream, struct problems *problems, int error_number)
{
	stream->parser.state = STREAM_BROKEN;
	return problems_add(problems, ERROR_CODE_CONTROL_FD_UNUSABLE, error_number, NULL,
	                    "fd 3 cannot be read after byte %" PRIu64 ": %s", stream->parser.offset,
	                    errno_text(error_number));
}

/* Unblocks the signals that ask the shim to end while it only waits for a launch: the launch may
 * never come. */
static int wait_for(int fd)
{
	static const int requests[] = { SIGTERM, SIGINT, SIGHUP };
	struct pollfd waiting = { .fd = fd, .events = POLLIN };
	sigset_t mask;

	if (sigprocmask(SIG_SETMASK, NULL, &mask) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		sigdelset(&mask, requests[i]);
	return ppoll(&waiting, 1, NULL, &mask) < 0 ? -errno : 0;
}

bool stream_looks_like_text(const uint8_t *bytes, size_t n)
{
	if (n < TEXT_BYTES_MIN || bytes[0] == '\n' || bytes[0] >= 0x7f)
		return false;
	for (size_t i = 0; i < MIN(n, TEXT_BYTES_MAX); i++)
		if (bytes[i] == 0x7f ||
		    (bytes[i] < ' ' && bytes[i] != '\t' && bytes[i] != '\n' && bytes[i] != '\r'))
			return false;
	return true;
}

static int fill_blocking(struct stream *stream, int fd, struct problems *problems)
{
	int r;

	do {
		r = wait_for(fd);
		if (r == -EINTR)
			return r;
		if (r == 0)
			r = fill(stream, fd);
	} while (r == -EAGAIN);
	return r < 0 ? fd_failed(stream, problems, -r) : 0;
}

/* Looks at the bytes behind the launch without consuming them: a second launch or garbage in the
 * same file or write is found while the launch can still be refused. */
static int look_ahead(struct stream *stream, int fd, struct problems *problems)
{
	static const struct store nowhere = { NULL, 0 };
	struct stream_parser copy = stream->parser;
	struct pollfd waiting = { .fd = fd, .events = POLLIN };
	size_t at, used;
	int r = 0;

	while (!stream->ended && stream->chunk_end - stream->chunk_at < sizeof(stream->chunk) &&
	       poll(&waiting, 1, 0) > 0) {
		r = fill(stream, fd);
		if (r == -EAGAIN)
			break;
		if (r < 0)
			return fd_failed(stream, problems, -r);
	}
	for (at = stream->chunk_at; at < stream->chunk_end; at += used) {
		r = parse(&copy, stream->chunk + at, stream->chunk_end - at, &nowhere, &used,
		          problems);
		if (r < 0) {
			stream->parser.state = STREAM_BROKEN;
			return r;
		}
	}
	return stream->ended ? parser_end(&copy, problems) : 0;
}

int stream_init(struct stream *stream)
{
	void *map = mmap(NULL, STREAM_MESSAGE_MAX, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	*stream = (struct stream){ .launch = map, .launch_size = STREAM_MESSAGE_MAX };
	return 0;
}

/* A plan can be larger than a launch. The mapping for a launch is small, so that the kernel puts no
 * huge page there. */
static int make_room(struct stream *stream, struct problems *problems)
{
	void *map;

	if (stream->parser.state != STREAM_PAYLOAD || stream->parser.length <= stream->launch_size)
		return 0;
	map = mremap(stream->launch, stream->launch_size, STREAM_PLAN_MAX, MREMAP_MAYMOVE);
	if (map == MAP_FAILED)
		return problems_add(problems, ERROR_CODE_OS_FAILED, errno, NULL,
		                    "no memory to read the plan: %s", errno_text(errno));
	stream->launch = map;
	stream->launch_size = STREAM_PLAN_MAX;
	return 0;
}

void stream_release_launch(struct stream *stream)
{
	if (stream->launch)
		(void)munmap(stream->launch, stream->launch_size);
	stream->launch = NULL;
}

void stream_done(struct stream *stream)
{
	stream_release_launch(stream);
}

int stream_read_launch(struct stream *stream, int fd, const uint8_t **ret_bytes, size_t *ret_length,
                       struct problems *problems)
{
	size_t used, n;
	int r = 0;

	while (r == 0) {
		if (stream->chunk_at == stream->chunk_end) {
			r = fill_blocking(stream, fd, problems);
			if (r < 0)
				return r;
			if (stream->ended)
				return parser_end(&stream->parser, problems);
			if (stream->parser.offset == 0 &&
			    stream_looks_like_text(stream->chunk, stream->chunk_end))
				return refuse(
					&stream->parser, problems, ERROR_CODE_SPEC_MALFORMED,
					"this looks like text, and a ControlStream is bytes; encode it "
					"(protoc --encode=axvm.v1.ControlStream axvm.proto), or start the "
					"VM with axvm run FILE.txtpb");
		}
		/* Consumes single bytes until the length is known. */
		n = stream->parser.state == STREAM_PAYLOAD ? stream->chunk_end - stream->chunk_at
		                                           : 1;
		r = parse(&stream->parser, stream->chunk + stream->chunk_at, n,
		          &(struct store){ stream->launch, stream->launch_size }, &used, problems);
		if (r == 0 && make_room(stream, problems) < 0)
			r = -ENOMEM;
		if (r < 0)
			return r;
		stream->chunk_at += used;
	}
	size_t length = (size_t)stream->parser.length;

	r = look_ahead(stream, fd, problems);
	if (r < 0)
		return r;
	*ret_bytes = stream->launch;
	*ret_length = length;
	return 0;
}

/* Parses until the bytes are used up or, where the caller asks for that, until a callback wants no
 * more. */
static int feed(struct stream *stream, const uint8_t *bytes, size_t n, stream_command_fn *fn,
                void *context, const bool *stop, size_t *ret_used, struct problems *problems)
{
	const uint8_t *const first = bytes;
	const struct store store = { stream->command, sizeof(stream->command) };
	struct stream_parser *parser = &stream->parser;
	size_t used;

	if (parser->state == STREAM_BROKEN)
		return -EINVAL;
	for (; n > 0 && !(stop && *stop); bytes += used, n -= used) {
		int r = parse(parser, bytes, n, &store, &used, problems);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		fn(
			&(struct stream_command){
				.bytes = stream->command,
				.length = MIN(parser->length, sizeof(stream->command)),
				.full_length = parser->length,
				.offset = parser->start,
			},
			context);
	}
	*ret_used = (size_t)(bytes - first);
	return 0;
}

int stream_feed(struct stream *stream, const uint8_t *bytes, size_t n, stream_command_fn *fn,
                void *context, struct problems *problems)
{
	size_t used;

	return feed(stream, bytes, n, fn, context, NULL, &used, problems);
}

int stream_drain(struct stream *stream, stream_command_fn *fn, void *context,
                 struct problems *problems)
{
	size_t used = stream->chunk_end - stream->chunk_at;
	int r = feed(stream, stream->chunk + stream->chunk_at, used, fn, context, &stream->stopped,
	             &used, problems);

	stream->chunk_at += used;
	return r;
}

int stream_read(struct stream *stream, int fd, stream_command_fn *fn, void *context,
                struct problems *problems)
{
	int r;

	if (stream->parser.state == STREAM_BROKEN)
		return -EINVAL;
	r = fill(stream, fd);
	if (r == -EAGAIN)
		return r;
	if (r < 0)
		return fd_failed(stream, problems, -r);
	if (r == 0)
		return stream_end(stream, problems);
	r = stream_drain(stream, fn, context, problems);
	return r < 0 ? r : 1;
}

int stream_end(struct stream *stream, struct problems *problems)
{
	stream->ended = true;
	return parser_end(&stream->parser, problems);
}
