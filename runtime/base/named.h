/* SPDX-License-Identifier: MIT */
/* What the host says of itself in a name and a value: parameters of modules, vulnerabilities. */
#ifndef AXVM_BASE_NAMED_H
#define AXVM_BASE_NAMED_H

struct host_named {
	char name[40];
	char value[168];
};

#endif
