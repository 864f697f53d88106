/* SPDX-License-Identifier: MIT */
/* A file that is loaded into guest memory: opened once, bounded once, read straight into place. */
#ifndef AXVM_BOOT_IMAGE_H
#define AXVM_BOOT_IMAGE_H

#include "boot/entry.h"

struct boot_image {
	int fd; /* borrowed */
	const char *field;
	const char *what; /* "kernel", "initrd", "image": the subject of messages */
	enum axvm_error_code invalid;
	uint64_t size; /* bytes, as of the start; never 0 */
};

/* Looks at the file. Refuses what is not open, not a regular file, or empty. */
int boot_image_open(const struct boot_file *file, const char *what, enum axvm_error_code invalid,
                    struct problems *problems, struct boot_image *ret);

/* Reads exactly `length` bytes at `offset` into the host's `buffer`. */
int boot_image_read(const struct boot_image *image, uint64_t offset, void *buffer, size_t length,
                    struct problems *problems);

/* Reads exactly `length` bytes at `offset` to guest-physical `gpa`, across regions that adjoin. A
 * target that is not RAM is -EFAULT and ERROR_CODE_INTERNAL: callers have checked it. */
int boot_image_load(const struct boot_image *image, uint64_t offset, uint64_t length, gpa_t gpa,
                    const struct guest_memory *memory, struct problems *problems);

/* Adds a problem of the image's own code: "the <what> …". Returns -errno. */
int boot_image_refuse(const struct boot_image *image, struct problems *problems, const char *format,
                      ...) _printf_(3, 4);

/* Copies `length` bytes to where the layout has a place below 1 MiB; refuses, with a word about
 * memory.nodes, when there is no RAM there. */
int boot_place(const struct guest_memory *memory, gpa_t gpa, const void *source, size_t length,
               const char *what, struct problems *problems);

#endif
