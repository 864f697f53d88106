/* SPDX-License-Identifier: MIT */
/* Digests of what is booted, when the spec asks for them. */
#include "shim/measure.h"

#include <errno.h>
#include <string.h>

int measure_file(int fd, const char *field, char text[static SHA256_HEX_SIZE],
                 struct problems *problems)
{
	uint8_t bytes[16 * 1024], digest[SHA256_SIZE];
	struct sha256 hash;
	off_t at = 0;
	ssize_t n;

	text[0] = '\0';
	if (fd < 0)
		return 0;
	sha256_begin(&hash);
	while ((n = pread(fd, bytes, sizeof(bytes), at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return problems_add(problems, PROBLEM_RESOURCE_UNREADABLE, errno, field,
			                    "cannot be read for its digest: %s", strerror(errno));
		sha256_add(&hash, bytes, (size_t)n);
		at += n;
	}
	sha256_end(&hash, digest);
	sha256_hex(digest, text);
	return 0;
}
