/* SPDX-License-Identifier: MIT */
/* Reads proc(5) for this process and its threads, through one descriptor. */
#include "sandbox/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "sandbox/fd_layout.h"
#include "sandbox/step.h"

/* Large enough for a status file with long lists of CPUs and groups. */
#define STATUS_MAX 16384

int proc_open(int *ret_fd, struct problems *problems)
{
	_cleanup_close_ int fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return step_failed(problems, "cannot open /proc/self, through which the sandbox is "
		                             "verified");
	if (fstatfs(fd, &fs) < 0)
		return step_failed(problems, "cannot examine /proc/self");
	if (fs.f_type != PROC_SUPER_MAGIC) {
		errno = ENOTDIR;
		return step_failed(problems, "/proc is not the proc file system");
	}
	/* A number that the spec cannot name, because this may be opened before the spec is
	 * known. */
	if (dup3(fd, PROC_FD, O_CLOEXEC) < 0)
		return step_failed(problems, "cannot place a descriptor");
	*ret_fd = PROC_FD;
	return 0;
}

/* Reads up to `most` numbers of a line; returns how many there were. */
static size_t numbers(const char *at, int base, uint64_t *ret, size_t most)
{
	size_t n = 0;

	while (at && n < most) {
		char *end;

		at += strspn(at, " \t");
		if (*at == '\n' || *at == '\0')
			break;
		errno = 0;
		ret[n] = strtoull(at, &end, base);
		if (end == at || errno != 0)
			return 0;
		at = end;
		n++;
	}
	return n;
}

/* Whether the name of a line, the `length` bytes before its colon, is `name`. */
static bool is_named(const char *line, size_t length, const char *name)
{
	return strncmp(line, name, length) == 0 && name[length] == '\0';
}

/* Goes through the lines once, because a launch reads such a file for every thread and needs a
 * dozen of some sixty lines. If two lines have one name, the first counts; the kernel writes each
 * name once. */
static bool parse_status(const char *text, struct sandbox_status *status)
{
	const struct {
		const char *name;
		int base;
		uint64_t *to64;
		uint32_t *to32;
		size_t count;
	} rows[] = {
		{ "Tgid", 10, NULL, &status->process, 1 },
		{ "Pid", 10, NULL, &status->thread, 1 },
		{ "Uid", 10, NULL, status->uid, 4 },
		{ "Gid", 10, NULL, status->gid, 4 },
		{ "CapInh", 16, &status->inheritable, NULL, 1 },
		{ "CapPrm", 16, &status->permitted, NULL, 1 },
		{ "CapEff", 16, &status->effective, NULL, 1 },
		{ "CapBnd", 16, &status->bounding, NULL, 1 },
		{ "CapAmb", 16, &status->ambient, NULL, 1 },
		{ "NoNewPrivs", 10, NULL, &status->no_new_privs, 1 },
		{ "Seccomp", 10, NULL, &status->seccomp, 1 },
		{ "Seccomp_filters", 10, NULL, &status->seccomp_filters, 1 },
	};
	const uint32_t all = (1u << ARRAY_SIZE(rows)) - 1;
	const char *groups = NULL, *pids = NULL;
	uint64_t values[32];
	uint32_t found = 0;

	for (const char *line = text, *next; *line; line = next) {
		size_t length = strcspn(line, ":\n");
		const char *at = line + length + (line[length] == ':');

		next = at + strcspn(at, "\n");
		next += *next == '\n';
		if (!groups && is_named(line, length, "Groups"))
			groups = at;
		if (!pids && is_named(line, length, "NSpid"))
			pids = at;
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			if (found & 1u << i || !is_named(line, length, rows[i].name))
				continue;
			if (numbers(at, rows[i].base, values, 4) != rows[i].count)
				return false;
			found |= 1u << i;
			for (size_t n = 0; n < rows[i].count; n++)
				if (rows[i].to64)
					rows[i].to64[n] = values[n];
				else
					rows[i].to32[n] = (uint32_t)values[n];
		}
	}
	if (found != all || !groups)
		return false;
	status->has_groups = numbers(groups, 10, values, 1) > 0;
	status->pid_levels = (uint32_t)numbers(pids, 10, values, ARRAY_SIZE(values));
	return true;
}

int proc_read_status(int proc_fd, const char *path, struct sandbox_status *ret_status,
                     struct problems *problems)
{
	_cleanup_close_ int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	struct sandbox_status status = { 0 };
	char text[STATUS_MAX];
	ssize_t n;

	if (fd < 0)
		return step_failed(problems, "cannot open a thread's status");
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return step_failed(problems, "cannot read a thread's status");
	text[n] = '\0';
	if (!parse_status(text, &status))
		return step_differs(problems, "a thread's status lacks a field that the sandbox "
		                              "compares (Linux 5.9 has them all)");
	*ret_status = status;
	return 0;
}

int proc_each(int proc_fd, const char *path,
              int (*fn)(uint32_t number, void *context, struct problems *problems), void *context,
              struct problems *problems)
{
	_cleanup_close_ int fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool lists_itself = strcmp(path, "fd") == 0;
	char buffer[4096] __attribute__((aligned(8)));

	if (fd < 0)
		return step_failed(problems, "cannot open a directory of /proc/self");
	for (;;) {
		long n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer));

		if (n < 0)
			return step_failed(problems, "cannot list a directory of /proc/self");
		if (n == 0)
			return 0;
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (const void *)(buffer + at);
			char *end;
			unsigned long number = strtoul(entry->d_name, &end, 10);
			int r;

			at += entry->d_reclen;
			if (*end != '\0' || end == entry->d_name || number > UINT32_MAX ||
			    (lists_itself && number == (unsigned long)fd))
				continue;
			r = fn((uint32_t)number, context, problems);
			if (r != 0)
				return r;
		}
	}
}
