/* SPDX-License-Identifier: MIT */
/* A pause on its way. */
#include "shim/pause.h"

#include "shim/device/devices.h"
#include "shim/reply.h"
#include "shim/shim.h"

void pause_settle(struct shim *shim)
{
	struct shim_pause *pause = &shim->pause;

	if (!pause->wanted || !machine_all_parked(&shim->machine))
		return;
	if (shim->devices.present && !pause->devices_asked) {
		pause->devices_asked = true;
		devices_pause(&shim->devices);
	}
	if (shim->devices.present && !devices_parked(&shim->devices))
		return;
	if (pause->reply_due) {
		pause->reply_due = false;
		reply_put(shim, pause->request_id, NULL);
	}
}

void pause_end(struct shim *shim)
{
	struct shim_pause *pause = &shim->pause;

	if (pause->reply_due)
		reply_put(shim, pause->request_id, NULL);
	pause->reply_due = false;
}

void pause_let_go_on(struct shim *shim)
{
	struct shim_pause *pause = &shim->pause;

	if (!pause->wanted)
		return;
	pause_end(shim);
	if (pause->devices_asked)
		devices_resume(&shim->devices);
	*pause = (struct shim_pause){ 0 };
	machine_ask(&shim->machine, MACHINE_RUN);
}
