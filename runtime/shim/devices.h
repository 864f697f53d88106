/* SPDX-License-Identifier: MIT */
#ifndef AXVM_SHIM_DEVICES_H
#define AXVM_SHIM_DEVICES_H
struct shim;
struct shim_devices { int dummy; };
int devices_build(struct shim *shim);
void devices_stop(struct shim *shim);
#endif
