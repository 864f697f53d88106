/* SPDX-License-Identifier: MIT */
/* Claims: how the VMs of a host know of each other's CPUs, through the kernel and without a daemon.
 *
 * A folder (CLAIMS_PATH) has a file for each CPU, "cpu7", whose content is not used. Its open file
 * description locks (fcntl(2), F_OFD_SETLK) are the claims: a vCPU has a byte of the first
 * CLAIMS_SLOTS, an I/O thread one of the second as many, and a DEDICATED VM all of both. So the CPU
 * with the fewest claims is the one with the lowest free slot; the first write lock that succeeds
 * is the claim; and the kernel releases it when the process ends, however it ends. A file "node0"
 * has a slot for each 64 MiB of a node's memory that is claimed and may not be populated yet;
 * "node0-2048kB" is the same for its huge pages of that size. */
#ifndef AXVM_HOST_CLAIMS_H
#define AXVM_HOST_CLAIMS_H

#include "base/base.h"
#include "host/facts.h"

#define CLAIMS_PATH "/run/axvm/claims"
#define CLAIMS_SLOTS (1u << 20)
/* The most claims on one CPU: a launch that finds all these slots taken gives up. */
#define CLAIMS_LEVELS_MAX 1024u

enum claims_range { CLAIMS_VCPU, CLAIMS_IO };

/* The claims of one launch; used by one thread. Zeroed: not open. */
struct claims {
	bool open;
	bool looks;    /* nothing is locked, and no file made: what is free is only looked at */
	int directory; /* owned */
	/* page size of the claimed memory; 0 and 4: ordinary pages. Set before claiming any */
	uint64_t page_kib;
	struct claims_file {
		int fd;
		bool opened;
		uint32_t held; /* claims of ours in it */
		uint64_t end;  /* of a node's file: the slot after the last of them */
	} cpus[FACTS_CPUS_MAX], nodes[FACTS_NODES_MAX];
};

/* Opens the folder `path`, or if that is NULL the folder of `fd`, which stays the caller's. It
 * opens an open file description of its own in either case, because locks of one description do not
 * conflict. -ENOTDIR or -errno of open(2); nothing is open then. */
int claims_open(struct claims *claims, int fd, const char *path, bool looks);

/* Claims a slot of a CPU. -EAGAIN: another VM has it. A slot of one's own can be claimed again; one
 * drop then ends it. Other errors concern the folder: -EMEDIUMTYPE: the CPU's file is not a regular
 * file; -EBUSY: a lease keeps it from being opened; else -errno of open(2) or fcntl(2). */
int claims_take(struct claims *claims, uint32_t cpu, enum claims_range range, uint32_t slot);
/* Claims a CPU for a DEDICATED VM, all slots of both ranges; -EAGAIN while anybody has one. */
int claims_take_whole(struct claims *claims, uint32_t cpu);
void claims_drop(struct claims *claims, uint32_t cpu, enum claims_range range, uint32_t slot);
void claims_drop_whole(struct claims *claims, uint32_t cpu);

/* Reads what other VMs have claimed of a CPU, without locking. Errors of the folder as in
 * claims_take(). */
struct claims_load {
	uint32_t vcpus, io; /* slots taken, at most CLAIMS_LEVELS_MAX */
	bool whole;         /* by one VM: nobody else has a slot, or gets one */
};
int claims_look(struct claims *claims, uint32_t cpu, struct claims_load *ret);
/* Whether no other VM has a slot in the first range of a CPU; and whether one has all of it. Both
 * false if the CPU cannot be read. */
bool claims_idle(struct claims *claims, uint32_t cpu);
/* The same for both ranges: a DEDICATED VM could have it. */
bool claims_untouched(struct claims *claims, uint32_t cpu);
bool claims_whole(struct claims *claims, uint32_t cpu);
/* Reads how much of a node's memory other VMs have claimed, in MiB, in whole slots. Errors of the
 * folder as in claims_take(); -E2BIG: it is in more pieces than there can be VMs. */
int claims_look_memory(struct claims *claims, uint32_t node, uint64_t *ret_mib);

/* Claims memory of a node: 0 with the first of its slots, or -EAGAIN if `free_mib` minus the claims
 * of others is less; errors of the folder as in claims_take(). */
int claims_take_memory(struct claims *claims, uint32_t node, uint64_t mib, uint64_t free_mib,
                       uint64_t *ret_slot);
void claims_drop_memory(struct claims *claims, uint32_t node, uint64_t mib, uint64_t slot);
/* Drops all claims on memory, once the memory is populated: the node's free memory shows it from
 * then on. */
void claims_drop_all_memory(struct claims *claims);

/* Closes all descriptors, and keeps the claims until the process ends: a mapping without access
 * keeps the open file description alive, so a sealed process needs no descriptor for it. -errno of
 * mmap(2). */
int claims_keep(struct claims *claims);
/* Closes all descriptors, and thereby ends all claims since claims_open(). */
void claims_close(struct claims *claims);

#endif
