/* SPDX-License-Identifier: MIT */
/* Paths that a person names to the `axvm` command: what is there already is not lost. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/cli/disk_format.h"
#include "launch/cli/metrics_file.h"
#include "launch/cli/sockets.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/host_fixture.h"

#define CONTENT "what somebody needs\n"
#define SOMEBODY_ELSE 65534

static struct fixture_tree tree;

static void begin(void)
{
	umask(022);
	fixture_tree_new(&tree);
}

static void end(void)
{
	fixture_tree_done(&tree);
}

TestSuite(launch_paths, .init = begin, .fini = end);

static const char *in_tree(const char *name)
{
	static char paths[16][SOCKET_PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	snprintf(path, SOCKET_PATH_MAX, "%s/%s", tree.root, name);
	return path;
}

static bool is_content(const char *path)
{
	char got[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, got, sizeof(got) - 1);

	close(fd);
	return n == (ssize_t)strlen(CONTENT) && strcmp(got, CONTENT) == 0;
}

static size_t entries(const char *folder)
{
	DIR *dir = opendir(folder);
	size_t count = 0;

	cr_assert_not_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

/* A bound socket, listening or not; its descriptor. */
static int make_socket(const char *path, int type, int backlog)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	cr_assert_eq(sockets_address(path, &address), 0);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0, "%s",
	             errno_text(errno));
	if (backlog >= 0)
		cr_assert_eq(listen(fd, backlog), 0);
	return fd;
}

static void make_dead_socket(const char *path)
{
	close(make_socket(path, SOCK_STREAM, 1));
}

static void make_file(const char *path)
{
	(void)path;
	fixture_tree_write(&tree, "at", "%s", CONTENT);
}

static void make_link(const char *path)
{
	fixture_tree_write(&tree, "target", "%s", CONTENT);
	cr_assert_eq(symlink("target", path), 0);
}

static void make_dangling_link(const char *path)
{
	cr_assert_eq(symlink("nothing", path), 0);
}

static void make_link_to_dead_socket(const char *path)
{
	make_dead_socket(in_tree("dead"));
	cr_assert_eq(symlink("dead", path), 0);
}

static void make_fifo(const char *path)
{
	cr_assert_eq(mkfifo(path, 0600), 0);
}

static void make_folder(const char *path)
{
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void make_live_socket(const char *path)
{
	(void)make_socket(path, SOCK_STREAM, 4);
}

/* As many wait as may: a connection would be told to come again, or wait for ever. */
static void make_busy_socket(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	(void)make_socket(path, SOCK_STREAM, 0);
	cr_assert_eq(sockets_address(path, &address), 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static void make_datagram_socket(const char *path)
{
	(void)make_socket(path, SOCK_DGRAM, -1);
}

static void make_dead_in_shared_folder(const char *path)
{
	make_dead_socket(path);
	cr_assert_eq(chmod(tree.root, 0770), 0);
}

static const struct kind {
	const char *name;
	void (*make)(const char *path);
	int error; /* of listening there */
	int metrics_error;
} kinds[] = {
	{ "file", make_file, -EEXIST, 0 },
	{ "link", make_link, -EEXIST, -EEXIST },
	{ "dangling link", make_dangling_link, -EEXIST, -EEXIST },
	{ "link to a dead socket", make_link_to_dead_socket, -EEXIST, -EEXIST },
	{ "FIFO", make_fifo, -EEXIST, -EEXIST },
	{ "folder", make_folder, -EEXIST, -EEXIST },
	{ "live socket", make_live_socket, -EADDRINUSE, -EEXIST },
	{ "busy socket", make_busy_socket, -EADDRINUSE, -EEXIST },
	{ "datagram socket", make_datagram_socket, -EADDRINUSE, -EEXIST },
	{ "dead socket in a folder that others can write", make_dead_in_shared_folder, -EPERM,
	  -EEXIST },
};

/* What is at the path is the same thing as before, with the same content, and nothing has come
 * beside it. */
static void same_as_before(const struct kind *kind, const char *path, const struct stat *before,
                           size_t count)
{
	struct stat after;

	cr_assert_eq(lstat(path, &after), 0, "%s: gone", kind->name);
	cr_expect(before->st_ino == after.st_ino && before->st_mode == after.st_mode &&
	                  before->st_mtim.tv_nsec == after.st_mtim.tv_nsec,
	          "%s: another, or changed", kind->name);
	cr_expect_eq(entries(tree.root), count, "%s: something is left beside it", kind->name);
	if (kind->make == make_file || kind->make == make_link)
		cr_expect(is_content(path), "%s", kind->name);
}

Test(launch_paths, listening_destroys_nothing)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *kind = &kinds[i];
		const char *path = in_tree("at");
		int fd = -1;
		struct stat before;
		size_t count;

		kind->make(path);
		cr_assert_eq(lstat(path, &before), 0);
		count = entries(tree.root);
		cr_expect_eq(sockets_listen(path, 1, &fd, NULL), kind->error, "%s", kind->name);
		cr_expect_eq(fd, -1, "%s", kind->name);
		same_as_before(kind, path, &before, count);
		end();
		begin();
	}
}

/* What is not a regular file stays, however it came there; a regular file is replaced. */
Test(launch_paths, metrics_replace_only_a_file)
{
	Axvm__V1__MetricsReport report = AXVM__V1__METRICS_REPORT__INIT;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *kind = &kinds[i];
		const char *path = in_tree("at");
		struct stat before;
		size_t count;

		kind->make(path);
		cr_assert_eq(lstat(path, &before), 0);
		count = entries(tree.root);
		cr_expect_eq(metrics_file_check(path), kind->metrics_error, "%s", kind->name);
		cr_expect_eq(metrics_file_write(path, "web", &report), kind->metrics_error, "%s",
		             kind->name);
		if (kind->metrics_error)
			same_as_before(kind, path, &before, count);
		end();
		begin();
	}
}

/* The draft's name can be foretold: a link there is not followed, and a file there stays. */
Test(launch_paths, a_planted_draft_is_not_written_to)
{
	Axvm__V1__MetricsReport report = AXVM__V1__METRICS_REPORT__INIT;
	char name[64];
	struct stat st;

	fixture_tree_write(&tree, "target", "%s", CONTENT);
	snprintf(name, sizeof(name), "at.%d.0.tmp", (int)getpid());
	cr_assert_eq(symlink("target", in_tree(name)), 0);
	snprintf(name, sizeof(name), "at.%d.tmp", (int)getpid());
	cr_assert_eq(symlink("target", in_tree(name)), 0);
	snprintf(name, sizeof(name), "at.%d.1.tmp", (int)getpid());
	fixture_tree_write(&tree, name, "%s", CONTENT);
	cr_assert_eq(metrics_file_write(in_tree("at"), "web", &report), 0);
	cr_assert(is_content(in_tree("target")), "written through the link");
	cr_assert(is_content(in_tree(name)));
	cr_assert(lstat(in_tree("at"), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0);
	cr_assert_eq(st.st_mode & 07777, 0644, "mode %o", st.st_mode & 07777);
	cr_assert_eq(entries(tree.root), 5);
	/* With no name left it says so. */
	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "at.%d.%u.tmp", (int)getpid(), i);
		if (access(in_tree(name), F_OK) != 0)
			fixture_tree_write(&tree, name, "%s", CONTENT);
	}
	cr_assert_eq(metrics_file_write(in_tree("at"), "web", &report), -EEXIST);
}

/* A dead socket is replaced by one that answers, and nothing is left beside it. */
Test(launch_paths, a_dead_socket_is_replaced)
{
	const char *path = in_tree("at");
	struct client client = { .fd = -1 };
	struct socket_id id;
	int fd = -1;

	make_dead_socket(path);
	cr_assert_eq(client_open(&client, path), -ECONNREFUSED);
	cr_assert_eq(sockets_listen(path, 1, &fd, &id), 0);
	cr_assert_eq(client_open(&client, path), 0);
	client_close(&client);
	cr_assert_eq(entries(tree.root), 1);
	sockets_remove(path, &id);
	cr_assert_eq(entries(tree.root), 0);
	close(fd);
}

/* Where the folder is sticky only one's own is; a dead socket of another user's is never. */
Test(launch_paths, whose_a_dead_socket_must_be)
{
	static const struct {
		mode_t folder;
		uid_t folder_owner, owner;
		int expect;
	} rows[] = {
		{ 0700, 0, 0, 0 },
		{ 0755, 0, 0, 0 },
		{ 0775, 0, 0, -EPERM },
		{ 0707, 0, 0, -EPERM },
		{ 01777, 0, 0, 0 },
		{ 01777, 0, SOMEBODY_ELSE, -EPERM },
		{ 0700, 0, SOMEBODY_ELSE, -EPERM },
		{ 0755, SOMEBODY_ELSE, 0, -EPERM },
		{ 01777, SOMEBODY_ELSE, 0, -EPERM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *path = in_tree("folder/at");
		uid_t me = geteuid();
		int fd = -1;

		if (me != 0 && (rows[i].owner || rows[i].folder_owner))
			continue; /* only root can give things away */
		cr_assert_eq(mkdir(in_tree("folder"), 0700), 0);
		make_dead_socket(path);
		cr_assert_eq(lchown(path, rows[i].owner ? rows[i].owner : me, (gid_t)-1), 0);
		cr_assert_eq(chown(in_tree("folder"),
		                   rows[i].folder_owner ? rows[i].folder_owner : me, (gid_t)-1),
		             0);
		cr_assert_eq(chmod(in_tree("folder"), rows[i].folder), 0);
		cr_expect_eq(sockets_listen(path, 1, &fd, NULL), rows[i].expect, "row %zu", i);
		cr_expect_eq(access(path, F_OK), 0, "row %zu", i);
		cr_expect_eq(entries(in_tree("folder")), 1, "row %zu", i);
		close(fd);
		end();
		begin();
	}
}

/* Several that find the same dead socket at the same time: one gets the place, and it is that one
 * who answers. */
Test(launch_paths, of_several_one_gets_the_place)
{
	enum { ROUNDS = 40, AT_ONCE = 4 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		const char *path = in_tree("at");
		struct client client = { .fd = -1 };
		unsigned winners = 0;
		pid_t pids[AT_ONCE], winner = -1;
		int go[2], told[2], stay[2];

		make_dead_socket(path);
		cr_assert(pipe2(go, O_CLOEXEC) == 0 && pipe2(told, O_CLOEXEC) == 0 &&
		          pipe2(stay, O_CLOEXEC) == 0);
		for (size_t i = 0; i < AT_ONCE; i++) {
			pids[i] = fork();
			cr_assert_geq(pids[i], 0);
			if (pids[i] == 0) {
				int fd, r;
				char byte;

				close(go[1]);
				close(stay[1]);
				(void)!read(go[0], &byte, 1);
				/* each asks, once or more */
				r = sockets_listen(path, 4 * AT_ONCE, &fd, NULL);
				(void)!write(told[1], &r, sizeof(r));
				(void)!read(stay[0], &byte, 1);
				_exit(r == 0 ? 1 : 0);
			}
		}
		close(go[1]);
		for (size_t i = 0; i < AT_ONCE; i++) {
			int r = 1;

			cr_assert_eq(read(told[0], &r, sizeof(r)), (ssize_t)sizeof(r));
			cr_expect(r == 0 || r == -EADDRINUSE, "%d", r);
			winners += r == 0;
		}
		cr_assert_eq(winners, 1, "round %u: %u have the place", round, winners);
		cr_assert_eq(client_open(&client, path), 0);
		winner = client_peer(&client);
		client_close(&client);
		close(stay[1]);
		for (size_t i = 0; i < AT_ONCE; i++) {
			int status = -1;

			cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
			cr_expect_eq(WEXITSTATUS(status), pids[i] == winner,
			             "another answers than who has the place");
		}
		cr_assert_eq(entries(tree.root), 1, "a draft is left");
		close(go[0]);
		close(told[0]);
		close(told[1]);
		close(stay[0]);
		unlink(path);
	}
}

/* What refuses may be about to listen: who has not got the lock under which that is done takes
 * nothing away. */
Test(launch_paths, nothing_is_replaced_without_the_lock)
{
	const char *path = in_tree("at");
	int holder = open(tree.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat before;

	make_dead_socket(path);
	cr_assert_eq(lstat(path, &before), 0);
	cr_assert_eq(flock(holder, LOCK_EX), 0);
	cr_assert_eq(sockets_listen(path, 1, &fd, NULL), -EPERM);
	same_as_before(&kinds[6], path, &before, 1);
	/* Where nothing is there the lock is not waited for in vain. */
	cr_assert_eq(sockets_listen(in_tree("other"), 1, &fd, NULL), 0);
	close(fd);
	close(holder);
	cr_assert_eq(sockets_listen(path, 1, &fd, NULL), 0);
	close(fd);
}

/* Nor is what has the name that a dead socket is moved to on its way. */
Test(launch_paths, setting_aside_destroys_nothing)
{
	const char *path = in_tree("at");
	char name[64];
	int fd;

	snprintf(name, sizeof(name), ".at.%d.0.old", (int)getpid());
	fixture_tree_write(&tree, name, "%s", CONTENT);
	make_dead_socket(path);
	cr_assert_eq(sockets_listen(path, 1, &fd, NULL), 0);
	cr_assert(is_content(in_tree(name)));
	cr_assert_eq(entries(tree.root), 2);
	close(fd);
}

/* Others find the socket by the name it is bound to. */
Test(launch_paths, a_socket_is_bound_to_its_path)
{
	const char *path = in_tree("at");
	struct sockaddr_un address;
	socklen_t size = sizeof(address);
	int fd;

	make_dead_socket(path);
	cr_assert_eq(sockets_listen(path, 1, &fd, NULL), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	cr_assert_str_eq(address.sun_path, path);
	close(fd);
}

/* At the end only what was made there goes. */
Test(launch_paths, what_took_the_name_meanwhile_stays)
{
	const char *path = in_tree("at");
	struct socket_id id;
	int fd;

	cr_assert_eq(sockets_listen(path, 1, &fd, &id), 0);
	cr_assert_eq(unlink(path), 0);
	sockets_remove(path, &id);
	cr_assert_eq(entries(tree.root), 0);
	make_file(path);
	sockets_remove(path, &id);
	cr_assert(is_content(path));
	cr_assert_eq(entries(tree.root), 1);
	close(fd);
}

/* Nor is it moved for as long as it takes to see that: who opens it by its name finds it at every
 * moment. */
Test(launch_paths, what_took_the_name_meanwhile_is_not_moved)
{
	const char *path = in_tree("at");
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), fd;
	struct socket_id id;
	char moves[4096];

	cr_assert_eq(sockets_listen(path, 1, &fd, &id), 0);
	cr_assert_eq(unlink(path), 0);
	make_file(path);
	cr_assert_geq(inotify_add_watch(watch, tree.root, IN_MOVE), 0);
	sockets_remove(path, &id);
	cr_assert_lt(read(watch, moves, sizeof(moves)), 0, "it was moved");
	cr_assert(is_content(path));
	close(watch);
	close(fd);
}

/* Called before each rename of the code under test; NULL: nobody is quicker. */
static void (*before_rename)(void);

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	if (before_rename)
		before_rename();
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

static unsigned renames, place_taken_at;

/* A person's file takes the socket's name, and another, where it is wanted, the name that the first
 * had. */
static void somebody_is_quicker(void)
{
	renames++;
	if (renames == 1) {
		unlink(in_tree("at"));
		make_file(NULL);
	} else if (renames == place_taken_at) {
		make_file(NULL);
	}
}

/* What is moved by mistake goes back; where its place is taken, its name is told. */
Test(launch_paths, what_is_moved_by_mistake_is_not_lost)
{
	for (place_taken_at = 0; place_taken_at <= 2; place_taken_at += 2) {
		int fd, told = memfd_create("told", MFD_CLOEXEC),
			before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
		char name[64], says[SOCKET_PATH_MAX + 128], got[512] = "";
		struct socket_id id;

		cr_assert_eq(sockets_listen(in_tree("at"), 1, &fd, &id), 0);
		renames = 0;
		before_rename = somebody_is_quicker;
		cr_assert_geq(dup2(told, STDERR_FILENO), 0);
		sockets_remove(in_tree("at"), &id);
		cr_assert_geq(dup2(before, STDERR_FILENO), 0);
		before_rename = NULL;
		cr_assert_eq(renames, 2);
		cr_expect(is_content(in_tree("at")));
		cr_assert_geq(pread(told, got, sizeof(got) - 1, 0), 0);
		snprintf(name, sizeof(name), ".at.%d.0.old", (int)getpid());
		snprintf(says, sizeof(says), "it is %s now, rename it\n", in_tree(name));
		if (place_taken_at) {
			cr_expect(is_content(in_tree(name)));
			cr_expect(strstr(got, says), "%s", got);
		}
		cr_expect_eq(entries(tree.root), place_taken_at ? 2 : 1);
		cr_expect(place_taken_at || got[0] == '\0', "%s", got);
		close(fd);
		close(told);
		close(before);
		end();
		begin();
	}
}

/* A name that fills an address leaves no room for a longer one beside it. */
Test(launch_paths, the_longest_name_is_listened_at)
{
	char path[SOCKET_PATH_MAX];
	struct client client = { .fd = -1 };
	int fd, other = -1;

	memset(path, 'x', sizeof(path));
	path[snprintf(path, sizeof(path), "%s/", tree.root)] = 'x';
	path[sizeof(path) - 1] = '\0';
	make_dead_socket(path);
	cr_assert_eq(sockets_listen(path, 1, &fd, NULL), 0);
	cr_assert_eq(client_open(&client, path), 0);
	client_close(&client);
	cr_assert_eq(sockets_listen(path, 1, &other, NULL), -EADDRINUSE);
	cr_assert_eq(entries(tree.root), 1);
	close(fd);
	unlink(path);
}

/* The command says what is there, and that it stays. */
Test(launch_paths, a_launch_says_what_it_leaves_alone)
{
	static const struct {
		const char *flag, *says;
	} rows[] = {
		{ "--vsock 5,socket=", "no socket, and is left alone" },
		{ "--shim /bin/true --control-socket ", "no socket, and is left alone" },
		{ "--metrics-file ", "no regular file, and is left alone" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *path = in_tree("at");
		struct said said;
		char line[256];

		make_link(path);
		snprintf(line, sizeof(line), "run --flat f %s%s", rows[i].flag, path);
		said = axvm_say(line, -1);
		cr_expect_eq(said.status, 73, "%s", said.err);
		cr_expect(strstr(said.err, rows[i].says) && strstr(said.err, path), "%s", said.err);
		cr_expect(is_content(path));
		said_done(&said);
		end();
		begin();
	}
}

/* One path for both of a VM's sockets: it is no other VM that is in the way. */
Test(launch_paths, one_path_for_two_sockets)
{
	struct said said;
	char line[512];

	snprintf(line, sizeof(line),
	         "run --flat f --shim /bin/true --control-socket %s --vsock 5,socket=%s/./at",
	         in_tree("at"), tree.root);
	said = axvm_say(line, -1);
	cr_expect_eq(said.status, 64, "%s", said.err);
	cr_expect_not_null(strstr(said.err,
	                          "the control socket and the guest's vsock are both to be at "),
	                   "%s", said.err);
	said_done(&said);
}

/* ---- disks -------------------------------------------------------------------------------- */

static const struct {
	const char *format; /* NULL: raw */
	off_t at;
	size_t length;
	const char *bytes;
	off_t size;
} images[] = {
	{ "qcow", 0, 8, "QFI\xfb\0\0\0\1", 4096 },
	{ "qcow2", 0, 8, "QFI\xfb\0\0\0\2", 4096 },
	{ "qcow2", 0, 8, "QFI\xfb\0\0\0\3", 4096 },
	{ "qcow2", 0, 4, "QFI\xfb", 4 },
	{ "qed", 0, 4, "QED", 4096 },
	{ "vmdk", 0, 4, "KDMV", 4096 },
	{ "vmdk", 0, 4, "COWD", 4096 },
	{ "vmdk", 0, 31, "# Disk DescriptorFile\nversion=1", 31 },
	{ "vhdx", 0, 8, "vhdxfile", 4096 },
	{ "vpc", 0, 8, "conectix", 4096 },
	{ "vpc", 4096 - 512, 8, "conectix", 4096 },
	{ "vdi", 64, 4, "\x7f\x10\xda\xbe", 4096 },
	{ NULL, 0, 0, "", 0 },
	{ NULL, 0, 3, "QFI", 3 },
	{ NULL, 0, 4, "QEDx", 4096 },
	{ NULL, 0, 6, "LUKS\xba\xbe", 4096 },
	{ NULL, 1, 4, "QFI\xfb", 4096 },
	{ NULL, 512, 4, "QFI\xfb", 4096 },
	{ NULL, 4096 - 511, 8, "conectix", 4096 },
	{ NULL, 510, 2, "\x55\xaa", 4096 },
};

static const char *make_image(size_t i)
{
	const char *path = in_tree("image");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_eq(ftruncate(fd, images[i].size), 0);
	cr_assert_eq(pwrite(fd, images[i].bytes, images[i].length, images[i].at),
	             (ssize_t)images[i].length);
	close(fd);
	return path;
}

Test(launch_paths, a_disk_of_another_format_is_told)
{
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		const char *found = disk_format(make_image(i));

		cr_expect(found == images[i].format || (found && images[i].format &&
		                                        strcmp(found, images[i].format) == 0),
		          "image %zu: %s", i, found ? found : "raw");
	}
	cr_expect_null(disk_format(in_tree("none")));
	cr_expect_null(disk_format(tree.root));
	make_fifo(in_tree("fifo"));
	cr_expect_null(disk_format(in_tree("fifo")), "and it does not wait for a writer");
}

Test(launch_paths, run_refuses_a_disk_of_another_format)
{
	struct said said;
	char line[256], says[512];

	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		const char *path = make_image(i), *format = images[i].format;

		snprintf(line, sizeof(line), "run --kernel v --dry-run --disk %s", path);
		said = axvm_say(line, -1);
		cr_expect_eq(said.status, format ? 64 : 0, "image %zu: %s", i, said.err);
		snprintf(says, sizeof(says),
		         "--disk %s: is a %s image, and disks are raw; make a raw one of it "
		         "(qemu-img convert -f %s -O raw '%s' '%s.raw'), or add format=raw",
		         path, format, format, path, path);
		cr_expect(!format || strstr(said.err, says), "image %zu: %s", i, said.err);
		said_done(&said);
		/* Who says that it is raw has it so, and the spec is what it would be without. */
		snprintf(line, sizeof(line), "run --kernel v --dry-run --disk %s,format=raw,ro",
		         path);
		said = axvm_say(line, -1);
		cr_expect_eq(said.status, 0, "image %zu: %s", i, said.err);
		cr_expect(strstr(said.out, "read_only: true") && !strstr(said.out, "format"), "%s",
		          said.out);
		said_done(&said);
	}
	said = axvm_say("run --kernel v --dry-run --disk d,format=qcow2", -1);
	cr_expect_eq(said.status, 64);
	cr_expect_not_null(
		strstr(said.err,
	               "--disk d: format=qcow2 is not known; there is format=raw, and no other"),
		"%s", said.err);
	said_done(&said);
}

/* The file that the picture is made from is not written over. */
Test(launch_paths, a_timeline_is_not_drawn_over_its_events)
{
	/* events { monotonic_ns: 9 stage_completed { stage: 5 } } */
	static const uint8_t bytes[] = { 0x0a, 6, 0x10, 9, 0x52, 2, 0x08, 5 };
	struct said said;
	char line[256];
	struct stat st;
	int fd = open(in_tree("boot.pb"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	close(fd);
	cr_assert_eq(link(in_tree("boot.pb"), in_tree("other")), 0);
	snprintf(line, sizeof(line), "timeline %s -o %s", in_tree("boot.pb"), in_tree("other"));
	said = axvm_say(line, -1);
	cr_expect_eq(said.status, 73, "%s", said.err);
	cr_expect_not_null(strstr(said.err, "the event stream itself"), "%s", said.err);
	said_done(&said);
	cr_assert(stat(in_tree("boot.pb"), &st) == 0 && st.st_size == (off_t)sizeof(bytes));
	snprintf(line, sizeof(line), "timeline %s -o %s", in_tree("boot.pb"), in_tree("new.svg"));
	said = axvm_say(line, -1);
	cr_expect_eq(said.status, 0, "%s", said.err);
	said_done(&said);
	cr_assert(stat(in_tree("new.svg"), &st) == 0 && st.st_size > 100);
}

/* A VM that there never is has no events to put in the place of those of the last one. */
Test(launch_paths, events_are_kept_where_there_is_no_vm)
{
	static const struct {
		const char *words;
		int status;
	} rows[] = {
		{ "--shim /nonexistent", 66 },
		{ "--shim /bin/true --control-socket %s", 73 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char words[256], line[512];
		struct said said;
		struct stat st;

		make_file(NULL);
		fixture_tree_write(&tree, "events", "%s", CONTENT);
		snprintf(words, sizeof(words), rows[i].words, in_tree("at"));
		snprintf(line, sizeof(line), "run --flat f --events json:%s %s", in_tree("events"),
		         words);
		said = axvm_say(line, -1);
		cr_expect_eq(said.status, rows[i].status, "%s: %s", line, said.err);
		cr_expect(is_content(in_tree("events")), "%s", line);
		said_done(&said);
		/* Where the shim has started they are overwritten. */
		snprintf(line, sizeof(line),
		         "run --flat f --events json:%s --shim /bin/true --control-socket none",
		         in_tree("events"));
		said = axvm_say(line, -1);
		cr_expect(stat(in_tree("events"), &st) == 0 && st.st_size == 0, "%s", said.err);
		said_done(&said);
		end();
		begin();
	}
}

/* A file into which another run writes its events is that one's; nothing in it changes. */
Test(launch_paths, events_of_another_vm_are_not_written_over)
{
	struct said said;
	char line[256];
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd, pair[2];
	pid_t other;

	fixture_tree_write(&tree, "events", "%s", CONTENT);
	fd = open(in_tree("events"), O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	other = fork();
	if (other == 0) {
		(void)!write(pair[1], fcntl(fd, F_SETLK, &lock) == 0 ? "y" : "n", 1);
		for (;;)
			pause();
	}
	cr_assert(read(pair[0], line, 1) == 1 && line[0] == 'y');
	snprintf(line, sizeof(line),
	         "run --flat f --events json:%s --shim /bin/true --control-socket none",
	         in_tree("events"));
	said = axvm_say(line, -1);
	cr_expect_eq(said.status, 73, "%s", said.err);
	cr_expect_not_null(strstr(said.err,
	                          "another VM writes its events there; name another file"),
	                   "%s", said.err);
	cr_expect(is_content(in_tree("events")));
	said_done(&said);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

/* A FIFO without a reader is not waited for, in which no signal would be heard. */
Test(launch_paths, events_into_a_fifo_that_nobody_reads, .timeout = 20)
{
	struct said said;
	char line[256];

	make_fifo(in_tree("at"));
	snprintf(line, sizeof(line), "run --flat f --events json:%s --shim /bin/true",
	         in_tree("at"));
	said = axvm_say(line, -1);
	cr_expect_eq(said.status, 73, "%s", said.err);
	cr_expect_not_null(strstr(said.err, "nobody reads this FIFO; start its reader first"), "%s",
	                   said.err);
	said_done(&said);
}

/* Events that are lost are told once, and the VM's status stays its own. */
Test(launch_paths, events_that_cannot_be_written_are_told_once)
{
	/* events { monotonic_ns: 9 }, events { terminal { exit_status: 7 } } */
	static const char shim[] =
		"#!/bin/sh\n"
		"printf '\\012\\002\\020\\011\\012\\005\\202\\001\\002\\020\\007' >&4\n"
		"exit 7\n";
	const char *says =
		"cannot write events to /dev/full: No space left on device; those from here on are lost";
	struct said said, plain;
	char line[256];
	const char *told;

	fixture_tree_write(&tree, "shim", "%s", shim);
	cr_assert_eq(chmod(in_tree("shim"), 0700), 0);
	snprintf(line, sizeof(line), "run --flat f --control-socket none --shim %s --events none",
	         in_tree("shim"));
	plain = axvm_say(line, -1);
	snprintf(line, sizeof(line),
	         "run --flat f --control-socket none --shim %s --events json:/dev/full",
	         in_tree("shim"));
	said = axvm_say(line, -1);
	told = strstr(said.err, says);
	cr_expect_not_null(told, "%s", said.err);
	cr_expect(!told || !strstr(told + 1, says), "twice: %s", said.err);
	cr_expect_eq(said.status, plain.status, "%s", said.err);
	said_done(&said);
	said_done(&plain);
}

/* What a run writes is none of the files that its VM is made of, by whatever name. */
Test(launch_paths, a_run_writes_over_nothing_that_its_vm_is_made_of)
{
	static const char *const outputs[] = { "--events pb:%s", "--metrics-file %s" };
	static const char spec[] = "launch { vm_id: \"v\" }\n";
	const struct {
		const char *what, *vm;
	} rows[] = {
		{ "boot.linux_boot.kernel", "--kernel %s" },
		{ "boot.flat_boot.image", "--flat %s" },
		{ "boot.linux_boot.initrd", "--kernel /nonexistent --initrd %s" },
		{ "disks[1].image",
		  "--kernel /nonexistent --disk /nonexistent --disk %s,format=raw" },
		{ "the spec's own file", "%s" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t k = 0; k < ARRAY_SIZE(outputs); k++) {
			char vm[128], output[128], line[512], says[128], found[64] = "";
			struct said said;
			int fd;

			snprintf(vm, sizeof(vm), rows[i].vm, in_tree("vm.txtpb"));
			snprintf(output, sizeof(output), outputs[k], in_tree("other"));
			snprintf(line, sizeof(line), "run %s %s --shim /bin/true", vm, output);
			fd = open(in_tree("vm.txtpb"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
			          0600);
			cr_assert_eq(write(fd, spec, sizeof(spec) - 1), (ssize_t)sizeof(spec) - 1);
			cr_assert_eq(link(in_tree("vm.txtpb"), in_tree("other")), 0);
			said = axvm_say(line, -1);
			snprintf(says, sizeof(says), "would overwrite %s", rows[i].what);
			cr_expect_eq(said.status, 73, "%s: %s", line, said.err);
			cr_expect_not_null(strstr(said.err, says), "%s: %s", line, said.err);
			said_done(&said);
			cr_expect_eq(pread(fd, found, sizeof(found), 0), (ssize_t)sizeof(spec) - 1,
			             "%s", line);
			cr_expect_str_eq(found, spec);
			close(fd);
			unlink(in_tree("other"));
		}
}
