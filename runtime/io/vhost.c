/* SPDX-License-Identifier: MIT */
/* The ioctls of vhost-net. */
#include "io/vhost.h"

#include <assert.h>
#include <errno.h>
#include <linux/vhost.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/uses.h"

int vhost_get_features(int fd, uint64_t *ret_features)
{
	return ioctl(fd, VHOST_GET_FEATURES, ret_features) < 0 ? -errno : 0;
}

int vhost_own(int fd, const struct guest_memory *memory)
{
	struct {
		uint32_t nregions, padding;
		struct vhost_memory_region regions[GUEST_REGIONS_MAX];
	} table = { .nregions = (uint32_t)memory->count };

	static_assert(offsetof(__typeof__(table), regions) ==
	                      offsetof(struct vhost_memory, regions),
	              "vhost reads it as a struct vhost_memory");
	for (size_t i = 0; i < memory->count; i++)
		table.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = memory->regions[i].base.v,
			.memory_size = memory->regions[i].size,
			.userspace_addr = (uintptr_t)memory->regions[i].hva,
		};
	if (ioctl(fd, VHOST_SET_OWNER) < 0 || ioctl(fd, VHOST_SET_MEM_TABLE, &table) < 0)
		return -errno;
	return 0;
}

int vhost_set_features(int fd, uint64_t features)
{
	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_SET_FEATURES);
	return ioctl(fd, VHOST_SET_FEATURES, &features) < 0 ? -errno : 0;
}

int vhost_set_call(int fd, enum vhost_ring ring, int call)
{
	struct vhost_vring_file file = { .index = ring, .fd = call };

	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_SET_VRING_CALL);
	return ioctl(fd, VHOST_SET_VRING_CALL, &file) < 0 ? -errno : 0;
}

static int set_backend(int fd, enum vhost_ring ring, int tap_fd)
{
	struct vhost_vring_file file = { .index = ring, .fd = tap_fd };

	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_NET_SET_BACKEND);
	return ioctl(fd, VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

int vhost_start(int fd, enum vhost_ring ring, const struct vhost_place *place, uint16_t base,
                int tap_fd)
{
	struct vhost_vring_state size = { .index = ring, .num = place->size };
	struct vhost_vring_state from = { .index = ring, .num = base };
	struct vhost_vring_file kick = { .index = ring, .fd = place->kick };
	struct vhost_vring_addr address = {
		.index = ring,
		.desc_user_addr = (uintptr_t)place->desc,
		.avail_user_addr = (uintptr_t)place->avail,
		.used_user_addr = (uintptr_t)place->used,
	};
	int r;

	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_SET_VRING_NUM);
	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_SET_VRING_BASE);
	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_SET_VRING_ADDR);
	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_SET_VRING_KICK);
	if (ioctl(fd, VHOST_SET_VRING_NUM, &size) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_BASE, &from) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_ADDR, &address) < 0)
		return -errno;
	r = vhost_set_call(fd, ring, place->call);
	if (r < 0)
		return r;
	if (ioctl(fd, VHOST_SET_VRING_KICK, &kick) < 0)
		return -errno;
	return set_backend(fd, ring, tap_fd);
}

int vhost_stop(int fd, enum vhost_ring ring, uint16_t *ret_base)
{
	struct vhost_vring_state state = { .index = ring };
	int r = set_backend(fd, ring, VHOST_FILE_UNBIND);

	if (r < 0)
		return r;
	SANDBOX_USES(control, ioctl,
	             arg0 in VHOST_FD_BASE..VHOST_FD_LAST && arg1 == VHOST_GET_VRING_BASE);
	if (ioctl(fd, VHOST_GET_VRING_BASE, &state) < 0)
		return -errno;
	*ret_base = (uint16_t)state.num;
	return 0;
}
