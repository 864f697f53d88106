/* SPDX-License-Identifier: MIT */
/* The ladder: the CPUs of a plan, claimed among all VMs of the host. */
#ifndef AXVM_HOST_LADDER_H
#define AXVM_HOST_LADDER_H

#include "host/claims.h"
#include "host/placement.h"

/* Claims a CPU for each vCPU and I/O thread of a plan that placement_plan() has made of the same
 * facts and request, and writes those CPUs into the plan. Each vCPU and I/O thread of a SHARED VM
 * gets the lowest free slot on the node's CPUs, or on those of the pins; a DEDICATED VM gets whole
 * cores with all their slots, and each core has as many vCPUs as in the plan. It also claims the
 * memory of nodes that it chooses. With claims that only look, nothing is locked, and the plan is
 * what a launch would get now. The caller keeps the claims or closes them.
 *
 * A refusal returns -errno and adds all its reasons to `problems`, with the CPUs that others own
 * exclusively. Some CPUs may be claimed then, so the caller must close the claims. The time is that
 * of its system calls: with 2,000 VMs on 40 CPUs some 2,000. */
int ladder_claim(struct claims *claims, const struct host_facts *facts,
                 const struct placement_request *request, struct placement *plan,
                 struct problems *problems);

#endif
