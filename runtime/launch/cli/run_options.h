/* SPDX-License-Identifier: MIT */
/* The options of `axvm run`. */
#ifndef AXVM_CLI_RUN_OPTIONS_H
#define AXVM_CLI_RUN_OPTIONS_H

#include <stdio.h>

#include "launch/axvm.h"
#include "launch/cli/flags.h"
#include "proto/axvm.pb-c.h"

#define RUN_ID_MAX 64

enum events_format { EVENTS_NONE, EVENTS_TEXT, EVENTS_JSON, EVENTS_PB };

struct run_options {
	/* The spec as encoded fragments of a LaunchSpec, in the order of the flags, for
	 * spec_merge(). Owned. */
	uint8_t *fragments;
	size_t size;
	unsigned disks, nets;
	const char *first_spec_flag; /* the first flag that describes a VM */
	const char *of_kernel;       /* a flag that is for --kernel only */
	bool has_kernel, has_flat, has_boot, has_id, has_memory, no_console, early_console,
		has_claims, no_claims;
	uint64_t memory_mib;
	uint64_t node;
	bool has_node;

	enum events_format events;
	const char *spec_file;      /* NULL: the spec is from flags only */
	const char *events_file;    /* NULL: stderr */
	const char *metrics_file;   /* NULL: none */
	const char *control_socket; /* NULL: by the VM's id; "none" */
	const char *vsock_socket;   /* NULL: by the VM's id */
	const char *shim;           /* NULL: looked up */
	bool dry_run, quiet;

	/* The result; owned. */
	Axvm__V1__LaunchSpec *spec;
	bool from_flags;
};

/* Parses the command line; argv[0] is "run". 0, or the exit status after a message on stderr. Call
 * run_options_done() in both cases. */
int run_options_parse(struct run_options *options, int argc, char **argv);
void run_options_done(struct run_options *options);

/* For the flags (run_flags.c). Adds a fragment of the spec, in protobuf text, for --`flag`, which a
 * message about it names. 0, or the exit status after a message on stderr. */
int run_add(struct run_options *options, const char *flag, const char *format, ...) _printf_(3, 4);
/* Prints "axvm run: ..." to stderr. Returns EX_USAGE. */
int run_complain(const char *format, ...) _printf_(1, 2);

/* Removes the claims from a spec, for --no-claims, which also applies to a spec from a file. */
void run_drop_claims(Axvm__V1__LaunchSpec *spec);

/* Reads a ControlStream's launch: text if the name ends in .txtpb or .textproto, or the file begins
 * as text does, else binary; "-" is standard input. 0, or the exit status after a message on stderr
 * that begins with `who`. */
int spec_file_read(const char *who, const char *path, Axvm__V1__LaunchSpec **ret_spec);

/* Merges consecutive fragments of a LaunchSpec into one message: see spec_merge.c. *bytes is
 * malloc'ed memory, which it replaces. 0, -ENOMEM, -EBADMSG. */
int spec_merge(uint8_t **bytes, size_t *size);

/* Reads all of a file of at most AXVM_MESSAGE_MAX + 64 bytes; "-" is standard input. *ret is
 * malloc'ed. 0 or -errno (-EFBIG). */
int read_whole(const char *path, char **ret, size_t *ret_size);

#endif
