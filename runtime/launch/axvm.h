/* SPDX-License-Identifier: MIT */
/* libaxvm: launches virtual machines, commands them, reads their events, reaps them.
 *
 * The library starts no thread, installs no handler, prints nothing and waits for nothing: each
 * VM has three fds to poll. Functions that can fail return -errno; those that take a `struct
 * axvm_error *` (may be NULL) also say it in a sentence. Any thread may use any VM, but one VM or
 * decoder only one thread at a time.
 *
 * Messages go in and come out as they are encoded: proto/axvm.proto, which is installed with this
 * header, is the interface, and whatever makes code of it for a language reads and writes them.
 * The library knows no field but the request id of a command and the exit status of the last
 * event, so that it serves every release of the schema. */
#ifndef AXVM_H
#define AXVM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AXVM_MESSAGE_MAX (1024 * 1024) /* of a launch or an event: bytes */
#define AXVM_COMMAND_MAX 4096          /* of a command: a shim takes no more */
/* what may wait for a shim that does not read, its launch too */
#define AXVM_QUEUE_MAX (2 * AXVM_MESSAGE_MAX)

/* Where the VMs of a host claim CPUs (LaunchSpec.cpus.claims) unless who launches them wants
 * another folder. */
#define AXVM_CLAIMS_PATH "/run/axvm/claims"

struct axvm_error {
	char text[256];
};

/* An fd for the shim: `fd` of the caller, which stays the caller's, becomes `number` there. */
struct axvm_fd {
	int fd;
	int number; /* 0 to 2, or as the spec names it: 5 or above */
};

enum axvm_launch_flags {
	/* The shim is process 1 of a pid namespace of its own. Needs CAP_SYS_ADMIN. */
	AXVM_NEW_PID_NAMESPACE = 1,
};

/* What to launch; zeroed but for what matters. The spec must be given. */
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
 * default and unblocked, and queues the launch. What is wrong with the spec comes as a terminal
 * event. -EINVAL: the arguments; -ENOENT, -EACCES and others of execve(2); -EMFILE, -ENOMEM,
 * -EAGAIN. *ret_vm is to be freed. Blocks until the exec has happened, as vfork(2) does. */
int axvm_spawn(const struct axvm_launch *launch, struct axvm_vm **ret_vm, struct axvm_error *error);

/* Closes the fds. The shim, if it still runs, sees fd 3 end and does what its spec says; it remains
 * a child of the caller, to be waited for. Accepts NULL. */
void axvm_vm_free(struct axvm_vm *vm);

pid_t axvm_vm_pid(const struct axvm_vm *vm);

/* To poll; all are non-blocking, close-on-exec, and the library's. POLLIN on the event fd:
 * axvm_vm_next_event(); POLLIN on the pidfd: axvm_vm_reap(); POLLOUT on the control fd, only while
 * axvm_vm_flush() says -EAGAIN. */
int axvm_vm_event_fd(const struct axvm_vm *vm);
int axvm_vm_pidfd(const struct axvm_vm *vm);
int axvm_vm_control_fd(const struct axvm_vm *vm);

/* Writes what is queued for fd 3, as far as it is taken. 0: all is written; -EAGAIN; -EPIPE: the
 * shim reads no more. */
int axvm_vm_flush(struct axvm_vm *vm);

/* Queues an encoded Command of `size` bytes, of which a copy is made, and flushes. A request_id
 * of 0 or none is replaced by an unused one (from 2^32 up); *ret_request_id (may be NULL) is the
 * one in use, which the reply event will bear. 0 also when some of it is still queued. -EBADMSG:
 * these bytes are no message, or have two request ids; -EMSGSIZE: with the id it is longer than
 * AXVM_COMMAND_MAX; -ENOBUFS: with this command more than AXVM_QUEUE_MAX bytes would wait, and it
 * can be sent again after POLLOUT; -ENOMEM: in all of these nothing of it is queued. -EPIPE. The
 * shim takes commands as long as there is room for their replies: a caller that does not read
 * events finds them queued here, and refused in the end. */
int axvm_vm_send(struct axvm_vm *vm, const void *command, size_t size, uint64_t *ret_request_id);

/* Ends the stream of commands: what that means is in the spec. Nothing can be sent after it. */
void axvm_vm_end_commands(struct axvm_vm *vm);

/* The next event: 1, and the bytes of one encoded Event, the library's, which stay until the next
 * call of this function for this VM; 0 at the end of the stream; -EAGAIN when none is whole;
 * -EBADMSG when the bytes are no EventStream, from then on; -ENOMEM. What an event's fields hold
 * is for the caller's code to decode, and may turn out to be none. */
int axvm_vm_next_event(struct axvm_vm *vm, const void **ret_event, size_t *ret_size);

/* 0 with the wait status (WIFEXITED and so on) once the shim has ended, at every call; -EAGAIN
 * while it runs; -ECHILD when somebody else has waited for it. */
int axvm_vm_reap(struct axvm_vm *vm, int *ret_wait_status);

/* What the VM's end is to be told as, once the shim has ended and its events are read: the status
 * of its terminal event; 70 (EX_SOFTWARE) where the shim ended without one, or with another
 * status than it states, which no shim does that keeps its contract; 128 and the signal's number
 * where a signal ended it. 0 at every call from then on; -EAGAIN before; -ECHILD as above. */
int axvm_vm_exit_status(struct axvm_vm *vm, int *ret_exit_status);

/* Sends a signal, race-free. 0, or -ESRCH after the end. */
int axvm_vm_signal(struct axvm_vm *vm, int signal_number);

/* Opens the folder of claims, AXVM_CLAIMS_PATH where `path` is NULL, to hand it down
 * (axvm_launch.fds) under the number that the spec's cpus.claims.fd has; no spec is altered. One
 * descriptor serves for all VMs of a host: nothing is locked on it, and a shim opens the folder
 * anew for claims that end with its process, whoever else has the descriptor. *ret_fd is the
 * caller's, close-on-exec. 0, or -errno when a shim of this user could not claim there: -ENOENT,
 * -EACCES, -ENOTDIR, -EROFS and others of open(2) and access(2). A spec without claims runs all
 * the same; its VM is unknown to others. */
int axvm_claims_open(const char *path, int *ret_fd, struct axvm_error *error);

/* ---- an EventStream from elsewhere: a file, a socket -------------------- */

/* NULL when out of memory. */
struct axvm_decoder *axvm_decoder_new(void);
void axvm_decoder_free(struct axvm_decoder *decoder); /* accepts NULL */

/* Takes n more bytes, in pieces of any size. 0, -ENOMEM. */
int axvm_decoder_feed(struct axvm_decoder *decoder, const void *bytes, size_t n);

/* As axvm_vm_next_event(), but that it cannot know the end: -EAGAIN with nothing pending is one.
 * The bytes stay until the next call of this function or of axvm_decoder_feed() for the decoder. */
int axvm_decoder_next(struct axvm_decoder *decoder, const void **ret_event, size_t *ret_size);

/* Bytes that wait for the rest of their event. */
size_t axvm_decoder_pending(const struct axvm_decoder *decoder);

#ifdef __cplusplus
}
#endif
#endif
