/* SPDX-License-Identifier: MIT */
/* Entry of a guest in C: RDI, RSI and RDX are as the shim left them, and so are the first three
 * arguments; the fourth is the stack pointer it gave. */
	.section .text.start, "ax"
	.globl start
start:
	mov	%rsp, %rcx
	call	guest_main
1:	hlt
	jmp	1b
	.section .note.GNU-stack, "", @progbits
