/* SPDX-License-Identifier: MIT */
/* The flags of `axvm run`.
 *
 * A flag that describes the VM is turned into a fragment of the spec in protobuf text, the fragment
 * into bytes, and the bytes are strung together, which by the rules of Protocol Buffers merges
 * messages and appends to lists. So a flag is a line of text here and --set is just another one. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "launch/cli/disk_format.h"
#include "launch/cli/run_items.h"
#include "launch/cli/run_options.h"
#include "launch/cli/stable_mac.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"

#define FRAGMENT_MAX 16384
#define DEFAULT_MEMORY_MIB 512

static int complain(const char *format, ...) _printf_(1, 2);
static int complain(const char *format, ...)
{
	va_list args;

	fputs("axvm run: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EX_USAGE;
}

/* Whether a flag may stand beside a spec file, and replaces what is said there. */
static bool overrides(const char *flag)
{
	static const char *const flags[] = {
		"set", "id", "profile", "report", "on-exit", "claims"
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(flag, flags[i]) == 0)
			return true;
	return false;
}

/* Adds a fragment of the spec, in text. `flag` is what to name when it is wrong. */
static int add(struct run_options *options, const char *flag, const char *format, ...)
	_printf_(3, 4);
static int add(struct run_options *options, const char *flag, const char *format, ...)
{
	_cleanup_free_ char *text = malloc(FRAGMENT_MAX);
	struct text_error error = { 0 };
	ProtobufCMessage *message = NULL;
	uint8_t *bigger;
	size_t size;
	va_list args;
	int n, r;

	if (!options->first_spec_flag && !overrides(flag))
		options->first_spec_flag = flag;
	if (!text)
		return complain("out of memory");
	va_start(args, format);
	n = vsnprintf(text, FRAGMENT_MAX, format, args);
	va_end(args);
	if (n >= FRAGMENT_MAX)
		return complain("--%s is too long", flag);
	r = text_parse(text, (size_t)n, &axvm__v1__launch_spec__descriptor, &message, &error);
	if (r == -ENOMEM)
		return complain("out of memory");
	/* Where in the text it is helps only who wrote it. */
	if (r < 0 && strcmp(flag, "set") == 0)
		return complain("--set: line %u, column %u: %s%s%s", error.line, error.column,
		                error.field, error.field[0] ? ": " : "", error.message);
	if (r < 0)
		return complain("--%s: %s: %s", flag, error.field, error.message);
	size = protobuf_c_message_get_packed_size(message);
	bigger = realloc(options->fragments, options->size + size + 1);
	if (bigger) {
		options->fragments = bigger;
		options->size += protobuf_c_message_pack(message, bigger + options->size);
	}
	protobuf_c_message_free_unpacked(message, NULL);
	return bigger ? 0 : complain("out of memory");
}

#define QUOTED_MAX 12288
#define QUOTE(text) text_quote(text, (char[QUOTED_MAX]){ 0 }, QUOTED_MAX)

static int set_kernel(void *context, const char *value)
{
	struct run_options *options = context;

	if (options->has_kernel)
		return complain("--kernel is there twice; remove one of the two");
	options->has_kernel = options->has_boot = true;
	return add(options, "kernel", "boot { linux_boot { kernel { path: \"%s\" } } }",
	           QUOTE(value));
}

static int set_initrd(void *context, const char *value)
{
	struct run_options *options = context;

	options->of_kernel = "initrd";
	return add(options, "initrd", "boot { linux_boot { initrd { path: \"%s\" } } }",
	           QUOTE(value));
}

static int set_cmdline(void *context, const char *value)
{
	struct run_options *options = context;

	options->of_kernel = "cmdline";
	return add(options, "cmdline", "boot { linux_boot { cmdline: \"%s\" } }", QUOTE(value));
}

static int set_flat(void *context, const char *value)
{
	struct run_options *options = context;

	if (options->has_flat)
		return complain("--flat is there twice; remove one of the two");
	options->has_flat = options->has_boot = true;
	return add(options, "flat", "boot { flat_boot { image { path: \"%s\" } } }", QUOTE(value));
}

/* "0-3:8" */
static int add_pins(struct run_options *options, char *list)
{
	char *range;
	int r = 0;

	while (r == 0 && (range = strsep(&list, ":"))) {
		char *dash = strchr(range, '-');
		uint64_t first, last;

		if (dash)
			*dash++ = '\0';
		if (flags_number(range, 0, 65535, &first) < 0 ||
		    flags_number(dash ? dash : range, first, first + 255, &last) < 0)
			return complain("--cpus: pin: \"%s%s%s\" is no range of CPUs like 0-3",
			                range, dash ? "-" : "", dash ? dash : "");
		for (; r == 0 && first <= last; first++)
			r = add(options, "cpus", "cpus { pins: %" PRIu64 " }", first);
	}
	return r;
}

static int set_cpus(void *context, const char *value)
{
	struct run_options *options = context;
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *name, *item;
	const char *pins = NULL;
	uint64_t count;
	int r = 0;

	if (!copy)
		return complain("out of memory");
	if (!flags_item(&rest, &name, &item) || item || flags_number(name, 1, 255, &count) < 0)
		return complain("--cpus %s: must begin with a number from 1 to 255", value);
	r = add(options, "cpus", "cpus { count: %" PRIu64 " }", count);
	while (r == 0 && flags_item(&rest, &name, &item)) {
		if (strcmp(name, "pin") == 0 && item) {
			pins = value + (item - copy);
			r = add_pins(options, item);
		} else if (strcmp(name, "dedicated") == 0 && !item)
			r = add(options, "cpus", "cpus { tenancy: TENANCY_DEDICATED }");
		else if (!item && pins && *name && strspn(name, "0123456789-") == strlen(name))
			return complain(
				"--cpus %s: the CPUs of a pin are parted by colons: pin=%.*s:%s",
				value, (int)strcspn(pins, ","), pins, name);
		else
			return complain(
				"--cpus: \"%s\" is not known; there are pin=0-3:8 and dedicated",
				name);
	}
	return r;
}

static int set_memory(void *context, const char *value)
{
	static const char *const sizes[][2] = { { "2M", "PAGE_SIZE_2M" },
		                                { "1G", "PAGE_SIZE_1G" },
		                                { "thp", "PAGE_SIZE_THP" },
		                                { "4K", "PAGE_SIZE_4K" } };
	struct run_options *options = context;
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *name, *item;
	uint64_t bytes;
	int r = 0;

	if (!copy)
		return complain("out of memory");
	if (!flags_item(&rest, &name, &item) || item || flags_size(name, &bytes) < 0 ||
	    bytes < MIB || bytes % MIB)
		return complain("--memory %s: must begin with a size in whole MiB, like 2G or 512M",
		                value);
	options->has_memory = true;
	options->memory_mib = bytes / MIB;
	if (!options->first_spec_flag)
		options->first_spec_flag = "memory";
	while (r == 0 && flags_item(&rest, &name, &item)) {
		const char *pages = NULL;

		for (size_t i = 0; item && i < ARRAY_SIZE(sizes); i++)
			if (strcmp(item, sizes[i][0]) == 0)
				pages = sizes[i][1];
		if (strcmp(name, "huge") == 0 && pages)
			r = add(options, "memory", "memory { page_size: %s }", pages);
		else if ((strcmp(name, "populate") == 0 || strcmp(name, "lock") == 0) && !item)
			r = add(options, "memory", "memory { %s: true }", name);
		else
			return complain("--memory: \"%s\" is not known; there are huge=2M|1G|thp, "
			                "populate and lock",
			                name);
	}
	return r;
}

static int set_node(void *context, const char *value)
{
	struct run_options *options = context;

	if (flags_number(value, 0, 1023, &options->node) < 0)
		return complain("--node %s: must be the number of a NUMA node of this host", value);
	options->has_node = true;
	if (!options->first_spec_flag)
		options->first_spec_flag = "node";
	return 0;
}

/* What is no raw image by its looks is refused, unless the person says that it is one. */
static int check_format(const char *path, bool is_raw)
{
	const char *format = is_raw ? NULL : disk_format(path);

	if (!format)
		return 0;
	return complain(
		"--disk %s: is a %s image, and disks are raw; make a raw one of it "
		"(qemu-img convert -f %s -O raw '%s' '%s.raw'), or add format=raw if the guest "
		"is to see the file as it is",
		path, format, format, path, path);
}

static int set_disk(void *context, const char *value)
{
	static const struct item items[] = {
		{ "ro", ITEM_ALONE, "read_only: true" },
		{ "direct", ITEM_ALONE, "direct: true" },
		{ "id", ITEM_TEXT, "id" },
		{ "serial", ITEM_TEXT, "serial" },
		{ "queues", ITEM_NUMBER, "queues" },
		{ "queue_size", ITEM_NUMBER, "queue_size" },
		{ "max-size", ITEM_SIZE, "max_size" },
		{ "discard", ITEM_NUMBER, "discard" },
		{ "format", ITEM_TEXT, NULL },
	};
	struct run_options *options = context;
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *path, *none, text[1024] = "";
	const char *format = NULL;
	int r;

	if (!copy || !flags_item(&rest, &path, &none) || none)
		return complain("--disk %s: must begin with the path of a raw image", value);
	r = items_add(rest, "disk", items, ARRAY_SIZE(items), text, sizeof(text), &format);
	if (r == 0 && format && strcmp(format, "raw") != 0)
		r = complain("--disk %s: format=%s is not known; there is format=raw, and no other",
		             path, format);
	r = r ? r : check_format(path, format);
	if (r)
		return r;
	if (!strstr(text, " id: "))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " id: \"disk%u\"",
		         options->disks);
	options->disks++;
	return add(options, "disk", "disks { image { path: \"%s\" }%s }", QUOTE(path), text);
}

static int set_net(void *context, const char *value)
{
	static const struct item items[] = {
		{ "id", ITEM_TEXT, "id" },
		{ "mac", ITEM_TEXT, "mac" },
		{ "mtu", ITEM_NUMBER, "mtu" },
		{ "queues", ITEM_NUMBER, "queue_pairs" },
		{ "queue_size", ITEM_NUMBER, "queue_size" },
		{ "offloads", ITEM_NUMBER, "offloads" },
		{ "vhost", ITEM_ALONE, "vhost { path: \"/dev/vhost-net\" }" },
	};
	struct run_options *options = context;
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *tap, *none, text[1024] = "";
	int r;

	if (!copy || !flags_item(&rest, &tap, &none) || none)
		return complain("--net %s: must begin with the name of a TAP interface", value);
	r = items_add(rest, "net", items, ARRAY_SIZE(items), text, sizeof(text), NULL);
	if (r)
		return r;
	if (!strstr(text, " id: "))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " id: \"net%u\"",
		         options->nets);
	options->nets++;
	return add(options, "net", "nets { tap_name: \"%s\"%s }", QUOTE(tap), text);
}

static int set_vsock(void *context, const char *value)
{
	struct run_options *options = context;
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *name, *item;
	uint64_t cid;

	if (!copy)
		return complain("out of memory");
	if (!flags_item(&rest, &name, &item) || item ||
	    flags_number(name, 3, UINT32_MAX - 1, &cid) < 0)
		return complain("--vsock %s: must begin with a context id, a number from 3 up",
		                value);
	while (flags_item(&rest, &name, &item)) {
		if (strcmp(name, "socket") != 0 || !item || !*item)
			return complain("--vsock: \"%s\" is not known; there is socket=PATH", name);
		options->vsock_socket = value + (item - copy);
	}
	return add(options, "vsock", "vsock { cid: %" PRIu64 " }", cid);
}

static int set_rng(void *context, const char *value)
{
	(void)value;
	return add(context, "rng", "rng { }");
}

static int set_balloon(void *context, const char *value)
{
	(void)value;
	return add(context, "balloon", "balloon { }");
}

static int set_no_console(void *context, const char *value)
{
	struct run_options *options = context;

	(void)value;
	options->no_console = true;
	return 0;
}

static int set_early_console(void *context, const char *value)
{
	struct run_options *options = context;

	(void)value;
	options->early_console = true;
	return add(options, "early-console", "console { early: true }");
}

static int set_id(void *context, const char *value)
{
	return add(context, "id", "vm_id: \"%s\"", QUOTE(value));
}

static int set_profile(void *context, const char *value)
{
	return add(context, "profile", "profile: \"%s\"", QUOTE(value));
}

static int set_report(void *context, const char *value)
{
	(void)value;
	return add(context, "report", "admission: ADMISSION_REPORT");
}

static int set_pv(void *context, const char *value)
{
	static const char *const features[][2] = {
		{ "kvmclock", "KVMCLOCK" }, { "eoi", "EOI" },           { "unhalt", "UNHALT" },
		{ "tlb", "TLB_FLUSH" },     { "ipi", "SEND_IPI" },      { "steal", "STEAL_TIME" },
		{ "async_pf", "ASYNC_PF" }, { "poll", "POLL_CONTROL" }, { "yield", "SCHED_YIELD" },
	};
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *name, *none;
	int r = add(context, "pv", "cpus { paravirt { } }");

	if (!copy)
		return complain("out of memory");
	if (strcmp(value, "none") == 0)
		return r;
	while (r == 0 && flags_item(&rest, &name, &none)) {
		const char *feature = NULL;

		for (size_t i = 0; !none && i < ARRAY_SIZE(features); i++)
			if (strcmp(name, features[i][0]) == 0)
				feature = features[i][1];
		if (!feature)
			return complain(
				"--pv: \"%s\" is not known; axvm run --help lists what there is",
				name);
		r = add(context, "pv", "cpus { paravirt { features: PV_FEATURE_%s } }", feature);
	}
	return r;
}

static int set_claims(void *context, const char *value)
{
	((struct run_options *)context)->has_claims = true;
	return add(context, "claims", "cpus { claims { path: \"%s\" } }", QUOTE(value));
}

static int set_no_claims(void *context, const char *value)
{
	(void)value;
	((struct run_options *)context)->no_claims = true;
	return 0;
}

static int set_on_exit(void *context, const char *value)
{
	static const char *const meanings[][2] = { { "keep", "ON_CONTROL_EOF_KEEP_RUNNING" },
		                                   { "shutdown", "ON_CONTROL_EOF_SHUTDOWN" },
		                                   { "stop", "ON_CONTROL_EOF_STOP" } };

	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (strcmp(value, meanings[i][0]) == 0)
			return add(context, "on-exit", "lifecycle { on_control_eof: %s }",
			           meanings[i][1]);
	return complain("--on-exit %s: must be shutdown, stop or keep", value);
}

static int set_set(void *context, const char *value)
{
	return add(context, "set", "%s", value);
}

static int set_events(void *context, const char *value)
{
	static const char *const formats[] = { [EVENTS_NONE] = "none",
		                               [EVENTS_TEXT] = "text",
		                               [EVENTS_JSON] = "json",
		                               [EVENTS_PB] = "pb" };
	struct run_options *options = context;
	size_t length = strcspn(value, ":");

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (strlen(formats[i]) == length && strncmp(value, formats[i], length) == 0) {
			options->events = (enum events_format)i;
			options->events_file = value[length] ? value + length + 1 : NULL;
			if (i == EVENTS_PB && !options->events_file)
				return complain(
					"--events pb: binary events need a file: --events pb:FILE");
			return 0;
		}
	return complain(
		"--events %s: must be text, json, pb or none, with :FILE after it for a file",
		value);
}

static int set_metrics_file(void *context, const char *value)
{
	((struct run_options *)context)->metrics_file = value;
	return 0;
}

static int set_control_socket(void *context, const char *value)
{
	((struct run_options *)context)->control_socket = value;
	return 0;
}

static int set_shim(void *context, const char *value)
{
	((struct run_options *)context)->shim = value;
	return 0;
}

static int set_dry_run(void *context, const char *value)
{
	(void)value;
	((struct run_options *)context)->dry_run = true;
	return 0;
}

static int set_quiet(void *context, const char *value)
{
	(void)value;
	((struct run_options *)context)->quiet = true;
	return 0;
}

static const struct flag rows[] = {
	{ "kernel", FLAG_FILE, set_kernel },
	{ "initrd", FLAG_FILE, set_initrd },
	{ "cmdline", FLAG_TEXT, set_cmdline },
	{ "flat", FLAG_FILE, set_flat },
	{ "cpus", FLAG_TEXT, set_cpus },
	{ "memory", FLAG_TEXT, set_memory },
	{ "node", FLAG_TEXT, set_node },
	{ "disk", FLAG_FILE, set_disk },
	{ "net", FLAG_TEXT, set_net },
	{ "vsock", FLAG_TEXT, set_vsock },
	{ "rng", FLAG_NONE, set_rng },
	{ "balloon", FLAG_NONE, set_balloon },
	{ "no-console", FLAG_NONE, set_no_console },
	{ "early-console", FLAG_NONE, set_early_console },
	{ "id", FLAG_TEXT, set_id },
	{ "profile", FLAG_TEXT, set_profile },
	{ "report", FLAG_NONE, set_report },
	{ "pv", FLAG_TEXT, set_pv },
	{ "claims", FLAG_FILE, set_claims },
	{ "no-claims", FLAG_NONE, set_no_claims },
	{ "on-exit", FLAG_TEXT, set_on_exit },
	{ "set", FLAG_TEXT, set_set },
	{ "events", FLAG_TEXT, set_events },
	{ "metrics-file", FLAG_FILE, set_metrics_file },
	{ "control-socket", FLAG_FILE, set_control_socket },
	{ "dry-run", FLAG_NONE, set_dry_run },
	{ "shim", FLAG_FILE, set_shim },
	{ "quiet", FLAG_NONE, set_quiet },
};
const struct flags run_flags = { "run", rows, ARRAY_SIZE(rows) };

/* Flags that are not for one VM: those of Linux and of a flat image, and claims with none. */
static int check_flags(const struct run_options *options)
{
	if (options->has_claims && options->no_claims)
		return complain(
			"--claims and --no-claims exclude each other; remove one of the two");
	if (options->has_flat && options->has_kernel)
		return complain("--flat and --kernel exclude each other; remove one of the two");
	if (options->has_flat && options->of_kernel)
		return complain("--flat and --%s exclude each other: --%s is for --kernel",
		                options->of_kernel, options->of_kernel);
	return 0;
}

/* The fragments that there are, as options->spec. */
static int merge(struct run_options *options)
{
	if (options->spec)
		axvm__v1__launch_spec__free_unpacked(options->spec, NULL);
	options->spec = NULL;
	if (spec_merge(&options->fragments, &options->size) < 0)
		return complain("out of memory");
	options->spec = axvm__v1__launch_spec__unpack(NULL, options->size, options->fragments);
	return options->spec ? 0 : complain("out of memory");
}

/* The one node of --memory, or of 512 MiB where --set lists none either. */
static int fill_in_memory(struct run_options *options)
{
	const Axvm__V1__Memory *said = options->spec->memory;
	char node[40] = "";

	if (!options->has_memory && said && said->n_nodes > 0)
		return options->has_node
		               ? complain("--node is for the memory that --memory gives; the "
		                          "nodes of --set have a host_node each")
		               : 0;
	if (options->has_node)
		snprintf(node, sizeof(node), "host_node: %" PRIu64, options->node);
	return add(options, "memory", "memory { nodes { size_mib: %" PRIu64 " %s } }",
	           options->has_memory ? options->memory_mib : DEFAULT_MEMORY_MIB, node);
}

/* Whatever the VM is described by: who ends this program ends the VM, unless it was said
 * otherwise. */
static int fill_in_on_exit(struct run_options *options)
{
	const Axvm__V1__Lifecycle *said = options->spec->lifecycle;

	return said && said->has_on_control_eof
	               ? 0
	               : add(options, "on-exit",
	                     "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }");
}

/* What neither flags nor --set say, when there is no spec file. */
static int fill_in(struct run_options *options)
{
	const Axvm__V1__LaunchSpec *said = options->spec;
	int r = 0;

	options->has_id = said->vm_id;
	if (!options->has_id)
		r = add(options, "id", "vm_id: \"axvm-%d\"", (int)getpid());
	if (r == 0 && !(said->cpus && said->cpus->has_count))
		r = add(options, "cpus", "cpus { count: 1 }");
	if (r == 0)
		r = fill_in_memory(options);
	return r;
}

/* A made-up id is another at each run; addresses that the shim would derive from it are given
 * here. */
static int name_nets(Axvm__V1__LaunchSpec *spec)
{
	for (size_t i = 0; i < spec->n_nets; i++) {
		Axvm__V1__Net *net = spec->nets[i];
		char mac[MAC_TEXT_MAX];

		if (net->mac || net->backend_case != AXVM__V1__NET__BACKEND_TAP_NAME ||
		    stable_mac("", net->tap_name, mac) < 0)
			continue;
		net->mac = strdup(mac);
		if (!net->mac)
			return -ENOMEM;
	}
	return 0;
}

/* The spec of a file, before what the flags have to add to it. */
static int put_file_first(struct run_options *options, const char *path)
{
	Axvm__V1__LaunchSpec *spec = NULL;
	uint8_t *both;
	size_t size;
	int r = spec_file_read("axvm run", path, &spec);

	if (r)
		return r;
	options->spec_file = path;
	size = axvm__v1__launch_spec__get_packed_size(spec);
	both = malloc(size + options->size + 1);
	if (both) {
		(void)axvm__v1__launch_spec__pack(spec, both);
		if (options->size > 0)
			memcpy(both + size, options->fragments, options->size);
		free(options->fragments);
		options->fragments = both;
		options->size += size;
	}
	axvm__v1__launch_spec__free_unpacked(spec, NULL);
	return both ? 0 : complain("out of memory");
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
	int words, r;

	*options = (struct run_options){ .events = EVENTS_NONE };
	r = flags_parse(&run_flags, argc, argv, options, &words);
	if (r)
		return r;
	if (words > 1)
		return complain(
			"\"%s\" is one word too many: axvm run starts one VM, of one spec file",
			argv[2]);
	if (words == 1 && options->first_spec_flag)
		return complain("--%s describes a VM, and so does %s: give one of them",
		                options->first_spec_flag, argv[1]);
	r = check_flags(options);
	if (r)
		return r;
	options->from_flags = words == 0;
	if (options->from_flags && !options->has_boot)
		return complain("nothing to run: give a spec file, --kernel or --flat "
		                "(axvm run --help)");
	r = options->from_flags ? 0 : put_file_first(options, argv[1]);
	r = r ? r : merge(options);
	r = r ? r : fill_in_on_exit(options);
	if (r == 0 && options->from_flags)
		r = fill_in(options);
	r = r ? r : merge(options);
	if (r == 0 && options->no_claims)
		run_drop_claims(options->spec);
	if (r == 0 && options->from_flags && !options->has_id && name_nets(options->spec) < 0)
		r = complain("out of memory");
	return r;
}

void run_options_done(struct run_options *options)
{
	if (options->spec)
		axvm__v1__launch_spec__free_unpacked(options->spec, NULL);
	free(options->fragments);
	*options = (struct run_options){ 0 };
}
