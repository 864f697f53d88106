/* SPDX-License-Identifier: MIT */
/* The items of disks and nets on the command line. */
#include "launch/cli/run_items.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "launch/cli/flags.h"
#include "launch/cli/text.h"

#define VALUE_MAX 1024

/* Whether `outer` begins with the first letter of `inner` and has its other letters in the same
 * order: "ro" in "readonly". */
static bool may_mean(const char *outer, const char *inner)
{
	if (*outer != *inner)
		return false;
	for (; *outer && *inner; outer++)
		inner += *outer == *inner;
	return *inner == '\0';
}

static int no_such_item(const char *flag, const char *name, const struct item *items, size_t count)
{
	const char *meant = NULL;

	fprintf(stderr, "axvm run: --%s: there is no \"%s\"; there are ", flag, name);
	for (size_t i = 0; i < count; i++) {
		fprintf(stderr, "%s%s%s", i ? ", " : "", items[i].name,
		        items[i].value == ITEM_ALONE ? "" : "=");
		if (!meant && *name &&
		    (may_mean(name, items[i].name) || may_mean(items[i].name, name)))
			meant = items[i].name;
	}
	if (meant)
		fprintf(stderr, "; did you mean %s?", meant);
	fputc('\n', stderr);
	return EX_USAGE;
}

/* Appends an item's text. Returns the result of snprintf(3), or -1 after a message on stderr. */
static int append(const struct item *item, const char *flag, const char *value, char *to,
                  size_t room)
{
	char quoted[VALUE_MAX];
	uint64_t bytes;

	switch (item->value) {
	case ITEM_NUMBER:
	case ITEM_TEXT:
		return snprintf(to, room, item->value == ITEM_TEXT ? " %s: \"%s\"" : " %s: %s",
		                item->field, text_quote(value, quoted, sizeof(quoted)));
	case ITEM_SIZE:
		if (flags_size(value, &bytes) == 0)
			return snprintf(to, room, " %s: %" PRIu64, item->field, bytes);
		fprintf(stderr, "axvm run: --%s: %s=%s is no size (20G, 512M)\n", flag, item->name,
		        value);
		return -1;
	default:
		return snprintf(to, room, " %s", item->field);
	}
}

int items_add(char *list, const char *flag, const struct item *items, size_t count, char *text,
              size_t size, const char **ret_ours)
{
	char *name, *value;

	while (flags_item(&list, &name, &value)) {
		const struct item *item = NULL;
		size_t n = strlen(text);
		int r;

		for (size_t i = 0; i < count; i++)
			if (strcmp(items[i].name, name) == 0)
				item = &items[i];
		if (!item)
			return no_such_item(flag, name, items, count);
		if ((item->value != ITEM_ALONE) != !!value) {
			fprintf(stderr, "axvm run: --%s: %s %s\n", flag, name,
			        value ? "takes no value" : "needs a value: =...");
			return EX_USAGE;
		}
		if (!item->field) {
			*ret_ours = value;
			continue;
		}
		r = append(item, flag, value, text + n, size - n);
		if (r < 0)
			return EX_USAGE;
		if (n + (size_t)r >= size) {
			fprintf(stderr, "axvm run: --%s is too long\n", flag);
			return EX_USAGE;
		}
	}
	return 0;
}
