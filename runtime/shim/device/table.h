/* SPDX-License-Identifier: MIT */
/* The table of all kinds of devices. */
#ifndef AXVM_SHIM_DEVICE_TABLE_H
#define AXVM_SHIM_DEVICE_TABLE_H

#include "shim/device/device.h"

/* One line for each kind: its file, and its turn on the bus. Resources are acquired and counters
 * reported in the order of the lines. Turns decide the places on the bus and the I/O threads.
 * Guests know their devices by these places, so a turn never changes, and a new kind gets the next
 * one. */
#define DEVICE_TABLE(ROW)                                                                          \
	ROW(console, 0)                                                                            \
	ROW(disk, 1)                                                                               \
	ROW(net, 3)                                                                                \
	ROW(rng, 2)                                                                                \
	ROW(balloon, 4)                                                                            \
	ROW(vsock, 5)

#define DEVICE_DECLARE(name, turn) extern const struct device_row device_##name;
DEVICE_TABLE(DEVICE_DECLARE)

#define DEVICE_COUNT(name, turn) +1
enum { DEVICE_KINDS = DEVICE_TABLE(DEVICE_COUNT) };

/* In the order of the table, and by their turns. */
extern const struct device_row *const device_rows[DEVICE_KINDS];
extern const struct device_row *const device_turns[DEVICE_KINDS];

#endif
