/* SPDX-License-Identifier: MIT */
/* Descriptor and page tables for entry in 64-bit or in flat 32-bit mode.
 *
 * SDM 3A §3.4.5 (segment descriptors), §4.5 (4-level paging). Pages are 2 MiB, since not every
 * host offers 1 GiB pages; accessed and dirty are set beforehand, so that the processor writes
 * nothing. */
#include "boot/long_mode.h"

#include <assert.h>

#include "boot/image.h"
#include "guest/layout.h"

#define PAGE 4096u
#define ENTRIES (PAGE / sizeof(uint64_t))
#define DIRECTORIES 4 /* a directory maps 1 GiB */

#define PTE_PRESENT (1ULL << 0)
#define PTE_WRITABLE (1ULL << 1)
#define PTE_ACCESSED (1ULL << 5)
#define PTE_DIRTY (1ULL << 6)
#define PTE_LARGE (1ULL << 7)
#define PTE_TABLE (PTE_PRESENT | PTE_WRITABLE | PTE_ACCESSED)
#define PTE_PAGE (PTE_TABLE | PTE_DIRTY | PTE_LARGE)

#define PML4 LAYOUT_PAGE_TABLES
#define PDPT (PML4 + PAGE)
#define DIRECTORY (PDPT + PAGE)

static_assert(DIRECTORY + DIRECTORIES * PAGE <= LAYOUT_FLAT_STACKS,
              "page tables end below the stacks");
static_assert(LAYOUT_PAGE_TABLES % PAGE == 0, "CR3 holds a page frame");

/* Base 0, limit 4 GiB, present, accessed. */
static const uint64_t gdt[] = {
	[BOOT_CODE32_SELECTOR / 8] = 0x00cf9b000000ffff, /* execute/read, D */
	[BOOT_CODE64_SELECTOR / 8] = 0x00af9b000000ffff, /* execute/read, L */
	[BOOT_DATA_SELECTOR / 8] = 0x00cf93000000ffff,   /* read/write, B */
};
static_assert(LAYOUT_GDT + sizeof(gdt) <= LAYOUT_PVH_START_INFO, "the GDT has its place");

static int write_page_tables(const struct guest_memory *memory, struct problems *problems)
{
	uint64_t table[ENTRIES] = { PDPT | PTE_TABLE };
	int r;

	r = boot_place(memory, GPA(PML4), table, sizeof(table), "page tables", problems);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		table[i] = (DIRECTORY + i * PAGE) | PTE_TABLE;
	r = boot_place(memory, GPA(PDPT), table, sizeof(table), "page tables", problems);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < DIRECTORIES; i++) {
		for (uint64_t j = 0; j < ENTRIES; j++)
			table[j] = (i * ENTRIES + j) * 2 * MIB | PTE_PAGE;
		r = boot_place(memory, GPA(DIRECTORY + i * PAGE), table, sizeof(table),
		               "page tables", problems);
		if (r < 0)
			return r;
	}
	return 0;
}

int long_mode_write(enum boot_mode mode, const struct guest_memory *memory,
                    struct problems *problems, struct boot_entry *entry)
{
	bool wide = mode == BOOT_LONG_MODE;
	int r;

	r = boot_place(memory, GPA(LAYOUT_GDT), gdt, sizeof(gdt), "descriptor table", problems);
	if (r < 0)
		return r;
	if (wide) {
		r = write_page_tables(memory, problems);
		if (r < 0)
			return r;
	}
	entry->mode = mode;
	entry->cr3 = wide ? PML4 : 0;
	entry->gdt_base = LAYOUT_GDT;
	entry->gdt_limit = sizeof(gdt) - 1;
	entry->code_selector = wide ? BOOT_CODE64_SELECTOR : BOOT_CODE32_SELECTOR;
	entry->data_selector = BOOT_DATA_SELECTOR;
	return 0;
}
