/* SPDX-License-Identifier: MIT */
/* Every opcode, every combination of submission flags and every registration, on a ring that is
 * restricted as the product does it: what the kernel carries out is what is documented, and what it
 * refuses is what the loop takes for a breach. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/loop.h"
#include "io/restriction.h"

#define USES (IO_USE_FILES | IO_USE_STORAGE | IO_USE_MEMORY | IO_USE_DESCRIPTORS | IO_USE_DISCARD)
#define NOBODY 0
#define EVERY UINT32_MAX

/* Of Linux 6.1, and in whose loops it is allowed; by number, so that a name that moved is seen. */
static const struct opcode {
	const char *name;
	uint32_t allowed;
} opcodes[] = {
	[0] = { "NOP", NOBODY },
	[1] = { "READV", IO_USE_FILES },
	[2] = { "WRITEV", IO_USE_FILES },
	[3] = { "FSYNC", IO_USE_STORAGE },
	[4] = { "READ_FIXED", NOBODY },
	[5] = { "WRITE_FIXED", NOBODY },
	[6] = { "POLL_ADD", EVERY },
	[7] = { "POLL_REMOVE", NOBODY },
	[8] = { "SYNC_FILE_RANGE", NOBODY },
	[9] = { "SENDMSG", NOBODY },
	[10] = { "RECVMSG", IO_USE_DESCRIPTORS },
	[11] = { "TIMEOUT", EVERY },
	[12] = { "TIMEOUT_REMOVE", NOBODY },
	[13] = { "ACCEPT", NOBODY },
	[14] = { "ASYNC_CANCEL", EVERY },
	[15] = { "LINK_TIMEOUT", NOBODY },
	[16] = { "CONNECT", NOBODY },
	[17] = { "FALLOCATE", IO_USE_STORAGE },
	[18] = { "OPENAT", NOBODY },
	[19] = { "CLOSE", IO_USE_DESCRIPTORS },
	[20] = { "FILES_UPDATE", NOBODY },
	[21] = { "STATX", NOBODY },
	[22] = { "READ", EVERY },
	[23] = { "WRITE", EVERY },
	[24] = { "FADVISE", NOBODY },
	[25] = { "MADVISE", IO_USE_MEMORY },
	[26] = { "SEND", NOBODY },
	[27] = { "RECV", NOBODY },
	[28] = { "OPENAT2", NOBODY },
	[29] = { "EPOLL_CTL", NOBODY },
	[30] = { "SPLICE", NOBODY },
	[31] = { "PROVIDE_BUFFERS", NOBODY },
	[32] = { "REMOVE_BUFFERS", NOBODY },
	[33] = { "TEE", NOBODY },
	[34] = { "SHUTDOWN", IO_USE_DESCRIPTORS },
	[35] = { "RENAMEAT", NOBODY },
	[36] = { "UNLINKAT", NOBODY },
	[37] = { "MKDIRAT", NOBODY },
	[38] = { "SYMLINKAT", NOBODY },
	[39] = { "LINKAT", NOBODY },
	[40] = { "MSG_RING", NOBODY },
	[41] = { "FSETXATTR", NOBODY },
	[42] = { "SETXATTR", NOBODY },
	[43] = { "FGETXATTR", NOBODY },
	[44] = { "GETXATTR", NOBODY },
	[45] = { "SOCKET", NOBODY },
	[46] = { "URING_CMD", IO_USE_DISCARD },
	[47] = { "SEND_ZC", NOBODY },
	[48] = { "SENDMSG_ZC", NOBODY },
};

/* linux/io_uring.h. The kernel itself takes no flag beyond the seventh. */
enum { FIXED_FILE = 1 << 0, DRAIN = 1 << 1, SKIP_SUCCESS = 1 << 6, UNKNOWN = 1 << 7 };

static struct io_loop loop;

static void enabled_loop(uint32_t uses)
{
	const struct io_loop_config config = { .wake_fd_number = -1,
		                               .ring_fd_number = -1,
		                               .control_fd = -1 };
	const char *what = NULL;

	cr_assert_eq(io_loop_init(&loop, &config), 0);
	io_loop_uses(&loop, uses);
	cr_assert_eq(io_loop_build(&loop), 0);
	cr_assert_eq(io_loop_enable(&loop, &what), 0, "%s", what ? what : "");
}

/* What came of one submission; 1 when nothing did: it was taken, and goes on. */
static int submit(const struct io_uring_sqe *what, struct io_breach *ret_breach, bool *ret_breached)
{
	struct __kernel_timespec patience = { .tv_sec = 5 };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop.ring);
	struct io_uring_cqe *cqe = NULL;
	int r;

	cr_assert_not_null(sqe);
	*sqe = *what;
	*ret_breached = false;
	cr_assert_eq(io_uring_submit(&loop.ring), 1);
	if (io_uring_wait_cqe_timeout(&loop.ring, &cqe, &patience) < 0)
		return 1;
	r = cqe->res;
	cr_assert_eq(cqe->user_data, what->user_data);
	*ret_breached = io_restriction_breach(&loop, cqe, ret_breach);
	io_uring_cqe_seen(&loop.ring, cqe);
	return r;
}

static void try_opcode(unsigned number, uint32_t uses)
{
	/* No such file, no address, no length: what is carried out does nothing. */
	const struct io_uring_sqe sqe = { .opcode = (uint8_t)number,
		                          .flags = IOSQE_FIXED_FILE,
		                          .fd = 0x7fff,
		                          .user_data = 0x1000 + number };
	const struct opcode *opcode = number < ARRAY_SIZE(opcodes) ? &opcodes[number] : NULL;
	struct io_breach breach = { 0 };
	bool breached;
	int r = submit(&sqe, &breach, &breached);

	if (opcode && (opcode->allowed == EVERY || opcode->allowed & uses)) {
		cr_expect(r != -EACCES, "uses %#x: opcode %u is refused", uses, number);
		cr_expect_not(breached, "uses %#x: opcode %u is a breach", uses, number);
		return;
	}
	/* Of a number that the kernel has not either, it says so. */
	cr_expect(r == -EACCES || (!opcode && r == -EINVAL), "uses %#x: opcode %u: %d", uses,
	          number, r);
	cr_expect_eq(breached, r == -EACCES, "opcode %u", number);
	if (!breached)
		return;
	cr_expect_eq(breach.opcode, number);
	cr_expect_str_eq(breach.what, "a forbidden opcode");
	if (opcode)
		cr_expect_str_eq(breach.name ? breach.name : "", opcode->name, "opcode %u", number);
	else
		cr_expect_null(breach.name);
}

/* With every choice of devices: what none of them uses is refused. */
Test(restriction, every_opcode_is_tried)
{
	for (uint32_t uses = 0; uses <= USES; uses++) {
		enabled_loop(uses);
		for (unsigned number = 0; number <= UINT8_MAX; number++)
			try_opcode(number, uses);
		io_loop_done(&loop);
	}
}

/* In ascending order: a ring that has seen SKIP_SUCCESS does without DRAIN from then on.
 *
 * READ knows each of the flags. It reads an eventfd that has nothing, and does not wait for it. */
static void try_flags(unsigned flags, bool takes_descriptors)
{
	uint64_t count = 0;
	const struct io_uring_sqe sqe = {
		.opcode = 22,
		.flags = (uint8_t)flags,
		.addr = (uint64_t)(uintptr_t)&count,
		.len = sizeof(count),
		.fd = flags & FIXED_FILE ? (int)loop.wake_file : loop.wake_fd,
		.rw_flags = RWF_NOWAIT,
		.user_data = 0x1000 + flags,
	};
	bool allowed = !(flags & ~(unsigned)(FIXED_FILE | SKIP_SUCCESS)) &&
	               (takes_descriptors || flags & FIXED_FILE);
	struct io_breach breach = { 0 };
	bool breached;
	int r = submit(&sqe, &breach, &breached);

	if (allowed) {
		cr_expect_eq(r, -EAGAIN, "flags %#x: %d", flags, r);
		cr_expect_not(breached, "flags %#x", flags);
		return;
	}
	/* What the kernel takes from nobody: a flag that it has not, these two together. */
	if (flags & UNKNOWN)
		cr_expect_eq(r, -EINVAL, "flags %#x: %d", flags, r);
	else if (flags & DRAIN && flags & SKIP_SUCCESS)
		cr_expect(r == -EOPNOTSUPP || r == -EACCES, "flags %#x: %d", flags, r);
	else
		cr_expect_eq(r, -EACCES, "flags %#x: %d", flags, r);
	cr_expect_eq(breached, r == -EACCES, "flags %#x", flags);
	if (!breached)
		return;
	cr_expect_str_eq(breach.name, "READ");
	cr_expect_str_eq(breach.what,
	                 !takes_descriptors && !(flags & FIXED_FILE)
	                         ? "a file that is not registered"
	                         : "a forbidden flag",
	                 "flags %#x", flags);
}

Test(restriction, every_combination_of_flags_is_tried)
{
	for (int takes = 0; takes < 2; takes++) {
		enabled_loop(takes == 1 ? IO_USE_DESCRIPTORS : 0);
		for (unsigned flags = 0; flags <= UINT8_MAX; flags++)
			try_flags(flags, takes == 1);
		io_loop_done(&loop);
	}
}

/* Linux 6.1 has so many registrations. */
#define REGISTRATIONS_MIN 26

/* None is left, not even that which would restrict the ring once more. From the first on that a
 * kernel does not have it has none; the header may be of another kernel, older or newer. */
Test(restriction, every_registration_is_tried)
{
	bool unknown = false;

	enabled_loop(0);
	for (unsigned what = 0; what <= UINT8_MAX; what++) {
		long r = syscall(SYS_io_uring_register, loop.ring.ring_fd, what, NULL, 0);
		int error = r < 0 ? errno : 0;

		unknown |= what >= REGISTRATIONS_MIN && error == EINVAL;
		cr_expect_eq(error, unknown ? EINVAL : EACCES, "registration %u: %ld, %s", what, r,
		             errno_text(error));
	}
	io_loop_done(&loop);
}

/* What `axvm policy ring` prints, against the same list. */
Test(restriction, the_table_is_what_is_allowed)
{
	size_t count, expected = 0;
	const struct io_opcode *table = io_loop_opcodes(&count);

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		expected += opcodes[i].allowed != NOBODY;
	cr_expect_eq(count, expected);
	for (size_t i = 0; i < count; i++) {
		cr_assert_leq(table[i].opcode, ARRAY_SIZE(opcodes) - 1);
		cr_expect_eq(table[i].uses ? table[i].uses : EVERY,
		             opcodes[table[i].opcode].allowed, "%s", table[i].name);
		cr_expect_eq(strcmp(io_opcode_where(&table[i]), "every loop") == 0,
		             table[i].uses == 0, "%s", table[i].name);
		cr_expect_str_eq(table[i].name, opcodes[table[i].opcode].name);
		cr_expect_neq(*table[i].reason, '\0');
	}
}
