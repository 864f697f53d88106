/* SPDX-License-Identifier: MIT */
/* What the tests of the sandbox share: a child that goes through stage confine, or through a part
 * of it, and what it said. */
#ifndef AXVM_TESTS_SANDBOX_RIG_H
#define AXVM_TESTS_SANDBOX_RIG_H

#include "sandbox/confine.h"
#include "sandbox/verify.h"

struct sandbox_scene {
	struct sandbox sandbox;
	struct sandbox_seen seen;
	struct problems problems;
};

/* Of the child; in the parent as it was before. */
extern struct sandbox_scene scene;

/* What came of a child besides its status: the first problem in words, "" when there is none. Of
 * the last rig_child(). */
extern char rig_words[sizeof(((struct problem *)0)->message)];

enum { RIG_NOT_CONFINED = 101, RIG_KILLED = 102 };

/* Runs fn in a child whose descriptors 0 to 2 lead nowhere; what it returned (0 to 100), or one of
 * the above. Fails the test when there can be no child. */
int rig_child(int (*fn)(void));

/* In a child: stages arrive and confine. `nest` false: as where its thread cannot be started. */
int rig_confine(const struct sandbox_config *config, bool nest);

/* In a child: the read-back of stage seal, of a process of `sealed` threads and this one. */
int rig_verify(uint32_t sealed);

/* In a child: CAP_SYS_ADMIN and its like, those of a user namespace where the test has no others. 0
 * or -errno. */
int rig_gain_capabilities(void);

#endif
