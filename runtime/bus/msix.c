/* SPDX-License-Identifier: MIT */
/* MSI-X vectors as one atomic word each.
 *
 * The word holds PENDING, BLOCKED (masked by its own bit or the function's, or the function may not
 * master the bus) and DISABLED (MSI-X is off). The signalling thread sets PENDING; if nothing
 * blocks the vector, it clears PENDING and delivers. A vCPU thread that unblocks clears BLOCKED
 * and, when it finds PENDING, asks for a replay on the signalling thread. Both are
 * read-modify-writes of one word, so one of the two always sees the other. Only the signalling
 * thread clears PENDING (and switching MSI-X off, which drops it): no interrupt is lost and none is
 * delivered twice.
 *
 * The route of a vector is given to the fabric when it is unblocked with a changed address or data,
 * not at each of the three dword writes: an ordinary driver costs one route a vector. The route is
 * in force before BLOCKED is cleared. */
#include "bus/msix.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#define STATE_BLOCKED 1u
#define STATE_PENDING 2u
#define STATE_DISABLED 4u

enum { ENTRY_ADDRESS_LOW, ENTRY_ADDRESS_HIGH, ENTRY_DATA, ENTRY_CONTROL };

static const uint32_t entry_writable[4] = {
	[ENTRY_ADDRESS_LOW] = ~3u,
	[ENTRY_ADDRESS_HIGH] = ~0u,
	[ENTRY_DATA] = ~0u,
	[ENTRY_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT,
};
static_assert(sizeof(entry_writable) == MSIX_ENTRY_BYTES, "one mask a dword of an entry");

static int add_capability(struct msix *msix, struct pci_function *function, uint32_t table_offset,
                          uint32_t pba_offset)
{
	struct {
		uint16_t control;
		uint32_t table;
		uint32_t pba;
	} __attribute__((packed)) body = {
		.control = (uint16_t)(msix->count - 1),
		.table = table_offset, /* BIR 0 */
		.pba = pba_offset,
	};
	uint16_t writable = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
	int r = pci_add_capability(function, PCI_CAP_ID_MSIX, &body, sizeof(body),
	                           &msix->capability);

	if (r < 0)
		return r;
	memcpy(&function->writable[msix->capability + PCI_MSIX_FLAGS], &writable, sizeof(writable));
	return 0;
}

int msix_init(struct msix *msix, struct pci_function *function, uint32_t table_offset,
              uint32_t pba_offset, uint16_t count, struct fabric *fabric,
              const struct msix_sink *sink)
{
	int r;

	memset(msix, 0, sizeof(*msix));
	if (count == 0 || count > MSIX_VECTORS_MAX || table_offset % 8 != 0 || pba_offset % 8 != 0)
		return -EINVAL;
	msix->vectors = calloc(count, sizeof(*msix->vectors));
	if (!msix->vectors)
		return -ENOMEM;
	msix->count = count;
	msix->fabric = fabric;
	msix->sink = *sink;
	pthread_mutex_init(&msix->lock, NULL);
	for (uint16_t i = 0; i < count; i++)
		msix->vectors[i].eventfd = -1;
	for (uint16_t i = 0; i < count; i++) {
		struct msix_vector *vector = &msix->vectors[i];

		atomic_init(&vector->state, STATE_BLOCKED | STATE_DISABLED);
		vector->entry[ENTRY_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		vector->route_stale = true;
		/* Non-blocking, so that a write through io_uring is carried out at submission. */
		vector->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = vector->eventfd < 0
		            ? -errno
		            : fabric->ops->add_irqfd(fabric, vector->eventfd, &vector->gsi);
		if (r < 0)
			goto fail;
	}
	r = add_capability(msix, function, table_offset, pba_offset);
	if (r < 0)
		goto fail;
	return 0;
fail:
	msix_done(msix);
	return r;
}

void msix_done(struct msix *msix)
{
	if (msix->vectors)
		pthread_mutex_destroy(&msix->lock);
	for (uint16_t i = 0; msix->vectors && i < msix->count; i++)
		close_ptr(&msix->vectors[i].eventfd);
	free(msix->vectors);
	memset(msix, 0, sizeof(*msix));
}

/* ------------------------------------------------------------------------ signalling thread */

static void deliver_pending(struct msix *msix, uint16_t index)
{
	/* seq_cst: orders against the unblocking side's read-modify-write in `settle`. */
	uint32_t before = atomic_fetch_and(&msix->vectors[index].state, ~STATE_PENDING);

	if (before & STATE_PENDING)
		msix->sink.deliver(msix->sink.context, index);
}

void msix_signal(struct msix *msix, uint16_t vector)
{
	uint32_t before;

	if (vector >= msix->count)
		return;
	before = atomic_fetch_or(&msix->vectors[vector].state, STATE_PENDING);
	if (before & STATE_DISABLED)
		atomic_fetch_and(&msix->vectors[vector].state, ~STATE_PENDING);
	else if (!(before & STATE_BLOCKED))
		deliver_pending(msix, vector);
}

void msix_replay(struct msix *msix)
{
	for (uint16_t i = 0; i < msix->count; i++) {
		uint32_t state = atomic_load(&msix->vectors[i].state);

		if ((state & STATE_PENDING) && !(state & (STATE_BLOCKED | STATE_DISABLED)))
			deliver_pending(msix, i);
	}
}

int msix_direct_fd(const struct msix *msix, uint16_t vector)
{
	if (vector >= msix->count ||
	    (atomic_load(&msix->vectors[vector].state) & (STATE_BLOCKED | STATE_DISABLED)))
		return -1;
	return msix->vectors[vector].eventfd;
}

void msix_forget(struct msix *msix)
{
	for (uint16_t i = 0; i < msix->count; i++)
		atomic_fetch_and(&msix->vectors[i].state, ~STATE_PENDING);
}

/* ------------------------------------------------------------------------------ vCPU threads */

/* Brings one vector's word in line with its entry and the function. */
static void settle_word(struct msix *msix, struct msix_vector *vector)
{
	const uint32_t *entry = vector->entry;
	bool masked = msix->function_masked || (entry[ENTRY_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);

	if (!msix->enabled) {
		atomic_fetch_or(&vector->state, STATE_DISABLED | STATE_BLOCKED);
		atomic_fetch_and(&vector->state, ~STATE_PENDING);
		return;
	}
	atomic_fetch_and(&vector->state, ~STATE_DISABLED);
	if (!masked && vector->route_stale) {
		uint64_t address =
			(uint64_t)entry[ENTRY_ADDRESS_HIGH] << 32 | entry[ENTRY_ADDRESS_LOW];
		int r = msix->fabric->ops->route_msi(msix->fabric, vector->gsi, address,
		                                     entry[ENTRY_DATA]);

		if (r < 0)
			atomic_fetch_add_explicit(&msix->route_errors, 1, memory_order_relaxed);
		vector->route_stale = r < 0;
	}
	if (masked || !msix->bus_master)
		atomic_fetch_or(&vector->state, STATE_BLOCKED);
	else if (atomic_fetch_and(&vector->state, ~STATE_BLOCKED) & STATE_PENDING)
		msix->sink.replay(msix->sink.context);
}

/* Lock held. */
static void settle(struct msix *msix, struct msix_vector *vector)
{
	const uint32_t blocks = STATE_BLOCKED | STATE_DISABLED;
	uint32_t before = atomic_load(&vector->state) & blocks;

	settle_word(msix, vector);
	if (msix->sink.changed && (atomic_load(&vector->state) & blocks) != before)
		msix->sink.changed(msix->sink.context);
}

static void write_dword(struct msix *msix, uint32_t offset, uint32_t value)
{
	struct msix_vector *vector = &msix->vectors[offset / MSIX_ENTRY_BYTES];
	uint32_t dword = offset % MSIX_ENTRY_BYTES / 4;

	value &= entry_writable[dword];
	if (dword != ENTRY_CONTROL && vector->entry[dword] != value)
		vector->route_stale = true;
	vector->entry[dword] = value;
}

void msix_table_write(struct msix *msix, uint32_t offset, uint32_t width, uint64_t value)
{
	uint32_t end;

	if ((width != 4 && width != 8) || offset % width != 0 ||
	    __builtin_add_overflow(offset, width, &end) || end > msix->count * MSIX_ENTRY_BYTES)
		return;
	pthread_mutex_lock(&msix->lock);
	write_dword(msix, offset, (uint32_t)value);
	if (width == 8)
		write_dword(msix, offset + 4, (uint32_t)(value >> 32));
	settle(msix, &msix->vectors[offset / MSIX_ENTRY_BYTES]);
	pthread_mutex_unlock(&msix->lock);
}

uint64_t msix_table_read(struct msix *msix, uint32_t offset, uint32_t width)
{
	uint64_t value = 0;

	pthread_mutex_lock(&msix->lock);
	for (uint32_t i = 0; i < width; i++) {
		uint64_t at = (uint64_t)offset + i;
		uint64_t index = at / MSIX_ENTRY_BYTES;
		uint64_t in_entry = at % MSIX_ENTRY_BYTES;

		if (index < msix->count)
			value |= (uint64_t)(uint8_t)(msix->vectors[index].entry[in_entry / 4] >>
			                             (in_entry % 4 * 8))
			         << (i * 8);
	}
	pthread_mutex_unlock(&msix->lock);
	return value;
}

uint64_t msix_pba_read(const struct msix *msix, uint32_t offset, uint32_t width)
{
	uint64_t value = 0;

	for (uint32_t bit = 0; bit < width * 8; bit++) {
		uint64_t index = (uint64_t)offset * 8 + bit;

		if (index < msix->count &&
		    (atomic_load(&msix->vectors[index].state) & STATE_PENDING))
			value |= 1ULL << bit;
	}
	return value;
}

void msix_config_written(struct msix *msix, const struct pci_function *function)
{
	uint32_t control = pci_config_get(function, msix->capability + PCI_MSIX_FLAGS, 2);
	bool enabled = control & PCI_MSIX_FLAGS_ENABLE;
	bool function_masked = control & PCI_MSIX_FLAGS_MASKALL;
	bool bus_master = pci_bus_master(function);

	pthread_mutex_lock(&msix->lock);
	if (enabled != msix->enabled || function_masked != msix->function_masked ||
	    bus_master != msix->bus_master) {
		msix->enabled = enabled;
		msix->function_masked = function_masked;
		msix->bus_master = bus_master;
		for (uint16_t i = 0; i < msix->count; i++)
			settle(msix, &msix->vectors[i]);
	}
	pthread_mutex_unlock(&msix->lock);
}
