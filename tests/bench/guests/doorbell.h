/* SPDX-License-Identifier: MIT */
/* What doorbell.c and its baseline share in the place of a device. */
#ifndef AXVM_BENCH_DOORBELL_H
#define AXVM_BENCH_DOORBELL_H

#define DOORBELL_RING 0x200000u /* two 16-bit counters, a cache line apart, then the byte */
#define DOORBELL_AVAIL DOORBELL_RING
#define DOORBELL_USED (DOORBELL_RING + 64)
#define DOORBELL_BYTE (DOORBELL_RING + 128)
#define DOORBELL_ADDRESS 0xc0000000u
#define DOORBELL_VECTOR 0x40u

#endif
