/* SPDX-License-Identifier: MIT */
/* Digests of what is booted, when the spec asks for them (boot.measure). */
#ifndef AXVM_SHIM_MEASURE_H
#define AXVM_SHIM_MEASURE_H

#include "base/problem.h"
#include "base/sha256.h"
#include "boot/boot.h"

/* The largest file that is measured, in bytes, unless guest memory is larger: an ELF kernel may be
 * much larger than its loaded parts. */
#define MEASURE_FILE_MAX (1ULL << 30)

/* A file that is booted: by name in messages, with the code of what is wrong with its content. */
struct measured {
	struct boot_file file;
	const char *what;
	enum axvm_error_code invalid;
};

/* Copies a whole file of at most `most` bytes into a sealed memfd, and takes the copy's SHA-256 as
 * hexadecimal text. *ret_fd is the copy, which can only be read; the caller closes it and the file.
 * Stage build. -errno with a problem that names the field. */
int measure_copy(const struct measured *measured, uint64_t most, int *ret_fd,
                 char text[static SHA256_HEX_SIZE], struct problems *problems);

#endif
