/* SPDX-License-Identifier: MIT */
/* The MAC address of a net whose VM has no name. */
#ifndef AXVM_CLI_STABLE_MAC_H
#define AXVM_CLI_STABLE_MAC_H

#include <stddef.h>

#define MAC_TEXT_MAX sizeof("aa:bb:cc:dd:ee:ff")

/* Of the host whose files are below `root` ("" is this one) and the TAP: the same at each run,
 * another for each TAP of a host and for each host. -ENOENT: nothing tells this host from
 * others. */
int stable_mac(const char *root, const char *tap, char ret[MAC_TEXT_MAX]);

#endif
