/* SPDX-License-Identifier: MIT */
/* Profiles: each field arrives in its place, and what does not fit or is not known is refused. */
#include "host/profile.h"
#include "proto/profile.pb-c.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/admit.h"

/* What protobuf-c wants: strings and lists that may be written to. */
#define TEXT(text) ((char[]){ text })

static int unpack(const Axvm__V1__Profile *message, struct profile *ret)
{
	static uint8_t bytes[16384];
	size_t size = axvm__v1__profile__get_packed_size(message);

	cr_assert_leq(size, sizeof(bytes));
	(void)axvm__v1__profile__pack(message, bytes);
	return profile_unpack(bytes, size, ret);
}

/* Each of a tenancy's four switches alone: none of them is another's. */
Test(profile, each_switch_of_a_tenancy_is_its_own)
{
	for (unsigned bit = 0; bit < 4; bit++)
		for (int tenancy = TENANCY_SHARED; tenancy < PROFILE_TENANCIES; tenancy++) {
			Axvm__V1__TenancyTuning tuning = AXVM__V1__TENANCY_TUNING__INIT,
						*list[] = { &tuning };
			Axvm__V1__Profile message = AXVM__V1__PROFILE__INIT;
			const struct profile_tenancy_tuning *got;
			struct profile profile;

			message.tenancies = list;
			message.n_tenancies = 1;
			tuning.has_tenancy = true;
			tuning.tenancy = (Axvm__V1__Tenancy)tenancy;
			tuning.has_disable_hlt_exits = tuning.disable_hlt_exits = bit == 0;
			tuning.has_disable_pause_exits = tuning.disable_pause_exits = bit == 1;
			tuning.has_disable_cstate_exits = tuning.disable_cstate_exits = bit == 2;
			tuning.has_realtime_hint = tuning.realtime_hint = bit == 3;
			cr_assert_eq(unpack(&message, &profile), 0);
			got = &profile.tenancies[tenancy];
			cr_assert(got->offered &&
			          !profile.tenancies[TENANCY_SHARED + TENANCY_DEDICATED - tenancy]
			                   .offered);
			cr_assert_eq(got->disable_hlt_exits, bit == 0);
			cr_assert_eq(got->disable_pause_exits, bit == 1);
			cr_assert_eq(got->disable_cstate_exits, bit == 2);
			cr_assert_eq(got->realtime_hint, bit == 3);
			cr_assert_not(got->has_halt_poll_ns);
			cr_assert_eq(got->paravirt, 0);
		}
}

Test(profile, polling_and_paravirtual_features_of_a_tenancy)
{
	Axvm__V1__TenancyTuning tuning = AXVM__V1__TENANCY_TUNING__INIT, *list[] = { &tuning };
	Axvm__V1__PvFeature features[] = { (Axvm__V1__PvFeature)0, (Axvm__V1__PvFeature)5 };
	Axvm__V1__Profile message = AXVM__V1__PROFILE__INIT;
	struct profile profile;

	message.tenancies = list;
	message.n_tenancies = 1;
	tuning.has_tenancy = tuning.has_halt_poll_ns = true;
	tuning.tenancy = AXVM__V1__TENANCY__TENANCY_SHARED;
	tuning.halt_poll_ns = 50000;
	tuning.paravirt = features;
	tuning.n_paravirt = 2;
	cr_assert_eq(unpack(&message, &profile), 0);
	cr_assert(profile.tenancies[TENANCY_SHARED].has_halt_poll_ns);
	cr_assert_eq(profile.tenancies[TENANCY_SHARED].halt_poll_ns, 50000);
	cr_assert_eq(profile.tenancies[TENANCY_SHARED].paravirt, 0x21);
	/* 0 is a value of its own: no polling, where absent leaves it to KVM. */
	tuning.halt_poll_ns = 0;
	cr_assert_eq(unpack(&message, &profile), 0);
	cr_assert(profile.tenancies[TENANCY_SHARED].has_halt_poll_ns);
	cr_assert_eq(profile.tenancies[TENANCY_SHARED].halt_poll_ns, 0);
}

Test(profile, identity_and_names_arrive)
{
	uint32_t models[] = { 0x3e, 0x2d }, steppings[] = { 4, 7, 9 };
	char *required[] = { TEXT("ept"), TEXT("kvm") }, *used[] = { TEXT("vpid") },
	     *features[] = { TEXT("avx") };
	Axvm__V1__CpuIdentity identity = AXVM__V1__CPU_IDENTITY__INIT;
	Axvm__V1__Profile message = AXVM__V1__PROFILE__INIT;
	const struct profile_identity *got;
	struct profile profile;

	message.name = TEXT("made_up");
	message.description = TEXT("for a test");
	message.has_development = message.development = true;
	identity.vendor = TEXT("GenuineIntel");
	identity.brand = TEXT("*Xeon*");
	identity.has_family = true;
	identity.family = 6;
	identity.models = models;
	identity.n_models = 2;
	identity.steppings = steppings;
	identity.n_steppings = 3;
	message.identity = &identity;
	message.required = required;
	message.n_required = 2;
	message.used_when_present = used;
	message.n_used_when_present = 1;
	message.model_features = features;
	message.n_model_features = 1;
	cr_assert_eq(unpack(&message, &profile), 0);
	cr_assert_str_eq(profile.name, "made_up");
	cr_assert_str_eq(profile.description, "for a test");
	cr_assert(profile.development);
	got = &profile.identity;
	cr_assert_str_eq(got->vendor, "GenuineIntel");
	cr_assert_str_eq(got->brand, "*Xeon*");
	cr_assert(got->has_family && got->family == 6 && got->model_count == 2 &&
	          got->stepping_count == 3);
	cr_assert_arr_eq(got->models, models, sizeof(models));
	cr_assert_arr_eq(got->steppings, steppings, sizeof(steppings));
	cr_assert(profile.required.count == 2 && profile.used_when_present.count == 1);
	cr_assert_str_eq(profile.required.names[1], "kvm");
	cr_assert_str_eq(profile.used_when_present.names[0], "vpid");
	cr_assert_str_eq(profile.model_features.names[0], "avx");
}

Test(profile, what_a_guest_sees_arrives)
{
	static const struct profile_cpuid_mask wanted_mask = { 7, 1, 2, 3, 4, 5, 6 };
	static const struct cpuid_leaf wanted_leaf = { 11, 12, 13, 14, 15, 16 };
	Axvm__V1__CpuidMask mask = AXVM__V1__CPUID_MASK__INIT, open_mask = mask,
			    *masks[] = { &mask, &open_mask };
	Axvm__V1__CpuidValue fixed = AXVM__V1__CPUID_VALUE__INIT, *values[] = { &fixed };
	Axvm__V1__Profile message = AXVM__V1__PROFILE__INIT;
	struct profile profile;

	mask.has_leaf = mask.has_subleaf = mask.has_set_ebx = true;
	mask.has_eax = mask.has_ebx = mask.has_ecx = mask.has_edx = true;
	mask.leaf = 7;
	mask.subleaf = 1;
	mask.eax = 2;
	mask.ebx = 3;
	mask.ecx = 4;
	mask.edx = 5;
	mask.set_ebx = 6;
	message.guest_cpuid = masks;
	message.n_guest_cpuid = 2;
	fixed.has_leaf = fixed.has_subleaf = fixed.has_eax = fixed.has_ebx = fixed.has_ecx =
		fixed.has_edx = true;
	fixed.leaf = 11;
	fixed.subleaf = 12;
	fixed.eax = 13;
	fixed.ebx = 14;
	fixed.ecx = 15;
	fixed.edx = 16;
	message.guest_fixed = values;
	message.n_guest_fixed = 1;
	message.has_max_leaf = message.has_max_extended_leaf = true;
	message.max_leaf = 0xd;
	message.max_extended_leaf = 0x80000008;
	message.guest_brand = TEXT("A Guest");
	cr_assert_eq(unpack(&message, &profile), 0);
	cr_assert(profile.mask_count == 2 && profile.fixed_count == 1);
	cr_assert_eq(memcmp(&profile.masks[0], &wanted_mask, sizeof(wanted_mask)), 0);
	/* What a mask does not name passes. */
	cr_assert(profile.masks[1].eax == UINT32_MAX && profile.masks[1].ebx == UINT32_MAX &&
	          profile.masks[1].ecx == UINT32_MAX && profile.masks[1].edx == UINT32_MAX &&
	          profile.masks[1].set_ebx == 0);
	cr_assert_eq(memcmp(&profile.fixed[0], &wanted_leaf, sizeof(wanted_leaf)), 0);
	cr_assert(profile.max_leaf == 0xd && profile.max_extended_leaf == 0x80000008);
	cr_assert_str_eq(profile.guest_brand, "A Guest");
}

static void refused(const Axvm__V1__Profile *message, const char *what)
{
	struct profile profile = { .max_leaf = 0x77 };

	cr_assert_eq(unpack(message, &profile), -EINVAL, "%s", what);
	cr_assert_eq(profile.max_leaf, 0x77, "%s: written in spite of the refusal", what);
}

Test(profile, a_tenancy_that_cannot_be_is_refused)
{
	Axvm__V1__TenancyTuning one = AXVM__V1__TENANCY_TUNING__INIT, other = one,
				*list[] = { &one, &other };
	Axvm__V1__PvFeature beyond = (Axvm__V1__PvFeature)32;
	Axvm__V1__Profile message = AXVM__V1__PROFILE__INIT;
	struct profile profile;

	message.tenancies = list;
	message.n_tenancies = 1;
	refused(&message, "without a tenancy");
	one.has_tenancy = true;
	one.tenancy = AXVM__V1__TENANCY__TENANCY_SHARED;
	cr_assert_eq(unpack(&message, &profile), 0);
	one.tenancy = (Axvm__V1__Tenancy)PROFILE_TENANCIES;
	refused(&message, "a tenancy that there is not");
	one.tenancy = AXVM__V1__TENANCY__TENANCY_SHARED;
	one.paravirt = &beyond;
	one.n_paravirt = 1;
	refused(&message, "a paravirtual feature with no bit");
	one.n_paravirt = 0;
	other.has_tenancy = true;
	other.tenancy = AXVM__V1__TENANCY__TENANCY_SHARED;
	message.n_tenancies = 2;
	refused(&message, "one tenancy twice");
	other.tenancy = AXVM__V1__TENANCY__TENANCY_DEDICATED;
	cr_assert_eq(unpack(&message, &profile), 0);
}

Test(profile, what_does_not_fit_or_is_not_known_is_refused)
{
	uint32_t models[PROFILE_MODELS_MAX + 1] = { 1 };
	char known[] = "ept", *names[PROFILE_NAMES_MAX + 1],
	     *unknown[] = { TEXT("ept"), TEXT("ept_x") };
	Axvm__V1__CpuidMask mask = AXVM__V1__CPUID_MASK__INIT, *masks[PROFILE_MASKS_MAX + 1];
	Axvm__V1__CpuidValue fixed = AXVM__V1__CPUID_VALUE__INIT, *values[PROFILE_FIXED_MAX + 1];
	Axvm__V1__CpuIdentity identity = AXVM__V1__CPU_IDENTITY__INIT;
	Axvm__V1__Profile message = AXVM__V1__PROFILE__INIT;
	char text[128];
	struct profile profile;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		names[i] = known;
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
		masks[i] = &mask;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		values[i] = &fixed;
	message.required = unknown;
	message.n_required = 2;
	refused(&message, "a requirement that is not known");
	message.n_required = 0;
	message.used_when_present = unknown;
	message.n_used_when_present = 2;
	refused(&message, "an optional requirement that is not known");
	message.n_used_when_present = 0;
	message.required = names;
	message.n_required = ARRAY_SIZE(names);
	refused(&message, "too many requirements");
	message.n_required--;
	message.guest_cpuid = masks;
	message.n_guest_cpuid = ARRAY_SIZE(masks);
	refused(&message, "too many masks");
	message.n_guest_cpuid--;
	message.guest_fixed = values;
	message.n_guest_fixed = ARRAY_SIZE(values);
	refused(&message, "too many leaves");
	message.n_guest_fixed--;
	message.identity = &identity;
	identity.models = models;
	identity.n_models = ARRAY_SIZE(models);
	refused(&message, "too many models");
	identity.n_models--;
	identity.steppings = models;
	identity.n_steppings = ARRAY_SIZE(models);
	refused(&message, "too many steppings");
	identity.n_steppings--;
	cr_assert_eq(unpack(&message, &profile), 0, "each at its most");
	memset(text, 'x', sizeof(text));
	text[PROFILE_BRAND_SIZE] = '\0';
	message.guest_brand = text;
	refused(&message, "a brand that leaves no room for its end");
	text[PROFILE_BRAND_SIZE - 1] = '\0';
	cr_assert_eq(unpack(&message, &profile), 0);
	message.guest_brand = NULL;
	text[PROFILE_BRAND_SIZE - 1] = text[PROFILE_BRAND_SIZE] = 'x';
	text[sizeof(text) - 1] = '\0';
	identity.brand = text;
	refused(&message, "a long pattern");
	identity.brand = NULL;
	message.name = text;
	refused(&message, "a long name");
	message.name = NULL;
	message.description = text;
	refused(&message, "a long description");
}
