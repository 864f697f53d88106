/* SPDX-License-Identifier: MIT */
/* Reads the claims of this host without locking: a reader is not a VM, and leaves no trace. */
#include "launch/cli/claims_here.h"

#include <errno.h>
#include <stdio.h>

#include "host/cpulist.h"

const char *claims_here_folder(void)
{
	const char *folder = getenv("AXVM_CLAIMS_DIR");

	if (!folder)
		return CLAIMS_PATH;
	return folder[0] ? folder : NULL;
}

void claims_sum_add(struct claims_sum *sum, const struct claims_load *load)
{
	sum->cpus++;
	sum->claimed += load->whole || load->vcpus > 0 || load->io > 0;
	sum->whole += load->whole;
	sum->vcpus += load->whole ? 0 : load->vcpus;
	sum->io += load->whole ? 0 : load->io;
}

static int cpus_online(struct cpu_bitmap *ret)
{
	FILE *in = fopen("/sys/devices/system/cpu/online", "re");
	char list[4096];
	int r = -EIO;

	if (!in)
		return -errno;
	if (fgets(list, sizeof(list), in))
		r = cpu_bitmap_parse(list, ret);
	(void)fclose(in);
	return r;
}

int claims_here_sum(struct claims_sum *ret)
{
	const char *folder = claims_here_folder();
	struct claims claims = { 0 };
	struct claims_sum sum = { 0 };
	struct cpu_bitmap online;
	int r = cpus_online(&online);

	if (r == 0)
		r = folder ? claims_open(&claims, -1, folder, true) : -ENOENT;
	for (uint32_t cpu = 0; r == 0 && cpu < FACTS_CPUS_MAX; cpu++) {
		struct claims_load load;

		if (!cpu_bitmap_has(&online, cpu))
			continue;
		r = claims_look(&claims, cpu, &load);
		if (r == 0)
			claims_sum_add(&sum, &load);
	}
	claims_close(&claims);
	if (r == 0)
		*ret = sum;
	return r;
}

const char *claims_sum_text(const struct claims_sum *sum, char *to, size_t size)
{
	int n = snprintf(to, size, "%zu of %zu claimed", sum->claimed, sum->cpus);

	if (sum->whole > 0 && n > 0 && (size_t)n < size)
		snprintf(to + n, size - (size_t)n, ", %zu of them whole", sum->whole);
	return to;
}
