/* SPDX-License-Identifier: MIT */
/* The VM's console, for those who address it. */
#ifndef AXVM_SHIM_DEVICE_CONSOLE_H
#define AXVM_SHIM_DEVICE_CONSOLE_H

#include "shim/device/state.h"

/* The console; NULL: this VM has none. Borrowed. */
struct console *devices_console(struct shim_devices *devices);

/* Bytes of output that were dropped because the reader did not keep up. Any stage. */
uint64_t devices_console_dropped(struct shim_devices *devices);

#endif
