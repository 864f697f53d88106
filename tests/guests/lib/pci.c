/* SPDX-License-Identifier: MIT */
/* PCI of a bare-metal guest: one bus, function 0 of each device. */
#define GUEST_HAS_APIC
#define GUEST_LINES 10000
#include "pci.h"

#define DEVICE_BYTES (8u * 4096)
#define MSI_ADDRESS 0xfee00000u
#define BAR_IS_64BIT 4u

uint64_t pci_ecam = LAYOUT_ECAM;

uint64_t pci_bar(const struct pci_function *f, unsigned index)
{
	uint64_t at = f->config + PCI_BAR0 + 4u * index;
	uint32_t low = read32(at);
	uint64_t high = low & BAR_IS_64BIT ? read32(at + 4) : 0;

	return high << 32 | (low & ~0xfu);
}

/* A place in one of the BARs, as MSI-X tells it: the BAR's number is the lowest three bits. */
static uint64_t in_bar(const struct pci_function *f, uint32_t offset)
{
	return pci_bar(f, offset & 7) + (offset & ~7u);
}

uint8_t pci_capability(const struct pci_function *f, uint8_t id, uint8_t after)
{
	uint8_t at = read8(f->config + (after ? after + 1u : PCI_CAPABILITIES));

	while (at && read8(f->config + at) != id)
		at = read8(f->config + at + 1);
	return at;
}

bool pci_find(uint32_t id, unsigned nth, struct pci_function *ret)
{
	for (uint64_t device = 0; device < LAYOUT_PCI_DEVICES_MAX; device++) {
		uint64_t config = pci_ecam + device * DEVICE_BYTES;

		if (read32(config + PCI_ID) != id || nth-- > 0)
			continue;
		ret->config = config;
		ret->bar = pci_bar(ret, 0);
		write16(config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		ret->msix = pci_capability(ret, PCI_CAP_MSIX, 0);
		check(ret->msix);
		ret->table = in_bar(ret, read32(config + ret->msix + MSIX_TABLE));
		ret->pba = in_bar(ret, read32(config + ret->msix + MSIX_PBA));
		return true;
	}
	return false;
}

void msix_set(const struct pci_function *f, uint16_t index, uint8_t vector)
{
	uint64_t entry = f->table + 16u * index;

	write32(entry, MSI_ADDRESS);
	write32(entry + 4, 0);
	write32(entry + 8, vector);
	write32(entry + 12, 0);
}

void msix_mask(const struct pci_function *f, uint16_t index, bool masked)
{
	write32(f->table + 16u * index + 12, masked);
}

bool msix_pending(const struct pci_function *f, uint16_t index)
{
	return read64(f->pba + index / 64 * 8) >> index % 64 & 1;
}

void msix_control(const struct pci_function *f, uint16_t bits)
{
	write16(f->config + f->msix + MSIX_CONTROL, bits);
}
