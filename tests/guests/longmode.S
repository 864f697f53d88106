/* SPDX-License-Identifier: MIT */
/* Loads a value that only 64-bit code can load, and halts. */
	.section .text.start, "ax"
	.globl start
start:
	movabs	$0xcafebabedeadbeef, %rax
1:	hlt
	jmp	1b
