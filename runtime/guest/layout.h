/* SPDX-License-Identifier: MIT */
/* Where everything that is not RAM lies in guest-physical and port address space. */
#ifndef AXVM_GUEST_LAYOUT_H
#define AXVM_GUEST_LAYOUT_H

/* Below 1 MiB, all of it RAM. */
#define LAYOUT_GDT 0x0500 /* flat and 64-bit Linux entry */
#define LAYOUT_PVH_START_INFO 0x6000
#define LAYOUT_BOOT_PARAMS 0x7000 /* Linux "zero page" */
#define LAYOUT_PAGE_TABLES 0x9000 /* PML4, PDPT, 4 page directories: the first 4 GiB one to one */
#define LAYOUT_CMDLINE 0x20000    /* up to 64 KiB */
#define LAYOUT_CMDLINE_MAX 0x10000
#define LAYOUT_FLAT_STACKS 0x10000 /* flat images only: a stack a vCPU, up to 0x8f800 */
#define LAYOUT_FLAT_STACK_SIZE 2048
#define LAYOUT_LOW_RAM_END 0x9fc00 /* e820: usable below, reserved from here to 1 MiB */
/* ACPI tables: reserved in e820 and found through boot parameters, not by scanning. 255 vCPUs take
 * about 12 KiB of SRAT and MADT together. */
#define LAYOUT_ACPI 0xe0000
#define LAYOUT_ACPI_SIZE 0x20000
#define LAYOUT_KERNEL 0x100000

/* In the hole between 3 GiB and 4 GiB. */
#define LAYOUT_BAR_WINDOW 0xc0000000u
#define LAYOUT_BAR_WINDOW_SIZE 0x10000000u
#define LAYOUT_ECAM 0xe0000000u /* one bus: 32 devices, 8 functions, 4 KiB each */
#define LAYOUT_ECAM_SIZE 0x100000u
#define LAYOUT_ACPI_REGISTERS 0xfe000000u /* MMIO: sleep control, sleep status, reset, GED */
#define LAYOUT_ACPI_REGISTERS_SIZE 0x1000u
#define LAYOUT_PANIC_REGISTER 0xfe001000u /* pvpanic, MMIO */
#define LAYOUT_IOAPIC 0xfec00000u
#define LAYOUT_LAPIC 0xfee00000u
/* KVM's own pages on Intel hosts: TSS (3 pages) and the identity map of real mode. */
#define LAYOUT_KVM_TSS 0xfffbd000u
#define LAYOUT_KVM_IDENTITY_MAP 0xfffbc000u

/* Ports. machine/legacy_ports.c says why those of the PC are there. */
#define LAYOUT_PORT_TIMER 0x40 /* 4 */
#define LAYOUT_PORT_NMI_STATUS 0x61
#define LAYOUT_PORT_KEYBOARD 0x64
#define LAYOUT_PORT_RESET_CONTROL 0xcf9
#define LAYOUT_PORT_DEBUG 0xe9 /* early console */
#define LAYOUT_PORT_RESET 0xf0 /* byte; write ACPI_RESET_VALUE: what the reset vector does */
#define LAYOUT_PORT_UART 0x3f8 /* early console, write-only 8250 */

/* ACPI registers, offsets in the window. */
#define ACPI_REG_SLEEP_CONTROL 0x0 /* byte; ACPI 6.5 §4.8.3.7 */
#define ACPI_REG_SLEEP_STATUS 0x1  /* byte */
#define ACPI_REG_RESET 0x2         /* byte; write ACPI_RESET_VALUE */
#define ACPI_REG_EVENTS 0x4        /* dword; pending GED events, read clears */
#define ACPI_RESET_VALUE 0x01
#define ACPI_S5_TYPE 0x5
#define ACPI_EVENT_POWER_BUTTON 0x1

/* GSIs: I/O APIC pins first, MSI routes after. The machine has one line, so the I/O APIC has one
 * pin: a guest accesses each pin about 20 times while it boots, and each access is an exit. The
 * first GSI is above the ISA's 16, whose numbers some drivers take for granted. */
#define LAYOUT_IOAPIC_GSI 16
#define LAYOUT_IOAPIC_PINS 1
#define LAYOUT_GED_PIN 0
#define LAYOUT_GED_GSI 16 /* a plain number, for the ASL compiler */
#define LAYOUT_FIRST_MSI_GSI 24

/* PCI: device 0 is the host bridge. */
#define LAYOUT_PCI_DEVICES_MAX 32

#endif
