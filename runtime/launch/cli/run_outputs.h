/* SPDX-License-Identifier: MIT */
/* The files that `axvm run` writes for a person: events and metrics. */
#ifndef AXVM_CLI_RUN_OUTPUTS_H
#define AXVM_CLI_RUN_OUTPUTS_H

struct run;

/* Opens the events' file and looks at what the metrics would replace, before there is a VM. Neither
 * may be a file that the VM is made of: its kernel, a disk's image, the spec. 0, or the exit status
 * when stderr says what is wrong; nothing has been written to then. */
int run_open_outputs(struct run *run);

/* Once the shim runs: what was in the events' file goes. 0, or the exit status as above. */
int run_empty_outputs(struct run *run);

#endif
