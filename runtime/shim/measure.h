/* SPDX-License-Identifier: MIT */
/* Digests of what is booted, when the spec asks for them (boot.measure). */
#ifndef AXVM_SHIM_MEASURE_H
#define AXVM_SHIM_MEASURE_H

#include "base/problem.h"
#include "base/sha256.h"

/* SHA-256 of a regular file from its beginning to its end, as hexadecimal text; its position stays. `fd`
 * -1: `text` is left empty. Stage build. -errno with a problem that names `field`. */
int measure_file(int fd, const char *field, char text[static SHA256_HEX_SIZE],
                 struct problems *problems);

#endif
