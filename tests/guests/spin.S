/* SPDX-License-Identifier: MIT */
/* Never stops and never exits. */
	.section .text.start, "ax"
	.globl start
start:
	nop
	jmp	start
