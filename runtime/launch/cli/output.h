/* SPDX-License-Identifier: MIT */
/* The standard output of the command: what is lost of it is told once, for every verb. */
#ifndef AXVM_CLI_OUTPUT_H
#define AXVM_CLI_OUTPUT_H

#include <stdio.h>

struct output {
	FILE *file; /* to write to */
	int fd;     /* the destination; borrowed */
	int error;  /* errno of the write that failed, after which nothing is written; 0: none */
};

/* 0 or -errno. A closed `fd` is no error here; what is then written is lost. */
int output_open(struct output *output, int fd);
/* Writes what is still buffered, and closes the file. If anything is lost, stderr says so, except
 * for a reader that has gone away, and a `status` of 0 becomes EX_IOERR. Returns the status. */
int output_end(struct output *output, int status);

#endif
