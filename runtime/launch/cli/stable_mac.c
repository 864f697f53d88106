/* SPDX-License-Identifier: MIT */
/* A VM without --id is named after a process, so an address derived from its name would change at
 * each run, and leases, firewall rules and udev's names in the guest with it. The TAP stays the
 * same when a command is repeated, and belongs to one VM at a time, so two unnamed VMs on one host
 * differ. TAPs of the same name on two hosts of one bridge differ by the host. The machine id must
 * not be shown to others (machine-id(5)), so only a digest goes into the address. */
#include "launch/cli/stable_mac.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/sha256.h"

#define LINE_MAX_BYTES 128

/* The machine's id; if it has none, an id that stays the same until the next boot. */
static const char *const identities[] = { "/etc/machine-id", "/var/lib/dbus/machine-id",
	                                  "/proc/sys/kernel/random/boot_id" };

static bool read_identity(const char *root, const char *file, char to[LINE_MAX_BYTES])
{
	char path[256];
	FILE *in;
	bool ok;

	snprintf(path, sizeof(path), "%s%s", root, file);
	in = fopen(path, "re");
	if (!in)
		return false;
	ok = fgets(to, LINE_MAX_BYTES, in) != NULL;
	(void)fclose(in);
	to[ok ? strcspn(to, "\n") : 0] = '\0';
	/* An installation that was never booted has this text, and so have all copies of its
	 * image. */
	return ok && to[0] && strcmp(to, "uninitialized") != 0;
}

int stable_mac(const char *root, const char *tap, char ret[MAC_TEXT_MAX])
{
	char identity[LINE_MAX_BYTES];
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;
	size_t i = 0;

	while (i < ARRAY_SIZE(identities) && !read_identity(root, identities[i], identity))
		i++;
	if (i == ARRAY_SIZE(identities))
		return -ENOENT;
	sha256_begin(&hash);
	sha256_add(&hash, "axvm tap/", strlen("axvm tap/"));
	sha256_add(&hash, identity, strlen(identity) + 1);
	sha256_add(&hash, tap, strlen(tap));
	sha256_end(&hash, digest);
	snprintf(ret, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", (digest[0] & ~0x03u) | 0x02u,
	         digest[1], digest[2], digest[3], digest[4], digest[5]);
	return 0;
}
