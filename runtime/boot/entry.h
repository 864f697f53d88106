/* SPDX-License-Identifier: MIT */
/* Input and output of the loaders: a file, and the state in which a vCPU starts. */
#ifndef AXVM_BOOT_ENTRY_H
#define AXVM_BOOT_ENTRY_H

#include "base/base.h"
#include "base/problem.h"
#include "guest/memory.h"

enum boot_mode {
	/* 64-bit mode: CR0 = PE|PG, CR4 = PAE, EFER = LME|LMA, CR3 and the GDT as given. */
	BOOT_LONG_MODE,
	/* 32-bit protected mode, paging off: CR0 = PE, CR4 = 0, EFER = 0. */
	BOOT_PVH32,
};

/* The state in which a vCPU starts; registers not named here are zero. RFLAGS is 2: interrupts are
 * off. All segments are flat (base 0, limit 4 GiB); their selectors lie in the GDT, which is in
 * guest memory. TR must be a busy TSS of base 0 and limit 0x67 (PVH and VMX require it). */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsi; /* bzImage: boot_params */
	uint64_t rbx; /* PVH: hvm_start_info */
	uint64_t cr3; /* BOOT_LONG_MODE only */
	uint64_t gdt_base;
	uint16_t gdt_limit;
	uint16_t code_selector; /* 64-bit or 32-bit code, by mode */
	uint16_t data_selector; /* DS, ES, FS, GS, SS */
};

/* A file to load. The fd is borrowed and must be a regular file open for reading. It is read with
 * pread(2), so its offset does not matter. `field` is its path in the spec, for messages. */
struct boot_file {
	int fd; /* -1: none */
	const char *field;
};

#endif
