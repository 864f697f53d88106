/* SPDX-License-Identifier: MIT */
/* An instruction on a device address that no emulator of KVM's knows (POPCNT from memory): KVM
 * gives up. The bytes at RIP are f3 48 0f b8 0e. */
	.section .text.start, "ax"
	.globl start
start:
	movabs	$0x3535353535353535, %rax
	mov	$0xd0000000, %esi
	popcnt	(%rsi), %rcx
1:	hlt
	jmp	1b
	.section .note.GNU-stack, "", @progbits
