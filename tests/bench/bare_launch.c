/* SPDX-License-Identifier: MIT */
/* The baseline of a launch and of an exit: a flat image on bare KVM.
 *
 *   bare_launch [-a] [-c VCPUS] [-m MIB] [-r] IMAGE
 *
 * -a with local APICs; -r says "running" on stdout before the guest starts. One thread a vCPU, each
 * of which creates its own. Ends when every vCPU has, and prints the registers of the first, and as
 * "running_at" the time, CLOCK_MONOTONIC in ns, at which that one entered the guest. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "bare.h"

#define VCPUS_MAX 255

static struct bare bare;
static uintptr_t vcpus = 1;
static bool say;

static void *vcpu_main(void *index)
{
	struct bare_vcpu vcpu = bare_vcpu_create(&bare, (uintptr_t)index, vcpus);
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	if (say && index == 0 && write(STDOUT_FILENO, "running\n", 8) != 8)
		bare_die("stdout");
	bare_run(&vcpu);
	if (index == 0) {
		bare_print(&vcpu);
		printf("running_at %lld%09ld\n", (long long)start.tv_sec, start.tv_nsec);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[VCPUS_MAX];
	size_t mib = 128;
	bool apic = false;
	int option;

	while ((option = getopt(argc, argv, "ac:m:r")) != -1) {
		if (option == 'a')
			apic = true;
		else if (option == 'c')
			vcpus = strtoul(optarg, NULL, 10);
		else if (option == 'm')
			mib = strtoul(optarg, NULL, 10);
		else
			say = option == 'r';
	}
	if (optind + 1 != argc || vcpus < 1 || vcpus > VCPUS_MAX || mib < 2 || mib > 3072) {
		fprintf(stderr, "usage: bare_launch [-a] [-c VCPUS] [-m MIB] [-r] IMAGE\n");
		return 64;
	}
	bare_create(&bare, argv[optind], mib, apic);
	for (uintptr_t i = 1; i < vcpus; i++)
		if (pthread_create(&threads[i], NULL, vcpu_main, (void *)i) != 0)
			bare_die("pthread_create");
	vcpu_main((void *)0);
	for (uintptr_t i = 1; i < vcpus; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
