/* SPDX-License-Identifier: MIT */
/* /dev/kvm: opening it, and the table of every capability the machine relies on
 * (Linux Documentation/virt/kvm/api.rst, section 8 and the "Capability:" line of each call). */
#include "machine/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/facts_kvm.h"

#define KVM_PATH "/dev/kvm"

/* clang-format off */
#define NEED(cap_, bits_, why_)                                                                    \
	{ .number = KVM_CAP_##cap_, .bits = (bits_), .name = #cap_, .why = (why_) }
/* clang-format on */

/* KVM_CHECK_EXTENSION must answer with at least these bits. */
static const struct capability {
	int number;
	int bits;
	const char *name;
	const char *why;
} capabilities[] = {
	NEED(USER_MEMORY, 1, "guest memory is memory of this process"),
	NEED(EXT_CPUID, 1, "KVM_GET_SUPPORTED_CPUID"),
	NEED(MP_STATE, 1, "flat images start every vCPU"),
	NEED(SPLIT_IRQCHIP, 1, "local APICs in the kernel, no legacy PIC"),
	NEED(X2APIC_API, 3, "32-bit APIC ids, no broadcast quirk"),
	NEED(SIGNAL_MSI, 1, "I/O APIC pins"),
	NEED(IRQ_ROUTING, 1, "MSI-X vectors as GSIs"),
	NEED(IRQFD, 1, "interrupts by eventfd"),
	NEED(IOEVENTFD, 1, "doorbells without an exit to user space"),
	NEED(IOEVENTFD_ANY_LENGTH, 1, "doorbells without decoding the instruction"),
	NEED(IMMEDIATE_EXIT, 1, "stopping a vCPU without losing a signal"),
	NEED(SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS, "registers without another call"),
	NEED(TSC_DEADLINE_TIMER, 1, "the guest's timer"),
	NEED(ADJUST_CLOCK, 1, "kvmclock"),
	NEED(KVMCLOCK_CTRL, 1, "kvmclock over a pause"),
};

/* The KVM module to load and the technique to switch on, for messages: by CPUID leaf 0, so that the
 * advice fits this processor. */
static struct kvm_kind kind_here(void)
{
	unsigned eax, ebx, ecx, edx;
	char vendor[13] = "";

	__cpuid(0, eax, ebx, ecx, edx);
	memcpy(vendor, &ebx, 4);
	memcpy(vendor + 4, &edx, 4);
	memcpy(vendor + 8, &ecx, 4);
	return kvm_kind_of(vendor);
}

int kvm_open(int *ret_fd, struct problems *problems)
{
	_cleanup_close_ int fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0) {
		int error = errno;
		struct kvm_kind kind = kind_here();

		if (error == EACCES || error == EPERM)
			return problems_add(
				problems, ERROR_CODE_KVM_DENIED, error, NULL,
				"no permission for " KVM_PATH ": run as root or as a "
				"member of the group that owns it (often kvm); in a "
				"container ask for the device (docker, podman: --device " KVM_PATH
				")");
		if (error == ENOENT)
			return problems_add(
				problems, ERROR_CODE_KVM_MISSING, error, NULL,
				"there is no " KVM_PATH ": load %s and switch %s on in the "
				"firmware; in a virtual machine ask for nested "
				"virtualization, in a container for the device (docker, "
				"podman: --device " KVM_PATH ")",
				kind.module, kind.technique);
		return problems_add(problems, ERROR_CODE_KVM_MISSING, error, NULL,
		                    "cannot open " KVM_PATH ": %s; load %s and switch %s on in the "
		                    "firmware",
		                    errno_text(error), kind.module, kind.technique);
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return problems_add(problems, ERROR_CODE_KVM_MISSING, version < 0 ? errno : ENODEV,
		                    NULL, KVM_PATH " is not KVM with API version %d",
		                    KVM_API_VERSION);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Writes the names of the missing capabilities into `text`; returns how many there are. */
static size_t list_missing(int kvm_fd, char *text, size_t size)
{
	size_t missing = 0;
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
		const struct capability *cap = &capabilities[i];
		int answer = ioctl(kvm_fd, KVM_CHECK_EXTENSION, cap->number);

		if (answer > 0 && (cap->bits == 1 || (answer & cap->bits) == cap->bits))
			continue;
		if (used < size)
			used += (size_t)snprintf(text + used, size - used, "%s%s (%s)",
			                         missing ? ", " : "", cap->name, cap->why);
		missing++;
	}
	return missing;
}

int kvm_check(int kvm_fd, uint32_t vcpus, struct problems *problems)
{
	char missing[PROBLEM_MESSAGE_MAX - 64];
	size_t before = problems->count;
	int most = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (list_missing(kvm_fd, missing, sizeof(missing)) > 0)
		problems_add(problems, ERROR_CODE_KVM_CAPABILITY_MISSING, ENOSYS, NULL,
		             "this host's KVM lacks %s: run a newer kernel", missing);
	if (most > 0 && vcpus > (uint32_t)most)
		problems_add(problems, ERROR_CODE_HOST_LIMIT, E2BIG, "cpus.count",
		             "%u vCPUs were asked for, this host's KVM allows %d: ask for fewer",
		             vcpus, most);
	return problems->count == before ? 0 : -ENOTSUP;
}
