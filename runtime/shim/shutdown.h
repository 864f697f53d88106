/* SPDX-License-Identifier: MIT */
/* How a VM comes to its end: by its power button, or at once. Control thread. */
#ifndef AXVM_SHIM_SHUTDOWN_H
#define AXVM_SHIM_SHUTDOWN_H

#include <stdint.h>

struct shim;

/* All that was there at `looked_ns` has been handled: requests for the end that come from now on
 * are new ones, where the time for them to be the same is over. After each turn. */
void shutdown_settle(struct shim *shim, uint64_t looked_ns);

/* Ends the VM as soon as the loop comes round; `why` (static) is for the terminal event. */
void shutdown_stop(struct shim *shim, const char *why);

/* A command asks for the end: presses the power button and sets the clock anew; a machine without
 * local APICs, which has no interrupt to tell it by, is stopped. Close behind another request it is
 * the same one (base/burst.h): the button is not pressed again, and the clock is the command's all
 * the same. 0, or -EBUSY when the VM's state forbids it. */
int shutdown_by_command(struct shim *shim, uint32_t timeout_ms, uint64_t now_ns, const char *why);

/* The end of fd 3, or a signal, asks for the end. As above, by the spec's timeout; a clock that a
 * command or another request has set stays as it is. A signal that comes after another one, and not
 * close behind a request, stops the VM. */
void shutdown_ask(struct shim *shim, uint64_t now_ns, const char *why);
void shutdown_signal(struct shim *shim, uint64_t now_ns);

/* Tells a panic that the guest has reported and that was not told yet, and starts the clock within
 * which the guest may go on. */
void shutdown_heed_panic(struct shim *shim);

#endif
