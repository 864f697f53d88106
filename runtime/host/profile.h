/* SPDX-License-Identifier: MIT */
/* A hardware profile in plain C: the requirements for a host, and how guests are set up on it. */
#ifndef AXVM_HOST_PROFILE_H
#define AXVM_HOST_PROFILE_H

#include "host/facts_kvm.h"
#include "proto/enums.h"

#define PROFILE_NAMES_MAX 32
#define PROFILE_NAME_MAX 32
#define PROFILE_MODELS_MAX 8
#define PROFILE_MASKS_MAX 24
#define PROFILE_FIXED_MAX 8
#define PROFILE_BRAND_SIZE 48 /* of a guest, in leaves 0x80000002 to 4 */

#define PROFILE_TENANCIES (TENANCY_DEDICATED + 1)

struct profile_names {
	size_t count;
	char names[PROFILE_NAMES_MAX][PROFILE_NAME_MAX];
};

/* An empty or 0 field is not required. */
struct profile_identity {
	char vendor[13];
	bool has_family;
	uint32_t family;
	size_t model_count, stepping_count;
	uint32_t models[PROFILE_MODELS_MAX], steppings[PROFILE_MODELS_MAX];
	char brand[64]; /* fnmatch(3) pattern */
};

struct profile_tenancy_tuning {
	bool offered;
	uint32_t paravirt; /* bit n: PvFeature n of the control interface */
	bool has_halt_poll_ns;
	uint32_t halt_poll_ns;
	bool disable_hlt_exits, disable_pause_exits, disable_cstate_exits;
	bool realtime_hint;
	/* names in the kernel's list of vulnerabilities: must be listed and not vulnerable */
	struct profile_names mitigated;
};

/* A guest's register is the host's value AND eax to edx; set_ebx is then ORed into EBX. */
struct profile_cpuid_mask {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
	uint32_t set_ebx;
};

struct profile {
	char name[PROFILE_NAME_MAX];
	char description[96];
	bool development;
	struct profile_identity identity;
	struct profile_names required, used_when_present, model_features;
	struct profile_tenancy_tuning tenancies[PROFILE_TENANCIES]; /* by enum axvm_tenancy */
	size_t mask_count;
	struct profile_cpuid_mask masks[PROFILE_MASKS_MAX];
	uint32_t max_leaf, max_extended_leaf; /* that a guest sees; 0: KVM's own */
	char guest_brand[PROFILE_BRAND_SIZE]; /* "": none */
	size_t fixed_count;
	/* a guest's leaves that are the same on every host */
	struct cpuid_leaf fixed[PROFILE_FIXED_MAX];
};

/* Fills *ret with the embedded profile of that name. -ENOENT: there is none; -EINVAL: it does not
 * fit this struct or names a requirement that admission does not know; -ENOMEM. */
int profile_load(const char *name, struct profile *ret);

/* The same from an encoded axvm.v1.Profile, which need not be embedded. -EINVAL and -ENOMEM
 * likewise. */
int profile_unpack(const uint8_t *bytes, size_t size, struct profile *ret);

/* Name of the i-th embedded profile, NULL past the last. */
const char *profile_name(size_t i);

#endif
