/* SPDX-License-Identifier: MIT */
/* The file behind a disk.
 *
 * Formats are never probed: the guest writes the file's content, and a header that the guest wrote
 * must not make the host open another file. The lock keeps two VMs from writing one image, and one
 * VM from having it as two disks; it is advisory, but the tools that work on images honour it. */
#include "io/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/uses.h"
#include "io/patience.h"

#define BLOCK_MAX 4096u /* the largest logical block of a disk */

static int wrong(const struct disk_file_config *config, struct problems *problems,
                 enum axvm_error_code code, int error, const char *what)
{
	if (!config->path)
		return problems_add(problems, code, error, config->field, "fd %d %s", config->fd,
		                    what);
	return problems_add(problems, code, error, config->field, "\"%s\" %s", config->path, what);
}

static int open_path(const struct disk_file_config *config, int *ret_fd, struct problems *problems)
{
	/* O_NONBLOCK: a FIFO in its place must not hang the launch. */
	int flags = (config->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(config->path, flags);

	if (fd < 0 && errno == EISDIR)
		return problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, EISDIR, config->field,
		                    "\"%s\" is a directory: name a raw image or a block device",
		                    config->path);
	if (fd < 0)
		return problems_add(problems,
		                    errno == ENOENT ? ERROR_CODE_RESOURCE_MISSING
		                                    : ERROR_CODE_RESOURCE_UNREADABLE,
		                    errno, config->field, "cannot open \"%s\" for %s: %s",
		                    config->path, config->read_only ? "reading" : "writing",
		                    errno_text(errno));
	*ret_fd = fd;
	return 0;
}

static int check_access(const struct disk_file_config *config, int fd, struct problems *problems)
{
	int flags = fcntl(fd, F_GETFL);
	int mode = flags & O_ACCMODE;
	int only_read = 0;
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return wrong(config, problems, ERROR_CODE_RESOURCE_MISSING, EBADF,
		             "is not open: hand it over to the shim at exec");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return wrong(
			config, problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL,
			S_ISDIR(st.st_mode)
				? "is a directory: name a raw image or a block device"
				: "is neither a file nor a block device: name a raw image or a "
				  "block device");
	if ((flags & (O_PATH | O_APPEND)) || mode == O_WRONLY ||
	    (mode == O_RDONLY && !config->read_only))
		return wrong(config, problems, ERROR_CODE_RESOURCE_UNREADABLE, EBADF,
		             config->read_only ? "cannot be read"
		                               : "cannot be read and written (or appends); set "
		                                 "read_only, or open it O_RDWR");
	if (S_ISBLK(st.st_mode) && !config->read_only && ioctl(fd, BLKROGET, &only_read) == 0 &&
	    only_read)
		return wrong(config, problems, ERROR_CODE_RESOURCE_UNREADABLE, EROFS,
		             "is a device that cannot be written; set read_only");
	/* With O_NONBLOCK io_uring would return EAGAIN instead of waiting. */
	flags = (flags & ~O_NONBLOCK) | (config->direct ? O_DIRECT : 0);
	if (fcntl(fd, F_SETFL, flags) < 0)
		return wrong(config, problems, ERROR_CODE_RESOURCE_WRONG_KIND, errno,
		             config->direct ? "is where there is no O_DIRECT; leave direct out"
		                            : "cannot be set up");
	return 0;
}

static int lock(const struct disk_file_config *config, int fd, struct problems *problems)
{
	struct flock whole = {
		.l_type = config->read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};
	unsigned waited = 0;
	int r;

	do
		r = fcntl(fd, F_OFD_SETLK, &whole);
	while (r < 0 && (errno == EAGAIN || errno == EACCES) && io_patience(&waited));
	if (r == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return wrong(config, problems, ERROR_CODE_OS_FAILED, errno, "cannot be locked");
	return wrong(config, problems, ERROR_CODE_RESOURCE_UNREADABLE, EBUSY,
	             config->read_only ? "is being written by another VM or program (it is locked)"
	                               : "is in use by another disk, VM or program (it is locked)");
}

int disk_file_length(int fd, uint64_t *ret_size)
{
	off_t end;

	SANDBOX_USES(control, lseek, arg1 == 0 && arg2 == SEEK_END);
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	if (end % DISK_SECTOR != 0)
		return -EINVAL;
	*ret_size = (uint64_t)end;
	return 0;
}

static uint32_t block_or(uint64_t value, uint32_t otherwise)
{
	if (value < DISK_SECTOR || value > MIB || (value & (value - 1)) != 0)
		return otherwise;
	return (uint32_t)value;
}

/* Limits of a block device, from the block layer. */
static void probe_device(struct disk_file *file)
{
	int logical = 0;
	unsigned physical = 0;
	unsigned optimal = 0;

	(void)ioctl(file->fd, BLKSSZGET, &logical);
	(void)ioctl(file->fd, BLKPBSZGET, &physical);
	(void)ioctl(file->fd, BLKIOOPT, &optimal);
	file->logical_block = block_or((uint64_t)logical, DISK_SECTOR);
	file->physical_block = MAX(block_or(physical, file->logical_block), file->logical_block);
	file->optimal_io = optimal;
	file->memory_align = file->direct ? file->logical_block : 1;
}

/* Limits of a file, from its file system. */
static void probe_file(struct disk_file *file, const struct stat *st)
{
	struct statx stx = { 0 };

	file->logical_block = DISK_SECTOR;
	file->memory_align = 1;
	if (file->direct) {
		file->logical_block = BLOCK_MAX;
		file->memory_align = BLOCK_MAX;
		if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
		    (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align > 0) {
			file->logical_block = block_or(stx.stx_dio_offset_align, DISK_SECTOR);
			file->memory_align = MAX(stx.stx_dio_mem_align, 1u);
		}
	}
	file->physical_block = MAX(MIN(block_or((uint64_t)st->st_blksize, DISK_SECTOR), BLOCK_MAX),
	                           file->logical_block);
}

static int measure(const struct disk_file_config *config, struct disk_file *file,
                   struct problems *problems)
{
	int r = disk_file_length(file->fd, &file->size);
	struct stat st;

	if (r == -EINVAL)
		return wrong(
			config, problems, ERROR_CODE_IMAGE_INVALID, EINVAL,
			"has a length that is no multiple of 512 bytes: is it a raw image? Another "
			"format must be converted to raw (qemu-img convert -O raw)");
	if (r < 0 || fstat(file->fd, &st) < 0)
		return wrong(config, problems, ERROR_CODE_OS_FAILED, errno, "cannot be measured");
	if (file->size == 0)
		return wrong(config, problems, ERROR_CODE_IMAGE_INVALID, EINVAL, "is empty");
	file->regular = S_ISREG(st.st_mode);
	if (file->regular)
		probe_file(file, &st);
	else
		probe_device(file);
	file->ranges.align = 1;
	if (!file->read_only)
		disk_ranges_probe(file->fd, &st, config->sysfs ? config->sysfs : "/sys",
		                  file->logical_block, &file->ranges);
	file->max_size = config->max_size;
	if (file->max_size == 0)
		file->max_size = file->regular && !file->read_only ? file->size : UINT64_MAX;
	if (file->logical_block > BLOCK_MAX || file->size % file->logical_block != 0)
		return problems_add(
			problems, ERROR_CODE_IMAGE_INVALID, EINVAL, config->field,
			"the length, %llu bytes, must be a multiple of the block "
			"of %u bytes (at most %u): is it a raw image? If so, leave direct "
			"out, or give it whole blocks",
			(unsigned long long)file->size, file->logical_block, BLOCK_MAX);
	return 0;
}

int disk_file_open(const struct disk_file_config *config, struct disk_file *ret,
                   struct problems *problems)
{
	struct disk_file file = { .fd = config->fd,
		                  .read_only = config->read_only,
		                  .direct = config->direct };
	bool opened = false;
	int r = 0;

	if (file.fd < 0) {
		r = open_path(config, &file.fd, problems);
		opened = r == 0;
	}
	r = r ? r : check_access(config, file.fd, problems);
	r = r ? r : lock(config, file.fd, problems);
	r = r ? r : measure(config, &file, problems);
	if (r < 0) {
		if (opened)
			close_ptr(&file.fd);
		return r;
	}
	*ret = file;
	return 0;
}

void disk_file_close(struct disk_file *file)
{
	close_ptr(&file->fd);
}
