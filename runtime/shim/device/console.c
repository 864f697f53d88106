/* SPDX-License-Identifier: MIT */
/* The console: from the spec to the virtio device. */
#include "shim/device/console.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <sys/stat.h>

#include "shim/device/rate.h"
#include "shim/device/table.h"

static void plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	if (spec->console.present)
		places_add(ret, "", VIRTIO_ID_CONSOLE, CONSOLE_QUEUES);
}

static void take(struct shim_devices *devices, const struct spec_resource *resource,
                 bool handed_over, enum resource_use use, const char *field, int *ret_fd)
{
	if ((resource->kind == RESOURCE_SOURCE_FD) != handed_over)
		return;
	*ret_fd = -1;
	(void)resource_take(resource, use, field, ret_fd, devices->problems);
}

static void acquire(struct shim_devices *devices, bool handed_over)
{
	const struct vm_spec *spec = devices->spec;

	take(devices, &spec->console.input, handed_over, RESOURCE_READ, "console.input",
	     &devices->console_input);
	take(devices, &spec->console.output, handed_over, RESOURCE_APPEND, "console.output",
	     &devices->console_output);
}

/* A reader sets the pace of a pipe, a socket or a terminal; a file takes whatever comes. */
static bool is_file(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Holds open the ends whose clients come and go; a limit applies only to a regular file. */
static void check(struct shim_devices *devices, struct resource_claims *claims)
{
	int output = devices->console_output, input = devices->console_input;

	if (output >= 0)
		(void)resource_hold_open(output, "console.output", devices->problems);
	if (input >= 0)
		(void)resource_hold_open(input, "console.input", devices->problems);

	if (devices->spec->console.limited && output >= 0 && !is_file(output))
		problems_add(
			devices->problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, "console.limit",
			"console.limit is for an output that is a regular file, and console.output is none; "
			"leave the limit out");
	resource_claim(claims, input, false, "console.input");
	resource_claim(claims, output, true, "console.output");
}

static int create(struct shim_devices *devices, size_t index, const struct virtio_host *host)
{
	struct console_spec spec = {
		.output_fd = devices->console_output,
		.input_fd = devices->console_input,
		.columns = (uint16_t)devices->spec->console.columns,
		.rows = (uint16_t)devices->spec->console.rows,
	};
	int r;

	(void)index;
	if (is_file(spec.output_fd))
		spec.limit = rate_of(&devices->spec->console.limit);
	r = console_create(&devices->console, &spec, host);
	if (r == 0 && devices->spec->console.early)
		r = console_add_early_ports(&devices->console, &devices->machine->ports);
	return r;
}

static bool metrics(const struct shim_devices *devices, size_t index, struct device_counters *ret)
{
	static const struct counter_row rows[] = {
		COUNTER_ROW(console_stats, bytes_out),
		COUNTER_ROW(console_stats, bytes_in),
		COUNTER_ROW(console_stats, bytes_dropped),
		COUNTER_ROW(console_stats, bytes_over_limit),
	};
	struct console_stats stats;

	if (index > 0 || !devices->spec->console.present)
		return false;
	console_get_stats(&devices->console, &stats);
	COUNTERS_TAKE(ret, &devices->console.device, rows, stats);
	return true;
}

struct console *devices_console(struct shim_devices *devices)
{
	return devices->present && devices->spec->console.present ? &devices->console : NULL;
}

uint64_t devices_console_dropped(struct shim_devices *devices)
{
	const struct console *console = devices_console(devices);
	struct console_stats stats = { 0 };

	if (console)
		console_get_stats(console, &stats);
	return stats.bytes_dropped;
}

const struct device_row device_console = {
	.kind = "console",
	.field = "console",
	.plan = plan,
	.acquire = acquire,
	.check = check,
	.create = create,
	.metrics = metrics,
};
