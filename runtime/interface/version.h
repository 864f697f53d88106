/* SPDX-License-Identifier: MIT */
/* The versions of the runtime and of its interface. */
#ifndef AXVM_INTERFACE_VERSION_H
#define AXVM_INTERFACE_VERSION_H

#define AXVM_VERSION "0.1.0"

/* Of proto/axvm.proto: grows with every release that changes it (proto/released/CHANGELOG.md). */
#define AXVM_INTERFACE_VERSION 1

#endif
