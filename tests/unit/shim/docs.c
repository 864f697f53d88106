/* SPDX-License-Identifier: MIT */
/* The tables in the README are those of the code. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/problem.h"
#include "interface/outcome.h"
#include "interface/stream.h"
#include "io/patience.h"
#include "proto/axvm.pb-c.h"

static void is_in_readme(void (*print)(FILE *file))
{
	static char readme[64 * 1024];
	char *table = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&table, &size), *file = fopen("runtime/shim/README.md", "re");

	cr_assert(memory && file);
	readme[fread(readme, 1, sizeof(readme) - 1, file)] = '\0';
	print(memory);
	fclose(memory);
	fclose(file);
	cr_assert(size > 200);
	cr_assert(strstr(readme, table), "runtime/shim/README.md should have:\n%s", table);
	free(table);
}

Test(docs, the_tables_in_the_readme_are_those_of_the_code)
{
	is_in_readme(problem_print_table);
	is_in_readme(outcome_print_table);
}

Test(docs, every_code_of_the_schema_has_a_row)
{
	const ProtobufCEnumDescriptor *codes = &axvm__v1__error_code__descriptor;
	size_t rows;

	(void)problem_classes(&rows);
	cr_assert_eq(rows + 1, codes->n_values, "all but UNSPECIFIED");
	for (unsigned i = 1; i < codes->n_values; i++)
		cr_assert_str_eq(problem_class_of((enum axvm_error_code)codes->values[i].value)
		                         ->name,
		                 codes->values[i].name + strlen("ERROR_CODE_"));
	for (unsigned i = 1; i < axvm__v1__outcome__descriptor.n_values; i++)
		cr_assert_str_eq(outcome_class_of((enum axvm_outcome)i)->name,
		                 axvm__v1__outcome__descriptor.values[i].name + strlen("OUTCOME_"));
}

/* Where a line is broken says nothing: breaks, with what begins a line of a comment, become one
 * space. */
static void flow(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from != '\n') {
			*to++ = *from;
			continue;
		}
		from += strspn(from, "\n\t /") - 1;
		*to++ = ' ';
	}
	*to = '\0';
}

/* Figures in the prose of the schema and of the README, in the words that stand around them. */
Test(docs, figures_in_the_prose_are_those_of_the_code)
{
	static char text[128 * 1024];
	char wanted[6][128];
	static const char *const files[] = { "proto/axvm.proto",       "proto/axvm.proto",
		                             "runtime/shim/README.md", "runtime/shim/README.md",
		                             "proto/axvm.proto",       "runtime/shim/README.md" };

	snprintf(wanted[0], sizeof(wanted[0]),
	         "the launch is at most %llu MiB, a command at most %d bytes",
	         STREAM_MESSAGE_MAX / MIB, STREAM_COMMAND_MAX);
	snprintf(wanted[1], sizeof(wanted[1]), "for, %u s at most), so that no other VM writes it",
	         IO_PATIENCE_MS / 1000);
	snprintf(wanted[2], sizeof(wanted[2]),
	         "It is at most %llu MiB, a command at most %d bytes.", STREAM_MESSAGE_MAX / MIB,
	         STREAM_COMMAND_MAX);
	snprintf(wanted[3], sizeof(wanted[3]), "the launch is larger than %llu MiB",
	         STREAM_MESSAGE_MAX / MIB);
	snprintf(wanted[4], sizeof(wanted[4]), "A plan request is at most %llu MiB",
	         STREAM_PLAN_MAX / MIB);
	snprintf(wanted[5], sizeof(wanted[5]), "A plan is at most %llu MiB", STREAM_PLAN_MAX / MIB);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		FILE *file = fopen(files[i], "re");

		cr_assert_not_null(file);
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
		flow(text);
		cr_expect_not_null(strstr(text, wanted[i]), "%s should have: %s", files[i],
		                   wanted[i]);
	}
}
