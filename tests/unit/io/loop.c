/* SPDX-License-Identifier: MIT */
/* The I/O loop without a device: what it takes, what it counts, how it ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "io/loop.h"
#include "io/op.h"
#include "io/restriction.h"
#include "rig/virtio_driver.h"
#include "rig/wait.h"
#include "tests/unit/rig/fake_kernel.h"

TestSuite(io_loop, .timeout = 30);

static struct io_loop loop;

static void init(int control_fd)
{
	const struct io_loop_config config = { .wake_fd_number = -1,
		                               .ring_fd_number = -1,
		                               .control_fd = control_fd };

	cr_assert_eq(io_loop_init(&loop, &config), 0);
}

/* -------------------------------------------------------------------------------------- tables */

Test(io_loop, its_tables_are_full_in_the_end)
{
	static struct io_client clients[IO_CLIENTS_MAX + 1];
	static const struct io_client_ops none;
	uint32_t index = 0;

	init(-1);
	for (uint32_t i = 0; i < 64; i++) {
		cr_assert_eq(io_loop_add_client(&loop, &clients[i], &none), 0);
		cr_assert_eq(clients[i].index, i);
	}
	cr_assert_eq(io_loop_add_client(&loop, &clients[64], &none), -ENOSPC);
	/* The first file is the loop's own. */
	for (uint32_t i = 1; i < 512; i++) {
		cr_assert_eq(io_loop_add_file(&loop, 0, &index), 0);
		cr_assert_eq(index, i);
	}
	cr_assert_eq(io_loop_add_file(&loop, 0, &index), -ENOSPC);
	io_loop_done(&loop);
}

/* What a ring of the largest size has room for, less what the loop needs itself. */
Test(io_loop, no_more_can_be_reserved_than_a_ring_has)
{
	const uint32_t all = 16384, own = 8;

	init(-1);
	cr_assert_eq(io_loop_reserve(&loop, all - own + 1), -ENOSPC);
	cr_assert_eq(io_loop_reserve(&loop, UINT32_MAX), -ENOSPC);
	cr_assert_eq(io_loop_reserve(&loop, all - own - 10), 0);
	cr_assert_eq(io_loop_reserve(&loop, 11), -ENOSPC);
	cr_assert_eq(io_loop_reserve(&loop, 10), 0);
	cr_assert_eq(io_loop_reserve(&loop, 1), -ENOSPC);
	cr_assert_eq(io_loop_reserve(&loop, 0), 0);
	io_loop_done(&loop);
}

/* ------------------------------------------------------------------------------------- building */

/* What lay in its memory before is not its own. */
Test(io_loop, it_begins_with_nothing)
{
	static const struct io_stats none;

	memset(&loop, 0xa5, sizeof(loop));
	init(-1);
	cr_assert_eq(loop.client_count, 0);
	cr_assert_eq(loop.file_count, 1);
	cr_assert_eq(loop.in_flight, 0);
	cr_assert_eq(loop.turn_ns, 0);
	cr_assert_eq(atomic_load(&loop.pending), 0);
	cr_assert_eq(atomic_load(&loop.request), IO_REQUEST_RUN);
	cr_assert_eq(io_loop_phase(&loop), IO_BUILDING);
	cr_assert_eq(loop.uses, 0);
	cr_assert_not(loop.linger_armed || loop.linger_over || loop.drain_over);
	cr_assert_eq(memcmp(&loop.stats, &none, sizeof(none)), 0);
	io_loop_done(&loop);
}

static const struct refusal {
	long nr;
	uint64_t opcode;
	int error;
} refusals[] = {
	{ SYS_io_uring_setup, 0, ENOMEM },
	{ SYS_io_uring_setup, 0, EINVAL }, /* whatever was asked for */
	{ SYS_io_uring_register, IORING_REGISTER_FILES, EMFILE },
	{ SYS_io_uring_register, IORING_REGISTER_RESTRICTIONS, EBUSY },
};

static const struct refusal *refusal;

static bool refuse(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (!refusal || nr != refusal->nr ||
	    (nr == SYS_io_uring_register && args[1] != refusal->opcode))
		return false;
	*ret_result = -refusal->error;
	return true;
}

Test(io_loop, a_ring_that_is_refused_is_not_built)
{
	static const long calls[] = { SYS_io_uring_setup, SYS_io_uring_register };

	cr_assert_eq(fake_kernel_begin(calls, ARRAY_SIZE(calls), refuse), 0);
	for (size_t i = 0; i <= ARRAY_SIZE(refusals); i++) {
		refusal = i < ARRAY_SIZE(refusals) ? &refusals[i] : NULL;
		init(-1);
		cr_assert_eq(io_loop_build(&loop), refusal ? -refusal->error : 0, "case %zu", i);
		cr_assert_eq(io_loop_phase(&loop), refusal ? IO_BUILDING : IO_BUILT, "case %zu", i);
		io_loop_done(&loop);
	}
}

/* -------------------------------------------------------------------------- a client that works */

#define READS 10

static struct worker {
	struct io_client client;
	struct io_op reads[READS], timer, second;
	struct __kernel_timespec time;
	uint8_t byte;
	uint32_t zero, full; /* files: /dev/zero, and one that cannot be written */
	bool works;          /* reads and signals when it starts */
	/* holds: mail is not done with before it is false again */
	_Atomic bool busy, lingers, holds;
	_Atomic uint32_t done, mails, mails_at_pause, polls, last_polls;
	_Atomic uint64_t first_ns, again_ns, next_ns;
	bool breaks;            /* submits what the ring does not allow when it starts */
	_Atomic uint32_t finds; /* so many polls yet find something */
	uint64_t found_ns;      /* when the last did */
	_Atomic uint32_t found; /* after so many it was looked at until when the loop polls */
} worker;

static void read_done(struct io_op *op, int result, uint32_t flags)
{
	(void)op;
	(void)flags;
	cr_assert_eq(result, 1);
	atomic_fetch_add(&worker.done, 1);
}

/* The clock is read once a turn, whatever happens in it. */
static void timer_done(struct io_op *op, int result, uint32_t flags)
{
	(void)op;
	(void)flags;
	cr_assert_eq(result, -ETIME);
	atomic_store(&worker.first_ns, io_turn_ns(&loop));
	usleep(2000);
	atomic_store(&worker.again_ns, io_turn_ns(&loop));
	(void)io_timeout(&loop, &worker.second, &worker.time);
}

static void second_done(struct io_op *op, int result, uint32_t flags)
{
	(void)op;
	(void)result;
	(void)flags;
	atomic_store(&worker.next_ns, io_turn_ns(&loop));
}

static void start(struct io_client *client)
{
	(void)client;
	if (worker.breaks) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&loop.ring);

		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data(sqe, &worker.timer);
	}
	if (!worker.works)
		return;
	for (size_t i = 0; i < READS; i++)
		cr_assert(io_read(&loop, &worker.reads[i], worker.zero, &worker.byte, 1, 0));
	for (size_t i = 0; i < 3; i++)
		io_interrupt(&loop, worker.full);
	cr_assert(io_timeout(&loop, &worker.timer, &worker.time));
}

static bool idle(const struct io_client *client)
{
	(void)client;
	return !atomic_load(&worker.busy);
}

static bool lingers(const struct io_client *client)
{
	(void)client;
	return atomic_load(&worker.lingers);
}

static void mail(struct io_client *client, uint32_t bits)
{
	(void)client;
	(void)bits;
	atomic_fetch_add(&worker.mails, 1);
	WAIT_UNTIL(!(atomic_load(&worker.holds)));
}

static void pause_client(struct io_client *client)
{
	(void)client;
	atomic_store(&worker.mails_at_pause, atomic_load(&worker.mails));
}

static bool poll_client(struct io_client *client, bool last)
{
	(void)client;
	atomic_fetch_add(last ? &worker.last_polls : &worker.polls, 1);
	if (worker.found_ns != 0) {
		cr_assert_geq(loop.busy_until_ns, worker.found_ns + loop.busy_poll_us * 1000ULL);
		worker.found_ns = 0;
		atomic_fetch_add(&worker.found, 1);
	}
	if (last || atomic_load(&worker.finds) == 0)
		return false;
	atomic_fetch_sub(&worker.finds, 1);
	worker.found_ns = io_turn_ns(&loop);
	return true;
}

static const struct io_client_ops ops = { .poll = poll_client,
	                                  .start = start,
	                                  .mail = mail,
	                                  .idle = idle,
	                                  .lingers = lingers,
	                                  .pause = pause_client };

static void *run(void *unused)
{
	const char *what = NULL;

	(void)unused;
	cr_assert_eq(io_loop_enable(&loop, &what), 0);
	cr_assert_eq(io_loop_run(&loop), 0);
	return NULL;
}

static pthread_t thread;
static bool running;
static int control_fd, null_fd, zero_fd;

static void begin(bool works)
{
	memset(&worker, 0, sizeof(worker));
	worker.works = works;
	worker.time.tv_nsec = 1000000;
	control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cr_assert(control_fd >= 0 && zero_fd >= 0 && null_fd >= 0);
	init(control_fd);
	cr_assert_eq(io_loop_add_file(&loop, zero_fd, &worker.zero), 0);
	cr_assert_eq(io_loop_add_file(&loop, null_fd, &worker.full), 0);
	cr_assert_eq(io_loop_add_client(&loop, &worker.client, &ops), 0);
	cr_assert_eq(io_loop_reserve(&loop, READS + 4), 0);
	for (size_t i = 0; i < READS; i++)
		worker.reads[i].done = read_done;
	worker.timer.done = timer_done;
	worker.second.done = second_done;
}

static void go(void)
{
	cr_assert_eq(io_loop_build(&loop), 0);
	cr_assert_eq(pthread_create(&thread, NULL, run, NULL), 0);
	running = true;
	cr_assert_eq(io_loop_await(&loop, IO_RUNNING), IO_RUNNING);
}

static void join(void)
{
	if (running)
		pthread_join(thread, NULL);
	running = false;
}

static void end(void)
{
	join();
	cr_assert_eq(io_loop_phase(&loop), IO_FINISHED);
	io_loop_done(&loop);
	close(control_fd);
	close(zero_fd);
	close(null_fd);
}

static uint64_t signals(void)
{
	uint64_t count = 0;

	return read(control_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* ------------------------------------------------------------------------------------ counters */

Test(io_loop, it_counts_what_it_does)
{
	const struct io_stats *stats = &loop.stats;

	begin(true);
	/* Before there is a ring an interrupt is a write, and it fails here. */
	io_interrupt(&loop, worker.full);
	cr_assert_eq(atomic_load(&stats->interrupts), 1);
	cr_assert_eq(atomic_load(&stats->irq_errors), 1);
	go();
	WAIT_UNTIL(atomic_load(&worker.next_ns) != 0);
	/* A turn's completions are counted at its end. */
	WAIT_UNTIL(atomic_load(&stats->cqes) >= READS + 3 + 2);
	cr_assert_eq(atomic_load(&worker.done), READS);
	cr_assert_eq(atomic_load(&stats->cqes), READS + 3 + 2, "reads, failed interrupts, timers");
	cr_assert_eq(atomic_load(&stats->sqes), READS + 3 + 2 + 1, "and the poll of the wake-up");
	cr_assert_eq(atomic_load(&stats->interrupts), 4);
	cr_assert_eq(atomic_load(&stats->irq_errors), 4);
	cr_assert_eq(atomic_load(&stats->overflows), 0);
	cr_assert_eq(atomic_load(&stats->turns), atomic_load(&stats->enters));
	cr_assert_geq(atomic_load(&stats->turns), 2);
	cr_assert_eq(atomic_load(&worker.first_ns), atomic_load(&worker.again_ns));
	cr_assert_gt(atomic_load(&worker.next_ns), atomic_load(&worker.first_ns));
	io_loop_stop(&loop, 0);
	end();
}

Test(io_loop, mail_comes_as_it_was_posted)
{
	begin(false);
	io_client_post(&worker.client, 1);
	cr_assert_eq(atomic_load(&worker.mails), 1, "before it runs, at once");
	go();
	for (uint32_t i = 2; i <= 20; i++) {
		io_client_post(&worker.client, 1);
		WAIT_UNTIL(atomic_load(&worker.mails) >= i);
	}
	io_loop_stop(&loop, 0);
	end();
	cr_assert_eq(atomic_load(&worker.mails), 20);
}

/* A loop polls its clients where that was asked for, and once more before it sleeps; another one
 * never. */
Test(io_loop, clients_are_polled_where_it_was_asked_for)
{
	for (uint32_t us = 0; us <= 500; us += 500) {
		begin(false);
		loop.busy_poll_us = us;
		go();
		for (uint32_t i = 1; i <= 5; i++) {
			io_client_post(&worker.client, 1);
			WAIT_UNTIL(atomic_load(&worker.mails) >= i);
			if (us > 0)
				WAIT_UNTIL(atomic_load(&worker.last_polls) >= i);
		}
		io_loop_stop(&loop, 0);
		end();
		cr_assert_eq(atomic_load(&worker.polls) > 0, us > 0);
		cr_assert_eq(atomic_load(&worker.last_polls) > 0, us > 0);
	}
}

/* Who finds something is looked at for as long again from there. */
Test(io_loop, a_find_is_polled_for_as_long_again)
{
	begin(false);
	loop.busy_poll_us = 500;
	go();
	for (uint32_t i = 1; i <= 5; i++) {
		/* The mail begins a spell of polls by itself: the first find may be of the same
		 * moment. */
		atomic_fetch_add(&worker.finds, 3);
		io_client_post(&worker.client, 1);
		WAIT_UNTIL(atomic_load(&worker.found) >= 3 * i);
	}
	io_loop_stop(&loop, 0);
	end();
}

/* A pause that is asked for after a mail comes after it, however late the loop learns of both. */
Test(io_loop, what_was_posted_before_a_pause_comes_before_it)
{
	begin(false);
	go();
	atomic_store(&worker.holds, true);
	io_client_post(&worker.client, 1);
	WAIT_UNTIL(atomic_load(&worker.mails) >= 1);
	io_client_post(&worker.client, 1);
	io_loop_pause(&loop);
	atomic_store(&worker.holds, false);
	cr_assert_eq(io_loop_await(&loop, IO_PARKED), IO_PARKED);
	cr_assert_eq(atomic_load(&worker.mails_at_pause), 2);
	io_loop_stop(&loop, 0);
	end();
}

/* ------------------------------------------------------------------------------------ breaches */

static struct io_breach seen;
static uint32_t breaches;

static void on_breach(void *context, const struct io_breach *breach)
{
	cr_assert_eq(context, &worker);
	seen = *breach;
	breaches++;
}

static void *run_into_breach(void *unused)
{
	const char *what = NULL;

	(void)unused;
	cr_assert_eq(io_loop_enable(&loop, &what), 0);
	cr_assert_eq(io_loop_run(&loop), -EPERM);
	return NULL;
}

/* What the ring refuses as forbidden ends the loop, is told once, and is nobody's completion. */
Test(io_loop, a_breach_is_told_and_ends_it)
{
	for (uint32_t told = 0; told < 2; told++) {
		begin(false);
		worker.breaks = true;
		loop.breach = told ? on_breach : NULL;
		loop.breach_context = &worker;
		cr_assert_eq(io_loop_build(&loop), 0);
		cr_assert_eq(pthread_create(&thread, NULL, run_into_breach, NULL), 0);
		running = true;
		end();
		cr_assert_eq(breaches, told);
		cr_assert_eq(atomic_load(&worker.first_ns), 0);
	}
	cr_assert_eq(seen.opcode, IORING_OP_NOP);
	cr_assert_str_eq(seen.name, "NOP");
	cr_assert_str_eq(seen.what, "a forbidden opcode");
}

/* ------------------------------------------------------------------------------------- its end */

/* Parked and finished are told, each once; nothing else is. */
Test(io_loop, the_control_thread_is_told)
{
	begin(false);
	go();
	cr_assert_eq(signals(), 0);
	for (int i = 0; i < 3; i++) {
		io_loop_pause(&loop);
		cr_assert_eq(io_loop_await(&loop, IO_PARKED), IO_PARKED);
		WAIT_UNTIL(signals() == 1);
		io_loop_resume(&loop);
		cr_assert_eq(io_loop_await(&loop, IO_RUNNING), IO_RUNNING);
		cr_assert_eq(signals(), 0);
	}
	io_loop_stop(&loop, 0);
	join();
	cr_assert_geq(signals(), 1);
	end();
}

Test(io_loop, a_stop_is_final)
{
	begin(false);
	go();
	atomic_store(&worker.busy, true);
	io_loop_stop(&loop, 60000);
	cr_assert_eq(io_loop_await(&loop, IO_QUIESCING), IO_QUIESCING);
	io_loop_resume(&loop);
	io_loop_pause(&loop);
	io_loop_resume(&loop);
	cr_assert_eq(atomic_load(&loop.request), IO_REQUEST_STOP);
	atomic_store(&worker.busy, false);
	io_client_post(&worker.client, 1);
	cr_assert_eq(io_loop_await(&loop, IO_FINISHED), IO_FINISHED);
	end();
}

/* How long it may linger is what the kernel was asked for. */
Test(io_loop, it_lingers_as_long_as_it_was_told)
{
	static const struct {
		uint32_t ms;
		long long s, ns;
	} rows[] = { { 0, 0, 0 },    { 1, 0, 1000000 },      { 999, 0, 999000000 },
		     { 1000, 1, 0 }, { 1500, 1, 500000000 }, { 60001, 60, 1000000 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin(false);
		go();
		io_loop_stop(&loop, rows[i].ms);
		join();
		cr_assert_eq(loop.linger_time.tv_sec, rows[i].s);
		cr_assert_eq(loop.linger_time.tv_nsec, rows[i].ns);
		end();
	}
	/* Whoever has nothing to linger for is not waited for, and who has only so long. */
	begin(false);
	atomic_store(&worker.lingers, true);
	go();
	io_loop_stop(&loop, 20);
	end();
}

static _Atomic int given_up; /* how an operation ended that nobody reads */

static void given_up_done(struct io_op *op, int result, uint32_t flags)
{
	(void)op;
	(void)flags;
	atomic_store(&given_up, result);
}

enum { BY_NOBODY, BY_ITS_CLIENT, BY_THE_END };

static int who_cancels;

/* A timer that does not go off; the kernel gives it up as an operation that it has no worker
 * for. */
static void start_and_cancel(struct io_client *client)
{
	struct io_uring_sqe *sqe;

	(void)client;
	worker.timer.cancelled = who_cancels == BY_NOBODY; /* of its last use */
	cr_assert(io_timeout(&loop, &worker.timer, &worker.time));
	if (who_cancels == BY_ITS_CLIENT)
		cr_assert(io_cancel(&loop, &worker.timer));
	if (who_cancels != BY_NOBODY)
		return;
	sqe = io_uring_get_sqe(&loop.ring);
	io_uring_prep_cancel(sqe, &worker.timer, 0);
	io_uring_sqe_set_data(sqe, &loop.cancel_op);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	loop.in_flight++;
}

/* ECANCELED is what a client asked for, or the end of the loop; what the kernel gives up by itself
 * is a failure. */
Test(io_loop, what_nobody_cancelled_has_failed)
{
	static const struct io_client_ops cancelling = { .start = start_and_cancel };
	static const int results[] = {
		[BY_NOBODY] = -IO_NO_WORKER, [BY_ITS_CLIENT] = -ECANCELED, [BY_THE_END] = -ECANCELED
	};

	for (who_cancels = BY_NOBODY; who_cancels <= BY_THE_END; who_cancels++) {
		begin(false);
		worker.client.ops = &cancelling;
		worker.time.tv_sec = 1000;
		worker.timer.done = given_up_done;
		atomic_store(&given_up, 0);
		go();
		if (who_cancels != BY_THE_END)
			WAIT_UNTIL(atomic_load(&given_up) != 0);
		io_loop_stop(&loop, 0);
		end();
		cr_assert_eq(atomic_load(&given_up), results[who_cancels], "case %d", who_cancels);
	}
}

/* A device that hangs holds up the end for as long as was said, in each of its phases, and no
 * longer. */
Test(io_loop, what_hangs_does_not_hang_the_end)
{
	for (int lingering = 0; lingering < 2; lingering++) {
		begin(false);
		atomic_store(&worker.busy, true);
		atomic_store(&worker.lingers, lingering);
		go();
		io_loop_stop(&loop, 20);
		cr_assert_eq(io_loop_await(&loop, IO_FINISHED), IO_FINISHED);
		end();
	}
}
