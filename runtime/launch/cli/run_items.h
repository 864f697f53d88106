/* SPDX-License-Identifier: MIT */
/* The items after the first in a flag's value: --disk FILE,ro,id=root. */
#ifndef AXVM_CLI_RUN_ITEMS_H
#define AXVM_CLI_RUN_ITEMS_H

#include <stddef.h>

/* An item's name and the field that it sets, or the whole text for an item without a value. An item
 * without a field is for the caller. */
enum item_value { ITEM_ALONE, ITEM_NUMBER, ITEM_TEXT, ITEM_SIZE };

struct item {
	const char *name;
	enum item_value value;
	const char *field;
};

/* Appends the items of the list, as protobuf text, to `text` of `size` bytes. 0, or an exit status
 * after a message on stderr that lists the known items and a likely one. Writes NUL bytes into the
 * list. *ret_ours is the value of the item without a field, borrowed from the list; NULL if the
 * table has no such item. */
int items_add(char *list, const char *flag, const struct item *items, size_t count, char *text,
              size_t size, const char **ret_ours);

#endif
