/* SPDX-License-Identifier: MIT */
/* Hosts to try admission, placement and topology on: recorded processors and made-up shapes. */
#ifndef AXVM_TESTS_HOST_FIXTURE_H
#define AXVM_TESTS_HOST_FIXTURE_H

#include "host/facts.h"

/* 2 × Xeon E5-2697 v2: 2 nodes, 24 cores, 48 CPUs. CPUID is as recorded from that machine; what
 * such a record does not hold is assumed: the kernel's flags that follow from it, VMX MSRs equal to
 * those recorded from the Core i7 of the same die but for APIC-register virtualization and
 * virtual-interrupt delivery, which Intel's datasheet gives the Xeon (E5 v2, volume 1, 3.1.2,
 * "APICv"), 64 GiB a node, distance 21, kvm_intel with ept=Y, and of vulnerabilities what Linux 6.1
 * says of that processor with SMT, its last microcode and default options. */
struct host_facts *fixture_e5_2697_v2(void);
/* Core i7-4930K: the same signature, 12 CPUs, CPUID and VMX MSRs as recorded. */
struct host_facts *fixture_i7_4930k(void);
/* 2 × Xeon E5-2660 v3 (Haswell-EP): CPUID and VMX MSRs as recorded. */
struct host_facts *fixture_e5_2660_v3(void);

/* What CPUID says on a virtual machine that does not intercept it: each CPU gets the leaves of the
 * Xeon E5-2697 v2, with the APIC ids 229, 170, 229, 170 … of whatever processors it happened to run
 * on; without leaf 0xB unless `leaf_b`. Decoded as by a probe. */
void fixture_foreign_cpuid(struct host_facts *facts, bool leaf_b);

/* A bare shape: CPUs numbered as Linux does on Intel (first threads of all cores, then the
 * second). */
struct host_facts *fixture_shape(uint32_t nodes, uint32_t cores_per_node, uint32_t threads);

void fixture_add_flag(char *flags, const char *name);
/* What the kernel says of a vulnerability; NULL: nothing any more. */
void fixture_set_vulnerability(struct host_facts *facts, const char *name, const char *state);
void fixture_remove_flag(char *flags, const char *name);
struct cpuid_leaf *fixture_leaf(struct host_cpu *cpu, uint32_t leaf, uint32_t subleaf);

/* KVM gives its guests what CPU 0 has, and its own leaf with all of its features: a host that a
 * launch can be planned on. */
void fixture_guest_leaves(struct host_facts *facts);

/* A directory of its own that takes files, for probes below a root. fixture_tree_done() removes
 * it. */
struct fixture_tree {
	char root[64];
};

void fixture_tree_new(struct fixture_tree *tree);
void fixture_tree_write(const struct fixture_tree *tree, const char *path, const char *format, ...)
	_printf_(3, 4);
void fixture_tree_done(struct fixture_tree *tree);

#endif
