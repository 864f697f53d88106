/* SPDX-License-Identifier: MIT */
/* The PCI host: what a guest sees in ECAM, and BARs that are sized, moved and laid over one
 * another. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "bus/pci.h"
#include "rig/fake_fabric.h"

#define BAR_SIZE 0x4000u
#define DOORBELL 0x1000u
#define LARGE (LAYOUT_BAR_WINDOW + 0x200000u) /* where a BAR of 0x10000 lies */

struct card {
	struct pci_function function;
	struct pci_doorbell doorbell;
	uint32_t offset, width;
	uint64_t value;
	uint32_t hits;
};

static struct fake_fabric fake;
static struct bus mmio;
static struct pci_host host;
static struct card cards[2];

static uint64_t card_read(void *context, uint32_t offset, uint32_t width)
{
	struct card *card = context;

	card->offset = offset;
	card->width = width;
	card->hits++;
	return 0xa5a5a5a5a5a5a5a5;
}

static void card_write(void *context, uint32_t offset, uint32_t width, uint64_t value)
{
	struct card *card = context;

	(void)card_read(context, offset, width);
	card->value = value;
}

static const struct pci_function_ops card_ops = { .bar_read = card_read, .bar_write = card_write };

static uint64_t config_address(uint32_t slot, uint32_t reg)
{
	return LAYOUT_ECAM + ((uint64_t)slot << 15) + reg;
}

static uint64_t in(uint64_t address, uint32_t width)
{
	uint64_t value = 0;

	bus_read(&mmio, address, &value, width);
	return value;
}

static void out(uint64_t address, uint64_t value, uint32_t width)
{
	bus_write(&mmio, address, &value, width);
}

static uint32_t config_in(uint32_t slot, uint32_t reg, uint32_t width)
{
	return (uint32_t)in(config_address(slot, reg), width);
}

static void config_out(uint32_t slot, uint32_t reg, uint32_t value, uint32_t width)
{
	out(config_address(slot, reg), value, width);
}

static void set_up(void)
{
	const struct pci_identity identity = {
		.vendor = 0x1234,
		.device = 0x5678,
		.class_code = 0x018000,
		.revision = 9,
		.subsystem_vendor = 0x9abc,
		.subsystem = 0xdef0,
	};

	memset(&mmio, 0, sizeof(mmio));
	memset(cards, 0, sizeof(cards));
	fake_fabric_init(&fake);
	cr_assert_eq(pci_host_init(&host, &fake.fabric, &mmio), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(cards); i++) {
		struct card *card = &cards[i];
		uint32_t slot = 0;

		pci_function_init(&card->function, &identity, BAR_SIZE);
		card->function.ops = &card_ops;
		card->function.context = card;
		card->doorbell =
			(struct pci_doorbell){ .offset = DOORBELL, .eventfd = 100 + (int)i };
		card->function.doorbells = &card->doorbell;
		card->function.doorbell_count = 1;
		cr_assert_eq(pci_host_attach(&host, &card->function, &slot), 0);
		cr_assert_eq(slot, i + 1);
	}
	fake.calls = 0;
}

static void tear_down(void)
{
	pci_host_done(&host);
}

static uint32_t bar_of(uint32_t slot)
{
	return config_in(slot, PCI_BASE_ADDRESS_0, 4);
}

TestSuite(pci, .timeout = 60);

Test(pci, what_is_there_and_what_is_not, .init = set_up, .fini = tear_down)
{
	cr_assert_eq(config_in(0, PCI_VENDOR_ID, 4), 0x00081b36);
	cr_assert_eq(config_in(0, PCI_CLASS_REVISION, 4), 0x06000000);
	cr_assert_eq(config_in(1, PCI_VENDOR_ID, 4), 0x56781234);
	cr_assert_eq(config_in(1, PCI_CLASS_REVISION, 4), 0x01800009);
	cr_assert_eq(config_in(1, PCI_HEADER_TYPE, 1), 0);
	cr_assert_eq(config_in(1, PCI_INTERRUPT_PIN, 1), 0);
	cr_assert_eq(config_in(3, PCI_VENDOR_ID, 4), 0xffffffff);
	cr_assert_eq(config_in(31, PCI_VENDOR_ID, 2), 0xffff);
	cr_assert_eq(in(config_address(1, 0) + 0x1000, 4), 0xffffffff, "function 1");
	cr_assert_eq(config_in(1, 0x100, 4), 0xffffffff, "no extended configuration space");
	cr_assert_eq(config_in(1, 0xfff, 1), 0xff);
}

/* PCI 3.0 §6.1: what of the header a guest can change, bit by bit. */
Test(pci, what_can_be_written_and_nothing_else, .init = set_up, .fini = tear_down)
{
	static const uint8_t writable[PCI_CONFIG_BYTES] = {
		[0x04] = 0x06, [0x05] = 0x04,                /* memory, bus master; INTx disable */
		[0x0c] = 0xff,                               /* cache line size */
		[0x11] = 0xc0, [0x12] = 0xff, [0x13] = 0xff, /* BAR 0 of 16 KiB */
		[0x3c] = 0xff,                               /* interrupt line */
	};

	cr_assert_eq(config_in(1, 0x2c, 4), 0xdef09abc);
	for (uint32_t reg = 0; reg < PCI_CONFIG_BYTES; reg++) {
		uint8_t before = (uint8_t)config_in(1, reg, 1);

		config_out(1, reg, (uint8_t)~before, 1);
		cr_assert_eq(config_in(1, reg, 1) ^ before, writable[reg], "card, %#x", reg);
		config_out(1, reg, before, 1);
		cr_assert_eq(config_in(1, reg, 1), before);
		/* The bridge has no BAR. */
		before = (uint8_t)config_in(0, reg, 1);
		config_out(0, reg, (uint8_t)~before, 1);
		cr_assert_eq(config_in(0, reg, 1) ^ before,
		             reg >= 0x10 && reg < 0x14 ? 0 : writable[reg], "bridge, %#x", reg);
	}
}

/* A write of any width at any place is a write of its bytes, in order. */
Test(pci, a_wide_write_is_its_bytes, .init = set_up, .fini = tear_down)
{
	const uint64_t value = 0x8877665544332211;

	for (uint32_t width = 1; width <= 8; width *= 2)
		for (uint32_t reg = 0; reg <= PCI_CONFIG_BYTES; reg++) {
			uint8_t expected[PCI_CONFIG_BYTES];

			for (uint32_t i = 0; i < width && reg + i < PCI_CONFIG_BYTES; i++)
				config_out(1, reg + i, (uint8_t)(value >> 8 * i), 1);
			memcpy(expected, cards[0].function.config, sizeof(expected));
			for (uint32_t i = 0; i < width && reg + i < PCI_CONFIG_BYTES; i++)
				config_out(1, reg + i, 0, 1);
			out(config_address(1, reg), value, width);
			cr_assert_arr_eq(cards[0].function.config, expected, sizeof(expected),
			                 "%#x, %u", reg, width);
			/* And read the same way; the bytes after the first 256 are ones. */
			for (uint32_t i = 0; i < width; i++)
				cr_assert_eq(in(config_address(1, reg), width) >> 8 * i & 0xff,
				             reg + i < PCI_CONFIG_BYTES ? expected[reg + i] : 0xff);
		}
}

Test(pci, any_width_and_alignment_is_safe, .init = set_up, .fini = tear_down)
{
	for (uint32_t reg = 0; reg < 0x1000; reg++) {
		for (uint32_t width = 1; width <= 8; width *= 2) {
			(void)in(config_address(1, reg), width);
			out(config_address(1, reg), ~0ULL, width);
		}
	}
	for (uint64_t address = LAYOUT_ECAM; address < LAYOUT_ECAM + LAYOUT_ECAM_SIZE;
	     address += 509)
		(void)in(address, 8);
	cr_assert_eq(config_in(1, PCI_VENDOR_ID, 4), 0x56781234, "read-only stays");
	cr_assert_eq(in(config_address(1, 0xffe), 4), 0xffffffff, "across two functions");
	cr_assert_eq(in(config_address(1, 3), 2) & 0xff, 0x56, "unaligned reads are bytes");
}

Test(pci, bars_are_placed_apart_and_aligned, .init = set_up, .fini = tear_down)
{
	cr_assert_eq(bar_of(1), LAYOUT_BAR_WINDOW);
	cr_assert_eq(bar_of(2), LAYOUT_BAR_WINDOW + BAR_SIZE);
	cr_assert(fake_fabric_has(&fake, bar_of(1) + DOORBELL, 100));
	cr_assert(fake_fabric_has(&fake, bar_of(2) + DOORBELL, 101));
}

Test(pci, a_bar_answers_when_decoding_is_on, .init = set_up, .fini = tear_down)
{
	uint32_t base = bar_of(1);

	cr_assert_eq(in(base, 4), 0xffffffff);
	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cr_assert_eq(in(base + 0x123, 4), 0xa5a5a5a5);
	cr_assert_eq(cards[0].offset, 0x123);
	out(base + 8, 0x1122334455667788, 8);
	cr_assert_eq(cards[0].value, 0x1122334455667788);
	cards[0].hits = 0;
	cr_assert_eq(in(base + BAR_SIZE - 2, 4), 0xffffffff, "across the end");
	cr_assert_eq(in(base + BAR_SIZE, 4), 0xffffffff, "the next card does not decode");
	cr_assert_eq(cards[0].hits + cards[1].hits, 0);
	config_out(1, PCI_COMMAND, 0, 2);
	cr_assert_eq(in(base, 4), 0xffffffff);
}

Test(pci, sizing_costs_nothing, .init = set_up, .fini = tear_down)
{
	uint32_t base = bar_of(1);

	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	/* Linux: decoding off, all ones, read, restore, decoding on. */
	config_out(1, PCI_COMMAND, 0, 2);
	config_out(1, PCI_BASE_ADDRESS_0, ~0u, 4);
	cr_assert_eq(bar_of(1), ~(BAR_SIZE - 1));
	config_out(1, PCI_BASE_ADDRESS_0, base, 4);
	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	config_out(1, PCI_BASE_ADDRESS_1, ~0u, 4);
	cr_assert_eq(config_in(1, PCI_BASE_ADDRESS_1, 4), 0, "there is one BAR");
	config_out(1, PCI_ROM_ADDRESS, ~0u, 4);
	cr_assert_eq(config_in(1, PCI_ROM_ADDRESS, 4), 0, "and no ROM");
	cr_assert_eq(fake.calls, 0);
	cr_assert(fake_fabric_has(&fake, base + DOORBELL, 100));
}

Test(pci, a_bar_that_moves_takes_its_doorbells_along, .init = set_up, .fini = tear_down)
{
	uint32_t old = bar_of(1);
	uint32_t new = LAYOUT_BAR_WINDOW + 0x100000;

	config_out(1, PCI_BASE_ADDRESS_0, new, 4);
	cr_assert_eq(fake.calls, 0, "not before it decodes");
	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cr_assert(fake_fabric_has(&fake, new + DOORBELL, 100));
	cr_assert_not(fake_fabric_has(&fake, old + DOORBELL, 100));
	cr_assert_eq(in(new, 1), 0xa5);
	cr_assert_eq(in(old, 1), 0xff);
	/* Byte by byte works as well. */
	config_out(1, PCI_BASE_ADDRESS_0 + 2, 0x20, 1);
	cr_assert_eq(in(LAYOUT_BAR_WINDOW + 0x200000, 1), 0xa5);
	cr_assert(fake_fabric_has(&fake, LAYOUT_BAR_WINDOW + 0x200000 + DOORBELL, 100));
}

Test(pci, a_bar_outside_the_window_answers_nowhere, .init = set_up, .fini = tear_down)
{
	const uint32_t places[] = { 0,
		                    0x10000,
		                    LAYOUT_BAR_WINDOW - BAR_SIZE,
		                    LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE,
		                    LAYOUT_ECAM,
		                    0xfee00000,
		                    ~0u };

	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		config_out(1, PCI_BASE_ADDRESS_0, places[i], 4);
		cr_assert_not(
			fake_fabric_has(&fake, (places[i] & ~(BAR_SIZE - 1)) + DOORBELL, 100));
		cards[0].hits = 0;
		for (uint64_t at = LAYOUT_BAR_WINDOW;
		     at < LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE; at += BAR_SIZE)
			cr_assert_eq(in(at, 4), 0xffffffff);
		cr_assert_eq(cards[0].hits, 0);
	}
	config_out(1, PCI_BASE_ADDRESS_0, LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE - BAR_SIZE, 4);
	cr_assert_eq(in(LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE - 4, 4), 0xa5a5a5a5);
}

Test(pci, of_two_on_one_address_the_first_answers, .init = set_up, .fini = tear_down)
{
	uint32_t base = bar_of(1);
	uint32_t second = bar_of(2);

	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	config_out(2, PCI_BASE_ADDRESS_0, base, 4);
	config_out(2, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	(void)in(base, 4);
	cr_assert_eq(cards[0].hits, 1);
	cr_assert_eq(cards[1].hits, 0);
	cr_assert(fake_fabric_has(&fake, base + DOORBELL, 100));
	cr_assert_not(fake_fabric_has(&fake, base + DOORBELL, 101));
	cr_assert_not(fake_fabric_has(&fake, second + DOORBELL, 101), "nor where it was");
	/* The first goes away: the second answers, and its doorbells are there. */
	config_out(1, PCI_COMMAND, 0, 2);
	(void)in(base, 4);
	cr_assert_eq(cards[1].hits, 1);
	cr_assert(fake_fabric_has(&fake, base + DOORBELL, 101));
	cr_assert_not(fake_fabric_has(&fake, base + DOORBELL, 100));
	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cr_assert(fake_fabric_has(&fake, base + DOORBELL, 100));
	cr_assert_not(fake_fabric_has(&fake, base + DOORBELL, 101));
}

/* A large BAR and a small one, at either end of it and beside it: whoever has the lower number
 * rings. */
Test(pci, a_small_bar_in_a_large_one)
{
	static const struct {
		uint32_t at;
		bool inside;
	} places[] = { { LARGE, true },
		       { LARGE + 0xc000, true },
		       { LARGE + 0x10000, false },
		       { LARGE - BAR_SIZE, false } };
	const struct pci_identity identity = { .vendor = 1 };

	for (size_t i = 0; i < ARRAY_SIZE(places) * 3; i++) {
		struct card more[2] = { 0 };
		uint32_t at = places[i / 3].at, slot = 0;
		bool inside = places[i / 3].inside;

		set_up();
		for (uint32_t k = 0; k < 2; k++) {
			pci_function_init(&more[k].function, &identity,
			                  k == 0 ? 0x10000 : BAR_SIZE);
			more[k].doorbell = (struct pci_doorbell){ .offset = DOORBELL,
				                                  .eventfd = 102 + (int)k };
			more[k].function.ops = &card_ops;
			more[k].function.context = &more[k];
			more[k].function.doorbells = &more[k].doorbell;
			more[k].function.doorbell_count = 1;
			cr_assert_eq(pci_host_attach(&host, &more[k].function, &slot), 0);
		}
		config_out(3, PCI_BASE_ADDRESS_0, LARGE, 4);
		switch (i % 3) {
		case 0: /* the small one has the lower number */
			config_out(1, PCI_BASE_ADDRESS_0, at, 4);
			config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
			config_out(3, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
			cr_assert(fake_fabric_has(&fake, at + DOORBELL, 100));
			cr_assert_eq(fake_fabric_has(&fake, LARGE + DOORBELL, 102), !inside,
			             "case %zu", i);
			break;
		case 1: /* the higher */
			config_out(4, PCI_BASE_ADDRESS_0, at, 4);
			config_out(4, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
			config_out(3, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
			cr_assert(fake_fabric_has(&fake, LARGE + DOORBELL, 102));
			cr_assert_eq(fake_fabric_has(&fake, at + DOORBELL, 103), !inside,
			             "case %zu", i);
			break;
		/* the small one has been switched off: its doorbell waits as long as it is in no
		 * one's way */
		default:
			config_out(4, PCI_BASE_ADDRESS_0, at, 4);
			config_out(4, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
			config_out(4, PCI_COMMAND, 0, 2);
			cr_assert(fake_fabric_has(&fake, at + DOORBELL, 103));
			config_out(3, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
			cr_assert(fake_fabric_has(&fake, LARGE + DOORBELL, 102));
			cr_assert_eq(fake_fabric_has(&fake, at + DOORBELL, 103), !inside,
			             "case %zu", i);
		}
		tear_down();
	}
}

Test(pci, doorbells_that_are_refused_are_counted, .init = set_up, .fini = tear_down)
{
	fake.fail_doorbell = -ENOSPC;
	config_out(1, PCI_BASE_ADDRESS_0, LAYOUT_BAR_WINDOW + 0x100000, 4);
	config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cr_assert_eq(host.doorbell_errors, 1);
	cr_assert_eq(in(LAYOUT_BAR_WINDOW + 0x100000, 1), 0xa5, "it works by exits");
}

/* Each call into the machine may cost a vCPU a wait: none is made that is not needed. */
Test(pci, each_change_costs_the_calls_that_it_needs, .init = set_up, .fini = tear_down)
{
	static const struct {
		uint32_t reg, value;
		int refused;            /* the next doorbell is */
		uint32_t calls, stands; /* stands: at which base, 0: none */
	} steps[] = {
#define BASE(n) (LAYOUT_BAR_WINDOW + 0x100000 * (n))
		{ PCI_COMMAND, PCI_COMMAND_MEMORY, 0, 0, BASE(0) },
		/* outside the window: it waits where it was */
		{ PCI_BASE_ADDRESS_0, 0x1000000, 0, 0, BASE(0) },
		{ PCI_BASE_ADDRESS_0, BASE(1), 0, 2, BASE(1) },
		{ PCI_BASE_ADDRESS_0, BASE(1), 0, 0, BASE(1) },
		{ PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0, 0, BASE(1) },
		{ PCI_BASE_ADDRESS_0, BASE(2), -ENOSPC, 2, 0 },
		/* asked for once more */
		{ PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0, 1, BASE(2) },
		{ PCI_COMMAND, 0, 0, 0, BASE(2) },
		{ PCI_BASE_ADDRESS_0, BASE(3), 0, 0, BASE(2) },
		{ PCI_COMMAND, PCI_COMMAND_MEMORY, 0, 2, BASE(3) },
#undef BASE
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		fake.calls = 0;
		fake.fail_doorbell = steps[i].refused;
		fake.fail_doorbell_after = 0;
		config_out(1, steps[i].reg, steps[i].value, steps[i].reg == PCI_COMMAND ? 2 : 4);
		cr_assert_eq(fake.calls, steps[i].calls, "step %zu: %u calls", i, fake.calls);
		for (uint32_t n = 0; n < 4; n++) {
			uint32_t base = LAYOUT_BAR_WINDOW + n * 0x100000;

			cr_assert_eq(fake_fabric_has(&fake, base + DOORBELL, 100),
			             base == steps[i].stands, "step %zu, base %u", i, n);
		}
	}
	cr_assert_eq(host.doorbell_errors, 1);
}

/* All or none: the first two of three were registered when the third was refused. */
Test(pci, no_doorbell_stays_when_one_is_refused, .init = set_up, .fini = tear_down)
{
	const struct pci_doorbell three[] = { { 0x1000, 200 }, { 0x1004, 201 }, { 0x1008, 202 } };
	uint32_t base = LAYOUT_BAR_WINDOW + 0x100000;

	for (uint32_t taken = 0; taken < 3; taken++) {
		cards[0].function.doorbells = three;
		cards[0].function.doorbell_count = 3;
		cards[0].function.doorbell_base = 0;
		fake.fail_doorbell = -ENOSPC;
		fake.fail_doorbell_after = taken;
		config_out(1, PCI_BASE_ADDRESS_0, base, 4);
		config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
		cr_assert_eq(host.doorbell_errors, taken + 1);
		for (size_t i = 0; i < 3; i++)
			cr_assert_not(
				fake_fabric_has(&fake, base + three[i].offset, three[i].eventfd));
		fake.fail_doorbell = 0;
		config_out(1, PCI_COMMAND, 0, 2);
		config_out(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
		for (size_t i = 0; i < 3; i++)
			cr_assert(fake_fabric_has(&fake, base + three[i].offset, three[i].eventfd));
		config_out(1, PCI_COMMAND, 0, 2);
		base += 0x100000;
	}
}

Test(pci, the_window_is_full_in_the_end, .init = set_up, .fini = tear_down)
{
	static struct pci_function half, one_more;
	const struct pci_identity identity = { .vendor = 1 };
	uint32_t slot = 0;

	pci_function_init(&half, &identity, LAYOUT_BAR_WINDOW_SIZE / 2);
	cr_assert_eq(pci_host_attach(&host, &half, &slot), 0);
	cr_assert_eq(bar_of(slot), LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE / 2,
	             "to the last byte");
	pci_function_init(&one_more, &identity, BAR_SIZE);
	cr_assert_eq(pci_host_attach(&host, &one_more, &slot), -ENOSPC);
	cr_assert_eq(host.slot_count, 4);
}

Test(pci, capabilities_are_a_list, .init = set_up, .fini = tear_down)
{
	struct pci_function function;
	const struct pci_identity identity = { .vendor = 1 };
	const uint8_t body[6] = { 1, 2, 3, 4, 5, 6 };
	uint8_t first = 0;
	uint8_t second = 0;
	uint8_t offset = 0;
	int r;

	pci_function_init(&function, &identity, PCI_NO_BAR);
	cr_assert_eq(function.config[PCI_STATUS] & PCI_STATUS_CAP_LIST, 0);
	cr_assert_eq(pci_add_capability(&function, 9, body, 5, &first), 0);
	cr_assert_eq(pci_add_capability(&function, 0x11, body, 6, &second), 0);
	cr_assert(function.config[PCI_STATUS] & PCI_STATUS_CAP_LIST);
	cr_assert_eq(function.config[PCI_CAPABILITY_LIST], first);
	cr_assert_eq(first, 0x40, "behind the header");
	cr_assert_eq(function.config[first], 9);
	cr_assert_eq(function.config[first + 1], second);
	cr_assert_eq(second, 0x48, "two bytes and five, and on to the next word");
	cr_assert_eq(function.config[second + 1], 0);
	cr_assert_arr_eq(&function.config[second + 2], body, 6);
	while ((r = pci_add_capability(&function, 9, body, 6, &offset)) == 0)
		;
	cr_assert_eq(r, -ENOSPC);
	cr_assert_eq(offset, 0xf0, "where the next one begins fits a byte");
}

Test(pci, the_bus_is_full_in_the_end, .init = set_up, .fini = tear_down)
{
	static struct pci_function more[LAYOUT_PCI_DEVICES_MAX];
	const struct pci_identity identity = { .vendor = 1 };
	uint32_t slot = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(more) && r == 0; i++) {
		pci_function_init(&more[i], &identity, BAR_SIZE);
		r = pci_host_attach(&host, &more[i], &slot);
	}
	cr_assert_eq(r, -ENOSPC);
	cr_assert_eq(slot, LAYOUT_PCI_DEVICES_MAX - 1);
}
