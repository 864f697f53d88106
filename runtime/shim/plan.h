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

/* Decides where threads and memory go: fills in shim->placement, shim->topology and the vCPUs'
 * numbers, APIC ids and host CPUs. Reads the number of free huge pages if the spec asks for them
 * and the facts lack it. -errno with problems if this host cannot meet the spec. */
int plan_machine(struct shim *shim);

/* After plan_machine(), if the spec has claims and shim->claims is open: takes CPUs that other VMs
 * have not claimed, and claims them, unless the claims are opened only to look. Changes
 * shim->placement and the vCPUs' host CPUs, and nothing that the guest sees. -errno with problems;
 * the plan is unchanged then. */
int plan_claim(struct shim *shim);

/* The host CPUs that a vCPU's and an I/O thread is bound to: one, or those of its node. Returns
 * `ret`. */
const struct cpu_bitmap *plan_vcpu_cpus(const struct shim *shim, uint32_t vcpu,
                                        struct cpu_bitmap *ret);
const struct cpu_bitmap *plan_io_cpus(const struct shim *shim, uint32_t io, struct cpu_bitmap *ret);

/* The CPUs of a pinned VM's control thread: those of its I/O threads, or without one that of its
 * first vCPU. */
const struct cpu_bitmap *plan_control_cpus(const struct shim *shim, struct cpu_bitmap *ret);

/* After plan_machine(): decides what the guest sees. Fills in shim->plan, shim->cpuid_config and
 * shim->cpuid from the spec, the profile and shim->facts (kvm.tsc_khz, kvm.guest_leaves). -errno
 * with problems. Otherwise pure. */
int plan_guest(struct shim *shim);

/* The part of plan_guest() that needs no KVM: everything but CPUID and the digest. */
int plan_without_kvm(struct shim *shim);

/* Checks that the machine that was built is the planned one. -EBADMSG with an ERROR_CODE_INTERNAL
 * if not. */
int plan_check(struct shim *shim);

/* The tenancy that the spec asks for. */
enum axvm_tenancy plan_tenancy(const struct shim *shim);
const struct profile_tenancy_tuning *plan_tuning(const struct shim *shim);

#endif
