/* SPDX-License-Identifier: MIT */
/* The VM's network devices: from the spec to TAPs and virtio devices. */
#include "shim/devices_net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "io/tap.h"
#include "sandbox/fd_layout.h"
#include "shim/shim.h"

static_assert(SPEC_NETS_MAX == NETS_MAX, "a descriptor for each");
static_assert(SPEC_PAIRS_MAX == NET_PAIRS_MAX && SPEC_PAIRS_MAX <= TAP_QUEUES_MAX,
              "the spec allows what the device has");

static struct rate_config rate_of(const struct spec_limit *limit)
{
	return (struct rate_config){
		.bytes_per_s = limit->bytes_per_s,
		.bytes_burst = limit->bytes_burst,
		.ops_per_s = limit->ops_per_s,
		.ops_burst = limit->ops_burst,
	};
}

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
	/* One queue, at a number that the control thread's filter knows. */
	if (dup3(shim->devices.nets.fds[index][0], TAP_FD_BASE + (int)index, O_CLOEXEC) < 0)
		problems_add(&shim->problems, PROBLEM_OS_FAILED, errno, field,
		             "cannot place the TAP's descriptor: %s", strerror(errno));
}

void devices_acquire_nets(struct shim *shim, bool by_number)
{
	for (size_t i = 0; i < shim->spec.nets_count; i++)
		if ((shim->spec.nets[i].tap_name[0] == '\0') == by_number)
			acquire(shim, i);
}

int devices_create_net(struct shim *shim, size_t index, const struct virtio_host *host)
{
	const struct spec_net *net = &shim->spec.nets[index];
	struct net_spec spec = {
		.id = net->id,
		.fds = shim->devices.nets.fds[index],
		.tap_fd = TAP_FD_BASE + (int)index,
		.pairs = (uint16_t)net->queue_pairs,
		.queue_size = (uint16_t)net->queue_size,
		.mtu = (uint16_t)net->mtu,
		.offloads = net->offloads,
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
