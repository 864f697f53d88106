/* SPDX-License-Identifier: MIT */
/* What a launch must satisfy beyond its schema. Internal to spec_parse(). */
#ifndef AXVM_INTERFACE_SPEC_CHECK_H
#define AXVM_INTERFACE_SPEC_CHECK_H

#include "base/problem.h"
#include "interface/spec_values.h"
#include "proto/axvm.pb-c.h"

/* Adds a problem for every rule that the launch breaks. */
void spec_check(const Axvm__V1__LaunchSpec *launch, struct problems *problems);

/* Whether the text is of the alphabet of vm_id and of devices' ids. */
bool spec_is_id(const char *s);

/* "aa:bb:cc:dd:ee:ff" to bytes; false when it is not of that form. */
bool spec_mac(const char *text, uint8_t ret_mac[6]);

#endif
