/* SPDX-License-Identifier: MIT */
/* Commands from fd 3, from a table of what to do for each. */
#include "shim/commands.h"

#include <errno.h>
#include <string.h>

#include "interface/command.h"
#include "interface/event.h"
#include "shim/deadline.h"
#include "shim/device/balloon.h"
#include "shim/device/console.h"
#include "shim/device/disk.h"
#include "shim/device/net.h"
#include "shim/device/rate.h"
#include "shim/metrics.h"
#include "shim/pause.h"
#include "shim/reply.h"
#include "shim/shim.h"
#include "shim/shutdown.h"

bool commands_ready(struct shim *shim)
{
	if (!shim->reply_kept)
		shim->reply_kept = event_writer_keep(&shim->events, EVENT_REPLY_BYTES) == 0;
	return shim->reply_kept && !shim->metrics.reply_due;
}

static int refuse(struct problems *problems, enum axvm_error_code code, const char *field,
                  const char *message)
{
	return problems_add(problems, code, EINVAL, field, "%s", message);
}

static int wrong_state(struct shim *shim, struct problems *problems, const char *what)
{
	return problems_add(problems, ERROR_CODE_COMMAND_WRONG_STATE, EBUSY, NULL,
	                    "cannot %s a VM that is %s", what,
	                    vm_state_name(shim->lifecycle.state));
}

static int do_shutdown(struct shim *shim, const struct command *command, struct problems *problems)
{
	uint32_t timeout_ms = command->shutdown.has_timeout
	                              ? command->shutdown.timeout_ms
	                              : shim->spec.lifecycle.shutdown_timeout_ms;

	if (shutdown_by_command(shim, timeout_ms, deadline_now_ns(),
	                        "a command asked for the shutdown") < 0)
		return wrong_state(shim, problems, "shut down");
	return 0;
}

static int do_stop(struct shim *shim, const struct command *command, struct problems *problems)
{
	(void)command;
	(void)problems;
	shutdown_stop(shim, "a command asked for the stop");
	return 0;
}

/* vCPUs first: then no device gets new work, and its thread can finish what it has. */
static int do_pause(struct shim *shim, const struct command *command, struct problems *problems)
{
	if (shim->pause.wanted || lifecycle_happen(&shim->lifecycle, HAPPENS_PAUSE, NULL) < 0)
		return wrong_state(shim, problems, "pause");
	shim->pause.wanted = true;
	shim->pause.reply_due = true;
	shim->pause.request_id = command->request_id;
	machine_ask(&shim->machine, MACHINE_PAUSE);
	pause_settle(shim);
	return 0;
}

void commands_end(struct shim *shim)
{
	pause_end(shim);
	/* A report may need all free space of the event buffer. */
	if (shim->metrics.reply_due)
		(void)event_finish(&shim->events, EVENT_FINISH_MS);
	commands_report(shim);
}

static int do_resume(struct shim *shim, const struct command *command, struct problems *problems)
{
	(void)command;
	if (lifecycle_happen(&shim->lifecycle, HAPPENS_RESUME, NULL) < 0)
		return wrong_state(shim, problems, "resume");
	pause_let_go_on(shim);
	return 0;
}

static int do_status(struct shim *shim, const struct command *command, struct problems *problems)
{
	(void)shim;
	(void)command;
	(void)problems;
	return 0;
}

void commands_report(struct shim *shim)
{
	struct shim_metrics *metrics = &shim->metrics;

	if (metrics->reply_due)
		metrics->reply_due = metrics_reply(shim, metrics->request_id) == -ENOBUFS;
}

static int do_metrics(struct shim *shim, const struct command *command, struct problems *problems)
{
	(void)problems;
	shim->metrics.reply_due = true;
	shim->metrics.request_id = command->request_id;
	commands_report(shim);
	return 0;
}

/* NMI by an MSI whose delivery mode says so, to the first local APIC (SDM 3A §11.11). */
static int do_nmi(struct shim *shim, const struct command *command, struct problems *problems)
{
	(void)command;
	if (!shim->machine.vm.has_apic)
		return refuse(problems, ERROR_CODE_COMMAND_WRONG_STATE, NULL,
		              "this VM has no local APIC that could take an NMI");
	if (vm_signal_msi(&shim->machine.vm, LAYOUT_LAPIC, 4u << 8) < 0)
		return refuse(problems, ERROR_CODE_KVM_FAILED, NULL,
		              "KVM does not deliver the NMI");
	return 0;
}

static int do_balloon(struct shim *shim, const struct command *command, struct problems *problems)
{
	if (!devices_balloon(&shim->devices))
		return refuse(problems, ERROR_CODE_COMMAND_WRONG_STATE, NULL,
		              "this VM has no balloon");
	if (devices_balloon_ask(&shim->devices, command->request_id, command->balloon.target_mib,
	                        deadline_now_ns()) < 0)
		return refuse(
			problems, ERROR_CODE_COMMAND_INVALID, "balloon.target_mib",
			"the target must be at least 1 MiB and at most the memory of the guest");
	return 0;
}

static int do_limit(struct shim *shim, const struct command *command, struct problems *problems)
{
	const struct rate_config rate = rate_of(&command->limit.limit);
	struct block *disk = devices_disk(&shim->devices, command->limit.device_id);
	struct net *net = devices_net(&shim->devices, command->limit.device_id);

	if (disk && command->limit.transmit)
		return refuse(problems, ERROR_CODE_COMMAND_INVALID, "limit.transmit",
		              "is set for a disk, which has one limit; leave it out");
	if (disk)
		block_set_limit(disk, &rate);
	else if (net)
		return net_set_limit(net, command->limit.transmit, &rate) == 0
		               ? 0
		               : refuse(problems, ERROR_CODE_COMMAND_INVALID, "limit.device_id",
		                        "this net has vhost, with which rate limits do not apply; set the "
		                        "limit on the TAP (tc)");
	else
		return refuse(problems, ERROR_CODE_COMMAND_INVALID, "limit.device_id",
		              "no disk and no net of this VM has that id");
	return 0;
}

static int refuse_growth(const struct shim *shim, const struct block *disk,
                         struct problems *problems)
{
	size_t index = (size_t)(disk - shim->devices.disks);
	char field[PROBLEM_FIELD_MAX];

	snprintf(field, sizeof(field), "disks[%zu].max_size", index);
	return problems_add(
		problems, ERROR_CODE_COMMAND_INVALID, EFBIG, field,
		"the image has grown beyond %llu bytes, %s; launch with a larger max_size, or shorten "
		"the image",
		(unsigned long long)disk->file->max_size,
		shim->spec.disks[index].max_size
			? "the disk's max_size"
			: "its length at the launch, which is the limit without max_size");
}

static int do_resize(struct shim *shim, const struct command *command, struct problems *problems)
{
	struct block *disk = devices_disk(&shim->devices, command->resize.disk_id);
	uint64_t bytes = 0;
	int r;

	if (!disk)
		return refuse(problems, ERROR_CODE_COMMAND_INVALID, "resize.disk_id",
		              "no disk of this VM has that id");
	r = block_refresh_capacity(disk, &bytes);
	if (r == -EFBIG)
		return refuse_growth(shim, disk, problems);
	if (r < 0)
		return refuse(
			problems, ERROR_CODE_DEVICE_FAILED, "resize.disk_id",
			"the image's length is not a multiple of the disk's block size; lengthen or "
			"shorten it to one");
	return 0;
}

static int do_console_size(struct shim *shim, const struct command *command,
                           struct problems *problems)
{
	struct console *console = devices_console(&shim->devices);

	if (!console)
		return refuse(problems, ERROR_CODE_COMMAND_WRONG_STATE, NULL,
		              "this VM has no console");
	console_resize(console, (uint16_t)command->console_size.columns,
	               (uint16_t)command->console_size.rows);
	return 0;
}

/* `replies`: the reply is the command's own business. */
static const struct command_row {
	int (*run)(struct shim *shim, const struct command *command, struct problems *problems);
	bool replies;
} rows[] = {
	[COMMAND_WHAT_SHUTDOWN] = { do_shutdown, false },
	[COMMAND_WHAT_STOP] = { do_stop, false },
	[COMMAND_WHAT_PAUSE] = { do_pause, true },
	[COMMAND_WHAT_RESUME] = { do_resume, false },
	[COMMAND_WHAT_STATUS] = { do_status, false },
	[COMMAND_WHAT_METRICS] = { do_metrics, true },
	[COMMAND_WHAT_BALLOON] = { do_balloon, false },
	[COMMAND_WHAT_LIMIT] = { do_limit, false },
	[COMMAND_WHAT_RESIZE] = { do_resize, false },
	[COMMAND_WHAT_NMI] = { do_nmi, false },
	[COMMAND_WHAT_CONSOLE_SIZE] = { do_console_size, false },
};

void commands_take(const struct stream_command *raw, void *context)
{
	struct shim *shim = context;
	struct command command = { 0 };
	struct problems problems = { 0 };
	int r = command_parse(&shim->command_arena, raw, &command, &problems.list[0]);

	shim->reply_kept = false; /* this one's from here on */
	if (r < 0)
		problems.count = 1;
	else if ((size_t)command.kind >= ARRAY_SIZE(rows) || !rows[command.kind].run)
		r = refuse(&problems, ERROR_CODE_COMMAND_INVALID, NULL,
		           "this shim does not carry out this kind of command; use a newer one");
	else
		r = rows[command.kind].run(shim, &command, &problems);
	if (r < 0)
		reply_put(shim, command.request_id, &problems.list[0]);
	else if (!rows[command.kind].replies)
		reply_put(shim, command.request_id, NULL);
	shim->stream.stopped = !commands_ready(shim);
}

void commands_refuse_stream(struct shim *shim, const struct problem *problem)
{
	shim->reply_kept = false;
	reply_put(shim, 0, problem);
}
