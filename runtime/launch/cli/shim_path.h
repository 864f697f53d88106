/* SPDX-License-Identifier: MIT */
/* Which axvm-shim this command runs. */
#ifndef AXVM_CLI_SHIM_PATH_H
#define AXVM_CLI_SHIM_PATH_H

#include <limits.h>

/* `named`, or where that is NULL what AXVM_SHIM names, or the one beside this program or where an
 * installation has it: in `path`, or static. NULL: none of these; it is to be looked for in
 * PATH. */
const char *shim_path(const char *named, char path[PATH_MAX]);

#endif
