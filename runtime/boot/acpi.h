/* SPDX-License-Identifier: MIT */
/* ACPI tables: hardware-reduced, for the machine that machine/layout.h describes. */
#ifndef AXVM_BOOT_ACPI_H
#define AXVM_BOOT_ACPI_H

#include "base/base.h"
#include "base/problem.h"
#include "machine/memory.h"

struct acpi_cpu {
	uint32_t apic_id; /* unique; 255 and above need x2APIC, 0xffffffff is no id */
	uint32_t node;    /* below `nodes` */
};

struct acpi_config {
	const struct acpi_cpu *cpus; /* borrowed; the first is the one that boots */
	size_t cpu_count;            /* at least 1 */
	size_t nodes;                /* 1 to GUEST_NODES_MAX; memory's regions say which is where */
	/* SLIT, nodes * nodes, row by row: 10 on the diagonal, 11 to 254 elsewhere (255: cannot be
	 * reached). NULL: 20 elsewhere. */
	const uint8_t *distances;
};

/* Writes RSDP, XSDT, FADT, MADT, MCFG, SRAT, SLIT and DSDT to LAYOUT_ACPI. The same input gives
 * the same bytes. 0, or -errno and a problem: the tables do not fit LAYOUT_ACPI_SIZE, there is
 * no RAM there, or the config contradicts itself (PROBLEM_INTERNAL: its makers have validated
 * the spec). Not to be called once vCPUs run. ACPI 6.5 §5.2. */
int acpi_build(const struct acpi_config *config, const struct guest_memory *memory,
               struct problems *problems, uint64_t *ret_rsdp);

#endif
