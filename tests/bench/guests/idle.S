/* SPDX-License-Identifier: MIT */
/* Waits for ever for an interrupt that does not come: with local APICs, HLT stays in the kernel. */
	.section .text.start, "ax"
	.globl start
start:
	cli
1:	hlt
	jmp	1b
	.section .note.GNU-stack, "", @progbits
