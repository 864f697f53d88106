/* SPDX-License-Identifier: MIT */
/* The baselines' virtual machine: the KVM calls that one needs, in the best order, and nothing
 * else. No spec, no events, no sandbox, no devices. What fails ends the program. */
#ifndef AXVM_BENCH_BARE_H
#define AXVM_BENCH_BARE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "guest/layout.h"

struct bare {
	int kvm, vm;
	int run_size;
	bool apic;
	size_t size; /* bytes of RAM, from address 0 */
	uint8_t *memory;
};

struct bare_vcpu {
	int fd;
	struct kvm_run *run;
};

_Noreturn void bare_die(const char *what);
int bare_call(int fd, unsigned long request, void *argument, const char *name);
#define BARE_CALL(fd, request, argument)                                                           \
	bare_call(fd, request, (void *)(uintptr_t)(argument), #request)

/* Memory slot first, then the interrupt chip: the other way round costs milliseconds. The image is
 * copied to LAYOUT_KERNEL and entered there in long mode, as the shim enters a flat image. */
void bare_create(struct bare *bare, const char *image, size_t mib, bool apic);

/* To be called by the thread that will run the vCPU. */
struct bare_vcpu bare_vcpu_create(struct bare *bare, uintptr_t index, uintptr_t count);

/* Runs until HLT (without APICs), a power-off by the ACPI window, or a triple fault. Every other
 * port and address reads as ones and takes every write. */
void bare_run(struct bare_vcpu *vcpu);

/* "rax N", "rbx N" on stdout: what a guest has to say. */
void bare_print(struct bare_vcpu *vcpu);

#endif
