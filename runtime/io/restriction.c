/* SPDX-License-Identifier: MIT */
/* The restrictions of a loop's ring. seccomp does not see io_uring operations; the kernel checks
 * each submission against these restrictions instead, so they are part of the sandbox's policy.
 *
 * The kernel completes a refused submission with -EACCES, and its thread goes on. Our code never
 * makes such a submission, so a guest has taken over the thread, or written into the ring's memory.
 * The loop ends the process (io_loop_config.breach). A file may return -EACCES too (a security
 * module's policy was changed). The submission tells the two apart, since it still lies in the
 * ring: only submissions made after this turn's completions are handled can overwrite it.
 *
 * io_uring_register(2), IORING_REGISTER_RESTRICTIONS. */
#include "io/restriction.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLAGS_ALLOWED (IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS)

/* clang-format off */
#define OPCODE(op_, uses_, reason_)                                                                \
	{ .opcode = IORING_OP_##op_, .uses = (uses_), .name = #op_, .reason = (reason_) }
/* clang-format on */

/* In every loop: the loop's own operations, interrupts, and devices that move one buffer at a
 * time. */
#define ALL 0

static const struct io_opcode opcodes[] = {
	OPCODE(READ, ALL, "console input, small device reads"),
	OPCODE(WRITE, ALL, "console output, interrupts (irqfd)"),
	OPCODE(READV, IO_USE_FILES, "disk and net reads into guest memory"),
	OPCODE(WRITEV, IO_USE_FILES, "disk and net writes from guest memory"),
	OPCODE(FSYNC, IO_USE_STORAGE, "disk flush"),
	OPCODE(FALLOCATE, IO_USE_STORAGE, "disk discard and write zeroes"),
	OPCODE(URING_CMD, IO_USE_DISCARD, "disk discard, by a device's own command"),
	OPCODE(POLL_ADD, ALL, "doorbells, wake-up, TAP and pipe readiness"),
	OPCODE(TIMEOUT, ALL, "rate limits, bounded shutdown"),
	OPCODE(MADVISE, IO_USE_MEMORY, "memory that the guest gave up goes back to the host"),
	OPCODE(RECVMSG, IO_USE_DESCRIPTORS, "connections handed over by the orchestrator"),
	OPCODE(SHUTDOWN, IO_USE_DESCRIPTORS, "one direction of a connection ends"),
	OPCODE(CLOSE, IO_USE_DESCRIPTORS, "a connection ends; never a registered file"),
	OPCODE(ASYNC_CANCEL, ALL, "device reset, pause, shutdown"),
};

/* The devices that need each use. */
static const struct {
	uint32_t use;
	const char *where;
} uses[] = {
	{ IO_USE_FILES, "disks, nets" },  { IO_USE_STORAGE, "disks" },
	{ IO_USE_DISCARD, "such disks" }, { IO_USE_MEMORY, "balloon" },
	{ IO_USE_DESCRIPTORS, "vsock" },
};

/* Names of forbidden opcodes, for the death record: those that Linux 6.1 knows. */
static const char forbidden_names[][20] = {
#define NAME(op_) [IORING_OP_##op_] = #op_
	NAME(NOP),
	NAME(READ_FIXED),
	NAME(WRITE_FIXED),
	NAME(POLL_REMOVE),
	NAME(SYNC_FILE_RANGE),
	NAME(SENDMSG),
	NAME(TIMEOUT_REMOVE),
	NAME(ACCEPT),
	NAME(LINK_TIMEOUT),
	NAME(CONNECT),
	NAME(OPENAT),
	NAME(FILES_UPDATE),
	NAME(STATX),
	NAME(FADVISE),
	NAME(SEND),
	NAME(RECV),
	NAME(OPENAT2),
	NAME(EPOLL_CTL),
	NAME(SPLICE),
	NAME(PROVIDE_BUFFERS),
	NAME(REMOVE_BUFFERS),
	NAME(TEE),
	NAME(RENAMEAT),
	NAME(UNLINKAT),
	NAME(MKDIRAT),
	NAME(SYMLINKAT),
	NAME(LINKAT),
	NAME(MSG_RING),
	NAME(FSETXATTR),
	NAME(SETXATTR),
	NAME(FGETXATTR),
	NAME(GETXATTR),
	NAME(SOCKET),
	NAME(SEND_ZC),
	NAME(SENDMSG_ZC),
#undef NAME
};

const struct io_opcode *io_loop_opcodes(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(opcodes);
	return opcodes;
}

const char *io_opcode_where(const struct io_opcode *opcode)
{
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++)
		if (opcode->uses == uses[i].use)
			return uses[i].where;
	return "every loop";
}

static bool is_allowed(const struct io_loop *loop, const struct io_opcode *opcode)
{
	return opcode->uses == ALL || (opcode->uses & loop->uses);
}

static bool takes_descriptors(const struct io_loop *loop)
{
	return loop->uses & IO_USE_DESCRIPTORS;
}

static uint8_t flags_allowed(const struct io_loop *loop)
{
	return (uint8_t)(FLAGS_ALLOWED | (loop->uses & IO_USE_WORKERS ? IOSQE_ASYNC : 0));
}

int io_ring_register(const struct io_loop *loop, unsigned what, const void *argument,
                     unsigned count)
{
	long r = syscall(SYS_io_uring_register, loop->ring.ring_fd, what, argument, count);

	return r < 0 ? -errno : (int)r;
}

int io_restrict(struct io_loop *loop)
{
	struct io_uring_restriction rules[ARRAY_SIZE(opcodes) + 2];
	size_t n = 0;

	memset(rules, 0, sizeof(rules));
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		if (!is_allowed(loop, &opcodes[i]))
			continue;
		rules[n].opcode = IORING_RESTRICTION_SQE_OP;
		rules[n++].sqe_op = opcodes[i].opcode;
	}
	rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	rules[n++].sqe_flags = flags_allowed(loop);
	if (!takes_descriptors(loop)) {
		rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
		rules[n++].sqe_flags = IOSQE_FIXED_FILE;
	}
	return io_ring_register(loop, IORING_REGISTER_RESTRICTIONS, rules, (unsigned)n);
}

static const struct io_opcode *find(uint8_t opcode)
{
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		if (opcodes[i].opcode == opcode)
			return &opcodes[i];
	return NULL;
}

/* Why the restrictions refuse a submission, or NULL. */
static const char *wrong_with(const struct io_loop *loop, const struct io_uring_sqe *sqe)
{
	const struct io_opcode *opcode = find(sqe->opcode);

	if (!opcode || !is_allowed(loop, opcode))
		return "a forbidden opcode";
	if (!takes_descriptors(loop) && !(sqe->flags & IOSQE_FIXED_FILE))
		return "a file that is not registered";
	if (sqe->flags & ~flags_allowed(loop))
		return "a forbidden flag";
	return NULL;
}

/* ------------------------------------------------------------------------------------- trying */

/* Each attempt is harmless if it is carried out, and ends at once. */
static const struct attempt {
	uint8_t opcode, flags;
	const char *what;
} attempts[] = {
	{ IORING_OP_NOP, IOSQE_FIXED_FILE, "an opcode" },
	{ IORING_OP_READ, 0, "a file that is not registered" },
	{ IORING_OP_READ, IOSQE_FIXED_FILE | IOSQE_IO_DRAIN, "a flag" },
};

/* 0 when the ring refuses, -EBADMSG when it does not. */
static int try(struct io_loop *loop, const struct attempt *attempt)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
	struct io_uring_cqe *cqe = NULL;
	uint64_t count = 0;
	int r;

	if (!sqe)
		return -EBUSY;
	/* It reads an eventfd; without RWF_NOWAIT io_uring would wait for it. */
	io_uring_prep_rw(attempt->opcode, sqe,
	                 attempt->flags & IOSQE_FIXED_FILE ? (int)loop->wake_file : loop->wake_fd,
	                 &count, sizeof(count), 0);
	io_uring_sqe_set_flags(sqe, attempt->flags);
	if (attempt->opcode == IORING_OP_READ)
		sqe->rw_flags = RWF_NOWAIT;
	r = io_uring_submit_and_wait(&loop->ring, 1);
	if (r < 0)
		return r;
	r = io_uring_peek_cqe(&loop->ring, &cqe);
	if (r < 0)
		return r;
	r = cqe->res == -EACCES ? 0 : -EBADMSG;
	io_uring_cqe_seen(&loop->ring, cqe);
	return r;
}

int io_restriction_enable(struct io_loop *loop, const char **ret_what)
{
	int r = io_ring_register(loop, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	for (size_t i = 0; i < ARRAY_SIZE(attempts) && r == 0; i++) {
		if (takes_descriptors(loop) && attempts[i].flags == 0)
			continue; /* the thread's own descriptor table bounds what it can reach */
		r = try(loop, &attempts[i]);
		if (r == -EBADMSG)
			*ret_what = attempts[i].what;
	}
	if (r == 0 && io_ring_register(loop, IORING_UNREGISTER_EVENTFD, NULL, 0) != -EACCES) {
		*ret_what = "a registration";
		return -EBADMSG;
	}
	return r;
}

/* ------------------------------------------------------------------------------------- a breach */

bool io_restriction_breach(const struct io_loop *loop, const struct io_uring_cqe *cqe,
                           struct io_breach *ret_breach)
{
	const struct io_uring_sq *sq = &loop->ring.sq;

	if (cqe->res != -EACCES)
		return false;
	for (unsigned i = 0; i < sq->ring_entries; i++) {
		const struct io_uring_sqe *sqe = &sq->sqes[i];
		const char *what = wrong_with(loop, sqe);
		const struct io_opcode *known = find(sqe->opcode);
		const char *name = known ? known->name : "";

		if (sqe->user_data != cqe->user_data || !what)
			continue;
		if (!known && sqe->opcode < ARRAY_SIZE(forbidden_names))
			name = forbidden_names[sqe->opcode];
		*ret_breach = (struct io_breach){
			.opcode = sqe->opcode,
			.name = *name ? name : NULL,
			.what = what,
		};
		return true;
	}
	return false;
}
