/* SPDX-License-Identifier: MIT */
/* Facts of KVM, from one that is made up: what it answers is what stands in the facts. */
#include "host/facts.h"
#include "host/probe.h"
#include "tests/unit/rig/fake_kvm.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
	int error; /* /dev/kvm does not open, with this */
	int kvm, vm;
	int version;
	int tsc_khz; /* or -errno */
	bool no_vm, no_cpuid, no_capabilities;
	int opened;
} fake;

static int open_kvm(void)
{
	fake.opened++;
	errno = fake.error;
	return fake.error ? -1 : (fake.kvm = memfd_create("kvm", MFD_CLOEXEC));
}

static int failing(int error)
{
	errno = error;
	return -1;
}

static int take_cpuid(struct kvm_cpuid2 *table)
{
	if (fake.no_cpuid)
		return failing(E2BIG);
	cr_assert_eq(table->nent, FACTS_GUEST_LEAVES_MAX);
	table->nent = 2;
	table->entries[0] =
		(struct kvm_cpuid_entry2){ .function = 1, .eax = 2, .ebx = 3, .ecx = 4, .edx = 5 };
	table->entries[1] = (struct kvm_cpuid_entry2){ .function = 7,
		                                       .index = 1,
		                                       .eax = 6,
		                                       .ebx = 8,
		                                       .ecx = 9,
		                                       .edx = 10,
		                                       .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
	return 0;
}

/* A capability's value is 1000 and its number, so that each is told from each; one is refused. */
static int answer(int fd, unsigned long request, void *argument)
{
	const int number = (int)(uintptr_t)argument;

	switch (request) {
	case KVM_GET_API_VERSION:
		return fake.version;
	case KVM_CHECK_EXTENSION:
		cr_assert_not(fake.no_capabilities, "asked for %d", number);
		return number == KVM_CAP_IRQFD ? failing(EINVAL) : 1000 + number;
	case KVM_GET_SUPPORTED_CPUID:
		return take_cpuid(argument);
	case KVM_CREATE_VM:
		return fake.no_vm ? failing(ENOMEM) : (fake.vm = memfd_create("vm", MFD_CLOEXEC));
	case KVM_GET_TSC_KHZ:
		cr_assert_eq(fd, fake.vm, "of the VM, not of KVM");
		return fake.tsc_khz < 0 ? failing(-fake.tsc_khz) : fake.tsc_khz;
	default:
		cr_assert_fail("not asked of KVM for facts: %#lx", request);
	}
	return -1;
}

static bool answer_ioctl(int fd, unsigned long request, void *argument, int *ret_result)
{
	if (fd != fake.kvm && fd != fake.vm)
		return false;
	*ret_result = answer(fd, request, argument);
	return true;
}

static void new_fake(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.kvm = fake.vm = -1;
	fake.version = 12;
	fake.tsc_khz = 2700123;
	fake_kvm_open = open_kvm;
	fake_kvm_ioctl = answer_ioctl;
}

TestSuite(facts_kvm, .init = new_fake, .timeout = 60);

Test(facts_kvm, each_answer_has_its_place)
{
	static const struct {
		const char *name;
		int number;
	} some[] = {
		{ "IRQCHIP", KVM_CAP_IRQCHIP },
		{ "MAX_VCPUS", KVM_CAP_MAX_VCPUS },
		{ "NR_VCPUS", KVM_CAP_NR_VCPUS },
		{ "SPLIT_IRQCHIP", KVM_CAP_SPLIT_IRQCHIP },
		{ "SYNC_REGS", KVM_CAP_SYNC_REGS },
		{ "HALT_POLL", KVM_CAP_HALT_POLL },
		{ "X2APIC_API", KVM_CAP_X2APIC_API },
		{ "X86_DISABLE_EXITS", KVM_CAP_X86_DISABLE_EXITS },
	};
	_cleanup_free_ struct host_facts *facts = facts_new();
	const struct host_kvm *kvm = &facts->kvm;
	size_t found = 0;

	probe_kvm(facts, true);
	cr_expect(kvm->present && kvm->accessible);
	cr_expect_eq(kvm->error_number, 0);
	cr_expect_eq(kvm->api_version, 12);
	cr_expect_eq(kvm->max_vcpus, 1000 + KVM_CAP_MAX_VCPUS);
	for (size_t i = 0; i < kvm->capability_count; i++) {
		const char *name = kvm->capabilities[i].name;

		cr_expect_eq(kvm->capabilities[i].value < 1000, strcmp(name, "IRQFD") == 0, "%s",
		             name);
		cr_expect_geq(kvm->capabilities[i].value, 0, "%s is refused, so it is 0", name);
		for (size_t k = 0; k < ARRAY_SIZE(some); k++)
			if (strcmp(name, some[k].name) == 0) {
				cr_expect_eq(kvm->capabilities[i].value, 1000 + some[k].number,
				             "%s", name);
				found++;
			}
	}
	cr_expect_eq(found, ARRAY_SIZE(some));
	cr_assert_eq(kvm->guest_leaf_count, 2);
	cr_expect_eq(memcmp(&kvm->guest_leaves[0].leaf, &(struct cpuid_leaf){ 1, 0, 2, 3, 4, 5 },
	                    sizeof(struct cpuid_leaf)),
	             0);
	cr_expect_eq(memcmp(&kvm->guest_leaves[1].leaf, &(struct cpuid_leaf){ 7, 1, 6, 8, 9, 10 },
	                    sizeof(struct cpuid_leaf)),
	             0);
	cr_expect(!kvm->guest_leaves[0].indexed && kvm->guest_leaves[1].indexed);
	cr_expect_eq(kvm->tsc_khz, 0, "that takes a VM, and is asked for by its own name");
	cr_expect_lt(fcntl(fake.kvm, F_GETFD), 0, "closed again");
}

/* A launch asks for what it needs when it needs it (machine/kvm.c): of the facts only what a guest
 * is shown. */
Test(facts_kvm, a_quick_probe_asks_for_no_capability)
{
	_cleanup_free_ struct host_facts *facts = facts_new();

	fake.no_capabilities = true;
	probe_kvm(facts, false);
	cr_expect(facts->kvm.accessible && facts->kvm.api_version == 12);
	cr_expect(facts->kvm.capability_count == 0 && facts->kvm.max_vcpus == 0);
	cr_expect_eq(facts->kvm.guest_leaf_count, 2);
}

/* What does not open: absent, or there and denied; nothing else is asked. */
Test(facts_kvm, a_kvm_that_does_not_open)
{
	static const int errors[] = { ENOENT, EACCES, ENODEV, EPERM };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();

		fake.error = errors[i];
		probe_kvm(facts, true);
		facts_probe_tsc(facts);
		cr_expect_eq((size_t)fake.opened, 2 * (i + 1));
		cr_expect_eq(facts->kvm.present, errors[i] != ENOENT);
		cr_expect_not(facts->kvm.accessible);
		cr_expect_eq(facts->kvm.error_number, errors[i]);
		cr_expect(facts->kvm.api_version == 0 && facts->kvm.capability_count == 0 &&
		          facts->kvm.max_vcpus == 0);
		cr_expect(facts->kvm.guest_leaf_count == 0 && facts->kvm.tsc_khz == 0);
	}
}

/* No CPUID, no VM, no frequency: unknown, and the rest stands. */
Test(facts_kvm, what_kvm_refuses_stays_unknown)
{
	_cleanup_free_ struct host_facts *facts = facts_new();

	fake.no_cpuid = true;
	fake.version = 13;
	probe_kvm(facts, true);
	cr_expect(facts->kvm.accessible && facts->kvm.guest_leaf_count == 0 &&
	          facts->kvm.capability_count > 0);
	cr_expect_eq(facts->kvm.api_version, 13);
	facts_probe_tsc(facts);
	cr_expect_eq(facts->kvm.tsc_khz, 2700123);
	cr_expect_lt(fcntl(fake.vm, F_GETFD), 0, "closed again");
	fake.tsc_khz = -EIO;
	facts_probe_tsc(facts);
	cr_expect_eq(facts->kvm.tsc_khz, 0);
	facts->kvm.tsc_khz = 7;
	fake.no_vm = true;
	facts_probe_tsc(facts);
	cr_expect_eq(facts->kvm.tsc_khz, 0);
}
