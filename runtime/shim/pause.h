/* SPDX-License-Identifier: MIT */
/* A pause: vCPUs first, then devices, then the reply. Control thread. */
#ifndef AXVM_SHIM_PAUSE_H
#define AXVM_SHIM_PAUSE_H

struct shim;

/* Replies to a pause that has come into force. Control thread, when it was woken. */
void pause_settle(struct shim *shim);

/* Replies to a pause that is still waited for. */
void pause_end(struct shim *shim);

/* Cancels a pause, and replies to one that has not come into force yet. */
void pause_let_go_on(struct shim *shim);

#endif
