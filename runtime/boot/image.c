/* SPDX-License-Identifier: MIT */
/* Files on their way into guest memory.
 *
 * The size is taken once, by fstat, and bounds everything after it. If the file changes meanwhile,
 * a pread can only return fewer bytes, which is refused; the bytes are validated in the copy that
 * is used. There is no bounce buffer: pread writes into guest memory, in as few calls as the
 * regions and the kernel's own limit (a little under 2 GiB a call) allow. */
#include "boot/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *kind_of(mode_t mode)
{
	return S_ISDIR(mode)    ? "a directory"
	       : S_ISFIFO(mode) ? "a pipe"
	       : S_ISSOCK(mode) ? "a socket"
	       : S_ISBLK(mode)  ? "a block device"
	                        : "a character device";
}

int boot_image_open(const struct boot_file *file, const char *what, enum axvm_error_code invalid,
                    struct problems *problems, struct boot_image *ret)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_MISSING, errno, file->field,
		                    "the %s cannot be looked at (fd %d): %s", what, file->fd,
		                    errno_text(errno));
	if (!S_ISREG(st.st_mode))
		return problems_add(
			problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, file->field,
			"the %s (fd %d) is %s, not a regular file: save it to one first", what,
			file->fd, kind_of(st.st_mode));
	if (st.st_size <= 0)
		return problems_add(problems, invalid, ENODATA, file->field, "the %s is empty",
		                    what);
	*ret = (struct boot_image){
		.fd = file->fd,
		.field = file->field,
		.what = what,
		.invalid = invalid,
		.size = (uint64_t)st.st_size,
	};
	return 0;
}

int boot_image_refuse(const struct boot_image *image, struct problems *problems, const char *format,
                      ...)
{
	char message[PROBLEM_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return problems_add(problems, image->invalid, EINVAL, image->field, "the %s %s",
	                    image->what, message);
}

/* Reads with one pread(2); *ret_done is less than `length` only by the limit of one call. */
static int read_some(const struct boot_image *image, uint64_t offset, void *buffer, size_t length,
                     struct problems *problems, size_t *ret_done)
{
	ssize_t n;

	do
		n = pread(image->fd, buffer, length, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_UNREADABLE, errno, image->field,
		                    "the %s cannot be read (fd %d, byte %" PRIu64 "): %s",
		                    image->what, image->fd, offset, errno_text(errno));
	if (n == 0)
		return boot_image_refuse(image, problems,
		                         "ends at byte %" PRIu64 ", %zu bytes too early: "
		                         "it is truncated, or it shrank while it was read",
		                         offset, length);
	*ret_done = (size_t)n;
	return 0;
}

int boot_image_read(const struct boot_image *image, uint64_t offset, void *buffer, size_t length,
                    struct problems *problems)
{
	uint8_t *out = buffer;

	while (length > 0) {
		size_t done = 0;
		int r = read_some(image, offset, out, length, problems, &done);

		if (r < 0)
			return r;
		out += done;
		offset += done;
		length -= done;
	}
	return 0;
}

/* Bytes of RAM from `gpa` to the end of its region; 0 outside RAM. */
static uint64_t region_left(const struct guest_memory *memory, gpa_t gpa)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (gpa.v >= region->base.v && gpa.v - region->base.v < region->size)
			return region->size - (gpa.v - region->base.v);
	}
	return 0;
}

int boot_image_load(const struct boot_image *image, uint64_t offset, uint64_t length, gpa_t gpa,
                    const struct guest_memory *memory, struct problems *problems)
{
	while (length > 0) {
		uint64_t step = MIN(length, region_left(memory, gpa));
		void *target = guest_memory_at(memory, gpa, step);
		int r;

		if (!target)
			return problems_add(problems, ERROR_CODE_INTERNAL, EFAULT, image->field,
			                    "the %s was to be loaded at 0x%" PRIx64
			                    ", which is not RAM",
			                    image->what, gpa.v);
		r = boot_image_read(image, offset, target, step, problems);
		if (r < 0)
			return r;
		offset += step;
		gpa.v += step;
		length -= step;
	}
	return 0;
}

int boot_place(const struct guest_memory *memory, gpa_t gpa, const void *source, size_t length,
               const char *what, struct problems *problems)
{
	int r = guest_memory_write(memory, gpa, source, length);

	if (r < 0)
		return problems_add(problems, ERROR_CODE_SPEC_INVALID, -r, "memory.nodes",
		                    "there is no RAM at 0x%" PRIx64 " for the %s: give the guest "
		                    "at least 2 MiB",
		                    gpa.v, what);
	return 0;
}
