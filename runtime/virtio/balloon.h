/* SPDX-License-Identifier: MIT */
/* virtio-balloon (VIRTIO 1.2 §5.5): gives guest memory back to the host. Theory in balloon.c. */
#ifndef AXVM_VIRTIO_BALLOON_H
#define AXVM_VIRTIO_BALLOON_H

#include "virtio/balloon_state.h"
#include "virtio/pci.h"

struct balloon_spec {
	bool deflate_on_oom;
	bool free_page_reporting;  /* offered if a report can cover a host page */
	bool memory_locked;        /* guest memory was mlocked */
	uint32_t stats_interval_s; /* 0: only once, when the driver comes up */
	uint64_t host_page;        /* bytes of a page of guest memory; 4096 also for THP */
	/* Called while balloon_await() is on, when the guest says that it has reached its target.
	 * On a vCPU's thread, under the device's lock: it must do no more than wake another thread.
	 * NULL: not called. */
	void (*reached)(void *context);
	void *context;
};

struct balloon_state {
	uint64_t target_bytes;         /* that the guest was asked to give up */
	uint64_t actual_bytes;         /* that the guest says it has given up */
	uint64_t returned_bytes;       /* given to the host so far; a page counts each time */
	uint64_t failures;             /* discards that the host refused */
	uint64_t stats_count;          /* times the guest has sent statistics; 0: none yet */
	uint64_t stats[BALLOON_STATS]; /* by tag, VIRTIO 1.2 §5.5.6.4; UINT64_MAX: not told */
};

/* Build time, before io_loop_build; allocates. `balloon` is zeroed by the caller and must not move.
 * Guest memory must not be pinned (by registering it with a ring, for example): a pinned page does
 * not go back to the host, and after a discard it is no longer the page that the guest sees.
 * Returns 0, -ENOMEM, or an error of virtio_pci_attach(). */
int balloon_create(struct balloon *balloon, const struct balloon_spec *spec,
                   const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed balloon is fine. */
void balloon_destroy(struct balloon *balloon);

/* Asks the guest to keep `bytes` (rounded down to pages) of its memory and give up the rest.
 * -ERANGE: 0, or more than it has. Any thread. */
int balloon_set_target(struct balloon *balloon, uint64_t bytes);

/* Switches on or off that `reached` is called. A target that the guest reached before is not
 * reported, so the caller checks balloon_has_reached() after this. One thread. */
void balloon_await(struct balloon *balloon, bool on);

/* Whether the guest has given up what the present target asks, now or at any time since
 * balloon_await(). Any thread. */
bool balloon_has_reached(const struct balloon *balloon);

/* State so far; any thread. */
void balloon_get_state(const struct balloon *balloon, struct balloon_state *ret_state);

#endif
