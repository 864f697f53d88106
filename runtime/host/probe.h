/* SPDX-License-Identifier: MIT */
/* The parts of facts_probe(). For runtime/host only. */
#ifndef AXVM_HOST_PROBE_H
#define AXVM_HOST_PROBE_H

#include "host/cpulist.h"
#include "host/facts.h"

#include <sys/types.h>

/* Reads a small file below root, NUL-terminated and without its last newline; the path is a format.
 * Returns its length, or -errno. */
ssize_t root_read(const char *root, char *buffer, size_t size, const char *format, ...)
	_printf_(4, 5);

/* /proc/cpuinfo: one entry of facts->cpus for each online CPU, flags and vmx flags. */
int probe_cpuinfo(struct host_facts *facts, const char *root);
/* Which CPUs and nodes this process may use; a set that is not `limited` could not be read. It
 * reads /proc/self/status below another root, and if the kernel does not answer directly (a
 * container denies get_mempolicy(2)). */
struct probe_allowed {
	bool cpus_limited, nodes_limited;
	struct cpu_bitmap cpus, nodes;
};
void probe_allowed(const char *root, struct probe_allowed *ret);
/* Reads which CPUs are present but offline, and the affinity. */
void probe_cpus(struct host_facts *facts, const char *root, const struct probe_allowed *allowed);
/* Reads siblings from the kernel's thread_siblings_list, one file a core. */
void probe_topology(struct host_facts *facts, const char *root);
/* `huge`: huge pages and their number as well. */
void probe_nodes(struct host_facts *facts, const char *root, const struct probe_allowed *allowed,
                 bool huge);
void probe_vulnerabilities(struct host_facts *facts, const char *root);
void probe_kvm_parameters(struct host_facts *facts, const char *root, bool all);
/* /dev/kvm of this machine. `all`: each extension by name as well. A launch leaves that out and
 * asks for those that it needs (machine/kvm.c). */
void probe_kvm(struct host_facts *facts, bool all);

/* The offers that one system call can test: io_uring, memory policy. */
void probe_offers(struct host_facts *facts);

/* CPUID on the CPU that the caller runs on; `few`: only the leaves that admission needs. */
void probe_cpuid_here(struct host_cpu *cpu, bool few);
/* CPUID on every online CPU that the affinity or /dev/cpu/N/cpuid reaches. */
void probe_cpuid_everywhere(struct host_facts *facts);
/* VMX capability MSRs and the x2APIC mode, through /dev/cpu/N/msr of an online CPU. */
void probe_msrs(struct host_facts *facts);

/* Takes brand, vendor and signature from the leaves, unless the kernel has given them. Never the
 * APIC id: see host_cpu_leaf_apic_id(). */
void host_cpu_decode(struct host_cpu *cpu);
/* The APIC id in the leaves, which is the processor's; in a virtual machine the kernel's may
 * differ. */
uint32_t host_cpu_leaf_apic_id(const struct host_cpu *cpu);
/* Derives facts->vmx from MSRs and flags, and hypervisor from leaves. Call it again when those
 * change. */
void facts_decode(struct host_facts *facts);
/* SMT siblings from package and core numbers, for CPUs without a list of the kernel's. */
void facts_derive_siblings(struct host_facts *facts);

#endif
