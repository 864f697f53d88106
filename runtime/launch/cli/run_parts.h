/* SPDX-License-Identifier: MIT */
/* What run.c and run_parts.c share: the VM that `axvm run` serves. */
#ifndef AXVM_CLI_RUN_PARTS_H
#define AXVM_CLI_RUN_PARTS_H

#include <stdio.h>

#include "launch/cli/run_state.h"

/* Looks at the spec and the terminal: which fds go where, events, signals, the console's size.
 * 0, or the exit status when stderr says why not. */
int run_prepare(struct run *run);

/* Has the VM claim its CPUs in the folder of this host, where the spec has no claims and nobody
 * said --no-claims. Where a shim of this user could not, the VM goes without, and stderr says so
 * once, unless it is to be --quiet. 0 or -ENOMEM. */
int run_add_claims(struct run *run);
/* Makes the folder below `root` ("" is this host) as tmpfiles.d has it: /run/axvm for all to look
 * into, and in it the claims, mode 3770, for the group of /dev/kvm. What is there already stays. 0
 * or -errno. */
int run_make_claims(const char *root);

/* Starts the shim and opens the control socket. 0, or the exit status as above. */
int run_launch(struct run *run);

/* The exit status of a VM whose shim has ended, and a sentence on stderr about it. */
int run_conclude(struct run *run, int wait_status);

void run_done(struct run *run);

/* Whether events are printed where complaints are, errors and all. */
bool run_events_are_on_stderr(const struct run *run);

/* Whether there is a power button: it takes an interrupt, and so a local APIC, which a flat image
 * may have none of: then nor has it a console, nor keys. */
bool run_has_button(const struct run *run);

/* A signal that was read at `now_ns` asks for the end: the first burst of them presses the power
 * button, the second stops the VM, the third ends its process. */
void run_heed_signal(struct run *run, uint64_t now_ns);

/* Remembers a command of ours by its request id (0: it was not sent). */
void run_remember_own(struct run *run, uint64_t request_id);

/* A reply to nobody else: told to who pressed the key, or when it is a refusal of a command of
 * ours. A client of the control socket may have asked and left. */
void run_answer(struct run *run, const Axvm__V1__Reply *reply);

void run_send_console_size(struct run *run);
void run_write_event(struct run *run, const Axvm__V1__Event *event);
void run_show_progress(struct run *run, int64_t now_ms);
void run_clear_progress(struct run *run);

/* Says, the first time, that events could not be written to their file. */
void run_tell_lost_events(struct run *run);

#endif
