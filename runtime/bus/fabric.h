/* SPDX-License-Identifier: MIT */
/* What a bus needs from the machine below it: interrupts in, doorbells out.
 *
 * The machine implements it with KVM; tests implement it with arrays. A bus knows nothing of KVM.
 * While the VM is being built the calls act at once. Once it runs, the control thread carries them
 * out, and the calling vCPU thread waits until they are in force. */
#ifndef AXVM_BUS_FABRIC_H
#define AXVM_BUS_FABRIC_H

#include "base/base.h"

struct fabric;

struct fabric_ops {
	/* Build time only. Binds an eventfd (not owned) to a new GSI: a write to it raises the GSI.
	 * Until the GSI has a route nothing is delivered. */
	int (*add_irqfd)(struct fabric *fabric, int eventfd, uint32_t *ret_gsi);
	/* Sets the MSI that the GSI sends: address and data as the guest wrote them. Any thread. */
	int (*route_msi)(struct fabric *fabric, uint32_t gsi, uint64_t address, uint32_t data);
	/* A guest write of any length to `gpa` signals the eventfd (not owned) and causes no exit
	 * to user space. Any thread. */
	int (*add_doorbell)(struct fabric *fabric, uint64_t gpa, int eventfd);
	int (*remove_doorbell)(struct fabric *fabric, uint64_t gpa, int eventfd);
};

struct fabric {
	const struct fabric_ops *ops;
};

#endif
