/* SPDX-License-Identifier: MIT */
/* ACPI tables, read back from guest memory and held against what they were built from. */
#ifndef AXVM_TESTS_ACPI_PARSER_H
#define AXVM_TESTS_ACPI_PARSER_H

#include "boot/acpi.h"

/* What the parser makes of the tables. */
struct acpi_parsed {
	uint64_t fadt, madt, mcfg, srat, slit, dsdt; /* addresses */
	uint64_t end;                                /* the first byte after the last table */
};

/* Builds the tables and puts them where the guest finds them. What acpi_build() says. */
int acpi_put(const struct acpi_config *config, const struct guest_memory *memory,
             struct problems *problems, uint64_t *ret_rsdp);
/* Finds the tables; sums, signatures, order and bounds must be right. */
struct acpi_parsed acpi_parse(const struct guest_memory *memory, uint64_t rsdp);
/* Bytes of the table at `table`, as its header says. */
uint64_t acpi_length_of(const struct guest_memory *memory, uint64_t table);
/* Builds tables and checks all that they say against `config` and the nodes' sizes. */
void acpi_check(const struct acpi_config *config, const struct guest_memory *memory,
                const uint64_t *node_sizes);

#endif
