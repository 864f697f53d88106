/* SPDX-License-Identifier: MIT */
/* The fields of the schema that this shim does not honour yet: the one place to delete a row from
 * when it learns to. A field that is set to its default loses nothing and is let pass. */
#include "shim/reflect.h"
#include "shim/spec_check.h"

static const struct unsupported {
	const char *path;
} unsupported[] = {
	{ "io.busy_poll_us" },
};

const char *spec_unsupported(size_t i)
{
	return i < ARRAY_SIZE(unsupported) ? unsupported[i].path : NULL;
}

static void refuse_in_use(const struct place *place, void *context)
{
	if (place_differs(place))
		problems_add(context, PROBLEM_SPEC_UNSUPPORTED, 0, place->path,
		             "launch.%s is not supported by this version; leave it out",
		             place->path);
}

void spec_check_supported(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (!reflect_each(&launch->base, unsupported[i].path, refuse_in_use, problems))
			problems_add(problems, PROBLEM_INTERNAL, 0, unsupported[i].path,
			             "the table of unsupported fields names %s, which is no field",
			             unsupported[i].path);
}
