/* SPDX-License-Identifier: MIT */
/* The bounded list of problems and the one table of what each code means. */
#include "base/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define ROW(code_, status_, retry_, meaning_) ROW_AS(code_, status_, retry_, FATAL, meaning_)
/* clang-format off */
#define ROW_AS(code_, status_, retry_, severity_, meaning_)                                        \
	{ .code = ERROR_CODE_##code_,                                                              \
	  .name = #code_,                                                                          \
	  .exit_status = (status_),                                                                \
	  .retryable = (retry_),                                                                   \
	  .severity = SEVERITY_##severity_,                                                        \
	  .meaning = (meaning_) }
/* clang-format on */

#define EX_SANDBOX EX_NOPERM

/* Sorted by code. */
static const struct problem_class classes[] = {
	ROW(USAGE, EX_USAGE, false, "the command line is wrong"),
	ROW(CONTROL_FD_UNUSABLE, EX_USAGE, false, "fd 3 is closed or cannot be read"),
	ROW(EVENT_FD_UNUSABLE, EX_USAGE, false, "fd 4 is closed or cannot be written"),
	ROW(SPEC_EMPTY, EX_DATAERR, false, "fd 3 ended before a launch was read"),
	ROW(SPEC_TRUNCATED, EX_DATAERR, false, "fd 3 ended inside a message"),
	ROW(SPEC_TOO_LARGE, EX_DATAERR, false, "the launch is larger than 1 MiB"),
	ROW(SPEC_MALFORMED, EX_DATAERR, false, "the bytes are not a ControlStream"),
	ROW(SPEC_DUPLICATE, EX_DATAERR, false, "something that must be unique is there twice"),
	ROW(SPEC_UNKNOWN_FIELD, EX_DATAERR, false, "a field or enum value this shim does not know"),
	ROW(SPEC_UNSUPPORTED, EX_DATAERR, false, "a known field this shim cannot honour yet"),
	ROW(SPEC_INVALID, EX_DATAERR, false, "a value out of its range, or a contradiction"),
	ROW(KERNEL_INVALID, EX_DATAERR, false, "not a kernel that can be booted"),
	ROW(INITRD_INVALID, EX_DATAERR, false, "the initrd does not fit or cannot be used"),
	ROW(CMDLINE_TOO_LONG, EX_DATAERR, false, "the kernel takes no command line of that length"),
	ROW(IMAGE_INVALID, EX_DATAERR, false, "the flat image is empty or does not fit"),
	ROW_AS(COMMAND_INVALID, EX_DATAERR, false, ERROR, "a command that is malformed or unknown"),
	ROW_AS(COMMAND_WRONG_STATE, EX_DATAERR, true, ERROR,
	       "a command that does not fit the VM's state"),
	ROW(RESOURCE_MISSING, EX_NOINPUT, true,
	    "an fd that is not open or a path that is not there"),
	ROW(RESOURCE_UNREADABLE, EX_NOINPUT, true, "a resource that cannot be opened or read"),
	ROW(RESOURCE_WRONG_KIND, EX_NOINPUT, false, "a resource of another kind than needed"),
	ROW(HOST_REFUSED, EX_UNAVAILABLE, false, "the host does not meet the profile"),
	ROW(KVM_MISSING, EX_UNAVAILABLE, false, "there is no /dev/kvm, or it is not KVM"),
	ROW(KVM_DENIED, EX_UNAVAILABLE, false, "no permission for /dev/kvm"),
	ROW(KVM_CAPABILITY_MISSING, EX_UNAVAILABLE, false,
	    "this KVM lacks what the shim relies on"),
	ROW(HOST_LIMIT, EX_UNAVAILABLE, false, "more than this host or its limits allow"),
	ROW(MEMORY_UNAVAILABLE, EX_UNAVAILABLE, true, "guest memory cannot be had as asked"),
	ROW(PLACEMENT_FAILED, EX_UNAVAILABLE, true, "memory or a thread is not where it must be"),
	ROW(INTERNAL, EX_SOFTWARE, false, "a bug in the shim"),
	ROW(OS_FAILED, EX_OSERR, true, "the host's kernel refused a call"),
	ROW(KVM_FAILED, EX_OSERR, false, "KVM refused a call"),
	ROW(SANDBOX_FAILED, EX_SANDBOX, false, "the sandbox could not be built or verified"),
	ROW(SANDBOX_VIOLATION, EX_SANDBOX, false, "a thread did what its policy forbids"),
	ROW_AS(GUEST_FAILED, EX_OSERR, false, ERROR, "the guest ended by its own fault"),
	ROW_AS(DEVICE_FAILED, EX_OSERR, true, ERROR, "a device's backing failed"),
};

const struct problem_class *problem_classes(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(classes);
	return classes;
}

const char *problem_line(const char *field, const char *message, char to[PROBLEM_LINE_MAX])
{
	bool names_it = !field || !field[0] || strstr(message, field);

	snprintf(to, PROBLEM_LINE_MAX, "%s%s%s", names_it ? "" : field, names_it ? "" : ": ",
	         message);
	return to;
}

const struct problem_class *problem_class_of(enum axvm_error_code code)
{
	const struct problem_class *internal = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (classes[i].code == code)
			return &classes[i];
		if (classes[i].code == ERROR_CODE_INTERNAL)
			internal = &classes[i];
	}
	return internal;
}

void problem_print_table(FILE *file)
{
	static const char *const severities[] = { "none", "info", "warning", "error", "fatal" };

	fputs("| code | name | status | severity | retry can help | meaning |\n"
	      "|--:|---|--:|---|---|---|\n",
	      file);
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		fprintf(file, "| %d | %s | %u | %s | %s | %s |\n", classes[i].code, classes[i].name,
		        classes[i].exit_status, severities[classes[i].severity],
		        classes[i].retryable ? "yes" : "no", classes[i].meaning);
}

int problems_add(struct problems *problems, enum axvm_error_code code, int error_number,
                 const char *field, const char *format, ...)
{
	va_list args;

	if (problems->count == PROBLEMS_MAX) {
		problems->not_listed++;
	} else {
		struct problem *problem = &problems->list[problems->count++];

		problem->code = code;
		problem->error_number = error_number;
		snprintf(problem->field, sizeof(problem->field), "%s", field ? field : "");
		va_start(args, format);
		vsnprintf(problem->message, sizeof(problem->message), format, args);
		va_end(args);
	}
	return error_number > 0 ? -error_number : -EINVAL;
}

int problems_take_over(struct problems *problems, const struct problems *other)
{
	int r = 0;

	for (size_t i = 0; i < other->count; i++)
		r = problems_add(problems, other->list[i].code, other->list[i].error_number,
		                 other->list[i].field, "%s", other->list[i].message);
	return r;
}
