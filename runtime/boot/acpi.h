/* SPDX-License-Identifier: MIT */
/* ACPI tables: hardware-reduced, for the machine that guest/layout.h describes. */
#ifndef AXVM_BOOT_ACPI_H
#define AXVM_BOOT_ACPI_H

#include "base/base.h"
#include "base/problem.h"
#include "guest/layout.h"
#include "guest/memory.h"

#define ACPI_TABLES_MAX 8

struct acpi_cpu {
	uint32_t apic_id; /* unique; 255 and above need x2APIC, 0xffffffff is no id */
	uint32_t node;    /* below `nodes` */
};

struct acpi_config {
	const struct acpi_cpu *cpus; /* borrowed; the first is the one that boots */
	size_t cpu_count;            /* at least 1 */
	size_t nodes; /* 1 to GUEST_NODES_MAX; the regions of memory name their nodes */
	/* SLIT, nodes * nodes, row by row: 10 on the diagonal, 11 to 254 elsewhere (255:
	 * unreachable). NULL: 20 elsewhere. */
	const uint8_t *distances;
};

/* The bytes for LAYOUT_ACPI, and the tables in them. The RSDP is at the start. */
struct acpi_image {
	uint8_t bytes[LAYOUT_ACPI_SIZE];
	size_t used;
	size_t count;
	struct acpi_image_table {
		char signature[5];
		uint32_t offset, length;
	} tables[ACPI_TABLES_MAX];
};

/* Makes RSDP, XSDT, FADT, MADT, MCFG, SRAT, SLIT and DSDT for LAYOUT_ACPI; it reads only the layout
 * of `memory`. The same input gives the same bytes. 0, or -errno and a problem: the tables do not
 * fit LAYOUT_ACPI_SIZE, there is no RAM there, or the config contradicts itself
 * (ERROR_CODE_INTERNAL: the caller has validated the spec). Pure. ACPI 6.5 §5.2. */
int acpi_build(const struct acpi_config *config, const struct guest_memory *memory,
               struct problems *problems, struct acpi_image *ret);

#endif
