/* SPDX-License-Identifier: MIT */
/* The VM's console: from the spec to the virtio device. */
#include "shim/devices_console.h"

#include <errno.h>
#include <sys/stat.h>

#include "shim/rate.h"
#include "shim/resources.h"
#include "shim/shim.h"

/* A reader sets the pace of a pipe, a socket or a terminal; a file takes whatever comes. */
static bool is_file(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

void devices_acquire_console(struct shim *shim)
{
	int output = shim->resources.console_output, input = shim->resources.console_input;

	if (output >= 0)
		(void)resource_hold_open(output, "console.output", &shim->problems);
	if (input >= 0)
		(void)resource_hold_open(input, "console.input", &shim->problems);

	if (shim->spec.console.limited && output >= 0 && !is_file(output))
		problems_add(&shim->problems, PROBLEM_RESOURCE_WRONG_KIND, EINVAL, "console.limit",
		             "console.limit is for an output that is a regular file, and console.output is none; "
		             "leave the limit out");
}

int devices_create_console(struct shim *shim, size_t index, const struct virtio_host *host)
{
	struct console_spec spec = {
		.output_fd = shim->resources.console_output,
		.input_fd = shim->resources.console_input,
		.columns = (uint16_t)shim->spec.console.columns,
		.rows = (uint16_t)shim->spec.console.rows,
	};
	int r;

	(void)index;
	if (is_file(spec.output_fd))
		spec.limit = rate_of(&shim->spec.console.limit);
	r = console_create(&shim->devices.console, &spec, host);
	if (r == 0 && shim->spec.console.early)
		r = console_add_early_ports(&shim->devices.console, &shim->machine.ports);
	return r;
}
