/* SPDX-License-Identifier: MIT */
/* What run.c and run_parts.c share: the VM that `axvm run` serves. */
#ifndef AXVM_CLI_RUN_PARTS_H
#define AXVM_CLI_RUN_PARTS_H

#include <stdio.h>

#include "launch/cli/run_state.h"

/* Prepares the launch by the spec and the terminal: the shim's fds, events, signals, the console's
 * size. 0, or the exit status after a message on stderr. */
int run_prepare(struct run *run);

/* Adds claims in this host's folder to a spec that has none, unless --no-claims. If a shim of this
 * user could not claim there, the VM runs without claims, and stderr says so once, unless --quiet.
 * 0 or -ENOMEM. */
int run_add_claims(struct run *run);
/* Makes the folder below `root` ("" is this host) as tmpfiles.d does: /run/axvm, which all may look
 * into, and in it the claims, mode 3770, for the group of /dev/kvm. An existing folder is left as
 * it is. 0 or -errno. */
int run_make_claims(const char *root);

/* Starts the shim and opens the control socket. 0, or the exit status as above. */
int run_launch(struct run *run);

/* Prints a sentence about a VM whose shim has ended to stderr, and returns the exit status. */
int run_conclude(struct run *run, int wait_status);

void run_done(struct run *run);

/* Whether events go to stderr, so that errors are printed there with them. */
bool run_events_are_on_stderr(const struct run *run);

/* Whether the VM has a power button. The button needs an interrupt, and so a local APIC. A flat
 * image may have none; then it has no console and no keys either. */
bool run_has_button(const struct run *run);

/* Handles a signal that asks for the end and was read at `now_ns`: the first burst of such signals
 * presses the power button, the second stops the VM, the third ends its process. */
void run_heed_signal(struct run *run, uint64_t now_ns);

/* Remembers the request id of a command of our own (0: it was not sent). */
void run_remember_own(struct run *run, uint64_t request_id);

/* Handles a reply that no client of the control socket waits for: prints it if it answers a key, or
 * refuses a command of our own. A client may have left before its reply came. */
void run_answer(struct run *run, const Axvm__V1__Reply *reply);

void run_send_console_size(struct run *run);
void run_write_event(struct run *run, const Axvm__V1__Event *event);
void run_show_progress(struct run *run, int64_t now_ms);
void run_clear_progress(struct run *run);

/* Says once that events could not be written to their file. */
void run_tell_lost_events(struct run *run);

#endif
