/* SPDX-License-Identifier: MIT */
/* The table of all kinds of devices. */
#ifndef AXVM_SHIM_DEVICE_TABLE_H
#define AXVM_SHIM_DEVICE_TABLE_H

#include "shim/device/device.h"

/* A kind a line: its file, and its turn on the bus. Resources are acquired and counters told in the
 * order of the lines. By their turns kinds get their places on the bus and their I/O threads:
 * guests know their devices by those, so that no turn ever changes, and a new kind has the next
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
