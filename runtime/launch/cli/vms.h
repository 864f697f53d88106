/* SPDX-License-Identifier: MIT */
/* The VMs that run here, for `axvm top` and `axvm host`: a VM is a control socket at which somebody
 * listens. */
#ifndef AXVM_CLI_VMS_H
#define AXVM_CLI_VMS_H

#include <stdio.h>

#include "host/cpulist.h"
#include "launch/cli/sockets.h"

#define VM_ID_MAX 65

#define VMS_PATIENCE_MS 500 /* for a listener that accepts nobody */

/* What was met besides the VMs that were found. */
struct vms_beside {
	/* a folder that this user may not read; NULL: none */
	const char *barred;
	size_t others; /* sockets that this user may not connect to */
	/* Other sockets that could not be asked although a process may listen there, and the errno
	 * of the last of them. */
	size_t not_asked;
	int not_asked_error;
};

/* Returns 0, or -errno if the VM could not be asked. `client` is NULL for a VM whose socket listens
 * but accepts nobody. */
typedef int vms_found(void *context, const char *id, struct client *client);

/* Calls `found` for each VM, in no order, with a client that is closed afterwards. The id is the
 * part before ".sock", cut at VM_ID_MAX. A socket that a killed VM left behind does not count. */
void vms_each(const struct sockets_places *places, vms_found *found, void *context,
              struct vms_beside *ret_beside);

/* Prints lines for a person about what was met besides. Returns the number of lines. */
size_t vms_print_beside(FILE *out, const struct vms_beside *beside);

/* The VM's own process: the first child of the process at the other end. -1: not found. */
pid_t vms_shim(const struct client *client);

/* Reads the first line of /proc/PID/FILE. False if it cannot be read. */
bool vms_read_line(pid_t pid, const char *file, char *to, size_t size);

/* The CPUs on which the vCPU and I/O threads of a VM's process may run: those of threads bound to
 * one CPU, and those of the others. The kernel is asked, not the VM. -errno if the process has
 * ended or may not be read. */
struct vm_threads {
	struct cpu_bitmap pinned, free; /* `free`: of threads bound to several CPUs */
};
int vms_threads(pid_t pid, struct vm_threads *ret);

#endif
