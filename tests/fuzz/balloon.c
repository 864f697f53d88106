/* SPDX-License-Identifier: MIT */
/* The balloon: any page numbers, any reports, any statistics, and targets from outside. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>

#include "virtio/balloon.h"

static struct test_machine m;
static struct balloon balloon;
static struct driver driver;
static struct ring rings[BALLOON_QUEUES];

static void bring_up(void *context)
{
	(void)context;
	script_bring_up(&driver, rings, BALLOON_QUEUES, 16);
}

static void backend(struct input *input, void *context)
{
	struct balloon_state state;

	(void)context;
	(void)balloon_set_target(&balloon, take(input, 4));
	balloon_get_state(&balloon, &state);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct balloon_spec spec = {
		.host_page = BALLOON_PAGE,
		.free_page_reporting = true,
		.deflate_on_oom = true,
	};

	(void)argc, (void)argv;
	machine_init(&m);
	cr_assert_eq(balloon_create(&balloon, &spec, &m.host), 0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script script = {
		.driver = &driver,
		.rings = rings,
		.queues = BALLOON_QUEUES,
		.bring_up = bring_up,
		.backend = backend,
	};

	script_run(&script, data, size);
	return 0;
}
