/* SPDX-License-Identifier: MIT */
/* The files that `axvm run` writes for a person: events and metrics. */
#ifndef AXVM_CLI_RUN_OUTPUTS_H
#define AXVM_CLI_RUN_OUTPUTS_H

struct run;

/* Opens the events' file and checks the path of the metrics, before there is a VM. Neither may be a
 * file that the VM uses: its kernel, a disk's image, the spec. 0, or the exit status after a
 * message on stderr; nothing is written then. */
int run_open_outputs(struct run *run);

/* Truncates the events' file, once the shim runs. 0, or the exit status as above. */
int run_empty_outputs(struct run *run);

#endif
