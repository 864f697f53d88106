/* SPDX-License-Identifier: MIT */
/* Everything that libaxvm knows of the schema: six field numbers, which no release changes. A field
 * that is added to proto/axvm.proto changes nothing here, and events of a later shim reach a caller
 * who can decode them.
 *
 * A unit test compares them with the schema. */
#ifndef AXVM_LAUNCH_BY_NUMBER_H
#define AXVM_LAUNCH_BY_NUMBER_H

#include <sys/types.h>

#include "base/base.h"
#include "launch/axvm.h"

enum {
	FIELD_LAUNCH = 1,      /* of ControlStream: a LaunchSpec */
	FIELD_COMMANDS = 2,    /* of ControlStream: a Command each */
	FIELD_REQUEST_ID = 1,  /* of Command: uint64 */
	FIELD_EVENTS = 1,      /* of EventStream: an Event each */
	FIELD_TERMINAL = 22,   /* of Event: a Terminal */
	FIELD_EXIT_STATUS = 2, /* of Terminal: uint32 */
};

/* Copies an encoded Command to `to` and adds a request id if it has none: *ret_id is its own id, or
 * `unused` if that is absent or 0. Returns the number of bytes in `to`; -EBADMSG: the bytes are not
 * whole fields, or have two ids; -EMSGSIZE: with the id it is longer than AXVM_COMMAND_MAX. */
ssize_t command_with_id(const void *command, size_t size, uint64_t unused,
                        uint8_t to[static AXVM_COMMAND_MAX], uint64_t *ret_id);

/* Whether an encoded Event is the terminal one: 1 with its exit status, 0 if not, -EBADMSG if the
 * bytes are not whole fields. */
int event_is_end(const void *event, size_t size, uint32_t *ret_exit_status);

#endif
