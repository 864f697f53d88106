/* SPDX-License-Identifier: MIT */
/* A KVM made up: open(2) and ioctl(2) of this program are asked here first, so that what is asked
 * of KVM can be seen, and every answer and refusal tried, on any machine; and other device files,
 * and reads that come to an end early. All are as ever while nobody has said otherwise. */
#ifndef AXVM_TESTS_FAKE_KVM_H
#define AXVM_TESTS_FAKE_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* True when *ret_result (with errno where it is -1) is the answer; false when the kernel's own is
 * wanted. On the calling thread, which may be one that makes no system calls any more. */
extern bool (*fake_kvm_ioctl)(int fd, unsigned long request, void *argument, int *ret_result);

/* What opening /dev/kvm gives: a descriptor, or -1 with errno. NULL: what the machine has. */
extern int (*fake_kvm_open)(void);

/* What opening any other path gives: a descriptor, -1 with errno, or FAKE_OPEN_REALLY: what the
 * machine has. */
#define FAKE_OPEN_REALLY (-2)
extern int (*fake_open)(const char *path);

/* Likewise for read(2), whose offset here is -1, and pread(2): true when *ret_result is the
 * answer. */
extern bool (*fake_read)(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result);

#endif
