/* SPDX-License-Identifier: MIT */
/* What the stand-in's macros call, of fuzzers and of unit tests alike. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <unistd.h>

#include "stand_in.h"

bool stand_in_has_failed;

void stand_in_failed(const char *file, int line, const char *what, const char *format, ...)
{
	va_list args;

	stand_in_has_failed = true;
	fprintf(stderr, "%s:%d: not so: %s  ", file, line, what);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void stand_in_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	_exit(STAND_IN_SKIPPED);
}
