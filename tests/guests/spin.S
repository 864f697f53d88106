/* SPDX-License-Identifier: MIT */
/* Never stops and never exits. Without PAUSE, at which the emulated test host would look at all its CPUs
 * (hack/README.md). */
	.section .text.start, "ax"
	.globl start
start:
	jmp	start
