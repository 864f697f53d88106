/* SPDX-License-Identifier: MIT */
/* The tables in the README are those of the code. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/problem.h"
#include "proto/axvm.pb-c.h"
#include "shim/outcome.h"

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
	cr_assert_eq(rows + 1, codes->n_values, "all but OK");
	for (unsigned i = 1; i < codes->n_values; i++)
		cr_assert_str_eq(problem_class_of((enum problem_code)codes->values[i].value)->name,
		                 codes->values[i].name);
	for (unsigned i = 1; i < axvm__v1__outcome__descriptor.n_values; i++)
		cr_assert_str_eq(outcome_class_of((enum vm_outcome)i)->name,
		                 axvm__v1__outcome__descriptor.values[i].name);
}
