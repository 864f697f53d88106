/* SPDX-License-Identifier: MIT */
/* How a VM comes to its end: by its power button, or at once. Control thread. */
#ifndef AXVM_SHIM_SHUTDOWN_H
#define AXVM_SHIM_SHUTDOWN_H

#include <stdint.h>

struct shim;

/* Tells that everything that was there at `looked_ns` has been handled: later requests for the end
 * are new ones if their burst is over (base/burst.h). After each turn. */
void shutdown_settle(struct shim *shim, uint64_t looked_ns);

/* Ends the VM in the loop's next turn; `why` (static) is for the terminal event. */
void shutdown_stop(struct shim *shim, const char *why);

/* A command asks for the end: presses the power button and restarts the timeout. A machine without
 * local APICs has no interrupt for the button and is stopped. A command within another request's
 * burst (base/burst.h) does not press the button again, but its timeout applies. 0, or -EBUSY if
 * the VM's state forbids it. */
int shutdown_by_command(struct shim *shim, uint32_t timeout_ms, uint64_t now_ns, const char *why);

/* The end of fd 3, or a signal, asks for the end. As above, with the spec's timeout; a timeout that
 * an earlier request has set stays. A signal after another one, outside the burst of a request,
 * stops the VM. */
void shutdown_ask(struct shim *shim, uint64_t now_ns, const char *why);
void shutdown_signal(struct shim *shim, uint64_t now_ns);

/* Sends an event about a panic that the guest has reported, once, and starts the time within which
 * the guest may go on. */
void shutdown_heed_panic(struct shim *shim);

#endif
