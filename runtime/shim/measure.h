/* SPDX-License-Identifier: MIT */
/* Digests of what is booted, when the spec asks for them (boot.measure). */
#ifndef AXVM_SHIM_MEASURE_H
#define AXVM_SHIM_MEASURE_H

#include "base/problem.h"
#include "base/sha256.h"
#include "boot/boot.h"

/* The largest file that is measured, in bytes, where guest memory is not larger: an ELF kernel may
 * have much beside what is loaded of it. */
#define MEASURE_FILE_MAX (1ULL << 30)

/* A file that is booted: by name in messages, with the code of what is wrong with its content. */
struct measured {
	struct boot_file file;
	const char *what;
	enum axvm_error_code invalid;
};

/* Copies a file of at most `most` bytes, from its beginning to its end, into memory that nobody can
 * change any more, and takes the copy's SHA-256 as hexadecimal text. *ret_fd is the copy, of which
 * only reading is left; the caller closes both it and the file. Stage build. -errno with a problem
 * that names the field. */
int measure_copy(const struct measured *measured, uint64_t most, int *ret_fd,
                 char text[static SHA256_HEX_SIZE], struct problems *problems);

#endif
