/* SPDX-License-Identifier: MIT */
/* Formats of disk images by their magic numbers, after the documents of their makers: QEMU's
 * docs/interop/qcow2.rst and qed_spec.rst, VMware's "Virtual Disk Format 5.0", Microsoft's
 * [MS-VHDX] 2.2.1 and "Virtual Hard Disk Image Format Specification" 1.0, VirtualBox's VDICore.h.
 *
 * LUKS is not among them: a guest that encrypts its whole disk makes such a one, and it is raw. */
#include "launch/cli/disk_format.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"

#define MAGIC_MAX 24
#define AT_FOOTER (-512) /* from the end */

static const struct format {
	const char *name; /* qemu-img's */
	off_t offset;     /* from the start; negative: from the end */
	size_t length;
	const char magic[MAGIC_MAX];
} formats[] = {
	{ "qcow", 0, 8, "QFI\xfb\0\0\0\1" },
	{ "qcow2", 0, 4, "QFI\xfb" },
	{ "qed", 0, 4, "QED" }, /* with the zero byte */
	{ "vmdk", 0, 4, "KDMV" },
	{ "vmdk", 0, 4, "COWD" },
	{ "vmdk", 0, 21, "# Disk DescriptorFile" },
	{ "vhdx", 0, 8, "vhdxfile" },
	{ "vpc", 0, 8, "conectix" },
	{ "vpc", AT_FOOTER, 8, "conectix" },
	{ "vdi", 0x40, 4, "\x7f\x10\xda\xbe" },
};

static bool has(int fd, off_t size, const struct format *format)
{
	off_t at = format->offset < 0 ? size + format->offset : format->offset;
	char bytes[MAGIC_MAX];

	return at >= 0 && pread(fd, bytes, format->length, at) == (ssize_t)format->length &&
	       memcmp(bytes, format->magic, format->length) == 0;
}

const char *disk_format(const char *path)
{
	/* O_NONBLOCK: a FIFO must not hang us. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	off_t size;

	if (fd < 0 || fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return NULL;
	size = lseek(fd, 0, SEEK_END);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (has(fd, size, &formats[i]))
			return formats[i].name;
	return NULL;
}
