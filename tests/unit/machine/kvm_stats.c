/* SPDX-License-Identifier: MIT */
/* KVM's own counters: this host's real ones, and files that are not what KVM documents. */
#include "machine/kvm_stats.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "sandbox/fd_layout.h"
#include "tests/unit/rig/fake_kvm.h"

#define NAME_SIZE 48

/* struct kvm_stats_desc with its name. */
struct row {
	uint32_t flags;
	int16_t exponent;
	uint16_t size;
	uint32_t offset, bucket_size;
	char name[NAME_SIZE];
};
static_assert(offsetof(struct row, name) == offsetof(struct kvm_stats_desc, name),
              "as in KVM's file");

/* A file of KVM's form with these rows; values are 100, 101, … */
static int fake(const struct row *rows, uint32_t count, uint32_t name_size)
{
	struct kvm_stats_header header = {
		.name_size = name_size,
		.num_desc = count,
		.id_offset = sizeof(header),
		.desc_offset = sizeof(header) + NAME_SIZE,
		.data_offset = sizeof(header) + NAME_SIZE + count * sizeof(struct row),
	};
	int fd = memfd_create("stats", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	cr_assert_eq(pwrite(fd, rows, count * sizeof(*rows), header.desc_offset),
	             (ssize_t)(count * sizeof(*rows)));
	for (uint64_t i = 0; i < 16; i++)
		cr_assert_eq(pwrite(fd, &(uint64_t){ 100 + i }, 8,
		                    (off_t)(header.data_offset + 8 * i)),
		             8);
	return fd;
}

static struct row row(const char *name, uint32_t type, uint16_t size, uint32_t offset)
{
	struct row made = { .flags = type, .size = size, .offset = offset };

	strncpy(made.name, name, sizeof(made.name));
	return made;
}

struct found {
	char text[4096];
};

static void note(void *context, const char *name, uint64_t value)
{
	struct found *found = context;
	size_t used = strlen(found->text);

	snprintf(found->text + used, sizeof(found->text) - used, "%s=%llu ", name,
	         (unsigned long long)value);
}

Test(kvm_stats, counters_by_name_without_histograms)
{
	const struct row rows[] = {
		row("pages_2m", KVM_STATS_TYPE_INSTANT, 1, 8),
		row("halt_poll_hist", KVM_STATS_TYPE_LOG_HIST, 4, 16),
		row("exits", KVM_STATS_TYPE_CUMULATIVE, 1, 48),
		row("largest", KVM_STATS_TYPE_PEAK, 1, 0),
	};
	struct kvm_stats stats = { 0 };
	struct found found = { 0 };
	int fd = fake(rows, ARRAY_SIZE(rows), NAME_SIZE);

	cr_assert_eq(kvm_stats_learn(fd, &stats.vcpu), 0);
	cr_assert_eq(stats.vcpu.count, 3);
	cr_assert_eq(stats.vcpu.data_size, 56);
	/* Two vCPUs are summed; a third whose descriptor is not there adds nothing. */
	cr_assert_eq(dup2(fd, VCPU_STATS_FD_BASE), VCPU_STATS_FD_BASE);
	cr_assert_eq(dup2(fd, VCPU_STATS_FD_BASE + 1), VCPU_STATS_FD_BASE + 1);
	kvm_stats_each(&stats, 3, note, &found);
	cr_assert_str_eq(found.text, "kvm.vcpus.pages_2m=202 kvm.vcpus.exits=212 "
	                             "kvm.vcpus.largest=200 ");
}

Test(kvm_stats, what_is_not_kvms_is_refused_or_left_out)
{
	const struct row rows[] = {
		row("beyond", KVM_STATS_TYPE_CUMULATIVE, 1, KVM_STATS_DATA_MAX),
		row("unaligned", KVM_STATS_TYPE_CUMULATIVE, 1, 4),
		row("a_name_that_is_longer_than_any_of_kvms_names", KVM_STATS_TYPE_CUMULATIVE, 1,
		    0),
		row("wide", KVM_STATS_TYPE_CUMULATIVE, 2, 0),
		row("kept", KVM_STATS_TYPE_CUMULATIVE, 1, 0),
	};
	struct kvm_stats_layout layout = { .count = 77 };
	int fd = fake(rows, ARRAY_SIZE(rows), NAME_SIZE);

	cr_assert_eq(kvm_stats_learn(fd, &layout), 0);
	cr_assert_eq(layout.count, 1);
	cr_assert_str_eq(layout.stats[0].name, "kept");
	layout.count = 77;
	cr_assert_eq(kvm_stats_learn(fake(rows, 1, 0), &layout), -EBADMSG);
	cr_assert_eq(kvm_stats_learn(fake(rows, 1, 4096), &layout), -EBADMSG);
	/* 256 bytes would leave no room for the end of the name; with none at all there is no row
	 * to read. */
	cr_assert_eq(kvm_stats_learn(fake(rows, 0, 256), &layout), -EBADMSG);
	cr_assert_eq(layout.count, 77);
	cr_assert_eq(kvm_stats_learn(fake(rows, 0, 255), &layout), 0);
	cr_assert_eq(layout.count, 0);
	layout.count = 77;
	cr_assert_eq(ftruncate(fd, 40), 0);
	cr_assert_eq(kvm_stats_learn(fd, &layout), -EBADMSG);
	cr_assert_eq(layout.count, 77);
}

Test(kvm_stats, this_hosts_kvm_has_counters_that_can_be_read)
{
	struct kvm_stats stats = { 0 };
	struct found found = { 0 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu;

	if (kvm < 0)
		cr_skip_test("no /dev/kvm here");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		cr_skip_test("KVM creates no vCPU here");
	cr_assert_eq(kvm_stats_open_vm(&stats, vm), 0);
	cr_assert_eq(kvm_stats_open_vcpu(&stats, 0, vcpu), 0);
	if (stats.vm.count == 0)
		cr_skip_test("this KVM has no binary counters");
	cr_assert_eq(fcntl(VM_STATS_FD, F_GETFD), FD_CLOEXEC);
	kvm_stats_each(&stats, 1, note, &found);
	cr_assert_not_null(strstr(found.text, "kvm.pages_4k=0 "), "%s", found.text);
	cr_assert_not_null(strstr(found.text, "kvm.pages_2m=0 "), "%s", found.text);
	cr_assert_not_null(strstr(found.text, "kvm.pages_1g=0 "), "%s", found.text);
	cr_assert_not_null(strstr(found.text, "kvm.vcpus.exits=0 "), "%s", found.text);
	cr_assert_not_null(strstr(found.text, "kvm.vcpus.halt_exits=0 "), "%s", found.text);
}

static struct {
	int error, fd;
} answers;

static bool answer(int fd, unsigned long request, void *argument, int *ret_result)
{
	(void)argument;
	if (fd != 12345 || request != KVM_GET_STATS_FD)
		return false;
	errno = answers.error;
	*ret_result = answers.error ? -1 : answers.fd;
	return true;
}

/* A KVM without counters is none the worse; another refusal is told. */
Test(kvm_stats, a_kvm_that_gives_no_counters)
{
	static const struct {
		int error, r;
	} rows[] = { { ENOTTY, 0 },
		     { EINVAL, 0 },
		     { EMFILE, -EMFILE },
		     { EPERM, -EPERM },
		     { ENOMEM, -ENOMEM } };

	fake_kvm_ioctl = answer;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kvm_stats stats = { 0 };

		answers.error = rows[i].error;
		cr_expect_eq(kvm_stats_open_vm(&stats, 12345), rows[i].r, "row %zu", i);
		for (uint32_t vcpu = 0; vcpu < 2; vcpu++)
			cr_expect_eq(kvm_stats_open_vcpu(&stats, vcpu, 12345), rows[i].r, "row %zu",
			             i);
		cr_expect(stats.vm.count == 0 && stats.vcpu.count == 0);
	}
}
