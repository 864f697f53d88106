/* SPDX-License-Identifier: MIT */
/* The VMs that run here, for `axvm top` and `axvm host`: a VM is a control socket at which somebody
 * listens. */
#ifndef AXVM_CLI_VMS_H
#define AXVM_CLI_VMS_H

#include <stdio.h>

#include "host/cpulist.h"
#include "launch/cli/sockets.h"

#define VM_ID_MAX 65

#define VMS_PATIENCE_MS 500 /* for who listens and takes nobody */

/* What was met and is not among those found. */
struct vms_beside {
	/* one of the places that may not be looked into, by its path there; NULL: none */
	const char *barred;
	size_t others; /* sockets that this user may not connect to */
	/* Other sockets that could not be asked though somebody may listen there, and why the last
	 * of them could not, an errno. */
	size_t not_asked;
	int not_asked_error;
};

/* 0, or -errno: then it was not asked. `client` is NULL for a VM that listens and takes nobody any
 * more. */
typedef int vms_found(void *context, const char *id, struct client *client);

/* Calls `found` for each of them, in no order, with a client that is closed afterwards. The id is
 * what stands before ".sock", cut at VM_ID_MAX. What a VM that was killed has left behind is
 * none. */
void vms_each(const struct sockets_places *places, vms_found *found, void *context,
              struct vms_beside *ret_beside);

/* What was met, in lines for a person; how many lines. */
size_t vms_print_beside(FILE *out, const struct vms_beside *beside);

/* The VM's own process: the first child of the one at the other end. -1 where there is none to be
 * found. */
pid_t vms_shim(const struct client *client);

/* The first line of /proc/PID/FILE. */
bool vms_read_line(pid_t pid, const char *file, char *to, size_t size);

/* On which CPUs the vCPU and I/O threads of a VM's process may run: those bound to one CPU, and the
 * others. By the kernel's word, not the VM's. -errno when the process has gone or may not be looked
 * at. */
struct vm_threads {
	struct cpu_bitmap pinned, free; /* `free`: of threads that are bound to several */
};
int vms_threads(pid_t pid, struct vm_threads *ret);

#endif
