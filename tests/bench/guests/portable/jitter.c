/* SPDX-License-Identifier: MIT */
/* Arms the local APIC's TSC deadline for a millisecond from now, halts, and notes how late it is
 * woken, wakes= times. khz= is the TSC's rate. What it found, in nanoseconds of at most 2^32: the
 * median and the 99th percentile are the halves of RAX, the 99.9th and the largest those of RBX; on
 * the serial port they have names. */
#include "portable.h"

#define VECTOR 0x40u
#define LVT_TSC_DEADLINE (2u << 17)
#define CPUID_TSC_DEADLINE (1u << 24)
#define WAKES_MAX 20000u
#define WARM 20u /* not counted: the first touches of code and data */

static uint32_t late_ns[WAKES_MAX];

/* Shell's, with Knuth's gaps. */
static void sort(uint32_t *values, uint32_t count)
{
	for (uint32_t gap = 9841; gap > 0; gap /= 3)
		for (uint32_t i = gap; i < count; i++) {
			uint32_t value = values[i], j = i;

			for (; j >= gap && values[j - gap] > value; j -= gap)
				values[j] = values[j - gap];
			values[j] = value;
		}
}

static uint32_t one_wake(uint64_t ticks, uint64_t khz)
{
	uint64_t deadline = rdtsc() + ticks, woken, ns;

	wrmsr(TSC_DEADLINE, deadline);
	woken = portable_sleep();
	apic_eoi();
	ns = woken > deadline ? (woken - deadline) * 1000000 / khz : 0;
	return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

/* The smallest that so many of a thousand do not exceed. */
static uint64_t quantile(uint32_t count, uint32_t of_1000)
{
	return late_ns[(count * (uint64_t)of_1000 + 999) / 1000 - 1];
}

void guest_main(uint64_t start_info, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t khz, start, p50, p99, p999, largest;
	uint32_t wakes;

	portable_begin(start_info);
	khz = portable_option("khz", 0);
	wakes = (uint32_t)portable_option("wakes", 1500);
	if (khz == 0 || wakes < 1 || wakes > WAKES_MAX || !(cpuid(1, 0).ecx & CPUID_TSC_DEADLINE))
		portable_end(GUEST_FAIL | __LINE__, cpuid(1, 0).ecx);
	idt_set(VECTOR, portable_wake);
	apic_enable();
	wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR);
	for (uint32_t i = 0; i < WARM; i++)
		(void)one_wake(khz, khz);
	start = rdtsc();
	for (uint32_t i = 0; i < wakes; i++)
		late_ns[i] = one_wake(khz, khz);
	/* A timer that comes at once would be the best of all. */
	if (rdtsc() - start < wakes * khz)
		portable_end(GUEST_FAIL | __LINE__, rdtsc() - start);
	sort(late_ns, wakes);
	p50 = quantile(wakes, 500);
	p99 = quantile(wakes, 990);
	p999 = quantile(wakes, 999);
	largest = late_ns[wakes - 1];
	portable_say("p50", p50);
	portable_say("p99", p99);
	portable_say("p999", p999);
	portable_say("max", largest);
	portable_say("done", wakes);
	portable_end(p50 << 32 | p99, p999 << 32 | largest);
}
