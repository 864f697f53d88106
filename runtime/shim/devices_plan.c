/* SPDX-License-Identifier: MIT */
/* Where each device of a spec will be on the bus.
 *
 * Device numbers, BARs and interrupts are given in the order in which devices are attached, and all
 * BARs have one size. The launch compares what was built with this, so that the two cannot differ. */
#include "shim/devices_plan.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>

#include "bus/pci.h"
#include "shim/devices_state.h"
#include "virtio/pci.h"

/* VIRTIO 1.2 §4.1.2: a PCI device id is this and the device's own. */
#define VIRTIO_PCI_DEVICE_BASE 0x1040u

static void add(struct plan_devices *devices, const char *kind, const char *id, uint16_t virtio_id,
                uint32_t queues)
{
	if (devices->count < PLAN_DEVICES_MAX)
		devices->list[devices->count++] = (struct plan_device){
			.kind = kind, .id = id, .virtio_id = virtio_id, .queues = (uint16_t)queues,
		};
}

void plan_console(const struct vm_spec *spec, struct plan_devices *devices)
{
	if (spec->console.present)
		add(devices, "console", "", VIRTIO_ID_CONSOLE, CONSOLE_QUEUES);
}

void plan_disks(const struct vm_spec *spec, struct plan_devices *devices)
{
	for (size_t i = 0; i < spec->disks_count; i++)
		add(devices, "disk", spec->disks[i].id, VIRTIO_ID_BLOCK, spec->disks[i].queues);
}

void plan_rng(const struct vm_spec *spec, struct plan_devices *devices)
{
	if (spec->rng.present)
		add(devices, "rng", "", VIRTIO_ID_RNG, 1);
}

/* A pair of queues each for receiving and sending, and one for control. */
void plan_nets(const struct vm_spec *spec, struct plan_devices *devices)
{
	for (size_t i = 0; i < spec->nets_count; i++)
		add(devices, "net", spec->nets[i].id, VIRTIO_ID_NET,
		    2 * spec->nets[i].queue_pairs + 1);
}

void plan_balloon(const struct vm_spec *spec, struct plan_devices *devices)
{
	if (spec->balloon.present)
		add(devices, "balloon", "", VIRTIO_ID_BALLOON, BALLOON_QUEUES);
}

void plan_vsock(const struct vm_spec *spec, struct plan_devices *devices)
{
	if (spec->vsock.present)
		add(devices, "vsock", "", VIRTIO_ID_VSOCK, VSOCK_QUEUES);
}

void plan_places(struct plan_devices *devices)
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

int plan_devices_check(const struct plan_devices *plan, const struct shim_devices *built)
{
	const struct pci_host *pci = &built->pci;

	if (!built->present)
		return plan->count == 0 ? 0 : -EBADMSG;
	if (pci->slot_count != plan->count + 1)
		return -EBADMSG;
	for (size_t i = 0; i < plan->count; i++)
		if (!same(&plan->list[i], pci->slots[plan->list[i].slot]))
			return -EBADMSG;
	return 0;
}

bool plan_has_apic(const struct vm_spec *spec)
{
	return spec->boot.kind == BOOT_KIND_LINUX_BOOT || spec->boot.local_apic;
}
