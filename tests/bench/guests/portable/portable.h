/* SPDX-License-Identifier: MIT */
/* For guests that run in any monitor that starts an ELF by PVH: numbers in by the command line,
 * results out by registers (AxVM) and by a serial port (others), and an end that each of them
 * understands. */
#ifndef AXVM_BENCH_PORTABLE_H
#define AXVM_BENCH_PORTABLE_H

#define GUEST_HAS_APIC
#include "lib/apic.h"

/* To be called first: `start_info` is guest_main's first argument. Masks the 8259s, and puts the
 * local APIC into x2APIC mode; ends the guest where the processor has none. */
void portable_begin(uint64_t start_info);

/* The number after "name=" on the command line; `otherwise` where there is none. */
uint64_t portable_option(const char *name, uint64_t otherwise);

/* A line "name value" on the serial port, value in decimal. */
void portable_say(const char *name, uint64_t value);

/* Ends the virtual machine: AxVM's power-off with these registers, or what others take for one. */
_Noreturn void portable_end(uint64_t rax, uint64_t rbx);

/* Maps the 2 MiB around an address beyond 4 GiB one to one. */
void portable_map(uint64_t address);

/* See start.S. */
uint64_t portable_sleep(void);
void portable_wake(volatile struct interrupt_frame *frame);

#endif
