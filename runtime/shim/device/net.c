/* SPDX-License-Identifier: MIT */
/* Network devices: from the spec to TAPs and virtio devices. */
#include "shim/device/net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/tap.h"
#include "io/vhost.h"
#include "sandbox/fd_layout.h"
#include "shim/device/rate.h"
#include "shim/device/table.h"

static_assert(SPEC_NETS_MAX == NETS_MAX, "a descriptor for each");
static_assert(SPEC_PAIRS_MAX == NET_PAIRS_MAX && SPEC_PAIRS_MAX <= TAP_QUEUES_MAX,
              "the spec allows what the device has");

/* Pairs of a receive and a send queue, and one queue for control. */
static void plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	for (size_t i = 0; i < spec->nets_count; i++)
		places_add(ret, spec->nets[i].id, VIRTIO_ID_NET, 2 * spec->nets[i].queue_pairs + 1);
}

static void acquire_tap(struct shim_devices *devices, size_t index)
{
	const struct spec_net *net = &devices->spec->nets[index];
	char field[PROBLEM_FIELD_MAX];
	const struct tap_request request = {
		.name = net->tap_name,
		.fds = net->tap_fds,
		.queues = net->queue_pairs,
		.field = field,
	};

	snprintf(field, sizeof(field), "nets[%zu].%s", index,
	         net->tap_name[0] ? "tap_name" : "tap");
	if (tap_take(&request, devices->nets.fds[index], devices->problems) < 0)
		return;
	if (net->offloads)
		devices->nets.missing_offloads[index] =
			tap_missing_offloads(devices->nets.fds[index][0]);
	/* One queue, at a number that the control thread's filter knows. */
	if (dup3(devices->nets.fds[index][0], TAP_FD_BASE + (int)index, O_CLOEXEC) < 0)
		problems_add(devices->problems, ERROR_CODE_OS_FAILED, errno, field,
		             "cannot place the TAP's descriptor: %s", errno_text(errno));
}

static void acquire_vhost(struct shim_devices *devices, size_t index)
{
	const struct spec_resource *vhost = &devices->spec->nets[index].vhost;
	char field[PROBLEM_FIELD_MAX];
	uint64_t features;
	int fd = -1, number = VHOST_FD_BASE + (int)index;

	snprintf(field, sizeof(field), "nets[%zu].vhost", index);
	if (resource_take(vhost, RESOURCE_READ_WRITE, field, &fd, devices->problems) < 0)
		return;
	if (vhost_get_features(fd, &features) < 0)
		problems_add(devices->problems, ERROR_CODE_RESOURCE_WRONG_KIND, errno, field,
		             "is not vhost-net: %s; give /dev/vhost-net", errno_text(errno));
	else if (dup3(fd, number, O_CLOEXEC) < 0)
		problems_add(devices->problems, ERROR_CODE_OS_FAILED, errno, field,
		             "cannot place the descriptor of vhost-net: %s", errno_text(errno));
	close_ptr(&fd);
	devices->nets.vhost[index] = true;
}

static void acquire(struct shim_devices *devices, bool handed_over)
{
	for (size_t i = 0; i < devices->spec->nets_count; i++) {
		const struct spec_net *net = &devices->spec->nets[i];

		if ((net->tap_name[0] == '\0') == handed_over)
			acquire_tap(devices, i);
		if (net->vhost.kind != RESOURCE_SOURCE_NOT_SET &&
		    (net->vhost.kind == RESOURCE_SOURCE_FD) == handed_over)
			acquire_vhost(devices, i);
	}
}

static int create(struct shim_devices *devices, size_t index, const struct virtio_host *host)
{
	const struct spec_net *net = &devices->spec->nets[index];
	struct net_spec spec = {
		.id = net->id,
		.fds = devices->nets.fds[index],
		.tap_fd = TAP_FD_BASE + (int)index,
		.vhost_fd = devices->nets.vhost[index] ? VHOST_FD_BASE + (int)index : 0,
		.pairs = (uint16_t)net->queue_pairs,
		.queue_size = (uint16_t)net->queue_size,
		.mtu = (uint16_t)net->mtu,
		.offloads = net->offloads,
		.missing_offloads = devices->nets.missing_offloads[index],
		.rx_limit = rate_of(&net->rx_limit),
		.tx_limit = rate_of(&net->tx_limit),
	};

	if (net->has_mac)
		memcpy(spec.mac, net->mac, sizeof(spec.mac));
	else
		net_derive_mac(devices->spec->vm_id, net->id, spec.mac);
	return net_create(&spec, host, &devices->nets.list[index]);
}

/* Starts the kernel's side of nets with vhost. */
static int seal(struct shim_devices *devices)
{
	for (size_t i = 0; i < devices->spec->nets_count; i++) {
		int r = 0;

		if (devices->nets.vhost[i])
			r = vhost_own(VHOST_FD_BASE + (int)i, &devices->machine->memory);
		if (r < 0)
			return problems_add(devices->problems, ERROR_CODE_OS_FAILED, -r,
			                    "nets.vhost",
			                    "cannot start vhost-net for net \"%s\": %s",
			                    devices->spec->nets[i].id, errno_text(-r));
	}
	return 0;
}

static bool metrics(const struct shim_devices *devices, size_t index, struct device_counters *ret)
{
	static const struct counter_row rows[] = {
		COUNTER_ROW(net_stats, rx_frames),  COUNTER_ROW(net_stats, rx_bytes),
		COUNTER_ROW(net_stats, rx_dropped), COUNTER_ROW(net_stats, tx_frames),
		COUNTER_ROW(net_stats, tx_bytes),   COUNTER_ROW(net_stats, tx_dropped),
		COUNTER_ROW(net_stats, rx_copied),
	};
	struct net_stats stats;

	if (index >= devices->spec->nets_count)
		return false;
	net_get_stats(devices->nets.list[index], &stats);
	COUNTERS_TAKE(ret, net_device(devices->nets.list[index]), rows, stats);
	return true;
}

struct net *devices_net(struct shim_devices *devices, const char *id)
{
	for (size_t i = 0; i < devices->spec->nets_count; i++)
		if (!strcmp(devices->spec->nets[i].id, id))
			return devices->nets.list[i];
	return NULL;
}

const struct device_row device_net = {
	.kind = "net",
	.field = "nets",
	.many = true,
	.plan = plan,
	.acquire = acquire,
	.create = create,
	.seal = seal,
	.metrics = metrics,
};
