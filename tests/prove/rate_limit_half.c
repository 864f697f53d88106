/* SPDX-License-Identifier: MIT */
/* io/rate_limit.c at half of each width, for a prover that knows no __int128: every bound in it is
 * a product of two 64-bit values in 128 bits, and is here one of two 32-bit values in 64 bits. */
#include "base/base.h"

#define uint64_t uint32_t
#undef UINT64_MAX
#define UINT64_MAX UINT32_MAX
#define __int128 long long
#include "io/rate_limit.c"
