/* SPDX-License-Identifier: MIT */
/* TAP devices (Documentation/networking/tuntap.rst of the kernel).
 *
 * A TAP is never created here: a name that does not exist is a mistake of the launcher's, and
 * TUNSETIFF would silently create the interface. So the name and its kind are looked up first;
 * TUNSETIFF also returns EINVAL for every mismatch alike.
 *
 * The offloads are off until a driver has negotiated them, so a driver understands every frame that
 * waited in the TAP before. */
#include "io/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/uses.h"
#include "io/patience.h"

#define TUN_DEVICE "/dev/net/tun"

/* ------------------------------------------------------------------------------------- by name */

/* The kind of an interface by its driver: "tap", "tun", or "" for anything else. It asks the
 * interface itself, since sysfs may show another network namespace than ours. */
static void kind_of(const char *name, char kind[static ETHTOOL_BUSINFO_LEN])
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (void *)&info };

	kind[0] = '\0';
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0 && strcmp(info.driver, "tun") == 0)
		memcpy(kind, info.bus_info, ETHTOOL_BUSINFO_LEN);
}

static int check_name(const struct tap_request *request, struct problems *problems)
{
	const char *name = request->name;
	char kind[ETHTOOL_BUSINFO_LEN];

	if (if_nametoindex(name) == 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_MISSING, errno, request->field,
		                    "there is no interface \"%s\" in the shim's network namespace; "
		                    "create it (ip tuntap add mode tap) before the launch",
		                    name);
	kind_of(name, kind);
	if (strcmp(kind, "tun") == 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL,
		                    request->field,
		                    "interface \"%s\" is a TUN, which carries no Ethernet; create "
		                    "it with mode tap",
		                    name);
	if (strcmp(kind, "tap") != 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL,
		                    request->field, "interface \"%s\" is no TAP", name);
	return 0;
}

static int attach_failed(const struct tap_request *request, int error, uint32_t queue,
                         struct problems *problems)
{
	static const struct {
		int error;
		enum axvm_error_code code;
		const char *why;
	} reasons[] = {
		{ EBUSY, ERROR_CODE_RESOURCE_UNREADABLE, "it is in use by another process" },
		{ EPERM, ERROR_CODE_RESOURCE_UNREADABLE,
		  "it belongs to another user; create it with the launcher's user, or hand it over "
		  "as fds" },
		{ E2BIG, ERROR_CODE_HOST_LIMIT, "it has no more queues to give" },
		/* The interface is a TAP, so EINVAL is about queues. */
		{ EINVAL, ERROR_CODE_RESOURCE_WRONG_KIND,
		  "it has a single queue, and several queue pairs are asked for; create it with "
		  "multi_queue, or ask for one" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].error == error)
			return problems_add(problems, reasons[i].code, error, request->field,
			                    "cannot attach queue %u to TAP \"%s\": %s", queue,
			                    request->name, reasons[i].why);
	return problems_add(problems, ERROR_CODE_OS_FAILED, error, request->field,
	                    "cannot attach queue %u to TAP \"%s\": %s", queue, request->name,
	                    errno_text(error));
}

/* A TAP made with several queues can be used with one, but only if the flag says so. */
static int set_interface(int fd, const struct tap_request *request)
{
	struct ifreq wanted = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	snprintf(wanted.ifr_name, sizeof(wanted.ifr_name), "%s", request->name);
	if (request->queues == 1) {
		if (ioctl(fd, TUNSETIFF, &wanted) == 0)
			return 0;
		if (errno != EINVAL)
			return -errno;
	}
	wanted.ifr_flags |= IFF_MULTI_QUEUE;
	return ioctl(fd, TUNSETIFF, &wanted) < 0 ? -errno : 0;
}

/* EBUSY, E2BIG: all queues of the TAP are taken, perhaps by a VM that has just ended. */
static int set_interface_in_time(int fd, const struct tap_request *request)
{
	unsigned waited = 0;
	int r;

	do
		r = set_interface(fd, request);
	while ((r == -EBUSY || r == -E2BIG) && io_patience(&waited));
	return r;
}

static int attach(const struct tap_request *request, uint32_t queue, int *ret_fd,
                  struct problems *problems)
{
	_cleanup_close_ int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0)
		return problems_add(problems,
		                    errno == ENOENT || errno == ENODEV
		                            ? ERROR_CODE_RESOURCE_MISSING
		                            : ERROR_CODE_RESOURCE_UNREADABLE,
		                    errno, request->field,
		                    "cannot open %s to attach to TAP \"%s\": %s", TUN_DEVICE,
		                    request->name, errno_text(errno));
	r = set_interface_in_time(fd, request);
	if (r < 0)
		return attach_failed(request, -r, queue, problems);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* --------------------------------------------------------------------------------------- by fd */

/* `name` is the previous queue's interface, or "" for the first queue. It cannot check IFF_NO_PI:
 * in TUNGETIFF the same bit means the absence of a filter. */
static int check_fd(const struct tap_request *request, int fd, char name[static IFNAMSIZ],
                    struct problems *problems)
{
	struct ifreq have = { 0 };
	int mode = fcntl(fd, F_GETFL);
	const char *why = NULL;

	if (mode < 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_MISSING, EBADF, request->field,
		                    "fd %d is not open: hand it over to the shim at exec", fd);
	if (ioctl(fd, TUNGETIFF, &have) < 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, errno, request->field,
		                    errno == EBADFD ? "fd %d is attached to no TAP: the launcher "
		                                      "must do so (TUNSETIFF)"
		                                    : "fd %d is no queue of a TAP",
		                    fd);
	if ((mode & O_ACCMODE) != O_RDWR)
		why = "is not open for reading and writing";
	else if (!(have.ifr_flags & IFF_TAP))
		why = "is a TUN, which carries no Ethernet: attach it with IFF_TAP";
	else if (!(have.ifr_flags & IFF_VNET_HDR))
		why = "has no virtio-net header: attach it with IFF_VNET_HDR";
	else if (have.ifr_flags & IFF_DETACH_QUEUE)
		why = "is detached from its TAP: enable it (TUNSETQUEUE)";
	else if (request->queues > 1 && !(have.ifr_flags & IFF_MULTI_QUEUE))
		why = "is of a TAP with a single queue, and there are several queue pairs: attach "
		      "them with IFF_MULTI_QUEUE";
	else if (name[0] && strncmp(name, have.ifr_name, IFNAMSIZ) != 0)
		why = "is of another TAP than the queue before it";
	if (why)
		return problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL,
		                    request->field, "fd %d (\"%.*s\") %s", fd, IFNAMSIZ,
		                    have.ifr_name, why);
	memcpy(name, have.ifr_name, IFNAMSIZ);
	return 0;
}

/* ------------------------------------------------------------------------------------ for both */

static int prepare(const struct tap_request *request, int fd, struct problems *problems)
{
	int header = TAP_HEADER_BYTES;
	int little_endian = 1;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
	    ioctl(fd, TUNSETVNETLE, &little_endian) < 0 || ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return problems_add(problems, ERROR_CODE_OS_FAILED, errno, request->field,
		                    "cannot prepare the TAP: %s", errno_text(errno));
	return 0;
}

int tap_take(const struct tap_request *request, int *ret_fds, struct problems *problems)
{
	bool by_name = request->name && request->name[0];
	char name[IFNAMSIZ] = "";
	int fds[TAP_QUEUES_MAX];
	uint32_t taken = 0;
	int r = by_name ? check_name(request, problems) : 0;

	if (request->queues > TAP_QUEUES_MAX)
		return problems_add(problems, ERROR_CODE_HOST_LIMIT, E2BIG, request->field,
		                    "a TAP has at most %d queues", TAP_QUEUES_MAX);
	while (r == 0 && taken < request->queues) {
		fds[taken] = by_name ? -1 : request->fds[taken];
		r = by_name ? attach(request, taken, &fds[taken], problems)
		            : check_fd(request, fds[taken], name, problems);
		if (r == 0)
			r = prepare(request, fds[taken++], problems);
	}
	if (r == 0)
		memcpy(ret_fds, fds, taken * sizeof(*fds));
	else if (by_name)
		for (uint32_t i = 0; i < taken; i++)
			close_ptr(&fds[i]);
	return r;
}

unsigned int tap_missing_offloads(int fd)
{
	/* Each offload with those that it requires. */
	static const unsigned int sets[] = {
		TUN_F_CSUM,
		TUN_F_CSUM | TUN_F_TSO4,
		TUN_F_CSUM | TUN_F_TSO6,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN,
		TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN,
	};
	const unsigned int all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	unsigned int taken = ioctl(fd, TUNSETOFFLOAD, (unsigned long)all) == 0 ? all : 0;

	for (size_t i = 0; taken != all && i < ARRAY_SIZE(sets); i++)
		if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)sets[i]) == 0)
			taken |= sets[i];
	(void)ioctl(fd, TUNSETOFFLOAD, 0);
	return all & ~taken;
}

int tap_set_offloads(int fd, unsigned int offloads)
{
	SANDBOX_USES(control, ioctl, arg0 in TAP_FD_BASE..TAP_FD_LAST && arg1 == TUNSETOFFLOAD);
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno : 0;
}
