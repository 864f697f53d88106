/* SPDX-License-Identifier: MIT */
/* axvm-shim: one virtual machine, one process. The list of its stages. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/image_pages.h"
#include "interface/version.h"
#include "shim/announce.h"
#include "shim/shim.h"

static struct shim shim; /* about 7 MiB of address space; its pages are touched as far as used */

/* What is at least as large is mapped for itself. Left alone, malloc maps less and less after it
 * has freed something large, the facts, and calloc() clears what it takes of the heap: the devices'
 * arrays, of which few VMs use more than the beginning. */
#define LARGE (16 * 1024)

static int (*const stages[])(struct shim *) = {
	[STAGE_ARRIVE] = stage_arrive, [STAGE_LEARN] = stage_learn,
	[STAGE_ADMIT] = stage_admit,   [STAGE_ACQUIRE] = stage_acquire,
	[STAGE_BUILD] = stage_build,   [STAGE_CONFINE] = stage_confine,
	[STAGE_STAFF] = stage_staff,   [STAGE_SEAL] = stage_seal,
	[STAGE_RUN] = stage_run,
};

static int answer(const char *argument)
{
	if (strcmp(argument, "--version") == 0)
		return fprintf(stderr, "axvm-shim %s\n", AXVM_VERSION) > 0 ? EX_OK : EX_IOERR;
	fprintf(stderr,
	        "axvm-shim takes no arguments: it reads an axvm.v1.ControlStream from fd 3 and\n"
	        "writes an axvm.v1.EventStream to fd 4 (see proto/axvm.proto), for example\n"
	        "  axvm-shim 3<vm.pb 4>events.pb\n");
	return strcmp(argument, "--help") == 0 ? EX_OK : EX_USAGE;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return answer(argv[1]);
	image_keep_pages_small();
	(void)mallopt(M_MMAP_THRESHOLD, LARGE);
	for (shim.stage = STAGE_ARRIVE; shim.stage < STAGE_ACCOUNT; shim.stage++) {
		uint64_t start = monotonic_ns();
		int r = stages[shim.stage](&shim);

		shim.stage_ns[shim.stage] = monotonic_ns() - start;
		if (r < 0)
			break;
		(void)announce_stage(&shim);
	}
	return stage_account(&shim);
}
