/* SPDX-License-Identifier: MIT */
/* The VM that `axvm run` serves, and everything it holds for that VM. */
#ifndef AXVM_CLI_RUN_STATE_H
#define AXVM_CLI_RUN_STATE_H

#include <stdio.h>

#include "base/burst.h"
#include "launch/axvm.h"
#include "launch/cli/messages.h"
#include "launch/cli/metrics_file.h"
#include "launch/cli/nowait_stream.h"
#include "launch/cli/run_end.h"
#include "launch/cli/run_options.h"
#include "launch/cli/server.h"
#include "launch/cli/terminal.h"
#include "launch/cli/vsock_host.h"

#define RUN_FDS_MAX 1024
/* Few commands of our own are under way at once: those of a key, a report, the end, the console's
 * size. */
#define RUN_OWN_REQUESTS 8

struct run {
	struct run_options options;
	struct axvm_vm *vm;
	struct held_event held;
	struct server server;
	struct vsock_host vsock;
	struct terminal terminal;
	struct escape escape;
	struct axvm_fd fds[RUN_FDS_MAX];
	size_t fds_count;
	FILE *events; /* the events' destination, or NULL */
	/* stderr while the VM runs; the file named for events */
	struct nowait_stream errors, events_file;
	int events_fd; /* of that file, or -1 */
	int signal_fd;
	int keys_fd;        /* our end of the pipe for the guest's keys; -1: none */
	int guest_input_fd; /* the other end, until the launch */
	int vsock_fd;       /* the shim's end of the vsock channel, until the launch */
	struct metrics_file metrics_file;
	bool keys_ended, events_ended, started, progress_wanted, progress_shown, metrics_failed,
		events_failed;
	unsigned ends_asked;
	struct burst signals;                    /* signals that ask for the end */
	uint64_t own_requests[RUN_OWN_REQUESTS]; /* request ids of our last own commands */
	unsigned own_count;
	uint64_t key_request; /* the request of the last key, until its reply comes; 0: none */
	enum escape_action key_action;
	Axvm__V1__State state;
	Axvm__V1__Stage stage; /* the last that was completed */
	uint64_t start_ns;
	int64_t launched_ms, metrics_due;
	struct run_words words;
	struct run_end end;
};

#endif
