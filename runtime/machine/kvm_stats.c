/* SPDX-License-Identifier: MIT */
/* KVM's own counters (Linux Documentation/virt/kvm/api.rst §4.133).
 *
 * The file is: a header, the owner's name, an array of descriptors (each a struct and a name), and
 * the values, each a run of 64-bit words. A descriptor says where its values begin and how many
 * there are. */
#include "machine/kvm_stats.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/uses.h"
#include "sandbox/fd_layout.h"

/* The largest name of a counter that KVM documents: bounds what is read. */
#define NAME_SIZE_MAX 256u

static int read_at(int fd, void *to, size_t length, uint64_t offset)
{
	ssize_t n = pread(fd, to, length, (off_t)offset);

	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -EBADMSG;
}

/* Whether a descriptor is a counter of one word whose name fits, and no histogram. */
static bool is_counter(const struct kvm_stats_desc *desc, const char *name, uint32_t name_size)
{
	uint32_t type = desc->flags & KVM_STATS_TYPE_MASK;

	return desc->size == 1 && desc->offset % sizeof(uint64_t) == 0 &&
	       strnlen(name, name_size) < KVM_STATS_NAME_MAX &&
	       (type == KVM_STATS_TYPE_CUMULATIVE || type == KVM_STATS_TYPE_INSTANT ||
	        type == KVM_STATS_TYPE_PEAK);
}

/* Adds a row from the bytes of one descriptor and its name. */
static void take_row(struct kvm_stats_layout *layout, const uint8_t *bytes, uint32_t name_size)
{
	struct kvm_stats_desc desc;
	char name[NAME_SIZE_MAX] = { 0 };
	uint64_t end;

	memcpy(&desc, bytes, sizeof(desc));
	memcpy(name, bytes + sizeof(desc), name_size);
	end = desc.offset + (uint64_t)desc.size * sizeof(uint64_t);
	if (!is_counter(&desc, name, name_size) || end > KVM_STATS_DATA_MAX ||
	    layout->count == KVM_STATS_MAX)
		return;
	strcpy(layout->stats[layout->count].name, name);
	layout->stats[layout->count++].offset = desc.offset;
	layout->data_size = MAX(layout->data_size, (uint32_t)end);
}

int kvm_stats_learn(int fd, struct kvm_stats_layout *ret)
{
	struct kvm_stats_layout layout = { 0 };
	struct kvm_stats_header header;
	/* one read for all rows: a call for each of some sixty would slow the launch */
	uint8_t batch[8 * KIB];
	uint32_t size, rows;
	int r = read_at(fd, &header, sizeof(header), 0);

	if (r < 0)
		return r;
	if (header.name_size == 0 || header.name_size > NAME_SIZE_MAX - 1)
		return -EBADMSG;
	layout.data_offset = header.data_offset;
	size = (uint32_t)sizeof(struct kvm_stats_desc) + header.name_size;
	rows = sizeof(batch) / size;
	for (uint32_t first = 0; first < header.num_desc; first += rows) {
		uint32_t n = MIN(rows, header.num_desc - first);

		r = read_at(fd, batch, (size_t)n * size,
		            header.desc_offset + (uint64_t)first * size);
		if (r < 0)
			return r;
		for (uint32_t i = 0; i < n; i++)
			take_row(&layout, batch + (size_t)i * size, header.name_size);
	}
	*ret = layout;
	return 0;
}

/* Puts the counters of `kvm_fd` at `number`. */
static int open_at(int kvm_fd, int number)
{
	_cleanup_close_ int fd = ioctl(kvm_fd, KVM_GET_STATS_FD, NULL);

	if (fd < 0)
		return -errno;
	return dup3(fd, number, O_CLOEXEC) < 0 ? -errno : 0;
}

static int none_is_fine(int r)
{
	return r == -ENOTTY || r == -EINVAL ? 0 : r;
}

int kvm_stats_open_vm(struct kvm_stats *stats, int vm_fd)
{
	int r = open_at(vm_fd, VM_STATS_FD);

	return r < 0 ? none_is_fine(r) : kvm_stats_learn(VM_STATS_FD, &stats->vm);
}

int kvm_stats_open_vcpu(struct kvm_stats *stats, uint32_t index, int vcpu_fd)
{
	int number = VCPU_STATS_FD_BASE + (int)index;
	int r;

	if (index >= VCPU_STATS_MAX)
		return 0;
	r = open_at(vcpu_fd, number);
	if (r < 0)
		return none_is_fine(r);
	/* All vCPUs have the same layout, and vCPU 0 always exists. */
	return index == 0 ? kvm_stats_learn(number, &stats->vcpu) : 0;
}

/* Adds the values of `fd` to values[], which is parallel to layout->stats[]. */
static void add_values(int fd, const struct kvm_stats_layout *layout, uint64_t *values)
{
	uint64_t data[KVM_STATS_DATA_MAX / sizeof(uint64_t)];
	ssize_t n;

	SANDBOX_USES(control, pread64, arg0 == VM_STATS_FD);
	SANDBOX_USES(control, pread64, arg0 in VCPU_STATS_FD_BASE..VCPU_STATS_FD_LAST);
	n = pread(fd, data, layout->data_size, (off_t)layout->data_offset);
	for (uint32_t i = 0; n == (ssize_t)layout->data_size && i < layout->count; i++)
		values[i] += data[layout->stats[i].offset / sizeof(uint64_t)];
}

static void put_values(const struct kvm_stats_layout *layout, const uint64_t *values,
                       const char *prefix,
                       void (*put)(void *context, const char *name, uint64_t value), void *context)
{
	for (uint32_t i = 0; i < layout->count; i++) {
		char name[KVM_STATS_NAME_MAX + 16];

		snprintf(name, sizeof(name), "%s%s", prefix, layout->stats[i].name);
		put(context, name, values[i]);
	}
}

void kvm_stats_each(const struct kvm_stats *stats, uint32_t vcpus,
                    void (*put)(void *context, const char *name, uint64_t value), void *context)
{
	uint64_t of_vm[KVM_STATS_MAX] = { 0 }, of_vcpus[KVM_STATS_MAX] = { 0 };

	if (stats->vm.count > 0)
		add_values(VM_STATS_FD, &stats->vm, of_vm);
	for (uint32_t i = 0; stats->vcpu.count > 0 && i < MIN(vcpus, (uint32_t)VCPU_STATS_MAX); i++)
		add_values(VCPU_STATS_FD_BASE + (int)i, &stats->vcpu, of_vcpus);
	put_values(&stats->vm, of_vm, "kvm.", put, context);
	put_values(&stats->vcpu, of_vcpus, "kvm.vcpus.", put, context);
}
