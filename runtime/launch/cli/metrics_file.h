/* SPDX-License-Identifier: MIT */
/* Metrics in Prometheus' text format. */
#ifndef AXVM_CLI_METRICS_FILE_H
#define AXVM_CLI_METRICS_FILE_H

#include <stdio.h>
#include <sys/types.h>

#include "proto/axvm.pb-c.h"

/* Prints a report. Dots become underscores; a number between dots, and what follows "disk", "net"
 * or "stage", becomes a label named like what is before it: "vcpu.0.exits" is
 * axvm_vcpu_exits{vm="ID",vcpu="0"}. 0 or -ENOMEM. */
int metrics_print(FILE *out, const char *vm_id, const Axvm__V1__MetricsReport *report);

/* Whether metrics_file_write() would replace what is there: 0 for nothing or a regular file,
 * -EEXIST for anything else (a symbolic link is something else), -errno when it cannot be known. */
int metrics_file_check(const char *path);

/* Replaces a file by a report, in one step. 0 or -errno, as above; what it does not replace
 * stays. */
int metrics_file_write(const char *path, const char *vm_id, const Axvm__V1__MetricsReport *report);

/* The file that was written last; zeroed: none. */
struct metrics_file {
	dev_t dev;
	ino_t ino;
};

/* The same, as one of several times: -EBUSY, once it is done, where somebody else has replaced what
 * was written last. Two VMs with one file would each hide the other's metrics. */
int metrics_file_write_again(struct metrics_file *file, const char *path, const char *vm_id,
                             const Axvm__V1__MetricsReport *report);

/* An error of these, positive, in words. */
const char *metrics_file_error(int error);

#endif
