/* SPDX-License-Identifier: MIT */
/* Standard output. stdio says that a write failed, but drops the bytes and leaves the reason in
 * errno, where the next call replaces it. So writes go through a stream of our own, which keeps the
 * first reason: verbs print, and need not look. */
#include "launch/cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"

/* All bytes, or 0 and errno, as stdio wants it. */
static ssize_t write_bytes(void *cookie, const char *bytes, size_t size)
{
	struct output *output = cookie;
	size_t done = 0;

	while (output->error == 0 && done < size) {
		ssize_t n = write(output->fd, bytes + done, size - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			output->error = errno;
	}
	errno = output->error;
	return output->error ? 0 : (ssize_t)size;
}

int output_open(struct output *output, int fd)
{
	const cookie_io_functions_t functions = { .write = write_bytes };

	/* The number of a closed descriptor is soon that of a file which the verb opens. */
	*output = (struct output){ .fd = fd, .error = fcntl(fd, F_GETFD) < 0 ? errno : 0 };
	output->file = fopencookie(output, "w", functions);
	if (!output->file)
		return -errno;
	if (isatty(fd))
		(void)setvbuf(output->file, NULL, _IOLBF, BUFSIZ);
	return 0;
}

int output_end(struct output *output, int status)
{
	bool lost = ferror(output->file) != 0;

	lost |= fclose(output->file) != 0;
	output->file = NULL;
	if (!lost)
		return status;
	if (output->error != EPIPE)
		fprintf(stderr, "axvm: cannot write to standard output: %s\n",
		        errno_text(output->error));
	/* What a verb has found out counts more: a VM's end, a host that is not admitted. */
	return status == 0 ? EX_IOERR : status;
}
