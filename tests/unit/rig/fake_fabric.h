/* SPDX-License-Identifier: MIT */
/* A fabric of arrays: what a bus asked of the machine, for tests to look at. */
#ifndef AXVM_TESTS_FAKE_FABRIC_H
#define AXVM_TESTS_FAKE_FABRIC_H

#include "bus/fabric.h"

#define FAKE_MAX 160

struct fake_fabric {
	struct fabric fabric;
	struct {
		int eventfd;
		uint64_t address;
		uint32_t data;
		uint32_t routed; /* times */
	} gsis[FAKE_MAX];
	uint32_t gsi_count;
	struct {
		uint64_t gpa;
		int eventfd;
	} doorbells[FAKE_MAX];
	uint32_t doorbell_count;
	uint32_t calls; /* of add_doorbell and remove_doorbell */
	int fail_irqfd;
	uint32_t fail_irqfd_after; /* so many are still taken */
	int fail_route;
	int fail_doorbell;
	uint32_t fail_doorbell_after; /* so many are still taken */
};

void fake_fabric_init(struct fake_fabric *fake);
/* Whether this doorbell stands. */
bool fake_fabric_has(const struct fake_fabric *fake, uint64_t gpa, int eventfd);

#endif
