/* SPDX-License-Identifier: MIT */
/* A bounded bump allocator for protobuf-c: freeing does nothing, resetting frees all. */
#ifndef AXVM_INTERFACE_ARENA_H
#define AXVM_INTERFACE_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "base/base.h"

struct arena {
	uint8_t *base;
	size_t size;
	size_t used;
	bool exhausted; /* an allocation was refused since the last reset */
};

/* Maps `size` bytes, touched as far as used. 0 or -errno. */
int arena_map(struct arena *arena, size_t size);

/* Unmaps what arena_map() mapped; accepts a zeroed arena. */
void arena_unmap(struct arena *arena);

/* Forgets every allocation. */
void arena_reset(struct arena *arena);

/* An allocator that takes from the arena, which must outlive what it gives. */
ProtobufCAllocator arena_allocator(struct arena *arena);

#endif
