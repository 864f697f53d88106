/* SPDX-License-Identifier: MIT */
/* A shim that can be told to misbehave: the product's own objects and this one.
 *
 * The linker's --wrap puts these functions in front of what each kind of thread runs once it is
 * sealed, so nothing in the product knows of them. AXVM_MISDEED=ROLE:MISDEED in the environment
 * chooses; AXVM_MISDEED=list prints all of them, one a line with the status that is to come of it;
 * AXVM_MISDEED=steps prints what each step of stage confine took, in microseconds, and goes no
 * further. A thread that is still there after its misdeed ends the process with status 3. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "sandbox/fd_layout.h"
#include "shim/shim.h"

#define SURVIVED 3
#define DENIED 77
#define LOST 71    /* as of a failure of the system */
#define KILLED 159 /* 128 + SIGSYS, as a shell says it */
#define X32 0x40000000

void __real_vcpu_loop(struct vcpu *vcpu);
void __wrap_vcpu_loop(struct vcpu *vcpu);
void __real_devices_serve(struct shim_io *io);
void __wrap_devices_serve(struct shim_io *io);
int __real_stage_staff(struct shim *shim);
int __wrap_stage_staff(struct shim *shim);
int __real_stage_run(struct shim *shim);
int __wrap_stage_run(struct shim *shim);

static char chosen[64];
static long parent;
static char page[4096] __attribute__((aligned(4096)));
static const char passwd[] = "/etc/passwd", memory[] = "/proc/self/mem", shell[] = "/bin/sh";
static const struct open_how how;
static struct sockaddr_in address = { .sin_family = AF_INET };
static struct clone_args clone_args;
static struct __user_cap_header_struct cap_header = { .version = _LINUX_CAPABILITY_VERSION_3 };
static struct __user_cap_data_struct cap_data[2] = { { 1, 1, 1 }, { 0, 0, 0 } };
static struct iovec iov = { page, sizeof(page) };

#define A(x) ((long)(x))

static const struct misdeed {
	const char *name; /* as the death record is to name the call, after the last '/' */
	long nr;
	long args[6];
	int status;
} misdeeds[] = {
	{ "passwd/open", SYS_open, { A(passwd) }, DENIED },
	{ "passwd/openat", SYS_openat, { -100, A(passwd) }, DENIED },
	{ "passwd/openat2", SYS_openat2, { -100, A(passwd), A(&how), sizeof(how) }, DENIED },
	{ "proc/openat", SYS_openat, { -100, A(memory), 2 }, DENIED },
	{ "out/socket", SYS_socket, { AF_INET, SOCK_STREAM }, DENIED },
	{ "out/connect", SYS_connect, { EVENT_FD, A(&address), sizeof(address) }, DENIED },
	{ "out/sendto", SYS_sendto, { CONTROL_FD, A(page), 1 }, DENIED },
	{ "parent/ptrace", SYS_ptrace, { PTRACE_ATTACH, -1 /* parent */ }, DENIED },
	{ "parent/kill", SYS_kill, { -1 /* parent */, SIGCONT }, DENIED },
	{ "parent/process_vm_writev",
	  SYS_process_vm_writev,
	  { -1, A(&iov), 1, A(&iov), 1 },
	  DENIED },
	{ "other/tgkill", SYS_tgkill, { 1, 1, SIGKILL }, DENIED },
	{ "exec/execve", SYS_execve, { A(shell) }, DENIED },
	{ "exec/execveat", SYS_execveat, { -100, A(shell) }, DENIED },
	{ "executable/mmap",
	  SYS_mmap,
	  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1 },
	  DENIED },
	{ "plain/mmap", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1 }, DENIED },
	{ "executable/mprotect", SYS_mprotect, { A(page), 4096, PROT_READ | PROT_EXEC }, DENIED },
	{ "capability/capset", SYS_capset, { A(&cap_header), A(cap_data) }, DENIED },
	{ "capability/prctl",
	  SYS_prctl,
	  { PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN },
	  DENIED },
	{ "root/setresuid", SYS_setresuid, { 0, 0, 0 }, DENIED },
	{ "thread/clone", SYS_clone, { SIGCHLD }, DENIED },
	{ "thread/clone3", SYS_clone3, { A(&clone_args), sizeof(clone_args) }, DENIED },
	{ "process/fork", SYS_fork, { 0 }, DENIED },
	{ "ring/io_uring_setup", SYS_io_uring_setup, { 1, A(page) }, DENIED },
	{ "ring/io_uring_register", SYS_io_uring_register, { IO_RING_FD_BASE, 0 }, DENIED },
	{ "other-ring/io_uring_enter", SYS_io_uring_enter, { 7, 1, 0, 1 }, DENIED },
	{ "other-request/ioctl",
	  SYS_ioctl,
	  { VM_FD, KVM_SET_USER_MEMORY_REGION, A(page) },
	  DENIED },
	{ "other-vcpu/ioctl", SYS_ioctl, { 7, KVM_RUN, 0 }, DENIED },
	{ "stdin/read", SYS_read, { 0, A(page), 1 }, DENIED },
	{ "stdout/write", SYS_write, { 1, A(page), 1 }, DENIED },
	{ "filter/seccomp", SYS_seccomp, { 1, 0, 0 }, DENIED },
	{ "signals/rt_sigaction", SYS_rt_sigaction, { SIGSYS, 0, A(page), 8 }, DENIED },
	{ "signals/rt_sigprocmask", SYS_rt_sigprocmask, { 0, A(page), 0, 8 }, DENIED },
	{ "namespace/setns", SYS_setns, { 0, 0 }, DENIED },
	{ "namespace/unshare", SYS_unshare, { CLONE_NEWUSER }, DENIED },
	{ "descriptor/dup", SYS_dup, { CONTROL_WAKE_FD }, DENIED },
	{ "descriptor/memfd_create", SYS_memfd_create, { A(passwd) }, DENIED },
	{ "descriptor/pidfd_open", SYS_pidfd_open, { 1 }, DENIED },
	{ "kernel/bpf", SYS_bpf, { 0, A(page), 8 }, DENIED },
	{ "curiosity/getppid", SYS_getppid, { 0 }, DENIED },
	{ "x32/getpid", X32 | SYS_getpid, { 0 }, KILLED },
	{ "i386/getpid", -1, { 20 }, KILLED },
};

/* Through the i386 table, which a 64-bit program can still reach. */
static void int80(long nr)
{
	__asm__ volatile("int $0x80" : "+a"(nr) : : "memory", "r8", "r9", "r10", "r11");
}

static void commit(const struct misdeed *misdeed)
{
	long a[6];

	memcpy(a, misdeed->args, sizeof(a));
	if (strncmp(misdeed->name, "parent/", 7) == 0)
		for (size_t i = 0; i < 2; i++)
			a[i] = a[i] == -1 ? parent : a[i];
	if (misdeed->nr < 0)
		int80(a[0]);
	else
		syscall(misdeed->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	syscall(SYS_exit_group, SURVIVED);
}

static void misbehave_as(const char *role)
{
	size_t length = strlen(role);

	if (strncmp(chosen, role, length) != 0 || chosen[length] != ':')
		return;
	for (size_t i = 0; i < ARRAY_SIZE(misdeeds); i++)
		if (strcmp(chosen + length + 1, misdeeds[i].name) == 0)
			commit(&misdeeds[i]);
}

/* Entries that the ring's restrictions forbid: the loop that follows submits them. */
static const struct {
	const char *name;
	uint8_t opcode, flags;
} ring_misdeeds[] = {
	{ "ring-opcode/OPENAT", IORING_OP_OPENAT, IOSQE_FIXED_FILE },
	{ "ring-opcode/SOCKET", IORING_OP_SOCKET, IOSQE_FIXED_FILE },
	{ "ring-file/READ", IORING_OP_READ, 0 },
	{ "ring-flag/READ", IORING_OP_READ, IOSQE_FIXED_FILE | IOSQE_IO_DRAIN },
};

static void misuse_ring(struct io_uring *ring)
{
	for (size_t i = 0; i < ARRAY_SIZE(ring_misdeeds); i++) {
		struct io_uring_sqe *sqe;

		if (strncmp(chosen, "io:", 3) != 0 ||
		    strcmp(chosen + 3, ring_misdeeds[i].name) != 0)
			continue;
		sqe = io_uring_get_sqe(ring);
		io_uring_prep_rw(ring_misdeeds[i].opcode, sqe, CONTROL_WAKE_FD, page, 8, 0);
		sqe->flags = ring_misdeeds[i].flags;
		sqe->user_data = 0x1234; /* no pointer to anything */
	}
}

/* A page that is mapped and cannot be had: beyond the end of its file. */
static volatile char *lost;

static void map_lost_page(void)
{
	int fd = memfd_create("lost", MFD_CLOEXEC);

	lost = mmap(NULL, sizeof(page), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
}

static void touch_lost_page(void)
{
	(void)*lost;
}

static void follow_wild_pointer(void)
{
	volatile char *volatile wild = (volatile char *)0x10;

	(void)*wild;
}

static void run_into_a_trap(void)
{
	__builtin_trap();
}

/* What the C library does about a buffer overflow: it says so, and aborts. */
static void smash_stack(void)
{
	void __stack_chk_fail(void);

	__stack_chk_fail();
}

/* What is no call that is denied; those that the C library ends with are, and are named by the
 * call. */
static const struct {
	const char *name;
	void (*commit)(void);
	int status;
} crashes[] = {
	{ "memory/lost", touch_lost_page, LOST },
	{ "crash/segv", follow_wild_pointer, 128 + SIGSEGV },
	{ "crash/trap", run_into_a_trap, 128 + SIGILL },
#if __GLIBC_PREREQ(2, 41)
	{ "abort/gettid", abort, DENIED },
#else
	{ "abort/rt_sigprocmask", abort, DENIED },
#endif
	{ "overflow/writev", smash_stack, DENIED },
};

static void crash_as(const char *role)
{
	size_t length = strlen(role);

	if (strncmp(chosen, role, length) != 0 || chosen[length] != ':')
		return;
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++) {
		if (strcmp(chosen + length + 1, crashes[i].name) != 0)
			continue;
		crashes[i].commit();
		syscall(SYS_exit_group, SURVIVED);
	}
}

void __wrap_vcpu_loop(struct vcpu *vcpu)
{
	if (vcpu->index == 0)
		crash_as("vcpu");
	if (vcpu->index == 0)
		misbehave_as("vcpu");
	__real_vcpu_loop(vcpu);
}

void __wrap_devices_serve(struct shim_io *io)
{
	misuse_ring(&io->loop.ring);
	crash_as("io");
	misbehave_as("io");
	__real_devices_serve(io);
}

int __wrap_stage_run(struct shim *shim)
{
	shim->running = true;
	crash_as("control");
	misbehave_as("control");
	return __real_stage_run(shim);
}

/* Here stdout can still be written: the cost of each step of stage confine. */
int __wrap_stage_staff(struct shim *shim)
{
	map_lost_page();
	if (strcmp(chosen, "steps") != 0)
		return __real_stage_staff(shim);
	for (size_t i = 0; sandbox_confine_step(i); i++)
		printf("%-14s %6lu\n", sandbox_confine_step(i),
		       (unsigned long)shim->sandbox.step_ns[i] / 1000);
	exit(0);
}

/* Before the shim clears its environment. */
__attribute__((constructor)) static void choose(void)
{
	static const char *const roles[] = { "control", "vcpu", "io" };
	const char *wish = getenv("AXVM_MISDEED");

	parent = getppid();
	snprintf(chosen, sizeof(chosen), "%s", wish ? wish : "");
	if (strcmp(chosen, "list") != 0)
		return;
	for (size_t r = 0; r < ARRAY_SIZE(roles); r++)
		for (size_t i = 0; i < ARRAY_SIZE(misdeeds); i++)
			printf("%s:%s %d\n", roles[r], misdeeds[i].name, misdeeds[i].status);
	for (size_t i = 0; i < ARRAY_SIZE(ring_misdeeds); i++)
		printf("io:%s %d\n", ring_misdeeds[i].name, DENIED);
	for (size_t r = 0; r < ARRAY_SIZE(roles); r++)
		for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
			printf("%s:%s %d\n", roles[r], crashes[i].name, crashes[i].status);
	exit(0);
}
