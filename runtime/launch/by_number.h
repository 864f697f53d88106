/* SPDX-License-Identifier: MIT */
/* All that libaxvm knows of the schema: six numbers of fields, which no release changes. So a
 * field that is added to proto/axvm.proto changes nothing here, and what a later shim says
 * reaches a caller who knows it.
 *
 * A unit test holds them against the schema. */
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

/* Copies an encoded Command, at most AXVM_COMMAND_MAX bytes, with a request id in it: *ret_id is
 * its own, or `unused` where it has none or 0. The number of bytes in `to`; -EBADMSG: these are
 * no whole fields, or there are two ids; -EMSGSIZE: too long, or it is with the id. */
ssize_t command_with_id(const void *command, size_t size, uint64_t unused,
                        uint8_t to[static AXVM_COMMAND_MAX], uint64_t *ret_id);

/* Whether an encoded Event is the terminal one: 1 with the status that it states, 0, or -EBADMSG
 * when these are no whole fields. */
int event_is_end(const void *event, size_t size, uint32_t *ret_exit_status);

#endif
