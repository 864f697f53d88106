/* SPDX-License-Identifier: MIT */
/* A file that is loaded into guest memory: its size is taken once, and it is read straight into
 * place. */
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

/* Checks the file. Refuses one that is not open, not regular, or empty. */
int boot_image_open(const struct boot_file *file, const char *what, enum axvm_error_code invalid,
                    struct problems *problems, struct boot_image *ret);

/* Reads exactly `length` bytes at `offset` into the host's `buffer`. */
int boot_image_read(const struct boot_image *image, uint64_t offset, void *buffer, size_t length,
                    struct problems *problems);

/* Reads exactly `length` bytes at `offset` to guest-physical `gpa`, across adjoining regions. If
 * the target is not RAM: -EFAULT and ERROR_CODE_INTERNAL, since callers have checked it. */
int boot_image_load(const struct boot_image *image, uint64_t offset, uint64_t length, gpa_t gpa,
                    const struct guest_memory *memory, struct problems *problems);

/* Adds a problem with the image's code (`invalid`): "the <what> …". Returns -errno. */
int boot_image_refuse(const struct boot_image *image, struct problems *problems, const char *format,
                      ...) _printf_(3, 4);

/* Copies `length` bytes to `gpa`, a place of the layout below 1 MiB. If there is no RAM, it refuses
 * with a problem that names memory.nodes. */
int boot_place(const struct guest_memory *memory, gpa_t gpa, const void *source, size_t length,
               const char *what, struct problems *problems);

#endif
