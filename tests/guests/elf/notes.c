/* SPDX-License-Identifier: MIT */
/* An ELF kernel as plain gcc and ld make it, with PVH's note among the notes that they put beside
 * it: the property note of -fcf-protection, aligned to 8 bytes, and the build id, of 36 bytes.
 * Switches itself off at its 32-bit entry (docs/misc/pvh.pandoc of Xen), with GUEST_PASS's halves
 * in EAX and EBX. */
#include <assert.h>

#include "guest/layout.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
/* clang's assembler takes no number with a suffix. */
#define SLEEP_CONTROL 0xfe000000
static_assert(SLEEP_CONTROL == LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_CONTROL, "");

__asm__(".code32\n"
        ".globl start\n"
        "start:	movl $0x600d600d, %eax\n"
        "	movl %eax, %ebx\n"
        "	movl $" TEXT(
		SLEEP_CONTROL) ", %edx\n"
                               "	movb $(" TEXT(
				       ACPI_S5_TYPE) " << 2 | 0x20), (%edx)\n"
                                                     "1:	hlt\n"
                                                     "	jmp 1b\n"
                                                     ".code64\n"
                                                     ".section .note.Xen, \"a\", @note\n"
                                                     "	.balign 4\n"
                                                     "	.long 4, 4, 18\n"
                                                     "	.asciz \"Xen\"\n"
                                                     "	.long start\n"
                                                     ".text\n");
