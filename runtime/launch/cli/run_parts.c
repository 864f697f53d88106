/* SPDX-License-Identifier: MIT */
/* `axvm run`: before the launch, after the end, and what is shown meanwhile. */
#include "launch/cli/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/clock.h"
#include "host/admit.h"
#include "interface/reflect.h"
#include "launch/cli/event_text.h"
#include "launch/cli/facts_here.h"
#include "launch/cli/run_outputs.h"
#include "launch/cli/shim_path.h"

#define PROGRESS_AFTER_MS 500
#define FIRST_RESOURCE_FD 5

/* ---- fds ---------------------------------------------------------------------------------- */

/* Passes an fd of this process to the shim as `number`; false if it is not open here or there are
 * too many. */
static bool hand_over(struct run *run, int fd, int number)
{
	for (size_t i = 0; i < run->fds_count; i++)
		if (run->fds[i].number == number)
			return true;
	if (run->fds_count == RUN_FDS_MAX || fcntl(fd, F_GETFD) < 0)
		return false;
	run->fds[run->fds_count++] = (struct axvm_fd){ fd, number };
	return true;
}

struct collecting {
	struct run *run;
	int status;
};

static void collect(struct collecting *collecting, uint32_t fd, const char *path)
{
	/* place_console() handles 0 to 2; the shim refuses 3 and 4. */
	if (fd <= 4 || fd > INT_MAX || hand_over(collecting->run, (int)fd, (int)fd))
		return;
	fprintf(stderr,
	        "axvm run: the spec's %s names fd %u, which is not open here; open it for "
	        "this command: axvm run ... %u<FILE\n",
	        path, fd, fd);
	collecting->status = EX_NOINPUT;
}

static void collect_resource(const ProtobufCMessage *message, const char *path, void *context)
{
	const Axvm__V1__Resource *resource = (const Axvm__V1__Resource *)message;

	if (resource->source_case == AXVM__V1__RESOURCE__SOURCE_FD)
		collect(context, resource->fd, path);
}

static void collect_list(const struct place *place, void *context)
{
	for (size_t i = 0; i < place_count(place); i++)
		collect(context, (uint32_t)place_number(place, i), place->path);
}

static int collect_fds(struct run *run)
{
	struct collecting collecting = { .run = run };
	const ProtobufCMessage *spec = &run->options.spec->base;

	reflect_messages(spec, &axvm__v1__resource__descriptor, collect_resource, &collecting);
	(void)reflect_each(spec, "nets.tap.fd", collect_list, &collecting);
	(void)reflect_each(spec, "sandbox.cgroup_fds", collect_list, &collecting);
	return collecting.status;
}

/* ---- console ------------------------------------------------------------------------------ */

static bool is_fd(const Axvm__V1__Resource *resource, uint32_t fd)
{
	return resource && resource->source_case == AXVM__V1__RESOURCE__SOURCE_FD &&
	       resource->fd == fd;
}

static Axvm__V1__Resource *new_fd_resource(uint32_t fd)
{
	Axvm__V1__Resource *resource = malloc(sizeof(*resource));

	if (resource) {
		axvm__v1__resource__init(resource);
		resource->source_case = AXVM__V1__RESOURCE__SOURCE_FD;
		resource->fd = fd;
	}
	return resource;
}

/* A VM from flags gets a console if its machine can have one; a spec file says for itself. */
static int add_console(struct run_options *options)
{
	Axvm__V1__LaunchSpec *spec = options->spec;

	if (!options->from_flags || options->no_console ||
	    !(options->has_kernel || options->early_console))
		return 0;
	if (!spec->console) {
		spec->console = malloc(sizeof(*spec->console));
		if (!spec->console)
			return -ENOMEM;
		axvm__v1__console__init(spec->console);
	}
	if (!spec->console->output)
		spec->console->output = new_fd_resource(STDOUT_FILENO);
	if (!spec->console->input && options->has_kernel)
		spec->console->input = new_fd_resource(STDIN_FILENO);
	return spec->console->output ? 0 : -ENOMEM;
}

/* The shim's fd 2 is a pipe to us, so that each error is told once; if the guest's console is fd 2,
 * the shim gets our stderr. Without a stderr the shim gets none. */
static int place_stderr(struct run *run)
{
	const Axvm__V1__Console *console = run->options.spec->console;
	int r;

	if (console && is_fd(console->output, STDERR_FILENO))
		(void)hand_over(run, STDERR_FILENO, STDERR_FILENO);
	else if (fcntl(STDERR_FILENO, F_GETFD) >= 0) {
		r = run_words_open(&run->words);
		if (r < 0)
			return r;
		if (!hand_over(run, run->words.shims_fd, STDERR_FILENO))
			return -EMFILE;
	}
	return 0;
}

/* Places fds 0 to 2 of the shim: the console's ends, and always stderr. */
static int place_console(struct run *run)
{
	Axvm__V1__Console *console = run->options.spec->console;
	int ends[2], r;

	r = place_stderr(run);
	if (r < 0 || !console)
		return r;
	if (is_fd(console->output, STDOUT_FILENO))
		(void)hand_over(run, STDOUT_FILENO, STDOUT_FILENO);
	if (isatty(STDOUT_FILENO) && !console->has_columns && !console->has_rows)
		console->has_columns = console->has_rows =
			terminal_size(STDOUT_FILENO, &console->columns, &console->rows);
	if (!is_fd(console->input, STDIN_FILENO))
		return 0;
	if (!isatty(STDIN_FILENO)) {
		(void)hand_over(run, STDIN_FILENO, STDIN_FILENO);
		return 0;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	run->guest_input_fd = ends[0];
	run->keys_fd = ends[1];
	if (fcntl(run->keys_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return hand_over(run, run->guest_input_fd, STDIN_FILENO) ? 0 : -EMFILE;
}

void run_send_console_size(struct run *run)
{
	Axvm__V1__ConsoleSizeCommand size = AXVM__V1__CONSOLE_SIZE_COMMAND__INIT;
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	uint64_t request_id = 0;

	if (!run->options.spec->console || !terminal_size(STDOUT_FILENO, &size.columns, &size.rows))
		return;
	size.has_columns = size.has_rows = 1;
	command.what_case = AXVM__V1__COMMAND__WHAT_CONSOLE_SIZE;
	command.console_size = &size;
	(void)vm_send_command(run->vm, &command, &request_id);
	run_remember_own(run, request_id);
}

bool run_has_button(const struct run *run)
{
	const Axvm__V1__Boot *boot = run->options.spec->boot;

	return !boot || boot->kind_case != AXVM__V1__BOOT__KIND_FLAT_BOOT ||
	       boot->flat_boot->local_apic;
}

void run_remember_own(struct run *run, uint64_t request_id)
{
	run->own_requests[run->own_count++ % RUN_OWN_REQUESTS] = request_id;
}

/* 0 is the id of no command: the whole stream was refused, and the stream is ours. */
static bool is_own(const struct run *run, uint64_t request_id)
{
	bool own = request_id == 0;

	for (size_t i = 0; i < RUN_OWN_REQUESTS; i++)
		own = own || run->own_requests[i] == request_id;
	return own;
}

void run_answer(struct run *run, const Axvm__V1__Reply *reply)
{
	static const Axvm__V1__Lifecycle defaults = AXVM__V1__LIFECYCLE__INIT;
	const Axvm__V1__Lifecycle *lifecycle =
		run->options.spec->lifecycle ? run->options.spec->lifecycle : &defaults;
	bool by_key = run->key_request && reply->request_id == run->key_request;
	/* On a terminal in raw mode the guest may be in the middle of a line. */
	const char *before = by_key ? "\n" : "";

	if (by_key)
		run->key_request = 0;
	if (!reply->ok) {
		if (reply->error && is_own(run, reply->request_id) &&
		    !run_events_are_on_stderr(run))
			fprintf(stderr, "%saxvm run: %s\n", before, reply->error->message);
	} else if (by_key && run->key_action == ESCAPE_BUTTON) {
		fprintf(stderr,
		        "\naxvm run: power button pressed; in %.4g s the VM is stopped if it has not "
		        "ended (Ctrl-A x stops it now)\n",
		        lifecycle->shutdown_timeout_ms / 1000.0);
	} else if (by_key) {
		fprintf(stderr, "\naxvm run: %s is %s%s\n", run->options.spec->vm_id,
		        state_name((int)reply->state),
		        reply->state == AXVM__V1__STATE__STATE_PAUSED ? "; Ctrl-A s lets it go on"
		                                                      : "");
	}
}

/* ---- vsock -------------------------------------------------------------------------------- */

/* The lowest number that no fd of the shim has. */
static int unused_number(const struct run *run)
{
	for (int number = FIRST_RESOURCE_FD;; number++) {
		bool used = false;

		for (size_t i = 0; i < run->fds_count; i++)
			used |= run->fds[i].number == number;
		if (!used)
			return number;
	}
}

/* Serves a vsock whose spec names no channel. 0, or the exit status after a message on stderr. */
static int open_vsock(struct run *run)
{
	const char *named = run->options.vsock_socket, *id = run->options.spec->vm_id;
	Axvm__V1__Vsock *vsock = run->options.spec->vsock;
	char path[SOCKET_PATH_MAX] = "";
	int r;

	if (!vsock || (vsock->channel && !named))
		return 0;
	if (vsock->channel) {
		fprintf(stderr,
		        "axvm run: --vsock socket=%s: the spec names a channel already, which "
		        "somebody else serves; remove one of the two\n",
		        named);
		return EX_USAGE;
	}
	if (named)
		r = snprintf(path, sizeof(path), "%s", named) < (int)sizeof(path) ? 0
		                                                                  : -ENAMETOOLONG;
	else
		r = id ? sockets_path(id, SOCKET_VSOCK, path) : -EINVAL;
	if (r == 0)
		r = vsock_host_open(&run->vsock, path, &run->vsock_fd);
	if (r == -EADDRINUSE) {
		fprintf(stderr,
		        "axvm run: another VM's vsock is served at %s; give this one another "
		        "--id, or --vsock CID,socket=PATH\n",
		        path);
		return EX_UNAVAILABLE;
	}
	if (r < 0) {
		fprintf(stderr,
		        "axvm run: cannot serve the guest's vsock at %s: %s "
		        "(--vsock CID,socket=PATH says where)\n",
		        named   ? named
		        : *path ? path
		                : "its VM's name",
		        sockets_listen_error(-r));
		return EX_CANTCREAT;
	}
	vsock->channel = new_fd_resource((uint32_t)unused_number(run));
	if (!vsock->channel || !hand_over(run, run->vsock_fd, (int)vsock->channel->fd)) {
		fprintf(stderr, "axvm run: the spec names too many fds; name files by path\n");
		return EX_OSERR;
	}
	return 0;
}

/* ---- before ------------------------------------------------------------------------------- */

static int open_signals(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	/* A write reports a terminal or pipe that has gone away. */
	(void)signal(SIGPIPE, SIG_IGN);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signal_fd < 0 ? -errno : 0;
}

int run_prepare(struct run *run)
{
	int r = collect_fds(run);

	if (r)
		return r;
	/* From here on we open files ourselves, and none may get a number that the spec names. */
	r = add_console(&run->options);
	if (r == 0)
		r = run_add_claims(run);
	if (r == 0)
		r = place_console(run);
	if (r == 0)
		r = open_signals(run);
	if (r < 0) {
		fprintf(stderr, "axvm run: cannot prepare: %s\n", errno_text(-r));
		return EX_OSERR;
	}
	r = open_vsock(run);
	return r ? r : run_open_outputs(run);
}

/* Whether the path, in any spelling, is that of our own socket for the guest's vsock. */
static bool is_vsocks(const struct run *run, const char *path)
{
	struct stat st;

	return run->vsock.open && lstat(path, &st) == 0 && st.st_dev == run->vsock.id.dev &&
	       st.st_ino == run->vsock.id.ino;
}

/* Opens the control socket. The VM runs without one, unless it was asked for by name. */
static int open_server(struct run *run)
{
	const char *named = run->options.control_socket, *id = run->options.spec->vm_id;
	char path[SOCKET_PATH_MAX];
	int r;

	if (named && strcmp(named, "none") == 0)
		return 0;
	if (named)
		r = snprintf(path, sizeof(path), "%s", named) < (int)sizeof(path) ? 0
		                                                                  : -ENAMETOOLONG;
	else
		r = id ? sockets_path(id, SOCKET_CONTROL, path) : -EINVAL;
	if (r == 0)
		r = server_open(&run->server, path, run->vm);
	if (r == -EADDRINUSE && is_vsocks(run, path)) {
		fprintf(stderr,
		        "axvm run: the control socket and the guest's vsock are both to be at %s; name another "
		        "path: --control-socket PATH, or --vsock CID,socket=PATH\n",
		        path);
		return EX_USAGE;
	}
	if (r == -EADDRINUSE) {
		fprintf(stderr,
		        "axvm run: a VM named \"%s\" runs here already (%s); give this one "
		        "another --id, or --control-socket none\n",
		        id ? id : "", path);
		return EX_UNAVAILABLE;
	}
	if (r < 0 && named) {
		fprintf(stderr, "axvm run: --control-socket: cannot listen at %s: %s\n", named,
		        sockets_listen_error(-r));
		return EX_CANTCREAT;
	}
	if ((r == -EEXIST || r == -EPERM) && !run->options.quiet)
		fprintf(stderr, "axvm run: no control socket at %s: %s\n", path,
		        sockets_listen_error(-r));
	return 0;
}

int run_launch(struct run *run)
{
	struct axvm_launch launch = { .fds = run->fds, .fds_count = run->fds_count };
	_cleanup_free_ uint8_t *spec = NULL;
	struct axvm_error error;
	char path[PATH_MAX];
	int r;

	if (message_encode(&run->options.spec->base, &spec, &launch.spec_size) < 0) {
		fprintf(stderr, "axvm run: out of memory\n");
		return EX_OSERR;
	}
	launch.spec = spec;
	launch.shim = shim_path(run->options.shim, path);
	/* The VM gets a process namespace of its own if this user may make one. */
	launch.flags = AXVM_NEW_PID_NAMESPACE;
	r = axvm_spawn(&launch, &run->vm, &error);
	if (r == -EPERM) {
		launch.flags = 0;
		r = axvm_spawn(&launch, &run->vm, &error);
	}
	if (r < 0) {
		fprintf(stderr, "axvm run: %s%s\n", error.text,
		        r == -ENOENT ? " (--shim FILE or AXVM_SHIM say where it is)" : "");
		return r == -ENOENT ? EX_NOINPUT : EX_OSERR;
	}
	close_ptr(&run->guest_input_fd);
	close_ptr(&run->words.shims_fd);
	close_ptr(&run->vsock_fd);
	r = open_server(run);
	if (r == 0)
		r = run_empty_outputs(run);
	if (r) {
		(void)axvm_vm_signal(run->vm, SIGKILL);
		return r;
	}
	run->launched_ms = monotonic_ms();
	run->progress_wanted = isatty(STDERR_FILENO) && !run->options.quiet;
	if (run->keys_fd < 0)
		return 0;
	r = terminal_enter(&run->terminal, STDIN_FILENO);
	if (r == 0 && !run->options.quiet)
		fprintf(stderr, "axvm run: %s: Ctrl-A x stops it, Ctrl-A h lists keys\n",
		        run->options.spec->vm_id ? run->options.spec->vm_id : "?");
	return 0;
}

/* ---- meanwhile ---------------------------------------------------------------------------- */

void run_tell_lost_events(struct run *run)
{
	int error = run->events_file.error;

	if (error == 0 || run->events_failed)
		return;
	run->events_failed = true;
	run_clear_progress(run);
	fprintf(stderr, "axvm run: cannot write events to %s: %s; those from here on are lost\n",
	        run->options.events_file, errno_text(error));
}

void run_write_event(struct run *run, const Axvm__V1__Event *event)
{
	Axvm__V1__EventStream stream = AXVM__V1__EVENT_STREAM__INIT;
	Axvm__V1__Event copy = *event, *one = &copy;
	_cleanup_free_ uint8_t *bytes = NULL;

	if (!run->events)
		return;
	switch (run->options.events) {
	case EVENTS_TEXT:
		event_print(run->events, event, run->start_ns);
		break;
	case EVENTS_JSON:
		event_print_json(run->events, event);
		break;
	case EVENTS_PB:
		stream.n_events = 1;
		stream.events = &one;
		bytes = malloc(axvm__v1__event_stream__get_packed_size(&stream) + 1);
		if (bytes)
			(void)fwrite(bytes, 1, axvm__v1__event_stream__pack(&stream, bytes),
			             run->events);
		break;
	case EVENTS_NONE:
		break;
	}
	(void)fflush(run->events);
	run_tell_lost_events(run);
}

bool run_events_are_on_stderr(const struct run *run)
{
	return run->events == stderr;
}

/* Resident memory of the shim, with huge pages: the progress of a launch that populates. */
static uint64_t resident_bytes(pid_t pid)
{
	unsigned long long kib, sum = 0;
	char path[64], line[256];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "VmRSS: %llu", &kib) == 1 ||
		    sscanf(line, "HugetlbPages: %llu", &kib) == 1)
			sum += kib * KIB;
	(void)fclose(status);
	return sum;
}

void run_show_progress(struct run *run, int64_t now_ms)
{
	const Axvm__V1__Memory *memory = run->options.spec->memory;
	uint64_t total = 0;
	char have[32], want[32];

	if (now_ms - run->launched_ms < PROGRESS_AFTER_MS || run->end.known)
		return;
	for (size_t i = 0; memory && i < memory->n_nodes; i++)
		total += memory->nodes[i]->size_mib * MIB;
	fprintf(stderr, "\r\033[Kaxvm run: %.1f s, after stage %s: memory %s of %s",
	        (double)(now_ms - run->launched_ms) / 1000, event_stage_name((int)run->stage),
	        format_bytes(resident_bytes(axvm_vm_pid(run->vm)), have, sizeof(have)),
	        format_bytes(total, want, sizeof(want)));
	run->progress_shown = true;
}

void run_clear_progress(struct run *run)
{
	if (run->progress_shown)
		fputs("\r\033[K", stderr);
	run->progress_shown = false;
}

/* ---- after -------------------------------------------------------------------------------- */

/* Prints the last line of a refusal, if a profile would take this host as it is. */
static void hint(const char *profile)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	const char *other;

	if (!facts || facts_here(facts) < 0)
		return;
	other = admit_alternative(facts, profile);
	if (other)
		fprintf(stderr,
		        "axvm run: profile %s would take this host, for development: add --profile "
		        "%s\n",
		        other, other);
}

int run_conclude(struct run *run, int wait_status)
{
	const char *id = run->options.spec->vm_id ? run->options.spec->vm_id : "the VM";
	int status;

	run_clear_progress(run);
	terminal_leave(&run->terminal);
	/* If fd 4 is still open after the shim has ended, its holder is not the shim, and no
	 * terminal event will come. */
	if (axvm_vm_exit_status(run->vm, &status) < 0)
		status = EX_SOFTWARE;
	run_end_tell(&run->end, &run->words, id);
	if (WIFSIGNALED(wait_status))
		fprintf(stderr, "axvm run: %s: the shim was ended by signal %d (%s)\n", id,
		        WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	else if (!run->end.known)
		fprintf(stderr,
		        "axvm run: %s: the shim ended with status %d and no terminal event: it has "
		        "a bug, or --shim or AXVM_SHIM name another program (status %d)\n",
		        id, WEXITSTATUS(wait_status), status);
	else if (status != WEXITSTATUS(wait_status))
		fprintf(stderr,
		        "axvm run: %s: %s; but the shim ended with status %d, not with the one that "
		        "its terminal event states: it has a bug (status %d)\n",
		        id, run->end.text, WEXITSTATUS(wait_status), status);
	else if (!run->options.quiet)
		fprintf(stderr, "axvm run: %s: %s (status %d)\n", id, run->end.text, status);
	if (run->end.is_refusal && !run->options.quiet)
		hint(run->options.spec->profile);
	return status;
}

void run_done(struct run *run)
{
	terminal_leave(&run->terminal);
	run_words_close(&run->words);
	run_end_done(&run->end);
	server_close(&run->server);
	vsock_host_close(&run->vsock);
	close_ptr(&run->keys_fd);
	close_ptr(&run->guest_input_fd);
	close_ptr(&run->vsock_fd);
	close_ptr(&run->signal_fd);
	nowait_close(&run->events_file);
	nowait_close(&run->errors);
	close_ptr(&run->events_fd);
	axvm_vm_free(run->vm);
	held_event_release(&run->held);
	run->vm = NULL;
	run_options_done(&run->options);
}
