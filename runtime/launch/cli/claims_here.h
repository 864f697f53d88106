/* SPDX-License-Identifier: MIT */
/* The claims of the VMs of this host, for `axvm host` and `axvm top`. */
#ifndef AXVM_CLI_CLAIMS_HERE_H
#define AXVM_CLI_CLAIMS_HERE_H

#include "host/claims.h"

/* The folder in which VMs claim CPUs here: $AXVM_CLAIMS_DIR, or /run/axvm/claims. NULL: none,
 * because the variable is empty. */
const char *claims_here_folder(void);

/* Claims summed over several CPUs. */
struct claims_sum {
	/* CPUs; CPUs with a claim; of these, CPUs that one VM has whole */
	size_t cpus, claimed, whole;
	uint64_t vcpus, io; /* slots, without those of whole CPUs */
};
void claims_sum_add(struct claims_sum *sum, const struct claims_load *load);

/* Sums the claims on this host's online CPUs. It locks and creates nothing. -errno if they cannot
 * be read; -ENOENT: there is no folder. */
int claims_here_sum(struct claims_sum *ret);

/* "3 of 40 claimed, 2 of them whole", NUL-terminated; returns `to`. */
const char *claims_sum_text(const struct claims_sum *sum, char *to, size_t size);

#endif
