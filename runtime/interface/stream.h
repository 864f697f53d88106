/* SPDX-License-Identifier: MIT */
/* Reads a ControlStream piecemeal: the launch first, or a plan in its place; commands for the life
 * of the VM after it. */
#ifndef AXVM_INTERFACE_STREAM_H
#define AXVM_INTERFACE_STREAM_H

#include "base/base.h"
#include "base/problem.h"

/* The most bytes of a launch; the stream itself has no end. */
#define STREAM_MESSAGE_MAX MIB
/* The most bytes of a plan: a launch, and all facts that a host can have (host/facts.h; a unit test
 * holds them to it). */
#define STREAM_PLAN_MAX (8 * MIB)
/* The most bytes of a command. A longer one is only looked at for its request_id before it is
 * refused. */
#define STREAM_COMMAND_MAX 4096
#define STREAM_CHUNK 4096

enum stream_state {
	STREAM_TAG,
	STREAM_LENGTH,
	STREAM_PAYLOAD,
	STREAM_BROKEN, /* a problem was reported; there is no way to find the next message */
};

/* Whether bytes of which a ControlStream should begin are text instead. Those of a ControlStream
 * never are: it begins with a field's tag, which is a newline or another control character. */
bool stream_looks_like_text(const uint8_t *bytes, size_t n);

struct stream_parser {
	enum stream_state state;
	bool launched;         /* a launch, or plan, has been seen whole */
	bool planned;          /* it was a plan */
	uint32_t field;        /* of the message being read */
	unsigned varint_bytes; /* of the tag or length being read */
	uint64_t varint;
	uint64_t offset; /* bytes consumed since the start of the stream */
	uint64_t start;  /* where the field being read begins */
	uint64_t length; /* of its payload */
	uint64_t have;   /* bytes of it consumed */
};

/* Owns its buffers; belongs to one thread. */
struct stream {
	struct stream_parser parser;
	uint8_t *launch; /* a mapping of launch_size, touched as far as used */
	size_t launch_size;
	bool ended;
	/* set by a callback: no more commands for now; cleared by who goes on with
	 * stream_drain() */
	bool stopped;
	size_t chunk_at;
	size_t chunk_end;
	uint8_t chunk[STREAM_CHUNK];
	uint8_t command[STREAM_COMMAND_MAX];
};

/* A command as it came. The bytes are valid during the call only. When `full_length` exceeds
 * `length` the rest was skipped, and the command is too large. */
struct stream_command {
	const uint8_t *bytes;
	size_t length;
	uint64_t full_length;
	uint64_t offset; /* of its first byte in the stream */
};

typedef void stream_command_fn(const struct stream_command *command, void *context);

/* Maps the launch buffer. 0 or -errno. */
int stream_init(struct stream *stream);

/* Unmaps it. Accepts a zeroed or an already released stream. */
void stream_done(struct stream *stream);

/* Blocks until the launch is complete, or a plan instead (parser.planned says which); *ret_bytes
 * stays valid until stream_release_launch(). Bytes that were read after it are kept for
 * stream_drain(), and refused here if they are already seen not to be commands. One problem on
 * failure: -EINVAL for the bytes, -errno for the fd. -EINTR, without a problem: a handler for
 * SIGTERM, SIGINT or SIGHUP ran meanwhile. */
int stream_read_launch(struct stream *stream, int fd, const uint8_t **ret_bytes, size_t *ret_length,
                       struct problems *problems);

/* Unmaps the launch buffer: to be called once the spec is parsed. */
void stream_release_launch(struct stream *stream);

/* Takes n more bytes and calls back for every command that they complete, `stopped` or not. Neither
 * allocates nor blocks. -EINVAL with one problem if the bytes are not a ControlStream; no bytes are
 * taken after that. */
int stream_feed(struct stream *stream, const uint8_t *bytes, size_t n, stream_command_fn *fn,
                void *context, struct problems *problems);

/* Feeds bytes that were read and not yet taken: those that stream_read_launch() kept, when the
 * control loop starts; those that a callback that set `stopped` has left, when it is cleared. */
int stream_drain(struct stream *stream, stream_command_fn *fn, void *context,
                 struct problems *problems);

/* Makes one read(2) of fd, which poll(2) has reported readable, and calls stream_drain(). Not while
 * `stopped`. 1: there may be more; 0: a clean end; -EAGAIN: nothing was there; else as above. */
int stream_read(struct stream *stream, int fd, stream_command_fn *fn, void *context,
                struct problems *problems);

/* The stream has ended. -EINVAL with a problem if it ended inside a message or before the
 * launch. */
int stream_end(struct stream *stream, struct problems *problems);

#endif
