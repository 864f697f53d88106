/* SPDX-License-Identifier: MIT */
/* libaxvm's folder of claims, for who hands it down. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/claims.h"
#include "launch/axvm.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/wait.h"

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

TestSuite(launch_claims, .init = begin, .fini = end, .timeout = 60);

/* A descriptor for any number of VMs: what one has claimed the other sees, and the launcher's has
 * nothing locked. */
Test(launch_claims, one_descriptor_for_several_vms)
{
	static struct claims one, other;
	struct claims_load load;
	int fd = -1;

	cr_assert_eq(axvm_claims_open(tree.root, &fd, NULL), 0);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(claims_open(&one, fd, NULL, false), 0);
	cr_assert_eq(claims_open(&other, fd, NULL, false), 0);
	cr_assert_eq(claims_take(&one, 3, CLAIMS_VCPU, 0), 0);
	cr_assert_eq(claims_take(&other, 3, CLAIMS_VCPU, 0), -EAGAIN);
	claims_close(&one);
	/* It ends with its VM, though the launcher has the folder open still. */
	cr_assert_eq(claims_look(&other, 3, &load), 0);
	cr_assert_eq(load.vcpus, 0);
	claims_close(&other);
	close(fd);
}

/* Without a path it is the folder that the shim's side calls so, whether or not this machine has
 * one. */
Test(launch_claims, the_folder_of_this_host)
{
	struct axvm_error error = { "" };
	struct stat st, opened;
	int fd = -1, r = axvm_claims_open(NULL, &fd, &error);

	cr_assert_str_eq(AXVM_CLAIMS_PATH, CLAIMS_PATH);
	if (r == 0) {
		cr_assert(stat(CLAIMS_PATH, &st) == 0 && fstat(fd, &opened) == 0);
		cr_assert(st.st_dev == opened.st_dev && st.st_ino == opened.st_ino);
		close(fd);
		return;
	}
	cr_assert_eq(fd, -1);
	cr_assert_eq(strncmp(error.text, "no CPUs can be claimed in " CLAIMS_PATH ": ", 43), 0,
	             "%s", error.text);
	cr_assert(r != -ENOENT || strstr(error.text, "systemd-tmpfiles --create"), "%s",
	          error.text);
}

/* As somebody who may read the folder and not write it: 0, or the number of what was wrong. */
static int as_a_reader(const char *path)
{
	struct axvm_error error = { "" };
	int fd = -1;

	if (geteuid() == 0 && (setegid(SOMEBODY_ELSE) < 0 || seteuid(SOMEBODY_ELSE) < 0))
		return 1;
	if (axvm_claims_open(path, &fd, &error) != -EACCES)
		return 2;
	return fd != -1 || !strstr(error.text, "this user may not write there") ? 3 : 0;
}

/* What a shim could claim nothing in is told before there is a shim, with what to do. */
Test(launch_claims, a_folder_that_does_not_serve)
{
	struct axvm_error error;
	char path[96];
	int fd = -1;
	pid_t child;

	snprintf(path, sizeof(path), "%s/nosuch", tree.root);
	cr_assert_eq(axvm_claims_open(path, &fd, &error), -ENOENT);
	cr_assert_not_null(strstr(error.text, "/nosuch: it is not there; make it, mode 3770"), "%s",
	                   error.text);
	cr_assert_eq(axvm_claims_open(path, &fd, NULL), -ENOENT);
	fixture_tree_write(&tree, "file", "x");
	snprintf(path, sizeof(path), "%s/file", tree.root);
	cr_assert_eq(axvm_claims_open(path, &fd, &error), -ENOTDIR);
	/* A FIFO's writer is not waited for. */
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(axvm_claims_open(path, &fd, &error), -ENOTDIR);
	cr_assert_eq(fd, -1);
	cr_assert_eq(chmod(tree.root, 0555), 0);
	child = fork();
	if (child == 0)
		_exit(as_a_reader(tree.root));
	cr_assert_eq(wait_child(child), 0);
	cr_assert_eq(chmod(tree.root, 0700), 0);
}
