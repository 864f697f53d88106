/* SPDX-License-Identifier: MIT */
/* Guest-physical memory: layout around the hole under 4 GiB, and bounds-checked translation. */
#include "guest/memory.h"

#include <errno.h>
#include <string.h>

#define GUEST_PAGE 4096u
#define GUEST_RAM_LIMIT (1ULL << 46)

static void add_region(struct guest_memory *memory, uint64_t base, uint64_t size, uint32_t node)
{
	memory->regions[memory->count++] = (struct guest_region){
		.base = GPA(base),
		.size = size,
		.node = node,
	};
}

int guest_memory_layout(struct guest_memory *memory, const uint64_t *node_sizes, size_t nodes)
{
	struct guest_memory layout = { 0 };
	uint64_t next = 0;

	if (nodes == 0 || nodes > GUEST_NODES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < nodes; i++) {
		uint64_t size = node_sizes[i];

		if (size == 0 || size % GUEST_PAGE != 0 || size > GUEST_RAM_LIMIT ||
		    next > GUEST_RAM_LIMIT - size)
			return -EINVAL;
		if (next < GUEST_HOLE_START) {
			uint64_t below = MIN(size, GUEST_HOLE_START - next);

			add_region(&layout, next, below, (uint32_t)i);
			next += below;
			size -= below;
		}
		if (next == GUEST_HOLE_START)
			next = GUEST_HOLE_END;
		if (size > 0) {
			add_region(&layout, next, size, (uint32_t)i);
			next += size;
		}
	}
	*memory = layout;
	return 0;
}

uint64_t guest_memory_below_hole(const struct guest_memory *memory)
{
	uint64_t size = 0;

	for (size_t i = 0; i < memory->count; i++)
		if (memory->regions[i].base.v < GUEST_HOLE_START)
			size += memory->regions[i].size;
	return size;
}

uint64_t guest_memory_size(const struct guest_memory *memory)
{
	uint64_t size = 0;

	for (size_t i = 0; i < memory->count; i++)
		size += memory->regions[i].size;
	return size;
}

uint64_t guest_memory_above_hole(const struct guest_memory *memory)
{
	return guest_memory_size(memory) - guest_memory_below_hole(memory);
}

/* What is proved of this file by `make prove`, for any guest address and length
 * (tests/prove/README.md). A region's bytes are there, and its end does not wrap:
 * guest_memory_layout sees to that. */
/*@ predicate sound(struct guest_memory *m) =
      \valid_read(m) && m->count <= GUEST_REGIONS_MAX &&
      \forall integer i; 0 <= i < m->count ==>
        0 < m->regions[i].size <= (1 << 46) && m->regions[i].base.v <= (1 << 47) &&
        (m->regions[i].hva == \null ||
         \valid(m->regions[i].hva + (0 .. m->regions[i].size - 1)));
    predicate outside(struct guest_region *r, integer gpa) = gpa < r->base.v || gpa >= r->base.v + r->size;
*/

/*@ requires sound(memory) && \valid(ret_left) && \separated(memory, ret_left);
    assigns *ret_left \from gpa, *memory;
    assigns \result \from gpa, *memory;
    ensures \result != \null ==> 0 < *ret_left && \valid(\result + (0 .. *ret_left - 1)) &&
      \exists integer i; 0 <= i < memory->count &&
        memory->regions[i].base.v <= gpa.v &&
        gpa.v - memory->regions[i].base.v + *ret_left == memory->regions[i].size &&
        \result == memory->regions[i].hva + (gpa.v - memory->regions[i].base.v);
    ensures \result == \null ==> \forall integer i; 0 <= i < memory->count ==>
      outside(&memory->regions[i], gpa.v) || memory->regions[i].hva == \null;
*/
uint8_t *guest_memory_from(const struct guest_memory *memory, gpa_t gpa, uint64_t *ret_left)
{
	/*@ loop invariant 0 <= i <= memory->count;
	    loop invariant \forall integer j; 0 <= j < i ==>
	      outside(&memory->regions[j], gpa.v) || memory->regions[j].hva == \null;
	    loop assigns i;
	    loop variant memory->count - i;
	*/
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (gpa.v >= region->base.v && gpa.v - region->base.v < region->size &&
		    region->hva) {
			*ret_left = region->size - (gpa.v - region->base.v);
			return region->hva + (gpa.v - region->base.v);
		}
	}
	return NULL;
}

/*@ requires sound(memory);
    assigns \result \from gpa, length, *memory;
    ensures \result != \null ==> 0 < length && \valid(\result + (0 .. length - 1)) &&
      \exists integer i; 0 <= i < memory->count &&
        memory->regions[i].base.v <= gpa.v &&
        gpa.v + length <= memory->regions[i].base.v + memory->regions[i].size &&
        \result == memory->regions[i].hva + (gpa.v - memory->regions[i].base.v);
*/
static uint8_t *bytes_at(const struct guest_memory *memory, gpa_t gpa, uint64_t length)
{
	uint64_t left = 0;
	uint8_t *at = guest_memory_from(memory, gpa, &left);

	if (!at || length == 0 || length > left)
		return NULL;
	return at;
}

void *guest_memory_at(const struct guest_memory *memory, gpa_t gpa, uint64_t length)
{
	return bytes_at(memory, gpa, length);
}

static bool is_ram(const struct guest_memory *memory, gpa_t gpa, uint64_t length)
{
	while (length > 0) {
		uint64_t left = 0;

		if (!guest_memory_from(memory, gpa, &left))
			return false;
		left = MIN(left, length);
		length -= left;
		gpa.v += left;
	}
	return true;
}

int guest_memory_read(const struct guest_memory *memory, gpa_t gpa, void *destination,
                      size_t length)
{
	uint8_t *out = destination;

	if (!is_ram(memory, gpa, length))
		return -EFAULT;
	while (length > 0) {
		uint64_t left = 0;
		const uint8_t *from = guest_memory_from(memory, gpa, &left);
		size_t step = MIN((size_t)left, length);

		memcpy(out, from, step);
		out += step;
		gpa.v += step;
		length -= step;
	}
	return 0;
}

int guest_memory_write(const struct guest_memory *memory, gpa_t gpa, const void *source,
                       size_t length)
{
	const uint8_t *in = source;

	if (!is_ram(memory, gpa, length))
		return -EFAULT;
	while (length > 0) {
		uint64_t left = 0;
		uint8_t *to = guest_memory_from(memory, gpa, &left);
		size_t step = MIN((size_t)left, length);

		memcpy(to, in, step);
		in += step;
		gpa.v += step;
		length -= step;
	}
	return 0;
}
