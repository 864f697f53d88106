/* SPDX-License-Identifier: MIT */
/* The parser of long options, and of their values. */
#include "launch/cli/flags.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* The flag that the person may have meant: the one with the most in common with the wrong name. */
static const struct flag *similar(const struct flags *flags, const char *name, size_t length)
{
	const struct flag *best = NULL;
	size_t most = 2;

	for (size_t i = 0; i < flags->count; i++) {
		size_t n = 0;

		while (n < length && flags->rows[i].name[n] == name[n])
			n++;
		if (n > most) {
			most = n;
			best = &flags->rows[i];
		}
	}
	return best;
}

static const struct flag *find(const struct flags *flags, const char *name, size_t length)
{
	const struct flag *guess;

	for (size_t i = 0; i < flags->count; i++)
		if (strlen(flags->rows[i].name) == length &&
		    strncmp(flags->rows[i].name, name, length) == 0)
			return &flags->rows[i];
	guess = similar(flags, name, length);
	fprintf(stderr, "axvm %s: there is no option --%.*s", flags->verb, (int)length, name);
	if (guess)
		fprintf(stderr, "; did you mean --%s?", guess->name);
	fprintf(stderr, " (axvm %s --help lists them)\n", flags->verb);
	return NULL;
}

/* Takes argv[i], which begins with two dashes. Returns the number of words used, or minus the exit
 * status. */
static int take(const struct flags *flags, int argc, char **argv, int i, void *context)
{
	const char *name = argv[i] + 2, *equals = strchr(name, '='), *value = NULL;
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct flag *flag = find(flags, name, length);
	int used = 1, r;

	if (!flag)
		return -EX_USAGE;
	if (flag->value == FLAG_NONE && equals) {
		fprintf(stderr, "axvm %s: --%s takes no value\n", flags->verb, flag->name);
		return -EX_USAGE;
	}
	if (flag->value != FLAG_NONE) {
		value = equals ? equals + 1 : i + 1 < argc ? argv[i + 1] : NULL;
		used = equals ? 1 : 2;
	}
	if (flag->value != FLAG_NONE && !value) {
		fprintf(stderr, "axvm %s: --%s needs a value\n", flags->verb, flag->name);
		return -EX_USAGE;
	}
	r = flag->set(context, value);
	return r ? -r : used;
}

int flags_parse(const struct flags *flags, int argc, char **argv, void *context, int *ret_count)
{
	bool words_only = false;
	int kept = 0;

	for (int i = 1; i < argc;) {
		int r;

		if (!words_only && strcmp(argv[i], "--") == 0) {
			words_only = true;
			i++;
		} else if (words_only || argv[i][0] != '-' || argv[i][1] == '\0') {
			argv[++kept] = argv[i++];
		} else if (argv[i][1] != '-') {
			fprintf(stderr,
			        "axvm %s: %s: options have two dashes and a whole name "
			        "(axvm %s --help lists them)\n",
			        flags->verb, argv[i], flags->verb);
			return EX_USAGE;
		} else {
			r = take(flags, argc, argv, i, context);
			if (r < 0)
				return -r;
			i += r;
		}
	}
	*ret_count = kept;
	return 0;
}

int flags_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	if (errno || *end || value < min || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

int flags_size(const char *text, uint64_t *ret)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 20;
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix)
			return -EINVAL;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		end++;
		if (*end && strcmp(end, "B") != 0 && strcmp(end, "iB") != 0)
			return -EINVAL;
	}
	if (value > UINT64_MAX >> shift)
		return -EINVAL;
	*ret = value << shift;
	return 0;
}

bool flags_item(char **list, char **ret_name, char **ret_value)
{
	char *item = strsep(list, ","), *equals;

	if (!item)
		return false;
	equals = strchr(item, '=');
	if (equals)
		*equals = '\0';
	*ret_name = item;
	*ret_value = equals ? equals + 1 : NULL;
	return true;
}
