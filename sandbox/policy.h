/* SPDX-License-Identifier: MIT */
/* The compiled policies, which policyc makes from profiles/seccomp/ROLE.policy.
 *
 * They are in two generated objects. The shim links only the filters and their digests. The rules
 * (one for each alternative of each policy line, with the reason) serve the tests and `axvm
 * policy`; they are a second, independent statement of the same policy against which the filter is
 * checked. */
#ifndef AXVM_SANDBOX_POLICY_H
#define AXVM_SANDBOX_POLICY_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

enum sandbox_role {
	SANDBOX_ROLE_CONTROL,
	SANDBOX_ROLE_VCPU,
	SANDBOX_ROLE_IO,
	SANDBOX_ROLE_COUNT,
};

enum { SANDBOX_DIGEST_SIZE = 32, SANDBOX_DIGEST_HEX_SIZE = 65, SANDBOX_CMP_MAX = 6 };

/* The filters' answers other than SECCOMP_RET_ALLOW: to a call of this architecture that no line
 * allows, and to an i386 or x32 call. sandbox/README.md says why these. */
#define SANDBOX_DENY_ACTION SECCOMP_RET_TRAP
#define SANDBOX_FOREIGN_ACTION SECCOMP_RET_KILL_PROCESS

/* Set in the system-call number of an x32 call. */
#define SANDBOX_X32_BIT 0x40000000U

struct sandbox_filter {
	const struct sock_filter *insns;
	uint16_t count;                      /* instructions */
	uint8_t digest[SANDBOX_DIGEST_SIZE]; /* SHA-256 of the instructions as bytes */
	char digest_hex[SANDBOX_DIGEST_HEX_SIZE];
};

/* True when (args[arg] & mask) == value. */
struct sandbox_cmp {
	uint8_t arg;
	uint64_t mask;
	uint64_t value;
};

/* One alternative of one policy line: the call is allowed when every comparison holds. */
struct sandbox_rule {
	uint16_t line; /* in the policy file, from 1 */
	int16_t nr;    /* x86_64 system-call number */
	uint8_t cmp_count;
	const char *call;
	const char *conditions; /* normalised text; "any" when there are none */
	const char *reason;
	struct sandbox_cmp cmp[SANDBOX_CMP_MAX];
};

struct sandbox_rules {
	const struct sandbox_rule *rules;
	size_t count;
};

/* Generated: build/gen/sandbox/policies.c, policy_rules.c, syscall_names.c. */
extern const struct sandbox_filter sandbox_filters[SANDBOX_ROLE_COUNT];
extern const uint8_t
	sandbox_policies_digest[SANDBOX_DIGEST_SIZE]; /* of all filters, in role order */
extern const char sandbox_policies_digest_hex[SANDBOX_DIGEST_HEX_SIZE];
extern const struct sandbox_rules sandbox_rules[SANDBOX_ROLE_COUNT];
extern const char *const sandbox_syscall_names[]; /* by number; NULL where there is none */
extern const size_t sandbox_syscall_names_count;

/* "control", "vcpu", "io"; "none" for any other value. Never NULL. */
const char *sandbox_role_name(enum sandbox_role role);

/* Returns 0 and the role of that name, or -ENOENT. */
int sandbox_role_parse(const char *name, enum sandbox_role *ret_role);

/* The name of an x86_64 system call, or NULL when nr has none. Async-signal-safe. */
const char *sandbox_syscall_name(int64_t nr);

/* Returns 0 and the number of the call of that name, or -ENOENT. */
int sandbox_syscall_parse(const char *name, int *ret_nr);

#endif
