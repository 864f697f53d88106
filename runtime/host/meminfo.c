/* SPDX-License-Identifier: MIT */
/* Computes the room for guest memory from the kernel's meminfo of a node. */
#include "host/meminfo.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

uint64_t meminfo_kib(const char *text, const char *row)
{
	const size_t length = strlen(row);

	/* A match must be a whole name: "MemFree:" could also end another row's name. */
	for (const char *at = strstr(text, row); at; at = strstr(at + 1, row))
		if (at == text || at[-1] == ' ' || at[-1] == '\n')
			return strtoull(at + length, NULL, 10);
	return 0;
}

uint64_t meminfo_room_kib(const char *text, uint64_t share)
{
	static const char *const rows[] = { "MemFree:", "Active(file):", "Inactive(file):",
		                            "SReclaimable:" };
	uint64_t sum = 0, reserve;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		sum += meminfo_kib(text, rows[i]);
	reserve = MAX(meminfo_kib(text, "MemTotal:"), GIB / KIB) / share;
	return sum > reserve ? sum - reserve : 0;
}
