/* SPDX-License-Identifier: MIT */
/* What the tests of the sandbox share. */
#include "tests/unit/rig/sandbox_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/capabilities.h"
#include "sandbox/nest.h"
#include "sandbox/process.h"
#include "tests/unit/rig/wait.h"

struct sandbox_scene scene;
char rig_words[sizeof(((struct problem *)0)->message)];

__attribute__((noreturn)) static void play(int (*fn)(void), char *words)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	r = fn();
	if (scene.problems.count > 0)
		snprintf(words, sizeof(rig_words), "%s", scene.problems.list[0].message);
	_exit(r);
}

int rig_child(int (*fn)(void))
{
	char *words = mmap(NULL, sizeof(rig_words), PROT_READ | PROT_WRITE,
	                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t child;

	cr_assert_neq(words, MAP_FAILED);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0)
		play(fn, words);
	status = wait_child(child);
	memcpy(rig_words, words, sizeof(rig_words));
	munmap(words, sizeof(rig_words));
	return WIFEXITED(status) ? WEXITSTATUS(status) : RIG_KILLED;
}

int rig_confine(const struct sandbox_config *config, bool nest)
{
	int r = sandbox_arrive(&scene.sandbox, &scene.problems);

	if (r < 0)
		return r;
	if (nest) {
		nest_begin(&scene.sandbox);
		sandbox_prepare(&scene.sandbox);
	}
	r = sandbox_close_foreign(NULL, 0, &scene.problems);
	return r < 0 ? r : sandbox_confine(&scene.sandbox, config, &scene.problems);
}

int rig_verify(uint32_t sealed)
{
	int r = sandbox_verify_process(&scene.sandbox, &scene.seen, &scene.problems);

	return r < 0 ? r
	             : sandbox_verify_threads(&scene.sandbox, sealed, &scene.seen, &scene.problems);
}

int rig_gain_capabilities(void)
{
	if (capabilities_suffice())
		return 0;
	return unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
}
