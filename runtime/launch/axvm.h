/* SPDX-License-Identifier: MIT */
/* libaxvm: launches virtual machines, commands them, reads their events, reaps them.
 *
 * The library starts no thread, installs no handler, prints nothing and waits for nothing: each
 * VM has three fds to poll. Functions that can fail return -errno; those that take a `struct
 * axvm_error *` (may be NULL) also say it in a sentence. Any thread may use any VM, but one VM or
 * decoder only one thread at a time.
 *
 * Messages go in and come out encoded. Their schema is proto/axvm.proto, which is installed with
 * this header; any generator of protobuf code makes readers and writers from it. The library knows
 * no field but the request id of a command and the exit status of the last event, so it works with
 * every release of the schema. */
#ifndef AXVM_H
#define AXVM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AXVM_MESSAGE_MAX (1024 * 1024) /* bytes of a launch or an event */
#define AXVM_COMMAND_MAX 4096          /* bytes of a command; a shim accepts no more */
/* bytes that may wait for a shim that does not read, its launch included */
#define AXVM_QUEUE_MAX (2 * AXVM_MESSAGE_MAX)

/* The default folder in which the VMs of a host claim CPUs (LaunchSpec.cpus.claims). */
#define AXVM_CLAIMS_PATH "/run/axvm/claims"

struct axvm_error {
	char text[256];
};

/* An fd for the shim: a duplicate of the caller's `fd` gets `number` in the shim. `fd` stays the
 * caller's. */
struct axvm_fd {
	int fd;
	int number; /* 0 to 2, or as the spec names it: 5 or above */
};

enum axvm_launch_flags {
	/* The shim is process 1 of a pid namespace of its own. Needs CAP_SYS_ADMIN. */
	AXVM_NEW_PID_NAMESPACE = 1,
};

/* What to launch. Zeroed fields have their defaults; the spec is required. */
struct axvm_launch {
	const char *shim;          /* path of axvm-shim; NULL: looked up in PATH */
	const void *spec;          /* an encoded LaunchSpec */
	size_t spec_size;          /* bytes */
	const struct axvm_fd *fds; /* 0 to 2 are /dev/null where they are not listed */
	size_t fds_count;
	unsigned flags;
};

struct axvm_vm;
struct axvm_decoder;

/* "0.1.0" */
const char *axvm_version(void);

/* Starts a shim in a session of its own, with the fds listed and no others, every signal at its
 * default and unblocked, and queues the launch. Errors in the spec come as a terminal event.
 * -EINVAL: the arguments; -ENOENT, -EACCES and others of execve(2); -EMFILE, -ENOMEM, -EAGAIN. The
 * caller frees *ret_vm with axvm_vm_free(). Blocks until the exec has happened, as vfork(2)
 * does. */
int axvm_spawn(const struct axvm_launch *launch, struct axvm_vm **ret_vm, struct axvm_error *error);

/* Closes the fds and frees the VM. A shim that still runs sees the end of fd 3 and does what its
 * spec says; it remains a child of the caller, who waits for it. Accepts NULL. */
void axvm_vm_free(struct axvm_vm *vm);

pid_t axvm_vm_pid(const struct axvm_vm *vm);

/* The fds to poll. All are non-blocking and close-on-exec, and belong to the library. POLLIN on the
 * event fd: call axvm_vm_next_event(). POLLIN on the pidfd: call axvm_vm_reap(). Poll the control
 * fd for POLLOUT only while axvm_vm_flush() returns -EAGAIN. */
int axvm_vm_event_fd(const struct axvm_vm *vm);
int axvm_vm_pidfd(const struct axvm_vm *vm);
int axvm_vm_control_fd(const struct axvm_vm *vm);

/* Writes queued bytes to fd 3, as many as the shim takes without waiting. 0: all are written;
 * -EAGAIN: some remain; -EPIPE: the shim reads no more. */
int axvm_vm_flush(struct axvm_vm *vm);

/* Queues a copy of an encoded Command of `size` bytes, and flushes. A request_id that is absent or
 * 0 is replaced by an unused one (from 2^32 up); *ret_request_id (may be NULL) is the id that the
 * reply event will have. 0 also if some bytes are still queued. -EBADMSG: the bytes are not a
 * message, or have two request ids; -EMSGSIZE: with the id it is longer than AXVM_COMMAND_MAX;
 * -ENOBUFS: more than AXVM_QUEUE_MAX bytes would wait, so send it again after POLLOUT; -ENOMEM.
 * After these four errors nothing is queued. -EPIPE: the shim reads no more. A shim takes commands
 * only while it has room for their replies: if the caller does not read events, commands first wait
 * here and are then refused. */
int axvm_vm_send(struct axvm_vm *vm, const void *command, size_t size, uint64_t *ret_request_id);

/* Ends the stream of commands; the spec says what the shim does then. Nothing can be sent after
 * it. */
void axvm_vm_end_commands(struct axvm_vm *vm);

/* The next event. 1: *ret_event is one encoded Event; the bytes belong to the library and are valid
 * until the next call of this function for this VM. 0: the stream has ended. -EAGAIN: no event is
 * complete yet. -EBADMSG, from then on: the bytes are not an EventStream. -ENOMEM. The caller
 * decodes the event's fields, which may fail. */
int axvm_vm_next_event(struct axvm_vm *vm, const void **ret_event, size_t *ret_size);

/* 0 with the wait status (WIFEXITED and so on) once the shim has ended, at every call; -EAGAIN
 * while it runs; -ECHILD if other code has waited for it. */
int axvm_vm_reap(struct axvm_vm *vm, int *ret_wait_status);

/* The exit status to report for the VM, once the shim has ended and its events are read: the status
 * of its terminal event; 70 (EX_SOFTWARE) if the shim broke its contract and ended without one, or
 * with another status; 128 plus the signal's number if a signal ended it. 0 at every call from then
 * on; -EAGAIN before; -ECHILD as above. */
int axvm_vm_exit_status(struct axvm_vm *vm, int *ret_exit_status);

/* Sends the shim a signal, without a race over its pid. 0, or -ESRCH after its end. */
int axvm_vm_signal(struct axvm_vm *vm, int signal_number);

/* Opens the folder of claims, AXVM_CLAIMS_PATH if `path` is NULL. Pass the fd to shims
 * (axvm_launch.fds) under the number in the spec's cpus.claims.fd; this call changes no spec. One
 * fd serves all VMs of a host: nothing is locked on it, and each shim opens the folder again, so
 * that its claims end with its process even if others hold the fd. *ret_fd is the caller's,
 * close-on-exec. 0, or -errno if a shim of this user could not claim there: -ENOENT, -EACCES,
 * -ENOTDIR, -EROFS and others of open(2) and access(2). A spec without claims still runs, but other
 * VMs do not see its CPUs. */
int axvm_claims_open(const char *path, int *ret_fd, struct axvm_error *error);

/* ---- an EventStream from elsewhere: a file, a socket -------------------- */

/* NULL when out of memory. */
struct axvm_decoder *axvm_decoder_new(void);
void axvm_decoder_free(struct axvm_decoder *decoder); /* accepts NULL */

/* Takes n more bytes, in pieces of any size. 0, -ENOMEM. */
int axvm_decoder_feed(struct axvm_decoder *decoder, const void *bytes, size_t n);

/* Like axvm_vm_next_event(), but it cannot see the end of the stream: the stream may have ended at
 * -EAGAIN with nothing pending. The bytes are valid until the next call of this function or of
 * axvm_decoder_feed() for this decoder. */
int axvm_decoder_next(struct axvm_decoder *decoder, const void **ret_event, size_t *ret_size);

/* The number of bytes that wait for the rest of their event. */
size_t axvm_decoder_pending(const struct axvm_decoder *decoder);

#ifdef __cplusplus
}
#endif
#endif
