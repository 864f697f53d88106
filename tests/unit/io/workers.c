/* SPDX-License-Identifier: MIT */
/* Where the kernel's workers of an I/O thread run: on the CPUs that they were bound to, which are
 * the thread's own. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/device/devices.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/wait.h"

TestSuite(io_workers, .timeout = 60);

/* Of the CPUs that this process may use the first and the last; the same where there is but one. */
static void first_and_last(size_t ret_cpus[static 2])
{
	cpu_set_t mine;

	CPU_ZERO(&mine);
	cr_assert_eq(sched_getaffinity(0, sizeof(mine), &mine), 0);
	cr_assert_gt(CPU_COUNT(&mine), 0);
	for (size_t i = CPU_SETSIZE; i-- > 0;)
		if (CPU_ISSET(i, &mine))
			ret_cpus[0] = i;
	for (size_t i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &mine))
			ret_cpus[1] = i;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static struct run {
	struct io_loop loop;
	size_t cpu;
	int result;
	uint32_t file;
	size_t workers, elsewhere;
} run;
static int owner_before; /* whose workers the last run had: some of them may still be there */

/* Looks at each worker of the thread. The kernel names them after it, by its number in the first
 * PID namespace, which is not gettid()'s in a container: they are those that the last run had
 * not. */
static void count_workers(void)
{
	char path[320], line[256], name[32], list[128], wanted[32];
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;
	int own = owner_before;

	cr_assert_not_null(dir);
	snprintf(wanted, sizeof(wanted), "%zu", run.cpu);
	while ((entry = readdir(dir))) {
		FILE *status;
		int owner = 0;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		status = fopen(path, "re");
		list[0] = name[0] = '\0';
		while (status && fgets(line, sizeof(line), status)) {
			(void)sscanf(line, "Name: %31s", name);
			(void)sscanf(line, "Cpus_allowed_list: %127s", list);
		}
		if (status)
			(void)fclose(status);
		if (sscanf(name, "iou-wrk-%d", &owner) != 1 || owner == owner_before)
			continue;
		own = owner;
		run.workers++;
		run.elsewhere += strcmp(list, wanted) != 0;
	}
	(void)closedir(dir);
	owner_before = own;
}

/* A flush, which the kernel always leaves to a worker. */
static void *flush(void *unused)
{
	struct io_uring_cqe *cqe = NULL;
	struct io_uring_sqe *sqe;
	const char *what = NULL;
	cpu_set_t cpus;

	(void)unused;
	CPU_ZERO(&cpus);
	CPU_SET(run.cpu, &cpus);
	run.result = io_loop_bind_workers(&run.loop, &cpus, sizeof(cpus));
	if (run.result == 0)
		run.result = io_loop_enable(&run.loop, &what);
	if (run.result < 0)
		return NULL;
	sqe = io_uring_get_sqe(&run.loop.ring);
	io_uring_prep_fsync(sqe, (int)run.file, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	run.result = io_uring_submit_and_wait(&run.loop.ring, 1);
	if (run.result == 1 && io_uring_peek_cqe(&run.loop.ring, &cqe) == 0)
		run.result = cqe->res;
	count_workers(); /* one that has nothing to do stays for some seconds */
	return NULL;
}

Test(io_workers, run_where_they_are_bound)
{
	const struct io_loop_config config = { .wake_fd_number = -1,
		                               .ring_fd_number = -1,
		                               .control_fd = -1 };
	int file = memfd_create("flushed", MFD_CLOEXEC);
	size_t cpus[2] = { 0 };

	first_and_last(cpus);
	cr_assert_geq(file, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
		pthread_t thread;

		memset(&run, 0, sizeof(run));
		run.cpu = cpus[i];
		cr_assert_eq(io_loop_init(&run.loop, &config), 0);
		cr_assert_eq(io_loop_add_file(&run.loop, file, &run.file), 0);
		io_loop_uses(&run.loop, IO_USE_STORAGE);
		cr_assert_eq(io_loop_build(&run.loop), 0);
		if (!run.loop.knows_workers)
			cr_skip_test(
				"this kernel binds no workers before there are some (Linux 5.19)");
		cr_assert_eq(pthread_create(&thread, NULL, flush, NULL), 0);
		wait_join(thread, NULL);
		cr_expect_eq(run.result, 0, "%d", run.result);
		cr_expect_geq(run.workers, 1);
		cr_expect_eq(run.elsewhere, 0, "%zu of %zu are not on CPU %zu", run.elsewhere,
		             run.workers, run.cpu);
		io_loop_done(&run.loop);
	}
	close(file);
}

/* ---- the shim -------------------------------------------------------------------------------- */

static struct {
	int error;              /* what binding is answered with */
	bool enabled, too_late; /* too late: after the ring was enabled */
	/* registered: descriptors that the ring was made known by and not taken back */
	int bound, registered;
	uint64_t words[16];
	size_t beyond; /* CPUs that there are no words for */
} seen;

static bool note(long nr, const uint64_t args[static 6], long *ret_result)
{
	const uint64_t *words = (const uint64_t *)(uintptr_t)args[2];

	(void)nr;
	seen.registered += args[1] == IORING_REGISTER_RING_FDS;
	seen.registered -= args[1] == IORING_UNREGISTER_RING_FDS;
	seen.enabled = seen.enabled || args[1] == IORING_REGISTER_ENABLE_RINGS;
	if (args[1] != IORING_REGISTER_IOWQ_AFF)
		return false;
	seen.bound++;
	seen.too_late = seen.enabled;
	for (size_t i = 0; i < args[3] / sizeof(*words); i++) {
		if (i < ARRAY_SIZE(seen.words))
			seen.words[i] = words[i];
		else
			seen.beyond += words[i] != 0;
	}
	*ret_result = -seen.error;
	return seen.error != 0;
}

/* An I/O thread's workers go where the thread may, whatever else its node has: the other CPUs may
 * be another VM's own. */
Test(io_workers, are_bound_to_their_threads_cpus)
{
	static const long calls[] = { SYS_io_uring_register };
	static const int errors[] = { 0, EINVAL };
	const struct io_loop_config config = { .wake_fd_number = -1,
		                               .ring_fd_number = -1,
		                               .control_fd = -1 };
	size_t cpus[2] = { 0 };
	cpu_set_t last;

	first_and_last(cpus);
	CPU_ZERO(&last);
	CPU_SET(cpus[1], &last);
	cr_assert_eq(sched_setaffinity(0, sizeof(last), &last), 0);
	cr_assert_eq(fake_kernel_begin(calls, ARRAY_SIZE(calls), note), 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		static struct shim_io io;

		memset(&io, 0, sizeof(io));
		memset(&seen, 0, sizeof(seen));
		seen.error = errors[i];
		io.index = 3;
		cr_assert_eq(io_loop_init(&io.loop, &config), 0);
		cr_assert_eq(io_loop_build(&io.loop), 0);
		if (!io.loop.knows_workers)
			cr_skip_test(
				"this kernel binds no workers before there are some (Linux 5.19)");
		cr_expect_eq(devices_enable(&io), -errors[i]);
		cr_expect(seen.bound == 1 && !seen.too_late && seen.registered == 0);
		cr_expect_eq(memcmp(seen.words, &last, sizeof(last)), 0);
		cr_expect_eq(seen.beyond, 0);
		cr_expect_eq(seen.enabled, errors[i] == 0);
		cr_expect_eq(io.problems.count, errors[i] != 0);
		if (errors[i] != 0) {
			cr_expect_eq(io.problems.list[0].code, ERROR_CODE_PLACEMENT_FAILED);
			cr_expect_str_eq(io.problems.list[0].message,
			                 "cannot bind the kernel's workers of I/O "
			                 "thread 3 to its CPUs: Invalid argument");
		}
		io_loop_done(&io.loop);
	}
}
