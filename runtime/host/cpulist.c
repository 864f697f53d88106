/* SPDX-License-Identifier: MIT */
/* Bounded CPU sets in the kernel's list notation. */
#include "host/cpulist.h"

#include <errno.h>
#include <stdio.h>

bool cpu_bitmap_has(const struct cpu_bitmap *bitmap, uint32_t cpu)
{
	return cpu < CPU_BITMAP_MAX && (bitmap->words[cpu / 64] >> (cpu % 64) & 1);
}

uint32_t cpu_bitmap_next(const struct cpu_bitmap *bitmap, uint32_t from)
{
	for (uint32_t i = from / 64; i < ARRAY_SIZE(bitmap->words); i++) {
		uint64_t word = bitmap->words[i];

		if (i == from / 64)
			word &= ~0ULL << (from % 64);
		if (word)
			return i * 64 + (uint32_t)__builtin_ctzll(word);
	}
	return CPU_BITMAP_MAX;
}

void cpu_bitmap_add(struct cpu_bitmap *bitmap, uint32_t cpu)
{
	if (cpu < CPU_BITMAP_MAX)
		bitmap->words[cpu / 64] |= 1ULL << (cpu % 64);
}

size_t cpu_bitmap_count(const struct cpu_bitmap *bitmap)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bitmap->words); i++)
		count += (size_t)__builtin_popcountll(bitmap->words[i]);
	return count;
}

static int parse_number(const char **at, uint32_t *ret)
{
	uint32_t value = 0;

	if (**at < '0' || **at > '9')
		return -EINVAL;
	for (; **at >= '0' && **at <= '9'; (*at)++)
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint32_t)(**at - '0'), &value))
			return -EINVAL;
	*ret = value;
	return 0;
}

int cpu_bitmap_parse(const char *list, struct cpu_bitmap *ret)
{
	struct cpu_bitmap bitmap = { 0 };

	while (*list == ' ' || *list == '\t')
		list++;
	while (*list && *list != '\n') {
		uint32_t first = 0, last;

		if (parse_number(&list, &first) < 0)
			return -EINVAL;
		last = first;
		if (*list == '-') {
			list++;
			if (parse_number(&list, &last) < 0 || last < first)
				return -EINVAL;
		}
		for (uint32_t cpu = first; cpu <= MIN(last, CPU_BITMAP_MAX - 1u); cpu++)
			cpu_bitmap_add(&bitmap, cpu);
		if (*list == ',' && list[1] && list[1] != '\n')
			list++;
		else if (*list && *list != '\n')
			return -EINVAL;
	}
	*ret = bitmap;
	return 0;
}

char *cpu_bitmap_format(const struct cpu_bitmap *bitmap, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (uint32_t cpu = cpu_bitmap_next(bitmap, 0); cpu < CPU_BITMAP_MAX && used < size;
	     cpu = cpu_bitmap_next(bitmap, cpu)) {
		uint32_t last = cpu;
		const char *comma = used ? "," : "";
		int n;

		while (cpu_bitmap_has(bitmap, last + 1))
			last++;
		n = last > cpu ? snprintf(buffer + used, size - used, "%s%u-%u", comma, cpu, last)
		               : snprintf(buffer + used, size - used, "%s%u", comma, cpu);
		used += n > 0 ? (size_t)n : 0;
		cpu = last + 1;
	}
	return buffer;
}
