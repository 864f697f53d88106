/* SPDX-License-Identifier: MIT */
/* MSI-X: masks, pending bits, replay, routes; by a driver's writes and a device's signals. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "bus/msix.h"
#include "rig/fake_fabric.h"

#define VECTORS 3
#define ADDRESS 0xfee01000u

static struct fake_fabric fake;
static struct pci_function function;
static struct msix msix;
static uint32_t delivered[MSIX_VECTORS_MAX];
static uint32_t replays, changes;

static void deliver(void *context, uint16_t vector)
{
	(void)context;
	delivered[vector]++;
}

static void replay(void *context)
{
	(void)context;
	replays++;
}

static void changed(void *context)
{
	(void)context;
	changes++;
}

static void start(uint16_t count)
{
	const struct pci_identity identity = { .vendor = 1 };
	const struct msix_sink sink = { .deliver = deliver, .replay = replay, .changed = changed };

	fake_fabric_init(&fake);
	pci_function_init(&function, &identity, 0x8000);
	cr_assert_eq(msix_init(&msix, &function, 0x4000, 0x5000, count, &fake.fabric, &sink), 0);
	memset(delivered, 0, sizeof(delivered));
	replays = changes = 0;
}

static void set_up(void)
{
	start(VECTORS);
}

static void tear_down(void)
{
	msix_done(&msix);
}

static void control(uint16_t flags, bool bus_master)
{
	pci_config_set(&function, msix.capability + PCI_MSIX_FLAGS, 2, flags | (msix.count - 1u));
	pci_config_set(&function, PCI_COMMAND, 2, bus_master ? PCI_COMMAND_MASTER : 0);
	msix_config_written(&msix, &function);
}

static void program(uint32_t vector, uint32_t data)
{
	msix_table_write(&msix, vector * 16, 4, ADDRESS);
	msix_table_write(&msix, vector * 16 + 4, 4, 0);
	msix_table_write(&msix, vector * 16 + 8, 4, data);
}

static void mask(uint32_t vector, bool on)
{
	msix_table_write(&msix, vector * 16 + 12, 4, on);
}

static uint64_t pending(void)
{
	return msix_pba_read(&msix, 0, 8);
}

/* As Linux does it: enable with everything masked, program, unmask one, unmask the function. */
static void bring_up(void)
{
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, true);
	for (uint32_t i = 0; i < VECTORS; i++) {
		program(i, 0x40 + i);
		mask(i, false);
	}
	control(PCI_MSIX_FLAGS_ENABLE, true);
}

TestSuite(msix, .timeout = 60);

Test(msix, the_capability_says_how_many_and_where, .init = set_up, .fini = tear_down)
{
	uint32_t cap = msix.capability;

	cr_assert_eq(function.config[cap], PCI_CAP_ID_MSIX);
	cr_assert_eq(pci_config_get(&function, cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	cr_assert_eq(pci_config_get(&function, cap + PCI_MSIX_TABLE, 4), 0x4000);
	cr_assert_eq(pci_config_get(&function, cap + PCI_MSIX_PBA, 4), 0x5000);
	cr_assert_eq(function.writable[cap + PCI_MSIX_FLAGS + 1], 0xc0);
	cr_assert_eq(msix_table_read(&msix, 12, 4), 1, "masked out of reset");
}

static size_t open_fds(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Whichever vector the machine refuses, or a function without room for the capability: nothing is
 * left of it. */
Test(msix, a_refusal_while_building_leaves_nothing)
{
	const struct pci_identity identity = { .vendor = 1 };
	const struct msix_sink sink = { .deliver = deliver };
	static const struct msix none;
	size_t before = open_fds();
	uint8_t body[240] = { 0 }, at;

	for (uint32_t taken = 0; taken <= VECTORS; taken++) {
		fake_fabric_init(&fake);
		pci_function_init(&function, &identity, 0x8000);
		if (taken == VECTORS) /* all were, and there is no room */
			cr_assert_eq(pci_add_capability(&function, 9, body, 180, &at), 0);
		else
			fake.fail_irqfd = -EMFILE;
		fake.fail_irqfd_after = taken;
		cr_assert_eq(msix_init(&msix, &function, 0x4000, 0x5000, VECTORS, &fake.fabric,
		                       &sink),
		             taken == VECTORS ? -ENOSPC : -EMFILE, "after %u", taken);
		cr_assert_eq(fake.gsi_count, taken);
		cr_assert_eq(open_fds(), before, "after %u: an eventfd is left", taken);
		cr_assert_eq(memcmp(&msix, &none, sizeof(none)), 0, "after %u", taken);
	}
}

Test(msix, delivery_with_one_route_a_vector, .init = set_up, .fini = tear_down)
{
	bring_up();
	for (uint16_t i = 0; i < VECTORS; i++) {
		cr_assert_eq(fake.gsis[i].routed, 1, "vector %u", i);
		cr_assert_eq(fake.gsis[i].address, ADDRESS);
		cr_assert_eq(fake.gsis[i].data, 0x40u + i);
		msix_signal(&msix, i);
		cr_assert_eq(delivered[i], 1);
	}
	msix_signal(&msix, MSIX_NO_VECTOR);
	msix_signal(&msix, VECTORS);
	cr_assert_eq(pending(), 0);
	cr_assert_eq(replays, 0);
}

Test(msix, masked_is_pending_and_replayed_once, .init = set_up, .fini = tear_down)
{
	bring_up();
	mask(1, true);
	msix_signal(&msix, 1);
	msix_signal(&msix, 1);
	cr_assert_eq(delivered[1], 0);
	cr_assert_eq(pending(), 2);
	msix_replay(&msix);
	cr_assert_eq(delivered[1], 0, "still masked");
	mask(1, false);
	cr_assert_eq(replays, 1);
	msix_replay(&msix);
	cr_assert_eq(delivered[1], 1);
	cr_assert_eq(pending(), 0);
	msix_replay(&msix);
	cr_assert_eq(delivered[1], 1);
	cr_assert_eq(fake.gsis[1].routed, 1, "nothing changed, so no new route");
}

Test(msix, the_function_mask_and_bus_mastering_hold_back_too, .init = set_up, .fini = tear_down)
{
	bring_up();
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, true);
	msix_signal(&msix, 0);
	cr_assert_eq(pending(), 1);
	control(PCI_MSIX_FLAGS_ENABLE, false);
	cr_assert_eq(replays, 0);
	cr_assert_eq(pending(), 1);
	control(PCI_MSIX_FLAGS_ENABLE, true);
	cr_assert_eq(replays, 1);
	msix_replay(&msix);
	cr_assert_eq(delivered[0], 1);
}

Test(msix, disabled_remembers_nothing, .init = set_up, .fini = tear_down)
{
	msix_signal(&msix, 0);
	cr_assert_eq(pending(), 0);
	bring_up();
	mask(0, true);
	msix_signal(&msix, 0);
	control(0, true);
	control(PCI_MSIX_FLAGS_ENABLE, true);
	mask(0, false);
	msix_replay(&msix);
	cr_assert_eq(delivered[0], 0);
}

Test(msix, a_changed_vector_is_routed_anew, .init = set_up, .fini = tear_down)
{
	bring_up();
	mask(2, true);
	program(2, 0x99);
	cr_assert_eq(fake.gsis[2].routed, 1, "not while masked");
	mask(2, false);
	cr_assert_eq(fake.gsis[2].routed, 2);
	cr_assert_eq(fake.gsis[2].data, 0x99);
	msix_table_write(&msix, 2 * 16 + 8, 4, 0x77);
	cr_assert_eq(fake.gsis[2].data, 0x77, "even when the driver does not mask");
	msix_table_write(&msix, 2 * 16 + 8, 8, 0x1234);
	cr_assert_eq(fake.gsis[2].data, 0x1234, "data and control in one write");
}

Test(msix, a_refused_route_is_counted_and_tried_again, .init = set_up, .fini = tear_down)
{
	fake.fail_route = -EINVAL;
	bring_up();
	cr_assert_eq(msix.route_errors, VECTORS);
	fake.fail_route = 0;
	mask(0, true);
	mask(0, false);
	cr_assert_eq(fake.gsis[0].routed, 1);
}

Test(msix, odd_accesses_are_safe, .init = set_up, .fini = tear_down)
{
	bring_up();
	for (uint32_t offset = 0; offset < 0x1000; offset++) {
		for (uint32_t width = 1; width <= 8; width *= 2) {
			(void)msix_table_read(&msix, offset, width);
			(void)msix_pba_read(&msix, offset, width);
			if (width < 4 || offset % width != 0 || offset >= VECTORS * 16)
				msix_table_write(&msix, offset, width, ~0ULL);
		}
	}
	cr_assert_eq(msix_table_read(&msix, 0, 8), ADDRESS, "none of them was a write");
	cr_assert_eq(msix_table_read(&msix, 9, 1), 0);
	cr_assert_eq(msix_table_read(&msix, 8, 1), 0x40);
	cr_assert_eq(msix_table_read(&msix, VECTORS * 16, 8), 0);
	msix_table_write(&msix, 0xfffffff8, 8, ~0ULL);
	msix_table_write(&msix, VECTORS * 16 - 4, 8, ~0ULL);
	cr_assert_eq(msix_table_read(&msix, VECTORS * 16 - 4, 4), 0);
}

/* ------------------------------------------------------------------------------- every vector */

static const uint16_t counts[] = { 1, 2, 3, 7, 8, 9, 63, 64, 65, 127, 128 };

/* What the PBA shows, byte by byte and eight bytes at once: this vector and no other. */
static void expect_pending(uint32_t vector, bool on)
{
	for (uint32_t at = 0; at < 24; at++)
		cr_assert_eq(msix_pba_read(&msix, at, 1),
		             on && at == vector / 8 ? 1u << vector % 8 : 0,
		             "vector %u of %u, byte %u", vector, msix.count, at);
	for (uint32_t at = 0; at < 24; at += 8)
		cr_assert_eq(msix_pba_read(&msix, at, 8),
		             on && at == vector / 64 * 8 ? 1ULL << vector % 64 : 0);
}

/* Masked by its own bit, by the function, or for want of bus mastering: each vector is shown
 * pending, and delivered once when nothing holds it any more. */
Test(msix, each_vector_is_shown_pending_and_replayed)
{
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		start(counts[c]);
		control(PCI_MSIX_FLAGS_ENABLE, true);
		for (uint16_t v = 0; v < msix.count; v++) {
			for (int by = 0; by < 3; by++) {
				uint32_t before = delivered[v];

				mask(v, by == 0);
				control(PCI_MSIX_FLAGS_ENABLE |
				                (by == 1 ? PCI_MSIX_FLAGS_MASKALL : 0),
				        by != 2);
				msix_signal(&msix, v);
				expect_pending(v, true);
				cr_assert_eq(msix_direct_fd(&msix, v), -1);
				mask(v, false);
				control(PCI_MSIX_FLAGS_ENABLE, true);
				msix_replay(&msix);
				expect_pending(v, false);
				cr_assert_eq(delivered[v], before + 1, "vector %u of %u, %d", v,
				             msix.count, by);
				cr_assert_eq(msix_direct_fd(&msix, v), fake.gsis[v].eventfd);
			}
			mask(v, true);
		}
		cr_assert_eq(msix_direct_fd(&msix, msix.count), -1);
		for (uint16_t v = 0; v < msix.count; v++)
			cr_assert_eq(delivered[v], 3);
		tear_down();
	}
}

Test(msix, all_that_is_pending_is_forgotten)
{
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		start(counts[c]);
		control(PCI_MSIX_FLAGS_ENABLE, true);
		for (uint16_t v = 0; v < msix.count; v++)
			msix_signal(&msix, v);
		for (uint32_t at = 0; at < msix.count / 8u; at++)
			cr_assert_eq(msix_pba_read(&msix, at, 1), 0xff);
		msix_forget(&msix);
		for (uint32_t at = 0; at < 24; at++)
			cr_assert_eq(msix_pba_read(&msix, at, 1), 0);
		for (uint16_t v = 0; v < msix.count; v++)
			mask(v, false);
		cr_assert_eq(replays, 0);
		msix_replay(&msix);
		for (uint16_t v = 0; v < msix.count; v++)
			cr_assert_eq(delivered[v], 0);
		tear_down();
	}
}

/* PCI 3.0 §6.8.2: the low two bits of an address are 0, of the control only the mask is there. */
Test(msix, each_entry_keeps_what_can_be_written)
{
	static const uint32_t kept[4] = { 0xfffffffc, 0xffffffff, 0xffffffff, 0x00000001 };

	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		start(counts[c]);
		for (uint32_t at = 0; at < msix.count * 16u; at += 4) {
			msix_table_write(&msix, at, 4, 0xffffffff);
			cr_assert_eq(msix_table_read(&msix, at, 4), kept[at / 4 % 4], "%#x", at);
			msix_table_write(&msix, at, 4, 0);
			cr_assert_eq(msix_table_read(&msix, at, 4), 0);
		}
		for (uint32_t at = 0; at < msix.count * 16u; at += 8) {
			msix_table_write(&msix, at, 8, 0xffffffffffffffff);
			cr_assert_eq(msix_table_read(&msix, at, 8),
			             (uint64_t)kept[at / 4 % 4 + 1] << 32 | kept[at / 4 % 4], "%#x",
			             at);
		}
		tear_down();
	}
}

Test(msix, a_route_has_the_whole_address, .init = set_up, .fini = tear_down)
{
	control(PCI_MSIX_FLAGS_ENABLE, true);
	msix_table_write(&msix, 16, 8, 0x123456789abcdef0);
	msix_table_write(&msix, 24, 4, 0xcafe);
	mask(1, false);
	cr_assert_eq(fake.gsis[1].address, 0x123456789abcdef0);
	cr_assert_eq(fake.gsis[1].data, 0xcafe);
}

/* Whoever signals a vector by itself hears of each change, and of nothing else. */
Test(msix, what_blocks_a_vector_is_told, .init = set_up, .fini = tear_down)
{
	bring_up();
	changes = 0;
	mask(1, true);
	cr_assert_eq(changes, 1);
	cr_assert_eq(msix_direct_fd(&msix, 1), -1);
	cr_assert_neq(msix_direct_fd(&msix, 0), -1);
	mask(1, true);
	program(1, 0x99);
	msix_signal(&msix, 1);
	cr_assert_eq(changes, 1);
	mask(1, false);
	cr_assert_eq(changes, 2);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, true);
	cr_assert_eq(changes, 2 + VECTORS);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, false);
	cr_assert_eq(changes, 2 + VECTORS, "blocked is blocked");
	control(PCI_MSIX_FLAGS_ENABLE, true);
	cr_assert_eq(changes, 2 + 2 * VECTORS);
	control(0, true);
	cr_assert_eq(changes, 2 + 3 * VECTORS);
	for (uint16_t v = 0; v < VECTORS; v++)
		cr_assert_eq(msix_direct_fd(&msix, v), -1);
}

Test(msix, counts_that_are_no_counts)
{
	const struct pci_identity identity = { .vendor = 1 };
	const struct msix_sink sink = { .deliver = deliver, .replay = replay };

	fake_fabric_init(&fake);
	pci_function_init(&function, &identity, 0x8000);
	cr_assert_eq(msix_init(&msix, &function, 0, 0, 0, &fake.fabric, &sink), -EINVAL);
	cr_assert_eq(msix_init(&msix, &function, 0, 0, MSIX_VECTORS_MAX + 1, &fake.fabric, &sink),
	             -EINVAL);
	cr_assert_eq(msix_init(&msix, &function, 4, 0, 1, &fake.fabric, &sink), -EINVAL);
	cr_assert_eq(msix_init(&msix, &function, 0, 4, 1, &fake.fabric, &sink), -EINVAL);
	msix_done(&msix);
	cr_assert_eq(msix_init(&msix, &function, 0, 0, MSIX_VECTORS_MAX, &fake.fabric, &sink), 0);
	cr_assert_eq(pci_config_get(&function, msix.capability + PCI_MSIX_FLAGS, 2), 127);
	msix_done(&msix);
}
