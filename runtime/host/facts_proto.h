/* SPDX-License-Identifier: MIT */
/* Converts facts to and from the protobuf message axvm.v1.HostFacts. */
#ifndef AXVM_HOST_FACTS_PROTO_H
#define AXVM_HOST_FACTS_PROTO_H

#include "host/facts.h"
#include "proto/axvm.pb-c.h"

/* Builds the message; the caller frees it with axvm__v1__host_facts__free_unpacked(…, NULL).
 * -ENOMEM. */
int facts_to_message(const struct host_facts *facts, Axvm__V1__HostFacts **ret);

/* Fills zeroed facts from a message of any origin: -EINVAL when there are no CPUs, or more of
 * anything than the struct holds, a CPU or node id twice or out of order. Values that do not follow
 * from other fields are taken as given. */
int facts_from_message(const Axvm__V1__HostFacts *message, struct host_facts *facts);

/* The same from packed bytes; -EBADMSG: they are not HostFacts; -ENOMEM: no address space to unpack
 * them in. */
int facts_unpack(const uint8_t *bytes, size_t size, struct host_facts *facts);

#endif
