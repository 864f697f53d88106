/* SPDX-License-Identifier: MIT */
/* Raw mode and the escape key. */
#include "launch/cli/terminal.h"

#include <errno.h>
#include <sys/ioctl.h>

const char escape_help[] = "Ctrl-A x  stop the VM now\n"
			   "Ctrl-A p  press its power button\n"
			   "Ctrl-A s  pause or resume it\n"
			   "Ctrl-A i  its state\n"
			   "Ctrl-A h  these keys\n"
			   "Ctrl-A Ctrl-A  a Ctrl-A for the guest\n";

static const struct {
	uint8_t key;
	enum escape_action action;
} keys[] = {
	{ 'x', ESCAPE_STOP },   { 'p', ESCAPE_BUTTON }, { 's', ESCAPE_PAUSE },
	{ 'i', ESCAPE_STATUS }, { 'h', ESCAPE_HELP },   { '?', ESCAPE_HELP },
};

bool escape_take(struct escape *escape, uint8_t key, uint8_t *ret_key,
                 enum escape_action *ret_action)
{
	enum escape_action action = ESCAPE_NOTHING;

	if (!escape->pending && key != ESCAPE_KEY) {
		*ret_key = key;
		return true;
	}
	escape->pending = !escape->pending;
	if (!escape->pending && key == ESCAPE_KEY) {
		*ret_key = key;
		return true;
	}
	for (size_t i = 0; !escape->pending && i < ARRAY_SIZE(keys); i++)
		if ((key | 0x20) == keys[i].key || key == keys[i].key)
			action = keys[i].action;
	*ret_action = action;
	return false;
}

int terminal_enter(struct terminal *terminal, int fd)
{
	struct termios raw;

	if (tcgetattr(fd, &terminal->before) < 0)
		return -errno;
	raw = terminal->before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return -errno;
	terminal->fd = fd;
	terminal->raw = true;
	return 0;
}

void terminal_leave(struct terminal *terminal)
{
	if (terminal->raw)
		(void)tcsetattr(terminal->fd, TCSADRAIN, &terminal->before);
	terminal->raw = false;
}

bool terminal_size(int fd, uint32_t *ret_columns, uint32_t *ret_rows)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
		return false;
	*ret_columns = size.ws_col;
	*ret_rows = size.ws_row;
	return true;
}
