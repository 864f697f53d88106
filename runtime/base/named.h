/* SPDX-License-Identifier: MIT */
/* A name and a value that the host reports: a module's parameter, a vulnerability. */
#ifndef AXVM_BASE_NAMED_H
#define AXVM_BASE_NAMED_H

struct host_named {
	char name[40];
	char value[168];
};

#endif
