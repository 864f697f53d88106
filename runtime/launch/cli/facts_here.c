/* SPDX-License-Identifier: MIT */
/* The facts of this host, the sandbox's part of them included. */
#include "launch/cli/facts_here.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/denied.h"
#include "sandbox/nest.h"

static void add_root(struct host_facts *facts, bool required)
{
	char why[DENIED_TEXT_MAX], message[FACTS_OFFER_TEXT_MAX];

	if (denied_root_is_mount()) {
		facts_add_offer(facts, "root_mount", required, 0, NULL);
		return;
	}
	snprintf(message, sizeof(message), "cannot make an empty root: %s",
	         denied_here(DENIED_ROOT, EINVAL, why));
	facts_add_offer(facts, "root_mount", required, EINVAL, message);
}

/* Adds what a trial of the sandbox finds: namespaces are denied, "/" is not a mount point, or both.
 * If user namespaces are denied to an ordinary user, a launch goes on without either. */
static void add_sandbox(struct host_facts *facts)
{
	struct sandbox sandbox = { 0 };
	struct problems problems = { 0 };
	const struct problem *problem = &problems.list[0];
	char why[DENIED_TEXT_MAX], message[FACTS_OFFER_TEXT_MAX];
	int r = nest_foresee(&sandbox, &problems);
	bool only_root = problem->error_number == EINVAL && !denied_root_is_mount();

	if (r == 0 || only_root) {
		facts_add_offer(facts, "namespaces", true, 0, NULL);
	} else if (problems.count > 0) {
		facts_add_offer(facts, "namespaces", true, problem->error_number, problem->message);
	} else {
		snprintf(message, sizeof(message),
		         "a launch goes on without namespaces and an empty root: %s",
		         denied_here(DENIED_NAMESPACES, EPERM, why));
		facts_add_offer(facts, "namespaces", false, EPERM, message);
	}
	add_root(facts, r == 0 || problems.count > 0);
}

int facts_here(struct host_facts *facts)
{
	int r = facts_probe(facts, NULL);

	if (r == 0)
		add_sandbox(facts);
	return r;
}
