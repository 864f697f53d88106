/* SPDX-License-Identifier: MIT */
/* The text of a policy into rules. The grammar is in profiles/seccomp/README.md.
 *
 * A line is cut at its first '#': the reason is to the right. The left side is cut at "||" into
 * alternatives, each at "&&" into comparisons; each alternative becomes one rule. Every comparison
 * comes down to (argument & mask) == value, which BPF, libseccomp and the OCI format can all
 * say. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <string.h>

#include "base/base.h"
#include "hack/policyc/policyc.h"
#include "sandbox/policy/symbols.h"

/* The line being read, for messages. */
struct place {
	struct text_policy *policy;
	unsigned int line;
};

/* Arguments of which the kernel reads 32 bits only (bit n of narrow: argument n), because its
 * prototype says int or unsigned int. They are compared in that width: what the kernel does not
 * read must neither slip past a rule nor fail one. All others are compared in 64 bits. */
static const struct {
	const char *call;
	uint8_t narrow;
} widths[] = {
	{ "clock_gettime", 1 << 0 },
	{ "epoll_ctl", 1 << 0 | 1 << 1 | 1 << 2 },
	{ "epoll_wait", 1 << 0 | 1 << 2 | 1 << 3 },
	{ "exit", 1 << 0 },
	{ "exit_group", 1 << 0 },
	{ "futex", 1 << 1 | 1 << 2 | 1 << 5 },
	{ "io_uring_enter", 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 },
	{ "ioctl", 1 << 0 | 1 << 1 },
	{ "lseek", 1 << 0 | 1 << 2 },
	{ "ppoll", 1 << 1 },
	{ "pread64", 1 << 0 },
	{ "read", 1 << 0 },
	{ "sendto", 1 << 0 | 1 << 3 | 1 << 5 },
	{ "tgkill", 1 << 0 | 1 << 1 | 1 << 2 },
	{ "timerfd_settime", 1 << 0 | 1 << 1 },
	{ "write", 1 << 0 },
};

/* What no thread may do once the machine runs (README.md, "Security"); a policy cannot say
 * otherwise. */
static const char *const never[] = {
	"open",
	"openat",
	"openat2",
	"creat",
	"open_by_handle_at",
	"open_tree",
	"socket",
	"socketpair",
	"connect",
	"bind",
	"accept",
	"accept4",
	"clone",
	"clone3",
	"fork",
	"vfork",
	"execve",
	"execveat",
	"mmap",
	"mprotect",
	"pkey_mprotect",
	"mremap",
	"brk",
	"remap_file_pages",
	"ptrace",
	"kill",
	"tkill",
	"process_vm_readv",
	"process_vm_writev",
	"pidfd_open",
	"pidfd_getfd",
	"memfd_create",
	"userfaultfd",
	"io_uring_setup",
	"io_uring_register",
	"bpf",
	"perf_event_open",
	"seccomp",
	"prctl",
	"setuid",
	"setns",
	"unshare",
	"mount",
	"umount2",
	"pivot_root",
	"chroot",
	"init_module",
	"finit_module",
	"kexec_load",
	"capset",
	"rt_sigaction",
	"rt_sigprocmask",
	"modify_ldt",
	"arch_prctl",
};

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

/* Cuts *rest at the separator and returns what stood before it, trimmed; NULL once nothing is
 * left. */
static char *cut(char **rest, const char *separator)
{
	char *start = *rest, *at;

	if (!start)
		return NULL;
	at = strstr(start, separator);
	if (at) {
		*at = '\0';
		at += strlen(separator);
	}
	*rest = at;
	return trim(start);
}

static bool parse_term(const struct place *at, const char *text, uint64_t *ret_value)
{
	char *end;

	if (isdigit((unsigned char)text[0])) {
		errno = 0;
		*ret_value = strtoull(text, &end, 0);
		if (errno == 0 && *end == '\0')
			return true;
		policy_error(at->policy, at->line,
		             "\"%s\" is not a number; write it in decimal or as 0x...", text);
		return false;
	}
	if (sandbox_symbol_value(text, ret_value) == 0)
		return true;
	policy_error(at->policy, at->line,
	             "no symbol \"%s\"; correct it, or add it to sandbox/policy/symbols.c", text);
	return false;
}

static bool parse_value(const struct place *at, char *text, uint64_t *ret_value)
{
	uint64_t sum = 0, term;
	char *rest = text, *part;

	while ((part = cut(&rest, "|"))) {
		if (!parse_term(at, part, &term))
			return false;
		sum |= term;
	}
	*ret_value = sum;
	return true;
}

static uint64_t argument_bits(const char *call, unsigned int arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
		if (strcmp(widths[i].call, call) == 0 && (widths[i].narrow >> arg & 1))
			return UINT32_MAX;
	return UINT64_MAX;
}

static bool parse_range(const struct place *at, char *text, uint64_t *ret_mask, uint64_t *ret_value)
{
	char *high_text = strstr(text, "..");
	uint64_t low, high, span;

	if (!high_text) {
		policy_error(at->policy, at->line,
		             "\"in %s\" is not a range; write \"in FIRST..LAST\"", text);
		return false;
	}
	*high_text = '\0';
	if (!parse_value(at, trim(text), &low) || !parse_value(at, trim(high_text + 2), &high))
		return false;
	span = high - low;
	if (high < low || (span & (span + 1)) != 0 || (low & span) != 0) {
		policy_error(at->policy, at->line,
		             "%" PRIu64 "..%" PRIu64
		             " is not an aligned block whose size is a power of two; "
		             "split it into such blocks with \"||\", or move the numbers",
		             low, high);
		return false;
	}
	*ret_mask = ~span;
	*ret_value = low;
	return true;
}

static bool parse_masked(const struct place *at, char *text, uint64_t *ret_mask,
                         uint64_t *ret_value)
{
	char *equals = strstr(text, "==");

	if (!equals) {
		policy_error(at->policy, at->line,
		             "\"& %s\" compares with nothing; write \"& MASK == VALUE\"", text);
		return false;
	}
	*equals = '\0';
	return parse_value(at, trim(text), ret_mask) &&
	       parse_value(at, trim(equals + 2), ret_value);
}

/* One comparison, e.g. "arg0 == VCPU_FD". */
static bool parse_comparison(const struct place *at, const char *call, char *text,
                             struct sandbox_cmp *cmp)
{
	uint64_t mask = UINT64_MAX, value = 0, bits;
	char *rest;
	bool good;

	if (strncmp(text, "arg", 3) != 0 || text[3] < '0' || text[3] > '5') {
		policy_error(
			at->policy, at->line,
			"\"%s\" is not a comparison; write \"argN == VALUE\", "
			"\"argN in FIRST..LAST\" or \"argN & MASK == VALUE\" with N from 0 to 5, "
			"or \"any\" alone",
			text);
		return false;
	}
	rest = trim(text + 4);
	if (strncmp(rest, "==", 2) == 0)
		good = parse_value(at, trim(rest + 2), &value);
	else if (strncmp(rest, "in", 2) == 0 && isspace((unsigned char)rest[2]))
		good = parse_range(at, trim(rest + 2), &mask, &value);
	else if (rest[0] == '&')
		good = parse_masked(at, trim(rest + 1), &mask, &value);
	else {
		policy_error(at->policy, at->line, "arg%c has no operator; use ==, in or &",
		             text[3]);
		return false;
	}
	if (!good)
		return false;
	bits = argument_bits(call, (unsigned int)(text[3] - '0'));
	if ((value & ~(mask & bits)) != 0) {
		policy_error(at->policy, at->line,
		             "arg%c can never be 0x%" PRIx64
		             " (the kernel reads %d bits of it, the mask leaves "
		             "0x%" PRIx64 "); correct the value",
		             text[3], value, bits == UINT64_MAX ? 64 : 32, mask & bits);
		return false;
	}
	*cmp = (struct sandbox_cmp){ .arg = (uint8_t)(text[3] - '0'),
		                     .mask = mask & bits,
		                     .value = value };
	return true;
}

/* Spaces as the checkers expect them: one between words, none else. */
static void normalise(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		if (isspace((unsigned char)*text) && (n == 0 || out[n - 1] == ' '))
			continue;
		out[n++] = isspace((unsigned char)*text) ? ' ' : *text;
	}
	out[n] = '\0';
	trim(out);
}

static bool parse_alternative(const struct place *at, char *text, struct text_rule *rule)
{
	char *rest = text, *part;

	normalise(text, rule->conditions, sizeof(rule->conditions));
	if (strcmp(rule->conditions, "any") == 0)
		return true;
	while ((part = cut(&rest, "&&"))) {
		struct sandbox_cmp cmp;

		if (!parse_comparison(at, rule->call, part, &cmp))
			return false;
		for (size_t i = 0; i < rule->cmp_count; i++)
			if (rule->cmp[i].arg == cmp.arg) {
				policy_error(
					at->policy, at->line,
					"arg%u is compared twice; make it one comparison, or two "
					"alternatives with \"||\"",
					cmp.arg);
				return false;
			}
		rule->cmp[rule->cmp_count++] = cmp;
	}
	return true;
}

/* True when every call that b allows is allowed by a. */
static bool covers(const struct text_rule *a, const struct text_rule *b)
{
	if (a->nr != b->nr)
		return false;
	for (size_t i = 0; i < a->cmp_count; i++) {
		const struct sandbox_cmp *need = &a->cmp[i];
		bool implied = false;

		for (size_t j = 0; j < b->cmp_count; j++)
			implied |= b->cmp[j].arg == need->arg &&
			           (need->mask & ~b->cmp[j].mask) == 0 &&
			           (b->cmp[j].value & need->mask) == need->value;
		if (!implied)
			return false;
	}
	return true;
}

static void check_redundant(const struct place *at)
{
	struct text_policy *p = at->policy;
	const struct text_rule *new = &p->rules[p->rule_count - 1];

	for (size_t i = 0; i + 1 < p->rule_count; i++) {
		const struct text_rule *old = &p->rules[i];

		if (covers(old, new))
			policy_error(p, at->line,
			             "\"%s: %s\" is already allowed by line %u; remove it",
			             new->call, new->conditions, old->line);
		else if (covers(new, old))
			policy_error(
				p, at->line,
				"\"%s: %s\" allows all that line %u allows; remove one of the two",
				new->call, new->conditions, old->line);
	}
}

static bool resolve_call(const struct place *at, const char *name, int *ret_nr)
{
	int nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);

	if (nr < 0) {
		policy_error(at->policy, at->line,
		             "x86_64 has no system call \"%s\"; see syscalls(2)", name);
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (strcmp(name, never[i]) == 0) {
			policy_error(
				at->policy, at->line,
				"%s may not be allowed in a sealed process; do that work before "
				"the seal",
				name);
			return false;
		}
	*ret_nr = nr;
	return true;
}

static void parse_rule(const struct place *at, char *text, char *reason)
{
	struct text_policy *p = at->policy;
	char *colon = strchr(text, ':'), *rest, *part;
	int nr;

	if (!colon) {
		policy_error(p, at->line,
		             "no \":\" after the system call; write \"CALL: CONDITIONS # REASON\"");
		return;
	}
	*colon = '\0';
	if (!resolve_call(at, trim(text), &nr))
		return;
	if (!reason || *(reason = trim(reason)) == '\0') {
		policy_error(p, at->line, "no reason; end the line with \"# why %s is needed\"",
		             trim(text));
		return;
	}
	rest = colon + 1;
	while ((part = cut(&rest, "||"))) {
		struct text_rule *rule = &p->rules[p->rule_count];

		if (p->rule_count == POLICYC_RULES_MAX) {
			policy_error(p, at->line, "more than %d rules; raise POLICYC_RULES_MAX",
			             POLICYC_RULES_MAX);
			return;
		}
		*rule = (struct text_rule){ .line = at->line, .nr = nr };
		snprintf(rule->call, sizeof(rule->call), "%s", trim(text));
		snprintf(rule->reason, sizeof(rule->reason), "%s", reason);
		if (!parse_alternative(at, part, rule))
			return;
		p->rule_count++;
		check_redundant(at);
	}
}

static void parse_line(const struct place *at, char *line)
{
	char *hash = strchr(line, '#');

	if (hash)
		*hash++ = '\0';
	line = trim(line);
	if (*line)
		parse_rule(at, line, hash);
}

void policy_parse(struct text_policy *p)
{
	FILE *file = fopen(p->path, "re");
	char line[POLICYC_LINE_MAX];
	struct place at = { .policy = p };

	if (!file) {
		policy_error(p, 0, "%s", errno_text(errno));
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		size_t length = strlen(line);

		at.line++;
		if (length + 1 == sizeof(line) && line[length - 1] != '\n') {
			policy_error(p, at.line, "longer than %d bytes; use several lines",
			             POLICYC_LINE_MAX - 2);
			break;
		}
		parse_line(&at, line);
	}
	if (ferror(file))
		policy_error(p, 0, "cannot be read");
	else if (p->rule_count == 0 && p->errors == 0)
		policy_error(p, 0, "no rule; a thread that may do nothing cannot end");
	fclose(file);
}
