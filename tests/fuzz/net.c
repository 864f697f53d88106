/* SPDX-License-Identifier: MIT */
/* A network device on socket pairs: any driver, any frames from the wire. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <sys/socket.h>

#include "rig/net_rig.h"

#define PAIRS 2

static struct net_rig rig;

static void bring_up(void *context)
{
	(void)context;
	net_rig_up(&rig, driver_offered(&rig.driver));
}

/* A frame of the wire's, or the wire takes what was sent to it. */
static void backend(struct input *input, void *context)
{
	static uint8_t frame[70000];
	uint8_t what = (uint8_t)take(input, 1);
	uint16_t pair = what & 1;
	size_t length;

	(void)context;
	if (what & 2) {
		while (recv(rig.wire[pair], frame, sizeof(frame), MSG_DONTWAIT) > 0)
			;
		return;
	}
	/* Its header is the TAP's, that is the host kernel's: honest. */
	memset(frame, 0, NET_RIG_HEADER);
	length = what & 4 ? take(input, 2) + 1 : 60;
	memcpy(frame + NET_RIG_HEADER, input->at, MIN(length, input->left));
	(void)!send(rig.wire[pair], frame, NET_RIG_HEADER + length, MSG_DONTWAIT);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	net_rig_start(&rig, PAIRS, NULL);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script script = {
		.driver = &rig.driver,
		.rings = rig.rings,
		.queues = 2 * PAIRS + 1,
		.bring_up = bring_up,
		.backend = backend,
	};
	static uint8_t frame[70000];

	script_run(&script, data, size);
	for (int i = 0; i < PAIRS; i++)
		while (recv(rig.wire[i], frame, sizeof(frame), MSG_DONTWAIT) > 0)
			;
	return 0;
}
