/* SPDX-License-Identifier: MIT */
/* The flags of `axvm run`, one function each. A flag that describes the VM adds a fragment of the
 * spec in protobuf text; the others set a field of struct run_options. */
#include <inttypes.h>
#include <string.h>

#include "launch/cli/disk_format.h"
#include "launch/cli/run_items.h"
#include "launch/cli/run_options.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"

#define QUOTED_MAX 12288
#define QUOTE(text) text_quote(text, (char[QUOTED_MAX]){ 0 }, QUOTED_MAX)

static int set_kernel(void *context, const char *value)
{
	struct run_options *options = context;

	if (options->has_kernel)
		return run_complain("--kernel is there twice; remove one of the two");
	options->has_kernel = options->has_boot = true;
	return run_add(options, "kernel", "boot { linux_boot { kernel { path: \"%s\" } } }",
	               QUOTE(value));
}

static int set_initrd(void *context, const char *value)
{
	struct run_options *options = context;

	options->of_kernel = "initrd";
	return run_add(options, "initrd", "boot { linux_boot { initrd { path: \"%s\" } } }",
	               QUOTE(value));
}

static int set_cmdline(void *context, const char *value)
{
	struct run_options *options = context;

	options->of_kernel = "cmdline";
	return run_add(options, "cmdline", "boot { linux_boot { cmdline: \"%s\" } }", QUOTE(value));
}

static int set_flat(void *context, const char *value)
{
	struct run_options *options = context;

	if (options->has_flat)
		return run_complain("--flat is there twice; remove one of the two");
	options->has_flat = options->has_boot = true;
	return run_add(options, "flat", "boot { flat_boot { image { path: \"%s\" } } }",
	               QUOTE(value));
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
			return run_complain("--cpus: pin: \"%s%s%s\" is no range of CPUs like 0-3",
			                    range, dash ? "-" : "", dash ? dash : "");
		for (; r == 0 && first <= last; first++)
			r = run_add(options, "cpus", "cpus { pins: %" PRIu64 " }", first);
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
		return run_complain("out of memory");
	if (!flags_item(&rest, &name, &item) || item || flags_number(name, 1, 255, &count) < 0)
		return run_complain("--cpus %s: must begin with a number from 1 to 255", value);
	r = run_add(options, "cpus", "cpus { count: %" PRIu64 " }", count);
	while (r == 0 && flags_item(&rest, &name, &item)) {
		if (strcmp(name, "pin") == 0 && item) {
			pins = value + (item - copy);
			r = add_pins(options, item);
		} else if (strcmp(name, "dedicated") == 0 && !item)
			r = run_add(options, "cpus", "cpus { tenancy: TENANCY_DEDICATED }");
		else if (!item && pins && *name && strspn(name, "0123456789-") == strlen(name))
			return run_complain(
				"--cpus %s: the CPUs of a pin are parted by colons: pin=%.*s:%s",
				value, (int)strcspn(pins, ","), pins, name);
		else
			return run_complain(
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
		return run_complain("out of memory");
	if (!flags_item(&rest, &name, &item) || item || flags_size(name, &bytes) < 0 ||
	    bytes < MIB || bytes % MIB)
		return run_complain(
			"--memory %s: must begin with a size in whole MiB, like 2G or 512M", value);
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
			r = run_add(options, "memory", "memory { page_size: %s }", pages);
		else if ((strcmp(name, "populate") == 0 || strcmp(name, "lock") == 0) && !item)
			r = run_add(options, "memory", "memory { %s: true }", name);
		else
			return run_complain(
				"--memory: \"%s\" is not known; there are huge=2M|1G|thp, "
				"populate and lock",
				name);
	}
	return r;
}

static int set_node(void *context, const char *value)
{
	struct run_options *options = context;

	if (flags_number(value, 0, 1023, &options->node) < 0)
		return run_complain("--node %s: must be the number of a NUMA node of this host",
		                    value);
	options->has_node = true;
	if (!options->first_spec_flag)
		options->first_spec_flag = "node";
	return 0;
}

/* Refuses a file that looks like another format than raw, unless the person says that it is raw. */
static int check_format(const char *path, bool is_raw)
{
	const char *format = is_raw ? NULL : disk_format(path);

	if (!format)
		return 0;
	return run_complain(
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
		return run_complain("--disk %s: must begin with the path of a raw image", value);
	r = items_add(rest, "disk", items, ARRAY_SIZE(items), text, sizeof(text), &format);
	if (r == 0 && format && strcmp(format, "raw") != 0)
		r = run_complain(
			"--disk %s: format=%s is not known; there is format=raw, and no other",
			path, format);
	r = r ? r : check_format(path, format);
	if (r)
		return r;
	if (!strstr(text, " id: "))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " id: \"disk%u\"",
		         options->disks);
	options->disks++;
	return run_add(options, "disk", "disks { image { path: \"%s\" }%s }", QUOTE(path), text);
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
		return run_complain("--net %s: must begin with the name of a TAP interface", value);
	r = items_add(rest, "net", items, ARRAY_SIZE(items), text, sizeof(text), NULL);
	if (r)
		return r;
	if (!strstr(text, " id: "))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " id: \"net%u\"",
		         options->nets);
	options->nets++;
	return run_add(options, "net", "nets { tap_name: \"%s\"%s }", QUOTE(tap), text);
}

static int set_vsock(void *context, const char *value)
{
	struct run_options *options = context;
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *name, *item;
	uint64_t cid;

	if (!copy)
		return run_complain("out of memory");
	if (!flags_item(&rest, &name, &item) || item ||
	    flags_number(name, 3, UINT32_MAX - 1, &cid) < 0)
		return run_complain("--vsock %s: must begin with a context id, a number from 3 up",
		                    value);
	while (flags_item(&rest, &name, &item)) {
		if (strcmp(name, "socket") != 0 || !item || !*item)
			return run_complain("--vsock: \"%s\" is not known; there is socket=PATH",
			                    name);
		options->vsock_socket = value + (item - copy);
	}
	return run_add(options, "vsock", "vsock { cid: %" PRIu64 " }", cid);
}

static int set_rng(void *context, const char *value)
{
	(void)value;
	return run_add(context, "rng", "rng { }");
}

static int set_balloon(void *context, const char *value)
{
	(void)value;
	return run_add(context, "balloon", "balloon { }");
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
	return run_add(options, "early-console", "console { early: true }");
}

static int set_id(void *context, const char *value)
{
	return run_add(context, "id", "vm_id: \"%s\"", QUOTE(value));
}

static int set_profile(void *context, const char *value)
{
	return run_add(context, "profile", "profile: \"%s\"", QUOTE(value));
}

static int set_report(void *context, const char *value)
{
	(void)value;
	return run_add(context, "report", "admission: ADMISSION_REPORT");
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
	int r = run_add(context, "pv", "cpus { paravirt { } }");

	if (!copy)
		return run_complain("out of memory");
	if (strcmp(value, "none") == 0)
		return r;
	while (r == 0 && flags_item(&rest, &name, &none)) {
		const char *feature = NULL;

		for (size_t i = 0; !none && i < ARRAY_SIZE(features); i++)
			if (strcmp(name, features[i][0]) == 0)
				feature = features[i][1];
		if (!feature)
			return run_complain(
				"--pv: \"%s\" is not known; axvm run --help lists what there is",
				name);
		r = run_add(context, "pv", "cpus { paravirt { features: PV_FEATURE_%s } }",
		            feature);
	}
	return r;
}

static int set_claims(void *context, const char *value)
{
	((struct run_options *)context)->has_claims = true;
	return run_add(context, "claims", "cpus { claims { path: \"%s\" } }", QUOTE(value));
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
			return run_add(context, "on-exit", "lifecycle { on_control_eof: %s }",
			               meanings[i][1]);
	return run_complain("--on-exit %s: must be shutdown, stop or keep", value);
}

static int set_set(void *context, const char *value)
{
	return run_add(context, "set", "%s", value);
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
				return run_complain(
					"--events pb: binary events need a file: --events pb:FILE");
			return 0;
		}
	return run_complain(
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
