/* SPDX-License-Identifier: MIT */
/* When and where each thread came into being: for the Running event, and so for `axvm timeline`. */
#ifndef AXVM_INTERFACE_THREAD_RECORD_H
#define AXVM_INTERFACE_THREAD_RECORD_H

#include <stdint.h>

/* Written by the thread itself before its filter; read by the control thread behind the gate. Times
 * are CLOCK_MONOTONIC in nanoseconds; 0: not reached. */
struct thread_record {
	char name[16]; /* as the kernel knows it: "vcpu0" */
	uint64_t started_ns;
	uint64_t staffed_ns;          /* has what it needs: a vCPU's thread has created its vCPU */
	uint64_t sealing_ns;          /* takes its filter next */
	uint32_t host_cpu, host_node; /* when it was staffed */
};

/* Names the calling thread and begins its record. */
void thread_record_start(struct thread_record *record, const char *name);
/* Notes that the calling thread has what it needs, and that it is about to take its filter, after
 * which it may be unable to read the clock. */
void thread_record_staffed(struct thread_record *record);
void thread_record_sealing(struct thread_record *record);

#endif
