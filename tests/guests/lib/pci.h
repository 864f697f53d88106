/* SPDX-License-Identifier: MIT */
/* PCI by ECAM (PCI Express Base 4.0 §7.2.2), and MSI-X (PCI 3.0 §6.8.2). */
#ifndef AXVM_GUESTS_LIB_PCI_H
#define AXVM_GUESTS_LIB_PCI_H

#include "guest.h"

enum {
	PCI_ID = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_BAR0 = 0x10,
	PCI_BARS = 6,
	PCI_CAPABILITIES = 0x34,
};

enum {
	PCI_COMMAND_MEMORY = 2,
	PCI_COMMAND_MASTER = 4,
	PCI_CAP_VENDOR = 0x09,
	PCI_CAP_MSIX = 0x11,
	MSIX_CONTROL = 2, /* offsets in the capability */
	MSIX_TABLE = 4,
	MSIX_PBA = 8,
	MSIX_ENABLE = 0x8000,
	MSIX_MASK_ALL = 0x4000,
};

/* Where configuration space is: AxVM's, unless a guest that other monitors run too has found
 * another. */
extern uint64_t pci_ecam;

struct pci_function {
	uint64_t config; /* address of its configuration space */
	uint64_t bar;    /* address of BAR 0 */
	uint8_t msix;    /* the capability; 0: none */
	uint64_t table, pba;
};

/* The `nth` (from 0) function with this id, device << 16 | vendor. Switches memory and bus
 * mastering on. */
bool pci_find(uint32_t id, unsigned nth, struct pci_function *ret);
/* The address of a BAR, of 32 or 64 bits. */
uint64_t pci_bar(const struct pci_function *f, unsigned index);
/* The next capability with this id after the one at `after` (0: from the start); 0: none. */
uint8_t pci_capability(const struct pci_function *f, uint8_t id, uint8_t after);

/* Sends a vector of the function to an interrupt vector of vCPU 0 and unmasks it. */
void msix_set(const struct pci_function *f, uint16_t index, uint8_t vector);
void msix_mask(const struct pci_function *f, uint16_t index, bool masked);
bool msix_pending(const struct pci_function *f, uint16_t index);
/* MSIX_ENABLE, MSIX_MASK_ALL or both. */
void msix_control(const struct pci_function *f, uint16_t bits);

#endif
