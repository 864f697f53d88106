/* SPDX-License-Identifier: MIT */
/* What `axvm run` was asked for. */
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
	const char *first_spec_flag; /* of those that describe a VM */
	const char *of_kernel;       /* a flag that is for --kernel only */
	bool has_kernel, has_flat, has_boot, has_id, has_memory, no_console, early_console,
		has_claims, no_claims;
	uint64_t memory_mib;
	uint64_t node;
	bool has_node;

	enum events_format events;
	const char *spec_file;      /* NULL: all of it is from flags */
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

/* argv[0] is "run". 0, or the exit status when stderr says what is wrong. In both cases
 * run_options_done() is due. */
int run_options_parse(struct run_options *options, int argc, char **argv);
void run_options_done(struct run_options *options);

/* --no-claims is of the VM, whatever describes it. */
void run_drop_claims(Axvm__V1__LaunchSpec *spec);

/* Reads a ControlStream's launch: text when the name ends in .txtpb or .textproto, else binary; "-"
 * is binary standard input. 0, or the exit status when stderr, after `who`, says what is wrong. */
int spec_file_read(const char *who, const char *path, Axvm__V1__LaunchSpec **ret_spec);

/* Makes fragments of a LaunchSpec that stand one after the other (in malloc'ed memory, which is
 * replaced) one message: see spec_merge.c. 0, -ENOMEM, -EBADMSG. */
int spec_merge(uint8_t **bytes, size_t *size);

/* Reads all of a file of at most AXVM_MESSAGE_MAX + 64 bytes; "-" is standard input. *ret is
 * malloc'ed. 0 or -errno (-EFBIG). */
int read_whole(const char *path, char **ret, size_t *ret_size);

#endif
