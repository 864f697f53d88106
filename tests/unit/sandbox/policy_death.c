/* SPDX-License-Identifier: MIT */
/* A denied call in a thread of each role: the record, who reports it, and how the process ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "sandbox/death.h"
#include "sandbox/fd_layout.h"
#include "sandbox/seccomp.h"
#include "tests/unit/rig/wait.h"

enum { STATUS = 77, STATUS_BROKEN = 99 };

static struct sandbox_death_desk desk;

struct scene {
	enum sandbox_role role; /* of the thread that misbehaves */
	bool unwakeable;        /* CONTROL_WAKE_FD leads nowhere */
	bool unseated;          /* the thread has not said who it is */
	bool unhandled;         /* nobody installed the handler */
	bool x32;               /* the call is an x32 one */
	bool masked;            /* the thread masks SIGSYS, as a forged rt_sigreturn frame can */
};

/* The line goes out as the terminal event would: by write(EVENT_FD), which control may. */
static void report(const struct sandbox_death *death, void *cookie)
{
	char line[256];
	size_t length = sandbox_death_format(death, line, sizeof(line));

	(void)cookie;
	if (syscall(SYS_write, EVENT_FD, line, length) < 0)
		syscall(SYS_exit_group, STATUS_BROKEN);
}

static void misbehave(const struct scene *scene)
{
	sigset_t sigsys;

	sigemptyset(&sigsys);
	sigaddset(&sigsys, SIGSYS);
	if (scene->masked && pthread_sigmask(SIG_BLOCK, &sigsys, NULL) != 0)
		_exit(STATUS_BROKEN);
	if (!scene->unseated)
		sandbox_death_take_seat(&desk, scene->role);
	if (sandbox_seccomp_seal(scene->role) < 0)
		_exit(STATUS_BROKEN);
	syscall(scene->x32 ? (long)(SANDBOX_X32_BIT | SYS_openat) : SYS_openat, AT_FDCWD,
	        "/etc/passwd", O_RDONLY);
	syscall(SYS_exit_group, STATUS_BROKEN); /* the call returned */
}

static void *misbehaving_thread(void *scene)
{
	misbehave(scene);
	return NULL;
}

__attribute__((noreturn)) static void play(const struct scene *scene, int events)
{
	const struct sandbox_death *death;
	struct scene copy = *scene;
	pthread_t thread;
	uint64_t count;
	int wake, pipe_ends[2];

	/* The reading end of an empty pipe can be waited for and not be written to. */
	if (scene->unwakeable)
		wake = pipe2(pipe_ends, O_CLOEXEC) < 0 ? -1 : pipe_ends[0];
	else
		wake = eventfd(0, EFD_CLOEXEC);
	if (dup2(wake, CONTROL_WAKE_FD) < 0 || dup2(events, EVENT_FD) < 0)
		_exit(STATUS_BROKEN);
	desk.report = report;
	desk.exit_status = STATUS;
	signal(SIGSYS, SIG_DFL);
	if (!scene->unhandled && sandbox_death_install(&desk) < 0)
		_exit(STATUS_BROKEN);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(STATUS_BROKEN);
	if (scene->role == SANDBOX_ROLE_CONTROL)
		misbehave(&copy);
	if (pthread_create(&thread, NULL, misbehaving_thread, &copy) != 0)
		_exit(STATUS_BROKEN);
	sandbox_death_take_seat(&desk, SANDBOX_ROLE_CONTROL);
	if (sandbox_seccomp_seal(SANDBOX_ROLE_CONTROL) < 0)
		_exit(STATUS_BROKEN);
	if (read(CONTROL_WAKE_FD, &count, sizeof(count)) < 0)
		syscall(SYS_exit_group, STATUS_BROKEN);
	death = sandbox_death_pending(&desk);
	if (death)
		report(death, NULL);
	syscall(SYS_exit_group, death ? STATUS : STATUS_BROKEN);
	__builtin_unreachable();
}

/* Plays a scene in a child; what it wrote as its event, and its wait status. */
static int watch(const struct scene *scene, char *event, size_t size)
{
	int fds[2];
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		play(scene, fds[1]);
	close(fds[1]);
	while ((r = wait_read(fds[0], event + n, size - 1 - n)) > 0)
		n += (size_t)r;
	event[n] = '\0';
	close(fds[0]);
	return wait_child(pid);
}

static void expect_record(const char *event, const char *role)
{
	char name[64], expected[64], digest[128];
	unsigned long long ip;
	int tid;

	cr_assert_eq(
		sscanf(event,
	               "%63s thread %d: system call openat (257) denied at 0x%llx, policy %127s",
	               name, &tid, &ip, digest),
		4, "%s", event);
	snprintf(expected, sizeof(expected), "%s", role);
	cr_expect_str_eq(name, expected);
	cr_expect_gt(tid, 1);
	cr_expect_gt(ip, 4096);
	cr_expect_str_eq(digest, sandbox_policies_digest_hex);
}

Test(policy_death, a_vcpu_or_io_thread_leaves_it_to_control)
{
	static const enum sandbox_role roles[] = { SANDBOX_ROLE_VCPU, SANDBOX_ROLE_IO };

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		char event[512];
		int status = watch(&(struct scene){ .role = roles[i] }, event, sizeof(event));

		cr_assert(WIFEXITED(status), "status %#x", (unsigned int)status);
		cr_expect_eq(WEXITSTATUS(status), STATUS);
		expect_record(event, sandbox_role_name(roles[i]));
	}
}

Test(policy_death, control_reports_itself)
{
	char event[512];
	int status = watch(&(struct scene){ .role = SANDBOX_ROLE_CONTROL }, event, sizeof(event));

	cr_assert(WIFEXITED(status), "status %#x", (unsigned int)status);
	cr_expect_eq(WEXITSTATUS(status), STATUS);
	expect_record(event, "control");
}

/* What the launcher sees when no event could be written. */
static const struct {
	const char *what;
	struct scene scene;
	bool signalled; /* by SIGSYS; otherwise the exit status below */
	int status;
} silent[] = {
	{ "control cannot be woken",
	  { .role = SANDBOX_ROLE_VCPU, .unwakeable = true },
	  false,
	  STATUS },
	{ "the thread has no seat",
	  { .role = SANDBOX_ROLE_IO, .unseated = true },
	  false,
	  128 + SIGSYS },
	{ "no handler, vcpu", { .role = SANDBOX_ROLE_VCPU, .unhandled = true }, true, 0 },
	{ "no handler, control", { .role = SANDBOX_ROLE_CONTROL, .unhandled = true }, true, 0 },
	{ "masked, vcpu", { .role = SANDBOX_ROLE_VCPU, .masked = true }, true, 0 },
	{ "masked, control", { .role = SANDBOX_ROLE_CONTROL, .masked = true }, true, 0 },
	{ "x32, vcpu", { .role = SANDBOX_ROLE_VCPU, .x32 = true }, true, 0 },
	{ "x32, io", { .role = SANDBOX_ROLE_IO, .x32 = true }, true, 0 },
	{ "x32, control", { .role = SANDBOX_ROLE_CONTROL, .x32 = true }, true, 0 },
};

Test(policy_death, without_an_event)
{
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		char event[512];
		int status = watch(&silent[i].scene, event, sizeof(event));

		cr_expect_str_empty(event, "%s: %s", silent[i].what, event);
		if (silent[i].signalled)
			cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
			          "%s: status %#x", silent[i].what, (unsigned int)status);
		else
			cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == silent[i].status,
			          "%s: status %#x", silent[i].what, (unsigned int)status);
	}
}

Test(policy_death, the_line_is_cut_to_size)
{
	struct sandbox_death death = {
		.role = SANDBOX_ROLE_IO, .tid = 42, .nr = -1, .instruction_pointer = 0xabc
	};
	char line[256], small[10];
	size_t length = sandbox_death_format(&death, line, sizeof(line));

	cr_expect_eq(length, strlen(line));
	cr_expect_eq(
		strncmp(line,
	                "io thread 42: system call without a name (-1) denied at 0xabc, policy ",
	                70),
		0, "%s", line);
	cr_expect_eq(sandbox_death_format(&death, small, sizeof(small)), 9);
	cr_expect_str_eq(small, "io thread");
}

Test(policy_death, a_seal_needs_no_new_privs)
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1           ? 2
		      : sandbox_seccomp_seal(SANDBOX_ROLE_VCPU) != -EPERM   ? 3
		      : sandbox_seccomp_seal(SANDBOX_ROLE_COUNT) != -EINVAL ? 4
		                                                            : 0);
	status = wait_child(pid);
	cr_assert(WIFEXITED(status), "status %#x", (unsigned int)status);
	cr_expect_eq(WEXITSTATUS(status), 0,
	             "2: this environment sets no_new_privs; 3, 4: wrong answers");
}

/* ---- signals that are no denied call
 * ---------------------------------------------------------- */

static struct {
	int number, code; /* code 0: as kill(2) sends it */
} sent;

static void put_line(const struct sandbox_death *death, void *cookie)
{
	char line[256];
	size_t length = sandbox_death_format(death, line, sizeof(line));

	(void)!write(*(const int *)cookie, line, length);
}

/* A thread may send itself what else only the kernel sends. */
__attribute__((noreturn)) static void receive(int events)
{
	siginfo_t info = { .si_signo = sent.number, .si_code = sent.code };

	desk.report = put_line;
	desk.cookie = &events;
	desk.exit_status = STATUS;
	desk.lost_page_status = STATUS + 1;
	info.si_addr = (void *)0x123450;
	if (sandbox_death_install(&desk) < 0)
		_exit(STATUS_BROKEN);
	sandbox_death_take_seat(&desk, SANDBOX_ROLE_CONTROL);
	if (sent.code == 0)
		raise(sent.number);
	else if (syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sent.number, &info) < 0)
		_exit(STATUS_BROKEN);
	_exit(0);
}

Test(policy_death, only_the_kernels_own_signals_are_a_death, .timeout = 60)
{
	static const struct {
		int number, code, status;
		const char *words; /* in the line */
	} rows[] = {
		{ SIGSYS, 0, 0, "" },
		{ SIGSYS, SI_QUEUE, 0, "" },
		{ SIGBUS, 0, 0, "" },
		{ SIGBUS, SI_QUEUE, 0, "" },
		{ SIGBUS, BUS_MCEERR_AO, 0, "" },
		{ SIGBUS, BUS_MCEERR_AR, STATUS + 1,
		  ": SIGBUS at 0x123450: the memory has failed (machine check)" },
		{ SIGBUS, BUS_ADRERR, STATUS + 1,
		  ": SIGBUS at 0x123450: no page could be had, policy " },
		{ SIGSYS, 1 /* SYS_SECCOMP */, STATUS, "control thread " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char line[256] = "";
		int fds[2], status;
		pid_t pid;

		sent.number = rows[i].number;
		sent.code = rows[i].code;
		cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		cr_assert_geq(pid, 0);
		if (pid == 0)
			receive(fds[1]);
		close(fds[1]);
		cr_assert_geq(read(fds[0], line, sizeof(line) - 1), 0);
		close(fds[0]);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == rows[i].status,
		          "row %zu: status %#x", i, (unsigned int)status);
		cr_expect_not_null(strstr(line, rows[i].words), "row %zu: %s", i, line);
		cr_expect_eq(*line == '\0', *rows[i].words == '\0', "row %zu: %s", i, line);
	}
}

/* Sends itself what is to be sent, in the seat of a role; nobody can be woken, and so it ends. */
__attribute__((noreturn)) static void receive_as(enum sandbox_role role,
                                                 struct sandbox_death_desk *shared)
{
	siginfo_t info = { .si_signo = sent.number, .si_code = sent.code };

	shared->exit_status = STATUS;
	shared->lost_page_status = STATUS + 1;
	info.si_addr = (void *)0x123450;
	close(CONTROL_WAKE_FD);
	if (sandbox_death_install(shared) < 0)
		_exit(STATUS_BROKEN);
	sandbox_death_take_seat(shared, role);
	(void)syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sent.number, &info);
	_exit(0);
}

/* The record has the thread's role and number, and where it was. */
Test(policy_death, a_record_is_of_its_thread, .timeout = 60)
{
	static const struct {
		int number, code, status;
	} rows[] = { { SIGBUS, BUS_ADRERR, STATUS + 1 },
		     { SIGBUS, BUS_MCEERR_AR, STATUS + 1 },
		     { SIGSYS, 1 /* SYS_SECCOMP */, STATUS } };
	struct sandbox_death_desk *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)shared, MAP_FAILED);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		enum sandbox_role role = i % 2 ? SANDBOX_ROLE_IO : SANDBOX_ROLE_VCPU;
		const struct sandbox_death *record;
		int status;
		pid_t pid;

		sent.number = rows[i / 2].number;
		sent.code = rows[i / 2].code;
		memset(shared, 0, sizeof(*shared));
		pid = fork();
		cr_assert_geq(pid, 0);
		if (pid == 0)
			receive_as(role, shared);
		status = wait_child(pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == rows[i / 2].status,
		          "row %zu: %#x", i, (unsigned int)status);
		record = sandbox_death_pending(shared);
		cr_assert_not_null(record, "row %zu", i);
		cr_assert(record->role == role && record->tid == pid, "row %zu: %d of thread %d", i,
		          record->role, record->tid);
		cr_assert_neq(record->instruction_pointer, 0);
		cr_assert_eq(record->lost.address, sent.number == SIGBUS ? 0x123450 : 0, "row %zu",
		             i);
	}
}

Test(policy_death, every_kind_of_record_is_a_line)
{
	static const struct {
		struct sandbox_death death;
		const char *line; /* up to the digest */
	} rows[] = {
		{ { .role = SANDBOX_ROLE_VCPU,
		    .tid = 12,
		    .nr = 257,
		    .instruction_pointer = 0x7f0012345678 },
		  "vcpu thread 12: system call openat (257) denied at 0x7f0012345678, policy " },
		{ { .role = SANDBOX_ROLE_IO, .tid = 9, .nr = -1, .instruction_pointer = 0 },
		  "io thread 9: system call without a name (-1) denied at 0x0, policy " },
		{ { .role = SANDBOX_ROLE_IO,
		    .tid = 9,
		    .nr = INT32_MIN,
		    .instruction_pointer = UINT64_MAX },
		  "io thread 9: system call without a name (-2147483648) denied at 0xffffffffffffffff, policy " },
		{ { .role = SANDBOX_ROLE_IO,
		    .tid = 8,
		    .ring = { 18, "OPENAT", "a forbidden opcode" } },
		  "io thread 8: io_uring operation OPENAT (18) refused, a forbidden opcode, policy " },
		{ { .role = SANDBOX_ROLE_IO, .tid = 8, .ring = { 200, NULL, "a forbidden flag" } },
		  "io thread 8: io_uring operation without a name (200) refused, a forbidden flag, policy " },
		{ { .role = SANDBOX_ROLE_CONTROL,
		    .tid = 1,
		    .lost = { 0xabc000, "no page could be had" } },
		  "control thread 1: SIGBUS at 0xabc000: no page could be had, policy " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char line[256], expected[256];
		size_t length = sandbox_death_format(&rows[i].death, line, sizeof(line));

		snprintf(expected, sizeof(expected), "%s%s", rows[i].line,
		         sandbox_policies_digest_hex);
		cr_expect_str_eq(line, expected);
		cr_expect_eq(length, strlen(expected));
	}
}
