/* SPDX-License-Identifier: MIT */
/* From an encoded LaunchSpec to struct vm_spec: walk the bytes, unpack, check, copy.
 *
 * The walk (wire.h) refuses what unpacking would pass over; the checks (spec_check.c) see a message
 * that is well-formed but for its meaning; the copy sees one that holds every rule, so it has
 * nothing left to refuse. Only the copy writes to the result. */
#include "interface/spec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "interface/arena.h"
#include "interface/spec_check.h"
#include "interface/wire.h"
#include "proto/axvm.pb-c.h"

/* A launch of 1 MiB of empty messages unpacks to more than this, but no valid launch does. */
#define ARENA_SIZE (8 * MIB)
#define NAME_SHOWN_MAX ((size_t)64)

/* ---- the copy: every size below was checked
 * ------------------------------------------------------ */

static void copy_text(char *to, size_t size, const char *text)
{
	size_t n = text ? strnlen(text, size - 1) : 0;

	if (n > 0)
		memcpy(to, text, n);
	to[n] = '\0';
}

/* Room for all strings that pass the checks is reserved by SPEC_STRINGS_SIZE. */
static const char *keep(struct vm_spec *spec, const char *text)
{
	char *at = spec->strings + spec->strings_used;
	size_t room = sizeof(spec->strings) - spec->strings_used;

	copy_text(at, room, text);
	spec->strings_used += MIN(strlen(at) + 1, room - 1);
	return at;
}

/* Every fd that the launch names comes through here, so that the shim knows which ones to keep. */
static int name_fd(struct vm_spec *spec, uint32_t fd)
{
	assert(spec->fds_count < ARRAY_SIZE(spec->fds));
	spec->fds[spec->fds_count++] = (int)fd;
	return (int)fd;
}

static struct spec_resource resource(struct vm_spec *spec, const Axvm__V1__Resource *r)
{
	if (r && r->source_case == AXVM__V1__RESOURCE__SOURCE_FD)
		return (struct spec_resource){ RESOURCE_SOURCE_FD, name_fd(spec, r->fd), NULL };
	if (r && r->source_case == AXVM__V1__RESOURCE__SOURCE_PATH)
		return (struct spec_resource){ RESOURCE_SOURCE_PATH, -1, keep(spec, r->path) };
	return (struct spec_resource){ RESOURCE_SOURCE_NOT_SET, -1, NULL };
}

static struct spec_limit limit(const Axvm__V1__RateLimit *l)
{
	if (!l)
		return (struct spec_limit){ 0 };
	return (struct spec_limit){ l->bytes_per_s, l->bytes_burst, l->ops_per_s, l->ops_burst };
}

static void copy_cpus(struct vm_spec *spec, const Axvm__V1__Cpus *from)
{
	struct spec_cpus *to = &spec->cpus;

	to->count = from->count;
	to->pins_count = from->n_pins;
	for (size_t i = 0; i < from->n_pins; i++)
		to->pins[i] = from->pins[i];
	to->tenancy = (enum axvm_tenancy)from->tenancy;
	to->has_paravirt = from->paravirt;
	for (size_t i = 0; from->paravirt && i < from->paravirt->n_features; i++)
		to->paravirt |= 1u << from->paravirt->features[i];
	to->fifo_priority = from->fifo_priority;
	to->core_scheduling = from->core_scheduling;
	to->overcommit = from->overcommit;
	to->nodes_count = from->n_nodes;
	for (size_t i = 0; i < from->n_nodes; i++)
		to->nodes[i] = (uint8_t)from->nodes[i];
	to->claims = resource(spec, from->claims);
}

static void copy_memory(struct spec_memory *to, const Axvm__V1__Memory *from)
{
	to->count = from->n_nodes;
	for (size_t i = 0; i < from->n_nodes; i++) {
		const Axvm__V1__MemoryNode *node = from->nodes[i];

		to->nodes[i].size = node->size_mib * MIB;
		to->nodes[i].host_node = node->has_host_node ? (int)node->host_node : -1;
	}
	to->page_size = (enum axvm_page_size)from->page_size;
	to->populate = from->populate;
	to->lock = from->lock;
	to->remote_pages_allowed = from->remote_pages_allowed;
}

static void copy_boot(struct vm_spec *spec, const Axvm__V1__Boot *from)
{
	struct spec_boot *to = &spec->boot;
	const Axvm__V1__LinuxBoot *kernel =
		from->kind_case == AXVM__V1__BOOT__KIND_LINUX_BOOT ? from->linux_boot : NULL;
	const Axvm__V1__FlatBoot *flat = kernel ? NULL : from->flat_boot;

	to->kind = kernel ? BOOT_KIND_LINUX_BOOT : BOOT_KIND_FLAT_BOOT;
	to->kernel = resource(spec, kernel ? kernel->kernel : NULL);
	to->initrd = resource(spec, kernel ? kernel->initrd : NULL);
	to->image = resource(spec, flat ? flat->image : NULL);
	to->cmdline = keep(spec, kernel ? kernel->cmdline : NULL);
	to->measure = from->measure;
	if (flat) {
		to->load_address = GPA(flat->load_address);
		to->local_apic = flat->local_apic;
		to->secondaries_wait = flat->secondaries_wait;
	}
}

static void copy_disk(struct vm_spec *spec, struct spec_disk *to, const Axvm__V1__Disk *from)
{
	copy_text(to->id, sizeof(to->id), from->id);
	copy_text(to->serial, sizeof(to->serial), from->serial ? from->serial : from->id);
	to->image = resource(spec, from->image);
	to->read_only = from->read_only;
	to->direct = from->direct;
	to->queues = from->queues;
	to->queue_size = from->queue_size;
	to->block_size = from->block_size;
	to->max_size = from->max_size;
	to->discard = from->discard;
	to->cache = (enum axvm_cache_mode)from->cache;
	to->limit = limit(from->limit);
}

static void copy_net(struct vm_spec *spec, struct spec_net *to, const Axvm__V1__Net *from)
{
	copy_text(to->id, sizeof(to->id), from->id);
	if (from->backend_case == AXVM__V1__NET__BACKEND_TAP_NAME) {
		copy_text(to->tap_name, sizeof(to->tap_name), from->tap_name);
	} else {
		to->tap_fds_count = from->tap->n_fd;
		for (size_t i = 0; i < from->tap->n_fd; i++)
			to->tap_fds[i] = name_fd(spec, from->tap->fd[i]);
	}
	to->has_mac = from->mac && spec_mac(from->mac, to->mac);
	to->offloads = from->offloads;
	to->queue_pairs = from->queue_pairs;
	to->queue_size = from->queue_size;
	to->mtu = from->mtu;
	to->rx_limit = limit(from->rx_limit);
	to->tx_limit = limit(from->tx_limit);
	to->vhost = resource(spec, from->vhost);
}

static void copy_singletons(struct vm_spec *spec, const Axvm__V1__LaunchSpec *from)
{
	static const Axvm__V1__Console no_console = AXVM__V1__CONSOLE__INIT;
	static const Axvm__V1__Balloon no_balloon = AXVM__V1__BALLOON__INIT;
	static const Axvm__V1__Vsock no_vsock = AXVM__V1__VSOCK__INIT;
	static const struct spec_limit console_limit = { .bytes_per_s = MIB,
		                                         .bytes_burst = 8 * MIB };
	const Axvm__V1__Console *console = from->console ? from->console : &no_console;
	const Axvm__V1__Balloon *balloon = from->balloon ? from->balloon : &no_balloon;
	const Axvm__V1__Vsock *vsock = from->vsock ? from->vsock : &no_vsock;

	spec->console.present = from->console;
	spec->console.early = console->early;
	spec->console.output = resource(spec, console->output);
	spec->console.input = resource(spec, console->input);
	spec->console.columns = console->columns;
	spec->console.rows = console->rows;
	spec->console.limited = console->limit;
	spec->console.limit = console->limit ? limit(console->limit) : console_limit;
	spec->rng.present = from->rng;
	spec->rng.limit = limit(from->rng ? from->rng->limit : NULL);
	spec->balloon.present = from->balloon;
	spec->balloon.deflate_on_oom = balloon->deflate_on_oom;
	spec->balloon.free_page_reporting = balloon->free_page_reporting;
	spec->balloon.stats_interval_s = balloon->stats_interval_s;
	spec->vsock.present = from->vsock;
	spec->vsock.cid = vsock->cid;
	spec->vsock.channel = resource(spec, vsock->channel);
}

static void copy_policies(struct vm_spec *spec, const Axvm__V1__LaunchSpec *from)
{
	static const Axvm__V1__Lifecycle default_lifecycle = AXVM__V1__LIFECYCLE__INIT;
	static const Axvm__V1__Sandbox default_sandbox = AXVM__V1__SANDBOX__INIT;
	static const Axvm__V1__Io default_io = AXVM__V1__IO__INIT;
	const Axvm__V1__Lifecycle *life = from->lifecycle ? from->lifecycle : &default_lifecycle;
	const Axvm__V1__Sandbox *sandbox = from->sandbox ? from->sandbox : &default_sandbox;
	const Axvm__V1__Io *io = from->io ? from->io : &default_io;

	spec->lifecycle.on_control_eof = (enum axvm_on_control_eof)life->on_control_eof;
	spec->lifecycle.shutdown_timeout_ms = life->shutdown_timeout_ms;
	spec->lifecycle.stop_when_launcher_dies = life->stop_when_launcher_dies;
	spec->sandbox.has_uid = sandbox->has_uid;
	spec->sandbox.has_gid = sandbox->has_gid;
	spec->sandbox.uid = sandbox->uid;
	spec->sandbox.gid = sandbox->gid;
	spec->sandbox.cgroups_count = sandbox->n_cgroup_fds;
	for (size_t i = 0; i < sandbox->n_cgroup_fds; i++)
		spec->sandbox.cgroup_fds[i] = name_fd(spec, sandbox->cgroup_fds[i]);
	spec->metrics_interval_ms = from->metrics ? from->metrics->interval_ms : 0;
	spec->io.threads_per_node = io->threads_per_node;
	spec->io.busy_poll_us = io->busy_poll_us;
}

static void copy(struct vm_spec *spec, const Axvm__V1__LaunchSpec *from)
{
	/* Clears all but descriptors and strings: their pages stay untouched until they are
	 * used. */
	memset(spec, 0, offsetof(struct vm_spec, fds));
	copy_text(spec->vm_id, sizeof(spec->vm_id), from->vm_id);
	copy_text(spec->profile, sizeof(spec->profile), from->profile);
	spec->admission = (enum axvm_admission)from->admission;
	copy_cpus(spec, from->cpus);
	copy_memory(&spec->memory, from->memory);
	copy_boot(spec, from->boot);
	spec->disks_count = from->n_disks;
	for (size_t i = 0; i < from->n_disks; i++)
		copy_disk(spec, &spec->disks[i], from->disks[i]);
	spec->nets_count = from->n_nets;
	for (size_t i = 0; i < from->n_nets; i++)
		copy_net(spec, &spec->nets[i], from->nets[i]);
	copy_singletons(spec, from);
	copy_policies(spec, from);
}

/* Whoever writes a bare LaunchSpec to fd 3 has its first field, vm_id, taken for the launch. No
 * launch that can be started is all text: the tags of what is in `boot` are not. */
static bool is_name(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] <= ' ' || bytes[i] >= 0x7f)
			return false;
	return n > 0;
}

int spec_parse(const uint8_t *bytes, size_t n, struct vm_spec *ret, struct problems *problems)
{
	_cleanup_(arena_unmap) struct arena arena = { 0 };
	size_t before = problems->count + problems->not_listed;
	Axvm__V1__LaunchSpec *launch;
	ProtobufCAllocator allocator;
	int r;

	if (is_name(bytes, n))
		return problems_add(problems, ERROR_CODE_SPEC_MALFORMED, 0, NULL,
		                    "launch: it is no message but the text \"%.*s\"; a bare "
		                    "LaunchSpec goes into ControlStream.launch",
		                    (int)MIN(n, NAME_SHOWN_MAX), (const char *)bytes);
	r = wire_check(&axvm__v1__launch_spec__descriptor, bytes, n, "launch", problems);
	if (r < 0)
		return r;
	r = arena_map(&arena, ARENA_SIZE);
	if (r < 0)
		return problems_add(problems, ERROR_CODE_OS_FAILED, -r, NULL,
		                    "cannot map memory to unpack the launch: %s", errno_text(-r));
	allocator = arena_allocator(&arena);
	launch = axvm__v1__launch_spec__unpack(&allocator, n, bytes);
	if (!launch && arena.exhausted)
		return problems_add(problems, ERROR_CODE_SPEC_TOO_LARGE, 0, NULL,
		                    "the launch has more entries than any VM can use; remove some");
	if (!launch)
		return problems_add(
			problems, ERROR_CODE_SPEC_MALFORMED, 0, NULL,
			"the launch cannot be decoded as axvm.v1.LaunchSpec; encode it by proto/axvm.proto");
	spec_check(launch, problems);
	if (problems->count + problems->not_listed > before)
		return -EINVAL;
	copy(ret, launch);
	return 0;
}
