/* SPDX-License-Identifier: MIT */
/* Computes for a while, then rests for ever: with a local APIC its CPU sleeps in HLT. For hosts full of VMs, of which an
 * emulated one could do nothing else if all went on. */
	.section .text.start, "ax"
	.globl start
start:
	mov	$2000000, %ecx
1:	dec	%ecx
	jnz	1b
2:	hlt
	jmp	2b
