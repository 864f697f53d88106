/* SPDX-License-Identifier: MIT */
/* `axvm top`: VMs that are threads of the test answer, and their table is held against what they
 * said. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/cli/event_text.h"
#include "launch/cli/sockets.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/protoc.h"
#include "tests/unit/rig/wait.h"

static char folder[64];
static pid_t shim; /* a child of the process that listens, as a VM's process is */

/* Holds memory of which it uses little. */
static void be_a_shim(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)!mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	            -1, 0);
	for (;;)
		pause();
}

static void new_shim(void)
{
	shim = fork();
	cr_assert_geq(shim, 0);
	if (shim == 0)
		be_a_shim();
}

static void new_folder(void)
{
	char path[96];

	strcpy(folder, "/tmp/axvm-top-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/axvm", folder);
	cr_assert_eq(mkdir(path, 0700), 0);
	setenv("AXVM_RUNTIME_DIR", path, 1); /* nobody else's VMs */
	setenv("AXVM_CLAIMS_DIR", "", 1);    /* nor their claims */
	new_shim();
}

static void remove_folder(void)
{
	char command[128];

	kill(shim, SIGKILL);
	wait_child(shim);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(launch_top, .init = new_folder, .fini = remove_folder, .timeout = 120);

/* A VM: its replies one after the other, each on a connection of its own. */
struct vm {
	const char *replies[2];
	uint8_t bytes[2][4096];
	size_t sizes[2];
	uint8_t asked[256];
	size_t asked_size;
	int listener;
	pthread_t thread;
};

static void *serve(void *context)
{
	struct vm *vm = context;

	for (size_t i = 0; i < ARRAY_SIZE(vm->replies); i++) {
		ssize_t n;
		int fd;

		wait_readable(vm->listener);
		fd = accept(vm->listener, NULL, NULL);

		if (fd < 0)
			return NULL;
		n = read(fd, vm->asked, sizeof(vm->asked));
		vm->asked_size = (size_t)MAX(n, (ssize_t)0);
		if (vm->sizes[i] > 0)
			/* it may be too late */
			(void)!send(fd, vm->bytes[i], vm->sizes[i], MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

static void begin_vm(struct vm *vm, const char *id)
{
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(vm->replies); i++)
		vm->sizes[i] = vm->replies[i] ? protoc_encode("EventStream", vm->replies[i],
		                                              vm->bytes[i], sizeof(vm->bytes[i]))
		                              : 0;
	snprintf(path, sizeof(path), "%s/axvm/%s.sock", folder, id);
	cr_assert_eq(sockets_listen(path, 4, &vm->listener, NULL), 0);
	cr_assert_eq(pthread_create(&vm->thread, NULL, serve, vm), 0);
}

static void end_vm(struct vm *vm)
{
	wait_join(vm->thread, NULL);
	close(vm->listener);
}

static char *top_once(void)
{
	char *argv[] = { (char[]){ "axvm" }, (char[]){ "top" }, (char[]){ "--once" }, NULL };
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	cr_assert_eq(verb_main(3, argv, file), 0);
	fclose(file);
	return out;
}

/* The table, beside `beside` if that is not NULL. A VM has half a second for its answer: on a busy
 * machine it may be late, and is asked again. */
static char *top_of(struct vm *vm, const char *id, struct vm *beside)
{
	char late[64], *out = NULL;

	snprintf(late, sizeof(late), "\n%-20s ? ", id);
	for (int turn = 0; turn < 20; turn++) {
		free(out);
		begin_vm(vm, id);
		if (beside)
			begin_vm(beside, "beta");
		out = top_once();
		end_vm(vm);
		if (beside)
			end_vm(beside);
		if (!strstr(out, late))
			return out;
	}
	cr_assert_fail("%s never answered in time: %s", id, out);
	return NULL;
}

#define COUNTER(name, value) "counters { name: '" name "' value: " value " } "
#define REPLY(state, counters)                                                                     \
	"events { reply { request_id: 1 ok: true state: " state " metrics { " counters " } } }"
#define STILL                                                                                      \
	COUNTER("memory.node.0.host_node", "3")                                                    \
	COUNTER("memory.node.0.placed.pages_4k", "256")                                            \
	COUNTER("memory.node.0.placed.pages_2m", "1")                                              \
	COUNTER("memory.node.1.host_node", "1")                                                    \
	COUNTER("memory.node.1.placed.pages_1g", "2")                                              \
	COUNTER("memory.node.9.placed.pages_1g", "2")                                              \
	COUNTER("memory.node.8.placed.pages_1g", "2")                                              \
	COUNTER("memory.node.8.host_node", "5")                                                    \
	COUNTER("memory.node.2.free", "4")

static double number_behind(const char *line, const char *word)
{
	const char *at = strstr(line, word);
	double number = -1;

	cr_assert_not_null(at, "no %s in %s", word, line);
	cr_assert_eq(sscanf(at + strlen(word), "%lf", &number), 1, "%s in %s", word, line);
	return number;
}

/* Rates are differences, the kinds in their order, at most three, none that did not occur. */
Test(launch_top, rates_are_differences_of_replies)
{
	struct vm alpha = {
		.replies = { REPLY("STATE_RUNNING",
		                   STILL COUNTER("vcpu.0.exits",
		                                 "5") COUNTER("vcpus.exits.mmio",
		                                              "10") COUNTER("vcpus.exits.io", "7")
		                           COUNTER("kvm.vcpus.halt_exits",
		                                   "1") COUNTER("kvm.vcpus.exits", "100")
		                                   COUNTER("vcpus.exits.hlt", "8")
		                                           COUNTER("disk.a.bytes_read", "10")),
		             REPLY("STATE_PAUSED",
		                   STILL COUNTER("vcpu.0.exits", "7000005") COUNTER(
					   "vcpus.exits.mmio",
					   "2000010") COUNTER("vcpus.exits.io",
		                                              "4000007") COUNTER("kvm.vcpus.halt_exits",
		                                                                 "1000001")
		                           COUNTER("kvm.vcpus.irq_exits", "500000") COUNTER(
						   "kvm.vcpus.exits",
						   "64000100") COUNTER("vcpus.exits.hlt", "8")
		                                   COUNTER("disk.a.bytes_read", "1073741834") COUNTER(
							   "disk.a.bytes_written",
							   "1073741824") COUNTER("net.b.rx_bytes",
		                                                                 "1073741824")
		                                           COUNTER("net.b.tx_bytes", "1073741824")
		                                                   COUNTER("net.b.rx_frames",
		                                                           "1073741824")
		                                                           COUNTER("console.bytes_written",
		                                                                   "1073741824")) }
	};
	struct vm beta = { .replies = { NULL, NULL } };
	char *out, *first, *second, io[32] = "";
	uint8_t wanted[64];
	double exits, mb;
	int pid = 0;

	out = top_of(&alpha, "alpha", &beta);
	cr_assert_eq(
		strncmp(out,
	                "VM                   STATE         PID   CPU%    MEMORY  BY NODE                 I/O  "
	                "EXITS/S  MOST\n",
	                90),
		0, "%s", out);
	first = strstr(out, "\nalpha ");
	second = strstr(out, "\nbeta ");
	cr_assert(first && second && first < second, "by name: %s", out);
	*second++ = '\0';
	cr_assert_eq(sscanf(first, " alpha PAUSED %d", &pid), 1, "%s", first);
	cr_assert_eq(pid, shim);
	cr_assert_not_null(strstr(first, " 3:3.0 MiB 1:2.0 GiB "),
	                   "what was placed, by host node: %s", first);
	cr_assert_not_null(strstr(first, " io "));
	exits = number_behind(first, " io ");
	cr_assert_gt(exits, 0);
	/* The same time for all: 4, 2 and 1 million, of 64 that KVM counted. */
	cr_assert(number_behind(first, " mmio ") > exits * 0.49 &&
	                  number_behind(first, " mmio ") < exits * 0.51,
	          "%s", first);
	cr_assert(number_behind(first, " halt ") > exits * 0.24 &&
	                  number_behind(first, " halt ") < exits * 0.26,
	          "%s", first);
	cr_assert_null(strstr(first, "irq"), "three at most: %s", first);
	cr_assert_null(strstr(first, "hlt"), "it did not occur: %s", first);
	cr_assert_eq(sscanf(strstr(first, "/s ") + 3, "%lf", &mb), 1);
	cr_assert(mb > exits * 15.9 && mb < exits * 16.1, "all exits are those that KVM counts: %s",
	          first);
	/* 4 GiB in as many seconds as 4 million exits took: GiB and millions are the same
	 * number. */
	cr_assert_eq(sscanf(strstr(first, "/s ") - 8, "%lf %31s", &mb, io), 2, "%s", first);
	cr_assert(strncmp(io, "GiB/s", 5) == 0
	                  ? mb > exits / 1e6 * 0.9 && mb < exits / 1e6 * 1.1
	                  : mb > exits / 1e6 * 1024 * 0.9 && mb < exits / 1e6 * 1024 * 1.1,
	          "%s", first);
	cr_assert_eq(alpha.asked_size,
	             protoc_encode("ControlStream", "commands { request_id: 1 metrics {} }", wanted,
	                           sizeof(wanted)));
	cr_assert_arr_eq(alpha.asked, wanted, alpha.asked_size);
	/* One that does not answer is there, without what only it could tell. */
	cr_assert_not_null(strstr(second, "beta                 ? "), "%s", second);
	cr_assert_not_null(strstr(second, "  -"), "%s", second);
	cr_assert_null(strstr(second, "/s"), "%s", second);
	free(out);
}

/* Where KVM does not count them, all exits are those that came to the VM; a counter that went back
 * is no rate. */
Test(launch_top, a_kvm_that_does_not_count)
{
	struct vm vm = { .replies = { REPLY("STATE_RUNNING",
		                            COUNTER("vcpus.exits.mmio", "5")
		                                    COUNTER("vcpus.exits.io", "70")
		                                            COUNTER("disk.a.bytes_read", "1000")),
		                      REPLY("STATE_RUNNING",
		                            COUNTER("vcpus.exits.mmio", "1000005")
		                                    COUNTER("vcpus.exits.io", "7")
		                                            COUNTER("disk.a.bytes_read", "10")) } };
	double all, mmio;
	char *out;

	out = top_of(&vm, "gamma", NULL);
	mmio = number_behind(out, " mmio ");
	cr_assert_eq(sscanf(strstr(out, "/s ") + 3, "%*[^\n]"), 0);
	cr_assert_eq(sscanf(strstr(strstr(out, "\ngamma"), "/s ") + 3, "%lf", &all), 1);
	cr_assert_eq(all, mmio, "%s", out);
	cr_assert_null(strstr(out, " io "), "%s", out);
	cr_assert_not_null(strstr(out, " 0 B/s"), "%s", out);
	cr_assert_not_null(strstr(out, "gamma                RUNNING "), "%s", out);
	free(out);
}

/* Memory is what is resident of its process. */
Test(launch_top, what_its_process_uses)
{
	struct vm vm = { .replies = {
				 REPLY("STATE_RUNNING", COUNTER("vcpus.exits.mmio", "5")),
				 REPLY("STATE_RUNNING", COUNTER("vcpus.exits.mmio", "1000005")) } };
	char *out = top_of(&vm, "delta", NULL), *line = strstr(out, "\ndelta "), path[64],
	     memory[32], unit[8];
	unsigned long pages = 0;
	FILE *statm;

	cr_assert_not_null(line, "%s", out);
	cr_assert_eq(sscanf(line, " delta RUNNING %*d %*f %15s %7s", memory, unit), 2, "%s", line);
	snprintf(path, sizeof(path), "/proc/%d/statm", shim);
	statm = fopen(path, "re");
	cr_assert_eq(fscanf(statm, "%*u %lu", &pages), 1);
	fclose(statm);
	format_bytes(pages * (uint64_t)sysconf(_SC_PAGESIZE), path, sizeof(path));
	strcat(strcat(memory, " "), unit);
	cr_assert_str_eq(memory, path, "%s", line);
	free(out);
}

/* One whose process is not to be found is there, without what only its process could tell. */
Test(launch_top, a_vm_without_a_process)
{
	struct vm vm = { .replies = { REPLY("STATE_PAUSED", COUNTER("vcpus.exits.mmio", "5")),
		                      REPLY("STATE_PAUSED", COUNTER("vcpus.exits.mmio", "5")) } };
	char *out;

	kill(shim, SIGKILL);
	wait_child(shim);
	out = top_of(&vm, "omega", NULL);
	cr_expect_not_null(
		strstr(out,
	               "\nomega                PAUSED         -1    0.0       0 B  -                     0 B/s"
	               "        0 \n"),
		"%s", out);
	free(out);
	new_shim();
}

/* ---- many of them ---------------------------------------------------------------------------- */

#define MANY 300

static int listeners[MANY];
static _Atomic bool enough;

/* Takes whoever comes to one of them, and says nothing. */
static void *serve_many(void *unused)
{
	struct pollfd fds[MANY];

	(void)unused;
	for (size_t i = 0; i < MANY; i++)
		fds[i] = (struct pollfd){ .fd = listeners[i], .events = POLLIN };
	while (!enough) {
		(void)poll(fds, MANY, 10);
		for (size_t i = 0; i < MANY; i++)
			if (fds[i].revents)
				close(accept(listeners[i], NULL, NULL));
	}
	return NULL;
}

/* As many as there are, whatever their number. */
Test(launch_top, three_hundred_vms_are_shown)
{
	pthread_t thread;
	char path[128], *out;

	for (size_t i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "%s/axvm/one-of-%03zu.sock", folder, i);
		cr_assert_eq(sockets_listen(path, 4, &listeners[i], NULL), 0);
	}
	cr_assert_eq(pthread_create(&thread, NULL, serve_many, NULL), 0);
	out = top_once();
	for (size_t i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "\none-of-%03zu ", i);
		cr_expect_not_null(strstr(out, path), "%s", path);
	}
	cr_expect_null(strstr(out, "more"), "%s", out);
	free(out);
	enough = true;
	wait_join(thread, NULL);
}

/* A listener whose queue is full takes nobody, as one that was stopped: it is there, and the others
 * do not wait for it. What cannot be asked at all is counted. */
Test(launch_top, a_vm_that_accepts_nobody_is_shown_without_waiting)
{
	static const char id[] = "a-name-of-sixty-four-bytes-------------------------------------x";
	struct sockaddr_un address;
	char path[256], *out;
	int waiting[8], fd;

	snprintf(path, sizeof(path), "%s/axvm/%s.sock", folder, id);
	cr_assert_eq(sockets_address(path, &address), 0);
	cr_assert_eq(sockets_listen(path, 1, &fd, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(waiting[i], (const struct sockaddr *)&address, sizeof(address));
	}
	snprintf(path, sizeof(path), "%s/axvm/%0120d.sock", folder, 7);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	out = top_once();
	snprintf(path, sizeof(path), "\n%s ? ", id);
	cr_expect_not_null(strstr(out, path), "a name is not cut: %s", out);
	cr_expect_eq(strstr(out, "STATE") - out, 65, "the heading is above: %s", out);
	cr_expect_not_null(strstr(out, "\n1 more could not be asked: File name too long\n"), "%s",
	                   out);
	free(out);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
	close(fd);
}

/* Another user's sockets and folders: those are there for all to see, and not to connect to; these
 * may not be looked into. `axvm host` says the same. */
static char *as_somebody_else(const char *verb)
{
	char *argv[] = { (char[]){ "axvm" }, strdup(verb), NULL }, *out = calloc(8192, 1);
	int ends[2];
	pid_t child;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		FILE *file = fdopen(ends[1], "w");

		if (setgid(65534) < 0 || setuid(65534) < 0 || verb_main(2, argv, file) != 0)
			_exit(1);
		_exit(fclose(file) != 0);
	}
	close(ends[1]);
	for (ssize_t n = 1, used = 0; n > 0 && used < 8191; used += n)
		n = read(ends[0], out + used, (size_t)(8191 - used));
	cr_assert_eq(wait_child(child), 0, "%s", verb);
	close(ends[0]);
	free(argv[1]);
	return out;
}

Test(launch_top, vms_of_other_users_are_counted)
{
	static const char *const verbs[] = { "top", "host" };
	char path[128], barred[192], *out;
	int listener;

	if (geteuid() != 0)
		cr_skip_test("only root can be another user");
	snprintf(path, sizeof(path), "%s/axvm/root.sock", folder);
	cr_assert_eq(sockets_listen(path, 4, &listener, NULL), 0);
	snprintf(path, sizeof(path), "%s/axvm", folder);
	snprintf(barred, sizeof(barred), "\nservices may be in %s, which is root's\n", path);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		cr_assert(chmod(folder, 0755) == 0 && chmod(path, 0755) == 0);
		out = as_somebody_else(verbs[i]);
		cr_expect_not_null(strstr(out, "\nand 1 of other users, who alone may ask them\n"),
		                   "%s", out);
		cr_expect_null(strstr(out, "could not be asked"), "%s", out);
		free(out);
		cr_assert_eq(chmod(path, 0700), 0);
		out = as_somebody_else(verbs[i]);
		cr_expect_not_null(strstr(out, barred), "%s", out);
		cr_expect_null(strstr(out, "of other users"), "%s", out);
		free(out);
	}
	close(listener);
}

/* ---- on a terminal --------------------------------------------------------------------------- */

static char screen[16384];
static size_t shown;
static int keyboard;

/* What the terminal has shown until this; what stands behind it is for the next. */
static bool shows(const char *what)
{
	ssize_t n = read(keyboard, screen + shown, sizeof(screen) - 1 - shown);
	char *at;

	shown += n > 0 ? (size_t)n : 0;
	screen[shown] = '\0';
	at = strstr(screen, what);
	if (!at)
		return false;
	at += strlen(what);
	shown -= (size_t)(at - screen);
	memmove(screen, at, shown + 1);
	return true;
}

/* Of that size, or of none. */
static pid_t begin_top_in(const struct winsize *size, struct termios *ret_before)
{
	char *argv[] = { (char[]){ "axvm" }, (char[]){ "top" }, NULL };
	pid_t child;
	int slave;

	keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	cr_assert(keyboard >= 0 && grantpt(keyboard) == 0 && unlockpt(keyboard) == 0);
	slave = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_eq(tcgetattr(slave, ret_before), 0);
	cr_assert(!size || ioctl(slave, TIOCSWINSZ, size) == 0);
	shown = 0;
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		close(keyboard);
		dup2(slave, 0);
		dup2(slave, 1);
		_exit(verb_main(2, argv, stdout));
	}
	close(slave);
	return child;
}

static pid_t begin_top(struct termios *ret_before)
{
	return begin_top_in(NULL, ret_before);
}

#define EMPTY "no VM has a control socket here (`axvm run` makes one)"

/* It is drawn anew for each key, and ends with those that are for that; the terminal is as it
 * was. */
Test(launch_top, keys_on_a_terminal)
{
	static const char ends[] = { 'q', 3 };

	for (size_t i = 0; i < sizeof(ends); i++) {
		struct termios before, now;
		pid_t child = begin_top(&before);

		WAIT_UNTIL(shows("\033[H\033[2JVM                   STATE"));
		WAIT_UNTIL(shows(EMPTY));
		cr_assert_eq(tcgetattr(keyboard, &now), 0);
		cr_assert_not(now.c_lflag & (ICANON | ECHO | ISIG));
		cr_assert_eq(write(keyboard, "Q", 1), 1);
		WAIT_UNTIL(shows("\033[H\033[2JVM                   STATE"));
		WAIT_UNTIL(shows(EMPTY));
		cr_assert_eq(waitpid(child, NULL, WNOHANG), 0);
		cr_assert_eq(write(keyboard, &ends[i], 1), 1);
		cr_assert_eq(wait_child(child), 0);
		cr_assert_eq(tcgetattr(keyboard, &now), 0);
		cr_assert_eq(now.c_lflag, before.c_lflag);
		cr_assert_eq(now.c_iflag, before.c_iflag);
		close(keyboard);
	}
}

/* No more than it shows at once, and how many there are beside: lines that are too long for it take
 * several. */
Test(launch_top, a_terminal_that_is_small)
{
	static const struct {
		unsigned short columns, rows;
		const char *last;
	} windows[] = {
		{ 200, 5, "\nb  " },
		{ 200, 40, "\nf  " },
		{ 40, 9, "\nb  " },
		{ 200, 1, "\na  " },
	};
	static const char *const more[] = { "and 4 more: `axvm top --once` has all", NULL,
		                            "and 4 more: `axvm top --once` has all",
		                            "and 5 more: `axvm top --once` has all" };
	pthread_t thread;
	char path[128];

	for (size_t i = 0; i < MANY; i++)
		listeners[i] = -1;
	for (size_t i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "%s/axvm/%c.sock", folder, (char)('a' + i));
		cr_assert_eq(sockets_listen(path, 4, &listeners[i], NULL), 0);
	}
	cr_assert_eq(pthread_create(&thread, NULL, serve_many, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		const struct winsize size = { .ws_col = windows[i].columns,
			                      .ws_row = windows[i].rows };
		struct termios before;
		pid_t child;

		child = begin_top_in(&size, &before);
		WAIT_UNTIL(shows("VM      "));
		WAIT_UNTIL(shows(windows[i].last));
		if (more[i])
			WAIT_UNTIL(shows(more[i]));
		cr_assert_eq(write(keyboard, "q", 1), 1);
		cr_assert_eq(wait_child(child), 0);
		close(keyboard);
	}
	enough = true;
	wait_join(thread, NULL);
}

/* The end of the keys is an end, too. */
Test(launch_top, a_terminal_that_goes)
{
	struct termios before;
	pid_t child = begin_top(&before);

	WAIT_UNTIL(shows(EMPTY));
	close(keyboard);
	cr_assert_eq(wait_child(child), 0);
}

Test(launch_top, without_vms_it_says_so)
{
	char *out = top_once(), path[128];

	cr_assert_not_null(strstr(out, "no VM has a control socket here"));
	free(out);
	/* What is no socket, and one that nobody listens at, is no VM. */
	snprintf(path, sizeof(path), "%s/axvm/dead.sock", folder);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	snprintf(path, sizeof(path), "%s/axvm/readme", folder);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	out = top_once();
	cr_assert_not_null(strstr(out, "no VM has a control socket here"), "%s", out);
	cr_assert_null(strstr(out, "could not be asked"), "%s", out);
	free(out);
}
