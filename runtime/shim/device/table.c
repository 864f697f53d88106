/* SPDX-License-Identifier: MIT */
/* The table of all kinds of devices, in both orders. */
#include "shim/device/table.h"

#define IN_ORDER(name, turn) &device_##name,
#define AT_TURN(name, turn) [turn] = &device_##name,

const struct device_row *const device_rows[DEVICE_KINDS] = { DEVICE_TABLE(IN_ORDER) };
/* A turn that is given twice, or left out, does not compile. */
const struct device_row *const device_turns[DEVICE_KINDS] = { DEVICE_TABLE(AT_TURN) };
