/* SPDX-License-Identifier: MIT */
/* A whole launch in a child, on a KVM made up. */
#include "tests/unit/rig/launch_rig.h"

#include <cpuid.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "interface/wire.h"
#include "sandbox/fd_layout.h"
#include "shim/announce.h"
#include "shim/control.h"
#include "shim/deadline.h"
#include "tests/unit/rig/fake_kvm.h"
#include "tests/unit/rig/protoc.h"
#include "tests/unit/rig/wait.h"

#define RUN_SIZE (3 * 4096)

struct shim rig_shim;
struct rig_told *rig_told;
Axvm__V1__Event *rig_events[RIG_EVENTS_MAX];
size_t rig_events_count;
char rig_stderr[4096], rig_output[256];

static const struct rig_launch *launch;
static int control_fd, control_peer, events_fd, words_fd, image_fd, output_fd, disk_fd, disk_2_fd,
	channel_fd, kvm_fd;
static int tap_fds[2], vhost_fd;
static int pages_fd[RIG_VCPUS_MAX];
static struct kvm_run *pages[RIG_VCPUS_MAX];
static __thread uint32_t this_vcpu;

/* ---- KVM ------------------------------------------------------------------------------------- */

static int open_kvm(void)
{
	if (launch->kvm_error) {
		errno = launch->kvm_error;
		return -1;
	}
	return fcntl(kvm_fd, F_DUPFD_CLOEXEC, 0);
}

static int extension(int number)
{
	if (number == launch->lacks && launch->lacks)
		return 0;
	return number == KVM_CAP_MAX_VCPUS ? 64 : 0xff;
}

/* Of the processor that runs this, as far as a guest's table is made of it. */
static int supported_cpuid(struct kvm_cpuid2 *table)
{
	static const uint32_t leaves[][2] = {
		{ 0, 0 },   { 1, 0 },          { 4, 0 },          { 7, 0 },          { 0xd, 0 },
		{ 0xd, 1 }, { 0x80000000, 0 }, { 0x80000001, 0 }, { 0x80000008, 0 },
	};
	uint32_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(leaves) && n < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[n];

		*entry = (struct kvm_cpuid_entry2){ .function = leaves[i][0],
			                            .index = leaves[i][1] };
		if (__get_cpuid_count(entry->function, entry->index, &entry->eax, &entry->ebx,
		                      &entry->ecx, &entry->edx))
			n++;
	}
	table->entries[n++] =
		(struct kvm_cpuid_entry2){ .function = 0x40000001, .eax = 0x0fffffff };
	table->nent = n;
	return 0;
}

static void note_thread(uint32_t vcpu)
{
	struct sched_param param;
	cpu_set_t set;

	rig_told->cpu[vcpu] = -1;
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1)
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &set))
				rig_told->cpu[vcpu] = cpu;
	rig_told->policy[vcpu] = sched_getscheduler(0);
	rig_told->priority[vcpu] = sched_getparam(0, &param) == 0 ? param.sched_priority : -1;
}

/* Which vCPU it is follows from its APIC id. */
static int create_vcpu(unsigned long apic_id)
{
	for (uint32_t i = 0; i < rig_shim.machine.vcpu_count && i < RIG_VCPUS_MAX; i++)
		if (rig_shim.machine.vcpus[i].apic_id == apic_id)
			this_vcpu = i;
	note_thread(this_vcpu);
	if (this_vcpu == 0)
		(void)guest_memory_read(&rig_shim.machine.memory, GPA(0x100000), rig_told->boot,
		                        sizeof(rig_told->boot));
	return fcntl(pages_fd[this_vcpu], F_DUPFD_CLOEXEC, 0);
}

static int run_guest(void)
{
	struct kvm_run *run = pages[this_vcpu];

	if (run->immediate_exit) {
		errno = EINTR;
		return -1;
	}
	run->exit_reason = KVM_EXIT_HLT;
	errno = launch->guest ? launch->guest(run, this_vcpu) : 0;
	return errno ? -1 : 0;
}

static int answer(unsigned long request, void *argument)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return launch->old_api ? 11 : KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return extension((int)(intptr_t)argument);
	case KVM_GET_SUPPORTED_CPUID:
		return supported_cpuid(argument);
	case KVM_CREATE_VM:
		return fcntl(kvm_fd, F_DUPFD_CLOEXEC, 0);
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_SIZE;
	case KVM_CREATE_VCPU:
		return create_vcpu((unsigned long)argument);
	case KVM_GET_TSC_KHZ:
		return 2500000;
	case KVM_GET_STATS_FD:
		errno = ENOTTY;
		return -1;
	case KVM_GET_SREGS:
		memset(argument, 0, sizeof(struct kvm_sregs));
		return 0;
	case KVM_SET_SREGS:
		rig_told->sregs[this_vcpu] = *(const struct kvm_sregs *)argument;
		return 0;
	case KVM_SET_REGS:
		rig_told->regs[this_vcpu] = *(const struct kvm_regs *)argument;
		rig_told->set[this_vcpu] = true;
		return 0;
	case KVM_SET_MSRS:
		return (int)((const struct kvm_msrs *)argument)->nmsrs;
	case KVM_ENABLE_CAP:
		if (rig_told->caps < RIG_CAPS_MAX)
			rig_told->cap[rig_told->caps++] = *(const struct kvm_enable_cap *)argument;
		return 0;
	case KVM_SIGNAL_MSI:
		rig_told->msi = *(const struct kvm_msi *)argument;
		rig_told->msis++;
		return 1;
	case KVM_RUN:
		return run_guest();
	default:
		return 0;
	}
}

/* ---- TAPs ------------------------------------------------------------------------------------ */

static bool is_tap(int fd)
{
	return fd == RIG_TAP || fd == RIG_TAP_2 || (fd >= TAP_FD_BASE && fd <= TAP_FD_LAST);
}

static int answer_tap(unsigned long request, void *argument)
{
	if (request == TUNGETIFF)
		*(struct ifreq *)argument =
			(struct ifreq){ .ifr_name = "tap0",
			                .ifr_flags = IFF_TAP | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	return 0;
}

static bool answer_ioctl(int fd, unsigned long request, void *argument, int *ret_result)
{
	if (_IOC_TYPE(request) == _IOC_TYPE(TUNGETIFF) && is_tap(fd)) {
		*ret_result = answer_tap(request, argument);
		return true;
	}
	if (_IOC_TYPE(request) != KVMIO)
		return false;
	/* The filter lets a vCPU's thread ask its own vCPU alone, by its one number. */
	if (request == KVM_RUN && fd != VCPU_FD) {
		errno = EBADF;
		*ret_result = -1;
		return true;
	}
	if (launch->asked)
		launch->asked(request);
	if (request == launch->refused) {
		errno = EPERM;
		*ret_result = -1;
	} else {
		*ret_result = answer(request, argument);
	}
	return true;
}

/* ---- the child ------------------------------------------------------------------------------- */

static const struct {
	int (*go)(struct shim *);
} stages[] = {
	[STAGE_ARRIVE] = { stage_arrive }, [STAGE_LEARN] = { stage_learn },
	[STAGE_ADMIT] = { stage_admit },   [STAGE_ACQUIRE] = { stage_acquire },
	[STAGE_BUILD] = { stage_build },   [STAGE_CONFINE] = { stage_confine },
	[STAGE_STAFF] = { stage_staff },   [STAGE_SEAL] = { stage_seal },
	[STAGE_RUN] = { stage_run },
};

/* As main() does. What the made-up KVM hands out is made when foreign descriptors have been
 * closed. */
static int live(void)
{
	struct shim *shim = &rig_shim;
	int status;

	for (shim->stage = STAGE_ARRIVE; shim->stage < STAGE_ACCOUNT; shim->stage++) {
		uint64_t start = deadline_now_ns();

		if (launch->before && !launch->before(shim->stage))
			break;
		if (shim->stage == STAGE_ADMIT)
			for (size_t i = 0; i < RIG_VCPUS_MAX; i++)
				pages_fd[i] = memfd_create("vcpu", MFD_CLOEXEC);
		for (size_t i = 0; shim->stage == STAGE_ADMIT && i < RIG_VCPUS_MAX; i++)
			if (ftruncate(pages_fd[i], RUN_SIZE) == 0)
				pages[i] = mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
				                pages_fd[i], 0);
		if (shim->stage == STAGE_ADMIT)
			kvm_fd = memfd_create("kvm", MFD_CLOEXEC);
		if (stages[shim->stage].go(shim) < 0)
			break;
		shim->stage_ns[shim->stage] = deadline_now_ns() - start;
		(void)announce_stage(shim);
	}
	status = stage_account(shim);
	if (launch->after)
		launch->after();
	return status;
}

__attribute__((noreturn)) static void child_main(void)
{
	const int wanted[][2] = {
		{ words_fd, STDERR_FD },     { control_fd, CONTROL_FD }, { events_fd, EVENT_FD },
		{ image_fd, RIG_IMAGE },     { output_fd, RIG_OUTPUT },  { disk_fd, RIG_DISK },
		{ channel_fd, RIG_CHANNEL }, { disk_2_fd, RIG_DISK_2 },  { tap_fds[0], RIG_TAP },
		{ tap_fds[1], RIG_TAP_2 },   { vhost_fd, RIG_VHOST },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		dup2(wanted[i][0], wanted[i][1]);
	kvm_fd = memfd_create("kvm", MFD_CLOEXEC);
	fake_kvm_ioctl = answer_ioctl;
	fake_kvm_open = open_kvm;
	_exit(live());
}

/* ---- the parent ------------------------------------------------------------------------------ */

/* Where none of the numbers of the child's own is. */
static int high(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	cr_assert_geq(moved, 100);
	close(fd);
	return moved;
}

static int file_of(size_t size, uint8_t filler)
{
	static uint8_t bytes[MIB];
	int fd = high(memfd_create("rig", MFD_CLOEXEC));

	memset(bytes, filler, size);
	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

static void make_control(void)
{
	static char text[8192];
	static uint8_t bytes[8192];
	int pair[2];
	size_t n;

	snprintf(text, sizeof(text), "launch { %s } %s%s%s", launch->spec,
	         launch->command ? "commands { " : "", launch->command ? launch->command : "",
	         launch->command ? " }" : "");
	n = protoc_encode("ControlStream", text, bytes, sizeof(bytes));
	if (launch->open_ended) {
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		control_fd = high(pair[0]);
		control_peer = high(pair[1]);
		cr_assert_eq(write(control_peer, bytes, n), (ssize_t)n);
		return;
	}
	control_fd = high(memfd_create("control", MFD_CLOEXEC));
	control_peer = -1;
	cr_assert_eq(write(control_fd, bytes, n), (ssize_t)n);
	cr_assert_eq(lseek(control_fd, 0, SEEK_SET), 0);
}

static void read_events(void)
{
	static uint8_t bytes[1 << 20];
	ssize_t n = pread(events_fd, bytes, sizeof(bytes), 0);
	struct wire_cursor cursor = { bytes, bytes + MAX(n, (ssize_t)0) };
	struct wire_field field;

	rig_events_count = 0;
	while (wire_next(&cursor, &field) > 0) {
		cr_assert_lt(rig_events_count, RIG_EVENTS_MAX);
		rig_events[rig_events_count] =
			axvm__v1__event__unpack(NULL, field.length, field.bytes);
		cr_assert_not_null(rig_events[rig_events_count++]);
	}
}

int rig_launch(const struct rig_launch *wanted)
{
	int status, pair[2];
	ssize_t n;
	pid_t child;

	launch = wanted;
	if (!rig_told)
		rig_told = mmap(NULL, sizeof(*rig_told), PROT_READ | PROT_WRITE,
		                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq((void *)rig_told, MAP_FAILED);
	memset(rig_told, 0, sizeof(*rig_told));
	make_control();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	channel_fd = high(pair[0]);
	events_fd = high(memfd_create("events", MFD_CLOEXEC));
	words_fd = high(memfd_create("words", MFD_CLOEXEC));
	for (size_t i = 0; i < ARRAY_SIZE(tap_fds); i++)
		tap_fds[i] = high(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	vhost_fd = file_of(0, 0);
	image_fd = launch->image ? high(memfd_create("image", MFD_CLOEXEC)) : file_of(16, 0x90);
	if (launch->image)
		cr_assert_eq(write(image_fd, launch->image, launch->image_size),
		             (ssize_t)launch->image_size);
	output_fd = file_of(0, 0);
	disk_fd = file_of(MIB, 0);
	disk_2_fd = file_of(MIB, 0);
	cr_assert_eq(ftruncate(disk_fd, (off_t)(MIB + (launch->odd_disk ? 512 : 0))), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0)
		child_main();
	close(control_fd);
	status = wait_child(child);
	read_events();
	n = pread(words_fd, rig_stderr, sizeof(rig_stderr) - 1, 0);
	rig_stderr[MAX(n, (ssize_t)0)] = '\0';
	n = pread(output_fd, rig_output, sizeof(rig_output) - 1, 0);
	rig_output[MAX(n, (ssize_t)0)] = '\0';
	close(channel_fd);
	close(pair[1]);
	close(events_fd);
	close(words_fd);
	close(image_fd);
	close(output_fd);
	close(disk_fd);
	close(disk_2_fd);
	close(tap_fds[0]);
	close(tap_fds[1]);
	close(vhost_fd);
	if (control_peer >= 0)
		close(control_peer);
	return WIFEXITED(status) ? WEXITSTATUS(status) : RIG_DIED;
}

const Axvm__V1__Event *rig_event(Axvm__V1__Event__BodyCase kind, size_t which)
{
	for (size_t i = 0; i < rig_events_count; i++)
		if (rig_events[i]->body_case == kind && which-- == 0)
			return rig_events[i];
	return NULL;
}

const Axvm__V1__Terminal *rig_terminal(void)
{
	const Axvm__V1__Event *event = rig_event(AXVM__V1__EVENT__BODY_TERMINAL, 0);

	cr_assert_not_null(event, "no terminal event; %s", rig_stderr);
	cr_assert_null(rig_event(AXVM__V1__EVENT__BODY_TERMINAL, 1));
	cr_assert_eq(event, rig_events[rig_events_count - 1]);
	return event->terminal;
}
