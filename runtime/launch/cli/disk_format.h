/* SPDX-License-Identifier: MIT */
/* Tells whether a file that a person names as a disk has another format than raw. */
#ifndef AXVM_CLI_DISK_FORMAT_H
#define AXVM_CLI_DISK_FORMAT_H

/* The file's format by its magic number, under the name that `qemu-img convert -f` uses. NULL if no
 * known magic number is there, or if it is not a readable file or block device. Writes nothing.
 *
 * Only for `axvm run --disk`, where a person may have named the wrong file. The shim never looks at
 * a disk's content: a guest can write such a number there. */
const char *disk_format(const char *path);

#endif
