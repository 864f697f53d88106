/* SPDX-License-Identifier: MIT */
/* The table of requirements and their evaluation.
 *
 * Each requirement is one function that checks the facts and describes what it found; a verdict
 * always has all of them, so that an operator can mend a refused host in one visit. A feature
 * counts only where the processor has it (CPUID) and the kernel uses it (/proc/cpuinfo): microcode,
 * firmware and the command line can each take one away, and the text says which of the two is
 * missing. */
#include "host/admit.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KVM_STABLE_API 12

struct subject {
	const struct host_facts *facts;
	const struct host_cpu *cpu; /* the reference CPU */
	const struct profile *profile;
	enum axvm_tenancy tenancy;
};

static void say(char *out, const char *format, ...) _printf_(2, 3);
static void say(char *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(out, VERDICT_TEXT_MAX, format, args);
	va_end(args);
}

/* ------------------------------------------------------------------------------------ identity */

static bool check_x86_64(const struct subject *s, struct verdict_row *row)
{
	bool met = flags_have(s->facts->flags, "lm");

	say(row->asked, "a 64-bit x86 processor");
	say(row->found, met ? "x86-64" : "no long mode among the processor's flags");
	return met;
}

static bool check_vendor(const struct subject *s, struct verdict_row *row)
{
	say(row->asked, "%s", s->profile->identity.vendor);
	say(row->found, "%s", s->cpu->vendor);
	return strcmp(s->cpu->vendor, s->profile->identity.vendor) == 0;
}

static size_t list_numbers(char *out, size_t size, const uint32_t *numbers, size_t count)
{
	size_t used = 0;

	for (size_t i = 0; i < count && used < size; i++) {
		int n = snprintf(out + used, size - used, "%s0x%X", i ? ", " : "", numbers[i]);

		used += n > 0 ? (size_t)n : 0;
	}
	return used;
}

static bool is_one_of(uint32_t value, const uint32_t *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (numbers[i] == value)
			return true;
	return count == 0;
}

static bool check_generation(const struct subject *s, struct verdict_row *row)
{
	const struct profile_identity *identity = &s->profile->identity;
	char models[96] = "any", steppings[96] = "any";

	(void)list_numbers(models, sizeof(models), identity->models, identity->model_count);
	(void)list_numbers(steppings, sizeof(steppings), identity->steppings,
	                   identity->stepping_count);
	say(row->asked, "family %u, model %s, stepping %s", identity->family, models, steppings);
	say(row->found, "family %u, model 0x%X, stepping 0x%X", s->cpu->family, s->cpu->model,
	    s->cpu->stepping);
	return (!identity->has_family || s->cpu->family == identity->family) &&
	       is_one_of(s->cpu->model, identity->models, identity->model_count) &&
	       is_one_of(s->cpu->stepping, identity->steppings, identity->stepping_count);
}

static bool check_brand(const struct subject *s, struct verdict_row *row)
{
	say(row->asked, "brand string %s", s->profile->identity.brand);
	say(row->found, "%s", s->cpu->brand[0] ? s->cpu->brand : "no brand string");
	return fnmatch(s->profile->identity.brand, s->cpu->brand, 0) == 0;
}

/* ------------------------------------------------------------------------------------ features */

static const uint32_t *leaf_register(const struct cpuid_leaf *leaf, char name)
{
	switch (name) {
	case 'a':
		return &leaf->eax;
	case 'b':
		return &leaf->ebx;
	case 'c':
		return &leaf->ecx;
	default:
		return &leaf->edx;
	}
}

/* Compares CPUID and the kernel's flags for one feature. CPUs whose CPUID was not read do not
 * count; if none was read, only the kernel's flags count. */
static bool feature(const struct subject *s, struct verdict_row *row, uint32_t leaf_number,
                    char reg, uint8_t bit, const char *flag)
{
	bool in_flags = flags_have(s->facts->flags, flag);
	const char *found = in_flags ? "present" : "not among the kernel's flags";

	for (size_t i = 0; i < s->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &s->facts->cpus[i];
		const struct cpuid_leaf *leaf = host_cpu_leaf(cpu, leaf_number, 0);

		if (!cpu->online || cpu->leaf_count == 0)
			continue;
		if (!leaf || !(*leaf_register(leaf, reg) >> bit & 1)) {
			say(row->found, "CPUID of CPU %u does not have it", cpu->id);
			return false;
		}
		if (!in_flags)
			found = "the processor has it, the kernel does not use it: switched off by "
				"firmware, microcode or the kernel's command line";
	}
	say(row->found, "%s", found);
	return in_flags;
}

static bool check_vt_x(const struct subject *s, struct verdict_row *row)
{
	say(row->asked, "VT-x (CPUID.1:ECX[5], flag vmx)");
	return feature(s, row, 1, 'c', 5, "vmx");
}

static bool check_invariant_tsc(const struct subject *s, struct verdict_row *row)
{
	say(row->asked, "invariant TSC (CPUID.80000007H:EDX[8], flag nonstop_tsc)");
	return feature(s, row, 0x80000007, 'd', 8, "nonstop_tsc");
}

static bool check_x2apic(const struct subject *s, struct verdict_row *row)
{
	bool met;

	say(row->asked, "x2APIC (CPUID.1:ECX[21], flag x2apic)");
	met = feature(s, row, 1, 'c', 21, "x2apic");
	if (met && s->facts->x2apic_enabled)
		say(row->found, "present, %s",
		    s->facts->x2apic_enabled == 'y' ? "enabled on the host" : "host in xAPIC mode");
	return met;
}

static bool check_model_features(const struct subject *s, struct verdict_row *row)
{
	size_t used = 0;

	say(row->asked, "%zu features that every processor of this model has",
	    s->profile->model_features.count);
	say(row->found, "all present");
	for (size_t i = 0; i < s->profile->model_features.count; i++) {
		const char *name = s->profile->model_features.names[i];
		int n;

		if (flags_have(s->facts->flags, name) || used >= VERDICT_TEXT_MAX)
			continue;
		n = snprintf(row->found + used, VERDICT_TEXT_MAX - used, "%s%s",
		             used ? ", " : "hidden by microcode, firmware or the kernel: ", name);
		used += n > 0 ? (size_t)n : 0;
	}
	return used == 0;
}

/* --------------------------------------------------------------------------------- VMX and KVM */

static bool vmx_bit(const struct subject *s, struct verdict_row *row, bool has, const char *asked)
{
	const struct host_vmx *vmx = &s->facts->vmx;

	say(row->asked, "%s", asked);
	if (has)
		say(row->found, "present (%s)",
		    vmx->msr_mask ? "VMX capability MSRs" : "the kernel's vmx flags");
	else if (vmx->msr_mask)
		say(row->found, "the VMX capability MSRs do not have it");
	else
		say(row->found, "%s",
		    s->facts->vmx_flags[0] ? "not among the kernel's vmx flags"
		                           : "no VMX capabilities to be read");
	return has;
}

static bool check_ept(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.ept, "extended page tables");
}

static bool check_ept_ad(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.ept_ad, "EPT accessed and dirty bits");
}

static bool check_vpid(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.vpid, "VPID");
}

static bool check_tsc_scaling(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.tsc_scaling, "TSC scaling");
}

static bool check_apicv(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row,
	               s->facts->vmx.apic_register_virtualization &&
	                       s->facts->vmx.virtual_interrupt_delivery,
	               "APIC-register virtualization and virtual-interrupt delivery");
}

static bool check_posted_interrupts(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.posted_interrupts, "posted interrupts");
}

static bool check_unrestricted_guest(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.unrestricted_guest, "unrestricted guest");
}

static bool check_pause_loop_exiting(const struct subject *s, struct verdict_row *row)
{
	return vmx_bit(s, row, s->facts->vmx.pause_loop_exiting, "pause-loop exiting");
}

static bool check_pages_1g(const struct subject *s, struct verdict_row *row)
{
	if (!vmx_bit(s, row, s->facts->vmx.ept_1g, "1 GiB pages in EPT and in the processor"))
		return false;
	if (flags_have(s->facts->flags, "pdpe1gb"))
		return true;
	say(row->found, "EPT has them, the processor's own tables do not (flag pdpe1gb)");
	return false;
}

static bool check_kvm(const struct subject *s, struct verdict_row *row)
{
	const struct host_kvm *kvm = &s->facts->kvm;

	say(row->asked, "/dev/kvm that this process may open");
	if (kvm->accessible)
		say(row->found, "opens");
	else if (kvm->present)
		say(row->found, "is there but does not open: %s", errno_text(kvm->error_number));
	else
		say(row->found, "is not there");
	return kvm->accessible;
}

static bool check_kvm_api(const struct subject *s, struct verdict_row *row)
{
	say(row->asked, "KVM API version %d", KVM_STABLE_API);
	say(row->found, "%d", s->facts->kvm.api_version);
	return s->facts->kvm.api_version == KVM_STABLE_API;
}

static bool check_kvm_ept(const struct subject *s, struct verdict_row *row)
{
	const char *value = facts_kvm_parameter(s->facts, "kvm_intel.ept");

	say(row->asked, "kvm_intel loaded with ept=Y");
	if (value)
		say(row->found, "ept=%s", value);
	else if (strcmp(kvm_kind_of(s->cpu->vendor).module, "kvm_amd") == 0)
		say(row->found, "a processor of %s, whose module is kvm_amd", s->cpu->vendor);
	else
		say(row->found, "kvm_intel is not loaded");
	return value && (strcmp(value, "Y") == 0 || strcmp(value, "1") == 0);
}

static bool check_bare_metal(const struct subject *s, struct verdict_row *row)
{
	say(row->asked, "no hypervisor below this host");
	if (!s->facts->hypervisor)
		say(row->found, "none");
	else
		say(row->found, "nested virtualization: the hypervisor bit is set (%s)",
		    s->facts->hypervisor_vendor[0] ? s->facts->hypervisor_vendor : "unnamed");
	return !s->facts->hypervisor;
}

/* --------------------------------------------------------------------------------- mitigations */

static bool named(const struct profile_names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->names[i], name) == 0)
			return true;
	return false;
}

/* Appends to a list of names, with `head` before the first. */
static void add_name(char *out, size_t *used, bool *any, const char *head, const char *name)
{
	int n = *used < VERDICT_TEXT_MAX ? snprintf(out + *used, VERDICT_TEXT_MAX - *used, "%s%s%s",
	                                            *any    ? ", "
	                                            : *used ? "; "
	                                                    : "",
	                                            *any ? "" : head, name)
	                                 : 0;

	*used += n > 0 ? (size_t)n : 0;
	*any = true;
}

/* Three lists: vulnerabilities that refuse the host, those that do not, and those that the kernel
 * does not report although the profile names them. The last refuse too: a kernel or container that
 * hides the list proves nothing. */
static bool check_mitigations(const struct subject *s, struct verdict_row *row)
{
	static const char *const tenancies[] = {
		[TENANCY_SHARED] = "SHARED", [TENANCY_DEDICATED] = "DEDICATED"
	};
	const struct profile_names *asked = &s->profile->tenancies[s->tenancy].mitigated;
	bool refused = false, open = false, untold = false, any = false;
	size_t used = 0;
	char head[64];

	snprintf(head, sizeof(head), "tenancy %s, not vulnerable to ", tenancies[s->tenancy]);
	say(row->asked, "no mitigation in particular");
	for (size_t i = 0; i < asked->count; i++)
		add_name(row->asked, &used, &any, head, asked->names[i]);
	used = 0;
	say(row->found, "not vulnerable");
	for (int refusing = 1; refusing >= 0; refusing--)
		for (size_t i = 0; i < s->facts->vulnerability_count; i++) {
			const struct host_named *entry = &s->facts->vulnerabilities[i];

			if (facts_is_vulnerable(entry->value) &&
			    named(asked, entry->name) == (bool)refusing)
				add_name(row->found, &used, refusing ? &refused : &open,
				         refusing ? "vulnerable: "
				                  : "vulnerable, which is not refused: ",
				         entry->name);
		}
	for (size_t i = 0; i < asked->count; i++)
		if (!facts_vulnerability(s->facts, asked->names[i]))
			add_name(row->found, &used, &untold, "the kernel does not tell of ",
			         asked->names[i]);
	if (used == 0 && s->facts->vulnerability_count == 0)
		say(row->found, "the kernel tells of none");
	return !refused && !untold;
}

/* ---------------------------------------------------------------------------------- uniformity */

/* Bits that always differ from CPU to CPU: APIC ids, a core's own number and its node's, and its
 * row in the table of the hardware feedback interface (SDM 2A, CPUID leaf 6). */
static const struct {
	uint32_t leaf;
	uint32_t eax, ebx, ecx, edx;
} own_bits[] = {
	{ .leaf = 0x1, .ebx = 0xff000000 },
	{ .leaf = 0x6, .edx = 0xffff0000 },
	{ .leaf = 0xb, .edx = 0xffffffff },
	{ .leaf = 0x1f, .edx = 0xffffffff },
	{ .leaf = 0x8000001e, .eax = 0xffffffff, .ebx = 0xff, .ecx = 0xff },
	{ .leaf = 0x80000026, .edx = 0xffffffff },
};

static bool same_leaf(const struct cpuid_leaf *a, const struct cpuid_leaf *b)
{
	uint32_t eax = a->eax ^ b->eax, ebx = a->ebx ^ b->ebx;
	uint32_t ecx = a->ecx ^ b->ecx, edx = a->edx ^ b->edx;

	for (size_t i = 0; i < ARRAY_SIZE(own_bits); i++)
		if (own_bits[i].leaf == a->leaf) {
			eax &= ~own_bits[i].eax;
			ebx &= ~own_bits[i].ebx;
			ecx &= ~own_bits[i].ecx;
			edx &= ~own_bits[i].edx;
		}
	return (eax | ebx | ecx | edx) == 0;
}

static bool same_cpuid(const struct host_cpu *a, const struct host_cpu *b, struct verdict_row *row)
{
	if (a->leaf_count == 0 || b->leaf_count == 0)
		return true;
	for (size_t i = 0; i < a->leaf_count; i++) {
		const struct cpuid_leaf *mine = &a->leaves[i];
		const struct cpuid_leaf *other = host_cpu_leaf(b, mine->leaf, mine->subleaf);

		if (other && same_leaf(mine, other))
			continue;
		say(row->found, "CPU %u and CPU %u differ in CPUID leaf 0x%X, subleaf %u", a->id,
		    b->id, mine->leaf, mine->subleaf);
		return false;
	}
	return true;
}

static bool same_cpu(const struct host_cpu *a, const struct host_cpu *b, struct verdict_row *row)
{
	if (strcmp(a->vendor, b->vendor) != 0 || a->family != b->family || a->model != b->model ||
	    a->stepping != b->stepping)
		say(row->found, "CPU %u is %s %u/0x%X/%u, CPU %u is %s %u/0x%X/%u", a->id,
		    a->vendor, a->family, a->model, a->stepping, b->id, b->vendor, b->family,
		    b->model, b->stepping);
	else if (strcmp(a->brand, b->brand) != 0)
		say(row->found, "CPU %u is \"%s\", CPU %u is \"%s\"", a->id, a->brand, b->id,
		    b->brand);
	else if (a->microcode != b->microcode)
		say(row->found, "CPU %u has microcode 0x%x, CPU %u has 0x%x", a->id, a->microcode,
		    b->id, b->microcode);
	else if (a->flags_hash != b->flags_hash)
		say(row->found, "CPU %u and CPU %u have different flags", a->id, b->id);
	else
		return same_cpuid(a, b, row);
	return false;
}

static bool check_uniform_cpus(const struct subject *s, struct verdict_row *row)
{
	size_t online = 0, read = 0;

	say(row->asked, "all CPUs alike: model, microcode and features");
	for (size_t i = 0; i < s->facts->cpu_count; i++) {
		const struct host_cpu *cpu = &s->facts->cpus[i];

		if (!cpu->online)
			continue;
		online++;
		read += cpu->leaf_count > 0;
		if (!same_cpu(s->cpu, cpu, row))
			return false;
	}
	say(row->found, "%zu CPUs alike, CPUID compared on %zu", online, read);
	return true;
}

/* --------------------------------------------------------------------------------------- table */

static const struct requirement {
	const char *name;
	bool (*check)(const struct subject *subject, struct verdict_row *row);
} requirements[] = {
	{ "x86_64", check_x86_64 },
	{ "vendor", check_vendor },
	{ "generation", check_generation },
	{ "brand", check_brand },
	{ "vt_x", check_vt_x },
	{ "ept", check_ept },
	{ "invariant_tsc", check_invariant_tsc },
	{ "x2apic", check_x2apic },
	{ "model_features", check_model_features },
	{ "uniform_cpus", check_uniform_cpus },
	{ "bare_metal", check_bare_metal },
	{ "mitigations", check_mitigations },
	{ "kvm", check_kvm },
	{ "kvm_api_12", check_kvm_api },
	{ "kvm_ept", check_kvm_ept },
	{ "tsc_scaling", check_tsc_scaling },
	{ "apicv", check_apicv },
	{ "posted_interrupts", check_posted_interrupts },
	{ "pages_1g", check_pages_1g },
	{ "ept_ad", check_ept_ad },
	{ "unrestricted_guest", check_unrestricted_guest },
	{ "vpid", check_vpid },
	{ "pause_loop_exiting", check_pause_loop_exiting },
};
_Static_assert(ARRAY_SIZE(requirements) <= PROFILE_NAMES_MAX, "a verdict holds every row");

bool admit_knows(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(requirements); i++)
		if (strcmp(requirements[i].name, name) == 0)
			return true;
	return false;
}

const char *admit_requirement_name(size_t i)
{
	return i < ARRAY_SIZE(requirements) ? requirements[i].name : NULL;
}

/* The parts of an identity, and mitigations, are requirements only if the profile states them. */
static bool is_required(const struct profile *profile, enum axvm_tenancy tenancy, const char *name)
{
	const struct profile_identity *identity = &profile->identity;

	return named(&profile->required, name) ||
	       (strcmp(name, "vendor") == 0 && identity->vendor[0]) ||
	       (strcmp(name, "generation") == 0 &&
	        (identity->has_family || identity->model_count)) ||
	       (strcmp(name, "brand") == 0 && identity->brand[0]) ||
	       (strcmp(name, "mitigations") == 0 &&
	        profile->tenancies[tenancy].mitigated.count > 0);
}

int admit(const struct host_facts *facts, const struct profile *profile, enum axvm_tenancy tenancy,
          struct verdict *ret)
{
	const struct subject subject = { facts, facts_reference_cpu(facts), profile, tenancy };

	for (size_t i = 0; i < profile->required.count; i++)
		if (!admit_knows(profile->required.names[i]))
			return -EINVAL;
	ret->development = profile->development;
	ret->count = ret->unmet = ret->optional_count = 0;
	snprintf(ret->profile, sizeof(ret->profile), "%s", profile->name);
	for (size_t i = 0; i < ARRAY_SIZE(requirements); i++) {
		const struct requirement *requirement = &requirements[i];
		bool required = is_required(profile, tenancy, requirement->name);
		struct verdict_row *row;

		if (required)
			row = &ret->rows[ret->count++];
		else if (named(&profile->used_when_present, requirement->name))
			row = &ret->optional[ret->optional_count++];
		else
			continue;
		*row = (struct verdict_row){ .name = requirement->name };
		row->met = requirement->check(&subject, row);
		ret->unmet += required && !row->met;
	}
	return 0;
}

size_t verdict_waive(struct verdict *verdict)
{
	for (size_t i = 0; i < verdict->count; i++)
		verdict->rows[i].waived = !verdict->rows[i].met;
	return verdict->unmet;
}

/* Whether the host meets the profile for every tenancy. */
static bool takes(const struct profile *profile, const struct host_facts *facts)
{
	struct verdict verdict;

	for (int tenancy = TENANCY_SHARED; tenancy < PROFILE_TENANCIES; tenancy++)
		if (admit(facts, profile, (enum axvm_tenancy)tenancy, &verdict) < 0 ||
		    verdict.unmet > 0)
			return false;
	return true;
}

const char *admit_alternative(const struct host_facts *facts, const char *profile)
{
	struct profile other;
	char text[FACTS_OFFER_TEXT_MAX];

	if (facts_lacking(facts, 0, text, sizeof(text)))
		return NULL;
	for (size_t i = 0; profile_name(i); i++)
		if (strcmp(profile_name(i), profile) != 0 &&
		    profile_load(profile_name(i), &other) == 0 && other.development &&
		    takes(&other, facts))
			return profile_name(i);
	return NULL;
}
