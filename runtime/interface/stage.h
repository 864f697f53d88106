/* SPDX-License-Identifier: MIT */
/* The stages of the process. */
#ifndef AXVM_INTERFACE_STAGE_H
#define AXVM_INTERFACE_STAGE_H

#include "proto/enums.h"

#define STAGES_COUNT (STAGE_ACCOUNT + 1)

/* "arrive", as the README has it; never NULL. */
const char *stage_name(enum axvm_stage stage);

#endif
