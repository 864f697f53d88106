/* SPDX-License-Identifier: MIT */
/* Evaluates the policy for one call: by its rules, and by its filter. */
#ifndef AXVM_SANDBOX_POLICY_EVAL_H
#define AXVM_SANDBOX_POLICY_EVAL_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

#include "sandbox/policy.h"

struct sandbox_verdict {
	uint32_t action;                 /* SECCOMP_RET_* */
	const struct sandbox_rule *rule; /* the first that allows the call; NULL when none does */
	unsigned int steps;              /* BPF instructions the filter ran */
};

/* An x86_64 call with up to six arguments; the instruction pointer is 0. */
struct seccomp_data sandbox_call(int32_t nr, const uint64_t args[static 6]);

/* The first rule of the role that allows the call, or NULL. Reads only the rules, not the
 * filter. */
const struct sandbox_rule *sandbox_rule_allowing(enum sandbox_role role,
                                                 const struct seccomp_data *data);

/* The answer that follows from the rules: ALLOW, SANDBOX_DENY_ACTION or SANDBOX_FOREIGN_ACTION. */
uint32_t sandbox_rules_action(enum sandbox_role role, const struct seccomp_data *data);

/* Runs the role's filter on a call and looks up the rule. Returns 0; -EINVAL when role is none or
 * the filter is no valid program; -EBADMSG when filter and rules disagree, which is a fault of the
 * build. */
int sandbox_policy_evaluate(enum sandbox_role role, const struct seccomp_data *data,
                            struct sandbox_verdict *ret_verdict);

#endif
