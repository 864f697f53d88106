/* SPDX-License-Identifier: MIT */
/* /dev/kvm: opening it, and checking every capability the machine relies on. */
#ifndef AXVM_MACHINE_KVM_H
#define AXVM_MACHINE_KVM_H

#include "base/problem.h"

/* Opens /dev/kvm (close-on-exec; the caller owns *ret_fd). -errno with one problem added when it is
 * missing, denied, or not KVM with API version 12. */
int kvm_open(int *ret_fd, struct problems *problems);

/* Holds the KVM behind `kvm_fd` against the table of capabilities relied upon. Adds one problem
 * that names all that are missing, and one when `vcpus` is more than KVM allows. */
int kvm_check(int kvm_fd, uint32_t vcpus, struct problems *problems);

#endif
