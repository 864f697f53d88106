/* SPDX-License-Identifier: MIT */
/* The VMs that run here, found by their control sockets, and what /proc tells of their
 * processes. */
#include "launch/cli/vms.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct walk {
	vms_found *found;
	void *context;
	struct vms_beside beside;
};

static int look_at(struct walk *walk, const char *folder, const char *file, size_t id_length)
{
	_cleanup_(client_close) struct client client = { .fd = -1, .patience_ms = VMS_PATIENCE_MS };
	char path[SOCKET_PATH_MAX], id[VM_ID_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	r = client_open(&client, path);
	if (r < 0 && r != -EAGAIN)
		return r;
	snprintf(id, sizeof(id), "%.*s", (int)id_length, file);
	return walk->found(walk->context, id, r < 0 ? NULL : &client);
}

static void look_into(struct walk *walk, const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	int r;

	if (!dir && errno == EACCES)
		walk->beside.barred = folder;
	while (dir && (entry = readdir(dir))) {
		const char *dot = strrchr(entry->d_name, '.');

		if (!dot || strcmp(dot, SOCKET_CONTROL) != 0)
			continue;
		r = look_at(walk, folder, entry->d_name, (size_t)(dot - entry->d_name));
		walk->beside.others += r == -EACCES;
		if (r < 0 && r != -ECONNREFUSED && r != -ENOENT && r != -EACCES) {
			walk->beside.not_asked++;
			walk->beside.not_asked_error = -r;
		}
	}
	if (dir)
		(void)closedir(dir);
}

void vms_each(const struct sockets_places *places, vms_found *found, void *context,
              struct vms_beside *ret_beside)
{
	struct walk walk = { .found = found, .context = context };

	for (size_t i = 0; i < places->count; i++)
		look_into(&walk, places->folders[i]);
	*ret_beside = walk.beside;
}

size_t vms_print_beside(FILE *out, const struct vms_beside *beside)
{
	size_t lines = 0;

	if (beside->barred)
		lines += fprintf(out, "services may be in %s, which is root's\n", beside->barred) >
		         0;
	if (beside->others > 0)
		lines += fprintf(out, "and %zu of other users, who alone may ask them\n",
		                 beside->others) > 0;
	if (beside->not_asked > 0)
		lines += fprintf(out, "%zu more could not be asked: %s\n", beside->not_asked,
		                 errno_text(beside->not_asked_error)) > 0;
	return lines;
}

bool vms_read_line(pid_t pid, const char *file, char *to, size_t size)
{
	char path[96];
	FILE *in;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	in = fopen(path, "re");
	if (!in)
		return false;
	ok = fgets(to, (int)size, in) != NULL;
	(void)fclose(in);
	return ok;
}

pid_t vms_shim(const struct client *client)
{
	char file[64], line[512], comm[32];
	pid_t parent = client_peer(client);
	char *at = line, *end;

	snprintf(file, sizeof(file), "task/%d/children", (int)parent);
	if (parent <= 0 || !vms_read_line(parent, file, line, sizeof(line)))
		return -1;
	for (long pid; (pid = strtol(at, &end, 10)) > 0 && end > at; at = end)
		if (vms_read_line((pid_t)pid, "comm", comm, sizeof(comm)))
			return (pid_t)pid;
	return -1;
}

/* "vcpu0", "io3" */
static bool serves_the_guest(const char *comm)
{
	static const char *const names[] = { "vcpu", "io" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (strncmp(comm, names[i], n) == 0 && comm[n] >= '0' && comm[n] <= '9')
			return true;
	}
	return false;
}

/* Reads a thread's affinity from its status in /proc. */
static bool read_affinity(pid_t pid, const char *thread, struct cpu_bitmap *ret)
{
	static const char name[] = "Cpus_allowed_list:\t";
	char path[320], line[4096];
	bool found = false;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, thread);
	in = fopen(path, "re");
	if (!in)
		return false;
	while (!found && fgets(line, sizeof(line), in))
		found = strncmp(line, name, sizeof(name) - 1) == 0 &&
		        cpu_bitmap_parse(line + sizeof(name) - 1, ret) == 0;
	(void)fclose(in);
	return found;
}

static void add_thread(pid_t pid, const char *thread, struct vm_threads *threads)
{
	struct cpu_bitmap affinity;
	char file[300], comm[32];

	snprintf(file, sizeof(file), "task/%s/comm", thread);
	if (!vms_read_line(pid, file, comm, sizeof(comm)) || !serves_the_guest(comm) ||
	    !read_affinity(pid, thread, &affinity))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(affinity.words); i++)
		(cpu_bitmap_count(&affinity) == 1 ? &threads->pinned : &threads->free)->words[i] |=
			affinity.words[i];
}

int vms_threads(pid_t pid, struct vm_threads *ret)
{
	struct vm_threads threads = { 0 };
	const struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			add_thread(pid, entry->d_name, &threads);
	(void)closedir(dir);
	*ret = threads;
	return 0;
}
