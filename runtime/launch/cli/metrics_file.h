/* SPDX-License-Identifier: MIT */
/* Writes metrics in Prometheus' text format. */
#ifndef AXVM_CLI_METRICS_FILE_H
#define AXVM_CLI_METRICS_FILE_H

#include <stdio.h>
#include <sys/types.h>

#include "proto/axvm.pb-c.h"

/* Prints a report. Dots become underscores. A number between dots, and the part after "disk", "net"
 * or "stage", becomes a label that is named by the part before it: "vcpu.0.exits" is
 * axvm_vcpu_exits{vm="ID",vcpu="0"}. 0 or -ENOMEM. */
int metrics_print(FILE *out, const char *vm_id, const Axvm__V1__MetricsReport *report);

/* Whether metrics_file_write() would write to this path: 0 for nothing or a regular file, -EEXIST
 * for anything else (also a symbolic link), -errno if it cannot be known. */
int metrics_file_check(const char *path);

/* Replaces a file by a report, in one step. 0 or -errno, as above; the file is unchanged on
 * failure. */
int metrics_file_write(const char *path, const char *vm_id, const Axvm__V1__MetricsReport *report);

/* Identifies the file that was written last; zeroed: none. */
struct metrics_file {
	dev_t dev;
	ino_t ino;
};

/* The same, for a file that is written again and again. It writes, and then returns -EBUSY if
 * another process has replaced the file since the last time: two VMs with one file would hide each
 * other's metrics. */
int metrics_file_write_again(struct metrics_file *file, const char *path, const char *vm_id,
                             const Axvm__V1__MetricsReport *report);

/* An errno of these functions, positive, in words. */
const char *metrics_file_error(int error);

#endif
