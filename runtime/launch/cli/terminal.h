/* SPDX-License-Identifier: MIT */
/* The person's terminal while the guest has it: raw mode, and the escape key. */
#ifndef AXVM_CLI_TERMINAL_H
#define AXVM_CLI_TERMINAL_H

#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "base/base.h"

#define ESCAPE_KEY 0x01 /* Ctrl-A */

/* What the key after Ctrl-A does. */
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

/* Takes a key. True with *ret_key: a key for the guest (Ctrl-A twice is a Ctrl-A). False with
 * *ret_action: what the person asked for. */
bool escape_take(struct escape *escape, uint8_t key, uint8_t *ret_key,
                 enum escape_action *ret_action);

/* The list of keys, one a line. */
extern const char escape_help[];

struct terminal {
	bool raw;
	int fd;
	struct termios before;
};

/* Puts a terminal's input into raw mode; output stays as it is. 0 or -errno. */
int terminal_enter(struct terminal *terminal, int fd);

/* Restores the terminal. Accepts a zeroed one, and may be called twice. */
void terminal_leave(struct terminal *terminal);

/* Columns and rows of a terminal; false if it reports none. */
bool terminal_size(int fd, uint32_t *ret_columns, uint32_t *ret_rows);

#endif
