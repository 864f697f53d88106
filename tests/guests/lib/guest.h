/* SPDX-License-Identifier: MIT */
/* What a bare-metal guest has in place of an operating system: instructions by name, and three ways
 * to say what it found, all of which end up in the registers of the terminal event. */
#ifndef AXVM_GUESTS_LIB_GUEST_H
#define AXVM_GUESTS_LIB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/layout.h"

/* RAX of a guest that found everything as it should be, and the upper half of RAX of one that did
 * not: the lower half is then the line of the check, RBX the value it saw. */
#define GUEST_PASS 0x600d600d600d600dULL
#define GUEST_FAIL 0x0bad0bad00000000ULL

/* What the test wrote into the image; zeroes otherwise. */
extern const uint64_t guest_numbers[2];

/* `index` of `count` vCPUs; bytes of RAM below 4 GiB; the stack's top. Returning halts. */
void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack);

/* What an interrupt's handler may call: all is built with -mgeneral-regs-only, and clang wants to
 * be told. */
#define FROM_HANDLER __attribute__((no_caller_saved_registers))

/* Loads the registers and halts with interrupts off, for good. */
static inline _Noreturn void guest_halt(uint64_t rax, uint64_t rbx)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : "a"(rax), "b"(rbx) : "memory");
}

/* Loads the registers and writes a byte to a register of the ACPI window: power off, reset. */
FROM_HANDLER static inline _Noreturn void guest_leave(uint32_t reg, uint8_t value, uint64_t rax,
                                                      uint64_t rbx)
{
	for (;;)
		__asm__ volatile("movb %%cl, (%%rdx)"
		                 :
		                 : "a"(rax), "b"(rbx), "c"(value),
		                   "d"((uint64_t)LAYOUT_ACPI_REGISTERS + reg)
		                 : "memory");
}

FROM_HANDLER static inline _Noreturn void guest_power_off(uint64_t rax, uint64_t rbx)
{
	guest_leave(ACPI_REG_SLEEP_CONTROL, ACPI_S5_TYPE << 2 | 0x20, rax, rbx);
}

/* Ends the guest unless `seen` is `wanted`. With local APICs HLT does not end a vCPU: such guests
 * define GUEST_HAS_APIC first, and end by power-off. */
#ifdef GUEST_HAS_APIC
#define guest_end guest_power_off
#else
#define guest_end guest_halt
#endif
/* The library's files define it, each a multiple of 1000 of its own, to be told from the guest. */
#ifndef GUEST_LINES
#define GUEST_LINES 0
#endif
#define check_equal(seen, wanted)                                                                  \
	do {                                                                                       \
		uint64_t seen_ = (uint64_t)(seen);                                                 \
		if (seen_ != (uint64_t)(wanted))                                                   \
			guest_end(GUEST_FAIL | (GUEST_LINES + __LINE__), seen_);                   \
	} while (0)
#define check(condition) check_equal(!!(condition), 1)
/* Waits for it, some seconds at most; RBX is then 0x71e (time). What is done meanwhile is
 * GUEST_IDLE's. */
#ifndef GUEST_IDLE
#define GUEST_IDLE relax
#endif
#define await(condition)                                                                           \
	do {                                                                                       \
		uint64_t until_ = rdtsc() + guest_patience();                                      \
		while (!(condition)) {                                                             \
			if (rdtsc() > until_)                                                      \
				guest_end(GUEST_FAIL | (GUEST_LINES + __LINE__), 0x71e);           \
			GUEST_IDLE();                                                              \
		}                                                                                  \
	} while (0)

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

FROM_HANDLER static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
	return value;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "d"(port));
	return value;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
	return value;
}

#define GUEST_MMIO(bits)                                                                           \
	FROM_HANDLER static inline uint##bits##_t read##bits(uint64_t address)                     \
	{                                                                                          \
		return *(volatile uint##bits##_t *)address;                                        \
	}                                                                                          \
	static inline void write##bits(uint64_t address, uint##bits##_t value)                     \
	{                                                                                          \
		*(volatile uint##bits##_t *)address = value;                                       \
	}
GUEST_MMIO(8)
GUEST_MMIO(16)
GUEST_MMIO(32)
GUEST_MMIO(64)

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

FROM_HANDLER static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
	                 :
	                 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
	                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
	                 : "a"(leaf), "c"(subleaf));
	return r;
}

/* About a minute in ticks of the TSC, by the hypervisor's leaf. */
static inline uint64_t guest_patience(void)
{
	uint64_t khz = cpuid(0x40000000, 0).eax >= 0x40000010 ? cpuid(0x40000010, 0).eax : 0;

	return (khz ? khz : 3000000) * 60000;
}

/* The body of a loop that waits for memory to change. No PAUSE: each would make the emulated test
 * host look at all its CPUs, and its time crawl (hack/README.md). */
static inline void relax(void)
{
	__asm__ volatile("" : : : "memory");
}

#endif
