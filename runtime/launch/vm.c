/* SPDX-License-Identifier: MIT */
/* A launched VM as its launcher holds it: commands out, events in, the end. */
#include "launch/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/varint.h"
#include "interface/version.h"
#include "interface/wire_cursor.h"
#include "launch/by_number.h"

#define HEADER_MAX 20
#define READ_SIZE 16384
#define SIGNALLED 128 /* as shells tell it */

const char *axvm_version(void)
{
	return AXVM_VERSION;
}

void axvm_vm_free(struct axvm_vm *vm)
{
	if (!vm)
		return;
	close_ptr(&vm->control_fd);
	close_ptr(&vm->event_fd);
	close_ptr(&vm->pidfd);
	axvm_decoder_free(vm->decoder);
	free(vm->queue);
	free(vm);
}

pid_t axvm_vm_pid(const struct axvm_vm *vm)
{
	return vm->pid;
}

int axvm_vm_event_fd(const struct axvm_vm *vm)
{
	return vm->event_fd;
}

int axvm_vm_pidfd(const struct axvm_vm *vm)
{
	return vm->pidfd;
}

int axvm_vm_control_fd(const struct axvm_vm *vm)
{
	return vm->control_fd;
}

/* Makes room for `n` more bytes after those that wait. Afterwards half of the buffer is empty, or
 * it has doubled, so over time at most one byte is moved for each that is appended. */
static int make_room(struct axvm_vm *vm, size_t n)
{
	size_t kept = vm->queue_end - vm->queue_start, room = vm->queue_room;
	uint8_t *moved = vm->queue;

	if (n <= room - vm->queue_end)
		return 0;
	if (kept + n > room / 2) {
		room = MAX(2 * room, kept + n);
		moved = malloc(room);
		if (!moved)
			return -ENOMEM;
	}
	if (kept > 0)
		memmove(moved, vm->queue + vm->queue_start, kept);
	if (moved != vm->queue)
		free(vm->queue);
	vm->queue = moved;
	vm->queue_start = 0;
	vm->queue_end = kept;
	vm->queue_room = room;
	return 0;
}

int vm_queue(struct axvm_vm *vm, uint32_t field, const void *bytes, size_t n)
{
	int r = make_room(vm, n + HEADER_MAX);

	if (r < 0)
		return r;
	vm->queue_end += varint_put(vm->queue + vm->queue_end, field << 3 | WIRE_LENGTH_PREFIXED);
	vm->queue_end += varint_put(vm->queue + vm->queue_end, n);
	if (n > 0)
		memcpy(vm->queue + vm->queue_end, bytes, n);
	vm->queue_end += n;
	return 0;
}

int axvm_vm_flush(struct axvm_vm *vm)
{
	while (vm->queue_start < vm->queue_end) {
		ssize_t n;

		if (vm->control_fd < 0)
			return -EPIPE;
		n = send(vm->control_fd, vm->queue + vm->queue_start,
		         vm->queue_end - vm->queue_start, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
		vm->queue_start += (size_t)n;
	}
	vm->queue_start = vm->queue_end = 0;
	return 0;
}

/* Whether a command of `size` bytes may be queued. A launch always may. */
static bool has_room(const struct axvm_vm *vm, size_t size)
{
	return vm->queue_end - vm->queue_start + size + HEADER_MAX <= AXVM_QUEUE_MAX;
}

int axvm_vm_send(struct axvm_vm *vm, const void *command, size_t size, uint64_t *ret_request_id)
{
	uint8_t bytes[AXVM_COMMAND_MAX];
	uint64_t request_id;
	ssize_t n;
	int r;

	if (vm->control_fd < 0)
		return -EPIPE;
	n = command_with_id(command, size, vm->next_request_id, bytes, &request_id);
	if (n < 0)
		return (int)n;
	if (!has_room(vm, (size_t)n)) {
		r = axvm_vm_flush(vm);
		if (r < 0 && r != -EAGAIN)
			return r;
		if (!has_room(vm, (size_t)n))
			return -ENOBUFS;
	}
	r = vm_queue(vm, FIELD_COMMANDS, bytes, (size_t)n);
	if (r < 0)
		return r;
	vm->next_request_id += request_id == vm->next_request_id;
	r = axvm_vm_flush(vm);
	if (r < 0 && r != -EAGAIN)
		return r;
	if (ret_request_id)
		*ret_request_id = request_id;
	return 0;
}

void axvm_vm_end_commands(struct axvm_vm *vm)
{
	close_ptr(&vm->control_fd);
}

static int next_event(struct axvm_vm *vm, const void **ret_event, size_t *ret_size)
{
	uint8_t bytes[READ_SIZE];

	for (;;) {
		int r = axvm_decoder_next(vm->decoder, ret_event, ret_size);
		ssize_t n;

		if (r != -EAGAIN)
			return r;
		if (vm->events_ended)
			return axvm_decoder_pending(vm->decoder) ? -EBADMSG : 0;
		n = read(vm->event_fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		vm->events_ended = n == 0;
		r = axvm_decoder_feed(vm->decoder, bytes, (size_t)n);
		if (r < 0)
			return r;
	}
}

int axvm_vm_next_event(struct axvm_vm *vm, const void **ret_event, size_t *ret_size)
{
	int r = next_event(vm, ret_event, ret_size);
	uint32_t status;

	if (r == 1 && event_is_end(*ret_event, *ret_size, &status) == 1) {
		vm->stated = true;
		vm->stated_status = status;
	}
	vm->events_over |= r <= 0 && r != -EAGAIN && r != -ENOMEM;
	return r;
}

int axvm_vm_reap(struct axvm_vm *vm, int *ret_wait_status)
{
	siginfo_t info = { 0 };
	int r;

	if (!vm->reaped) {
		do
			r = waitid(P_PIDFD, (id_t)vm->pidfd, &info, WEXITED | WNOHANG);
		while (r < 0 && errno == EINTR);
		if (r < 0)
			return -errno;
		if (info.si_pid == 0)
			return -EAGAIN;
		vm->reaped = true;
		vm->wait_status = info.si_code == CLD_EXITED   ? (info.si_status & 0xff) << 8
		                  : info.si_code == CLD_DUMPED ? info.si_status | WCOREFLAG
		                                               : info.si_status;
	}
	*ret_wait_status = vm->wait_status;
	return 0;
}

int axvm_vm_exit_status(struct axvm_vm *vm, int *ret_exit_status)
{
	int status = 0, r = axvm_vm_reap(vm, &status);

	if (r < 0)
		return r;
	if (WIFSIGNALED(status))
		*ret_exit_status = SIGNALLED + WTERMSIG(status);
	else if (!vm->stated && !vm->events_over)
		return -EAGAIN;
	else if (vm->stated && vm->stated_status == (uint32_t)WEXITSTATUS(status))
		*ret_exit_status = WEXITSTATUS(status);
	else
		*ret_exit_status = EX_SOFTWARE;
	return 0;
}

int axvm_vm_signal(struct axvm_vm *vm, int signal_number)
{
	return pidfd_send_signal(vm->pidfd, signal_number, NULL, 0) < 0 ? -errno : 0;
}
