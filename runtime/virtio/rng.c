/* SPDX-License-Identifier: MIT */
/* virtio-rng (VIRTIO 1.2 §5.4): one queue of buffers to be filled.
 *
 * A request is one read of the ring from the host's generator (random(4)) straight into the
 * guest's first buffer, RNG_REQUEST_MAX bytes of it at most; a driver that wants more asks again,
 * as it must (§5.4.6.1). There is no system call for it, and no random byte stays in this process.
 *
 * A request that the rate limit holds back is given back to the ring until the timer expires. */
#include "virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdatomic.h>
#include <string.h>

#include "io/op.h"

#define PCI_CLASS_OTHER 0xff0000
#define TIMER_MAX_NS (3600 * NS_PER_S)

static const uint16_t queue_sizes[] = { RNG_QUEUE_SIZE };

static struct rng_request *idle_request(struct rng *rng)
{
	for (size_t i = 0; i < RNG_QUEUE_SIZE; i++)
		if (!rng->requests[i].busy)
			return &rng->requests[i];
	return NULL;
}

static bool held_back(struct rng *rng, uint32_t bytes)
{
	uint64_t wait = rate_limit_is_set(&rng->limit)
	                        ? rate_limit_take(&rng->limit, io_now_ns(), bytes, 1)
	                        : 0;

	if (wait == 0)
		return false;
	rng->timer = io_time(MIN(wait, (uint64_t)TIMER_MAX_NS));
	rng->throttled = true;
	/* Refused only when the loop is about to end. */
	(void)io_timeout(rng->device.loop, &rng->timer_op, &rng->timer);
	return true;
}

static bool start_one(struct rng *rng)
{
	struct virtq_chain chain = { .iov = rng->iov, .iov_max = ARRAY_SIZE(rng->iov) };
	struct rng_request *request = idle_request(rng);
	uint32_t length;

	if (!request || !virtio_pop(&rng->device, 0, &chain))
		return false;
	if (chain.readable > 0) {
		virtio_fail(&rng->device, 0, EPROTO, "a buffer for random bytes is not writable");
		virtio_push(&rng->device, 0, chain.head, 0);
		return false;
	}
	length = (uint32_t)MIN(chain.iov[0].iov_len, (size_t)RNG_REQUEST_MAX);
	if (held_back(rng, length)) {
		virtio_unpop(&rng->device, 0);
		return false;
	}
	request->head = chain.head;
	request->busy = io_read(rng->device.loop, &request->op, rng->source_file,
	                        chain.iov[0].iov_base, length, IO_CURRENT_POSITION);
	if (!request->busy)
		virtio_push(&rng->device, 0, chain.head, 0);
	return true;
}

static void run(struct rng *rng)
{
	do {
		while (!rng->throttled && start_one(rng))
			;
		if (rng->throttled || !idle_request(rng))
			return;
	} while (virtio_want_kicks(&rng->device, 0));
}

static void read_done(struct io_op *op, int result, uint32_t flags)
{
	struct rng_request *request = CONTAINER_OF(op, struct rng_request, op);
	struct rng *rng = request->rng;

	(void)flags;
	request->busy = false;
	if (result > 0)
		counter_add(&rng->bytes, (uint64_t)result);
	else if (result != -ECANCELED)
		virtio_report(&rng->device, 0, result,
		              "the host's random generator cannot be read");
	virtio_push(&rng->device, 0, request->head, result > 0 ? (uint32_t)result : 0);
	run(rng);
}

static void timer_done(struct io_op *op, int result, uint32_t flags)
{
	struct rng *rng = CONTAINER_OF(op, struct rng, timer_op);

	(void)result;
	(void)flags;
	rng->throttled = false;
	run(rng);
}

static void rng_kick(struct virtio_device *device, uint16_t queue)
{
	(void)queue;
	run(CONTAINER_OF(device, struct rng, device));
}

static const struct virtio_device_ops rng_ops = {
	.name = "rng",
	.device_id = VIRTIO_ID_RNG,
	.pci_class = PCI_CLASS_OTHER,
	.kick = rng_kick,
};

int rng_create(struct rng *rng, const struct rng_spec *spec, const struct virtio_host *host)
{
	int r;

	rate_limit_init(&rng->limit, &spec->limit, io_now_ns());
	rng->timer_op.done = timer_done;
	for (size_t i = 0; i < RNG_QUEUE_SIZE; i++) {
		rng->requests[i].rng = rng;
		rng->requests[i].op.done = read_done;
	}
	rng->device.ops = &rng_ops;
	rng->device.id = "rng";
	rng->device.queue_count = 1;
	rng->device.queue_sizes = queue_sizes;
	r = io_loop_add_file(host->loop, spec->source_fd, &rng->source_file);
	/* A read each, and the timer. */
	if (r == 0)
		r = io_loop_reserve(host->loop, RNG_QUEUE_SIZE + 1);
	if (r == 0)
		r = virtio_pci_attach(&rng->device, host);
	if (r < 0)
		rng_destroy(rng);
	return r;
}

void rng_destroy(struct rng *rng)
{
	if (!rng->device.ops)
		return;
	virtio_pci_detach(&rng->device);
	memset(rng, 0, sizeof(*rng));
}

uint64_t rng_bytes(const struct rng *rng)
{
	return atomic_load_explicit(&rng->bytes, memory_order_relaxed);
}
