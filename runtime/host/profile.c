/* SPDX-License-Identifier: MIT */
/* Embedded profiles, unpacked into plain C and checked. */
#include "host/profile.h"
#include "host/requirement.h"

#include "interface/profile_embedded.h"
#include "proto/profile.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int copy_text(char *to, size_t size, const char *from)
{
	if (from && strlen(from) >= size)
		return -EINVAL;
	snprintf(to, size, "%s", from ? from : "");
	return 0;
}

static int copy_names(struct profile_names *names, char *const *from, size_t count)
{
	if (count > PROFILE_NAMES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (copy_text(names->names[i], PROFILE_NAME_MAX, from[i]) < 0)
			return -EINVAL;
	names->count = count;
	return 0;
}

static int copy_numbers(uint32_t *to, size_t *ret_count, const uint32_t *from, size_t count)
{
	if (count > PROFILE_MODELS_MAX)
		return -EINVAL;
	if (count > 0)
		memcpy(to, from, count * sizeof(*to));
	*ret_count = count;
	return 0;
}

static int take_identity(struct profile_identity *identity, const Axvm__V1__CpuIdentity *message)
{
	if (!message)
		return 0;
	identity->has_family = message->has_family;
	identity->family = message->family;
	if (copy_text(identity->vendor, sizeof(identity->vendor), message->vendor) < 0 ||
	    copy_text(identity->brand, sizeof(identity->brand), message->brand) < 0 ||
	    copy_numbers(identity->models, &identity->model_count, message->models,
	                 message->n_models) < 0)
		return -EINVAL;
	return copy_numbers(identity->steppings, &identity->stepping_count, message->steppings,
	                    message->n_steppings);
}

static int take_tenancy(struct profile *profile, const Axvm__V1__TenancyTuning *message)
{
	struct profile_tenancy_tuning *tuning;

	if (message->tenancy == AXVM__V1__TENANCY__TENANCY_UNSPECIFIED ||
	    (unsigned int)message->tenancy >= PROFILE_TENANCIES)
		return -EINVAL;
	tuning = &profile->tenancies[message->tenancy];
	if (tuning->offered)
		return -EINVAL;
	tuning->offered = true;
	for (size_t i = 0; i < message->n_paravirt; i++) {
		if ((unsigned int)message->paravirt[i] >= 32)
			return -EINVAL;
		tuning->paravirt |= 1u << message->paravirt[i];
	}
	tuning->has_halt_poll_ns = message->has_halt_poll_ns;
	tuning->halt_poll_ns = message->halt_poll_ns;
	tuning->disable_hlt_exits = message->disable_hlt_exits;
	tuning->disable_pause_exits = message->disable_pause_exits;
	tuning->disable_cstate_exits = message->disable_cstate_exits;
	tuning->realtime_hint = message->realtime_hint;
	return copy_names(&tuning->mitigated, message->mitigated, message->n_mitigated);
}

static int check_names(const struct profile_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		if (!admit_knows(names->names[i]))
			return -EINVAL;
	return 0;
}

static int take_guest(struct profile *profile, const Axvm__V1__Profile *message)
{
	if (message->n_guest_cpuid > PROFILE_MASKS_MAX ||
	    message->n_guest_fixed > PROFILE_FIXED_MAX ||
	    copy_text(profile->guest_brand, sizeof(profile->guest_brand), message->guest_brand) < 0)
		return -EINVAL;
	for (size_t i = 0; i < message->n_guest_cpuid; i++) {
		const Axvm__V1__CpuidMask *mask = message->guest_cpuid[i];

		profile->masks[i] =
			(struct profile_cpuid_mask){ mask->leaf,   mask->subleaf, mask->eax,
			                             mask->ebx,    mask->ecx,     mask->edx,
			                             mask->set_ebx };
	}
	profile->mask_count = message->n_guest_cpuid;
	for (size_t i = 0; i < message->n_guest_fixed; i++) {
		const Axvm__V1__CpuidValue *value = message->guest_fixed[i];

		profile->fixed[i] = (struct cpuid_leaf){ value->leaf, value->subleaf, value->eax,
			                                 value->ebx,  value->ecx,     value->edx };
	}
	profile->fixed_count = message->n_guest_fixed;
	profile->max_leaf = message->max_leaf;
	profile->max_extended_leaf = message->max_extended_leaf;
	return 0;
}

static int take_profile(struct profile *profile, const Axvm__V1__Profile *message)
{
	profile->development = message->development;
	if (copy_text(profile->name, sizeof(profile->name), message->name) < 0 ||
	    copy_text(profile->description, sizeof(profile->description), message->description) <
	            0 ||
	    take_identity(&profile->identity, message->identity) < 0 ||
	    copy_names(&profile->required, message->required, message->n_required) < 0 ||
	    copy_names(&profile->used_when_present, message->used_when_present,
	               message->n_used_when_present) < 0 ||
	    copy_names(&profile->model_features, message->model_features,
	               message->n_model_features) < 0 ||
	    check_names(&profile->required) < 0 || check_names(&profile->used_when_present) < 0)
		return -EINVAL;
	for (size_t i = 0; i < message->n_tenancies; i++)
		if (take_tenancy(profile, message->tenancies[i]) < 0)
			return -EINVAL;
	return take_guest(profile, message);
}

int profile_unpack(const uint8_t *bytes, size_t size, struct profile *ret)
{
	Axvm__V1__Profile *message = axvm__v1__profile__unpack(NULL, size, bytes);
	struct profile profile = { 0 };
	int r;

	if (!message)
		return -ENOMEM;
	r = take_profile(&profile, message);
	axvm__v1__profile__free_unpacked(message, NULL);
	if (r == 0)
		*ret = profile;
	return r;
}

int profile_load(const char *name, struct profile *ret)
{
	const struct profile_embedded *embedded = NULL;
	struct profile profile;
	int r;

	for (size_t i = 0; i < profiles_embedded_count; i++)
		if (strcmp(profiles_embedded[i].name, name) == 0)
			embedded = &profiles_embedded[i];
	if (!embedded)
		return -ENOENT;
	r = profile_unpack(embedded->bytes, embedded->size, &profile);
	if (r < 0)
		return r;
	if (strcmp(profile.name, name) != 0)
		return -EINVAL;
	*ret = profile;
	return 0;
}

const char *profile_name(size_t i)
{
	return i < profiles_embedded_count ? profiles_embedded[i].name : NULL;
}
