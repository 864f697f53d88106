/* SPDX-License-Identifier: MIT */
/* The person's terminal, handed to the guest: raw mode, and the escape key that gets it back. */
#ifndef AXVM_CLI_TERMINAL_H
#define AXVM_CLI_TERMINAL_H

#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "base/base.h"

#define ESCAPE_KEY 0x01 /* Ctrl-A */

/* What the key after Ctrl-A asks for. */
enum escape_action {
	ESCAPE_NOTHING,
	ESCAPE_STOP,   /* x */
	ESCAPE_BUTTON, /* p */
	ESCAPE_PAUSE,  /* s: pause, or resume */
	ESCAPE_STATUS, /* i */
	ESCAPE_HELP,   /* h or ? */
};

struct escape {
	bool pending; /* Ctrl-A was the last key */
};

/* Takes a key. *ret_key is set, and true returned, when it is one for the guest (Ctrl-A twice is a
 * Ctrl-A); otherwise *ret_action says what was asked. */
bool escape_take(struct escape *escape, uint8_t key, uint8_t *ret_key,
                 enum escape_action *ret_action);

/* The list of keys, one a line. */
extern const char escape_help[];

struct terminal {
	bool raw;
	int fd;
	struct termios before;
};

/* Puts a terminal into raw mode, but for output, where \n stays what it is. 0 or -errno. */
int terminal_enter(struct terminal *terminal, int fd);

/* Puts it back as it was. Accepts a zeroed one, and may be called twice. */
void terminal_leave(struct terminal *terminal);

/* Columns and rows of a terminal; false when it has none. */
bool terminal_size(int fd, uint32_t *ret_columns, uint32_t *ret_rows);

#endif
