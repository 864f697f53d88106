/* SPDX-License-Identifier: MIT */
/* Names of the stages. */
#include "interface/stage.h"

#include "base/base.h"

const char *stage_name(enum axvm_stage stage)
{
	static const char *const names[STAGES_COUNT] = {
		[STAGE_UNSPECIFIED] = "none", [STAGE_ARRIVE] = "arrive",   [STAGE_LEARN] = "learn",
		[STAGE_ADMIT] = "admit",      [STAGE_ACQUIRE] = "acquire", [STAGE_BUILD] = "build",
		[STAGE_CONFINE] = "confine",  [STAGE_STAFF] = "staff",     [STAGE_SEAL] = "seal",
		[STAGE_RUN] = "run",          [STAGE_ACCOUNT] = "account",
	};

	return (unsigned)stage < STAGES_COUNT ? names[stage] : names[STAGE_UNSPECIFIED];
}
