/* SPDX-License-Identifier: MIT */
/* An undefined instruction with no IDT: #UD, #DF, and the end. The bytes at RIP are 0f 0b, UD2. */
	.section .text.start, "ax"
	.globl start
start:
	movabs	$0x3333333333333333, %rax
	ud2
	.section .note.GNU-stack, "", @progbits
