/* SPDX-License-Identifier: MIT */
/* Output files are opened and overwritten as by any tool, but only once there is a VM: a refused
 * launch has nothing to write. Files that the VM uses are never overwritten: a slip of the
 * completion key would cost a disk. Files are compared by device and inode, since a file may have
 * many names. */
#include "launch/cli/run_outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "interface/reflect.h"
#include "launch/cli/metrics_file.h"
#include "launch/cli/run_state.h"

struct search {
	struct stat output;
	char found[PROBLEM_FIELD_MAX]; /* the field that names the same file; "": none */
};

static void compare(struct search *search, int r, const struct stat *st, const char *field)
{
	if (r == 0 && st->st_dev == search->output.st_dev && st->st_ino == search->output.st_ino)
		snprintf(search->found, sizeof(search->found), "%s", field);
}

static void compare_resource(const ProtobufCMessage *message, const char *path, void *context)
{
	const Axvm__V1__Resource *resource = (const Axvm__V1__Resource *)message;
	struct stat st;

	if (resource->source_case == AXVM__V1__RESOURCE__SOURCE_PATH)
		compare(context, stat(resource->path, &st), &st, path);
	else if (resource->source_case == AXVM__V1__RESOURCE__SOURCE_FD)
		compare(context, fstat((int)resource->fd, &st), &st, path);
}

/* Checks that an output is not a file of the VM. 0, or EX_CANTCREAT. /dev/null or a terminal has
 * nothing to lose. */
static int check_output(const struct run *run, const char *flag, const char *path)
{
	const struct run_options *options = &run->options;
	struct search search = { .found = "" };
	struct stat st;

	if (!path || stat(path, &search.output) < 0 ||
	    !(S_ISREG(search.output.st_mode) || S_ISBLK(search.output.st_mode)))
		return 0;
	reflect_messages(&options->spec->base, &axvm__v1__resource__descriptor, compare_resource,
	                 &search);
	if (options->spec_file)
		compare(&search, stat(options->spec_file, &st), &st, "the spec's own file");
	if (!search.found[0])
		return 0;
	fprintf(stderr,
	        "axvm run: %s %s: would overwrite %s, which this VM is made of; name another file\n",
	        flag, path, search.found);
	return EX_CANTCREAT;
}

/* Checks the path of the metrics, before there is a VM. */
static int check_metrics_file(const struct run *run)
{
	const char *path = run->options.metrics_file;
	int r = path ? metrics_file_check(path) : 0;

	if (r != -EEXIST)
		return check_output(run, "--metrics-file", path);
	fprintf(stderr, "axvm run: --metrics-file %s: %s\n", path, metrics_file_error(-r));
	return EX_CANTCREAT;
}

/* Locks a regular file for this VM, as long as it runs: two VMs would overwrite each other's
 * events. A file system without locks cannot tell. The lock belongs to the process: a lock of the
 * open file description would be the shim's too, from the fork until its exec, and outlive a run
 * that has failed at once. */
static int claim_events(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && fcntl(fd, F_SETLK, &lock) < 0 &&
	                       (errno == EAGAIN || errno == EACCES)
	               ? -EBUSY
	               : 0;
}

static const char *events_error(const char *path, int error)
{
	struct stat st;

	if (error == EBUSY)
		return "another VM writes its events there; name another file";
	return error == ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode)
	               ? "nobody reads this FIFO; start its reader first, or name a file"
	               : errno_text(error);
}

static int open_events(struct run *run)
{
	const char *path = run->options.events_file;
	int r = check_output(run, "--events", path);

	if (r || run->options.events == EVENTS_NONE)
		return r;
	if (!path) {
		run->events = stderr;
		return 0;
	}
	/* O_NONBLOCK: opening a FIFO would block, and no signal would be handled meanwhile. */
	run->events_fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
	r = run->events_fd < 0 ? -errno : claim_events(run->events_fd);
	if (r == 0)
		r = nowait_open(&run->events_file, run->events_fd);
	if (r == 0) {
		run->events = run->events_file.file;
		return 0;
	}
	fprintf(stderr, "axvm run: cannot write events to %s: %s\n", path, events_error(path, -r));
	return EX_CANTCREAT;
}

int run_open_outputs(struct run *run)
{
	int r = check_metrics_file(run);

	return r ? r : open_events(run);
}

int run_empty_outputs(struct run *run)
{
	struct stat st;

	if (run->events_fd < 0 || fstat(run->events_fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    ftruncate(run->events_fd, 0) == 0)
		return 0;
	fprintf(stderr,
	        "axvm run: --events %s: cannot overwrite what is there: %s; name another file\n",
	        run->options.events_file, errno_text(errno));
	return EX_CANTCREAT;
}
