/* SPDX-License-Identifier: MIT */
/* What is lacking here, beside a processor: KVM, and what the kernel, its settings and whoever started the process
 * let it have. The words for the latter are base/denied.c's. */
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
	*offer = (struct host_offer){
		.available = !message, .required = required, .error_number = error_number };
	snprintf(offer->name, sizeof(offer->name), "%s", name);
	snprintf(offer->message, sizeof(offer->message), "%s", message ? message : "");
	facts->offer_count++;
}

static void add_answer(struct host_facts *facts, const char *name, bool required, enum denied what, int error,
                       const char *sentence)
{
	char why[DENIED_TEXT_MAX], message[320];

	if (error != 0)
		snprintf(message, sizeof(message), "%s: %s", sentence, denied_here(what, error, why));
	facts_add_offer(facts, name, required, error, error ? message : NULL);
}

void probe_offers(struct host_facts *facts)
{
	add_answer(facts, "io_uring", true, DENIED_IO_URING, denied_ask_io_uring(),
	           "cannot create an I/O ring (io_uring)");
	add_answer(facts, "memory_policy", false, DENIED_MEMORY_POLICY, denied_ask_memory_policy(),
	           "cannot bind memory to a host node (mbind)");
}

static const char *lacking_kvm(const struct host_facts *facts, char *out, size_t size)
{
	const struct host_kvm *kvm = &facts->kvm;
	bool vmx = flags_have(facts->flags, "vmx"), svm = flags_have(facts->flags, "svm");

	if (kvm->accessible)
		return NULL;
	if (kvm->present && (kvm->error_number == EACCES || kvm->error_number == EPERM))
		snprintf(out, size, "no permission for /dev/kvm: run as root or as a member of the group that owns it "
		         "(often kvm); in a container hand the device in (docker, podman: --device /dev/kvm)");
	else if (kvm->present)
		snprintf(out, size, "/dev/kvm does not open: %s; load kvm_intel or kvm_amd", strerror(kvm->error_number));
	else if (vmx || svm)
		snprintf(out, size, "there is no /dev/kvm, although the processor has %s: load %s (modprobe); in a "
		         "container hand the device in (docker, podman: --device /dev/kvm)",
		         vmx ? "VT-x" : "AMD-V", vmx ? "kvm_intel" : "kvm_amd");
	else
		snprintf(out, size, "there is no /dev/kvm, and the processor shows neither VT-x nor AMD-V: switch it on "
		         "in the firmware, or in a virtual machine ask for nested virtualization");
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
