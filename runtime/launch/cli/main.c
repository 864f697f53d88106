/* SPDX-License-Identifier: MIT */
/* The `axvm` command. */
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/cli/output.h"
#include "launch/cli/verb.h"

int main(int argc, char **argv)
{
	struct output output;
	int r = output_open(&output, STDOUT_FILENO);

	if (r < 0) {
		fprintf(stderr, "axvm: cannot start: %s\n", errno_text(-r));
		return EX_OSERR;
	}
	return output_end(&output, verb_main(argc, argv, output.file));
}
