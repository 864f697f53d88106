/* SPDX-License-Identifier: MIT */
/* The spec's resources, taken over or opened. */
#ifndef AXVM_SHIM_DEVICE_RESOURCES_H
#define AXVM_SHIM_DEVICE_RESOURCES_H

#include <sys/stat.h>

#include "base/problem.h"
#include "interface/spec.h"

/* How a resource is used; decides how a path is opened and which access mode an fd must have. */
enum resource_use { RESOURCE_READ, RESOURCE_APPEND, RESOURCE_READ_WRITE };

/* Gives the fd of a resource, opened when it is a path (close-on-exec; an output file is created
 * with mode 0600 and appended to). *ret_fd is -1 for RESOURCE_SOURCE_NOT_SET. One problem with
 * `field` and -errno when the fd is not open, or cannot be used so. */
int resource_take(const struct spec_resource *resource, enum resource_use use, const char *field,
                  int *ret_fd, struct problems *problems);

/* Keeps the other end of a FIFO or a PTY's master open as long as the process lives, because
 * clients may come and go: reads then never find end of file, and writes always find a reader. It
 * opens a FIFO again for both directions, in the place of `fd`; of a PTY it opens the slave. Other
 * files are left as they are. A problem with `field` and -errno if that is not allowed. Before
 * confine. */
int resource_hold_open(int fd, const char *field, struct problems *problems);

/* Resources that were taken, or none (`fd` negative), and what each is for. */
struct resource_claims {
	size_t count;
	struct resource_claim {
		int fd;
		bool written;
		/* a regular file or a block device; resource_check_claims() fills it in */
		bool is_file;
		struct stat st; /* likewise */
		char field[PROBLEM_FIELD_MAX];
	} list[SPEC_RESOURCES_MAX];
};

/* Adds one, for the field that `format` gives. `written`: by the guest. */
void resource_claim(struct resource_claims *claims, int fd, bool written, const char *format, ...)
	_printf_(4, 5);

/* Adds a problem for each claim whose kind the kernel does not tell, and for each pair of claims on
 * one regular file or block device of which one is written. Pipes, sockets, terminals and other
 * devices may be used twice. */
void resource_check_claims(struct resource_claims *claims, struct problems *problems);

#endif
