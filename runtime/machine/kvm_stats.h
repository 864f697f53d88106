/* SPDX-License-Identifier: MIT */
/* KVM's own counters of a VM and of a vCPU, by name (Linux Documentation/virt/kvm/api.rst §4.133,
 * KVM_GET_STATS_FD): what EPT maps at 4 KiB, 2 MiB and 1 GiB, exits, halts, halt polling.
 *
 * The descriptors are opened and the list of counters is read before the seal. Afterwards a read is
 * one pread(2), without allocation. */
#ifndef AXVM_MACHINE_KVM_STATS_H
#define AXVM_MACHINE_KVM_STATS_H

#include "base/base.h"

#define KVM_STATS_MAX 64
#define KVM_STATS_NAME_MAX 40
/* Bytes of all values; KVM's histograms are among them and take most of it. */
#define KVM_STATS_DATA_MAX 8192

/* The counters of a descriptor: the same for every vCPU of a host. Histograms are left out. */
struct kvm_stats_layout {
	uint32_t count;
	uint32_t data_offset; /* in the file */
	uint32_t data_size;   /* bytes */
	struct kvm_stat {
		char name[KVM_STATS_NAME_MAX]; /* KVM's name: "pages_2m", "halt_exits" */
		uint32_t offset;               /* in the data */
	} stats[KVM_STATS_MAX];
};

/* The counters of the VM, and of a vCPU, which are the same for all. count 0: this KVM has none. */
struct kvm_stats {
	struct kvm_stats_layout vm, vcpu;
};

/* Open the counters of the VM at VM_STATS_FD, and those of vCPU i at VCPU_STATS_FD_BASE + i (for
 * the first VCPU_STATS_MAX vCPUs), and read their layout. Before the seal; the second on the vCPU's
 * own thread, all of them at once. -errno of the calls; -EBADMSG: the layout is not what KVM
 * documents. 0 also for a KVM without counters (before Linux 5.14). */
int kvm_stats_open_vm(struct kvm_stats *stats, int vm_fd);
int kvm_stats_open_vcpu(struct kvm_stats *stats, uint32_t index, int vcpu_fd);

/* Calls `put` with each counter's name and value: "kvm.pages_2m" of the VM, and
 * "kvm.vcpus.halt_exits" summed over its first VCPU_STATS_MAX vCPUs. One pread(2) a descriptor into
 * a buffer on the stack; counters that cannot be read are left out. Control thread: the policy
 * names the descriptors. */
void kvm_stats_each(const struct kvm_stats *stats, uint32_t vcpus,
                    void (*put)(void *context, const char *name, uint64_t value), void *context);

/* Reads the layout of `fd`, a descriptor of KVM_GET_STATS_FD. Histograms, and counters that do not
 * fit, are left out. -errno as above. */
int kvm_stats_learn(int fd, struct kvm_stats_layout *ret);

#endif
