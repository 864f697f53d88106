/* SPDX-License-Identifier: MIT */
/* open(2), ioctl(2), read(2) and pread(2) in place of the C library's, for the whole program. */
#include "tests/unit/rig/fake_kvm.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool (*fake_kvm_ioctl)(int fd, unsigned long request, void *argument, int *ret_result);
int (*fake_kvm_open)(void);
int (*fake_open)(const char *path);
bool (*fake_read)(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result);

/* By the names that a linker sees: the headers have inline functions of theirs. */
int open_in_place(const char *path, int flags, ...) __asm__("open");
int ioctl_in_place(int fd, unsigned long request, ...) __asm__("ioctl");
ssize_t read_in_place(int fd, void *buffer, size_t length) __asm__("read");
ssize_t pread_in_place(int fd, void *buffer, size_t length, off_t offset) __asm__("pread");

int open_in_place(const char *path, int flags, ...)
{
	int mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(args, int);
	va_end(args);
	if (fake_kvm_open && strcmp(path, "/dev/kvm") == 0)
		return fake_kvm_open();
	if (fake_open) {
		int fd = fake_open(path);

		if (fd != FAKE_OPEN_REALLY)
			return fd;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int ioctl_in_place(int fd, unsigned long request, ...)
{
	void *argument;
	va_list args;
	int result;

	va_start(args, request);
	argument = va_arg(args, void *);
	va_end(args);
	if (fake_kvm_ioctl && fake_kvm_ioctl(fd, request, argument, &result))
		return result;
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

ssize_t read_in_place(int fd, void *buffer, size_t length)
{
	ssize_t result;

	if (fake_read && fake_read(fd, buffer, length, -1, &result))
		return result;
	return syscall(SYS_read, fd, buffer, length);
}

ssize_t pread_in_place(int fd, void *buffer, size_t length, off_t offset)
{
	ssize_t result;

	if (fake_read && fake_read(fd, buffer, length, offset, &result))
		return result;
	return syscall(SYS_pread64, fd, buffer, length, offset);
}
