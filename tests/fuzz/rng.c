/* SPDX-License-Identifier: MIT */
/* The random number device: any driver. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#include "virtio/rng.h"

static struct test_machine m;
static struct rng rng;
static struct driver driver;
static struct ring ring;

static void bring_up(void *context)
{
	(void)context;
	script_bring_up(&driver, &ring, 1, RNG_QUEUE_SIZE);
}

/* Nothing happens to it from outside. */
static void backend(struct input *input, void *context)
{
	(void)input, (void)context;
	(void)rng_bytes(&rng);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct rng_spec spec = { .source_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC) };

	(void)argc, (void)argv;
	cr_assert_geq(spec.source_fd, 0);
	machine_init(&m);
	cr_assert_eq(rng_create(&rng, &spec, &m.host), 0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script script = {
		.driver = &driver,
		.rings = &ring,
		.queues = 1,
		.bring_up = bring_up,
		.backend = backend,
	};

	script_run(&script, data, size);
	return 0;
}
