/* SPDX-License-Identifier: MIT */
/* The descriptor and page tables a vCPU starts with. */
#ifndef AXVM_BOOT_LONG_MODE_H
#define AXVM_BOOT_LONG_MODE_H

#include "boot/boot.h"

/* Selectors in the GDT. The last two are what Linux calls __BOOT_CS and __BOOT_DS. */
#define BOOT_CODE32_SELECTOR 0x08
#define BOOT_CODE64_SELECTOR 0x10
#define BOOT_DATA_SELECTOR 0x18

/* Writes the GDT to LAYOUT_GDT and, for BOOT_LONG_MODE, the page tables to LAYOUT_PAGE_TABLES: the
 * first 4 GiB one to one, in 2 MiB pages, writable, supervisor. Sets mode, cr3, gdt_* and the
 * selectors of *entry, nothing else. Refuses when there is no RAM for them. */
int long_mode_write(enum boot_mode mode, const struct guest_memory *memory,
                    struct problems *problems, struct boot_entry *entry);

#endif
