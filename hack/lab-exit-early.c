/* SPDX-License-Identifier: MIT */
/* Keeps the emulated test host from delivering a guest's interrupts twice. hack/lab-init starts it
 * once kvm_amd is loaded; it says "ready" when the work is in place, and stays to hold it.
 *
 * The fault (hack/README.md): QEMU's VMRUN leaves an injected interrupt noted as pending until the
 * guest exits next. The cure: an exit before the guest's first instruction. A probe stands at
 * svm_vcpu_run(), where KVM's own interrupts are off; whenever an interrupt is about to be injected
 * a perf event on it overflows, and the kernel sends its own CPU the IPI by which it announces that
 * (irq_work). VMRUN finds it pending, the guest exits at once, and the note is gone. Guests lose
 * nothing but time. */

#include <err.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS "/sys/kernel/tracing/dynamic_events"
#define EVENT_ID "/sys/kernel/tracing/events/axvm/inject/id"

static void add_probe(void)
{
	static const char probe[] =
		"p:axvm/inject svm_vcpu_run injected=vcpu->arch.interrupt.injected\n";
	int fd = open(EVENTS, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, probe, strlen(probe)) != (ssize_t)strlen(probe))
		err(EXIT_FAILURE, "cannot add a probe to %s", EVENTS);
	close(fd);
}

static unsigned long event_id(void)
{
	unsigned long id;
	FILE *file = fopen(EVENT_ID, "re");
	if (!file || fscanf(file, "%lu", &id) != 1)
		err(EXIT_FAILURE, "cannot read %s", EVENT_ID);
	fclose(file);
	return id;
}

/* An event on one CPU that wakes its readers, of whom there are none, at every injection. */
static void watch(unsigned long id, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof attr,
		.config = id,
		.sample_period = 1,
		.wakeup_events = 1,
		.disabled = 1,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, "perf_event_open on CPU %d", cpu);
	/* Mapped to be read only, so that the kernel overwrites what nobody reads and never finds
	 * it full. */
	if (mmap(NULL, 2 * (size_t)getpagesize(), PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		err(EXIT_FAILURE, "cannot map the events of CPU %d", cpu);
	if (ioctl(fd, PERF_EVENT_IOC_SET_FILTER, "injected != 0") ||
	    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		err(EXIT_FAILURE, "cannot enable the events of CPU %d", cpu);
}

int main(void)
{
	add_probe();
	unsigned long id = event_id();
	for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++)
		watch(id, cpu);
	puts("ready");
	fclose(stdout);
	for (;;)
		pause();
}
