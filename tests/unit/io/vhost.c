/* SPDX-License-Identifier: MIT */
/* The ioctls of vhost-net: which, in what order, with what in them, and what becomes of an error.
 * The numbers are those of linux/vhost.h, written out; the kernel's side is a list. The code is
 * compiled here once more under other names: virtio/net_vhost.c stands in for it in the rest of
 * this program. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

static int fake_ioctl(int fd, unsigned long request, ...);

#define ioctl(...) fake_ioctl(__VA_ARGS__)
#define vhost_get_features real_get_features
#define vhost_own real_own
#define vhost_set_features real_set_features
#define vhost_set_call real_set_call
#define vhost_start real_start
#define vhost_stop real_stop
#include "io/vhost.c"
#undef ioctl

#define FD 77
#define CALLS_MAX 16

/* What was asked: the request, and the first words of its argument. */
static struct {
	unsigned long request;
	uint8_t bytes[sizeof(struct vhost_memory) +
	              GUEST_REGIONS_MAX * sizeof(struct vhost_memory_region)];
} asked[CALLS_MAX];
static size_t count;
static size_t fail_at = CALLS_MAX; /* the call that fails */

static int fake_ioctl(int fd, unsigned long request, ...)
{
	size_t size = _IOC_SIZE(request);
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = size > 0 ? va_arg(arguments, void *) : NULL;
	va_end(arguments);
	cr_assert_eq(fd, FD);
	cr_assert_lt(count, CALLS_MAX);
	if (request == 0x4008af03) /* the table goes on behind its head */
		size += ((const struct vhost_memory *)argument)->nregions *
		        sizeof(struct vhost_memory_region);
	asked[count].request = request;
	if (argument && (_IOC_DIR(request) & _IOC_WRITE))
		memcpy(asked[count].bytes, argument, size);
	if (count++ == fail_at) {
		errno = ENOBUFS;
		return -1;
	}
	if (request == 0x8008af00)
		*(uint64_t *)argument = 0x123456789abcdef0;
	if (request == 0xc008af12)
		((struct vhost_vring_state *)argument)->num = 4711;
	return 0;
}

static void forget(void)
{
	memset(asked, 0, sizeof(asked));
	count = 0;
	fail_at = CALLS_MAX;
}

/* The word of 32 or 64 bits at `offset` of a call's argument. */
static uint64_t word(size_t call, size_t offset, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, asked[call].bytes + offset, size);
	return value;
}

static const struct vhost_place place = {
	.size = 256,
	.desc = (void *)0x1111000,
	.avail = (void *)0x2222000,
	.used = (void *)0x3333000,
	.kick = 31,
	.call = 32,
};

TestSuite(vhost, .timeout = 60);

Test(vhost, features_and_ownership, .init = forget)
{
	struct guest_memory memory;
	const uint64_t sizes[] = { 4 * GIB, GIB };
	uint64_t features = 0;

	cr_assert_eq(real_get_features(FD, &features), 0);
	cr_assert_eq(asked[0].request, 0x8008af00);
	cr_assert_eq(features, 0x123456789abcdef0);
	cr_assert_eq(real_set_features(FD, 0x10060008000), 0);
	cr_assert_eq(asked[1].request, 0x4008af00);
	cr_assert_eq(word(1, 0, 8), 0x10060008000);

	cr_assert_eq(guest_memory_layout(&memory, sizes, 2), 0);
	cr_assert_gt(memory.count, 2, "the hole makes a region more");
	for (size_t i = 0; i < memory.count; i++)
		memory.regions[i].hva = (uint8_t *)(uintptr_t)(0x7000000000 + (i << 36));
	cr_assert_eq(real_own(FD, &memory), 0);
	cr_assert_eq(asked[2].request, 0xaf01, "the owner first");
	cr_assert_eq(asked[3].request, 0x4008af03);
	cr_assert_eq(count, 4);
	/* nregions, padding; then guest_phys_addr, memory_size, userspace_addr, flags_padding
	 * each. */
	cr_assert_eq(word(3, 0, 8), memory.count);
	for (size_t i = 0; i < memory.count; i++) {
		cr_assert_eq(word(3, 8 + 32 * i, 8), memory.regions[i].base.v);
		cr_assert_eq(word(3, 8 + 32 * i + 8, 8), memory.regions[i].size);
		cr_assert_eq(word(3, 8 + 32 * i + 16, 8), (uintptr_t)memory.regions[i].hva);
		cr_assert_eq(word(3, 8 + 32 * i + 24, 8), 0);
	}
}

/* The backend last: from then on the ring is served. */
Test(vhost, a_ring_is_started, .init = forget)
{
	static const unsigned long requests[] = { 0x4008af10, 0x4008af12, 0x4028af11,
		                                  0x4008af21, 0x4008af20, 0x4008af30 };

	for (enum vhost_ring ring = VHOST_RX; ring < VHOST_RINGS; ring++) {
		forget();
		cr_assert_eq(real_start(FD, ring, &place, 0xfedc, 55), 0);
		cr_assert_eq(count, ARRAY_SIZE(requests));
		for (size_t i = 0; i < count; i++) {
			cr_assert_eq(asked[i].request, requests[i], "call %zu: %#lx", i,
			             asked[i].request);
			cr_assert_eq(word(i, 0, 4), (uint64_t)ring, "index of call %zu", i);
		}
		cr_assert_eq(word(0, 4, 4), 256);
		cr_assert_eq(word(1, 4, 4), 0xfedc);
		/* index, flags, desc, used, avail, log: in this order. */
		cr_assert_eq(word(2, 4, 4), 0);
		cr_assert_eq(word(2, 8, 8), 0x1111000);
		cr_assert_eq(word(2, 16, 8), 0x3333000);
		cr_assert_eq(word(2, 24, 8), 0x2222000);
		cr_assert_eq(word(2, 32, 8), 0);
		cr_assert_eq(word(3, 4, 4), 32);
		cr_assert_eq(word(4, 4, 4), 31);
		cr_assert_eq(word(5, 4, 4), 55);
	}
}

Test(vhost, a_ring_is_stopped_and_its_interrupt_changed, .init = forget)
{
	for (enum vhost_ring ring = VHOST_RX; ring < VHOST_RINGS; ring++) {
		uint16_t base = 0;

		forget();
		cr_assert_eq(real_set_call(FD, ring, 99), 0);
		cr_assert_eq(asked[0].request, 0x4008af21);
		cr_assert_eq(word(0, 0, 4), (uint64_t)ring);
		cr_assert_eq(word(0, 4, 4), 99);
		cr_assert_eq(real_stop(FD, ring, &base), 0);
		cr_assert_eq(asked[1].request, 0x4008af30);
		cr_assert_eq(word(1, 0, 4), (uint64_t)ring);
		cr_assert_eq((int32_t)word(1, 4, 4), -1, "no backend");
		cr_assert_eq(asked[2].request, 0xc008af12);
		cr_assert_eq(word(2, 0, 4), (uint64_t)ring);
		cr_assert_eq(base, 4711);
		cr_assert_eq(count, 3);
	}
}

/* Whichever call fails: its error is what is returned, and nothing follows. */
Test(vhost, errors_are_returned_and_end_it, .init = forget)
{
	struct guest_memory memory;
	const uint64_t size = GIB;
	uint64_t features = 5;
	uint16_t base = 5;

	cr_assert_eq(guest_memory_layout(&memory, &size, 1), 0);
	for (size_t i = 0; i < 6; i++) {
		forget();
		fail_at = i;
		cr_assert_eq(real_start(FD, VHOST_TX, &place, 0, 55), -ENOBUFS, "call %zu", i);
		cr_assert_eq(count, i + 1);
		if (i >= 2)
			continue;
		forget();
		fail_at = i;
		cr_assert_eq(real_stop(FD, VHOST_TX, &base), -ENOBUFS);
		cr_assert_eq(count, i + 1);
		cr_assert_eq(base, 5);
		forget();
		fail_at = i;
		cr_assert_eq(real_own(FD, &memory), -ENOBUFS);
		cr_assert_eq(count, i + 1);
	}
	forget();
	fail_at = 0;
	cr_assert_eq(real_get_features(FD, &features), -ENOBUFS);
	forget();
	fail_at = 0;
	cr_assert_eq(real_set_features(FD, 1), -ENOBUFS);
	forget();
	fail_at = 0;
	cr_assert_eq(real_set_call(FD, VHOST_RX, 1), -ENOBUFS);
}
