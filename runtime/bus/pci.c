/* SPDX-License-Identifier: MIT */
/* The PCI host: ECAM (PCI Express Base 4.0 §7.2.2), BAR sizing and decoding (PCI 3.0 §6.2.5).
 *
 * Configuration space is data: a byte array and an array of writable bits. After each write one
 * function (`reconcile`) derives the state from the array, so the order of writes does not matter.
 *
 * A BAR answers when COMMAND.MEMORY is on and it lies wholly in the window. When two overlap, the
 * one with the lower device number answers. Doorbells are registered at the address given at build
 * time and move only when the BAR answers at another one: a guest that sizes a BAR, or switches
 * decoding off and on, costs no call into the machine. */
#include "bus/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdatomic.h>
#include <string.h>

#define ECAM_FUNCTION_SHIFT 12
#define ECAM_FUNCTION_BYTES (1u << ECAM_FUNCTION_SHIFT)
#define FUNCTIONS_PER_SLOT 8u
#define CAPABILITIES_START 0x40

/* The generic PCIe host bridge that Linux and pci.ids know. */
static const struct pci_identity bridge_identity = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.class_code = 0x060000,
};

uint32_t pci_config_get(const struct pci_function *function, uint32_t offset, uint32_t width)
{
	uint32_t value = 0;

	memcpy(&value, &function->config[offset], width);
	return value;
}

void pci_config_set(struct pci_function *function, uint32_t offset, uint32_t width, uint32_t value)
{
	memcpy(&function->config[offset], &value, width);
}

bool pci_bus_master(const struct pci_function *function)
{
	return pci_config_get(function, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

static void set_writable(struct pci_function *function, uint32_t offset, uint32_t width,
                         uint32_t bits)
{
	memcpy(&function->writable[offset], &bits, width);
}

void pci_function_init(struct pci_function *function, const struct pci_identity *identity,
                       uint32_t bar_size)
{
	memset(function->config, 0, sizeof(function->config));
	memset(function->writable, 0, sizeof(function->writable));
	pci_config_set(function, PCI_VENDOR_ID, 2, identity->vendor);
	pci_config_set(function, PCI_DEVICE_ID, 2, identity->device);
	pci_config_set(function, PCI_CLASS_REVISION, 4,
	               identity->class_code << 8 | identity->revision);
	pci_config_set(function, PCI_SUBSYSTEM_VENDOR_ID, 2, identity->subsystem_vendor);
	pci_config_set(function, PCI_SUBSYSTEM_ID, 2, identity->subsystem);
	set_writable(function, PCI_COMMAND, 2,
	             PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	set_writable(function, PCI_CACHE_LINE_SIZE, 1, 0xff);
	set_writable(function, PCI_INTERRUPT_LINE, 1, 0xff);
	function->bar_size = bar_size;
	if (bar_size != PCI_NO_BAR)
		set_writable(function, PCI_BASE_ADDRESS_0, 4, ~(bar_size - 1));
	function->last_capability = PCI_CAPABILITY_LIST;
	function->free_offset = CAPABILITIES_START;
	atomic_init(&function->decoded, 0);
	function->doorbell_base = 0;
}

int pci_add_capability(struct pci_function *function, uint8_t id, const void *body, size_t length,
                       uint8_t *ret_offset)
{
	size_t start = function->free_offset;
	size_t end = ALIGN_UP(start + 2 + length, 4);

	if (length > PCI_CONFIG_BYTES || end > PCI_CONFIG_BYTES - 4)
		return -ENOSPC;
	function->config[start] = id;
	function->config[start + 1] = 0;
	memcpy(&function->config[start + 2], body, length);
	if (function->last_capability == PCI_CAPABILITY_LIST)
		function->config[PCI_CAPABILITY_LIST] = (uint8_t)start;
	else
		function->config[function->last_capability + 1] = (uint8_t)start;
	function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	function->last_capability = (uint8_t)start;
	function->free_offset = (uint8_t)end;
	*ret_offset = (uint8_t)start;
	return 0;
}

/* The address at which BAR 0 should answer by its configuration space, or 0. */
static uint32_t bar_target(const struct pci_function *function)
{
	uint32_t base = pci_config_get(function, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	uint64_t end = (uint64_t)base + function->bar_size;

	if (function->bar_size == PCI_NO_BAR ||
	    !(pci_config_get(function, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
		return 0;
	if (base < LAYOUT_BAR_WINDOW || end > (uint64_t)LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE)
		return 0;
	return base;
}

static bool overlap(uint32_t a, uint32_t a_size, uint32_t b, uint32_t b_size)
{
	return a != 0 && b != 0 && a < (uint64_t)b + b_size && b < (uint64_t)a + a_size;
}

/* Whether `function` answers at `base` without a lower device number answering there too. */
static bool wins(const struct pci_host *host, const struct pci_function *function, uint32_t base)
{
	for (uint32_t i = 0; i < host->slot_count && host->slots[i] != function; i++) {
		uint32_t other =
			atomic_load_explicit(&host->slots[i]->decoded, memory_order_relaxed);

		if (overlap(base, function->bar_size, other, host->slots[i]->bar_size))
			return false;
	}
	return true;
}

static void unregister_doorbells(struct pci_host *host, struct pci_function *function, size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)host->fabric->ops->remove_doorbell(host->fabric,
		                                         function->doorbell_base +
		                                                 function->doorbells[i].offset,
		                                         function->doorbells[i].eventfd);
	function->doorbell_base = 0;
}

/* Registers all doorbells or none: a function without doorbells still works, by exits. */
static int register_doorbells(struct pci_host *host, struct pci_function *function, uint32_t base)
{
	function->doorbell_base = base;
	for (size_t i = 0; i < function->doorbell_count; i++) {
		int r = host->fabric->ops->add_doorbell(host->fabric,
		                                        base + function->doorbells[i].offset,
		                                        function->doorbells[i].eventfd);

		if (r < 0) {
			unregister_doorbells(host, function, i);
			atomic_fetch_add_explicit(&host->doorbell_errors, 1, memory_order_relaxed);
			return r;
		}
	}
	return 0;
}

/* Whether doorbells of `function` are registered at an address where they must not ring any
 * more. */
static bool doorbells_misplaced(const struct pci_host *host, const struct pci_function *function)
{
	uint32_t base = function->doorbell_base;
	uint32_t decoded = atomic_load_explicit(&function->decoded, memory_order_relaxed);

	if (base == 0)
		return false;
	if (decoded != 0)
		return decoded != base || !wins(host, function, base);
	for (uint32_t i = 0; i < host->slot_count; i++) {
		const struct pci_function *other = host->slots[i];

		if (other != function &&
		    overlap(base, function->bar_size,
		            atomic_load_explicit(&other->decoded, memory_order_relaxed),
		            other->bar_size))
			return true;
	}
	return false;
}

/* Brings decoding and doorbells in line with configuration space. */
static void reconcile(struct pci_host *host)
{
	/* Release pairs with the acquire in `owner_of`. */
	for (uint32_t i = 0; i < host->slot_count; i++)
		atomic_store_explicit(&host->slots[i]->decoded, bar_target(host->slots[i]),
		                      memory_order_release);
	for (uint32_t i = 0; i < host->slot_count; i++)
		if (doorbells_misplaced(host, host->slots[i]))
			unregister_doorbells(host, host->slots[i], host->slots[i]->doorbell_count);
	for (uint32_t i = 0; i < host->slot_count; i++) {
		struct pci_function *function = host->slots[i];
		uint32_t base = atomic_load_explicit(&function->decoded, memory_order_relaxed);

		if (base != 0 && function->doorbell_base == 0 && function->doorbell_count > 0 &&
		    wins(host, function, base))
			(void)register_doorbells(host, function, base);
	}
}

/* ------------------------------------------------------------------------------------- ECAM */

static struct pci_function *function_at(struct pci_host *host, uint64_t offset, uint32_t width,
                                        uint32_t *ret_register)
{
	uint64_t index = offset >> ECAM_FUNCTION_SHIFT;
	uint32_t reg = offset & (ECAM_FUNCTION_BYTES - 1);

	if (index % FUNCTIONS_PER_SLOT != 0 || index / FUNCTIONS_PER_SLOT >= host->slot_count ||
	    reg + width > ECAM_FUNCTION_BYTES)
		return NULL;
	*ret_register = reg;
	return host->slots[index / FUNCTIONS_PER_SLOT];
}

static uint64_t ecam_read(void *context, uint64_t offset, uint32_t width)
{
	struct pci_host *host = context;
	uint32_t reg = 0;
	struct pci_function *function = function_at(host, offset, width, &reg);
	uint64_t value = bus_all_ones(width);

	if (!function || reg >= PCI_CONFIG_BYTES)
		return value;
	pthread_mutex_lock(&host->lock);
	if (function->ops && function->ops->config_read)
		function->ops->config_read(function->context, reg, width);
	memcpy(&value, &function->config[reg], MIN(width, PCI_CONFIG_BYTES - reg));
	pthread_mutex_unlock(&host->lock);
	return value;
}

static void ecam_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct pci_host *host = context;
	uint32_t reg = 0;
	struct pci_function *function = function_at(host, offset, width, &reg);

	if (!function || reg >= PCI_CONFIG_BYTES)
		return;
	pthread_mutex_lock(&host->lock);
	for (uint32_t i = 0; i < width && reg + i < PCI_CONFIG_BYTES; i++) {
		uint8_t mask = function->writable[reg + i];
		uint8_t byte = (uint8_t)(value >> (i * 8));

		function->config[reg + i] =
			(uint8_t)((function->config[reg + i] & ~mask) | (byte & mask));
	}
	if (reg < PCI_BASE_ADDRESS_1 && reg + width > PCI_COMMAND)
		reconcile(host);
	if (function->ops && function->ops->config_written)
		function->ops->config_written(function->context, reg, width);
	pthread_mutex_unlock(&host->lock);
}

static const struct bus_ops ecam_ops = {
	.read = ecam_read,
	.write = ecam_write,
};

/* ------------------------------------------------------------------------------- BAR window */

static struct pci_function *owner_of(struct pci_host *host, uint64_t offset, uint32_t width,
                                     uint32_t *ret_offset)
{
	uint64_t address = LAYOUT_BAR_WINDOW + offset;

	for (uint32_t i = 0; i < host->slot_count; i++) {
		struct pci_function *function = host->slots[i];
		/* Acquire pairs with the release in `reconcile`. */
		uint32_t base = atomic_load_explicit(&function->decoded, memory_order_acquire);

		if (base == 0 || address < base || address - base >= function->bar_size)
			continue;
		if (function->bar_size - (address - base) < width)
			return NULL;
		*ret_offset = (uint32_t)(address - base);
		return function;
	}
	return NULL;
}

static uint64_t window_read(void *context, uint64_t offset, uint32_t width)
{
	uint32_t in_bar = 0;
	struct pci_function *function = owner_of(context, offset, width, &in_bar);

	if (!function)
		return bus_all_ones(width);
	return function->ops->bar_read(function->context, in_bar, width);
}

static void window_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	uint32_t in_bar = 0;
	struct pci_function *function = owner_of(context, offset, width, &in_bar);

	if (function)
		function->ops->bar_write(function->context, in_bar, width, value);
}

static const struct bus_ops window_ops = {
	.read = window_read,
	.write = window_write,
};

/* ------------------------------------------------------------------------------------ build */

int pci_host_init(struct pci_host *host, struct fabric *fabric, struct bus *mmio)
{
	int r;

	memset(host, 0, sizeof(*host));
	host->fabric = fabric;
	host->next_bar = LAYOUT_BAR_WINDOW;
	pci_function_init(&host->bridge, &bridge_identity, PCI_NO_BAR);
	host->slots[0] = &host->bridge;
	host->slot_count = 1;
	r = bus_add(mmio, LAYOUT_ECAM, LAYOUT_ECAM_SIZE, &ecam_ops, host);
	if (r < 0)
		return r;
	r = bus_add(mmio, LAYOUT_BAR_WINDOW, LAYOUT_BAR_WINDOW_SIZE, &window_ops, host);
	if (r < 0)
		return r;
	pthread_mutex_init(&host->lock, NULL);
	return 0;
}

void pci_host_done(struct pci_host *host)
{
	if (host->slot_count > 0)
		pthread_mutex_destroy(&host->lock);
	memset(host, 0, sizeof(*host));
}

int pci_host_attach(struct pci_host *host, struct pci_function *function, uint32_t *ret_slot)
{
	uint64_t base = ALIGN_UP((uint64_t)host->next_bar, (uint64_t)function->bar_size);
	int r;

	if (host->slot_count == LAYOUT_PCI_DEVICES_MAX)
		return -ENOSPC;
	if (base + function->bar_size > (uint64_t)LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE)
		return -ENOSPC;
	pci_config_set(function, PCI_BASE_ADDRESS_0, 4, (uint32_t)base);
	if (function->doorbell_count > 0) {
		r = register_doorbells(host, function, (uint32_t)base);
		if (r < 0)
			return r;
	}
	host->next_bar = (uint32_t)(base + function->bar_size);
	*ret_slot = host->slot_count;
	host->slots[host->slot_count++] = function;
	return 0;
}
