/* SPDX-License-Identifier: MIT */
/* One request of a disk, from the chain to its status. Inside of block.c; I/O thread only. */
#ifndef AXVM_VIRTIO_BLOCK_REQUEST_H
#define AXVM_VIRTIO_BLOCK_REQUEST_H

#include "virtio/block_state.h"

#define BLOCK_MAIL_GO_ON VIRTIO_MAIL(2)

/* Copies the header (and ranges) out of the chain and checks all there is to check; `verdict` is
 * then the status to answer with at once, or VIRTIO_BLK_S_OK. Changes nothing outside `request`,
 * so that the chain may still be given back. NULL, or what is wrong with a chain that cannot even
 * be answered. */
const char *block_request_parse(struct block_request *request, const struct virtq_chain *chain);

/* Bytes to be charged to the rate limit. */
uint64_t block_request_cost(const struct block_request *request);

/* Starts what waited for a turn with bytes left or for a resume, as far as this one has, and ends
 * what is of a ring that is no longer the driver's. */
void block_request_go_on(struct block *block);

/* Starts a request that has been parsed. It ends with a status in the guest, a push, and the
 * request back on the free list, perhaps at once. */
void block_request_start(struct block_request *request);

/* What is left of a request, as far as one operation takes it (`issue`): in this turn, or behind
 * those that wait for the next one or for a resume. False: the loop takes nothing any more, or the
 * ring is no longer the driver's. */
bool block_request_issue(struct block_request *request);
/* An operation's bytes, which the I/O thread may copy itself, off those of the turn. */
void block_turn_charge(struct block *block, uint32_t bytes);

/* block_range.c: discard and write zeroes. */
void block_range_start(struct block_request *request);

/* Ends a request that was started: with that status; with an I/O error and an event; or as one that
 * has changed what is stored, which write-through flushes first. */
void block_request_complete(struct block_request *request, uint8_t status);
void block_request_fail(struct block_request *request, int error);
void block_request_settle(struct block_request *request);

/* block.c: called when a request that was in flight has ended. */
void block_room(struct block *block);

/* An event about the file, at most one a second. */
void block_report(struct block *block, int queue, int error, const char *message);
void block_counted(struct block *block, enum block_counter counter, uint64_t n);
/* Whether a write must be on stable storage before it is answered. */
bool block_writes_through(const struct block *block);

#endif
