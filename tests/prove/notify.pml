/* SPDX-License-Identifier: MIT */
/* Notification suppression (VIRTIO 1.2 §2.7.7 and §2.7.10; runtime/virtio/queue.c), both ways alike.
 *
 * A producer publishes an index and then looks at the consumer's wish; the consumer states its wish and then
 * looks at the index. For kicks the producer is the driver (avail.idx, avail_event), for interrupts it is
 * the device (used.idx in virtq_publish, used_event). Stores go through a store buffer of one entry a
 * side, as on x86, which is all that can go wrong here; a fence waits until it is empty. Indices are taken
 * modulo MODULUS, so that they wrap in the run, and the producer is never more than QUEUE ahead, as no
 * driver is more than its queue's size; the decision is virtq_passes().
 *
 * Shown: with the fences, the consumer takes all that was produced and never sleeps for ever, for batches of
 * one and two, with event indices and with the flag (FLAG).
 *
 * Mutations, each of which must be found: NO_PRODUCER_FENCE, NO_CONSUMER_FENCE, NO_RECHECK (the consumer
 * sleeps without a second look), OFF_BY_ONE (in the decision). */
#define ITEMS 6
#define MODULUS 4
#define QUEUE 2

byte index, wish;            /* as the other side sees them */
bool quiet;                  /* the flag: do not notify */
bool index_buffered, wish_buffered;
byte index_store, wish_store;
bool notified;
byte taken;                  /* of the consumer; the producer knows it by what came back */

/* The buffers drain when they like. */
active proctype drain() {
end:	do
	:: atomic { index_buffered -> index = index_store; index_buffered = false }
	:: atomic { wish_buffered ->
#ifdef FLAG
			quiet = wish_store;
#else
			wish = wish_store;
#endif
			wish_buffered = false }
	od
}

active proctype producer() {
	byte made = 0, before, after, batch, seen;

	do
	:: made == ITEMS -> break
	:: made < ITEMS ->
		before = made % MODULUS;
		if
		:: made + 1 - taken <= QUEUE -> batch = 1
		:: made + 2 <= ITEMS && made + 2 - taken <= QUEUE -> batch = 2
		fi;
		made = made + batch;
		after = made % MODULUS;
		atomic { !index_buffered -> index_store = after; index_buffered = true };
#ifndef NO_PRODUCER_FENCE
		!index_buffered;
#endif
#ifdef FLAG
		if
		:: !quiet -> notified = true
		:: else
		fi
#else
		seen = wish;
		if
#ifdef OFF_BY_ONE
		:: (after + MODULUS - seen) % MODULUS < (after + MODULUS - before) % MODULUS -> notified = true
#else
		:: (after + 2 * MODULUS - seen - 1) % MODULUS < (after + MODULUS - before) % MODULUS -> notified = true
#endif
		:: else
		fi
#endif
	od
}

active proctype consumer() {
	byte seen;

	do
	:: taken == ITEMS -> break
	:: taken < ITEMS ->
		seen = index;
		if
		:: seen != taken % MODULUS ->
#ifdef FLAG
			atomic { !wish_buffered -> wish_store = 1; wish_buffered = true }; /* virtq_suppress_kicks */
#endif
			taken++
		:: else ->
			/* virtq_want_kicks */
#ifdef FLAG
			atomic { !wish_buffered -> wish_store = 0; wish_buffered = true };
#else
			atomic { !wish_buffered -> wish_store = taken % MODULUS; wish_buffered = true };
#endif
#ifndef NO_CONSUMER_FENCE
			!wish_buffered;
#endif
#ifndef NO_RECHECK
			if
			:: index != taken % MODULUS -> skip /* more has come: go on */
			:: else -> notified -> notified = false
			fi
#else
			notified -> notified = false
#endif
		fi
	od
}
