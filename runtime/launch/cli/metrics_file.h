/* SPDX-License-Identifier: MIT */
/* Metrics in Prometheus' text format. */
#ifndef AXVM_CLI_METRICS_FILE_H
#define AXVM_CLI_METRICS_FILE_H

#include <stdio.h>

#include "launch/axvm.h"

/* Prints a report. Dots become underscores; a number between dots, and what follows "disk", "net"
 * or "stage", becomes a label named like what is before it: "vcpu.0.exits.mmio" is
 * axvm_vcpu_exits_mmio{vm="ID",vcpu="0"}. 0 or -ENOMEM. */
int metrics_print(FILE *out, const char *vm_id, const Axvm__V1__MetricsReport *report);

/* Replaces a file by a report, in one step. 0 or -errno. */
int metrics_file_write(const char *path, const char *vm_id, const Axvm__V1__MetricsReport *report);

#endif
