/* SPDX-License-Identifier: MIT */
/* Admission: compares a host's facts with a profile, requirement by requirement. */
#ifndef AXVM_HOST_ADMIT_H
#define AXVM_HOST_ADMIT_H

#include "host/facts.h"
#include "host/profile.h"
#include "host/requirement.h"

/* Large enough for a list of all vulnerabilities. */
#define VERDICT_TEXT_MAX 448

struct verdict_row {
	const char *name; /* static */
	char asked[VERDICT_TEXT_MAX];
	char found[VERDICT_TEXT_MAX];
	bool met;
	bool waived;
};

/* All requirements in the order of the table, the met ones too; then the optional features of the
 * profile, whose `met` says whether the host has them. */
struct verdict {
	char profile[PROFILE_NAME_MAX];
	bool development;
	size_t count, unmet, optional_count;
	struct verdict_row rows[PROFILE_NAMES_MAX];
	struct verdict_row optional[PROFILE_NAMES_MAX];
};

/* Evaluates every requirement of the profile for a VM of that tenancy. 0 also if some are unmet:
 * ret->unmet counts them. -EINVAL: the profile names an unknown requirement. Pure. Writes only the
 * rows of *ret that it uses. */
int admit(const struct host_facts *facts, const struct profile *profile, enum axvm_tenancy tenancy,
          struct verdict *ret);

/* Marks every unmet requirement as waived (the spec said REPORT); returns how many. */
size_t verdict_waive(struct verdict *verdict);

/* The profile for development that would take a host which `profile` refuses: all its requirements
 * are met, for each tenancy, and the host lacks nothing else. Static; NULL: none would. */
const char *admit_alternative(const struct host_facts *facts, const char *profile);

/* Names of all requirements, in the order in which a verdict lists them; NULL past the last. */
const char *admit_requirement_name(size_t i);

#endif
