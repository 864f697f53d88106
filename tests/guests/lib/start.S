/* SPDX-License-Identifier: MIT */
/* Entry of a guest in C: RDI, RSI and RDX are as the shim left them, and so are the first three
 * arguments; the fourth is the stack pointer it gave. Two numbers at byte 8 are for a test to fill in
 * (with_numbers in tests/system/lib.sh), so that one image can serve a table of cases. */
	.section .text.start, "ax"
	.globl start, guest_numbers
start:
	jmp	1f
	.balign	8
guest_numbers:
	.quad	0, 0
1:	mov	%rsp, %rcx
	call	guest_main
2:	hlt
	jmp	2b
	.section .note.GNU-stack, "", @progbits
