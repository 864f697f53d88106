/* SPDX-License-Identifier: MIT */
/* A host's facts from a file. */
#include "launch/cli/facts_file.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "host/facts_proto.h"
#include "launch/cli/text.h"

#define FACTS_FILE_MAX (64 * MIB)

static void close_file(FILE **file)
{
	if (*file && *file != stdin)
		fclose(*file);
}

/* The whole of a bounded file; the caller frees. */
static int read_file(const char *path, char **ret, size_t *ret_size)
{
	_cleanup_(close_file) FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0, room = 0;

	if (!file)
		return -errno;
	do {
		char *bigger;

		room = room ? room * 2 : 64 * KIB;
		bigger = room <= FACTS_FILE_MAX ? realloc(bytes, room) : NULL;
		if (!bigger)
			return -ENOMEM;
		bytes = bigger;
		size += fread(bytes + size, 1, room - size, file);
	} while (size == room);
	if (ferror(file))
		return -EIO;
	*ret = bytes;
	*ret_size = size;
	bytes = NULL;
	return 0;
}

/* Text is printable from its first byte on; packed HostFacts start with a field's key, a control
 * character (field 1 to 3, length-delimited: 0x0a, 0x12, 0x1a) and a length. */
static bool is_text(const char *bytes, size_t size)
{
	for (size_t i = 0; i < MIN(size, (size_t)256); i++)
		if ((uint8_t)bytes[i] < 0x20 && bytes[i] != '\n' && bytes[i] != '\t' &&
		    bytes[i] != '\r')
			return false;
	return true;
}

/* Parses the text and replaces it by the packed message. */
static int pack_text(const char *who, const char *path, char **bytes, size_t *size)
{
	ProtobufCMessage *message = NULL;
	struct text_error error = { 0 };
	int r = text_parse(*bytes, *size, &axvm__v1__host_facts__descriptor, &message, &error);
	uint8_t *packed = NULL;

	if (r < 0 && r != -ENOMEM) {
		text_error_print(stderr, who, path, &error);
		return EX_DATAERR;
	}
	if (r == 0) {
		*size = protobuf_c_message_get_packed_size(message);
		packed = malloc(*size + 1);
	}
	if (packed)
		(void)protobuf_c_message_pack(message, packed);
	if (r == 0)
		protobuf_c_message_free_unpacked(message, NULL);
	if (!packed) {
		fprintf(stderr, "%s: %s: out of memory\n", who, path);
		return EX_OSERR;
	}
	free(*bytes);
	*bytes = (char *)packed;
	return EX_OK;
}

int facts_file_pack(const char *who, const char *path, uint8_t **ret, size_t *ret_size)
{
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0;
	int r = read_file(path, &bytes, &size);

	if (r < 0) {
		fprintf(stderr, "%s: %s: %s\n", who, path, errno_text(-r));
		return EX_NOINPUT;
	}
	r = is_text(bytes, size) ? pack_text(who, path, &bytes, &size) : EX_OK;
	if (r != EX_OK)
		return r;
	*ret = (uint8_t *)bytes;
	*ret_size = size;
	bytes = NULL;
	return EX_OK;
}

int facts_file_read(const char *who, const char *path, struct host_facts *facts)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int r = facts_file_pack(who, path, &bytes, &size);

	if (r != EX_OK)
		return r;
	if (facts_unpack(bytes, size, facts) < 0) {
		fprintf(stderr,
		        "%s: %s: is not an axvm.v1.HostFacts; `axvm probe --text` writes one\n",
		        who, path);
		return EX_DATAERR;
	}
	return EX_OK;
}
