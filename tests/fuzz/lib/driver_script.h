/* SPDX-License-Identifier: MIT */
/* A driver that does what the fuzzer's bytes say: descriptors, data, indices, kicks, registers,
 * resets.
 *
 * A rig is made once and lives as long as the program; each input starts with the device reset and
 * brought up, guest memory zeroed, and ends with a reset that the device must complete. A device
 * that does not is a hang, which libFuzzer reports. */
#ifndef AXVM_FUZZ_DRIVER_SCRIPT_H
#define AXVM_FUZZ_DRIVER_SCRIPT_H

#include "input.h"
#include "rig/virtio_driver.h"

#define SCRIPT_OPS_MAX 400 /* of one input */
#define SCRIPT_DATA 0x60000u

struct script {
	struct driver *driver;
	struct ring *rings;
	uint16_t queues;
	void (*bring_up)(void *context);
	/* something happens outside the guest */
	void (*backend)(struct input *input, void *context);
	void *context;
};

void script_run(const struct script *script, const uint8_t *data, size_t size);

/* Rings of `size` from 64 KiB on, a slot of 32 KiB each, vector by number, DRIVER_OK. */
void script_bring_up(struct driver *driver, struct ring *rings, uint16_t queues, uint16_t size);

/* One change of the rings and the memory that they live in. */
void script_ring_step(struct input *input, struct ring *ring, const struct guest_memory *memory,
                      uint8_t what);
#define SCRIPT_RING_STEPS 8

/* Zeroes all guest memory that is not zero. */
void script_clear(const struct guest_memory *memory);

#endif
