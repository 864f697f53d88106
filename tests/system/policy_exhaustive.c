/* SPDX-License-Identifier: MIT */
/* Every system-call number of the architecture, under the filter of every role, in the kernel.
 *
 * Three answers are compared for each call: the kernel's, that of the rules in the policy's text,
 * and that of the BPF evaluator on the compiled filter.
 *
 * A child seals itself with sandbox_seccomp_seal() and makes one call after another, writing what
 * came of each into memory shared with the parent: TRAPPED when SIGSYS came (its handler marks the
 * call's result), PERFORMED when the call returned. A call that ends the child is judged by how it
 * ended: SIGSYS is KILLED, all else is ENDED, that is, performed; the parent then starts another
 * child at the next call. The child's descriptors stand at the fixed numbers but lead nowhere, so
 * that a permitted call returns at once.
 *
 * The calls: each number with arguments of all zeros and all ones; x32 numbers; numbers that do not
 * exist; from each rule, arguments that fit it, and for each of its comparisons that argument off
 * by one, with every other bit turned, and with upper halves set; and int 0x80.
 *
 * usage: policy_exhaustive [FILE]: writes into FILE, for each rule, how often the kernel performed
 * a call that the rule alone or first allows (hack/audit-policies reads it). Exit status 0, or 1
 * after a mismatch. */
#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "base/base.h"
#include "sandbox/fd_layout.h"
#include "sandbox/policy/eval.h"
#include "sandbox/seccomp.h"

enum {
	NUMBERS = 1024, /* beyond the kernel's table, which has fewer than 500 */
	CALLS_MAX = 32768,
	STALL_SECONDS = 10,
	CHILD_BROKEN = 99,
};

enum outcome { UNTRIED, TRYING, TRAPPED, PERFORMED, ENDED, KILLED, STALLED };

static const char *const outcome_names[] = {
	[UNTRIED] = "untried", [TRYING] = "trying", [TRAPPED] = "trap",
	[PERFORMED] = "allow", [ENDED] = "ended",   [KILLED] = "kill_process",
	[STALLED] = "stalled",
};

struct call {
	int32_t nr;
	bool foreign; /* by int 0x80 */
	uint64_t args[6];
};

/* Shared between the parent and its children. */
struct ledger {
	_Atomic uint32_t next; /* the call being made or about to be */
	_Atomic uint8_t outcomes[CALLS_MAX];
	_Atomic uint32_t sealed;
	_Atomic int seal_error;
};

/* uretprobe and uprobe: recent kernels (6.18 is one) show these to no seccomp filter
 * (seccomp_uprobe_exception() there) and refuse whoever is not in a probe's trampoline, which the
 * kernel maps. */
static const int32_t unfiltered[] = { 335, 336 };

struct run {
	enum sandbox_role role;
	struct ledger *ledger;
	struct call *calls;
	size_t count;
	unsigned int children, mismatches, allowed, trapped, killed, unfiltered, absent;
	unsigned int hits[256]; /* by rule */
};

/* ------------------------------------------------------------------------------------ the child */

static void on_sigsys(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;

	(void)number;
	/* The call was not made; say so in its result, as no system call can. */
	if (info->si_code == 1 /* SYS_SECCOMP */)
		user->uc_mcontext.gregs[REG_RAX] = INT32_MIN;
}

static int64_t raw_call(const struct call *call)
{
	int64_t result;

	if (call->foreign) {
		__asm__ volatile("int $0x80"
		                 : "=a"(result)
		                 : "a"((int64_t)call->nr), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
		                 : "memory", "r8", "r9", "r10", "r11");
		return result;
	}
	register uint64_t r10 __asm__("r10") = call->args[3];
	register uint64_t r8 __asm__("r8") = call->args[4];
	register uint64_t r9 __asm__("r9") = call->args[5];

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"((uint64_t)(uint32_t)call->nr), "D"(call->args[0]),
	                   "S"(call->args[1]), "d"(call->args[2]), "r"(r10), "r"(r8), "r"(r9)
	                 : "memory", "rcx", "r11");
	return result;
}

static bool place(int from, int to)
{
	return from == to || dup2(from, to) == to;
}

/* Dead ends at every number that a policy names. */
static bool lay_out_descriptors(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	for (int to = INTERNAL_FD_BASE; fd >= 0 && to <= INTERNAL_FD_LAST; to++)
		if (!place(fd, to))
			return false;
	return fd >= 0 && place(fd, CONTROL_FD) && place(fd, EVENT_FD) && place(fd, STDERR_FD);
}

__attribute__((noreturn)) static void child(const struct run *run)
{
	struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
	struct ledger *ledger = run->ledger;
	struct timespec before, after;
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (!lay_out_descriptors() || sigaction(SIGSYS, &action, NULL) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(CHILD_BROKEN);
	clock_gettime(CLOCK_MONOTONIC, &before);
	r = sandbox_seccomp_seal(run->role);
	if (r < 0) {
		atomic_store(&ledger->seal_error, r);
		_exit(CHILD_BROKEN);
	}
	clock_gettime(CLOCK_MONOTONIC, &after);
	atomic_store(&ledger->sealed, (uint32_t)((after.tv_sec - before.tv_sec) * 1000000000 +
	                                         after.tv_nsec - before.tv_nsec));
	for (;;) {
		uint32_t i = atomic_load(&ledger->next);
		int64_t result;

		if (i >= run->count)
			break;
		atomic_store(&ledger->outcomes[i], TRYING);
		result = raw_call(&run->calls[i]);
		atomic_store(&ledger->outcomes[i], result == INT32_MIN ? TRAPPED : PERFORMED);
		atomic_store(&ledger->next, i + 1);
	}
	syscall(SYS_exit_group, 0); /* every role may */
	__builtin_trap();
}

/* ----------------------------------------------------------------------------- the calls to try */

static void add(struct run *run, int32_t nr, const uint64_t args[static 6])
{
	struct call *call = &run->calls[run->count];

	if (run->count == CALLS_MAX) {
		fprintf(stderr, "policy_exhaustive: more than %d calls\n", CALLS_MAX);
		exit(1);
	}
	*call = (struct call){ .nr = nr };
	memcpy(call->args, args, sizeof(call->args));
	run->count++;
}

static void add_number(struct run *run, int32_t nr)
{
	static const uint64_t zeros[6] = { 0 };
	uint64_t ones[6];

	memset(ones, 0xff, sizeof(ones));
	add(run, nr, zeros);
	add(run, nr, ones);
}

/* Arguments that make a permitted call return at once, where those of no comparison matter. A time
 * of ~0 would be a fault, a count of 0 no work: 0 serves all but these. */
static void choose_free_arguments(const struct sandbox_rule *rule, uint64_t args[static 6])
{
	static const uint32_t word = 1;

	memset(args, 0, 6 * sizeof(args[0]));
	if (rule->nr == SYS_futex) {
		/* A wait for another value than the one there is refused; a wake finds no one. */
		args[0] = (uintptr_t)&word;
	}
	for (size_t i = 0; i < rule->cmp_count; i++)
		args[rule->cmp[i].arg] = rule->cmp[i].value;
}

static void add_rule(struct run *run, const struct sandbox_rule *rule)
{
	uint64_t fitting[6], args[6];

	choose_free_arguments(rule, fitting);
	add(run, rule->nr, fitting);
	for (size_t i = 0; i < rule->cmp_count; i++) {
		const struct sandbox_cmp *cmp = &rule->cmp[i];
		uint64_t last =
			cmp->value | (~cmp->mask & (cmp->mask > UINT32_MAX ? ~0ULL : UINT32_MAX));
		const uint64_t tries[] = { last, cmp->value - 1, last + 1, ~cmp->value };

		memcpy(args, fitting, sizeof(args));
		for (size_t k = 0; k < ARRAY_SIZE(tries); k++) {
			args[cmp->arg] = tries[k];
			add(run, rule->nr, args);
		}
		for (unsigned int bit = 0; bit < 64; bit++) {
			args[cmp->arg] = cmp->value ^ 1ULL << bit;
			add(run, rule->nr, args);
		}
	}
	/* The same arguments for every other call: the rule must not leak. */
	for (int32_t nr = 0; nr < NUMBERS / 2; nr++)
		if (nr != rule->nr)
			add(run, nr, fitting);
}

static void choose_calls(struct run *run)
{
	static const int32_t odd[] = { -1,         -2,      INT32_MIN,   INT32_MAX,
		                       0x3fffffff, 0x10000, 1 << 16 | 16 };
	const struct sandbox_rules *rules = &sandbox_rules[run->role];

	for (int32_t nr = 0; nr < NUMBERS; nr++)
		add_number(run, nr);
	for (int32_t nr = 0; nr < NUMBERS; nr++)
		add(run, (int32_t)(SANDBOX_X32_BIT | (uint32_t)nr), (const uint64_t[6]){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		add_number(run, odd[i]);
	for (size_t i = 0; i < rules->count; i++) {
		uint64_t args[6];

		add_rule(run, &rules->rules[i]);
		choose_free_arguments(&rules->rules[i], args);
		add(run, (int32_t)(SANDBOX_X32_BIT | (uint32_t)rules->rules[i].nr), args);
	}
	run->calls[run->count] = (struct call){ .nr = 20 /* i386 getpid */, .foreign = true };
	run->count++;
}

/* ----------------------------------------------------------------------------------- the parent */

/* Waits for the child; kills it when it makes no progress. Returns the wait status, or -1 when
 * stalled. */
static int watch(pid_t pid, const struct ledger *ledger)
{
	uint32_t seen = atomic_load(&ledger->next);
	unsigned int idle = 0;
	int status;

	for (;;) {
		siginfo_t info = { 0 };
		sigset_t chld;
		struct timespec second = { .tv_sec = 1 };

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 &&
		    info.si_pid == pid)
			break;
		sigemptyset(&chld);
		sigaddset(&chld, SIGCHLD);
		if (sigtimedwait(&chld, NULL, &second) >= 0)
			continue;
		idle = atomic_load(&ledger->next) == seen ? idle + 1 : 0;
		seen = atomic_load(&ledger->next);
		if (idle < STALL_SECONDS)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return -1;
	}
	waitpid(pid, &status, 0);
	return status;
}

/* Runs children until every call has an outcome. */
static int try_all(struct run *run)
{
	struct ledger *ledger = run->ledger;

	while (atomic_load(&ledger->next) < run->count) {
		uint32_t i;
		pid_t pid = fork();
		int status;

		if (pid < 0)
			return -errno;
		if (pid == 0)
			child(run);
		run->children++;
		status = watch(pid, ledger);
		if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == CHILD_BROKEN)
			return atomic_load(&ledger->seal_error) ? atomic_load(&ledger->seal_error)
			                                        : -EIO;
		i = atomic_load(&ledger->next);
		if (i >= run->count)
			break;
		if (status < 0)
			atomic_store(&ledger->outcomes[i], STALLED);
		else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
			atomic_store(&ledger->outcomes[i], KILLED);
		else
			atomic_store(&ledger->outcomes[i], ENDED);
		atomic_store(&ledger->next, i + 1);
	}
	return 0;
}

static enum outcome outcome_of(uint32_t action)
{
	if (action == SECCOMP_RET_ALLOW)
		return PERFORMED;
	return action == SECCOMP_RET_TRAP ? TRAPPED : KILLED;
}

static void complain(struct run *run, const struct call *call, enum outcome got, const char *who,
                     uint32_t want)
{
	const char *name = sandbox_syscall_name(call->nr);

	run->mismatches++;
	fprintf(stderr,
	        "%s: %s (%#x)%s (%#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ", %#" PRIx64
	        ", %#" PRIx64 "): kernel %s, %s %s\n",
	        sandbox_role_name(run->role), name ? name : "?", (unsigned int)call->nr,
	        call->foreign ? " by int 0x80" : "", call->args[0], call->args[1], call->args[2],
	        call->args[3], call->args[4], call->args[5], outcome_names[got], who,
	        outcome_names[outcome_of(want)]);
}

/* int 0x80 is a fault, not a call, on a kernel without the i386 system calls. */
static bool is_absent(const struct call *call, enum outcome got)
{
	return call->foreign && got == ENDED;
}

static bool is_unfiltered(const struct call *call)
{
	for (size_t k = 0; k < ARRAY_SIZE(unfiltered); k++)
		if (call->nr == unfiltered[k])
			return true;
	return false;
}

static void judge(struct run *run, size_t i)
{
	const struct call *call = &run->calls[i];
	enum outcome got = (enum outcome)atomic_load(&run->ledger->outcomes[i]);
	bool performed = got == PERFORMED || got == ENDED;
	struct seccomp_data data = sandbox_call(call->nr, call->args);
	const struct sandbox_filter *filter = &sandbox_filters[run->role];
	const struct sandbox_rule *rule;
	struct sandbox_verdict verdict;
	uint32_t want;

	if (call->foreign)
		data.arch = AUDIT_ARCH_I386;
	want = sandbox_rules_action(run->role, &data);
	if (performed && want != SECCOMP_RET_ALLOW && is_unfiltered(call))
		run->unfiltered++;
	else if (is_absent(call, got))
		run->absent++;
	else if (performed ? want != SECCOMP_RET_ALLOW : got != outcome_of(want))
		complain(run, call, got, "policy", want);
	if (sandbox_policy_evaluate(run->role, &data, &verdict) < 0) {
		run->mismatches++;
		fprintf(stderr,
		        "%s: call %#x: the filter (%u instructions) and the rules disagree\n",
		        sandbox_role_name(run->role), (unsigned int)call->nr, filter->count);
	}
	run->allowed += performed && want == SECCOMP_RET_ALLOW;
	run->trapped += got == TRAPPED;
	run->killed += got == KILLED;
	rule = sandbox_rule_allowing(run->role, &data);
	if (rule && performed)
		run->hits[rule - sandbox_rules[run->role].rules]++;
}

/* Every name under which a file, a socket, a process or memory can be had: none may be in any
 * policy. */
static void judge_names(struct run *run)
{
	static const int names[] = {
		SYS_open,
		SYS_openat,
		SYS_openat2,
		SYS_creat,
		SYS_open_tree,
		SYS_open_by_handle_at,
		SYS_name_to_handle_at,
		SYS_mq_open,
		SYS_fsopen,
		SYS_fspick,
		SYS_memfd_create,
		SYS_memfd_secret,
		SYS_socket,
		SYS_socketpair,
		SYS_connect,
		SYS_accept4,
		SYS_pidfd_open,
		SYS_pidfd_getfd,
		SYS_perf_event_open,
		SYS_io_uring_setup,
		SYS_clone,
		SYS_clone3,
		SYS_fork,
		SYS_vfork,
		SYS_execve,
		SYS_execveat,
		SYS_mmap,
		SYS_mprotect,
		SYS_mremap,
		SYS_brk,
		SYS_pkey_mprotect,
		SYS_remap_file_pages,
		SYS_ptrace,
		SYS_kill,
		SYS_tkill,
		SYS_pidfd_send_signal,
		SYS_userfaultfd,
		SYS_bpf,
		SYS_uselib,
		SYS_process_vm_writev,
	};

	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		unsigned int tried = 0;

		for (size_t i = 0; i < run->count; i++) {
			if (run->calls[i].nr != names[k] || run->calls[i].foreign)
				continue;
			tried++;
			if (atomic_load(&run->ledger->outcomes[i]) != TRAPPED)
				complain(run, &run->calls[i],
				         (enum outcome)atomic_load(&run->ledger->outcomes[i]),
				         "no policy may allow it:", SECCOMP_RET_TRAP);
		}
		if (tried == 0) {
			run->mismatches++;
			fprintf(stderr, "system call %d was not tried\n", names[k]);
		}
	}
}

static void write_hits(const struct run *run, FILE *out)
{
	const struct sandbox_rules *all = &sandbox_rules[run->role];

	for (size_t i = 0; out && i < all->count; i++)
		fprintf(out, "%s\t%u\t%s\t%s\t%u\n", sandbox_role_name(run->role),
		        all->rules[i].line, all->rules[i].call, all->rules[i].conditions,
		        run->hits[i]);
}

static unsigned int run_role(enum sandbox_role role, FILE *hits)
{
	static struct call calls[CALLS_MAX + 1];
	struct run run = { .role = role, .calls = calls };
	int r;

	run.ledger = mmap(NULL, sizeof(*run.ledger), PROT_READ | PROT_WRITE,
	                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.ledger == MAP_FAILED) {
		perror("policy_exhaustive: mmap");
		return 1;
	}
	choose_calls(&run);
	r = try_all(&run);
	if (r < 0) {
		fprintf(stderr, "policy_exhaustive: %s: %s\n", sandbox_role_name(role),
		        errno_text(-r));
		return 1;
	}
	for (size_t i = 0; i < run.count; i++)
		judge(&run, i);
	judge_names(&run);
	write_hits(&run, hits);
	printf("%-7s %5zu calls: %4u allowed, %5u trapped, %4u killed, %u mismatches; "
	       "%u children, sealed in %u us\n",
	       sandbox_role_name(role), run.count, run.allowed, run.trapped, run.killed,
	       run.mismatches, run.children, atomic_load(&run.ledger->sealed) / 1000);
	printf("%-7s skipped: %u uprobe (this kernel shows them to no filter), "
	       "%u int 0x80 (not in this kernel)\n",
	       "", run.unfiltered, run.absent);
	munmap(run.ledger, sizeof(*run.ledger));
	return run.mismatches;
}

int main(int argc, char **argv)
{
	FILE *hits = argc > 1 ? fopen(argv[1], "we") : NULL;
	unsigned int mismatches = 0;
	sigset_t chld;

	if (argc > 1 && !hits) {
		perror(argv[1]);
		return 1;
	}
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++) {
		unsigned int wrong;

		fflush(stdout);
		wrong = run_role((enum sandbox_role)i, hits);
		printf("%s %s\n", wrong ? "FAIL" : "ok", sandbox_role_name((enum sandbox_role)i));
		mismatches += wrong;
	}
	if (hits && fclose(hits) != 0) {
		perror(argv[1]);
		return 1;
	}
	printf("policy_exhaustive: %s\n",
	       mismatches ? "MISMATCH" : "every call answered as the policy says");
	return mismatches ? 1 : 0;
}
