/* SPDX-License-Identifier: MIT */
/* The profiles as the build embeds them: packed axvm.v1.Profile messages by name. */
#ifndef AXVM_INTERFACE_PROFILE_EMBEDDED_H
#define AXVM_INTERFACE_PROFILE_EMBEDDED_H

#include <stddef.h>

struct profile_embedded {
	const char *name;
	const unsigned char *bytes;
	size_t size;
};

extern const struct profile_embedded profiles_embedded[];
extern const size_t profiles_embedded_count;
/* "dev" or "xv2", in quotes, for a message. */
extern const char profiles_embedded_names[];

#endif
