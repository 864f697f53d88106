/* SPDX-License-Identifier: MIT */
/* Specs from files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sysexits.h>

#include "interface/stream.h"
#include "interface/wire.h"
#include "launch/cli/run_options.h"
#include "launch/cli/text.h"

#define FILE_MAX ((size_t)AXVM_MESSAGE_MAX + 64)

int read_whole(const char *path, char **ret, size_t *ret_size)
{
	bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_close_ int owned = is_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	int fd = is_stdin ? STDIN_FILENO : owned;
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	bytes = malloc(FILE_MAX);
	if (!bytes)
		return -ENOMEM;
	do {
		n = read(fd, bytes + size, FILE_MAX - size);
		if (n < 0 && errno != EINTR)
			return -errno;
		size += n > 0 ? (size_t)n : 0;
	} while (n != 0 && size < FILE_MAX);
	if (size == FILE_MAX)
		return -EFBIG;
	*ret = bytes;
	*ret_size = size;
	bytes = NULL;
	return 0;
}

/* By the name, which a pipe has not, or by how it begins: never as an encoded spec does. */
static bool is_text(const char *path, const char *bytes, size_t size)
{
	const char *dot = strrchr(path, '.');

	if (stream_looks_like_text((const uint8_t *)bytes, size))
		return true;
	return dot && (strcmp(dot, ".txtpb") == 0 || strcmp(dot, ".textproto") == 0 ||
	               strcmp(dot, ".textpb") == 0);
}

/* Reports an unknown field, a single field that occurs twice, or two members of a oneof, in the
 * shim's words. */
static int tell_of_bytes(const char *who, const char *path, const char *bytes, size_t size)
{
	struct problems problems = { 0 };
	int r = wire_check(&axvm__v1__control_stream__descriptor, (const uint8_t *)bytes, size, "",
	                   &problems);

	for (size_t i = 0; i < problems.count; i++)
		fprintf(stderr, "%s: %s: %s\n", who, path, problems.list[i].message);
	return r;
}

int spec_file_read(const char *who, const char *path, Axvm__V1__LaunchSpec **ret_spec)
{
	Axvm__V1__ControlStream *stream = NULL;
	_cleanup_free_ char *bytes = NULL;
	struct text_error error = { 0 };
	size_t size = 0;
	int r = read_whole(path, &bytes, &size);

	if (r < 0) {
		fprintf(stderr, "%s: %s: %s\n", who, path,
		        r == -EFBIG ? "larger than a spec can be (1 MiB)" : errno_text(-r));
		return r == -EFBIG ? EX_DATAERR : EX_NOINPUT;
	}
	if (is_text(path, bytes, size)) {
		ProtobufCMessage *message = NULL;

		r = text_parse(bytes, size, &axvm__v1__control_stream__descriptor, &message,
		               &error);
		if (r < 0) {
			if (r == -ENOMEM)
				fprintf(stderr, "%s: %s: out of memory\n", who, path);
			else
				text_error_print(stderr, who, path, &error);
			return r == -ENOMEM ? EX_OSERR : EX_DATAERR;
		}
		stream = (Axvm__V1__ControlStream *)message;
	} else {
		stream = axvm__v1__control_stream__unpack(NULL, size, (const uint8_t *)bytes);
		/* The text parser has checked text; for binary, report what protobuf-c ignores. */
		if (stream && stream->launch && tell_of_bytes(who, path, bytes, size) < 0) {
			axvm__v1__control_stream__free_unpacked(stream, NULL);
			return EX_DATAERR;
		}
	}
	if (!stream || !stream->launch) {
		fprintf(stderr,
		        "%s: %s: no launch in it; a spec is an axvm.v1.ControlStream with "
		        "`launch { ... }`, in text if the name ends in .txtpb or it begins as text does "
		        "(axvm-spec(5))\n",
		        who, path);
		if (stream)
			axvm__v1__control_stream__free_unpacked(stream, NULL);
		return EX_DATAERR;
	}
	*ret_spec = stream->launch;
	stream->launch = NULL;
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	return 0;
}
