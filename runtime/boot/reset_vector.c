/* SPDX-License-Identifier: MIT */
/* The machine's whole firmware: code at a PC's BIOS entry.
 *
 * A Linux that finds hardware-reduced ACPI and no EFI reboots by jumping to the BIOS's entry in
 * real mode (arch/x86/kernel/reboot.c, BOOT_EFI falling through to BOOT_BIOS). There is no BIOS, so
 * these bytes ask for the reset by the one port that real mode can reach. */
#include "boot/reset_vector.h"

#include "guest/layout.h"

/* F000:FFF0, SDM 3A §10.1.4. */
#define RESET_VECTOR 0xffff0u

int boot_write_reset_vector(const struct guest_memory *memory)
{
	static const uint8_t code[] = {
		0xb0, ACPI_RESET_VALUE,  /* mov $ACPI_RESET_VALUE, %al */
		0xe6, LAYOUT_PORT_RESET, /* out %al, $LAYOUT_PORT_RESET */
		0xf4,                    /* 1: hlt */
		0xeb, 0xfd,              /* jmp 1b */
	};

	return guest_memory_write(memory, GPA(RESET_VECTOR), code, sizeof(code));
}
