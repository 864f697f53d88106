/* SPDX-License-Identifier: MIT */
/* What was planned: the machine as the guest sees it. */
#ifndef AXVM_SHIM_PLAN_STATE_H
#define AXVM_SHIM_PLAN_STATE_H

#include "base/sha256.h"
#include "boot/acpi.h"
#include "guest/memory.h"
#include "shim/device/places.h"

struct machine_plan {
	struct guest_memory memory; /* a layout: nothing is behind it */
	struct plan_devices devices;
	struct acpi_image acpi;       /* Linux only; `used` 0: none */
	char digest[SHA256_HEX_SIZE]; /* of all that the guest can see of its machine */
};

#endif
