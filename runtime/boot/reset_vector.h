/* SPDX-License-Identifier: MIT */
/* The machine's whole firmware: a reset, where a PC's BIOS would start. */
#ifndef AXVM_BOOT_RESET_VECTOR_H
#define AXVM_BOOT_RESET_VECTOR_H

#include "guest/memory.h"

/* Puts a few bytes of real-mode code at F000:FFF0 that write ACPI_RESET_VALUE to LAYOUT_PORT_RESET.
 * -EFAULT when there is no RAM. Not to be called once vCPUs run. */
int boot_write_reset_vector(const struct guest_memory *memory);

#endif
