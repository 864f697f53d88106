/* SPDX-License-Identifier: MIT */
/* The version of the runtime. */
#ifndef AXVM_INTERFACE_VERSION_H
#define AXVM_INTERFACE_VERSION_H

#define AXVM_VERSION "0.1.0"

#endif
