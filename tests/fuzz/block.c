/* SPDX-License-Identifier: MIT */
/* A disk's request path, over a real ring and a real file: whatever the driver does, every chain
 * comes back and the file keeps its length. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/stat.h>

#include "rig/block_guest.h"

static struct disk_guest guest;

static void bring_up(void *context)
{
	(void)context;
	disk_bring_up(&guest, 0);
}

/* The limit changes, or the file's length is looked at again. */
static void backend(struct input *input, void *context)
{
	struct rate_config limit = { .bytes_per_s = take(input, 1) ? 0 : 1ULL << 40 };
	uint64_t bytes;

	(void)context;
	block_set_limit(&guest.block, &limit);
	cr_assert_eq(block_refresh_capacity(&guest.block, &bytes), 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	disk_start(&guest, &(struct disk_options){ 0 });
	cr_assert_eq(unlink(guest.path), 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script script = {
		.driver = &guest.driver,
		.rings = guest.rings,
		.queues = DISK_QUEUES,
		.bring_up = bring_up,
		.backend = backend,
	};
	struct stat st;

	script_run(&script, data, size);
	cr_assert_eq(fstat(guest.fd, &st), 0);
	cr_assert_eq(st.st_size, (off_t)DISK_BYTES);
	return 0;
}
