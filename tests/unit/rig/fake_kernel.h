/* SPDX-License-Identifier: MIT */
/* A kernel that answers chosen system calls as a test wants: one that says yes and does nothing,
 * one that says no, one of another version. For a child that ends soon: nothing takes it back. */
#ifndef AXVM_TESTS_FAKE_KERNEL_H
#define AXVM_TESTS_FAKE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when *ret_result (a value, or -errno) is the answer; false when the kernel's own is wanted.
 * Runs in a signal handler on the calling thread, threads that the caller starts later among
 * them. */
typedef bool (*fake_answer)(long nr, const uint64_t args[static 6], long *ret_result);

/* From here on `answer` has its say in each of the calls named, `count` of them up to 16. Needs
 * no_new_privs or CAP_SYS_ADMIN; is one seccomp filter more for the thread. 0 or -errno. */
int fake_kernel_begin(const long *calls, size_t count, fake_answer answer);

/* The call itself, from inside an answer too. A value or -errno. */
long fake_kernel_call(long nr, const uint64_t args[static 6]);

#endif
