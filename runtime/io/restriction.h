/* SPDX-License-Identifier: MIT */
/* The restrictions of a loop's ring: installs them, tries them, and recognises a refused
 * submission. */
#ifndef AXVM_IO_RESTRICTION_H
#define AXVM_IO_RESTRICTION_H

#include "io/loop_state.h"

/* The opcodes the rings are restricted to, each with its reason. */
struct io_opcode {
	uint8_t opcode;
	uint32_t uses; /* enum io_use bits: allowed in loops with any of them; 0: in every loop */
	const char *name; /* without IORING_OP_ */
	const char *reason;
};

const struct io_opcode *io_loop_opcodes(size_t *ret_count);
/* The devices whose loops allow an opcode, in words: "every loop", "disks, nets". Constant. */
const char *io_opcode_where(const struct io_opcode *opcode);

/* io_uring_register(2) on the loop's ring: its result, or -errno. The shared liburing 2.3 does not
 * export the uses that are made of it here. */
int io_ring_register(const struct io_loop *loop, unsigned what, const void *argument,
                     unsigned count);

/* Installs the restrictions of a ring that is still disabled. 0 or -errno. */
int io_restrict(struct io_loop *loop);

/* Enables the ring, then tries what is forbidden: an opcode, an unregistered file, a flag, a
 * registration. -EBADMSG if the kernel carries one out; *ret_what (constant) says which. The loop's
 * thread, before anything else is submitted. */
int io_restriction_enable(struct io_loop *loop, const char **ret_what);

/* A submission that the restrictions refused. `what` says what was wrong with it; both constant. */
struct io_breach {
	uint8_t opcode;
	const char *name; /* of the opcode; NULL: newer than the headers */
	const char *what;
};

/* Whether the restrictions refused this operation, and not its file: true if the submission with
 * that user_data is still in the ring and is one that they forbid. */
bool io_restriction_breach(const struct io_loop *loop, const struct io_uring_cqe *cqe,
                           struct io_breach *ret_breach);

#endif
