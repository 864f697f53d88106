/* SPDX-License-Identifier: MIT */
/* The seal and the barrier (runtime/base/gate.h, stage_secure.c, sealing.c), for THREADS threads.
 *
 * A futex is modelled as it is: waiting compares the word and goes to sleep in one step, waking wakes all
 * who sleep. Memory is sequentially consistent: the words are read with acquire and written with release,
 * and nothing but they and what they publish is shared. `sealed` stands for a thread's filter.
 *
 * Shown: no thread is past GATE_RUN before every thread is sealed; a thread that cannot be sealed keeps all
 * of them from running; nobody waits for ever unless a thread has failed.
 *
 * Mutations, each of which must be found: LOST_WAKE (a wait that does not compare), EARLY_COUNT (a thread
 * counts itself in before it is sealed), ONE_SHORT (control waits for one arrival fewer), NO_EVENT (the
 * last sealed thread does not wake control). */
#define THREADS 3

byte opened, arrived; /* struct gate */
bool sealed[THREADS], failed;
byte event; /* the control thread's eventfd */
bool opened_wake[THREADS], arrived_wake, arrived_sleeps;
bool opened_sleeps[THREADS];
bool given_up; /* control has given the launch up: the process ends */

inline wake_opened() {
	atomic {
		byte k = 0;
		do
		:: k < THREADS -> if :: opened_sleeps[k] -> opened_wake[k] = true :: else fi; k++
		:: else -> break
		od
	}
}

inline pass(id, step) {
	do
	:: given_up -> goto ended
	:: opened >= step -> break
	:: else ->
		seen = opened;
		if
		:: seen >= step -> break
		:: else
		fi;
#ifdef LOST_WAKE
		opened_sleeps[id] = true;
		(opened_wake[id] || given_up) -> opened_sleeps[id] = false; opened_wake[id] = false
#else
		if
		:: atomic { opened == seen -> opened_sleeps[id] = true };
			(opened_wake[id] || given_up) -> atomic { opened_sleeps[id] = false; opened_wake[id] = false }
		:: opened != seen
		fi
#endif
	od
}

inline count_in() {
	atomic { arrived++; mine = arrived };
	atomic { if :: arrived_sleeps -> arrived_wake = true :: else fi }
}

active [THREADS] proctype thread() {
	byte seen, mine;
	byte id = _pid;

	count_in();      /* gate_arrive(GATE_SEAL) */
	pass(id, 1);
#ifdef EARLY_COUNT
	count_in();
	event++;
#endif
	if
	:: sealed[id] = true
	:: failed = true
	fi;
#ifndef EARLY_COUNT
	count_in();      /* count_sealed: the last one wakes */
#ifndef NO_EVENT
	if
	:: mine >= 2 * THREADS -> event++
	:: else
	fi;
#endif
#endif
	pass(id, 2);
	/* The guest runs. */
	byte k = 0;
	do
	:: k < THREADS -> assert(sealed[k]); k++
	:: else -> break
	od;
	assert(!failed);
ended:
	skip
}

active proctype control() {
	byte seen;

	do /* gate_await(THREADS) */
	:: arrived >= THREADS -> break
	:: else ->
		seen = arrived;
		if
		:: atomic { seen < THREADS && arrived == seen -> arrived_sleeps = true };
			arrived_wake -> atomic { arrived_sleeps = false; arrived_wake = false }
		:: seen >= THREADS || arrived != seen
		fi
	od;
	opened = 1;
	wake_opened();
	do /* gate_reached(2 * THREADS), with poll(2) between */
#ifdef ONE_SHORT
	:: arrived >= 2 * THREADS - 1 -> break
#else
	:: arrived >= 2 * THREADS -> break
#endif
	:: else -> event > 0 -> event = 0
	od;
	if
	:: failed -> given_up = true /* the problem ends the process, and its threads with it */
	:: else -> opened = 2; wake_opened()
	fi
}

