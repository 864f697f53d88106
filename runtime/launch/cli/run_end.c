/* SPDX-License-Identifier: MIT */
/* Tells a person the end of a VM.
 *
 * A failed launch is told three times: by the shim on fd 2, since its fd 4 may be broken; in the
 * terminal event, which --events prints; and by the last sentence of `axvm run`. A person must read
 * each error once: in the event if events go to stderr, else in the shim's line, else from here. */
#include "launch/cli/run_end.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/problem.h"
#include "launch/cli/event_text.h"

static const char shims_own[] = "axvm-shim: ";

int run_words_open(struct run_words *words)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	words->relays = true;
	words->fd = ends[0];
	words->shims_fd = ends[1];
	return fcntl(words->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

void run_words_close(struct run_words *words)
{
	close_ptr(&words->fd);
	close_ptr(&words->shims_fd);
}

static void pass_on(struct run_words *words, size_t n)
{
	if (n == 0)
		return;
	(void)fwrite(words->held, 1, n, stderr);
	words->in_line = words->held[n - 1] != '\n';
	words->size -= n;
	memmove(words->held, words->held + n, words->size);
}

/* Passes on lines that are not the shim's own, up to the first that is, or may become one. */
static void pass_others_on(struct run_words *words)
{
	while (words->size > 0) {
		const char *end = memchr(words->held, '\n', words->size);
		size_t prefix = MIN(words->size, strlen(shims_own));

		if (!words->in_line && memcmp(words->held, shims_own, prefix) == 0)
			return;
		pass_on(words, end ? (size_t)(end + 1 - words->held) : words->size);
	}
}

bool run_words_take(struct run_words *words)
{
	ssize_t n;

	for (;;) {
		pass_others_on(words);
		/* More than a shim writes about a launch, so pass it on. */
		if (words->size == sizeof(words->held))
			pass_on(words, words->size);
		n = read(words->fd, words->held + words->size, sizeof(words->held) - words->size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		words->size += (size_t)n;
	}
}

void run_end_remember(struct run_end *end, const Axvm__V1__Terminal *terminal, bool told)
{
	run_end_done(end);
	end->known = true;
	end->is_refusal = terminal->n_errors > 0;
	end->is_launch = terminal->outcome == AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED &&
	                 terminal->stage < AXVM__V1__STAGE__STAGE_SEAL;
	event_end_phrase(terminal, end->text, sizeof(end->text));
	if (!end->text[0])
		snprintf(end->text, sizeof(end->text), "ended");
	end->errors = calloc(terminal->n_errors + 1, sizeof(*end->errors));
	for (size_t i = 0; i < terminal->n_errors; i++) {
		const Axvm__V1__Error *error = terminal->errors[i];
		char line[PROBLEM_LINE_MAX];

		end->is_refusal &= error->code == AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_REFUSED;
		if (!error->message || !error->message[0])
			continue;
		(void)problem_line(error->field, error->message, line);
		if (end->errors && (end->errors[end->errors_count] = strdup(line)))
			end->errors_count++;
	}
	end->told = told;
}

void run_end_done(struct run_end *end)
{
	for (size_t i = 0; i < end->errors_count; i++)
		free(end->errors[i]);
	free(end->errors);
	*end = (struct run_end){ 0 };
}

/* The shim's line with this error; NULL: there is none, or it was cut off. */
static char *line_of(struct run_words *words, const char *error, size_t *ret_length)
{
	_cleanup_free_ char *line = NULL;
	int length = asprintf(&line, "%s%s\n", shims_own, error);

	if (length < 0) {
		line = NULL;
		return NULL;
	}
	*ret_length = (size_t)length;
	return memmem(words->held, words->size, line, (size_t)length);
}

static void forget(struct run_words *words, char *line, size_t length)
{
	words->size -= length;
	memmove(line, line + length, words->size - (size_t)(line - words->held));
}

void run_end_tell(const struct run_end *end, struct run_words *words, const char *id)
{
	for (size_t i = 0; i < end->errors_count; i++) {
		size_t length;
		char *line = line_of(words, end->errors[i], &length);

		if (line && end->told)
			forget(words, line, length);
		/* If the shim has our stderr, its lines before the seal are there already. */
		else if (!line && !end->told && (words->relays || !end->is_launch))
			fprintf(stderr, "axvm run: %s: %s\n", id, end->errors[i]);
	}
	pass_on(words, words->size);
}
