/* SPDX-License-Identifier: MIT */
/* A rate limit: two token buckets.
 *
 * A bucket's level is kept in billionths of a token, 128 bits wide. A nanosecond then adds exactly
 * `rate` to it, so no sequence of calls, however close together, gains or loses by rounding. The
 * largest terms, 2^64 ns * 2^64 tokens/s and 2^64 tokens * 10^9, fit. */
#include "io/rate_limit.h"

#define TOKEN ((__int128)1000000000)
/* No debt is deeper than the largest single charge. */
#define DEBT_MAX ((__int128)UINT64_MAX * TOKEN)

/* What `make prove` proves of this file, at half of each width (tests/prove/README.md): nothing
 * overflows, a level stays between the deepest debt and a full bucket (an unset one holds 0 of 0),
 * a wait is 0 exactly when the tokens are there. */
/*@ predicate sound(struct rate_bucket *b) =
      \valid(b) && -DEBT_MAX <= b->level <= b->burst * TOKEN;
*/

/*@ assigns \nothing;
    ensures 1 <= \result && (burst > 0 ==> \result == burst);
*/
static uint64_t burst_of(uint64_t rate, uint64_t burst)
{
	if (burst > 0)
		return burst;
	return MAX((uint64_t)((unsigned __int128)rate * RATE_BURST_DEFAULT_MS / 1000), (uint64_t)1);
}

/*@ requires \valid(bucket) && (bucket->rate > 0 ==> sound(bucket));
    assigns *bucket;
    ensures sound(bucket) && bucket->rate == rate;
*/
static void change_bucket(struct rate_bucket *bucket, uint64_t rate, uint64_t burst)
{
	bool was_limit = bucket->rate > 0;
	__int128 full;

	bucket->rate = rate;
	bucket->burst = burst_of(rate, burst);
	full = (__int128)bucket->burst * TOKEN;
	bucket->level = was_limit ? MAX(MIN(bucket->level, full), (__int128)0) : full;
}

/*@ requires sound(bucket);
    assigns bucket->level;
    ensures sound(bucket);
    ensures bucket->level == \min(\old(bucket->level) + bucket->rate * elapsed_ns, bucket->burst * TOKEN);
*/
static void refill_bucket(struct rate_bucket *bucket, uint64_t elapsed_ns)
{
	__int128 missing = (__int128)bucket->burst * TOKEN - bucket->level;
	/* Unsigned: 2^64 times 2^64 does not fit with a sign. */
	unsigned __int128 gain = (unsigned __int128)bucket->rate * elapsed_ns;

	bucket->level += gain < (unsigned __int128)missing ? (__int128)gain : missing;
}

/* A clock that stands still, or steps back, adds nothing. */
/*@ requires sound(&limit->bytes) && sound(&limit->ops) && \valid(limit);
    assigns *limit;
    ensures sound(&limit->bytes) && sound(&limit->ops);
*/
static void refill(struct rate_limit *limit, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns > limit->last_ns ? now_ns - limit->last_ns : 0;

	limit->last_ns = MAX(limit->last_ns, now_ns);
	refill_bucket(&limit->bytes, elapsed_ns);
	refill_bucket(&limit->ops, elapsed_ns);
}

/*@ requires sound(bucket);
    assigns \nothing;
    ensures \result == 0 <==> bucket->rate == 0 || bucket->level >= \min(tokens, bucket->burst) * TOKEN;
    ensures 0 < \result < UINT64_MAX ==>
      bucket->level + bucket->rate * (\result - 1) < \min(tokens, bucket->burst) * TOKEN <=
        bucket->level + bucket->rate * \result;
*/
static uint64_t bucket_wait(const struct rate_bucket *bucket, uint64_t tokens)
{
	__int128 missing = (__int128)MIN(tokens, bucket->burst) * TOKEN - bucket->level;
	__int128 ns;

	if (bucket->rate == 0 || missing <= 0)
		return 0;
	ns = (missing + bucket->rate - 1) / bucket->rate;
	return ns > (__int128)UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

/*@ requires sound(bucket);
    assigns bucket->level;
    ensures sound(bucket);
    ensures bucket->rate > 0 ==> bucket->level == \max(\old(bucket->level) - tokens * TOKEN, -DEBT_MAX);
*/
static void charge_bucket(struct rate_bucket *bucket, uint64_t tokens)
{
	if (bucket->rate > 0)
		bucket->level = MAX(bucket->level - (__int128)tokens * TOKEN, -DEBT_MAX);
}

/*@ requires sound(bucket);
    assigns bucket->level;
    ensures sound(bucket);
*/
static void refund_bucket(struct rate_bucket *bucket, uint64_t tokens)
{
	bucket->level =
		MIN(bucket->level + (__int128)tokens * TOKEN, (__int128)bucket->burst * TOKEN);
}

void rate_limit_init(struct rate_limit *limit, const struct rate_config *config, uint64_t now_ns)
{
	*limit = (struct rate_limit){ .last_ns = now_ns };
	rate_limit_change(limit, config, now_ns);
}

/*@ requires sound(&limit->bytes) && sound(&limit->ops) && \valid(limit) &&
      \valid_read(config) && \separated(limit, config);
    assigns *limit;
    ensures sound(&limit->bytes) && sound(&limit->ops);
*/
void rate_limit_change(struct rate_limit *limit, const struct rate_config *config, uint64_t now_ns)
{
	refill(limit, now_ns);
	change_bucket(&limit->bytes, config->bytes_per_s, config->bytes_burst);
	change_bucket(&limit->ops, config->ops_per_s, config->ops_burst);
}

/*@ requires sound(&limit->bytes) && sound(&limit->ops) && \valid(limit);
    assigns *limit;
    ensures sound(&limit->bytes) && sound(&limit->ops);
*/
uint64_t rate_limit_wait(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes, uint64_t ops)
{
	refill(limit, now_ns);
	return MAX(bucket_wait(&limit->bytes, bytes), bucket_wait(&limit->ops, ops));
}

/*@ requires sound(&limit->bytes) && sound(&limit->ops) && \valid(limit);
    assigns *limit;
    ensures sound(&limit->bytes) && sound(&limit->ops);
*/
void rate_limit_charge(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes, uint64_t ops)
{
	refill(limit, now_ns);
	charge_bucket(&limit->bytes, bytes);
	charge_bucket(&limit->ops, ops);
}

/*@ requires sound(&limit->bytes) && sound(&limit->ops) && \valid(limit);
    assigns *limit;
    ensures sound(&limit->bytes) && sound(&limit->ops);
*/
void rate_limit_refund(struct rate_limit *limit, uint64_t bytes, uint64_t ops)
{
	refund_bucket(&limit->bytes, bytes);
	refund_bucket(&limit->ops, ops);
}

/*@ requires sound(&limit->bytes) && sound(&limit->ops) && \valid(limit);
    assigns *limit;
    ensures sound(&limit->bytes) && sound(&limit->ops);
*/
uint64_t rate_limit_take(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes, uint64_t ops)
{
	uint64_t wait = rate_limit_wait(limit, now_ns, bytes, ops);

	if (wait == 0)
		rate_limit_charge(limit, now_ns, bytes, ops);
	return wait;
}
