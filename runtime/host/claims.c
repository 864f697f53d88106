/* SPDX-License-Identifier: MIT */
/* Claims by open file description locks.
 *
 * Each CPU has a file, instead of a range in one file, because every call walks a file's list of
 * locks. With 2,000 VMs on 40 CPUs a claim takes 2,000 calls; they cost 17 ms in one file, 2.4 in a
 * file each (0.3 and 0.4 with 200 VMs; a busy machine of 2 CPUs). A sealed process has no
 * descriptors of these files: see claims_keep().
 *
 * Everybody who may open /dev/kvm can write to the folder, and can therefore keep others from
 * claiming. They must not be able to hang a launch, or to make it open anything but a regular file
 * in the folder: files are opened without following links, without waiting and without becoming a
 * terminal; nothing is read or written; a call that would wait for a lock is never made; and the
 * number of tries is bounded, whichever slots are locked. */
#include "host/claims.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"

#define MEMORY_SLOT_MIB 64
#define MEMORY_SLOTS (1ULL << 40) /* of a node: more than any node has */
/* How often a node's memory is looked at, and how many places are tried, before it counts as
 * full. */
#define MEMORY_LOOKS_MAX 256
#define MEMORY_IN_ORDER 64 /* of them from the beginning on */
/* The same for a caller that only asks how much is claimed, and can take longer. */
#define MEMORY_COUNT_MAX 16384

int claims_open(struct claims *claims, int fd, const char *path, bool looks)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int directory = path ? open(path, flags) : openat(fd, ".", flags);

	if (directory < 0)
		return -errno;
	/* The lists stay as claims_close() leaves them, so that a shim writes only to the pages
	 * that it uses. */
	claims->open = true;
	claims->looks = looks;
	claims->directory = directory;
	return 0;
}

/* The first launch that needs the file makes it, with the mode for the folder's whole group
 * whatever the umask. The mode must be right from the start, because another launch may open the
 * file as soon as it exists. */
static int make_file(int directory, const char *name)
{
	const mode_t before = umask(0);
	int fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);

	if (fd < 0)
		fd = -errno;
	(void)umask(before);
	return fd;
}

/* Translates the errors of open(2) for a file that is not regular, and for one with a lease
 * (fcntl(2), F_SETLEASE), which must not be mistaken for a claim. */
static int open_error(int error)
{
	if (error == ELOOP || error == EISDIR || error == ENXIO)
		return -EMEDIUMTYPE;
	return error == EAGAIN ? -EBUSY : -error;
}

/* Opens without O_CREAT first, because with it the kernel refuses another user's file in a folder
 * like this one (fs.protected_regular). */
static int open_file(int directory, const char *name, bool make)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	_cleanup_close_ int fd = openat(directory, name, flags);
	struct stat st;

	if (fd < 0 && errno == ENOENT && make) {
		fd = make_file(directory, name);
		if (fd == -EEXIST)
			fd = openat(directory, name, flags);
		else if (fd < 0)
			errno = -fd;
	}
	if (fd < 0)
		return open_error(errno);
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? take_fd(&fd) : -EMEDIUMTYPE;
}

/* The descriptor of a CPU's or node's file, which is opened if it is not open yet. -ENOENT: there
 * is no file, and this caller only looks. */
static int file_of(struct claims *claims, struct claims_file *file, const char *name)
{
	int fd;

	if (!claims->open)
		return -EBADF;
	if (file->opened)
		return file->fd;
	fd = open_file(claims->directory, name, !claims->looks);
	if (fd >= 0)
		*file = (struct claims_file){ .fd = fd, .opened = true };
	return fd;
}

/* There is no file, because nobody has claimed anything of it yet: all slots are free. A launch
 * that claims makes the file. */
static bool all_free(const struct claims *claims, int fd)
{
	return fd == -ENOENT && claims->looks;
}

static int cpu_file(struct claims *claims, uint32_t cpu)
{
	char name[32];

	if (cpu >= FACTS_CPUS_MAX)
		return -EINVAL;
	snprintf(name, sizeof(name), "cpu%u", cpu);
	return file_of(claims, &claims->cpus[cpu], name);
}

/* The file of a node's pages of one size; a VM has only one page size. */
static int node_file(struct claims *claims, uint32_t node)
{
	char name[48];

	if (node >= FACTS_NODES_MAX)
		return -EINVAL;
	if (claims->page_kib > 4)
		snprintf(name, sizeof(name), "node%u-%llukB", node,
		         (unsigned long long)claims->page_kib);
	else
		snprintf(name, sizeof(name), "node%u", node);
	return file_of(claims, &claims->nodes[node], name);
}

struct span {
	uint64_t start, length;
};

static int lock(int fd, int type, struct span span)
{
	struct flock request = {
		.l_type = (short)type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)span.start,
		.l_len = (off_t)span.length,
	};

	return fcntl(fd, F_OFD_SETLK, &request) < 0 ? -errno : 0;
}

/* Looks for locks of others in the span: -EAGAIN with one of them, or 0 if there is none. */
static int look(int fd, struct span span, struct span *ret_taken)
{
	struct flock request = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)span.start,
		.l_len = (off_t)span.length,
	};

	if (fcntl(fd, F_OFD_GETLK, &request) < 0) {
		int error = errno;

		/* EAGAIN does not report a lock here, whichever file system returns it. */
		return error == EAGAIN ? -EIO : -error;
	}
	if (request.l_type == F_UNLCK)
		return 0;
	/* A length of 0 means to the end of the file. */
	*ret_taken = (struct span){ (uint64_t)request.l_start,
		                    request.l_len > 0 ? (uint64_t)request.l_len : INT64_MAX };
	return -EAGAIN;
}

static struct span slot_span(enum claims_range range, uint32_t slot)
{
	return (struct span){ (uint64_t)range * CLAIMS_SLOTS + slot, 1 };
}

static const struct span all_slots = { 0, 2ULL * CLAIMS_SLOTS };

static int take(struct claims *claims, uint32_t cpu, struct span span)
{
	struct span taken;
	int fd = cpu_file(claims, cpu), r;

	if (fd < 0)
		return all_free(claims, fd) ? 0 : fd;
	r = claims->looks ? look(fd, span, &taken) : lock(fd, F_WRLCK, span);
	if (r == 0)
		claims->cpus[cpu].held++;
	return r == -EACCES ? -EAGAIN : r; /* fcntl(2) may return either */
}

static void drop(struct claims *claims, uint32_t cpu, struct span span)
{
	struct claims_file *file = &claims->cpus[cpu];

	if (!file->opened || file->held == 0)
		return;
	file->held--;
	if (!claims->looks)
		(void)lock(file->fd, F_UNLCK, span);
}

int claims_take(struct claims *claims, uint32_t cpu, enum claims_range range, uint32_t slot)
{
	return slot < CLAIMS_SLOTS ? take(claims, cpu, slot_span(range, slot)) : -EINVAL;
}

int claims_take_whole(struct claims *claims, uint32_t cpu)
{
	return take(claims, cpu, all_slots);
}

void claims_drop(struct claims *claims, uint32_t cpu, enum claims_range range, uint32_t slot)
{
	drop(claims, cpu, slot_span(range, slot));
}

void claims_drop_whole(struct claims *claims, uint32_t cpu)
{
	drop(claims, cpu, all_slots);
}

/* ------------------------------------------------------------------------------------- looking */

/* The slots of a span that others have locked, at most `most`; and how often the kernel may be
 * asked, after which the whole span counts as locked. */
struct count {
	uint64_t found, most;
	uint32_t looks;
};

/* Adds to a count. The kernel reports any one lock in the span, so the parts to its left and right
 * are searched again. */
static int count_taken(int fd, struct span span, struct count *count)
{
	struct span taken = { 0 };
	uint64_t end = span.start + span.length, from, to;
	int r;

	if (span.length == 0 || count->found >= count->most)
		return 0;
	if (count->looks == 0) {
		count->found = count->most;
		return 0;
	}
	count->looks--;
	r = look(fd, span, &taken);
	if (r != -EAGAIN)
		return r;
	from = MAX(taken.start, span.start);
	to = MIN(taken.start + taken.length, end);
	count->found = MIN(count->found + (to - from), count->most);
	r = count_taken(fd, (struct span){ span.start, from - span.start }, count);
	return r < 0 ? r : count_taken(fd, (struct span){ to, end - to }, count);
}

static int count_range(int fd, enum claims_range range, uint32_t *ret)
{
	struct count count = { .most = CLAIMS_LEVELS_MAX, .looks = 2 * CLAIMS_LEVELS_MAX };
	int r = count_taken(fd, (struct span){ slot_span(range, 0).start, CLAIMS_SLOTS }, &count);

	if (r == 0)
		*ret = (uint32_t)count.found;
	return r;
}

bool claims_whole(struct claims *claims, uint32_t cpu)
{
	struct span taken = { 0 };
	int fd = cpu_file(claims, cpu);

	return fd >= 0 && look(fd, all_slots, &taken) == -EAGAIN && taken.start == 0 &&
	       taken.length >= all_slots.length;
}

int claims_look(struct claims *claims, uint32_t cpu, struct claims_load *ret)
{
	struct claims_load load = { 0 };
	int fd = cpu_file(claims, cpu), r;

	if (fd < 0 && !all_free(claims, fd))
		return fd;
	if (fd >= 0) {
		load.whole = claims_whole(claims, cpu);
		r = count_range(fd, CLAIMS_VCPU, &load.vcpus);
		r = r < 0 ? r : count_range(fd, CLAIMS_IO, &load.io);
		if (r < 0)
			return r;
	}
	*ret = load;
	return 0;
}

static bool is_free(struct claims *claims, uint32_t cpu, struct span span)
{
	struct span taken;
	int fd = cpu_file(claims, cpu);

	return all_free(claims, fd) || (fd >= 0 && look(fd, span, &taken) == 0);
}

bool claims_idle(struct claims *claims, uint32_t cpu)
{
	return is_free(claims, cpu, (struct span){ 0, CLAIMS_SLOTS });
}

bool claims_untouched(struct claims *claims, uint32_t cpu)
{
	return is_free(claims, cpu, all_slots);
}

/* -------------------------------------------------------------------------------------- memory */

static struct span memory_span(uint64_t mib, uint64_t slot)
{
	return (struct span){ slot,
		              MAX((mib + MEMORY_SLOT_MIB - 1) / MEMORY_SLOT_MIB, (uint64_t)1) };
}

/* The number of slots, from the first on, in which to look for a place: the free memory minus the
 * slots that others hold beyond them. Others claimed those while more was free, and may not have
 * populated all of it yet. Called until the result no longer changes. */
static int room_of(int fd, uint64_t free_slots, uint64_t *ret)
{
	const uint64_t far = INT64_MAX;
	struct count beyond = { .most = free_slots, .looks = MEMORY_LOOKS_MAX };
	uint64_t room = free_slots, before;

	do {
		int r;

		beyond.found = 0;
		r = count_taken(fd, (struct span){ room, far - room }, &beyond);
		if (r < 0)
			return r;
		before = room;
		room = free_slots - beyond.found;
	} while (room < before);
	*ret = room;
	return 0;
}

/* The first place that others have left free. It is behind this VM's own slots, which its own
 * search does not see. */
static int take_room(const struct claims *claims, int fd, uint64_t room, struct span *wanted)
{
	const uint64_t first = wanted->start;

	for (unsigned tries = MEMORY_LOOKS_MAX; tries > 0; tries--) {
		struct span taken = { 0 };
		int r;

		if (wanted->length > room || wanted->start > room - wanted->length)
			return -EAGAIN;
		r = look(fd, *wanted, &taken);
		/* On a host full of VMs the beginning is taken: then tries random places. */
		if (r == -EAGAIN && tries < MEMORY_LOOKS_MAX - MEMORY_IN_ORDER)
			wanted->start = first + (monotonic_ns() * 2654435761u >> 8) %
			                                (room - first - wanted->length + 1);
		else if (r == -EAGAIN)
			wanted->start = taken.start + taken.length;
		else if (r < 0 || claims->looks)
			return r;
		else if ((r = lock(fd, F_WRLCK, *wanted)) != -EAGAIN)
			return r;
		/* Another VM has just claimed here: look again. */
	}
	return -EAGAIN;
}

int claims_take_memory(struct claims *claims, uint32_t node, uint64_t mib, uint64_t free_mib,
                       uint64_t *ret_slot)
{
	struct claims_file *file = &claims->nodes[node < FACTS_NODES_MAX ? node : 0];
	struct span wanted = memory_span(mib, file->end);
	uint64_t room = free_mib / MEMORY_SLOT_MIB;
	int fd = node_file(claims, node), r;

	if (all_free(claims, fd)) {
		if (wanted.length > room)
			return -EAGAIN;
		*ret_slot = 0;
		return 0;
	}
	r = fd < 0 ? fd : room_of(fd, room, &room);
	r = r < 0 ? r : take_room(claims, fd, room, &wanted);
	if (r < 0)
		return r;
	file->held++;
	file->end = wanted.start + wanted.length;
	*ret_slot = wanted.start;
	return 0;
}

void claims_drop_memory(struct claims *claims, uint32_t node, uint64_t mib, uint64_t slot)
{
	struct claims_file *file = &claims->nodes[node];
	struct span span = memory_span(mib, slot);

	if (!file->opened || file->held == 0)
		return;
	file->held--;
	if (file->held == 0)
		file->end = 0;
	else if (file->end == slot + span.length)
		file->end = slot;
	if (!claims->looks)
		(void)lock(file->fd, F_UNLCK, span);
}

int claims_look_memory(struct claims *claims, uint32_t node, uint64_t *ret_mib)
{
	int fd = node_file(claims, node), r = 0;
	struct count count = { .most = MEMORY_SLOTS, .looks = MEMORY_COUNT_MAX };

	if (!all_free(claims, fd)) {
		r = fd < 0 ? fd : count_taken(fd, (struct span){ 0, MEMORY_SLOTS }, &count);
		if (r < 0 || count.looks == 0)
			return r < 0 ? r : -E2BIG;
	}
	*ret_mib = count.found * MEMORY_SLOT_MIB;
	return 0;
}

static void close_files(struct claims_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (files[i].opened) {
			close(files[i].fd);
			files[i] = (struct claims_file){ 0 };
		}
}

void claims_drop_all_memory(struct claims *claims)
{
	if (claims->open)
		close_files(claims->nodes, ARRAY_SIZE(claims->nodes));
}

/* -------------------------------------------------------------------------------------- ending */

static int keep_files(const struct claims_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (files[i].held > 0 &&
		    mmap(NULL, 1, PROT_NONE, MAP_SHARED, files[i].fd, 0) == MAP_FAILED)
			return -errno;
	return 0;
}

int claims_keep(struct claims *claims)
{
	int r = 0;

	if (claims->open && !claims->looks) {
		r = keep_files(claims->cpus, ARRAY_SIZE(claims->cpus));
		r = r < 0 ? r : keep_files(claims->nodes, ARRAY_SIZE(claims->nodes));
	}
	claims_close(claims);
	return r;
}

void claims_close(struct claims *claims)
{
	if (!claims->open)
		return;
	close_files(claims->cpus, ARRAY_SIZE(claims->cpus));
	close_files(claims->nodes, ARRAY_SIZE(claims->nodes));
	close(claims->directory);
	claims->open = false;
}
