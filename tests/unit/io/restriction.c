/* SPDX-License-Identifier: MIT */
/* The restrictions of the I/O ring: held when they are there, missed when one is not, and told from
 * a file's own refusal. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/loop.h"
#include "io/op.h"
#include "io/restriction.h"

static struct io_loop loop;

static void disabled_ring(void)
{
	const struct io_loop_config config = { .wake_fd_number = -1,
		                               .ring_fd_number = -1,
		                               .control_fd = -1 };
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };

	cr_assert_eq(io_loop_init(&loop, &config), 0);
	cr_assert_eq(io_uring_queue_init_params(8, &loop.ring, &params), 0);
	cr_assert_eq(io_uring_register_files(&loop.ring, loop.files, loop.file_count), 0);
}

static const char *missed(void)
{
	const char *what = NULL;
	int r = io_restriction_enable(&loop, &what);

	cr_expect_eq(r, what ? -EBADMSG : 0);
	return what;
}

static void restrict_to(struct io_uring_restriction *rules, unsigned count)
{
	cr_assert_eq(syscall(SYS_io_uring_register, loop.ring.ring_fd, IORING_REGISTER_RESTRICTIONS,
	                     rules, count),
	             0);
}

TestSuite(restriction, .timeout = 60);

Test(restriction, all_of_them_hold)
{
	disabled_ring();
	cr_assert_eq(io_restrict(&loop), 0);
	cr_assert_null(missed());
	io_loop_done(&loop);
}

Test(restriction, one_that_is_not_there_is_missed)
{
	/* From none to all but one; READ is what is tried with files and flags. */
	struct io_uring_restriction rules[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		  .sqe_flags = IOSQE_FIXED_FILE | IOSQE_IO_DRAIN },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_EVENTFD },
	};

	disabled_ring();
	cr_expect_str_eq(missed(), "an opcode");
	io_loop_done(&loop);
	disabled_ring();
	restrict_to(rules, 1);
	cr_expect_str_eq(missed(), "a file that is not registered");
	io_loop_done(&loop);
	disabled_ring();
	restrict_to(rules, 3);
	cr_expect_str_eq(missed(), "a flag");
	io_loop_done(&loop);
	disabled_ring();
	rules[1].sqe_flags = IOSQE_FIXED_FILE;
	restrict_to(rules, 4);
	cr_expect_str_eq(missed(), "a registration");
	io_loop_done(&loop);
}

/* A loop that is handed connections uses files that are not registered; the rest it misses like any
 * other. */
Test(restriction, a_loop_that_takes_descriptors_misses_the_others)
{
	struct io_uring_restriction rules[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		  .sqe_flags = IOSQE_FIXED_FILE | IOSQE_IO_DRAIN },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_EVENTFD },
	};

	disabled_ring();
	io_loop_uses(&loop, IO_USE_DESCRIPTORS);
	cr_expect_str_eq(missed(), "an opcode");
	io_loop_done(&loop);
	disabled_ring();
	io_loop_uses(&loop, IO_USE_DESCRIPTORS);
	restrict_to(rules, 2);
	cr_expect_str_eq(missed(), "a flag");
	io_loop_done(&loop);
	disabled_ring();
	io_loop_uses(&loop, IO_USE_DESCRIPTORS);
	rules[1].sqe_flags = IOSQE_FIXED_FILE;
	restrict_to(rules, 3);
	cr_expect_str_eq(missed(), "a registration");
	io_loop_done(&loop);
	disabled_ring();
	io_loop_uses(&loop, IO_USE_DESCRIPTORS);
	restrict_to(rules, 2);
	cr_expect_null(missed());
	io_loop_done(&loop);
}

static void answered(struct io_op *op, int result, uint32_t flags)
{
	(void)op;
	(void)result;
	(void)flags;
}

Test(restriction, a_files_refusal_is_no_breach)
{
	struct io_uring_cqe cqe = { .res = -EACCES };
	struct io_breach breach;
	struct io_op op = { .done = answered };
	struct io_uring_sqe *sqe;
	uint64_t value;

	disabled_ring();
	cr_assert_eq(io_restrict(&loop), 0);
	cr_assert_null(missed());
	atomic_store(&loop.phase, IO_RUNNING);
	cr_assert(io_read(&loop, &op, loop.wake_file, &value, sizeof(value), 0));
	cqe.user_data = (uintptr_t)&op;
	cr_expect_not(io_restriction_breach(&loop, &cqe, &breach));

	sqe = io_uring_get_sqe(&loop.ring);
	io_uring_prep_nop(sqe);
	sqe->user_data = 77;
	cqe.user_data = 77;
	cr_assert(io_restriction_breach(&loop, &cqe, &breach));
	cr_expect_eq(breach.opcode, IORING_OP_NOP);
	cr_expect_str_eq(breach.name, "NOP");
	cr_expect_str_eq(breach.what, "a forbidden opcode");
	cqe.res = -EIO;
	cr_expect_not(io_restriction_breach(&loop, &cqe, &breach));
	io_loop_done(&loop);
}

/* A refused submission is a breach for what is wrong with it: opcode, file, flags; the allowed ones
 * are none. */
Test(restriction, what_is_a_breach_and_what_is_none)
{
	static const uint8_t allowed[] = {
		IORING_OP_READ,    IORING_OP_WRITE,        IORING_OP_READV,    IORING_OP_WRITEV,
		IORING_OP_FSYNC,   IORING_OP_FALLOCATE,    IORING_OP_POLL_ADD, IORING_OP_TIMEOUT,
		IORING_OP_MADVISE, IORING_OP_ASYNC_CANCEL,
	};
	static const uint8_t good[] = { IOSQE_FIXED_FILE,
		                        IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS };
	static const uint8_t bad[] = { IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK,
		                       IOSQE_ASYNC, IOSQE_BUFFER_SELECT };
	struct io_uring_cqe cqe = { .res = -EACCES, .user_data = 77 };
	struct io_breach breach;
	struct io_uring_sqe *sqe;

	disabled_ring();
	io_loop_uses(&loop, IO_USE_FILES | IO_USE_STORAGE | IO_USE_MEMORY);
	sqe = io_uring_get_sqe(&loop.ring);
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		bool known = memchr(allowed, (int)opcode, sizeof(allowed));

		*sqe = (struct io_uring_sqe){ .opcode = (uint8_t)opcode, .user_data = 77 };
		for (size_t i = 0; i < sizeof(good); i++) {
			sqe->flags = good[i];
			cr_assert_eq(io_restriction_breach(&loop, &cqe, &breach), !known,
			             "opcode %u", opcode);
			if (known)
				continue;
			cr_assert_eq(breach.opcode, opcode);
			cr_assert_str_eq(breach.what, "a forbidden opcode");
		}
		if (!known)
			continue;
		for (size_t i = 0; i < sizeof(bad); i++) {
			sqe->flags = IOSQE_FIXED_FILE | bad[i];
			cr_assert(io_restriction_breach(&loop, &cqe, &breach));
			cr_assert_str_eq(breach.what, "a forbidden flag");
			cr_assert_not_null(breach.name);
		}
		/* A loop that says that it hands some to workers may. */
		loop.uses |= IO_USE_WORKERS;
		sqe->flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
		cr_assert_not(io_restriction_breach(&loop, &cqe, &breach));
		loop.uses &= ~(uint32_t)IO_USE_WORKERS;
		sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
		cr_assert(io_restriction_breach(&loop, &cqe, &breach));
		cr_assert_str_eq(breach.what, "a file that is not registered");
		/* A loop that is handed descriptors has those too. */
		loop.uses |= IO_USE_DESCRIPTORS;
		cr_assert_not(io_restriction_breach(&loop, &cqe, &breach));
		sqe->flags = IOSQE_ASYNC;
		cr_assert(io_restriction_breach(&loop, &cqe, &breach));
		loop.uses &= ~(uint32_t)IO_USE_DESCRIPTORS;
	}
	/* Somebody else's completion. */
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_NOP, .user_data = 77 };
	cqe.user_data = 78;
	cr_assert_not(io_restriction_breach(&loop, &cqe, &breach));
	io_loop_done(&loop);
}
