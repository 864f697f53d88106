/* SPDX-License-Identifier: MIT */
/* The checks of fds 3 and 4, and how outcomes become exit statuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "interface/outcome.h"
#include "shim/fds.h"

static void control_refused(int fd, int error_number, const char *says)
{
	struct problems problems = { 0 };

	cr_assert_eq(check_control_fd(fd, &problems), -error_number, "%s", says);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_CONTROL_FD_UNUSABLE);
	cr_assert(strstr(problems.list[0].message, says), "%s", problems.list[0].message);
}

static void event_refused(int fd, int control, int error_number, const char *says)
{
	struct problems problems = { 0 };

	cr_assert_eq(check_event_fd(fd, control, &problems), -error_number, "%s", says);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_EVENT_FD_UNUSABLE);
	cr_assert(strstr(problems.list[0].message, says), "%s", problems.list[0].message);
}

Test(fds, unusable_control_and_event_fds_are_refused)
{
	int ends[2], packets[2], root = open("/", O_RDONLY), path = open("/", O_PATH);
	int counter = eventfd(0, 0), terminal = posix_openpt(O_RDWR | O_NOCTTY);

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets), 0);
	cr_assert_eq(grantpt(terminal) | unlockpt(terminal), 0);
	control_refused(1000, EBADF, "not open");
	control_refused(ends[1], EBADF, "wrong way round");
	control_refused(root, EINVAL, "a directory");
	control_refused(path, EBADF, "O_PATH");
	control_refused(packets[0], EINVAL, "not a stream socket");
	control_refused(counter, EINVAL, "neither a pipe");
	control_refused(open(ptsname(terminal), O_RDWR | O_NOCTTY), EINVAL, "a terminal");
	event_refused(1000, ends[0], EBADF, "not open");
	event_refused(ends[0], ends[0], EBADF, "wrong way round");
	event_refused(ends[1], ends[0], EINVAL, "two ends of one pipe");
	event_refused(packets[0], ends[0], EINVAL, "not a stream socket");
	event_refused(path, ends[0], EBADF, "O_PATH");
	event_refused(open(ptsname(terminal), O_RDWR | O_NOCTTY), ends[0], EINVAL, "a terminal");
	event_refused(terminal, ends[0], EINVAL, "make fd");
}

/* Whatever number it has had, 0 among them; what is at the new one is replaced, and a failed call's
 * errno kept. */
Test(fds, a_descriptor_is_moved_to_its_number)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert_eq(dup2(null, 0), 0);
	cr_assert_eq(fd_settle(0, 500), 500);
	cr_assert(fcntl(0, F_GETFD) < 0 && fcntl(500, F_GETFD) == FD_CLOEXEC);
	cr_assert_eq(fd_settle(null, 500), 500);
	cr_assert(fcntl(null, F_GETFD) < 0 && fcntl(500, F_GETFD) == FD_CLOEXEC);
	errno = ENFILE;
	cr_assert_eq(fd_settle(-1, 501), -ENFILE);
	cr_assert_lt(fcntl(501, F_GETFD), 0);
	/* A number beyond the limit: nothing stays open. */
	cr_assert_eq(fd_settle(500, 1 << 30), -EBADF);
	cr_assert_lt(fcntl(500, F_GETFD), 0);
}

Test(fds, usable_control_and_event_fds_are_taken)
{
	struct problems problems = { 0 };
	int control[2], events[2], both[2], null = open("/dev/null", O_RDWR);
	int file = memfd_create("spec", 0);

	cr_assert_eq(pipe(control), 0);
	cr_assert_eq(pipe(events), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, both), 0);
	cr_assert_eq(check_control_fd(control[0], &problems), 0);
	cr_assert_eq(check_control_fd(both[0], &problems), 0);
	cr_assert_eq(check_control_fd(null, &problems), 0);
	cr_assert_eq(check_control_fd(file, &problems), 0);
	cr_assert_eq(check_event_fd(events[1], control[0], &problems), 0);
	cr_assert_eq(check_event_fd(both[0], both[0], &problems), 0);
	cr_assert_eq(check_event_fd(null, control[0], &problems), 0);
	cr_assert_eq(check_event_fd(file, control[0], &problems), 0);
	cr_assert_eq(problems.count, 0);
}

Test(outcome, exit_status_is_the_outcomes_or_the_first_errors)
{
	struct problems problems = { 0 };

	cr_assert_eq(outcome_exit_status(OUTCOME_POWER_OFF, NULL), 0);
	cr_assert_eq(outcome_exit_status(OUTCOME_GUEST_RESET, &problems), 32);
	cr_assert_eq(outcome_exit_status(OUTCOME_STOPPED_BY_HOST, &problems), 36);
	cr_assert_eq(outcome_exit_status(OUTCOME_LAUNCH_FAILED, &problems), 70);
	cr_assert_eq(outcome_exit_status(OUTCOME_UNSPECIFIED, &problems), 70);
	cr_assert_eq(outcome_exit_status((enum axvm_outcome)99, NULL), 70);
	problems_add(&problems, ERROR_CODE_HOST_REFUSED, 0, NULL, "x");
	problems_add(&problems, ERROR_CODE_SPEC_INVALID, 0, NULL, "x");
	cr_assert_eq(outcome_exit_status(OUTCOME_LAUNCH_FAILED, &problems), 69);
	cr_assert_eq(outcome_exit_status(OUTCOME_VCPU_FAILED, &problems), 35);
}
