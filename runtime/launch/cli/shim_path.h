/* SPDX-License-Identifier: MIT */
/* Finds the axvm-shim that this command runs. */
#ifndef AXVM_CLI_SHIM_PATH_H
#define AXVM_CLI_SHIM_PATH_H

#include <limits.h>

/* Returns the first that applies: `named`; the value of AXVM_SHIM; the shim beside this program;
 * the shim of an installation. The result may point into `path`. NULL: none of these, so look it up
 * in PATH. */
const char *shim_path(const char *named, char path[PATH_MAX]);

#endif
