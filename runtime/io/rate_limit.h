/* SPDX-License-Identifier: MIT */
/* A rate limit: two token buckets, bytes and operations. Pure arithmetic; the time is the caller's.
 *
 * What is allowed at time `now_ns` depends only on what was charged before: no clock, no timer, no
 * lock. One thread a limit. */
#ifndef AXVM_IO_RATE_LIMIT_H
#define AXVM_IO_RATE_LIMIT_H

#include "base/base.h"

/* A burst of 0 means as many tokens as the rate gives in this time, at least one. */
#define RATE_BURST_DEFAULT_MS 100

/* Tokens a second, and tokens a bucket holds when it is full. A rate of 0 is no limit. */
struct rate_config {
	uint64_t bytes_per_s, bytes_burst, ops_per_s, ops_burst;
};

struct rate_bucket {
	uint64_t rate;  /* tokens a second; 0: no limit */
	uint64_t burst; /* tokens, at least 1 */
	/* In 10^-9 tokens, at most burst * 10^9: a nanosecond adds `rate` to it, and nothing
	 * is ever rounded. Below zero is debt. */
	__int128 level;
};

struct rate_limit {
	struct rate_bucket bytes, ops;
	uint64_t last_ns; /* the time for which the levels hold */
};

/* Full buckets. */
void rate_limit_init(struct rate_limit *limit, const struct rate_config *config, uint64_t now_ns);

/* Changes rates and bursts. A bucket keeps its tokens, up to its new burst. Debt is forgiven, since
 * at another rate it would take another time to pay. A bucket that had no limit is full. */
void rate_limit_change(struct rate_limit *limit, const struct rate_config *config, uint64_t now_ns);

/* Nanoseconds until `bytes` and `ops` may pass, at least 1; 0: now. A request for more than a
 * bucket's burst may pass once the bucket is full, and leaves it in debt. Takes no tokens.
 * UINT64_MAX: not in this century. */
uint64_t rate_limit_wait(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes, uint64_t ops);

/* Takes the tokens for a request that has passed, into debt if it was larger than the bucket
 * allows. */
void rate_limit_charge(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes, uint64_t ops);

/* Gives back what was charged for something that did not happen. */
void rate_limit_refund(struct rate_limit *limit, uint64_t bytes, uint64_t ops);

/* rate_limit_wait, and rate_limit_charge when that is 0. */
uint64_t rate_limit_take(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes, uint64_t ops);

static inline bool rate_limit_is_set(const struct rate_limit *limit)
{
	return limit->bytes.rate > 0 || limit->ops.rate > 0;
}

#endif
