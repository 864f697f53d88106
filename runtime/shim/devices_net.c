/* SPDX-License-Identifier: MIT */
/* The VM's network devices: from the spec to TAPs and virtio devices. */
#include "shim/devices_net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "io/tap.h"
#include "io/vhost.h"
#include "sandbox/fd_layout.h"
#include "shim/rate.h"
#include "shim/resources.h"
#include "shim/shim.h"

static_assert(SPEC_NETS_MAX == NETS_MAX, "a descriptor for each");
static_assert(SPEC_PAIRS_MAX == NET_PAIRS_MAX && SPEC_PAIRS_MAX <= TAP_QUEUES_MAX,
              "the spec allows what the device has");

static void acquire(struct shim *shim, size_t index)
{
	const struct spec_net *net = &shim->spec.nets[index];
	char field[PROBLEM_FIELD_MAX];
	const struct tap_request request = {
		.name = net->tap_name,
		.fds = net->tap_fds,
		.queues = net->queue_pairs,
		.field = field,
	};

	snprintf(field, sizeof(field), "nets[%zu].%s", index, net->tap_name[0] ? "tap_name" : "tap");
	if (tap_take(&request, shim->devices.nets.fds[index], &shim->problems) < 0)
		return;
	if (net->offloads)
		shim->devices.nets.missing_offloads[index] =
			tap_missing_offloads(shim->devices.nets.fds[index][0]);
	/* One queue, at a number that the control thread's filter knows. */
	if (dup3(shim->devices.nets.fds[index][0], TAP_FD_BASE + (int)index, O_CLOEXEC) < 0)
		problems_add(&shim->problems, PROBLEM_OS_FAILED, errno, field,
		             "cannot place the TAP's descriptor: %s", strerror(errno));
}

static void acquire_vhost(struct shim *shim, size_t index)
{
	const struct spec_resource *vhost = &shim->spec.nets[index].vhost;
	char field[PROBLEM_FIELD_MAX];
	uint64_t features;
	int fd = -1, number = VHOST_FD_BASE + (int)index;

	snprintf(field, sizeof(field), "nets[%zu].vhost", index);
	if (resource_take(vhost, RESOURCE_READ_WRITE, field, &fd, &shim->problems) < 0)
		return;
	if (vhost_get_features(fd, &features) < 0)
		problems_add(&shim->problems, PROBLEM_RESOURCE_WRONG_KIND, errno, field,
		             "is not vhost-net: %s; give /dev/vhost-net", strerror(errno));
	else if (dup3(fd, number, O_CLOEXEC) < 0)
		problems_add(&shim->problems, PROBLEM_OS_FAILED, errno, field,
		             "cannot place the descriptor of vhost-net: %s", strerror(errno));
	close_ptr(&fd);
	shim->devices.nets.vhost[index] = true;
}

void devices_acquire_nets(struct shim *shim, bool by_number)
{
	for (size_t i = 0; i < shim->spec.nets_count; i++) {
		const struct spec_net *net = &shim->spec.nets[i];

		if ((net->tap_name[0] == '\0') == by_number)
			acquire(shim, i);
		if (net->vhost.kind != SPEC_NONE && (net->vhost.kind == SPEC_FD) == by_number)
			acquire_vhost(shim, i);
	}
}

int devices_own_vhosts(struct shim *shim)
{
	for (size_t i = 0; i < shim->spec.nets_count; i++) {
		int r = 0;

		if (shim->devices.nets.vhost[i])
			r = vhost_own(VHOST_FD_BASE + (int)i, &shim->machine.memory);
		if (r < 0)
			return problems_add(&shim->problems, PROBLEM_OS_FAILED, -r, "nets.vhost",
			                    "cannot start vhost-net for net \"%s\": %s",
			                    shim->spec.nets[i].id, strerror(-r));
	}
	return 0;
}

int devices_create_net(struct shim *shim, size_t index, const struct virtio_host *host)
{
	const struct spec_net *net = &shim->spec.nets[index];
	struct net_spec spec = {
		.id = net->id,
		.fds = shim->devices.nets.fds[index],
		.tap_fd = TAP_FD_BASE + (int)index,
		.vhost_fd = shim->devices.nets.vhost[index] ? VHOST_FD_BASE + (int)index : 0,
		.pairs = (uint16_t)net->queue_pairs,
		.queue_size = (uint16_t)net->queue_size,
		.mtu = (uint16_t)net->mtu,
		.offloads = net->offloads,
		.missing_offloads = shim->devices.nets.missing_offloads[index],
		.rx_limit = rate_of(&net->rx_limit),
		.tx_limit = rate_of(&net->tx_limit),
	};

	if (net->has_mac)
		memcpy(spec.mac, net->mac, sizeof(spec.mac));
	else
		net_derive_mac(shim->spec.vm_id, net->id, spec.mac);
	return net_create(&spec, host, &shim->devices.nets.list[index]);
}

struct net *devices_net(struct shim *shim, const char *id)
{
	for (size_t i = 0; i < shim->spec.nets_count; i++)
		if (!strcmp(shim->spec.nets[i].id, id))
			return shim->devices.nets.list[i];
	return NULL;
}
