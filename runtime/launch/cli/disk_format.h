/* SPDX-License-Identifier: MIT */
/* Whether a file that a person calls a disk is of another format than raw. */
#ifndef AXVM_CLI_DISK_FORMAT_H
#define AXVM_CLI_DISK_FORMAT_H

/* The format that the file has by its magic numbers, as `qemu-img convert -f` calls it; NULL when
 * it has none of those known here, or is no file or block device that can be read. Nothing is
 * written.
 *
 * For `axvm run --disk` alone, where a person may have taken one file for another. The shim never
 * looks: what is in a disk is the guest's, which can write such a number there. */
const char *disk_format(const char *path);

#endif
