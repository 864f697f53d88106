/* SPDX-License-Identifier: MIT */
/* Which axvm-shim this command runs. */
#include "launch/cli/shim_path.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

const char *shim_path(const char *named, char path[PATH_MAX])
{
	static const char *const places[] = { "axvm-shim", "../sbin/axvm-shim" };
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 32);
	char *slash;

	if (!named)
		named = getenv("AXVM_SHIM");
	if (named)
		return named;
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	slash = strrchr(path, '/');
	for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
		strcpy(slash + 1, places[i]);
		if (access(path, X_OK) == 0)
			return path;
	}
	return NULL;
}
