/* SPDX-License-Identifier: MIT */
/* The token buckets, in a time of the tests' own. */
#include <criterion/criterion.h>

#include "io/rate_limit.h"

#define SECOND 1000000000ULL
#define MS 1000000ULL

static struct rate_limit limit_of(uint64_t bytes_per_s, uint64_t bytes_burst, uint64_t ops_per_s,
                                  uint64_t ops_burst)
{
	const struct rate_config config = { bytes_per_s, bytes_burst, ops_per_s, ops_burst };
	struct rate_limit limit;

	rate_limit_init(&limit, &config, 7 * SECOND);
	return limit;
}

TestSuite(rate_limit, .timeout = 60);

Test(rate_limit, none_is_no_limit)
{
	struct rate_limit limit = limit_of(0, 0, 0, 0);

	cr_assert(!rate_limit_is_set(&limit));
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(rate_limit_take(&limit, 7 * SECOND, UINT64_MAX, UINT64_MAX), 0);
}

Test(rate_limit, burst_then_rate)
{
	struct rate_limit limit = limit_of(1000, 5000, 0, 0);
	uint64_t now = 7 * SECOND;

	cr_assert(rate_limit_is_set(&limit));
	for (int i = 0; i < 5; i++)
		cr_assert_eq(rate_limit_take(&limit, now, 1000, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, now, 1000, 1), SECOND);
	cr_assert_eq(rate_limit_take(&limit, now + SECOND - 1, 1000, 1), 1);
	cr_assert_eq(rate_limit_take(&limit, now + SECOND, 1000, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, now + SECOND, 1, 1), MS);
}

Test(rate_limit, a_full_bucket_does_not_grow)
{
	struct rate_limit limit = limit_of(0, 0, 10, 3);
	uint64_t now = 1000000 * SECOND;

	for (int i = 0; i < 3; i++)
		cr_assert_eq(rate_limit_take(&limit, now, 1 << 30, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, now, 1, 1), 100 * MS);
}

Test(rate_limit, both_must_allow_it)
{
	struct rate_limit limit = limit_of(1000, 1000, 10, 2);
	uint64_t now = 7 * SECOND;

	cr_assert_eq(rate_limit_take(&limit, now, 900, 1), 0);
	/* Bytes are short: a refusal must cost no operation either. */
	cr_assert_eq(rate_limit_take(&limit, now, 200, 1), 100 * MS);
	cr_assert_eq(rate_limit_take(&limit, now, 100, 1), 0);
	/* Both are short now: the longer wait counts. */
	cr_assert_eq(rate_limit_take(&limit, now, 10, 1), 100 * MS);
	cr_assert_eq(rate_limit_take(&limit, now, 500, 1), 500 * MS);
}

Test(rate_limit, more_than_the_burst_passes_when_full_and_is_paid_for)
{
	struct rate_limit limit = limit_of(1000, 1000, 0, 0);
	uint64_t now = 7 * SECOND;

	cr_assert_eq(rate_limit_take(&limit, now, 5000, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, now, 1, 1), 4 * SECOND + MS);
	cr_assert_eq(rate_limit_take(&limit, now + 4 * SECOND, 0, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, now + 4 * SECOND, 5000, 1), SECOND);
}

Test(rate_limit, a_charge_after_the_fact_goes_into_debt)
{
	struct rate_limit limit = limit_of(1000, 100, 0, 0);
	uint64_t now = 7 * SECOND;

	cr_assert_eq(rate_limit_wait(&limit, now, 1, 0), 0);
	rate_limit_charge(&limit, now, 1600, 1);
	cr_assert_eq(rate_limit_wait(&limit, now, 1, 0), SECOND + 501 * MS);
	rate_limit_refund(&limit, 1500, 1);
	cr_assert_eq(rate_limit_wait(&limit, now, 1, 0), MS);
	rate_limit_refund(&limit, UINT64_MAX, UINT64_MAX);
	cr_assert_eq(rate_limit_take(&limit, now, 100, 0), 0);
	cr_assert_eq(rate_limit_wait(&limit, now, 1, 0), MS, "no more than the burst");
}

Test(rate_limit, a_burst_of_zero_is_a_tenth_of_a_second)
{
	struct rate_limit limit = limit_of(10000, 0, 3, 0);

	cr_assert_eq(limit.bytes.burst, 1000);
	cr_assert_eq(limit.ops.burst, 1, "at least one token");
}

Test(rate_limit, nothing_is_lost_by_asking_often)
{
	struct rate_limit limit = limit_of(3, 1, 0, 0);
	uint64_t now = 7 * SECOND;
	uint64_t passed = 0;

	/* Steps in which a third of a token does not come out even. */
	for (uint64_t t = 0; t <= 100 * SECOND; t += 9999991)
		passed += rate_limit_take(&limit, now + t, 1, 1) == 0;
	cr_assert_geq(passed, 290);
	cr_assert_leq(passed, 301);
	/* And exactly, where each wait is followed to the nanosecond. */
	limit = limit_of(7, 1, 0, 0);
	for (passed = 0; now <= 107 * SECOND;) {
		uint64_t wait = rate_limit_take(&limit, now, 1, 1);

		passed += wait == 0;
		now += wait;
		/* A token that passed was there, whole. */
		cr_assert(limit.bytes.level >= 0);
	}
	cr_assert_geq(passed, 700);
	cr_assert_leq(passed, 701);
}

Test(rate_limit, time_that_stands_or_steps_back_adds_nothing)
{
	struct rate_limit limit = limit_of(1000, 1000, 0, 0);

	cr_assert_eq(rate_limit_take(&limit, 7 * SECOND, 1000, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, 3 * SECOND, 1, 1), MS);
	cr_assert_eq(rate_limit_take(&limit, 7 * SECOND, 1, 1), MS);
	cr_assert_eq(rate_limit_take(&limit, 0, 1, 1), MS);
	cr_assert_eq(rate_limit_take(&limit, 7 * SECOND + MS, 1, 1), 0);
}

Test(rate_limit, the_largest_numbers_do_not_overflow)
{
	struct rate_limit limit = limit_of(UINT64_MAX, UINT64_MAX, UINT64_MAX, 0);

	for (int i = 0; i < 100; i++)
		rate_limit_charge(&limit, 7 * SECOND, UINT64_MAX, UINT64_MAX);
	cr_assert_eq(rate_limit_wait(&limit, 7 * SECOND, UINT64_MAX, 1), 2 * SECOND);
	cr_assert_eq(rate_limit_wait(&limit, UINT64_MAX, UINT64_MAX, UINT64_MAX), 0);
	limit = limit_of(1, 1, 0, 0);
	rate_limit_charge(&limit, 7 * SECOND, UINT64_MAX, 0);
	rate_limit_charge(&limit, 7 * SECOND, UINT64_MAX, 0);
	cr_assert_eq(rate_limit_wait(&limit, 7 * SECOND, 1, 0), UINT64_MAX);
	limit = limit_of(1, UINT64_MAX, 0, 0);
	cr_assert_eq(rate_limit_take(&limit, 7 * SECOND, UINT64_MAX, 1), 0);
	cr_assert_eq(rate_limit_take(&limit, 7 * SECOND, 1, 1), SECOND);
}

Test(rate_limit, a_change_takes_effect_at_once)
{
	const struct rate_config slow = { .ops_per_s = 1, .ops_burst = 5 };
	const struct rate_config fast = { .ops_per_s = 1000, .ops_burst = 10 };
	const struct rate_config none = { 0 };
	struct rate_limit limit = limit_of(0, 0, 1, 10);
	uint64_t now = 7 * SECOND;

	/* What is left is kept, up to the new burst. */
	cr_assert_eq(rate_limit_take(&limit, now, 0, 2), 0);
	rate_limit_change(&limit, &slow, now);
	cr_assert_eq(rate_limit_take(&limit, now, 0, 5), 0);
	cr_assert_eq(rate_limit_take(&limit, now, 0, 1), SECOND);
	/* Debt is forgiven; no tokens are given. */
	rate_limit_charge(&limit, now, 0, 1000);
	rate_limit_change(&limit, &fast, now);
	cr_assert_eq(rate_limit_take(&limit, now, 0, 1), MS);
	rate_limit_change(&limit, &none, now);
	cr_assert_eq(rate_limit_take(&limit, now, 0, 1000000), 0);
	rate_limit_change(&limit, &slow, now);
	cr_assert_eq(rate_limit_take(&limit, now, 0, 5), 0, "a bucket that was no limit is full");
	cr_assert_eq(rate_limit_take(&limit, now, 0, 1), SECOND);
}

/* -------------------------------------------------------------- both buckets, the same for each */

enum bucket { BYTES, OPS, BUCKETS };

/* A limit on one of the two; the other is none, or so wide that it never matters. */
static struct rate_limit limit_on(enum bucket which, uint64_t rate, uint64_t burst, bool other)
{
	const uint64_t wide = other ? UINT64_MAX : 0;

	return which == BYTES ? limit_of(rate, burst, wide, wide)
	                      : limit_of(wide, wide, rate, burst);
}

static uint64_t take(struct rate_limit *limit, enum bucket which, uint64_t now, uint64_t tokens)
{
	return rate_limit_take(limit, now, which == BYTES ? tokens : 0, which == OPS ? tokens : 0);
}

static uint64_t wait_for(struct rate_limit *limit, enum bucket which, uint64_t now, uint64_t tokens)
{
	return rate_limit_wait(limit, now, which == BYTES ? tokens : 0, which == OPS ? tokens : 0);
}

/* A token takes exactly its time: there to the nanosecond, and not a nanosecond before. */
Test(rate_limit, each_bucket_fills_at_its_rate)
{
	static const uint64_t rates[] = { 1, 3, 7, 1000, 1000003, 3000000000 };

	for (int i = 0; i < 2 * BUCKETS; i++) {
		enum bucket which = i % BUCKETS;

		for (size_t r = 0; r < ARRAY_SIZE(rates); r++) {
			struct rate_limit limit = limit_on(which, rates[r], 10, i >= BUCKETS);
			uint64_t now = 7 * SECOND;

			cr_assert_eq(take(&limit, which, now, 10), 0);
			for (uint64_t tokens = 1; tokens <= 10; tokens++) {
				uint64_t time = (tokens * SECOND + rates[r] - 1) / rates[r];

				cr_assert_eq(wait_for(&limit, which, now, tokens), time,
				             "bucket %d, rate %zu", i, (size_t)rates[r]);
				cr_assert_eq(wait_for(&limit, which, now + time - 1, tokens), 1);
				cr_assert_eq(take(&limit, which, now + time, tokens), 0);
				/* All of it gone again, and what the rounding up left with it. */
				limit = limit_on(which, rates[r], 10, i >= BUCKETS);
				cr_assert_eq(take(&limit, which, now, 10), 0);
			}
		}
	}
}

Test(rate_limit, each_bucket_is_charged_and_refunded_by_itself)
{
	for (int i = 0; i < BUCKETS; i++) {
		enum bucket which = i, other = which == BYTES ? OPS : BYTES;
		struct rate_limit limit = limit_of(1000, 100, 1000, 100);
		uint64_t now = 7 * SECOND;

		for (uint64_t left = 100; left > 0; left -= 25) {
			cr_assert_eq(wait_for(&limit, which, now, left), 0);
			cr_assert_eq(take(&limit, which, now, 25), 0);
			cr_assert_eq(wait_for(&limit, which, now, left), 25 * MS);
			cr_assert_eq(wait_for(&limit, other, now, 100), 0,
			             "the other has lost nothing");
		}
		rate_limit_charge(&limit, now, which == BYTES ? 50 : 0, which == OPS ? 50 : 0);
		cr_assert_eq(wait_for(&limit, which, now, 1), 51 * MS);
		rate_limit_refund(&limit, which == BYTES ? 120 : 0, which == OPS ? 120 : 0);
		cr_assert_eq(wait_for(&limit, which, now, 70), 0);
		cr_assert_eq(wait_for(&limit, which, now, 71), MS);
		rate_limit_refund(&limit, which == BYTES ? 1000 : 0, which == OPS ? 1000 : 0);
		cr_assert_eq(take(&limit, which, now, 100), 0);
		cr_assert_eq(wait_for(&limit, which, now, 1), MS,
		             "a refund fills no more than the burst");
		cr_assert_eq(take(&limit, other, now, 100), 0);
		cr_assert_eq(wait_for(&limit, other, now, 1), MS);
	}
}

/* Rates and bursts of the two are not mixed up, in init as in change. */
Test(rate_limit, each_bucket_has_its_own_rate_and_burst)
{
	const struct rate_config config = { 1000, 11, 500, 7 }, swapped = { 500, 7, 1000, 11 };
	const struct rate_config defaults = { 70, 0, 30, 0 };
	struct rate_limit limit;

	rate_limit_init(&limit, &config, 0);
	for (int i = 0; i < 2; i++) {
		uint64_t now = (uint64_t)(i + 1) * 100 * SECOND;

		if (i == 1)
			rate_limit_change(&limit, &swapped, now);
		/* A bucket keeps no more than its new burst, and gets no more than it held. */
		cr_assert_eq(limit.bytes.rate, i ? 500 : 1000);
		cr_assert_eq(limit.bytes.burst, i ? 7 : 11);
		cr_assert_eq(limit.ops.rate, i ? 1000 : 500);
		cr_assert_eq(limit.ops.burst, i ? 11 : 7);
		cr_assert_eq(take(&limit, BYTES, now, 7), 0);
		cr_assert_eq(take(&limit, OPS, now, 7), 0);
		cr_assert_eq(wait_for(&limit, BYTES, now, i ? 1 : 5), i ? 2 * MS : MS);
		cr_assert_eq(wait_for(&limit, OPS, now, 1), i ? MS : 2 * MS);
	}
	rate_limit_change(&limit, &defaults, 400 * SECOND);
	cr_assert_eq(limit.bytes.burst, 7);
	cr_assert_eq(limit.ops.burst, 3);
}

/* Until the change the old rate holds. */
Test(rate_limit, what_the_old_rate_yielded_is_kept)
{
	for (int i = 0; i < BUCKETS; i++) {
		enum bucket which = i;
		const struct rate_config slow = { which == BYTES, which == BYTES ? 1000 : 0,
			                          which == OPS, which == OPS ? 1000 : 0 };
		struct rate_limit limit = limit_on(which, 1000, 1000, false);
		uint64_t now = 7 * SECOND;

		cr_assert_eq(take(&limit, which, now, 1000), 0);
		rate_limit_change(&limit, &slow, now + 400 * MS);
		cr_assert_eq(wait_for(&limit, which, now + 400 * MS, 401), SECOND);
		cr_assert_eq(take(&limit, which, now + 400 * MS, 400), 0);
	}
}
