/* SPDX-License-Identifier: MIT */
/* The items behind the first of a flag's value: --disk FILE,ro,id=root. */
#ifndef AXVM_CLI_RUN_ITEMS_H
#define AXVM_CLI_RUN_ITEMS_H

#include <stddef.h>

/* By name, and the field each sets, or all the text when there is no value. Without a field it is
 * the caller's own. */
enum item_value { ITEM_ALONE, ITEM_NUMBER, ITEM_TEXT, ITEM_SIZE };

struct item {
	const char *name;
	enum item_value value;
	const char *field;
};

/* Appends to `text`, of `size` bytes, what the items of the list say in protobuf text. 0, or an
 * exit status when stderr says what is wrong: what there is instead, and what may have been meant.
 * The list is changed. The value of the item without a field goes to *ret_ours, borrowed from the
 * list; NULL where no item is without. */
int items_add(char *list, const char *flag, const struct item *items, size_t count, char *text,
              size_t size, const char **ret_ours);

#endif
