/* SPDX-License-Identifier: MIT */
/* A failing host: makes one system call of a launch fail, for each in turn, and judges what the
 * shim makes of it.
 *
 *   failing [-a] [-j WORKERS] [-p PART/PARTS] [-v] SHIM SPEC
 *       -a: with every error that the call can fail with; otherwise with the first one, and
 *           only some of the calls that a launch can do without
 *       -p: every PARTS-th of the failures only, from the PART-th (0, 1 …) on
 *       -v: a line for each launch
 *       The shim inherits the descriptors from 5 on.
 *
 * A call is known by its thread, in the order in which threads are created, and its number in that
 * thread: that is the same from launch to launch, where the order between threads is not. A first
 * launch counts them. The launch is over for a thread when its seccomp filter is in place: a call
 * that is then replaced would be judged by the filter, not by the shim. What comes before the first
 * call of main() is the C library's start, which fails as it likes, but leaves nothing behind
 * either.
 *
 * Each launch must end within a time, by itself, in one terminal event that fits its exit status
 * and names a stage (judge.h), and leave no process. It may succeed in spite of the failure only
 * where the call is listed in failing_calls.c: a step of the sandbox that fails softly is found
 * that way.
 *
 * By ptrace(2): the shim is static, so there is no library to stand in for, and a seccomp filter of
 * ours would be seen by its own read-back. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/fd_layout.h"
#include "sandbox/policy.h"
#include "tests/system/failing_calls.h"
#include "tests/system/judge.h"

#define THREADS_MAX 64
#define CALLS_MAX 4096
#define LIMIT_S 20
#define TRACED_SYSCALL (SIGTRAP | 0x80)

/* One point of failure. */
struct point {
	unsigned thread, number;
	long nr; /* when it is another call this time, it is let pass */
	int error;
	bool done;
};

struct thread {
	pid_t tid;      /* 0: free */
	int ordinal;    /* -1: its creation has not been reported yet */
	unsigned calls; /* begun */
	bool inside;    /* of a system call */
	bool sealed, failing;
	bool stopped; /* waits for its ordinal */
	struct call call;
};

struct tracer {
	struct thread threads[THREADS_MAX];
	int created;
	bool failed;                      /* the point was reached */
	unsigned long long program_break; /* what brk(2) returns that has failed */
	struct call failed_call;
	const struct point *point; /* NULL: only count */
	struct call *calls;        /* of all threads, when counting: [thread][CALLS_MAX] */
	unsigned *counts;
};

static struct {
	char *shim;
	uint8_t spec[65536];
	size_t spec_length;
	bool all, verbose;
	int workers;
	unsigned part, parts;
} options = { .workers = 2, .parts = 1 };

/* What all workers add to. */
struct tally {
	_Atomic unsigned launches, survived, refused, unreached, faults;
};

static volatile sig_atomic_t time_is_up;

static void on_alarm(int number)
{
	(void)number;
	time_is_up = 1;
}

/* ---- the shim under ptrace ------------------------------------------------------------------- */

static int file_of(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	if (fd < 0 || (length > 0 && write(fd, bytes, length) != (ssize_t)length) ||
	    lseek(fd, 0, SEEK_SET) < 0) {
		perror("failing: memfd");
		exit(1);
	}
	return fd;
}

static pid_t begin(int control, int events, int diagnostics)
{
	char *argv[] = { options.shim, NULL };
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	control = fcntl(control, F_DUPFD_CLOEXEC, 100);
	events = fcntl(events, F_DUPFD_CLOEXEC, 100);
	diagnostics = fcntl(diagnostics, F_DUPFD_CLOEXEC, 100);
	if (dup2(control, 3) < 0 || dup2(events, 4) < 0 || dup2(diagnostics, 2) < 0 ||
	    ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(127);
	raise(SIGSTOP);
	execv(argv[0], argv);
	_exit(127);
}

static struct thread *thread_of(struct tracer *t, pid_t tid, bool add)
{
	struct thread *free_one = NULL;

	for (size_t i = 0; i < THREADS_MAX; i++) {
		if (t->threads[i].tid == tid)
			return &t->threads[i];
		if (t->threads[i].tid == 0 && !free_one)
			free_one = &t->threads[i];
	}
	if (!add || !free_one)
		return NULL;
	*free_one = (struct thread){ .tid = tid, .ordinal = -1 };
	return free_one;
}

static void resume(const struct tracer *t, const struct thread *thread, int signal_number)
{
	bool watch = !t->failed && !thread->sealed;

	/* The end of the call that fails is still to be seen. */
	ptrace(watch || thread->inside ? PTRACE_SYSCALL : PTRACE_CONT, thread->tid, NULL,
	       (void *)(intptr_t)signal_number);
}

static void read_path(pid_t tid, unsigned long address, char *path, size_t size)
{
	struct iovec to = { path, size - 1 }, from = { (void *)address, size - 1 };
	ssize_t n = process_vm_readv(tid, &to, 1, &from, 1, 0);

	path[n > 0 ? n : 0] = '\0';
}

/* The path of an openat(2). What lies below a directory of /sys that is open is told by that
 * directory, since its name alone says nothing; the sandbox's own trials are known by their
 * names. */
static void read_opened(struct thread *thread, const struct user_regs_struct *registers)
{
	char link[64], directory[sizeof(thread->call.path)] = "";

	read_path(thread->tid, registers->rsi, thread->call.path, sizeof(thread->call.path));
	if (thread->call.path[0] == '/' || (int)registers->rdi == AT_FDCWD)
		return;
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", thread->tid, (int)registers->rdi);
	if (readlink(link, directory, sizeof(directory) - 1) > 0 &&
	    strncmp(directory, "/sys/", 5) == 0)
		memcpy(thread->call.path, directory, sizeof(directory));
}

/* At the start of a call: counts it, and replaces it when it is the one. */
static void enter(struct tracer *t, struct thread *thread)
{
	struct user_regs_struct registers;
	unsigned number = thread->calls++;

	if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &registers) < 0)
		return;
	thread->call.nr = (long)registers.orig_rax;
	thread->call.arguments[0] = registers.rdi;
	thread->call.arguments[1] = registers.rsi;
	thread->call.arguments[2] = registers.rdx;
	if (thread->call.nr == SYS_openat)
		read_opened(thread, &registers);
	if (t->calls && number < CALLS_MAX && thread->ordinal < THREADS_MAX) {
		t->calls[thread->ordinal * CALLS_MAX + (int)number] = thread->call;
		t->counts[thread->ordinal] = number + 1;
	}
	if (!t->point || thread->ordinal != (int)t->point->thread || number != t->point->number ||
	    thread->call.nr != t->point->nr || !call_can_fail(&thread->call))
		return;
	t->failed = thread->failing = true;
	t->failed_call = thread->call;
	if (t->point->done)
		return;
	registers.orig_rax = ~0ULL;
	ptrace(PTRACE_SETREGS, thread->tid, NULL, &registers);
}

static void leave(struct tracer *t, struct thread *thread)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &registers) < 0)
		return;
	if (thread->failing) {
		registers.rax = thread->call.nr == SYS_brk
		                        ? t->program_break
		                        : (unsigned long long)-(long long)t->point->error;
		ptrace(PTRACE_SETREGS, thread->tid, NULL, &registers);
		thread->failing = false;
	} else if (thread->call.nr == SYS_seccomp && registers.rax == 0) {
		thread->sealed = true;
	} else if (thread->call.nr == SYS_brk) {
		t->program_break = registers.rax;
	}
}

static void created(struct tracer *t, pid_t parent)
{
	unsigned long tid;
	struct thread *thread;

	if (ptrace(PTRACE_GETEVENTMSG, parent, NULL, &tid) < 0)
		return;
	thread = thread_of(t, (pid_t)tid, true);
	if (!thread)
		return;
	thread->ordinal = t->created++;
	if (thread->stopped)
		resume(t, thread, 0);
	thread->stopped = false;
}

static bool at_entry(pid_t tid)
{
	struct __ptrace_syscall_info info = { 0 };

	return ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info) > 0 &&
	       info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

static void stopped(struct tracer *t, struct thread *thread, int status)
{
	int signal_number = WSTOPSIG(status), event = status >> 16;

	if (signal_number == TRACED_SYSCALL) {
		/* What a thread comes out of first is the execve or clone that made it. */
		thread->inside = at_entry(thread->tid);
		if (thread->inside)
			enter(t, thread);
		else
			leave(t, thread);
		signal_number = 0;
	} else if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK ||
	           event == PTRACE_EVENT_VFORK) {
		created(t, thread->tid);
		signal_number = 0;
	} else if (event == PTRACE_EVENT_EXEC || event == PTRACE_EVENT_STOP ||
	           signal_number == SIGSTOP) {
		if (thread->ordinal < 0) {
			thread->stopped = true;
			return;
		}
		signal_number = 0;
	}
	resume(t, thread, signal_number);
}

/* Watches the launch to its end; returns the wait status of the process, or -1 when it did not
 * end. */
static int watch(struct tracer *t, pid_t pid)
{
	struct thread *first = thread_of(t, pid, true);
	int status, result = -1;
	pid_t tid;

	first->ordinal = t->created++;
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
	                PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
	/* Counting begins with the program: its execve is carried out. */
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	time_is_up = 0;
	alarm(LIMIT_S);
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || (errno == EINTR && !time_is_up)) {
		struct thread *thread = tid > 0 ? thread_of(t, tid, true) : NULL;

		if (!thread)
			continue;
		if (WIFSTOPPED(status)) {
			stopped(t, thread, status);
			continue;
		}
		if (tid == pid)
			result = status;
		thread->tid = 0;
	}
	alarm(0);
	if (!time_is_up)
		return result;
	kill(pid, SIGKILL);
	while (waitpid(-1, &status, __WALL) > 0)
		;
	return -1;
}

/* ---- one launch ------------------------------------------------------------------------------ */

static const char *name_of(long nr)
{
	const char *name = sandbox_syscall_name(nr);

	return name ? name : "?";
}

struct result {
	int status; /* as a shell has it; -1: no end */
	struct verdict verdict;
	bool judged, reached, launched;
	struct call call;
	char diagnostics[400];
};

static void launch_once(const struct point *point, struct call *calls, unsigned *counts,
                        struct result *ret)
{
	struct tracer t = { .point = point, .calls = calls, .counts = counts };
	int control = file_of(options.spec, options.spec_length), events = file_of(NULL, 0);
	int diagnostics = file_of(NULL, 0), status;
	uint8_t bytes[65536];
	ssize_t n;

	status = watch(&t, begin(control, events, diagnostics));
	*ret = (struct result){ .status = -1, .reached = t.failed, .call = t.failed_call };
	if (status != -1)
		ret->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	n = pread(diagnostics, ret->diagnostics, sizeof(ret->diagnostics) - 1, 0);
	ret->diagnostics[n > 0 ? n : 0] = '\0';
	n = pread(events, bytes, sizeof(bytes), 0);
	/* Its complaint is ours to print, once it is known to be wanted. */
	ret->judged =
		ret->status >= 0 && n > 0 && judge(bytes, (size_t)n, ret->status, &ret->verdict);
	ret->verdict.silent = n <= 0;
	ret->launched =
		ret->judged && (ret->verdict.outcome == AXVM__V1__OUTCOME__OUTCOME_POWER_OFF ||
	                        ret->verdict.outcome == AXVM__V1__OUTCOME__OUTCOME_HALTED);
	close(control);
	close(events);
	close(diagnostics);
}

/* What is wrong with the result of a launch; NULL: nothing. `start`: the C library's own part. */
static const char *wrong_with(const struct point *point, const struct result *r, bool start)
{
	bool to_events = r->call.arguments[0] == EVENT_FD;
	size_t row;

	if (r->status < 0)
		return "it did not end";
	if (start)
		return NULL;
	if (r->status > 128)
		return "a signal ended it";
	if (to_events)
		return r->status != 0 && (r->status < 64 || r->status > 77)
		               ? "an undocumented status"
		               : NULL;
	if (r->verdict.silent)
		return "no event";
	if (!r->judged)
		return "fd 4 does not fit the status: see above";
	if (r->verdict.outcome == AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED)
		return NULL;
	if (!r->launched)
		return "another end than the guest's";
	/* A call that was interrupted is made again. */
	return point->error == EINTR || call_is_dispensable(&r->call, point->error, &row)
	               ? NULL
	               : "it was launched all the same";
}

static void tell(const struct point *point, const struct result *r, const char *wrong)
{
	fprintf(wrong ? stderr : stdout,
	        "%s thread %u call %u %s(%#lx, %#lx) %s error %d: status %d, error %d in stage %d%s%s\n",
	        wrong ? "FAILED " : "ok ", point->thread, point->number, name_of(r->call.nr),
	        r->call.arguments[0], r->call.arguments[1], r->call.path, point->error, r->status,
	        r->verdict.code, r->verdict.stage, wrong ? ": " : "", wrong ? wrong : "");
	if (wrong && r->diagnostics[0])
		fprintf(stderr, "        %s", r->diagnostics);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void try_point(const struct point *point, bool start, struct tally *tally)
{
	struct result result;
	const char *wrong;

	launch_once(point, NULL, NULL, &result);
	tally->launches++;
	if (!result.reached) {
		tally->unreached++;
		return;
	}
	wrong = wrong_with(point, &result, start);
	if (wrong)
		tally->faults++;
	else if (result.launched)
		tally->survived++;
	else
		tally->refused++;
	if (wrong || options.verbose)
		tell(point, &result, wrong);
}

/* The first call of main(): all signals but some are blocked. */
static unsigned start_of_main(const struct call *calls, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (calls[i].nr == SYS_rt_sigprocmask)
			return i;
	return 0;
}

/* Points are dealt out to parts, and those of ours to the workers. */
static bool is_mine(unsigned turn, int worker)
{
	return turn % options.parts == options.part &&
	       turn / options.parts % (unsigned)options.workers == (unsigned)worker;
}

/* Dozens of calls only ask the host something: one in eight of those alike will do. */
static bool is_passed_over(const struct call *call)
{
	static unsigned seen[CALL_ROWS_MAX];
	size_t row;

	return !options.all && call_is_dispensable(call, 0, &row) && seen[row]++ % 8 != 0;
}

static void work(const struct call *calls, const unsigned *counts, int worker, struct tally *tally)
{
	unsigned main_begins = start_of_main(calls, counts[0]), turn = 0;

	for (unsigned thread = 0; thread < THREADS_MAX; thread++) {
		for (unsigned number = 0; number < counts[thread]; number++) {
			const struct call *call = &calls[thread * CALLS_MAX + number];
			const struct call_errors *e = call_errors_of(call->nr);

			if (!call_can_fail(call) || is_passed_over(call))
				continue;
			for (int i = 0; i < CALL_ERRORS_MAX && e->list[i]; i++) {
				struct point point = { thread, number, call->nr, e->list[i],
					               e->done };

				if (i > 0 && !options.all)
					break;
				if (is_mine(turn++, worker))
					try_point(&point, thread == 0 && number < main_begins,
					          tally);
			}
		}
	}
}

static bool read_spec(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, options.spec, sizeof(options.spec));

	options.spec_length = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool take_arguments(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "avj:p:")) != -1) {
		if (option == 'a')
			options.all = true;
		else if (option == 'v')
			options.verbose = true;
		else if (option == 'j')
			options.workers = atoi(optarg);
		else if (option != 'p' ||
		         sscanf(optarg, "%u/%u", &options.part, &options.parts) != 2)
			return false;
	}
	if (argc - optind != 2 || options.workers < 1 || options.part >= options.parts)
		return false;
	options.shim = argv[optind];
	return read_spec(argv[optind + 1]);
}

int main(int argc, char **argv)
{
	static unsigned counts[THREADS_MAX];
	struct sigaction action = { .sa_handler = on_alarm };
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
	                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct call *calls = calloc(THREADS_MAX * CALLS_MAX, sizeof(*calls));
	struct result result;

	if (!take_arguments(argc, argv) || tally == MAP_FAILED || !calls) {
		fprintf(stderr, "failing: see the head of tests/system/failing.c\n");
		return 64;
	}
	sigaction(SIGALRM, &action, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	launch_once(NULL, calls, counts, &result);
	if (!result.judged || !result.launched) {
		fprintf(stderr, "failing: the launch does not succeed by itself: status %d\n%s",
		        result.status, result.diagnostics);
		return 1;
	}
	for (int worker = 0; worker < options.workers; worker++) {
		fflush(NULL);
		if (fork() == 0) {
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			work(calls, counts, worker, tally);
			exit(0);
		}
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
	printf("%u launches with one failure each: %u refused, %u went on without, %u did not come to it, "
	       "%u wrong\n",
	       tally->launches, tally->refused, tally->survived, tally->unreached, tally->faults);
	return tally->faults == 0 && tally->refused > tally->launches / 4 ? 0 : 1;
}
