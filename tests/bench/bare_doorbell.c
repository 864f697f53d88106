/* SPDX-License-Identifier: MIT */
/* The baseline of a doorbell: guests/doorbell.c on bare KVM, whose doorbell is an ioeventfd that
 * one thread reads, and whose interrupt is an irqfd that it writes.
 *
 *   bare_doorbell [-p NS] [-x] IMAGE
 *
 * With -p a vCPU that halts is waited for by polling for so long, with -x HLT does not leave the
 * guest: the tunings of the hardware profiles, one at a time.
 *
 * The vCPU is pinned to CPU 0 and the thread to CPU 1, where there is one, as the shim does it: a
 * wake-up across CPUs costs something else than one on the same.
 *
 * In between it does what the device does: reads a byte from the host's random generator into guest
 * memory and moves the used index. Prints the guest's registers. */
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bare.h"
#include "guests/doorbell.h"

#define GSI LAYOUT_FIRST_MSI_GSI
#define MSI_ADDRESS 0xfee00000u /* to APIC 0, fixed, edge */

static struct bare bare;
static int doorbell, interrupt, source;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static void *io_main(void *unused)
{
	volatile uint16_t *avail = (void *)(bare.memory + DOORBELL_AVAIL);
	volatile uint16_t *used = (void *)(bare.memory + DOORBELL_USED);
	uint64_t rings, one = 1;

	(void)unused;
	pin(1);
	while (read(doorbell, &rings, sizeof(rings)) == sizeof(rings)) {
		if (read(source, bare.memory + DOORBELL_BYTE, 1) != 1)
			bare_die("/dev/urandom");
		__atomic_store_n(used, *avail, __ATOMIC_RELEASE);
		if (write(interrupt, &one, sizeof(one)) != sizeof(one))
			bare_die("irqfd");
	}
	return NULL;
}

static void connect(void)
{
	struct kvm_ioeventfd bell = { .addr = DOORBELL_ADDRESS, .fd = doorbell };
	struct kvm_irqfd irqfd = { .fd = (uint32_t)interrupt, .gsi = GSI };
	struct {
		uint32_t nr, flags;
		struct kvm_irq_routing_entry entry;
	} routing = { .nr = 1,
		      .entry = {
			      .gsi = GSI,
			      .type = KVM_IRQ_ROUTING_MSI,
			      .u.msi = { .address_lo = MSI_ADDRESS, .data = DOORBELL_VECTOR } } };

	static_assert(offsetof(__typeof__(routing), entry) ==
	                      offsetof(struct kvm_irq_routing, entries),
	              "KVM reads it as a struct kvm_irq_routing");
	BARE_CALL(bare.vm, KVM_IOEVENTFD, &bell);
	BARE_CALL(bare.vm, KVM_IRQFD, &irqfd);
	BARE_CALL(bare.vm, KVM_SET_GSI_ROUTING, &routing);
}

static void enable(uint32_t capability, uint64_t value)
{
	struct kvm_enable_cap cap = { .cap = capability, .args = { value } };

	BARE_CALL(bare.vm, KVM_ENABLE_CAP, &cap);
}

int main(int argc, char **argv)
{
	const char *poll_ns = NULL;
	struct bare_vcpu vcpu;
	bool no_exit = false;
	pthread_t io;
	int option;

	while ((option = getopt(argc, argv, "p:x")) != -1) {
		if (option == 'p')
			poll_ns = optarg;
		else if (option == 'x')
			no_exit = true;
		else
			optind = argc;
	}
	if (argc - optind != 1)
		return fprintf(stderr, "usage: bare_doorbell [-p NS] [-x] IMAGE\n"), 64;
	bare_create(&bare, argv[optind], 128, true);
	if (poll_ns)
		enable(KVM_CAP_HALT_POLL, strtoul(poll_ns, NULL, 10));
	if (no_exit)
		enable(KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT);
	doorbell = eventfd(0, EFD_CLOEXEC);
	interrupt = eventfd(0, EFD_CLOEXEC);
	source = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (doorbell < 0 || interrupt < 0 || source < 0)
		bare_die("eventfd");
	connect();
	if (pthread_create(&io, NULL, io_main, NULL) != 0)
		bare_die("pthread_create");
	pin(0);
	vcpu = bare_vcpu_create(&bare, 0, 1);
	bare_run(&vcpu);
	bare_print(&vcpu);
	return 0;
}
