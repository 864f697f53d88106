/* SPDX-License-Identifier: MIT */
/* Reads what the host's KVM offers: API version, extensions by name, a guest's CPUID and TSC
 * frequency. */
#include "host/probe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>

/* Capabilities that the runtime uses or an operator may want to see; those that older headers lack
 * are left out. */
static const struct {
	const char *name;
	int number;
} capabilities[] = {
/* clang-format off */
#define CAP(name_) { #name_, KVM_CAP_##name_ }
	/* clang-format on */
	CAP(IRQCHIP),
	CAP(USER_MEMORY),
	CAP(SET_TSS_ADDR),
	CAP(EXT_CPUID),
	CAP(NR_VCPUS),
	CAP(NR_MEMSLOTS),
	CAP(MP_STATE),
	CAP(IRQ_ROUTING),
	CAP(MCE),
	CAP(IRQFD),
	CAP(IOEVENTFD),
	CAP(SET_IDENTITY_MAP_ADDR),
	CAP(ADJUST_CLOCK),
	CAP(VCPU_EVENTS),
	CAP(DEBUGREGS),
	CAP(XSAVE),
	CAP(XCRS),
	CAP(TSC_CONTROL),
	CAP(GET_TSC_KHZ),
	CAP(MAX_VCPUS),
	CAP(TSC_DEADLINE_TIMER),
	CAP(SIGNAL_MSI),
	CAP(READONLY_MEM),
	CAP(IRQFD_RESAMPLE),
	CAP(IOEVENTFD_NO_LENGTH),
	CAP(CHECK_EXTENSION_VM),
	CAP(SPLIT_IRQCHIP),
	CAP(MAX_VCPU_ID),
	CAP(X2APIC_API),
	CAP(IMMEDIATE_EXIT),
	CAP(X86_DISABLE_EXITS),
	CAP(SYNC_REGS),
	CAP(NESTED_STATE),
	CAP(MSR_PLATFORM_INFO),
	CAP(EXCEPTION_PAYLOAD),
	CAP(HALT_POLL),
	CAP(X86_USER_SPACE_MSR),
	CAP(X86_MSR_FILTER),
	CAP(DIRTY_LOG_RING),
	CAP(BINARY_STATS_FD),
	CAP(XSAVE2),
	CAP(SYS_ATTRIBUTES),
	CAP(VM_TSC_CONTROL),
	CAP(X86_NOTIFY_VMEXIT),
	CAP(VM_DISABLE_NX_HUGE_PAGES),
#undef CAP
};
static_assert(ARRAY_SIZE(capabilities) <= FACTS_CAPABILITIES_MAX, "each has a place in the facts");

static void probe_guest_leaves(struct host_kvm *kvm, int fd)
{
	struct {
		uint32_t nent, padding;
		struct kvm_cpuid_entry2 entries[FACTS_GUEST_LEAVES_MAX];
	} table = { .nent = FACTS_GUEST_LEAVES_MAX };

	static_assert(offsetof(__typeof__(table), entries) == offsetof(struct kvm_cpuid2, entries),
	              "KVM fills it as a struct kvm_cpuid2");
	if (ioctl(fd, KVM_GET_SUPPORTED_CPUID, &table) < 0)
		return;
	for (uint32_t i = 0; i < table.nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &table.entries[i];

		kvm->guest_leaves[i] = (struct host_guest_leaf){
			.leaf = { entry->function, entry->index, entry->eax, entry->ebx, entry->ecx,
			          entry->edx },
			.indexed = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
	}
	kvm->guest_leaf_count = table.nent;
}

void facts_probe_tsc(struct host_facts *facts)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int vm = fd < 0 ? -1 : ioctl(fd, KVM_CREATE_VM, 0);
	int khz = vm < 0 ? 0 : ioctl(vm, KVM_GET_TSC_KHZ, 0);

	facts->kvm.tsc_khz = (uint32_t)MAX(khz, 0);
}

static void probe_capabilities(struct host_kvm *kvm, int fd)
{
	int vcpus = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
		int value = ioctl(fd, KVM_CHECK_EXTENSION, capabilities[i].number);

		snprintf(kvm->capabilities[i].name, sizeof(kvm->capabilities[i].name), "%s",
		         capabilities[i].name);
		kvm->capabilities[i].value = MAX(value, 0);
	}
	kvm->capability_count = ARRAY_SIZE(capabilities);
	kvm->max_vcpus = vcpus > 0 ? (uint32_t)vcpus : 0;
}

void probe_kvm(struct host_facts *facts, bool all)
{
	struct host_kvm *kvm = &facts->kvm;
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	kvm->present = fd >= 0 || errno != ENOENT;
	kvm->error_number = fd >= 0 ? 0 : errno;
	if (fd < 0)
		return;
	kvm->accessible = true;
	kvm->api_version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (all)
		probe_capabilities(kvm, fd);
	probe_guest_leaves(kvm, fd);
}
