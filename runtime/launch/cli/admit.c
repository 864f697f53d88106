/* SPDX-License-Identifier: MIT */
/* `axvm admit`. */
#include "launch/cli/admit.h"

#include "host/admit.h"
#include "launch/cli/facts_file.h"
#include "launch/cli/text.h"
#include "proto/axvm.pb-c.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] = "usage: axvm admit [--profile NAME] [--facts FILE] [--json]\n";

static void print_rows(FILE *out, const struct verdict_row *rows, size_t count, const char *yes,
                       const char *no)
{
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%-8s %-20s asked: %s; found: %s\n", rows[i].met ? yes : no,
		        rows[i].name, rows[i].asked, rows[i].found);
}

static void print_verdict(FILE *out, const struct verdict *verdict, const char *source)
{
	fprintf(out, "profile %s, %s\n", verdict->profile, source);
	print_rows(out, verdict->rows, verdict->count, "met", "UNMET");
	print_rows(out, verdict->optional, verdict->optional_count, "present", "absent");
	if (verdict->unmet == 0)
		fprintf(out, "admitted\n");
	else
		fprintf(out, "refused: %zu of %zu requirements unmet\n", verdict->unmet,
		        verdict->count);
}

/* axvm.v1.HostRefused, the met requirements among the rest. */
static void print_verdict_json(FILE *out, struct verdict *verdict)
{
	Axvm__V1__HostRefused message = AXVM__V1__HOST_REFUSED__INIT;
	Axvm__V1__Requirement rows[PROFILE_NAMES_MAX], *list[PROFILE_NAMES_MAX];
	char names[PROFILE_NAMES_MAX][PROFILE_NAME_MAX];

	for (size_t i = 0; i < verdict->count; i++) {
		struct verdict_row *row = &verdict->rows[i];

		axvm__v1__requirement__init(&rows[i]);
		snprintf(names[i], sizeof(names[i]), "%s", row->name);
		rows[i].name = names[i];
		rows[i].asked = row->asked;
		rows[i].found = row->found;
		rows[i].has_met = true;
		rows[i].met = row->met;
		list[i] = &rows[i];
	}
	message.profile = verdict->profile;
	message.requirements = list;
	message.n_requirements = verdict->count;
	text_print_json(out, &message.base);
}

static int decide(FILE *out, const char *name, const char *path, bool json)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct profile profile;
	struct verdict verdict;
	int r = profile_load(name, &profile);

	if (r == -ENOENT) {
		fprintf(stderr, "axvm admit: there is no profile \"%s\"; there are:", name);
		for (size_t i = 0; profile_name(i); i++)
			fprintf(stderr, " %s", profile_name(i));
		fputc('\n', stderr);
		return EX_USAGE;
	}
	if (r < 0 || !facts)
		return EX_OSERR;
	if (path) {
		r = facts_file_read("axvm admit", path, facts);
		if (r != EX_OK)
			return r;
	} else if (facts_probe(facts, NULL) < 0) {
		fprintf(stderr, "axvm admit: this host's processors cannot be read\n");
		return EX_OSERR;
	}
	if (admit(facts, &profile, &verdict) < 0)
		return EX_OSERR;
	if (json)
		print_verdict_json(out, &verdict);
	else
		print_verdict(out, &verdict, path ? path : "this host");
	if (fflush(out) != 0)
		return EX_OSERR;
	return verdict.unmet == 0 ? EX_OK : EX_UNAVAILABLE;
}

int axvm_cmd_admit(int argc, char **argv, FILE *out)
{
	static const struct option options[] = {
		{ "profile", required_argument, NULL, 'p' },
		{ "facts", required_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	const char *profile = "xv2", *facts = NULL;
	bool json = false;
	int option;

	optind = 0; /* glibc: start over */
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			profile = optarg;
		else if (option == 'f')
			facts = optarg;
		else if (option == 'j')
			json = true;
		else
			break;
	}
	if (option != -1 || optind != argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return decide(out, profile, facts, json);
}
