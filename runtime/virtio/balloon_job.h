/* SPDX-License-Identifier: MIT */
/* A request of the balloon: inflate, deflate or report. Private to the balloon; I/O thread, but for
 * what builds. Theory in balloon_job.c. */
#ifndef AXVM_VIRTIO_BALLOON_JOB_H
#define AXVM_VIRTIO_BALLOON_JOB_H

#include "virtio/balloon_state.h"

#define QUEUE_INFLATE 0
#define QUEUE_DEFLATE 1
#define QUEUE_STATS 2
#define QUEUE_HINT 3
#define QUEUE_REPORT 4

/* Build time. Sets up the job of a queue. */
void balloon_job_init(struct balloon *balloon, struct balloon_job *job, uint16_t queue);
/* Build time. Allocates the notes of which pages are in the balloon, if the host's pages are larger
 * than the balloon's; balloon_destroy() frees them. 0 or -ENOMEM. */
int balloon_jobs_allocate(struct balloon *balloon);

/* Takes requests of the job's queue until there are none, or one is under way. */
void balloon_job_run(struct balloon_job *job);
/* Goes on with a request under way, and when it is done with those that waited for it. */
void balloon_job_go_on(struct balloon_job *job);

#endif
