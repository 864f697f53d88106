/* SPDX-License-Identifier: MIT */
/* The ACPI structures this machine uses, as they lie in memory. ACPI 6.5 §5.2. */
#ifndef AXVM_BOOT_ACPI_TABLES_H
#define AXVM_BOOT_ACPI_TABLES_H

#include <assert.h>
#include <stdint.h>

#define ACPI_PACKED __attribute__((packed))

struct acpi_rsdp { /* §5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} ACPI_PACKED;

struct acpi_header { /* §5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} ACPI_PACKED;

struct acpi_gas { /* §5.2.3.2 */
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} ACPI_PACKED;

struct acpi_fadt { /* §5.2.9 */
	struct acpi_header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved0;
	uint8_t preferred_profile;
	uint8_t legacy_registers[109 - 46]; /* fixed hardware, all absent */
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_gas reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_facs;
	uint64_t x_dsdt;
	struct acpi_gas x_legacy_registers[8];
	struct acpi_gas sleep_control;
	struct acpi_gas sleep_status;
	char hypervisor_vendor[8];
} ACPI_PACKED;
static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.5, table 5.9");

struct acpi_madt { /* §5.2.12 */
	struct acpi_header header;
	uint32_t local_apic;
	uint32_t flags;
} ACPI_PACKED;

struct acpi_madt_apic { /* type 0 */
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint8_t apic_id;
	uint32_t flags;
} ACPI_PACKED;

struct acpi_madt_io_apic { /* type 1 */
	uint8_t type;
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} ACPI_PACKED;

struct acpi_madt_nmi { /* type 4 */
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint16_t flags;
	uint8_t lint;
} ACPI_PACKED;

struct acpi_madt_x2apic { /* type 9 */
	uint8_t type;
	uint8_t length;
	uint16_t reserved;
	uint32_t apic_id;
	uint32_t flags;
	uint32_t uid;
} ACPI_PACKED;

struct acpi_madt_x2apic_nmi { /* type 10 */
	uint8_t type;
	uint8_t length;
	uint16_t flags;
	uint32_t uid;
	uint8_t lint;
	uint8_t reserved[3];
} ACPI_PACKED;

struct acpi_mcfg { /* PCI firmware specification 3.3 §4.1.2, one segment */
	struct acpi_header header;
	uint64_t reserved;
	uint64_t base;
	uint16_t segment;
	uint8_t bus_first;
	uint8_t bus_last;
	uint32_t reserved1;
} ACPI_PACKED;

struct acpi_srat { /* §5.2.16 */
	struct acpi_header header;
	uint32_t reserved1; /* 1 */
	uint64_t reserved;
} ACPI_PACKED;

struct acpi_srat_apic { /* type 0 */
	uint8_t type;
	uint8_t length;
	uint8_t domain_low;
	uint8_t apic_id;
	uint32_t flags;
	uint8_t sapic_eid;
	uint8_t domain_high[3];
	uint32_t clock_domain;
} ACPI_PACKED;

struct acpi_srat_memory { /* type 1 */
	uint8_t type;
	uint8_t length;
	uint32_t domain;
	uint16_t reserved;
	uint64_t base;
	uint64_t size;
	uint32_t reserved1;
	uint32_t flags;
	uint64_t reserved2;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_srat_memory) == 40, "ACPI 6.5, table 5.57");

struct acpi_srat_x2apic { /* type 2 */
	uint8_t type;
	uint8_t length;
	uint16_t reserved;
	uint32_t domain;
	uint32_t apic_id;
	uint32_t flags;
	uint32_t clock_domain;
	uint32_t reserved1;
} ACPI_PACKED;

struct acpi_slit { /* §5.2.17; the matrix follows */
	struct acpi_header header;
	uint64_t localities;
} ACPI_PACKED;

#endif
