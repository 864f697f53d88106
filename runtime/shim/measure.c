/* SPDX-License-Identifier: MIT */
/* Digests of what is booted, when the spec asks for them.
 *
 * A file can change while it is read, and the loader reads parts of it several times: a digest of
 * the file says nothing of what was loaded. So the file is read once, into a memfd that is then
 * sealed, and both the digest and the loader use that copy. What a writer changes meanwhile is in
 * both or in neither. memfd_create(2), fcntl(2). */
#include "shim/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/image.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
#define CHUNK (16 * 1024) /* of the stack, whose pages stay with the VM */

static int cannot(const struct boot_image *image, struct problems *problems, const char *what)
{
	return problems_add(problems,
	                    errno == ENOMEM || errno == ENOSPC ? ERROR_CODE_MEMORY_UNAVAILABLE
	                                                       : ERROR_CODE_OS_FAILED,
	                    errno, image->field,
	                    "the %s cannot be %s for boot.measure: %s; launch without that",
	                    image->what, what, errno_text(errno));
}

/* A kernel that knows executable memfds of old has them refused by its own flag, and sealed so. */
static int new_memory(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static int copy(const struct boot_image *image, int fd, struct problems *problems)
{
	uint8_t bytes[CHUNK];

	for (uint64_t at = 0; at < image->size;) {
		size_t length = (size_t)MIN((uint64_t)sizeof(bytes), image->size - at);
		int r = boot_image_read(image, at, bytes, length, problems);

		if (r < 0)
			return r;
		if (write_all(fd, bytes, length) < 0)
			return cannot(image, problems, "copied");
		at += length;
	}
	return 0;
}

/* Seals the copy, then asks the kernel which seals are set rather than trusting the call. */
static int seal(const struct boot_image *image, int fd, struct problems *problems)
{
	int seals;

	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return cannot(image, problems, "sealed");
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return cannot(image, problems, "sealed");
	if ((seals & SEALS) != SEALS)
		return problems_add(
			problems, ERROR_CODE_OS_FAILED, EBADMSG, image->field,
			"the copy of the %s for boot.measure has seals 0x%x instead of 0x%x: this kernel does "
			"not seal memory; launch without boot.measure",
			image->what, (unsigned int)seals, (unsigned int)SEALS);
	return 0;
}

/* Of the copy, once it is sealed. */
static int digest_of(const struct boot_image *image, char text[static SHA256_HEX_SIZE],
                     struct problems *problems)
{
	uint8_t bytes[CHUNK], digest[SHA256_SIZE];
	struct sha256 hash;

	sha256_begin(&hash);
	for (uint64_t at = 0; at < image->size;) {
		size_t length = (size_t)MIN((uint64_t)sizeof(bytes), image->size - at);
		int r = boot_image_read(image, at, bytes, length, problems);

		if (r < 0)
			return r;
		sha256_add(&hash, bytes, length);
		at += length;
	}
	sha256_end(&hash, digest);
	sha256_hex(digest, text);
	return 0;
}

int measure_copy(const struct measured *measured, uint64_t most, int *ret_fd,
                 char text[static SHA256_HEX_SIZE], struct problems *problems)
{
	_cleanup_close_ int fd = -1;
	struct boot_image image, sealed;
	int r = boot_image_open(&measured->file, measured->what, measured->invalid, problems,
	                        &image);

	if (r < 0)
		return r;
	if (image.size > most)
		return problems_add(
			problems, ERROR_CODE_SPEC_INVALID, EFBIG, image.field,
			"the %s has %" PRIu64 " bytes, and with boot.measure it may have %" PRIu64
			": strip it, give the guest more memory, or launch without boot.measure",
			image.what, image.size, most);
	fd = new_memory(image.what);
	if (fd < 0)
		return cannot(&image, problems, "copied");
	r = copy(&image, fd, problems);
	if (r == 0)
		r = seal(&image, fd, problems);
	sealed = image;
	sealed.fd = fd;
	if (r == 0)
		r = digest_of(&sealed, text, problems);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}
