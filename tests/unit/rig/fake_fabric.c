/* SPDX-License-Identifier: MIT */
/* A fabric of arrays. Doorbells behave as KVM's: the same address twice is refused. */
#include "rig/fake_fabric.h"

#include <errno.h>
#include <string.h>

static struct fake_fabric *fake_of(struct fabric *fabric)
{
	return CONTAINER_OF(fabric, struct fake_fabric, fabric);
}

static int add_irqfd(struct fabric *fabric, int eventfd, uint32_t *ret_gsi)
{
	struct fake_fabric *fake = fake_of(fabric);

	if (fake->fail_irqfd && fake->fail_irqfd_after-- == 0)
		return fake->fail_irqfd;
	if (fake->gsi_count == FAKE_MAX)
		return -ENOSPC;
	fake->gsis[fake->gsi_count].eventfd = eventfd;
	*ret_gsi = fake->gsi_count++;
	return 0;
}

static int route_msi(struct fabric *fabric, uint32_t gsi, uint64_t address, uint32_t data)
{
	struct fake_fabric *fake = fake_of(fabric);

	if (fake->fail_route)
		return fake->fail_route;
	fake->gsis[gsi].address = address;
	fake->gsis[gsi].data = data;
	fake->gsis[gsi].routed++;
	return 0;
}

static int add_doorbell(struct fabric *fabric, uint64_t gpa, int eventfd)
{
	struct fake_fabric *fake = fake_of(fabric);

	fake->calls++;
	if (fake->fail_doorbell && fake->fail_doorbell_after-- == 0)
		return fake->fail_doorbell;
	for (uint32_t i = 0; i < fake->doorbell_count; i++)
		if (fake->doorbells[i].gpa == gpa)
			return -EEXIST;
	if (fake->doorbell_count == FAKE_MAX)
		return -ENOSPC;
	fake->doorbells[fake->doorbell_count].gpa = gpa;
	fake->doorbells[fake->doorbell_count++].eventfd = eventfd;
	return 0;
}

static int remove_doorbell(struct fabric *fabric, uint64_t gpa, int eventfd)
{
	struct fake_fabric *fake = fake_of(fabric);

	fake->calls++;
	for (uint32_t i = 0; i < fake->doorbell_count; i++) {
		if (fake->doorbells[i].gpa == gpa && fake->doorbells[i].eventfd == eventfd) {
			fake->doorbells[i] = fake->doorbells[--fake->doorbell_count];
			return 0;
		}
	}
	return -ENOENT;
}

static const struct fabric_ops ops = {
	.add_irqfd = add_irqfd,
	.route_msi = route_msi,
	.add_doorbell = add_doorbell,
	.remove_doorbell = remove_doorbell,
};

void fake_fabric_init(struct fake_fabric *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->fabric.ops = &ops;
}

bool fake_fabric_has(const struct fake_fabric *fake, uint64_t gpa, int eventfd)
{
	for (uint32_t i = 0; i < fake->doorbell_count; i++)
		if (fake->doorbells[i].gpa == gpa && fake->doorbells[i].eventfd == eventfd)
			return true;
	return false;
}
