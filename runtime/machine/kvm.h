/* SPDX-License-Identifier: MIT */
/* Opens /dev/kvm and checks every capability that the machine relies on. */
#ifndef AXVM_MACHINE_KVM_H
#define AXVM_MACHINE_KVM_H

#include "base/problem.h"

/* Opens /dev/kvm (close-on-exec; the caller owns *ret_fd). -errno with one problem if it is
 * missing, denied, or not KVM with API version 12. */
int kvm_open(int *ret_fd, struct problems *problems);

/* Compares the KVM behind `kvm_fd` with the table of required capabilities. Adds one problem that
 * names all missing ones, and one if `vcpus` is more than KVM allows. */
int kvm_check(int kvm_fd, uint32_t vcpus, struct problems *problems);

#endif
