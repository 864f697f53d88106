/* SPDX-License-Identifier: MIT */
/* The stages of the life of the process, in order, a function each. */
#ifndef AXVM_SHIM_STAGES_H
#define AXVM_SHIM_STAGES_H

#include "interface/outcome.h"
#include "interface/stage.h"

struct shim;

/* Each returns 0, or -errno after adding to shim->problems; what it does stands above its
 * definition as Requires / Does / Must not. The first failure leads straight to account. */
int stage_arrive(struct shim *shim);
int stage_learn(struct shim *shim);
int stage_admit(struct shim *shim);
int stage_acquire(struct shim *shim);
int stage_build(struct shim *shim);
int stage_confine(struct shim *shim);
int stage_staff(struct shim *shim);
int stage_seal(struct shim *shim);
int stage_run(struct shim *shim);

/* Reads the facts of the host into shim->facts: stage admit's first part, which needs no spec. 0 or
 * -errno; stage admit then tries again. */
int admit_probe(struct shim *shim);

/* Stage admit of a plan, and its end: -ECANCELED once the plan has been sent. */
int stage_plan(struct shim *shim);

/* Reads the spec's profile and compares shim->facts with it; part of stage admit. -errno after
 * adding to shim->problems; 0 whatever the verdict is. */
int admit_judge(struct shim *shim);

/* Adds a problem for each requirement that is unmet; those about /dev/kvm itself only where
 * `about_kvm`. */
void admit_add_unmet(struct shim *shim, bool about_kvm);

/* The outcome of a VM that has ended. */
enum axvm_outcome stage_outcome(const struct shim *shim);

/* Writes the one terminal event and returns the exit status. */
int stage_account(struct shim *shim);

#endif
