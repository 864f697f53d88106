/* SPDX-License-Identifier: MIT */
/* Rules into BPF, by libseccomp, for x86_64 alone.
 *
 * The order of evaluation is that of the first line of each call: the call that a role makes most
 * stands first in its file. Foreign architectures and x32 get SANDBOX_FOREIGN_ACTION, all else that
 * no rule allows SANDBOX_DENY_ACTION. */
#include <assert.h>
#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "hack/policyc/policyc.h"

static_assert(SCMP_ACT_TRAP == SANDBOX_DENY_ACTION, "libseccomp's names are the kernel's values");
static_assert(SCMP_ACT_KILL_PROCESS == SANDBOX_FOREIGN_ACTION,
              "libseccomp's names are the kernel's values");

static void done_context(scmp_filter_ctx *context)
{
	if (*context)
		seccomp_release(*context);
	*context = NULL;
}

static int add_rule(scmp_filter_ctx context, const struct text_rule *rule)
{
	struct scmp_arg_cmp cmp[SANDBOX_CMP_MAX];

	for (size_t i = 0; i < rule->cmp_count; i++)
		cmp[i] = (struct scmp_arg_cmp){
			.arg = rule->cmp[i].arg,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = rule->cmp[i].mask,
			.datum_b = rule->cmp[i].value,
		};
	return seccomp_rule_add_exact_array(context, SCMP_ACT_ALLOW, rule->nr, rule->cmp_count,
	                                    cmp);
}

static int set_order(scmp_filter_ctx context, const struct text_policy *p)
{
	uint8_t priority = UINT8_MAX;

	for (size_t i = 0; i < p->rule_count; i++) {
		bool seen = false;
		int r;

		for (size_t j = 0; j < i; j++)
			seen |= p->rules[j].nr == p->rules[i].nr;
		if (seen)
			continue;
		r = seccomp_syscall_priority(context, p->rules[i].nr, priority);
		if (r < 0)
			return r;
		if (priority > 0)
			priority--;
	}
	return 0;
}

static int export_insns(scmp_filter_ctx context, struct text_policy *p)
{
	_cleanup_close_ int fd = memfd_create("bpf", MFD_CLOEXEC);
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(context, fd);
	if (r < 0)
		return r;
	n = pread(fd, p->insns, sizeof(p->insns), 0);
	if (n < 0)
		return -errno;
	if (n == 0 || n % (ssize_t)sizeof(p->insns[0]) != 0)
		return -EBADMSG;
	p->insn_count = (size_t)n / sizeof(p->insns[0]);
	policy_shorten(p);
	policy_cut_above(p);
	return 0;
}

void policy_compile(struct text_policy *p)
{
	_cleanup_(done_context) scmp_filter_ctx context = seccomp_init(SCMP_ACT_TRAP);
	int r;

	if (!context) {
		policy_error(p, 0, "libseccomp gives no context");
		return;
	}
	r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0 && seccomp_arch_native() != SCMP_ARCH_X86_64) {
		r = seccomp_arch_add(context, SCMP_ARCH_X86_64);
		if (r == 0)
			r = seccomp_arch_remove(context, SCMP_ARCH_NATIVE);
	}
	if (r == 0)
		r = set_order(context, p);
	for (size_t i = 0; r == 0 && i < p->rule_count; i++) {
		r = add_rule(context, &p->rules[i]);
		if (r < 0)
			policy_error(p, p->rules[i].line, "libseccomp refuses \"%s: %s\": %s",
			             p->rules[i].call, p->rules[i].conditions, errno_text(-r));
	}
	if (r == 0)
		r = export_insns(context, p);
	if (r < 0 && p->errors == 0)
		policy_error(p, 0, "libseccomp: %s", errno_text(-r));
}
