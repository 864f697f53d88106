/* SPDX-License-Identifier: MIT */
/* Entry of a guest that any monitor starts by the PVH protocol (XEN_ELFNOTE_PHYS32_ENTRY): 32-bit protected mode
 * without paging, EBX is the start info (Xen, docs/misc/pvh.pandoc). Goes on to long mode with the first 4 GiB one to
 * one, and calls guest_main as the flat images do, but with the start info's address as its first argument. */
#define PAGES 2048 /* of 2 MiB */
#define PRESENT_WRITABLE 3
#define LARGE 0x80
#define MSR_EFER 0xc0000080

	.code32
	.section .text.start, "ax"
	.globl	start
start:
	cli
	mov	%ebx, %edi
	mov	$stack_end, %esp
	/* No entry of the upper halves is needed: what memory holds at the start is zeroes. */
	movl	$(pdpt + PRESENT_WRITABLE), portable_pml4
	mov	$(directories + PRESENT_WRITABLE), %eax
	mov	$pdpt, %edx
	mov	$4, %ecx
1:	mov	%eax, (%edx)
	add	$4096, %eax
	add	$8, %edx
	loop	1b
	mov	$(PRESENT_WRITABLE + LARGE), %eax
	mov	$directories, %edx
	mov	$PAGES, %ecx
2:	mov	%eax, (%edx)
	add	$0x200000, %eax
	add	$8, %edx
	loop	2b
	mov	$portable_pml4, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x20, %eax	/* PAE */
	mov	%eax, %cr4
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$0x100, %eax	/* LME */
	wrmsr
	lgdt	pointer
	mov	%cr0, %eax
	or	$0x80000000, %eax	/* PG */
	mov	%eax, %cr0
	ljmp	$8, $3f
	.code64
3:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%edi, %edi
	xor	%esi, %esi
	xor	%edx, %edx
	mov	%rsp, %rcx
	call	guest_main
4:	hlt
	jmp	4b

/* uint64_t portable_sleep(void): HLT with interrupts on until the vector of portable_wake comes; the TSC at the
 * handler's first instruction. The handler goes back by a jump: a KVM that emulates CPL 0 need not know IRET. */
	.globl	portable_sleep, portable_wake
portable_sleep:
	mov	%rsp, slept(%rip)
	sti
5:	hlt
	jmp	5b
portable_wake:
	rdtsc
	mov	slept(%rip), %rsp
	shl	$32, %rdx
	or	%rdx, %rax
	ret

	.data
	.balign	8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
pointer:
	.word	. - gdt - 1
	.long	gdt
	.balign	8
slept:	.quad	0

	.bss
	.balign	4096
	.globl	portable_pml4
portable_pml4:
	.skip	4096
pdpt:	.skip	4096
directories:
	.skip	4 * 4096
	.skip	16384
stack_end:

	.section .note.Xen, "a", @note
	.align	4
	.long	4, 4, 18
	.asciz	"Xen"
	.long	start
	.section .note.GNU-stack, "", @progbits
