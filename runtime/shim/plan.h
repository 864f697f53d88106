/* SPDX-License-Identifier: MIT */
/* The plan of a launch: all that follows from the spec, the profile and the host's facts.
 *
 * A launch carries out this plan and `axvm plan` prints it: one code for both. Same spec and facts,
 * same plan, to the byte. */
#ifndef AXVM_SHIM_PLAN_H
#define AXVM_SHIM_PLAN_H

#include "host/profile.h"
#include "shim/plan_state.h"

struct shim;

/* Who runs where: fills in shim->placement, shim->topology and the vCPUs' numbers, APIC ids and
 * host CPUs. Looks how many huge pages are free, where the spec asks for them and the facts do not
 * say. -errno with problems when the spec's wishes cannot be met here. */
int plan_machine(struct shim *shim);

/* After plan_machine(), where the spec has claims and shim->claims are open: the CPUs that are free
 * among the host's VMs, claimed, or only looked at where those claims do that. Changes
 * shim->placement and the vCPUs' host CPUs, and nothing of what the guest sees. -errno with
 * problems, and the plan as it was. */
int plan_claim(struct shim *shim);

/* The host CPUs that a vCPU's and an I/O thread is bound to: one, or those of its node. Returns
 * `ret`. */
const struct cpu_bitmap *plan_vcpu_cpus(const struct shim *shim, uint32_t vcpu,
                                        struct cpu_bitmap *ret);
const struct cpu_bitmap *plan_io_cpus(const struct shim *shim, uint32_t io, struct cpu_bitmap *ret);

/* Those of the control thread of a VM that is pinned: its I/O threads', or without one its first
 * vCPU's. */
const struct cpu_bitmap *plan_control_cpus(const struct shim *shim, struct cpu_bitmap *ret);

/* After plan_machine(): what the guest sees. Fills in shim->plan, shim->cpuid_config and
 * shim->cpuid, from the spec, the profile and shim->facts, of which kvm.tsc_khz and
 * kvm.guest_leaves count. -errno with problems. Pure but for that. */
int plan_guest(struct shim *shim);

/* The part of plan_guest() for which KVM need not be there: all but CPUID, and with it the
 * digest. */
int plan_without_kvm(struct shim *shim);

/* Whether the machine that was built is the one of the plan. -EBADMSG with a ERROR_CODE_INTERNAL if
 * not. */
int plan_check(struct shim *shim);

/* What the spec asks of the profile: which of its tenancies. */
enum axvm_tenancy plan_tenancy(const struct shim *shim);
const struct profile_tenancy_tuning *plan_tuning(const struct shim *shim);

#endif
