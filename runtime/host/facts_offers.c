/* SPDX-License-Identifier: MIT */
/* Describes what this host lacks beside processor features: KVM, and what the kernel, its settings
 * or the process's starter deny. The words for denials are in base/denied.c. */
#include "base/denied.h"
#include "host/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void facts_add_offer(struct host_facts *facts, const char *name, bool required, int error_number,
                     const char *message)
{
	struct host_offer *offer = &facts->offers[facts->offer_count];

	if (facts->offer_count == FACTS_OFFERS_MAX)
		return;
	*offer = (struct host_offer){ .available = !message,
		                      .required = required,
		                      .error_number = error_number };
	snprintf(offer->name, sizeof(offer->name), "%s", name);
	snprintf(offer->message, sizeof(offer->message), "%s", message ? message : "");
	facts->offer_count++;
}

static void add_answer(struct host_facts *facts, const char *name, bool required, enum denied what,
                       int error, const char *sentence)
{
	char why[DENIED_TEXT_MAX], message[FACTS_OFFER_TEXT_MAX];

	if (error != 0)
		snprintf(message, sizeof(message), "%s: %s", sentence,
		         denied_here(what, error, why));
	facts_add_offer(facts, name, required, error, error ? message : NULL);
}

void probe_offers(struct host_facts *facts)
{
	add_answer(facts, "io_uring", true, DENIED_IO_URING, denied_ask_io_uring(),
	           "cannot create an I/O ring (io_uring)");
	add_answer(facts, "memory_policy", false, DENIED_MEMORY_POLICY, denied_ask_memory_policy(),
	           "cannot bind memory to a host node (mbind)");
}

struct kvm_kind kvm_kind_of(const char *vendor)
{
	static const struct {
		const char *vendor;
		struct kvm_kind kind;
	} known[] = {
		{ "GenuineIntel", { "VT-x", "kvm_intel" } },
		{ "AuthenticAMD", { "AMD-V", "kvm_amd" } },
		{ "HygonGenuine", { "AMD-V", "kvm_amd" } },
		{ "CentaurHauls", { "VT-x", "kvm_intel" } },
		{ "  Shanghai  ", { "VT-x", "kvm_intel" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i].vendor, vendor) == 0)
			return known[i].kind;
	return (struct kvm_kind){ "VT-x or AMD-V", "kvm_intel or kvm_amd" };
}

static const char *lacking_kvm(const struct host_facts *facts, char *out, size_t size)
{
	const struct host_kvm *kvm = &facts->kvm;
	struct kvm_kind kind = kvm_kind_of(facts->cpu_count > 0 ? facts->cpus[0].vendor : "");
	bool has_it = flags_have(facts->flags, "vmx") || flags_have(facts->flags, "svm");

	if (kvm->accessible)
		return NULL;
	if (kvm->present && (kvm->error_number == EACCES || kvm->error_number == EPERM))
		snprintf(
			out, size,
			"no permission for /dev/kvm: run as root or as a member of the group that owns it "
			"(often kvm); in a container hand the device in (docker, podman: --device /dev/kvm)");
	else if (kvm->present)
		snprintf(out, size, "/dev/kvm does not open: %s; load %s (modprobe)",
		         errno_text(kvm->error_number), kind.module);
	else if (has_it)
		snprintf(
			out, size,
			"there is no /dev/kvm, although the processor has %s: load %s (modprobe); in a "
			"container hand the device in (docker, podman: --device /dev/kvm)",
			kind.technique, kind.module);
	else
		snprintf(out, size,
		         "there is no /dev/kvm, and the processor does not show %s: switch it on "
		         "in the firmware, or in a virtual machine ask for nested virtualization",
		         kind.technique);
	return out;
}

const char *facts_lacking(const struct host_facts *facts, size_t i, char *out, size_t size)
{
	const char *kvm = lacking_kvm(facts, out, size);

	if (kvm && i == 0)
		return kvm;
	i -= kvm ? 1 : 0;
	for (size_t k = 0; k < facts->offer_count; k++)
		if (!facts->offers[k].available && facts->offers[k].required && i-- == 0)
			return facts->offers[k].message;
	return NULL;
}
