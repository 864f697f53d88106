/* SPDX-License-Identifier: MIT */
/* The bump allocator behind protobuf-c. */
#include "interface/arena.h"

#include <errno.h>
#include <sys/mman.h>

#define ARENA_ALIGNMENT 16

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	size_t at = ALIGN_UP(arena->used, ARENA_ALIGNMENT);

	if (at > arena->size || size > arena->size - at) {
		arena->exhausted = true;
		return NULL;
	}
	arena->used = at + size;
	return arena->base + at;
}

static void arena_free(void *data, void *pointer)
{
	(void)data;
	(void)pointer;
}

int arena_map(struct arena *arena, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	*arena = (struct arena){ .base = map, .size = size };
	return 0;
}

void arena_unmap(struct arena *arena)
{
	if (arena->base)
		(void)munmap(arena->base, arena->size);
	*arena = (struct arena){ 0 };
}

void arena_reset(struct arena *arena)
{
	arena->used = 0;
	arena->exhausted = false;
}

ProtobufCAllocator arena_allocator(struct arena *arena)
{
	return (ProtobufCAllocator){ .alloc = arena_alloc,
		                     .free = arena_free,
		                     .allocator_data = arena };
}
