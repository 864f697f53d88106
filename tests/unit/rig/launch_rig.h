/* SPDX-License-Identifier: MIT */
/* A whole launch: the shim's stages one after the other in a child, with its threads, its sandbox
 * and its filters as they are, on a KVM made up; and what it said on fds 2 and 4. */
#ifndef AXVM_TESTS_LAUNCH_RIG_H
#define AXVM_TESTS_LAUNCH_RIG_H

#include <inttypes.h>
#include <linux/kvm.h>
#include <sys/types.h>

#include "proto/axvm.pb-c.h"
#include "shim/shim.h"

enum { RIG_EVENTS_MAX = 64, RIG_VCPUS_MAX = 4, RIG_CAPS_MAX = 8, RIG_DIED = 255 };

/* What the guest does each time a vCPU is let go: fills its page as KVM would; returns 0, or the
 * errno that KVM_RUN fails with. No system calls: its thread is sealed. */
typedef int (*rig_guest)(struct kvm_run *run, uint32_t vcpu);

/* What a launch is given; zero: as an ordinary one has it. */
struct rig_launch {
	const char *spec;      /* text of a LaunchSpec */
	const char *command;   /* text of a Command behind it; NULL: none */
	rig_guest guest;       /* NULL: every vCPU halts */
	int kvm_error;         /* /dev/kvm does not open, with this */
	unsigned long refused; /* KVM fails this request with EPERM */
	int lacks;             /* KVM does not have this capability */
	bool old_api;          /* KVM answers another API version than 12 */
	bool odd_disk;         /* the disk is 512 bytes longer */
	const void *image;     /* what file 5 has in it; NULL: 16 bytes 0x90 */
	size_t image_size;
	bool open_ended; /* fd 3 is a stream that goes on after what is in it */
	/* In the child, when all is over; no system calls. NULL: nothing. */
	void (*after)(void);
	/* In the child, before KVM answers a request. NULL: nothing. */
	void (*asked)(unsigned long request);
	/* In the child, before a stage; the VM ends where it returns false. NULL: nothing. */
	bool (*before)(enum axvm_stage stage);
};

/* What KVM was told, of the last launch; of the first `caps` KVM_ENABLE_CAP. */
struct rig_told {
	struct kvm_regs regs[RIG_VCPUS_MAX]; /* by vCPU */
	struct kvm_sregs sregs[RIG_VCPUS_MAX];
	bool set[RIG_VCPUS_MAX];
	struct kvm_enable_cap cap[RIG_CAPS_MAX];
	uint32_t caps;
	struct kvm_msi msi;
	uint32_t msis;
	int cpu[RIG_VCPUS_MAX]; /* where the vCPU was made; -1: its thread may run on several */
	int policy[RIG_VCPUS_MAX], priority[RIG_VCPUS_MAX];
	uint8_t boot[64];      /* guest memory from 1 MiB on, when vCPU 0 was made */
	int vhost_owned;       /* the number of the one that was started last */
	uint64_t vhost_memory; /* bytes of its first region */
	uint64_t word[8];      /* for a test's own use */
};

/* In the child, and by its functions above. */
extern struct shim rig_shim;
/* Shared with the child. */
extern struct rig_told *rig_told;

/* In the child: the line of the first that does not hold is left in word[0]. */
#define HOLDS(condition)                                                                           \
	do {                                                                                       \
		if (!(condition) && rig_told->word[0] == 0)                                        \
			rig_told->word[0] = __LINE__;                                              \
	} while (0)
#define expect_held() cr_assert_eq(rig_told->word[0], 0, "line %" PRIu64, rig_told->word[0])

/* Files that a spec may name: by 5 a flat image of 16 bytes 0x90, by 6 an empty file to write, by 7
 * and 9 disks of 1 MiB, by 8 a socket for vsock, by 10 and 11 queues of one TAP, by 12 a vhost-net.
 * New ones for each launch. */
enum {
	RIG_IMAGE = 5,
	RIG_OUTPUT = 6,
	RIG_DISK = 7,
	RIG_CHANNEL = 8,
	RIG_DISK_2 = 9,
	RIG_TAP = 10,
	RIG_TAP_2 = 11,
	RIG_VHOST = 12
};

/* The exit status; RIG_DIED when the child died of a signal. */
int rig_launch(const struct rig_launch *launch);

extern Axvm__V1__Event *rig_events[RIG_EVENTS_MAX];
extern size_t rig_events_count;
extern char rig_stderr[4096], rig_output[256]; /* the latter: what is in RIG_OUTPUT */

/* The nth event of a kind, from 0; NULL: there is none. */
const Axvm__V1__Event *rig_event(Axvm__V1__Event__BodyCase kind, size_t which);
/* The terminal event, which must be there, once and as the last. */
const Axvm__V1__Terminal *rig_terminal(void);

#endif
