/* SPDX-License-Identifier: MIT */
/* Where each device of a spec will be on the bus.
 *
 * Device numbers, BARs and interrupts are given in the order in which devices are attached, and all
 * BARs have one size. The launch compares what was built with this, so that the two cannot
 * differ. */
#include "shim/device/places.h"

#include <errno.h>
#include <linux/pci_regs.h>

#include "bus/pci.h"
#include "virtio/pci.h"

/* VIRTIO 1.2 §4.1.2: a PCI device id is this and the device's own. */
#define VIRTIO_PCI_DEVICE_BASE 0x1040u

void places_add(struct plan_devices *devices, const char *id, uint16_t virtio_id, uint32_t queues)
{
	if (devices->count < PLAN_DEVICES_MAX)
		devices->list[devices->count++] = (struct plan_device){
			.id = id,
			.virtio_id = virtio_id,
			.queues = (uint16_t)queues,
		};
}

void places_give(struct plan_devices *devices)
{
	uint32_t gsi = LAYOUT_FIRST_MSI_GSI;

	for (size_t i = 0; i < devices->count; i++) {
		struct plan_device *device = &devices->list[i];

		device->slot = (uint32_t)i + 1;
		device->bar = LAYOUT_BAR_WINDOW + (uint32_t)i * VIRTIO_BAR_SIZE;
		device->first_gsi = gsi;
		gsi += device->queues + 1u;
	}
}

/* Of the MSI-X capability; 0 when there is none. */
static uint32_t vectors_of(const struct pci_function *function)
{
	uint32_t at = pci_config_get(function, PCI_CAPABILITY_LIST, 1);

	for (int i = 0; at != 0 && i < PCI_CONFIG_BYTES / 4; i++) {
		if (pci_config_get(function, at, 1) == PCI_CAP_ID_MSIX)
			return 1 + (pci_config_get(function, at + PCI_MSIX_FLAGS, 2) &
			            PCI_MSIX_FLAGS_QSIZE);
		at = pci_config_get(function, at + PCI_CAP_LIST_NEXT, 1);
	}
	return 0;
}

static bool same(const struct plan_device *device, const struct pci_function *function)
{
	return pci_config_get(function, PCI_DEVICE_ID, 2) ==
	               VIRTIO_PCI_DEVICE_BASE + device->virtio_id &&
	       (pci_config_get(function, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK) ==
	               device->bar &&
	       vectors_of(function) == device->queues + 1u;
}

int places_check(const struct plan_devices *plan, const struct pci_host *built)
{
	if (built->slot_count != plan->count + 1)
		return -EBADMSG;
	for (size_t i = 0; i < plan->count; i++)
		if (!same(&plan->list[i], built->slots[plan->list[i].slot]))
			return -EBADMSG;
	return 0;
}

bool plan_has_apic(const struct vm_spec *spec)
{
	return spec->boot.kind == BOOT_KIND_LINUX_BOOT || spec->boot.local_apic;
}
