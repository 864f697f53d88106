/* SPDX-License-Identifier: MIT */
/* The baseline of a launch and of an exit: a flat image on bare KVM.
 *
 *   bare_launch [-a] [-c VCPUS] [-m MIB] [-r] [-s] IMAGE
 *
 * -a with local APICs; -r says "running" on stdout before the guest starts; -s with the cheapest
 * seccomp filter that looks at an argument, which allows everything. One thread a vCPU, each
 * of which creates its own. Ends when every vCPU has, and prints the registers of the first, and as
 * "running_at" the time, CLOCK_MONOTONIC in ns, at which that one entered the guest. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "bare.h"
#include "base/base.h"

#define VCPUS_MAX 255

static struct bare bare;
static uintptr_t vcpus = 1;
static bool say, filtered;

/* The kernel keeps verdicts that follow from the call's number alone and runs no filter for these:
 * one load of an argument keeps it from doing so here, as in any filter that looks at arguments. */
static void allow_everything(void)
{
	static struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	static struct sock_fprog program = { .len = ARRAY_SIZE(insns), .filter = insns };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		bare_die("seccomp");
}

static void *vcpu_main(void *index)
{
	struct bare_vcpu vcpu = bare_vcpu_create(&bare, (uintptr_t)index, vcpus);
	struct timespec start;

	if (filtered)
		allow_everything();
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

	while ((option = getopt(argc, argv, "ac:m:rs")) != -1) {
		if (option == 'a')
			apic = true;
		else if (option == 'c')
			vcpus = strtoul(optarg, NULL, 10);
		else if (option == 'm')
			mib = strtoul(optarg, NULL, 10);
		else if (option == 'r')
			say = true;
		else
			filtered = option == 's';
	}
	if (optind + 1 != argc || vcpus < 1 || vcpus > VCPUS_MAX || mib < 2 || mib > 3072) {
		fprintf(stderr, "usage: bare_launch [-a] [-c VCPUS] [-m MIB] [-r] [-s] IMAGE\n");
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
