/* SPDX-License-Identifier: MIT */
/* Never stops, and does nothing: with a local APIC its CPU sleeps in HLT for ever. */
	.section .text.start, "ax"
	.globl start
start:
	hlt
	jmp	start
