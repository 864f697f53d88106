/* SPDX-License-Identifier: MIT */
/* Evaluates the policy for one call: by its rules, and by its filter. */
#include "sandbox/policy/eval.h"

#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <string.h>

#include "sandbox/policy/bpf.h"

struct seccomp_data sandbox_call(int32_t nr, const uint64_t args[static 6])
{
	struct seccomp_data data = { .nr = nr, .arch = AUDIT_ARCH_X86_64 };

	memcpy(data.args, args, sizeof(data.args));
	return data;
}

static bool allows(const struct sandbox_rule *rule, const struct seccomp_data *data)
{
	if (rule->nr != data->nr)
		return false;
	for (size_t i = 0; i < rule->cmp_count; i++)
		if ((data->args[rule->cmp[i].arg] & rule->cmp[i].mask) != rule->cmp[i].value)
			return false;
	return true;
}

const struct sandbox_rule *sandbox_rule_allowing(enum sandbox_role role,
                                                 const struct seccomp_data *data)
{
	const struct sandbox_rules *all = &sandbox_rules[role];

	if (data->arch != AUDIT_ARCH_X86_64)
		return NULL;
	for (size_t i = 0; i < all->count; i++)
		if (allows(&all->rules[i], data))
			return &all->rules[i];
	return NULL;
}

uint32_t sandbox_rules_action(enum sandbox_role role, const struct seccomp_data *data)
{
	/* -1 has the x32 bit too, but a tracer writes it to skip a call: it is no call of any
	 * kind. */
	if (data->arch != AUDIT_ARCH_X86_64 ||
	    ((uint32_t)data->nr >= SANDBOX_X32_BIT && data->nr != -1))
		return SANDBOX_FOREIGN_ACTION;
	return sandbox_rule_allowing(role, data) ? SECCOMP_RET_ALLOW : SANDBOX_DENY_ACTION;
}

int sandbox_policy_evaluate(enum sandbox_role role, const struct seccomp_data *data,
                            struct sandbox_verdict *ret_verdict)
{
	struct sandbox_verdict verdict = { 0 };
	int r;

	if ((unsigned int)role >= SANDBOX_ROLE_COUNT)
		return -EINVAL;
	r = sandbox_bpf_run(sandbox_filters[role].insns, sandbox_filters[role].count, data,
	                    &verdict.action, &verdict.steps);
	if (r < 0)
		return r;
	if (verdict.action != sandbox_rules_action(role, data))
		return -EBADMSG;
	verdict.rule = sandbox_rule_allowing(role, data);
	*ret_verdict = verdict;
	return 0;
}
