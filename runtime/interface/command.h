/* SPDX-License-Identifier: MIT */
/* Commands as the control loop uses them: validated, plain C. */
#ifndef AXVM_INTERFACE_COMMAND_H
#define AXVM_INTERFACE_COMMAND_H

#include "base/base.h"
#include "base/problem.h"
#include "interface/arena.h"
#include "interface/spec.h"
#include "interface/stream.h"

/* What command_parse() needs at most; to be mapped before seal. */
#define COMMAND_ARENA_SIZE (16 * KIB)

struct command {
	uint64_t request_id;
	enum axvm_command_what kind;
	union {
		struct {
			bool has_timeout; /* false: the spec's */
			uint32_t timeout_ms;
		} shutdown;
		struct {
			uint64_t target_mib;
		} balloon;
		struct {
			char device_id[SPEC_ID_MAX + 1];
			struct spec_limit limit;
			bool transmit;
		} limit;
		struct {
			char disk_id[SPEC_ID_MAX + 1];
		} resize;
		struct {
			uint32_t columns, rows;
		} console_size;
	};
};

/* Maps the arena and touches all of it, so that no command needs memory later. 0 or -errno. */
int command_arena_map(struct arena *arena);

/* Parses and validates a command. Uses nothing but the arena, which it resets. 0, or -EINVAL with
 * *ret_error saying why (COMMAND_INVALID), ready for an error reply. ret->request_id is set in
 * every case, as far as the bytes tell: 0 when they do not. */
int command_parse(struct arena *arena, const struct stream_command *raw, struct command *ret,
                  struct problem *ret_error);

#endif
