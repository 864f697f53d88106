/* SPDX-License-Identifier: MIT */
/* Claims: how the VMs of a host know of each other's CPUs, through the kernel and without a daemon.
 *
 * A folder (CLAIMS_PATH) has a file for each CPU, "cpu7", of which no byte counts. Its open file
 * description locks (fcntl(2), F_OFD_SETLK) are the claims: a vCPU has a byte of the first
 * CLAIMS_SLOTS, an I/O thread one of the second as many, and a DEDICATED VM all of both. So the CPU
 * that the fewest have claimed is the one with the lowest free slot; the first write lock that
 * succeeds is the claim; and the kernel ends it with the process, however that goes. A file "node0"
 * has a slot for each 64 MiB of a node's memory that is spoken for and may not be there yet;
 * "node0-2048kB" of its huge pages of that size. */
#ifndef AXVM_HOST_CLAIMS_H
#define AXVM_HOST_CLAIMS_H

#include "base/base.h"
#include "host/facts.h"

#define CLAIMS_PATH "/run/axvm/claims"
#define CLAIMS_SLOTS (1u << 20)
/* Threads that have claimed one CPU, at most: who finds none of as many slots free gives up. */
#define CLAIMS_LEVELS_MAX 1024u

enum claims_range { CLAIMS_VCPU, CLAIMS_IO };

/* Of one launch, and of one thread. Zeroed: not open. */
struct claims {
	bool open;
	bool looks;    /* nothing is locked, and no file made: what is free is only looked at */
	int directory; /* owned */
	/* of the memory that is spoken for; 0 as 4: ordinary pages. Set before the first of it */
	uint64_t page_kib;
	struct claims_file {
		int fd;
		bool opened;
		uint32_t held; /* claims of ours in it */
		uint64_t end;  /* of a node's: behind the last of them */
	} cpus[FACTS_CPUS_MAX], nodes[FACTS_NODES_MAX];
};

/* Opens the folder: `path`, or where that is NULL the folder that `fd` is of, which stays the
 * caller's. A descriptor of its own in either case: the locks of one open file description do not
 * see each other. -ENOTDIR and what open(2) says; nothing is open then. */
int claims_open(struct claims *claims, int fd, const char *path, bool looks);

/* Claims a slot of a CPU. -EAGAIN: somebody else has it; one's own is had once more, and dropped
 * once. Other errors are of the folder: -EMEDIUMTYPE where the CPU's file is no regular file,
 * -EBUSY where somebody keeps it from being opened by a lease, else what open(2) or fcntl(2)
 * says. */
int claims_take(struct claims *claims, uint32_t cpu, enum claims_range range, uint32_t slot);
/* Claims a CPU for a DEDICATED VM, all slots of both ranges; -EAGAIN while anybody has one. */
int claims_take_whole(struct claims *claims, uint32_t cpu);
void claims_drop(struct claims *claims, uint32_t cpu, enum claims_range range, uint32_t slot);
void claims_drop_whole(struct claims *claims, uint32_t cpu);

/* What others have of a CPU, looked at and not locked; as claims_take() where the folder is at
 * fault. */
struct claims_load {
	uint32_t vcpus, io; /* slots taken, at most CLAIMS_LEVELS_MAX */
	bool whole;         /* by one VM: nobody else has a slot, or gets one */
};
int claims_look(struct claims *claims, uint32_t cpu, struct claims_load *ret);
/* Whether others have nothing in the first range of a CPU; and whether one has all of it. Of a CPU
 * that cannot be looked at neither. */
bool claims_idle(struct claims *claims, uint32_t cpu);
/* The same for both ranges: a DEDICATED VM could have it. */
bool claims_untouched(struct claims *claims, uint32_t cpu);
bool claims_whole(struct claims *claims, uint32_t cpu);
/* What others have spoken for of a node's memory, in MiB, in whole slots. Errors of the folder as
 * in claims_take(); -E2BIG where it is in more pieces than there are VMs. */
int claims_look_memory(struct claims *claims, uint32_t node, uint64_t *ret_mib);

/* Speaks for memory of a node: 0 with the first of its slots, or -EAGAIN where `free_mib` less what
 * others have spoken for is not as much; errors of the folder as in claims_take(). */
int claims_take_memory(struct claims *claims, uint32_t node, uint64_t mib, uint64_t free_mib,
                       uint64_t *ret_slot);
void claims_drop_memory(struct claims *claims, uint32_t node, uint64_t mib, uint64_t slot);
/* It is there now, all of it: what is free says so itself. */
void claims_drop_all_memory(struct claims *claims);

/* Closes all descriptors. What is claimed stays so until the process ends: a mapping without access
 * keeps the open file description alive, so that a sealed process has no descriptor for it. -errno
 * of mmap(2). */
int claims_keep(struct claims *claims);
/* Closes all descriptors, and with them ends what was claimed since claims_open(). */
void claims_close(struct claims *claims);

#endif
