/* SPDX-License-Identifier: MIT */
/* One request of a disk, from the chain to its status. Private to the disk; I/O thread only. */
#ifndef AXVM_VIRTIO_BLOCK_REQUEST_H
#define AXVM_VIRTIO_BLOCK_REQUEST_H

#include "virtio/block_state.h"

#define BLOCK_MAIL_GO_ON VIRTIO_MAIL(2)

/* Copies the header (and ranges) out of the chain and checks them; `verdict` is then
 * VIRTIO_BLK_S_OK or the status to answer with at once. Changes nothing but `request`, so the chain
 * may still be given back. Returns NULL, or what is wrong with a chain that cannot be answered. */
const char *block_request_parse(struct block_request *request, const struct virtq_chain *chain);

/* The bytes to charge to the rate limit. */
uint64_t block_request_cost(const struct block_request *request);

/* Starts requests that waited for the next turn or for a resume, as far as the bytes of this turn
 * go, and ends those whose ring is no longer the driver's. */
void block_request_go_on(struct block *block);

/* Starts a request that has been parsed. At its end, perhaps at once, its status is written to the
 * guest, its chain pushed, and the request put on the free list. */
void block_request_start(struct block_request *request);

/* Starts one operation (`issue`) on the rest of a request: in this turn, or after those that wait
 * for the next turn or for a resume. False: the loop accepts no operation any more, or the ring is
 * no longer the driver's. */
bool block_request_issue(struct block_request *request);
/* Subtracts an operation's bytes, which the I/O thread may have to copy, from those of the turn. */
void block_turn_charge(struct block *block, uint32_t bytes);

/* Starts a discard or write-zeroes request (block_range.c). */
void block_range_start(struct block_request *request);

/* End a request that was started: with `status`; with an I/O error and an event; or as a write,
 * after a flush if the disk writes through. */
void block_request_complete(struct block_request *request, uint8_t status);
void block_request_fail(struct block_request *request, int error);
void block_request_settle(struct block_request *request);

/* Called when a request that was in flight has ended (block.c). */
void block_room(struct block *block);

/* Sends an event about the file, at most one a second. */
void block_report(struct block *block, int queue, int error, const char *message);
void block_counted(struct block *block, enum block_counter counter, uint64_t n);
/* Whether a write must be on stable storage before it is answered. */
bool block_writes_through(const struct block *block);

#endif
