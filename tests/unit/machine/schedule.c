/* SPDX-License-Identifier: MIT */
/* What is asked of the host's scheduler, and what is told where it says no. */
#include "machine/schedule.h"
#include "tests/unit/rig/fake_kernel.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SCHED_CORE /* Linux 5.14 */
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif

static int refused; /* the errno, 0: the kernel says yes and does nothing */
static uint64_t asked[5];
static int asked_priority, asked_times;

static bool answer(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (nr == SYS_prctl && args[0] != PR_SCHED_CORE)
		return false;
	memcpy(asked, args, sizeof(asked));
	if (nr == SYS_sched_setscheduler)
		asked_priority = ((const struct sched_param *)(uintptr_t)args[2])->sched_priority;
	asked_times++;
	*ret_result = -refused;
	return true;
}

static void new_kernel(void)
{
	const long calls[] = { SYS_sched_setscheduler, SYS_prctl };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(fake_kernel_begin(calls, ARRAY_SIZE(calls), answer), 0);
}

TestSuite(schedule, .init = new_kernel);

static void expect(const struct problems *problems, enum axvm_error_code code, const char *field,
                   const char *words)
{
	const struct problem *problem = &problems->list[0];

	cr_assert_eq(problems->count, 1);
	cr_expect_eq(problem->code, code);
	cr_expect_eq(problem->error_number, refused);
	cr_expect_str_eq(problem->field, field);
	cr_expect_not_null(strstr(problem->message, words), "'%s' lacks '%s'", problem->message,
	                   words);
}

Test(schedule, fifo_is_taken_and_left)
{
	static const int errors[] = { 0, EPERM, EINVAL };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct problems taken = { 0 }, left = { 0 };
		struct rlimit limit;
		char words[96];

		refused = errors[i];
		cr_expect_eq(schedule_take_fifo(7 + (uint32_t)i, &taken), -refused);
		cr_expect(asked[0] == 0 && asked[1] == SCHED_FIFO && asked_priority == 7 + (int)i,
		          "of this thread");
		cr_expect_eq(schedule_leave_fifo(&left), -refused);
		cr_expect(asked[0] == 0 && asked[1] == SCHED_OTHER && asked_priority == 0,
		          "of this thread");
		cr_expect_eq(asked_times, 2 * ((int)i + 1));
		cr_assert_eq(getrlimit(RLIMIT_RTPRIO, &limit), 0);
		snprintf(words, sizeof(words),
		         "SCHED_FIFO %zu: it has no CAP_SYS_NICE, and RLIMIT_RTPRIO is %llu; ",
		         7 + i, (unsigned long long)limit.rlim_cur);
		if (refused == 0) {
			cr_expect(taken.count == 0 && left.count == 0);
			continue;
		}
		expect(&taken, ERROR_CODE_HOST_LIMIT, "cpus.fifo_priority", words);
		expect(&taken, ERROR_CODE_HOST_LIMIT, "cpus.fifo_priority", errno_text(refused));
		expect(&left, ERROR_CODE_OS_FAILED, "cpus.fifo_priority", errno_text(refused));
	}
}

/* The kernel would go back to the slack that the process was born with. */
Test(schedule, the_timer_slack_is_the_usual_one_again)
{
	struct problems problems = { 0 };

	cr_assert_eq(prctl(PR_SET_TIMERSLACK, 1000000000, 0, 0, 0), 0);
	refused = 0;
	cr_expect_eq(schedule_leave_fifo(&problems), 0);
	cr_expect_eq(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 50000);
}

/* As the kernel has it, which tells it where it knows it (Linux 6.12); a policy that has no turns
 * stays. */
Test(schedule, short_turns_are_in_force_for_ordinary_policies_only)
{
	static const int policies[] = { SCHED_OTHER, SCHED_BATCH, SCHED_IDLE };

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct {
			uint32_t size, policy;
			uint64_t flags;
			int32_t nice;
			uint32_t priority;
			uint64_t runtime[3];
		} was = { 0 }, is = { 0 };

		was.size = sizeof(was);
		was.policy = (uint32_t)policies[i];
		was.nice = 3;
		cr_assert_eq(syscall(SYS_sched_setattr, 0, &was, 0), 0);
		cr_assert_eq(syscall(SYS_sched_getattr, 0, &was, sizeof(was), 0), 0);
		schedule_short_turns();
		cr_assert_eq(syscall(SYS_sched_getattr, 0, &is, sizeof(is), 0), 0);
		cr_expect_eq(is.policy, (uint32_t)policies[i]);
		cr_expect_eq(is.nice, was.nice);
		if (was.runtime[0] != 0 && policies[i] != SCHED_IDLE)
			cr_expect_eq(is.runtime[0], 100000);
		else
			cr_expect_eq(is.runtime[0], was.runtime[0]);
	}
}

Test(schedule, cores_of_its_own)
{
	static const struct {
		int error;
		const char *words;
	} rows[] = {
		{ 0, "" },
		{ ENODEV, "this host has no SMT" },
		{ EINVAL, "this kernel has no core scheduling" },
		{ EPERM, "Operation not permitted" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct problems problems = { 0 };

		refused = rows[i].error;
		cr_expect_eq(schedule_own_cores(&problems), -refused);
		/* A cookie of its own, for this process and not for a thread of it. */
		cr_expect(asked[0] == PR_SCHED_CORE && asked[1] == PR_SCHED_CORE_CREATE &&
		          asked[2] == 0 && asked[3] == 1);
		if (refused)
			expect(&problems, ERROR_CODE_HOST_LIMIT, "cpus.core_scheduling",
			       rows[i].words);
		cr_expect_eq(problems.count, refused != 0);
	}
}

/* A thread that somebody has moved, to fewer CPUs or to more. */
Test(schedule, where_a_thread_is_bound)
{
	struct cpu_bitmap own = { 0 }, more;
	struct problems problems = { 0 };

	cr_assert_eq(sched_getaffinity(0, sizeof(own), (cpu_set_t *)(void *)&own), 0);
	cr_assert_eq(schedule_check_affinity(&own, &problems), 0);
	more = own;
	more.words[CPU_BITMAP_MAX / 64 - 1] ^= 1ULL << 63;
	cr_assert_eq(schedule_check_affinity(&more, &problems), -ESRCH);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_PLACEMENT_FAILED);
	cr_assert(strstr(problems.list[0].message, "1023"), "%s", problems.list[0].message);
	more = (struct cpu_bitmap){ 0 };
	cr_assert_eq(schedule_check_affinity(&more, &problems), -ESRCH);
	/* Bound to one of them, and nowhere that is not. */
	for (uint32_t cpu = 0; cpu < CPU_BITMAP_MAX; cpu++)
		if (cpu_bitmap_has(&own, cpu)) {
			cpu_bitmap_add(&more, cpu);
			break;
		}
	cr_assert_eq(schedule_bind(&more, &problems), 0);
	cr_assert_eq(schedule_check_affinity(&more, &problems), 0);
	cr_assert_lt(schedule_bind(&(struct cpu_bitmap){ 0 }, &problems), 0);
	cr_assert_eq(problems.list[problems.count - 1].code, ERROR_CODE_HOST_LIMIT);
}
