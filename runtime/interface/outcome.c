/* SPDX-License-Identifier: MIT */
/* The one table of outcomes. */
#include "interface/outcome.h"

#include <sysexits.h>

#define ROW(outcome_, status_, of_errors_, phrase_, meaning_)                                      \
	[OUTCOME_##outcome_] = { .outcome = OUTCOME_##outcome_,                                    \
		                 .name = #outcome_,                                                \
		                 .exit_status = (status_),                                         \
		                 .of_errors = (of_errors_),                                        \
		                 .phrase = (phrase_),                                              \
		                 .meaning = (meaning_) }

static const struct outcome_class classes[] = {
	ROW(POWER_OFF, 0, false, "powered off", "the guest switched itself off"),
	ROW(HALTED, 0, false, "halted",
	    "every vCPU of a flat image without local APICs executed HLT"),
	ROW(GUEST_RESET, 32, false, "guest reset", "the guest asked for a reset"),
	ROW(TRIPLE_FAULT, 33, false, "triple fault",
	    "a vCPU faulted while it handled a double fault"),
	ROW(GUEST_PANIC, 34, false, "guest panic", "the guest reported a panic and did not go on"),
	ROW(VCPU_FAILED, 35, false, "vCPU failed", "KVM could not run the guest"),
	ROW(STOPPED_BY_HOST, 36, false, "stopped by the host",
	    "a stop command, a shutdown whose time ran out, another SIGTERM later than the first, or as the "
	    "spec says the end of fd 3 or of the launcher"),
	ROW(LAUNCH_FAILED, EX_SOFTWARE, true, "launch failed",
	    "never ran; the status is the first error's"),
	ROW(RUNTIME_FAILED, EX_SOFTWARE, true, "runtime failed",
	    "ran, then the runtime failed; the status is the first error's"),
	ROW(PLANNED, 0, true, "planned",
	    "a plan was asked for, and told; the errors say what a launch would be refused for"),
};

const struct outcome_class *outcome_class_of(enum axvm_outcome outcome)
{
	if ((unsigned)outcome >= ARRAY_SIZE(classes) || !classes[outcome].name)
		return &classes[OUTCOME_RUNTIME_FAILED];
	return &classes[outcome];
}

int outcome_exit_status(enum axvm_outcome outcome, const struct problems *problems)
{
	const struct outcome_class *class = outcome_class_of(outcome);

	if (class->of_errors && problems && problems->count > 0)
		return problem_class_of(problems->list[0].code)->exit_status;
	return class->exit_status;
}

void outcome_print_table(FILE *file)
{
	fputs("| outcome | status | meaning |\n|---|--:|---|\n", file);
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		const struct outcome_class *class = &classes[i];

		if (!class->name)
			continue;
		fprintf(file, "| %s | ", class->name);
		if (class->of_errors)
			fputs(class->exit_status == 0 ? "0, or of the error" : "of the error",
			      file);
		else
			fprintf(file, "%u", class->exit_status);
		fprintf(file, " | %s |\n", class->meaning);
	}
}
