/* SPDX-License-Identifier: MIT */
/* A limit of the spec as devices take it. */
#ifndef AXVM_SHIM_DEVICE_RATE_H
#define AXVM_SHIM_DEVICE_RATE_H

#include "interface/spec.h"
#include "io/rate_limit.h"

static inline struct rate_config rate_of(const struct spec_limit *limit)
{
	return (struct rate_config){
		.bytes_per_s = limit->bytes_per_s,
		.bytes_burst = limit->bytes_burst,
		.ops_per_s = limit->ops_per_s,
		.ops_burst = limit->ops_burst,
	};
}

#endif
