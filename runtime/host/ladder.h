/* SPDX-License-Identifier: MIT */
/* The ladder: the CPUs of a plan, claimed among all VMs of the host. */
#ifndef AXVM_HOST_LADDER_H
#define AXVM_HOST_LADDER_H

#include "host/claims.h"
#include "host/placement.h"

/* Claims a CPU for each vCPU and I/O thread of a plan that placement_plan() has made of the same
 * facts and request, and puts them there: vCPUs and I/O threads of a SHARED VM each in the lowest
 * slot that is free, on the node's CPUs or on those of the pins; of a DEDICATED VM whole cores, for
 * as many vCPUs each as the plan's, with all their slots. Speaks for the memory of nodes that are
 * chosen here. With claims that only look, nothing is locked, and the plan is what a launch would
 * get now. What is claimed is the caller's to keep or to close.
 *
 * All reasons for a refusal are added to `problems`, with the CPUs that others have for themselves;
 * -errno then, and some may be claimed, so that the claims are to be closed. Takes what its calls
 * take: with 2,000 VMs on 40 CPUs some 2,000. */
int ladder_claim(struct claims *claims, const struct host_facts *facts,
                 const struct placement_request *request, struct placement *plan,
                 struct problems *problems);

#endif
