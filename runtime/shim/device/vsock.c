/* SPDX-License-Identifier: MIT */
/* The vsock device: from the spec to the virtio device. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <sys/socket.h>

#include "shim/device/table.h"

static const char field[] = "vsock.channel";

static void plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	if (spec->vsock.present)
		places_add(ret, "", VIRTIO_ID_VSOCK, VSOCK_QUEUES);
}

static bool option_is(int fd, int option, int wanted)
{
	socklen_t length = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 && value == wanted;
}

/* The channel can only be handed over as a descriptor: a path is refused, together with other
 * descriptors that are wrong. */
static void acquire(struct shim_devices *devices, bool handed_over)
{
	const struct spec_resource *channel = &devices->spec->vsock.channel;
	int fd = -1;

	if (!handed_over || !devices->spec->vsock.present)
		return;
	if (channel->kind != RESOURCE_SOURCE_FD) {
		problems_add(
			devices->problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, field,
			"is a path; it must be an fd, because the shim connects to nothing by path");
		return;
	}
	if (resource_take(channel, RESOURCE_READ_WRITE, field, &fd, devices->problems) < 0)
		return;
	if (!option_is(fd, SO_DOMAIN, AF_UNIX) || !option_is(fd, SO_TYPE, SOCK_SEQPACKET)) {
		problems_add(
			devices->problems, ERROR_CODE_RESOURCE_WRONG_KIND, ENOTSOCK, field,
			"fd %d is not a UNIX socket of type SOCK_SEQPACKET; give one end of a socketpair(2)",
			fd);
		return;
	}
	devices->vsock_channel = fd;
}

static int create(struct shim_devices *devices, size_t index, const struct virtio_host *host)
{
	const struct vsock_spec config = {
		.cid = devices->spec->vsock.cid,
		.channel_fd = devices->vsock_channel,
	};

	(void)index;
	return vsock_create(&devices->vsock, &config, host);
}

static void needs(const struct shim_devices *devices, struct device_needs *needs)
{
	needs->descriptors += devices->spec->vsock.present ? VSOCK_DESCRIPTORS : 0;
}

static bool metrics(const struct shim_devices *devices, size_t index, struct device_counters *ret)
{
	static const struct counter_row rows[] = {
		COUNTER_ROW(vsock_stats, connections),
		{ "connections_open", offsetof(struct vsock_stats, places_taken) },
		{ "bytes_to_guest_sockets", offsetof(struct vsock_stats, to_guest) },
		{ "bytes_to_host_sockets", offsetof(struct vsock_stats, to_host) },
		{ "connection_resets", offsetof(struct vsock_stats, resets) },
		{ "packets_dropped", offsetof(struct vsock_stats, dropped) },
	};
	struct vsock_stats stats;

	if (index > 0 || !devices->spec->vsock.present)
		return false;
	vsock_get_stats(&devices->vsock, &stats);
	COUNTERS_TAKE(ret, &devices->vsock.device, rows, stats);
	return true;
}

const struct device_row device_vsock = {
	.kind = "vsock",
	.field = "vsock",
	.plan = plan,
	.acquire = acquire,
	.create = create,
	.needs = needs,
	.metrics = metrics,
};
