/* SPDX-License-Identifier: MIT */
/* A launch that is to be planned only: axvm.v1.PlanRequest. */
#ifndef AXVM_INTERFACE_PLAN_REQUEST_H
#define AXVM_INTERFACE_PLAN_REQUEST_H

#include "base/problem.h"
#include "interface/spec.h"

/* Beside the launch, which becomes a struct vm_spec. */
struct plan_request {
	const uint8_t *facts; /* an encoded HostFacts, in the bytes that were parsed; NULL: none */
	size_t facts_size;
	char claims[SPEC_PATH_MAX + 1]; /* "": none */
};

/* Parses and validates an encoded PlanRequest, and its launch as spec_parse() does; the meaning of
 * its facts is not checked. 0, or -errno with every reason added to `problems`. Maps scratch memory
 * and unmaps it again. */
int plan_request_parse(const uint8_t *bytes, size_t n, struct vm_spec *ret_spec,
                       struct plan_request *ret, struct problems *problems);

#endif
