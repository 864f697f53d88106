/* SPDX-License-Identifier: MIT */
/* Who runs where: the spec and the host's facts turned into CPUs, nodes and APIC ids. */
#ifndef AXVM_SHIM_PLAN_H
#define AXVM_SHIM_PLAN_H

struct shim;

/* Fills in shim->placement, shim->topology and the vCPUs' numbers, APIC ids and host CPUs. -errno with
 * problems when the spec's wishes cannot be met here. Pure but for that: same spec and facts, same
 * plan. */
int plan_machine(struct shim *shim);

#endif
