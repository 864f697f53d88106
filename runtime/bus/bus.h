/* SPDX-License-Identifier: MIT */
/* interim */
#ifndef AXVM_BUS_BUS_H
#define AXVM_BUS_BUS_H
#include "base/base.h"
struct bus_ops {
	void (*read)(void *ctx, uint64_t offset, unsigned length, void *data);
	void (*write)(void *ctx, uint64_t offset, unsigned length, const void *data);
};
enum bus_space { BUS_PORT, BUS_MMIO };
struct bus { struct { enum bus_space space; uint64_t base, size; const struct bus_ops *ops; void *ctx; } r[32]; size_t n; };
int bus_add(struct bus *bus, enum bus_space space, uint64_t base, uint64_t size, const struct bus_ops *ops, void *ctx);
void bus_read(struct bus *bus, enum bus_space space, uint64_t address, unsigned length, void *data);
void bus_write(struct bus *bus, enum bus_space space, uint64_t address, unsigned length, const void *data);
#endif
