/* SPDX-License-Identifier: MIT */
/* The DSDT: what of the machine has to be told in AML.
 *
 * Goes through the C preprocessor (addresses are layout.h's, in no place typed twice) and then
 * through iasl; see the Makefile. Device numbers: PCI firmware specification 3.3 §4 (host
 * bridge, ECAM), ACPI 6.5 §5.6.9 (Generic Event Device), §4.8.3.1 (control-method power button). */
#include "guest/layout.h"

DefinitionBlock ("", "DSDT", 2, "AXVM", "AXVMDSDT", 1)
{
	/* Soft off: the type that goes into the sleep control register. */
	Name (\_S5, Package () { ACPI_S5_TYPE, ACPI_S5_TYPE, 0, 0 })

	Scope (\_SB)
	{
		/* One segment, one bus, no bridges. There is no I/O window, and interrupts are
		 * MSI-X. */
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, Zero)
			Name (_SEG, Zero)
			Name (_BBN, Zero)
			Name (_CCA, One)

			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0,
					LAYOUT_BAR_WINDOW,
					SUM(LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE - 1),
					0, LAYOUT_BAR_WINDOW_SIZE)
			})

			/* No firmware competes for any PCI Express feature: the guest gets what it
			 * asks for. Unknown interface or revision: the bits that say so. */
			Method (_OSC, 4, Serialized)
			{
				CreateDWordField (Arg3, 0, CDW1)
				If (Arg0 != ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766"))
				{
					CDW1 |= 0x04
					Return (Arg3)
				}
				If (Arg1 != One)
				{
					CDW1 |= 0x08
				}
				If (Arg2 > 2)
				{
					CreateDWordField (Arg3, 8, CDW3)
					Local0 = CDW3 & 0x3F
					If (Local0 != CDW3)
					{
						CDW1 |= 0x10
					}
					/* A query changes nothing, and there is nothing to
					 * change. */
					CDW3 = Local0
				}
				Return (Arg3)
			}
		}

		/* What belongs to the board: ECAM, so that the guest trusts MCFG, and the registers
		 * that the FADT and the event device use. */
		Device (MBRD)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, LAYOUT_ECAM, LAYOUT_ECAM_SIZE)
				Memory32Fixed (ReadWrite, LAYOUT_ACPI_REGISTERS,
					LAYOUT_ACPI_REGISTERS_SIZE)
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, Zero)
		}

		/* Events of the machine: one interrupt, and a register that says which and is
		 * cleared by being read. */
		Device (GED0)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
				{
					LAYOUT_GED_GSI
				}
			})
			OperationRegion (EVTR, SystemMemory,
				LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS, 4)
			Field (EVTR, DWordAcc, NoLock, Preserve)
			{
				PEND, 32
			}
			Method (_EVT, 1, Serialized)
			{
				Local0 = PEND
				If (Local0 & ACPI_EVENT_POWER_BUTTON)
				{
					Notify (PWRB, 0x80)
				}
			}
		}

		/* pvpanic: the guest says that it panicked. */
		Device (PEVT)
		{
			Name (_HID, "QEMU0001")
			Name (_UID, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, LAYOUT_PANIC_REGISTER, 1)
			})
		}
	}
}
