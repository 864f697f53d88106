/* SPDX-License-Identifier: MIT */
/* The smallest guest that axvm-shim and QEMU both boot: an ELF with a PVH note (Xen's
 * XEN_ELFNOTE_PHYS32_ENTRY), entered in 32-bit protected mode. It ends by a triple fault, the one
 * end that needs no device of either. */
	.code32
	.text
	.globl	start
start:
	lidt	no_idt
	ud2
no_idt:
	.word	0
	.long	0

	.section .note.Xen, "a", @note
	.align	4
	.long	4, 4, 18
	.asciz	"Xen"
	.long	start
	.section .note.GNU-stack, "", @progbits
