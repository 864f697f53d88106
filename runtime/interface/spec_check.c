/* SPDX-License-Identifier: MIT */
/* The rules of a launch, as tables: what must be there, how often, between which bounds, in which
 * alphabet; then the few rules that relate fields to each other, a function each.
 *
 * Every rule runs, whatever the others found, so that one refusal lists all reasons. Hence no
 * rule relies on another having passed. */
#include "interface/spec_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "interface/profile_embedded.h"
#include "interface/reflect.h"

#define HOST_CPU_MAX 8191
#define HOST_NODE_MAX 1023
#define MEMORY_MIB_MAX (1ULL << 26) /* 2^46 bytes, the physical addresses of the smallest host */

#define INVALID(problems, path, format, ...)                                                       \
	problems_add((problems), ERROR_CODE_SPEC_INVALID, 0, (path), "launch.%s " format,          \
	             (path)__VA_OPT__(, ) __VA_ARGS__)

/* Fields that must be set wherever the message around them is set, and at most how often. */
static const struct presence {
	const char *path;
	size_t min, max;
} presences[] = {
	{ "vm_id", 1, 1 },
	{ "cpus", 1, 1 },
	{ "cpus.count", 1, 1 },
	{ "cpus.pins", 0, SPEC_CPUS_MAX },
	{ "cpus.nodes", 0, SPEC_CPUS_MAX },
	{ "memory", 1, 1 },
	{ "memory.nodes", 1, SPEC_NODES_MAX },
	{ "memory.nodes.size_mib", 1, 1 },
	{ "boot", 1, 1 },
	{ "boot.linux_boot.kernel", 1, 1 },
	{ "boot.flat_boot.image", 1, 1 },
	{ "disks", 0, SPEC_DISKS_MAX },
	{ "disks.id", 1, 1 },
	{ "disks.image", 1, 1 },
	{ "nets", 0, SPEC_NETS_MAX },
	{ "nets.id", 1, 1 },
	{ "nets.tap.fd", 1, SPEC_PAIRS_MAX },
	{ "vsock.cid", 1, 1 },
	{ "vsock.channel", 1, 1 },
	{ "sandbox.cgroup_fds", 0, SPEC_CGROUPS_MAX },
};

/* Bounds of numbers that are set; with `power_of_two` or a multiple where that matters, and
 * `or_zero` where 0 is a value of its own. */
/* clang-format off */
#define RANGE(path_, min_, max_, ...) { .path = (path_), .min = (min_), .max = (max_), __VA_ARGS__ }
/* clang-format on */

static const struct range {
	const char *path;
	uint64_t min, max, multiple;
	bool power_of_two, or_zero;
} ranges[] = {
	RANGE("cpus.count", 1, SPEC_CPUS_MAX),
	RANGE("cpus.pins", 0, HOST_CPU_MAX),
	RANGE("cpus.fifo_priority", 0, 99),
	RANGE("memory.nodes.size_mib", 1, MEMORY_MIB_MAX),
	RANGE("memory.nodes.host_node", 0, HOST_NODE_MAX),
	RANGE("boot.flat_boot.load_address", MIB, SPEC_LOAD_ADDRESS_MAX, .multiple = 4 * KIB),
	RANGE("disks.queues", 1, SPEC_QUEUES_MAX),
	RANGE("disks.queue_size", 4, SPEC_QUEUE_SIZE_MAX, .power_of_two = true),
	RANGE("disks.block_size", 512, 4096, .power_of_two = true, .or_zero = true),
	RANGE("disks.max_size", 512, INT64_MAX, .multiple = 512, .or_zero = true),
	RANGE("nets.queue_pairs", 1, SPEC_PAIRS_MAX),
	RANGE("nets.queue_size", 2, SPEC_QUEUE_SIZE_MAX, .power_of_two = true),
	RANGE("nets.mtu", 68, 65535),
	RANGE("console.columns", 1, 65535),
	RANGE("console.rows", 1, 65535),
	RANGE("balloon.stats_interval_s", 0, 86400),
	RANGE("vsock.cid", 3, UINT32_MAX - 1),
	RANGE("lifecycle.shutdown_timeout_ms", 0, 86400000),
	RANGE("sandbox.uid", 1, UINT32_MAX - 1),
	RANGE("sandbox.gid", 1, UINT32_MAX - 1),
	RANGE("metrics.interval_ms", 100, 86400000, .or_zero = true),
	RANGE("io.threads_per_node", 1, SPEC_IO_THREADS_MAX),
	RANGE("io.busy_poll_us", 0, 1000000),
};

bool spec_is_id(const char *s)
{
	size_t n = strlen(s);

	return n >= 1 && n <= SPEC_ID_MAX && s[0] != '.' && s[0] != '_' && s[0] != '-' &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static bool is_profile(const char *s)
{
	for (size_t i = 0; i < profiles_embedded_count; i++)
		if (strcmp(s, profiles_embedded[i].name) == 0)
			return true;
	return false;
}

static bool is_serial(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	return n >= 1 && n <= SPEC_SERIAL_MAX;
}

static bool is_tap_name(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~' || s[i] == '/' || s[i] == '%' || s[i] == ':')
			return false;
	return n >= 1 && n <= SPEC_TAP_NAME_MAX && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static bool is_mac(const char *s)
{
	uint8_t mac[6], all = 0;

	if (!spec_mac(s, mac))
		return false;
	for (size_t i = 0; i < sizeof(mac); i++)
		all |= mac[i];
	return all && !(mac[0] & 1);
}

static bool is_cmdline(const char *s)
{
	return strlen(s) <= SPEC_CMDLINE_MAX;
}

static const struct text {
	const char *path;
	bool (*holds)(const char *text);
	const char *must;
} texts[] = {
	{ "vm_id", spec_is_id, "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit" },
	{ "profile", is_profile, profiles_embedded_names },
	{ "boot.linux_boot.cmdline", is_cmdline, "at most 65535 bytes" },
	{ "disks.id", spec_is_id,
	  "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit" },
	{ "disks.serial", is_serial, "1 to 20 printable ASCII characters" },
	{ "nets.id", spec_is_id, "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit" },
	{ "nets.tap_name", is_tap_name, "an interface name of 1 to 15 characters" },
	{ "nets.mac", is_mac, "a unicast address of the form aa:bb:cc:dd:ee:ff" },
};

bool spec_mac(const char *text, uint8_t ret_mac[6])
{
	uint8_t mac[6] = { 0 };

	if (strlen(text) != 17)
		return false;
	for (size_t i = 0; i < 17; i++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		const char *digit = strchr(digits, text[i]);

		if (i % 3 == 2 ? text[i] != ':' : !digit)
			return false;
		if (i % 3 != 2)
			mac[i / 3] = (uint8_t)(mac[i / 3] << 4 | (uint8_t)((digit - digits) & 15));
	}
	memcpy(ret_mac, mac, sizeof(mac));
	return true;
}

/* ---- the tables' interpreters ------------------------------------------------------------- */

struct row {
	struct problems *problems;
	const void *rule;
};

static void check_presence(const struct place *place, void *context)
{
	const struct row *row = context;
	const struct presence *rule = row->rule;
	size_t count = place_count(place);

	if (count < rule->min)
		INVALID(row->problems, place->path, "is missing");
	else if (count > rule->max)
		INVALID(row->problems, place->path, "has %zu entries; at most %zu are possible",
		        count, rule->max);
}

static void check_range(const struct place *place, void *context)
{
	const struct row *row = context;
	const struct range *rule = row->rule;
	bool repeated = place->field->label == PROTOBUF_C_LABEL_REPEATED;
	size_t count = place_count(place);

	for (size_t i = 0; i < count; i++) {
		uint64_t v = place_number(place, i);
		char at[PROBLEM_FIELD_MAX + 24];

		snprintf(at, sizeof(at), repeated ? "%s[%zu]" : "%s", place->path, i);
		if (rule->or_zero && v == 0)
			continue;
		if (v < rule->min || v > rule->max)
			INVALID(row->problems, at,
			        "is %" PRIu64 "; it must be %sfrom %" PRIu64 " to %" PRIu64, v,
			        rule->or_zero ? "0 or " : "", rule->min, rule->max);
		else if (rule->power_of_two && (v & (v - 1)))
			INVALID(row->problems, at, "is %" PRIu64 "; it must be a power of two", v);
		else if (rule->multiple && v % rule->multiple)
			INVALID(row->problems, at,
			        "is 0x%" PRIx64 "; it must be a multiple of 0x%" PRIx64, v,
			        rule->multiple);
	}
}

static void check_text(const struct place *place, void *context)
{
	const struct row *row = context;
	const struct text *rule = row->rule;

	if (place_count(place) > 0 && !rule->holds(place_string(place)))
		INVALID(row->problems, place->path, "is \"%.40s\"; it must be %s",
		        place_string(place), rule->must);
}

static void internal(struct problems *problems, const char *path)
{
	problems_add(problems, ERROR_CODE_INTERNAL, 0, path,
	             "a table of rules names %s, which is no field", path);
}

#define RUN_TABLE(table, check)                                                                    \
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {                                           \
		struct row row = { problems, &(table)[i] };                                        \
		if (!reflect_each(&launch->base, (table)[i].path, check, &row))                    \
			internal(problems, (table)[i].path);                                       \
	}

/* ---- rules between fields ----------------------------------------------------------------- */

static void check_pins(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	const Axvm__V1__Cpus *cpus = launch->cpus;
	bool shared;

	if (!cpus)
		return;
	shared = cpus->overcommit && cpus->tenancy != AXVM__V1__TENANCY__TENANCY_DEDICATED;
	if (cpus->n_pins > 0 && cpus->n_pins != cpus->count)
		INVALID(problems, "cpus.pins",
		        "has %zu entries for %u vCPUs; give one each, or none", cpus->n_pins,
		        cpus->count);
	for (size_t i = 0; i < MIN(cpus->n_pins, (size_t)SPEC_CPUS_MAX) && !shared; i++)
		for (size_t j = 0; j < i; j++)
			if (cpus->pins[i] == cpus->pins[j])
				INVALID(problems, "cpus.pins",
				        "gives host CPU %u to vCPUs %zu and %zu; give each its own, or set "
				        "overcommit with SHARED tenancy",
				        cpus->pins[i], j, i);
}

/* A FIFO thread may keep its CPU from all others, so the spec must say how that CPU is chosen. */
static void check_fifo(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	const Axvm__V1__Cpus *cpus = launch->cpus;

	if (cpus && cpus->fifo_priority > 0 && cpus->n_pins == 0 && !cpus->claims &&
	    cpus->tenancy != AXVM__V1__TENANCY__TENANCY_DEDICATED)
		INVALID(problems, "cpus.fifo_priority",
		        "is %u, and the vCPUs are on no CPU of their own: give pins or claims, or make "
		        "the VM DEDICATED",
		        cpus->fifo_priority);
}

static void check_vcpu_nodes(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	const Axvm__V1__Cpus *cpus = launch->cpus;
	size_t nodes = launch->memory ? launch->memory->n_nodes : 0;

	if (!cpus || cpus->n_nodes == 0)
		return;
	if (cpus->n_nodes != cpus->count)
		INVALID(problems, "cpus.nodes",
		        "has %zu entries for %u vCPUs; give one each, or none", cpus->n_nodes,
		        cpus->count);
	for (size_t i = 0; i < MIN(cpus->n_nodes, (size_t)SPEC_CPUS_MAX); i++)
		if (cpus->nodes[i] >= nodes)
			INVALID(problems, "cpus.nodes",
			        "puts vCPU %zu on node %u; memory has %zu nodes, counted from 0", i,
			        cpus->nodes[i], nodes);
}

static void check_paravirt(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	const Axvm__V1__Paravirt *paravirt = launch->cpus ? launch->cpus->paravirt : NULL;
	uint32_t seen = 0;

	for (size_t i = 0; paravirt && i < paravirt->n_features; i++) {
		uint32_t bit = 1u << paravirt->features[i];

		if (seen & bit)
			problems_add(problems, ERROR_CODE_SPEC_DUPLICATE, 0,
			             "cpus.paravirt.features",
			             "launch.cpus.paravirt.features names entry %zu twice", i);
		seen |= bit;
	}
}

static uint64_t memory_mib(const Axvm__V1__LaunchSpec *launch)
{
	uint64_t sum = 0;

	for (size_t i = 0; launch->memory && i < launch->memory->n_nodes; i++)
		if (__builtin_add_overflow(sum, launch->memory->nodes[i]->size_mib, &sum))
			return UINT64_MAX;
	return sum;
}

static void check_memory(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	static const uint64_t page_mib[] = {
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_4K] = 1,
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_THP] = 1,
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_2M] = 2,
		[AXVM__V1__PAGE_SIZE__PAGE_SIZE_1G] = 1024,
	};
	const Axvm__V1__Memory *memory = launch->memory;

	if (!memory)
		return;
	for (size_t i = 0; i < MIN(memory->n_nodes, (size_t)SPEC_NODES_MAX); i++) {
		char path[PROBLEM_FIELD_MAX];

		snprintf(path, sizeof(path), "memory.nodes[%zu].size_mib", i);
		if (memory->nodes[i]->size_mib % page_mib[memory->page_size])
			INVALID(problems, path,
			        "is %" PRIu64 "; with pages of %" PRIu64
			        " MiB it must be a multiple of that",
			        memory->nodes[i]->size_mib, page_mib[memory->page_size]);
	}
	if (memory->n_nodes > 1 && memory_mib(launch) > MEMORY_MIB_MAX)
		INVALID(problems, "memory.nodes",
		        "add up to more than %llu MiB; give the guest less", MEMORY_MIB_MAX);
}

/* Only a set field is refused: where the spec leaves it out, the device offers no reporting. */
static void check_reporting(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	const Axvm__V1__Balloon *balloon = launch->balloon;

	if (balloon && balloon->has_free_page_reporting && balloon->free_page_reporting &&
	    launch->memory && launch->memory->page_size == AXVM__V1__PAGE_SIZE__PAGE_SIZE_1G)
		INVALID(problems, "balloon.free_page_reporting",
		        "is true, and memory.page_size is PAGE_SIZE_1G: no report is as large as a page; leave one "
		        "of them out");
}

static size_t device_count(const Axvm__V1__LaunchSpec *launch)
{
	return launch->n_disks + launch->n_nets + !!launch->rng + !!launch->balloon +
	       !!launch->vsock;
}

static void check_boot(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	const Axvm__V1__Boot *boot = launch->boot;
	const Axvm__V1__FlatBoot *flat;
	const Axvm__V1__Console *console = launch->console;

	if (boot && boot->kind_case == AXVM__V1__BOOT__KIND__NOT_SET)
		INVALID(problems, "boot", "has neither linux nor flat; give one of them");
	if (!boot || boot->kind_case != AXVM__V1__BOOT__KIND_FLAT_BOOT)
		return;
	flat = boot->flat_boot;
	if (memory_mib(launch) > 0 && flat->load_address >> 20 >= memory_mib(launch))
		INVALID(problems, "boot.flat_boot.load_address",
		        "is 0x%" PRIx64 ", beyond the guest's %" PRIu64
		        " MiB; give a lower address or more memory",
		        flat->load_address, memory_mib(launch));
	if (flat->local_apic)
		return;
	if (flat->secondaries_wait)
		INVALID(problems, "boot.flat_boot.secondaries_wait",
		        "is set without local_apic, through which INIT and SIPI come; set that too, or leave "
		        "this out");
	if (device_count(launch) > 0 || (console && !console->early))
		INVALID(problems, "boot.flat_boot.local_apic",
		        "is off, but there are devices, which need "
		        "interrupts; set it (axvm run --set 'boot { flat_boot { local_apic: "
		        "true } }'), or leave the devices out (a console that is only "
		        "`early` may stay)");
}

static void check_devices(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	size_t devices = device_count(launch) + !!launch->console;
	const Axvm__V1__Console *console = launch->console;

	if (devices > SPEC_DEVICES_MAX)
		problems_add(problems, ERROR_CODE_SPEC_INVALID, 0, "disks",
		             "launch: %zu devices, the PCI bus has room for %d; remove %zu",
		             devices, SPEC_DEVICES_MAX, devices - SPEC_DEVICES_MAX);
	if (console && console->early && !console->output)
		INVALID(problems, "console.early",
		        "is set without console.output, where it writes; give an output, or leave it out");
	if (console && console->limit && !console->output)
		INVALID(problems, "console.limit",
		        "is set without console.output, which it limits; give an output, or leave it out");
	if (console && console->has_columns != console->has_rows)
		INVALID(problems, "console.columns",
		        "and launch.console.rows go together; give both or none");
}

static void check_nets(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	for (size_t i = 0; i < MIN(launch->n_nets, (size_t)SPEC_NETS_MAX); i++) {
		const Axvm__V1__Net *net = launch->nets[i];
		char path[PROBLEM_FIELD_MAX];

		snprintf(path, sizeof(path), "nets[%zu]", i);
		if (net->backend_case == AXVM__V1__NET__BACKEND__NOT_SET)
			INVALID(problems, path, "has neither tap nor tap_name; give one of them");
		if (net->backend_case == AXVM__V1__NET__BACKEND_TAP &&
		    net->tap->n_fd != net->queue_pairs)
			INVALID(problems, path, "has %zu TAP fds for %u queue pairs; give one each",
			        net->tap->n_fd, net->queue_pairs);
		if (net->vhost && net->queue_pairs != 1)
			INVALID(problems, path,
			        "has vhost, which carries one queue pair, and queue_pairs %u; set it "
			        "to 1, or leave vhost out",
			        net->queue_pairs);
		if (net->vhost && (net->rx_limit || net->tx_limit))
			INVALID(problems, path,
			        "has vhost and a limit: rate limits do not apply with vhost; remove "
			        "one of the two, or limit the TAP (tc)");
	}
}

static const char *device_id(const Axvm__V1__LaunchSpec *launch, size_t i)
{
	return i < launch->n_disks ? launch->disks[i]->id : launch->nets[i - launch->n_disks]->id;
}

static void check_unique_ids(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	size_t count = launch->n_disks + launch->n_nets;

	if (launch->n_disks > SPEC_DISKS_MAX || launch->n_nets > SPEC_NETS_MAX)
		return;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++) {
			const char *a = device_id(launch, i), *b = device_id(launch, j);
			char path[PROBLEM_FIELD_MAX];

			if (!a || !b || strcmp(a, b) != 0)
				continue;
			if (i < launch->n_disks)
				snprintf(path, sizeof(path), "disks[%zu].id", i);
			else
				snprintf(path, sizeof(path), "nets[%zu].id", i - launch->n_disks);
			problems_add(
				problems, ERROR_CODE_SPEC_DUPLICATE, 0, path,
				"launch.%s is \"%.64s\", as is another device's; give each an id of its own",
				path, a);
		}
}

/* ---- resources ---------------------------------------------------------------------------- */

struct fds {
	struct problems *problems;
	size_t count;
	uint32_t seen[SPEC_FDS_MAX];
};

static void check_fd(struct fds *fds, const char *path, uint32_t fd)
{
	bool console = !strncmp(path, "console.", 8);

	if (fd > SPEC_FD_LAST || (fd < SPEC_FD_FIRST && !(console && fd <= STDERR_FILENO)))
		INVALID(fds->problems, path, "is fd %u; resources have fds from %d to %d%s", fd,
		        SPEC_FD_FIRST, SPEC_FD_LAST, console ? ", or 0 to 2" : "");
	for (size_t i = 0; i < fds->count; i++)
		if (fds->seen[i] == fd) {
			problems_add(
				fds->problems, ERROR_CODE_SPEC_DUPLICATE, 0, path,
				"launch.%s is fd %u, which is already given to something else; "
				"duplicate it with dup(2)",
				path, fd);
			return;
		}
	if (fds->count < SPEC_FDS_MAX)
		fds->seen[fds->count++] = fd;
}

static void check_resource(const ProtobufCMessage *message, const char *path, void *context)
{
	const Axvm__V1__Resource *resource = (const Axvm__V1__Resource *)message;
	struct fds *fds = context;

	switch (resource->source_case) {
	case AXVM__V1__RESOURCE__SOURCE_FD:
		check_fd(fds, path, resource->fd);
		break;
	case AXVM__V1__RESOURCE__SOURCE_PATH:
		if (!*resource->path || strlen(resource->path) > SPEC_PATH_MAX)
			INVALID(fds->problems, path, "has a path of %zu bytes; it must be 1 to %d",
			        strlen(resource->path), SPEC_PATH_MAX);
		break;
	default:
		INVALID(fds->problems, path, "has neither fd nor path; give one of them");
	}
}

static void check_fd_list(const struct place *place, void *context)
{
	size_t count = MIN(place_count(place), (size_t)SPEC_QUEUES_MAX);

	for (size_t i = 0; i < count; i++)
		check_fd(context, place->path, (uint32_t)place_number(place, i));
}

static void check_resources(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	struct fds fds = { .problems = problems };

	reflect_messages(&launch->base, &axvm__v1__resource__descriptor, check_resource, &fds);
	if (!reflect_each(&launch->base, "nets.tap.fd", check_fd_list, &fds) ||
	    !reflect_each(&launch->base, "sandbox.cgroup_fds", check_fd_list, &fds))
		internal(problems, "nets.tap.fd");
}

static void check_io(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	size_t nodes = launch->memory ? launch->memory->n_nodes : 0;

	if (launch->io && launch->io->threads_per_node <= SPEC_IO_THREADS_MAX &&
	    nodes * launch->io->threads_per_node > SPEC_IO_THREADS_MAX)
		INVALID(problems, "io.threads_per_node",
		        "makes %zu I/O threads for %zu nodes; at most %d are possible in all, so ask for fewer",
		        nodes * launch->io->threads_per_node, nodes, SPEC_IO_THREADS_MAX);
}

static void check_limit(const ProtobufCMessage *message, const char *path, void *context)
{
	const Axvm__V1__RateLimit *limit = (const Axvm__V1__RateLimit *)message;

	if ((limit->bytes_burst && !limit->bytes_per_s) || (limit->ops_burst && !limit->ops_per_s))
		INVALID(context, path,
		        "has a burst without its rate; give the rate too, or neither");
}

static void check_limits(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	reflect_messages(&launch->base, &axvm__v1__rate_limit__descriptor, check_limit, problems);
}

static void (*const rules[])(const Axvm__V1__LaunchSpec *launch, struct problems *problems) = {
	check_pins,      check_fifo,      check_vcpu_nodes, check_paravirt, check_memory,
	check_boot,      check_reporting, check_devices,    check_nets,     check_unique_ids,
	check_resources, check_limits,    check_io,
};

void spec_check(const Axvm__V1__LaunchSpec *launch, struct problems *problems)
{
	RUN_TABLE(presences, check_presence);
	RUN_TABLE(ranges, check_range);
	RUN_TABLE(texts, check_text);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		rules[i](launch, problems);
}
