/* SPDX-License-Identifier: MIT */
/* Every wait of a unit test for something that may not come: each has a limit, and reaching it
 * fails the test with the place and what was waited for. The limit is for what never happens;
 * nothing is expected to take any part of it. */
#ifndef AXVM_TEST_WAIT_H
#define AXVM_TEST_WAIT_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#define WAIT_LIMIT_S 60

/* 200 us, for others to get on. Alone it stands for "and nothing happened", never for "by now it
 * has". */
void pause_a_little(void);

/* Pauses until the condition holds. */
#define WAIT_UNTIL(condition)                                                                      \
	for (uint64_t wait_end_ = wait_begin(); !(condition);)                                     \
	wait_turn(wait_end_, #condition, __FILE__, __LINE__)

/* For WAIT_UNTIL: when the wait ends, in ns; a pause, or the failure. */
uint64_t wait_begin(void);
void wait_turn(uint64_t end, const char *what, const char *file, int line);

/* pthread_join(). */
void wait_join(pthread_t thread, void **ret_result);
/* waitpid(). A child that does not end is killed. */
int wait_child(pid_t pid);
/* Until fd has something to read, or is at its end. */
void wait_readable(int fd);
/* read() of a descriptor that has nothing yet. */
ssize_t wait_read(int fd, void *to, size_t size);

#endif
