/* SPDX-License-Identifier: MIT */
/* The VM's vsock device: from the spec to the virtio device. */
#include "shim/devices_vsock.h"

#include <errno.h>
#include <sys/socket.h>

#include "shim/resources.h"
#include "shim/shim.h"

static const char field[] = "vsock.channel";

static bool option_is(int fd, int option, int wanted)
{
	socklen_t length = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 && value == wanted;
}

void devices_acquire_vsock(struct shim *shim)
{
	const struct spec_resource *channel = &shim->spec.vsock.channel;
	int fd = -1;

	if (!shim->spec.vsock.present)
		return;
	if (channel->kind != SPEC_FD) {
		problems_add(&shim->problems, PROBLEM_RESOURCE_WRONG_KIND, EINVAL, field,
		             "is a path; it must be an fd, because the shim connects to nothing by path");
		return;
	}
	if (resource_take(channel, RESOURCE_READ_WRITE, field, &fd, &shim->problems) < 0)
		return;
	if (!option_is(fd, SO_DOMAIN, AF_UNIX) || !option_is(fd, SO_TYPE, SOCK_SEQPACKET)) {
		problems_add(&shim->problems, PROBLEM_RESOURCE_WRONG_KIND, ENOTSOCK, field,
		             "fd %d is not a UNIX socket of type SOCK_SEQPACKET; give one end of a socketpair(2)", fd);
		return;
	}
	shim->devices.vsock_channel = fd;
}

int devices_create_vsock(struct shim *shim, size_t index, const struct virtio_host *host)
{
	const struct vsock_spec config = {
		.cid = shim->spec.vsock.cid,
		.channel_fd = shim->devices.vsock_channel,
	};

	(void)index;
	return vsock_create(&shim->devices.vsock, &config, host);
}
