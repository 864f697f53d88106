/* SPDX-License-Identifier: MIT */
/* `axvm admit`. */
#include "launch/cli/admit.h"

#include "host/admit.h"
#include "launch/cli/facts_file.h"
#include "launch/cli/facts_here.h"
#include "launch/cli/text.h"
#include "proto/axvm.pb-c.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

static const char usage[] =
	"usage: axvm admit [--profile NAME] [--tenancy NAME] [--facts FILE] [--json]\n";

struct request {
	const char *profile, *facts; /* NULL: this host's */
	enum axvm_tenancy tenancy;
	bool json;
};

static void print_rows(FILE *out, const struct verdict_row *rows, size_t count, const char *yes,
                       const char *no)
{
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%-8s %-20s asked: %s; found: %s\n", rows[i].met ? yes : no,
		        rows[i].name, rows[i].asked, rows[i].found);
}

/* The number of things that every launch needs of a host, whatever its profile, and that this host
 * lacks. */
static size_t count_lacking(const struct host_facts *facts)
{
	size_t count = 0;

	for (size_t i = 0; i < facts->offer_count; i++)
		count += facts->offers[i].required && !facts->offers[i].available;
	return count;
}

static void print_verdict(FILE *out, const struct verdict *verdict, const struct host_facts *facts,
                          const char *source)
{
	size_t others = count_lacking(facts);
	const char *lacking, *other;
	char text[FACTS_OFFER_TEXT_MAX];

	for (size_t i = 0; (lacking = facts_lacking(facts, i, text, sizeof(text))); i++)
		fprintf(out, "lacking: %s\n", lacking);
	fprintf(out, "profile %s, %s\n", verdict->profile, source);
	print_rows(out, verdict->rows, verdict->count, "met", "UNMET");
	print_rows(out, verdict->optional, verdict->optional_count, "present", "absent");
	if (verdict->unmet > 0)
		fprintf(out, "refused: %zu of %zu requirements unmet\n", verdict->unmet,
		        verdict->count);
	else if (others > 0)
		fprintf(out,
		        "refused: the profile is met, what launches need beside it is not: see above\n");
	else
		fprintf(out, "admitted\n");
	other = verdict->unmet > 0 ? admit_alternative(facts, verdict->profile) : NULL;
	if (other)
		fprintf(out, "profile %s would take this host, for development: --profile %s\n",
		        other, other);
}

struct json_rows {
	size_t count;
	Axvm__V1__Requirement rows[PROFILE_NAMES_MAX + FACTS_OFFERS_MAX];
	Axvm__V1__Requirement *list[PROFILE_NAMES_MAX + FACTS_OFFERS_MAX];
	char names[PROFILE_NAMES_MAX + FACTS_OFFERS_MAX][PROFILE_NAME_MAX];
};

static void add_row(struct json_rows *json, const char *name, char *asked, char *found, bool met)
{
	Axvm__V1__Requirement *row = &json->rows[json->count];

	axvm__v1__requirement__init(row);
	snprintf(json->names[json->count], PROFILE_NAME_MAX, "%s", name);
	row->name = json->names[json->count];
	row->asked = asked;
	row->found = found;
	row->has_met = true;
	row->met = met;
	json->list[json->count++] = row;
}

/* Prints an axvm.v1.HostRefused with all requirements, met ones too: the profile's, then what else
 * is lacking. */
static void print_verdict_json(FILE *out, struct verdict *verdict, struct host_facts *facts)
{
	Axvm__V1__HostRefused message = AXVM__V1__HOST_REFUSED__INIT;
	static char asked[] = "what launches need beside a profile";
	struct json_rows json = { 0 };

	for (size_t i = 0; i < verdict->count; i++) {
		struct verdict_row *row = &verdict->rows[i];

		add_row(&json, row->name, row->asked, row->found, row->met);
	}
	for (size_t i = 0; i < facts->offer_count; i++) {
		struct host_offer *offer = &facts->offers[i];

		if (offer->required && !offer->available)
			add_row(&json, offer->name, asked, offer->message, false);
	}
	message.profile = verdict->profile;
	message.requirements = json.list;
	message.n_requirements = json.count;
	text_print_json(out, &message.base);
}

static int decide(FILE *out, const struct request *request)
{
	const char *name = request->profile, *path = request->facts;
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
	} else if ((r = facts_here(facts)) < 0) {
		fprintf(stderr, "axvm admit: cannot tell what this host is: %s\n", facts_error(r));
		return EX_OSERR;
	}
	if (admit(facts, &profile, request->tenancy, &verdict) < 0)
		return EX_OSERR;
	if (request->json)
		print_verdict_json(out, &verdict, facts);
	else
		print_verdict(out, &verdict, facts, path ? path : "this host");
	if (fflush(out) != 0)
		return EX_IOERR;
	return verdict.unmet == 0 && count_lacking(facts) == 0 ? EX_OK : EX_UNAVAILABLE;
}

/* Accepts the spec's spelling, or lower case. */
static int parse_tenancy(const char *text, enum axvm_tenancy *ret)
{
	static const char *const names[] = {
		[TENANCY_SHARED] = "shared", [TENANCY_DEDICATED] = "dedicated"
	};

	for (size_t i = TENANCY_SHARED; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(text, names[i]) == 0) {
			*ret = (enum axvm_tenancy)i;
			return 0;
		}
	fprintf(stderr, "axvm admit: --tenancy %s: must be shared or dedicated\n", text);
	return -EINVAL;
}

int axvm_cmd_admit(int argc, char **argv, FILE *out)
{
	static const struct option options[] = {
		{ "profile", required_argument, NULL, 'p' },
		{ "tenancy", required_argument, NULL, 't' },
		{ "facts", required_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	struct request request = { .profile = "xv2", .tenancy = TENANCY_SHARED };
	int option;

	optind = 0; /* glibc: start over */
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			request.profile = optarg;
		else if (option == 'f')
			request.facts = optarg;
		else if (option == 'j')
			request.json = true;
		else if (option != 't' || parse_tenancy(optarg, &request.tenancy) < 0)
			break;
	}
	if (option != -1 || optind != argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return decide(out, &request);
}
