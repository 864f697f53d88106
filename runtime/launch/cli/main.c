/* SPDX-License-Identifier: MIT */
/* The `axvm` command. */
#include "launch/cli/verb.h"

int main(int argc, char **argv)
{
	return verb_main(argc, argv, stdout);
}
