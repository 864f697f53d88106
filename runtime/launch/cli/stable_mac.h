/* SPDX-License-Identifier: MIT */
/* The MAC address of a net whose VM has no id. */
#ifndef AXVM_CLI_STABLE_MAC_H
#define AXVM_CLI_STABLE_MAC_H

#include <stddef.h>

#define MAC_TEXT_MAX sizeof("aa:bb:cc:dd:ee:ff")

/* Derives the address from the host whose files are below `root` ("" is this one) and from the
 * TAP's name: the same at each run, and different for each TAP and each host. -ENOENT: nothing
 * tells this host from others. */
int stable_mac(const char *root, const char *tap, char ret[MAC_TEXT_MAX]);

#endif
