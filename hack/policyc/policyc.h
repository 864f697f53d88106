/* SPDX-License-Identifier: MIT */
/* policyc: compiles the seccomp policies of all roles into constant BPF and C tables, on the build
 * host.
 *
 * parse.c reads the text into rules, compile.c gives them to libseccomp and takes the BPF back,
 * shorten.c drops what decides nothing, emit.c writes C. Errors are "file:line: what; what to do",
 * all of a file's errors in one run. */
#ifndef AXVM_POLICYC_H
#define AXVM_POLICYC_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/sha256.h"
#include "sandbox/policy.h"

enum {
	POLICYC_LINE_MAX = 512,
	POLICYC_TEXT_MAX = 256,
	POLICYC_RULES_MAX = 128,
	POLICYC_INSNS_MAX = 4096, /* BPF_MAXINSNS */
	POLICYC_ROLES = SANDBOX_ROLE_COUNT,
};

struct text_rule {
	unsigned int line;
	int nr;
	unsigned int cmp_count;
	char call[48];
	char conditions[POLICYC_TEXT_MAX];
	char reason[POLICYC_TEXT_MAX];
	struct sandbox_cmp cmp[SANDBOX_CMP_MAX];
};

struct text_policy {
	const char *path;
	unsigned int errors;
	size_t rule_count;
	struct text_rule rules[POLICYC_RULES_MAX];
	size_t insn_count;
	struct sock_filter insns[POLICYC_INSNS_MAX];
};

/* Prints "path:line: message" to stderr and counts it; line 0 leaves the line out. */
__attribute__((format(printf, 3, 4))) void policy_error(struct text_policy *p, unsigned int line,
                                                        const char *format, ...);

/* Reads p->path into p->rules. Errors are printed and counted in p->errors. */
void policy_parse(struct text_policy *p);

/* Compiles p->rules into p->insns. Errors as above. */
void policy_compile(struct text_policy *p);

/* Takes the instructions out of p->insns that decide nothing; see shorten.c. */
void policy_shorten(struct text_policy *p);

/* Has calls beyond those of p->rules trapped by one comparison; see there too. Where the program is
 * none of libseccomp's, or a jump has no room, it is left as it is. */
void policy_cut_above(struct text_policy *p);

/* Writes policies.c, policy_rules.c and syscall_names.c into dir. Returns 0 or -errno. */
int policy_emit(const char *dir, const struct text_policy policies[static POLICYC_ROLES]);

#endif
