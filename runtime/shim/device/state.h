/* SPDX-License-Identifier: MIT */
/* What the VM's devices are and keep, all of it in one static struct, and the I/O threads that
 * serve them. */
#ifndef AXVM_SHIM_DEVICE_STATE_H
#define AXVM_SHIM_DEVICE_STATE_H

#include <pthread.h>

#include "base/problem.h"
#include "bus/pci.h"
#include "interface/event.h"
#include "interface/spec.h"
#include "io/control.h"
#include "io/loop.h"
#include "machine/machine.h"
#include "sandbox/fd_layout.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

struct shim_devices;

struct shim_nets {
	int fds[SPEC_NETS_MAX][SPEC_PAIRS_MAX];   /* of the TAP's queues, by place in the spec */
	bool vhost[SPEC_NETS_MAX];                /* there is one, at its number */
	uint32_t missing_offloads[SPEC_NETS_MAX]; /* of the TAP: TUN_F_* */
	struct net *list[SPEC_NETS_MAX];          /* the same; owned */
};

/* A balloon command that is under way, of which what has come is still to be told. */
struct shim_balloon {
	bool awaited;
	uint64_t request_id, target_mib;
	uint64_t seen_bytes;    /* given up when it was last looked at */
	uint64_t standstill_ns; /* CLOCK_MONOTONIC: when it is looked at again */
};

struct shim_io {
	struct shim_devices *devices;
	uint32_t index;
	struct io_loop loop;
	pthread_t thread;
	struct problems problems; /* of the thread's start */
};

struct shim_devices {
	/* Whose they are (devices_init()); borrowed. */
	const struct vm_spec *spec;
	struct machine *machine;
	struct event_writer *events;
	struct problems *problems; /* of the launch */

	bool present; /* a flat image without local APICs has none */
	struct pci_host pci;
	struct shim_io io[IO_LOOPS_MAX];
	uint32_t io_count;
	struct control_desk control;

	int console_output, console_input; /* -1: none */
	struct console console;
	struct disk_file disk_files[SPEC_DISKS_MAX]; /* by place in the spec */
	struct block *disks;                         /* the same; owned */
	struct shim_nets nets;
	int random_fd;
	struct rng rng;
	struct balloon balloon;
	struct shim_balloon balloon_command;
	int vsock_channel;
	struct vsock vsock;
};

#endif
