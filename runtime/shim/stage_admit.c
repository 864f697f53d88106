/* SPDX-License-Identifier: MIT */
/* Stage admit: compares the host with the profile and plans which thread runs on which CPU. */
#include <errno.h>
#include <string.h>

#include "host/requirement.h"
#include "interface/profile_embedded.h"
#include "machine/kvm.h"
#include "shim/announce.h"
#include "shim/control.h"
#include "shim/deadline.h"
#include "shim/plan.h"
#include "shim/shim.h"

/* Facts up to this age are not read again: a probe and its use may be as far apart anyway. */
#define FACTS_AGE_NS (10ULL * 1000 * 1000)

int admit_probe(struct shim *shim)
{
	int r;

	shim->facts = facts_new();
	r = shim->facts ? facts_probe_quick(shim->facts, NULL) : -ENOMEM;
	if (r < 0)
		free_ptr(&shim->facts);
	shim->facts_ns = deadline_now_ns();
	return r;
}

/* The facts that stage acquire checks too, when it opens the device. kvm_ept is not one of them: a
 * KVM without EPT opens and runs. */
static bool is_about_kvm(const char *requirement)
{
	return strcmp(requirement, "kvm") == 0 || strcmp(requirement, "kvm_api_12") == 0;
}

/* Whether a requirement other than /dev/kvm is unmet. Stage acquire reports /dev/kvm more
 * precisely, together with its other problems. */
static bool is_unmet(const struct verdict *verdict)
{
	for (size_t i = 0; i < verdict->count; i++)
		if (!verdict->rows[i].met && !is_about_kvm(verdict->rows[i].name))
			return true;
	return false;
}

void admit_add_unmet(struct shim *shim, bool about_kvm)
{
	for (size_t i = 0; i < shim->verdict.count; i++) {
		const struct verdict_row *row = &shim->verdict.rows[i];

		if (!row->met && (about_kvm || !is_about_kvm(row->name)))
			problems_add(&shim->problems, ERROR_CODE_HOST_REFUSED, ENOTSUP, "profile",
			             "profile %s requires %s: %s; this host has: %s",
			             shim->profile.name, row->name, row->asked, row->found);
	}
}

static int refuse(struct shim *shim)
{
	int fd = -1;

	(void)announce_refusal(shim);
	if (kvm_open(&fd, &shim->problems) == 0)
		close(fd);
	admit_add_unmet(shim, false);
	return -ENOTSUP;
}

/* Requirements of embedded profiles are checked when they are loaded; this is for one that was
 * not. */
static int refuse_unknown(struct shim *shim)
{
	const struct profile_names *required = &shim->profile.required;
	size_t i = 0;

	while (i < required->count && admit_knows(required->names[i]))
		i++;
	return problems_add(&shim->problems, ERROR_CODE_INTERNAL, EINVAL, "profile",
	                    "profile %s requires \"%s\", which is not a known requirement",
	                    shim->profile.name, i < required->count ? required->names[i] : "");
}

int admit_judge(struct shim *shim)
{
	int r = profile_load(shim->spec.profile, &shim->profile);

	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_SPEC_INVALID, -r, "profile",
		                    "there is no profile \"%s\"; profiles are %s",
		                    shim->spec.profile, profiles_embedded_names);
	r = admit(shim->facts, &shim->profile, plan_tenancy(shim), &shim->verdict);
	return r < 0 ? refuse_unknown(shim) : 0;
}

/* Gets current facts: those of stage arrive, read again where the launch came late. */
static int know_host(struct shim *shim)
{
	int r;

	if (shim->facts && deadline_now_ns() - shim->facts_ns > FACTS_AGE_NS &&
	    facts_refresh(shim->facts, NULL) < 0)
		free_ptr(&shim->facts);
	if (shim->facts)
		return 0;
	r = admit_probe(shim);
	return r < 0 ? problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
	                            "cannot tell what this host is: %s", facts_error(r))
	             : 0;
}

/* Keeps them for the running event: the facts themselves are freed before it. */
static void keep_vulnerabilities(struct shim *shim)
{
	shim->vulnerabilities_count = shim->facts->vulnerability_count;
	memcpy(shim->vulnerabilities, shim->facts->vulnerabilities,
	       shim->vulnerabilities_count * sizeof(shim->vulnerabilities[0]));
}

/* Requires: a spec. Does: probe the host, where stage arrive has not just done so, and hold it
 * against the profile; list all that is unmet; plan the placement. Must not: keep anything open. */
int stage_admit(struct shim *shim)
{
	int r;

	if (shim->planning.asked)
		return stage_plan(shim);
	r = know_host(shim);
	if (r < 0)
		return r;
	keep_vulnerabilities(shim);
	r = admit_judge(shim);
	if (r < 0)
		return r;
	if (is_unmet(&shim->verdict) && shim->spec.admission == ADMISSION_ENFORCE)
		return refuse(shim);
	(void)verdict_waive(&shim->verdict);
	return plan_machine(shim);
}
