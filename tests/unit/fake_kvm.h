/* SPDX-License-Identifier: MIT */
/* A KVM made up: open(2) and ioctl(2) of this program are asked here first, so that what is asked of KVM can be
 * seen, and every answer and refusal tried, on any machine. Both are as ever while nobody has said otherwise. */
#ifndef AXVM_TESTS_FAKE_KVM_H
#define AXVM_TESTS_FAKE_KVM_H

#include <stdbool.h>

/* True when *ret_result (with errno where it is -1) is the answer; false when the kernel's own is wanted. On the
 * calling thread, which may be one that makes no system calls any more. */
extern bool (*fake_kvm_ioctl)(int fd, unsigned long request, void *argument, int *ret_result);

/* What opening /dev/kvm gives: a descriptor, or -1 with errno. NULL: what the machine has. */
extern int (*fake_kvm_open)(void);

#endif
