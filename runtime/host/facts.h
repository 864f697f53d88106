/* SPDX-License-Identifier: MIT */
/* What this host is: processors, VMX, NUMA nodes, KVM. Facts are read once and do not change after
 * that. The struct is bounded and large (2.3 MiB of address space); zeroed by facts_new(), it costs
 * only the pages of CPUs that exist. */
#ifndef AXVM_HOST_FACTS_H
#define AXVM_HOST_FACTS_H

#include "host/facts_kvm.h"

enum {
	FACTS_CPUS_MAX = 1024,
	FACTS_NODES_MAX = 1024,     /* as many as Linux has on x86-64 (NODES_SHIFT) */
	FACTS_LEAVES_MAX = 44,      /* of a CPU */
	FACTS_SIBLINGS_MAX = 8,     /* threads of a core */
	FACTS_OFFER_TEXT_MAX = 320, /* bytes, of what an offer or facts_lacking() says */
	FACTS_HUGE_SIZES_MAX = 4,   /* sizes of huge pages */
	FACTS_VULNERABILITIES_MAX = 40,
	FACTS_FLAGS_MAX = 4096, /* bytes of a row of flags */
	FACTS_OFFERS_MAX = 8,
};

struct host_cpu {
	uint32_t id;
	int32_t node; /* id of its node, -1: unknown */
	int32_t package, core;
	bool online;
	bool allowed;                          /* affinity and cpuset of the probing process */
	uint16_t siblings[FACTS_SIBLINGS_MAX]; /* hardware threads of its core, itself too,
	                                          ascending */
	uint8_t sibling_count;
	uint8_t leaf_count; /* 0: CPUID was not run there */
	uint32_t apic_id;
	uint32_t microcode; /* revision, 0: unknown */
	uint32_t family, model, stepping;
	uint64_t flags_hash; /* of its own /proc/cpuinfo flags, 0: unknown */
	char vendor[13];
	char brand[49]; /* without spaces at its ends */
	struct cpuid_leaf leaves[FACTS_LEAVES_MAX];
};

struct host_node {
	uint32_t id;
	bool allowed; /* cpuset's mems */
	uint64_t memory_mib;
	uint64_t free_mib; /* available as ordinary pages (host/meminfo.h) */
	uint8_t huge_count;
	/* ascending by size */
	struct host_huge_pages {
		uint64_t size_kib, total, free;
	} huge[FACTS_HUGE_SIZES_MAX];
};

#define VMX_MSR_FIRST 0x480u
#define VMX_MSR_COUNT 18u
/* Capabilities of VMX: from the MSRs where those could be read, else from the kernel's flags. */
struct host_vmx {
	uint32_t msr_mask; /* bit i: msrs[i], MSR 0x480 + i, was read */
	uint64_t msrs[VMX_MSR_COUNT];
	bool ept, ept_ad, ept_2m, ept_1g, vpid;
	bool apic_register_virtualization, virtual_interrupt_delivery, posted_interrupts;
	bool virtualize_x2apic, tsc_scaling, unrestricted_guest, pause_loop_exiting;
};

/* A kernel feature beside KVM that a VM needs, and that the kernel, a sysctl or the process's
 * starter may deny. */
struct host_offer {
	char name[24]; /* "io_uring", "namespaces", "root_mount", "memory_policy" */
	bool available;
	/* every launch without it is refused; else at most one whose spec asks for it */
	bool required;
	int error_number;
	char message[FACTS_OFFER_TEXT_MAX]; /* what, why, what to do; "" when available */
};

struct host_facts {
	bool quick;         /* read by facts_probe_quick() */
	bool hypervisor;    /* runs in a virtual machine itself */
	bool too_many_cpus; /* some are not here: their numbers are beyond FACTS_CPUS_MAX */
	char hypervisor_vendor[13];
	char x2apic_enabled; /* 'y', 'n', or 0: could not be read */
	char kernel_release[65];
	char flags[FACTS_FLAGS_MAX];     /* common to every CPU: " fpu vme … " */
	char vmx_flags[FACTS_FLAGS_MAX]; /* likewise */
	struct host_vmx vmx;
	struct host_kvm kvm;
	size_t offer_count; /* 0: not asked, by a quick probe */
	struct host_offer offers[FACTS_OFFERS_MAX];
	size_t vulnerability_count, node_count, cpu_count;
	struct host_named vulnerabilities[FACTS_VULNERABILITIES_MAX];
	struct host_node nodes[FACTS_NODES_MAX];             /* ascending by id */
	uint8_t distances[FACTS_NODES_MAX][FACTS_NODES_MAX]; /* by position in nodes; 0: unknown */
	struct host_cpu cpus[FACTS_CPUS_MAX];                /* ascending by id */
};

/* Zeroed facts, or NULL; free() them. */
struct host_facts *facts_new(void);
/* Reads everything: CPUID on every CPU (from a thread of its own), MSRs, NUMA, KVM, mitigations,
 * offers. `facts` comes from facts_new(). `root` replaces "/" for /proc and /sys; unless it is ""
 * or NULL, neither CPUID nor any device is asked. Values that cannot be read stay unknown. -ENODEV:
 * no CPU at all; -E2BIG: more than there is room for. Takes milliseconds. */
int facts_probe(struct host_facts *facts, const char *root);

/* Why a probe failed and what to do, static. */
const char *facts_error(int r);

/* Adds an offer; if the array is full, it is left out. `message` NULL: available. */
void facts_add_offer(struct host_facts *facts, const char *name, bool required, int error_number,
                     const char *message);
/* A sentence that says what is lacking and what to do: KVM first, then each offer that a launch
 * requires. NULL when there is no i-th one. `out` is for its use. */
const char *facts_lacking(const struct host_facts *facts, size_t i, char *out, size_t size);

/* What a launch needs: CPUID on the calling CPU only, /proc/cpuinfo for the others, nodes, KVM,
 * vulnerabilities. */
int facts_probe_quick(struct host_facts *facts, const char *root);

/* Reads again what changes while a host runs: which CPUs and nodes the process may use, how much
 * memory is free, and the kernel's mitigations. `facts` come from facts_probe_quick(), with the
 * same root. -ESTALE: a CPU or a node has come or gone, so probe again. */
int facts_refresh(struct host_facts *facts, const char *root);

/* Reads the pools of huge pages, which a quick probe leaves out. */
void facts_probe_huge(struct host_facts *facts, const char *root);
/* MiB of a node that are available as pages of `page_kib`; 4: ordinary pages. */
uint64_t host_node_room_mib(const struct host_node *node, uint64_t page_kib);

/* NULL when there is none such. */
const struct host_cpu *facts_cpu(const struct host_facts *facts, uint32_t id);
const struct host_node *facts_node(const struct host_facts *facts, uint32_t id);
const struct cpuid_leaf *host_cpu_leaf(const struct host_cpu *cpu, uint32_t leaf, uint32_t subleaf);
/* What the kernel says of a vulnerability; NULL when it says nothing of it. */
const char *facts_vulnerability(const struct host_facts *facts, const char *name);
const char *facts_kvm_parameter(const struct host_facts *facts, const char *name);
/* 10 for a node to itself, the firmware's figure between others, 20 where that is unknown. */
uint32_t facts_distance(const struct host_facts *facts, uint32_t from, uint32_t to);
/* The first CPU that is online, with CPUID read if there is one; never NULL after a probe. */
const struct host_cpu *facts_reference_cpu(const struct host_facts *facts);
/* Whether the kernel says of a vulnerability that the host, or a guest's way into it, is open:
 * "Vulnerable" for the whole or for a part of it ("KVM: Vulnerable", "…; BHI: Vulnerable", "…; VMX:
 * vulnerable"). Not where it says "SMT vulnerable" only, which is of sibling threads, nor where it
 * does not know. */
bool facts_is_vulnerable(const char *state);
/* Whether " name " is one of `flags` or `vmx_flags`. */
bool flags_have(const char *flags, const char *name);

#endif
