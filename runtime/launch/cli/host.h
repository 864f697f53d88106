/* SPDX-License-Identifier: MIT */
/* `axvm host`: this host, and what its VMs use. */
#ifndef AXVM_CLI_HOST_H
#define AXVM_CLI_HOST_H

#include <stdio.h>

#include "host/claims.h"
#include "launch/cli/vms.h"

struct host_vm {
	char id[VM_ID_MAX];
	pid_t pid; /* of the shim; -1: not found */
	struct vm_threads threads;
};

struct host_use {
	struct host_facts *facts; /* owned */
	const char *folder;       /* of claims; NULL: none */
	int claims_error;         /* 0, or -errno: the claims are not known */
	/* the CPU whose file gave it; UINT32_MAX: the folder did */
	uint32_t error_cpu;
	struct claims_load loads[FACTS_CPUS_MAX]; /* by position in the facts */
	uint64_t claimed_mib[FACTS_NODES_MAX];
	struct host_vm *vms; /* owned, by id */
	size_t vm_count;
	struct sockets_places places; /* the folders of their sockets; `beside` points into it */
	struct vms_beside beside;
};

/* Prints a line for each core; cores with the same use share a line. */
void host_print(FILE *out, const struct host_use *use);
/* Prints an axvm.v1.HostUse. 0 or -ENOMEM. */
int host_print_json(FILE *out, const struct host_use *use);

/* Says in words why the claims are not known, and what to do. NUL-terminated; returns `to`. */
const char *host_claims_error(const struct host_use *use, char *to, size_t size);

int axvm_cmd_host(int argc, char **argv, FILE *out);
extern const struct flags host_flags;

#endif
