/* SPDX-License-Identifier: MIT */
/* A minimal I/O APIC (Intel 82093AA datasheet §3): two registers that select and show the others,
 * and one 64-bit redirection entry a pin, which is turned into an MSI. */
#include "machine/ioapic.h"

#define REGISTER_SELECT 0x00u
#define REGISTER_WINDOW 0x10u

#define INDEX_ID 0x00u
#define INDEX_VERSION 0x01u
#define INDEX_ARBITRATION 0x02u
#define INDEX_REDIRECTION 0x10u

#define VERSION 0x11u

#define REDIRECTION_MASKED (1ULL << 16)
/* Delivery status (bit 12) and remote IRR (bit 14) are read-only. */
#define REDIRECTION_READ_ONLY ((1ULL << 12) | (1ULL << 14))

#define MSI_ADDRESS 0xfee00000u

void ioapic_init(struct ioapic *ioapic, ioapic_deliver_t deliver, void *context)
{
	*ioapic = (struct ioapic){ .deliver = deliver, .context = context };
	pthread_mutex_init(&ioapic->lock, NULL);
	for (size_t i = 0; i < LAYOUT_IOAPIC_PINS; i++)
		ioapic->redirection[i] = REDIRECTION_MASKED;
}

/* SDM 3A §11.11: destination in address bits 19:12, its mode in bit 2; vector and delivery mode in
 * the low bits of the data, laid out as in the redirection entry. */
static struct msi_message message_of(uint64_t entry)
{
	return (struct msi_message){
		.address = MSI_ADDRESS | (entry >> 56) << 12 | (entry >> 11 & 1) << 2,
		.data = (uint32_t)(entry & 0x7ff),
	};
}

static uint32_t window_read(const struct ioapic *ioapic)
{
	uint32_t pin = (ioapic->select - INDEX_REDIRECTION) / 2;

	if (ioapic->select == INDEX_ID || ioapic->select == INDEX_ARBITRATION)
		return ioapic->id;
	if (ioapic->select == INDEX_VERSION)
		return VERSION | (LAYOUT_IOAPIC_PINS - 1) << 16;
	if (ioapic->select >= INDEX_REDIRECTION && pin < LAYOUT_IOAPIC_PINS)
		return (uint32_t)(ioapic->redirection[pin] >> (ioapic->select & 1 ? 32 : 0));
	return 0;
}

/* Returns the pin whose entry has changed, or -1. */
static int window_write(struct ioapic *ioapic, uint32_t value)
{
	uint32_t pin = (ioapic->select - INDEX_REDIRECTION) / 2;
	unsigned shift = ioapic->select & 1 ? 32 : 0;
	uint64_t *entry;

	if (ioapic->select == INDEX_ID)
		ioapic->id = value & 0x0f000000;
	if (ioapic->select < INDEX_REDIRECTION || pin >= LAYOUT_IOAPIC_PINS)
		return -1;
	entry = &ioapic->redirection[pin];
	*entry = (*entry & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
	*entry &= ~REDIRECTION_READ_ONLY;
	return (int)pin;
}

static uint64_t ioapic_read(void *context, uint64_t offset, uint32_t width)
{
	struct ioapic *ioapic = context;
	uint32_t value = 0;

	(void)width;
	pthread_mutex_lock(&ioapic->lock);
	if (offset == REGISTER_SELECT)
		value = ioapic->select;
	else if (offset == REGISTER_WINDOW)
		value = window_read(ioapic);
	pthread_mutex_unlock(&ioapic->lock);
	return value;
}

static void ioapic_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct ioapic *ioapic = context;
	struct msi_message message = { 0 };
	bool replay = false;
	int pin = -1;

	(void)width;
	pthread_mutex_lock(&ioapic->lock);
	if (offset == REGISTER_SELECT)
		ioapic->select = value & 0xff;
	else if (offset == REGISTER_WINDOW)
		pin = window_write(ioapic, (uint32_t)value);
	if (pin >= 0 && !(ioapic->redirection[pin] & REDIRECTION_MASKED) &&
	    ioapic->latched & 1u << pin) {
		ioapic->latched &= ~(1u << pin);
		message = message_of(ioapic->redirection[pin]);
		replay = true;
	}
	pthread_mutex_unlock(&ioapic->lock);
	if (replay)
		ioapic->deliver(ioapic->context, &message);
}

const struct bus_ops ioapic_bus_ops = {
	.read = ioapic_read,
	.write = ioapic_write,
};

void ioapic_raise(struct ioapic *ioapic, uint32_t pin)
{
	struct msi_message message;
	bool masked;

	pthread_mutex_lock(&ioapic->lock);
	masked = ioapic->redirection[pin] & REDIRECTION_MASKED;
	if (masked)
		ioapic->latched |= 1u << pin;
	message = message_of(ioapic->redirection[pin]);
	pthread_mutex_unlock(&ioapic->lock);
	if (!masked)
		ioapic->deliver(ioapic->context, &message);
}
