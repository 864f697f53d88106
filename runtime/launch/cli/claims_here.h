/* SPDX-License-Identifier: MIT */
/* What the VMs of this host have claimed, for people who look: `axvm host` and `axvm top`. */
#ifndef AXVM_CLI_CLAIMS_HERE_H
#define AXVM_CLI_CLAIMS_HERE_H

#include "host/claims.h"

/* The folder in which VMs claim CPUs here: $AXVM_CLAIMS_DIR, or /run/axvm/claims. NULL: none, the
 * variable is empty. */
const char *claims_here_folder(void);

/* Of several CPUs together. */
struct claims_sum {
	/* CPUs; those with a claim; of these, those that one VM has alone */
	size_t cpus, claimed, whole;
	uint64_t vcpus, io; /* slots, beside those of whole CPUs */
};
void claims_sum_add(struct claims_sum *sum, const struct claims_load *load);

/* Of this host's CPUs that are online. Nothing is locked or made. -errno when they cannot be looked
 * at: -ENOENT where there is no folder. */
int claims_here_sum(struct claims_sum *ret);

/* "3 of 40 claimed, 2 of them whole", NUL-terminated; returns `to`. */
const char *claims_sum_text(const struct claims_sum *sum, char *to, size_t size);

#endif
