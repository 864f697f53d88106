/* SPDX-License-Identifier: MIT */
/* Reads /proc and /sys for processors and memory, below a root directory that tests can choose.
 *
 * /proc/cpuinfo is read whole and once: it costs some 10 us a CPU, has the kernel's package, core
 * and APIC ids, and lists the features that the kernel really uses. Only thread_siblings_list says
 * which CPUs share a core; one file a core is read.
 *
 * One read(2) returns a whole file of sysfs (Documentation/filesystems/sysfs.rst); other files take
 * several, until one returns 0. */
#include "host/meminfo.h"
#include "host/probe.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int root_path(const char *root, char *path, size_t size, const char *format, va_list args)
{
	int length = snprintf(path, size, "%s/", root);
	int n;

	if (length < 0 || (size_t)length >= size)
		return -ENAMETOOLONG;
	n = vsnprintf(path + length, size - (size_t)length, format, args);
	return n < 0 || (size_t)n >= size - (size_t)length ? -ENAMETOOLONG : 0;
}

static int root_open(const char *root, const char *format, va_list args)
{
	char path[512];
	int r = root_path(root, path, sizeof(path), format, args);
	int fd = r < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	if (r < 0)
		return r;
	return fd < 0 ? -errno : fd;
}

ssize_t root_read(const char *root, char *buffer, size_t size, const char *format, ...)
{
	_cleanup_close_ int fd = -1;
	size_t used = 0;
	va_list args;

	va_start(args, format);
	fd = root_open(root, format, args);
	va_end(args);
	if (fd < 0)
		return fd;
	while (used < size - 1) {
		ssize_t n = read(fd, buffer + used, size - 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	while (used > 0 && buffer[used - 1] == '\n')
		used--;
	buffer[used] = '\0';
	return (ssize_t)used;
}

/* Reads an open file by one read(2), NUL-terminated and without its last newline; returns the
 * length, or -errno. */
static ssize_t read_once(int fd, char *buffer, size_t size)
{
	ssize_t n;

	do
		n = read(fd, buffer, size - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	while (n > 0 && buffer[n - 1] == '\n')
		n--;
	buffer[n] = '\0';
	return n;
}

/* Reads an attribute below /sys, as root_read() does. A launch reads about twenty. */
static ssize_t root_attribute(const char *root, char *buffer, size_t size, const char *format, ...)
	_printf_(4, 5);
static ssize_t root_attribute(const char *root, char *buffer, size_t size, const char *format, ...)
{
	_cleanup_close_ int fd = -1;
	va_list args;

	va_start(args, format);
	fd = root_open(root, format, args);
	va_end(args);
	return fd < 0 ? fd : read_once(fd, buffer, size);
}

static DIR *root_opendir(const char *root, const char *format, ...) _printf_(2, 3);
static DIR *root_opendir(const char *root, const char *format, ...)
{
	char path[512];
	va_list args;
	int r;

	va_start(args, format);
	r = root_path(root, path, sizeof(path), format, args);
	va_end(args);
	return r < 0 ? NULL : opendir(path);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static long root_number(const char *root, long otherwise, const char *directory, const char *name)
{
	char text[32], *end;
	long value;

	if (root_attribute(root, text, sizeof(text), "%s/%s", directory, name) <= 0)
		return otherwise;
	value = strtol(text, &end, 0);
	return end == text ? otherwise : value;
}

/* ---------------------------------------------------------------------------------- cpuinfo */

static uint64_t fnv1a(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
	return hash;
}

/* Leaves in `common` only the words that are in `other` too. Both are " a b c ". */
static void intersect(char *common, const char *other)
{
	char *out = common + 1;

	for (char *at = common + 1; *at;) {
		char *end = strchr(at, ' ');
		char word[64];
		size_t length = end ? (size_t)(end - at) : strlen(at);

		snprintf(word, sizeof(word), "%.*s", (int)length, at);
		at += length + (end ? 1 : 0);
		if (!flags_have(other, word))
			continue;
		length = strlen(word);
		memcpy(out, word, length);
		out[length] = ' ';
		out += length + 1;
	}
	*out = '\0';
}

static void take_flags(char *common, const char *value)
{
	char own[FACTS_FLAGS_MAX];

	snprintf(own, sizeof(own), " %s ", value);
	if (common[0] == '\0')
		memcpy(common, own, strlen(own) + 1);
	else if (strcmp(common, own) != 0)
		intersect(common, own);
}

static void copy_trimmed(char *out, size_t size, const char *value)
{
	size_t length;

	while (*value == ' ')
		value++;
	length = strlen(value);
	while (length > 0 && value[length - 1] == ' ')
		length--;
	snprintf(out, size, "%.*s", (int)MIN(length, size - 1), value);
}

static void take_row(struct host_facts *facts, struct host_cpu *cpu, const char *key,
                     const char *value)
{
	static const struct {
		const char *key;
		size_t offset;
	} numbers[] = {
		{ "cpu family", offsetof(struct host_cpu, family) },
		{ "model", offsetof(struct host_cpu, model) },
		{ "stepping", offsetof(struct host_cpu, stepping) },
		{ "microcode", offsetof(struct host_cpu, microcode) },
		{ "physical id", offsetof(struct host_cpu, package) },
		{ "core id", offsetof(struct host_cpu, core) },
		{ "apicid", offsetof(struct host_cpu, apic_id) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (strcmp(key, numbers[i].key) == 0) {
			uint32_t number = (uint32_t)strtoul(value, NULL, 0);

			memcpy((char *)cpu + numbers[i].offset, &number, sizeof(number));
		}
	if (strcmp(key, "vendor_id") == 0)
		copy_trimmed(cpu->vendor, sizeof(cpu->vendor), value);
	if (strcmp(key, "model name") == 0)
		copy_trimmed(cpu->brand, sizeof(cpu->brand), value);
	if (strcmp(key, "flags") == 0) {
		cpu->flags_hash = fnv1a(value);
		take_flags(facts->flags, value);
	}
	if (strcmp(key, "vmx flags") == 0)
		take_flags(facts->vmx_flags, value);
}

/* The entry of a CPU, inserted in order if there is none yet; NULL: there are too many. */
static struct host_cpu *cpu_entry(struct host_facts *facts, uint32_t id)
{
	size_t at = facts->cpu_count;

	while (at > 0 && facts->cpus[at - 1].id >= id)
		at--;
	if (at < facts->cpu_count && facts->cpus[at].id == id)
		return &facts->cpus[at];
	if (facts->cpu_count == FACTS_CPUS_MAX || id >= FACTS_CPUS_MAX) {
		facts->too_many_cpus = true;
		return NULL;
	}
	memmove(&facts->cpus[at + 1], &facts->cpus[at],
	        (facts->cpu_count - at) * sizeof(facts->cpus[0]));
	facts->cpus[at] = (struct host_cpu){ .id = id, .node = -1, .package = -1, .core = -1 };
	facts->cpu_count++;
	return &facts->cpus[at];
}

static void take_line(struct host_facts *facts, struct host_cpu **cpu, char *line)
{
	char *colon = strchr(line, ':'), *end = colon;

	if (!colon)
		return;
	while (end > line && (end[-1] == '\t' || end[-1] == ' '))
		end--;
	*end = '\0';
	colon += colon[1] == ' ' ? 2 : 1;
	if (strcmp(line, "processor") == 0) {
		*cpu = cpu_entry(facts, (uint32_t)strtoul(colon, NULL, 10));
		if (*cpu)
			(*cpu)->online = true;
	} else if (*cpu) {
		take_row(facts, *cpu, line, colon);
	}
}

/* Parses the complete lines of a text, and moves the incomplete rest to its start. Returns the
 * length of that rest. */
static size_t take_lines(struct host_facts *facts, struct host_cpu **cpu, char *text, size_t length)
{
	char *line = text, *end;

	while ((end = memchr(line, '\n', (size_t)(text + length - line)))) {
		*end = '\0';
		take_line(facts, cpu, line);
		line = end + 1;
	}
	length -= (size_t)(line - text);
	memmove(text, line, length);
	return length;
}

/* Reads in pieces: the kernel writes the file some pages at a time, and it has megabytes on the
 * largest hosts. */
int probe_cpuinfo(struct host_facts *facts, const char *root)
{
	_cleanup_close_ int fd = -1;
	char text[FACTS_FLAGS_MAX + 4 * KIB]; /* a line, and the piece that has its end */
	struct host_cpu *cpu = NULL;
	size_t used = 0;
	ssize_t n;

	n = snprintf(text, sizeof(text), "%s/proc/cpuinfo", root);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -ENAMETOOLONG;
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (used < sizeof(text) - 1 &&
	       (n = read(fd, text + used, sizeof(text) - 1 - used)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		used = n < 0 ? used : take_lines(facts, &cpu, text, used + (size_t)n);
	}
	text[used] = '\0';
	take_line(facts, &cpu, text);
	return 0;
}

/* ------------------------------------------------------------------------------ CPUs and nodes */

/* Reads a list file of the kernel; `bitmap` keeps its value if there is no such file. */
static void root_list(const char *root, struct cpu_bitmap *bitmap, const char *path)
{
	char text[4096];

	if (root_attribute(root, text, sizeof(text), "%s", path) >= 0)
		(void)cpu_bitmap_parse(text, bitmap);
}

/* A "…_allowed_list:" row of /proc/self/status. */
static bool status_list(const char *status, const char *row, struct cpu_bitmap *ret)
{
	const char *at = strstr(status, row);

	return at && cpu_bitmap_parse(at + strlen(row), ret) == 0;
}

/* The kernel's list of the threads of a core, the CPU itself among them: by its old name, which all
 * kernels have so far, or by the name that replaces it since 5.3. False: there is none. */
static bool read_siblings(struct host_cpu *cpu, const char *root)
{
	static const char *const names[] = { "thread_siblings_list", "core_cpus_list" };
	char text[256];
	struct cpu_bitmap siblings = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(names) && !cpu_bitmap_has(&siblings, cpu->id); i++)
		if (root_attribute(root, text, sizeof(text),
		                   "sys/devices/system/cpu/cpu%u/topology/%s", cpu->id,
		                   names[i]) > 0)
			(void)cpu_bitmap_parse(text, &siblings);
	if (!cpu_bitmap_has(&siblings, cpu->id))
		return false;
	for (uint32_t id = cpu_bitmap_next(&siblings, 0); id < CPU_BITMAP_MAX;
	     id = cpu_bitmap_next(&siblings, id + 1))
		if (cpu->sibling_count < FACTS_SIBLINGS_MAX)
			cpu->siblings[cpu->sibling_count++] = (uint16_t)id;
	return true;
}

void probe_topology(struct host_facts *facts, const char *root)
{
	for (size_t i = 0; i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];

		if (!cpu->online || cpu->sibling_count > 0 || !read_siblings(cpu, root))
			continue;
		/* One thread's list holds for all threads of its core. */
		for (size_t k = 0; k < cpu->sibling_count; k++) {
			struct host_cpu *other = cpu_entry(facts, cpu->siblings[k]);

			if (!other || other == cpu || !other->online)
				continue;
			memcpy(other->siblings, cpu->siblings, sizeof(other->siblings));
			other->sibling_count = cpu->sibling_count;
		}
	}
}

/* Two calls, which are cheaper than the file, for which the kernel writes much more. The first mask
 * has the caller's CPUs that are online; the second has the nodes of its cpuset. */
static bool ask_allowed(struct probe_allowed *allowed)
{
	static_assert(sizeof(allowed->nodes.words) == sizeof(allowed->cpus.words), "two of a kind");
	long size =
		syscall(SYS_sched_getaffinity, 0, sizeof(allowed->cpus.words), allowed->cpus.words);

	return size > 0 && syscall(SYS_get_mempolicy, NULL, allowed->nodes.words, CPU_BITMAP_MAX, 0,
	                           MPOL_F_MEMS_ALLOWED) == 0;
}

void probe_allowed(const char *root, struct probe_allowed *ret)
{
	char status[8 * KIB] = "";

	*ret = (struct probe_allowed){ 0 };
	if (*root == '\0' && ask_allowed(ret)) {
		ret->cpus_limited = ret->nodes_limited = true;
		return;
	}
	*ret = (struct probe_allowed){ 0 };
	(void)root_read(root, status, sizeof(status), "proc/self/status");
	ret->cpus_limited = status_list(status, "\nCpus_allowed_list:", &ret->cpus);
	ret->nodes_limited = status_list(status, "\nMems_allowed_list:", &ret->nodes);
}

void probe_cpus(struct host_facts *facts, const char *root, const struct probe_allowed *allowed)
{
	struct cpu_bitmap present = { 0 }, online = { 0 };

	root_list(root, &present, "sys/devices/system/cpu/present");
	root_list(root, &online, "sys/devices/system/cpu/online");
	for (size_t i = 0; i < ARRAY_SIZE(present.words); i++)
		present.words[i] |= online.words[i];
	for (uint32_t id = cpu_bitmap_next(&present, 0); id < CPU_BITMAP_MAX;
	     id = cpu_bitmap_next(&present, id + 1))
		(void)cpu_entry(facts, id);
	for (size_t i = 0; i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];

		cpu->online = cpu->online || cpu_bitmap_has(&online, cpu->id);
		if (cpu_bitmap_count(&online) > 0 && !cpu_bitmap_has(&online, cpu->id))
			cpu->online = false;
		cpu->allowed = cpu->online &&
		               (!allowed->cpus_limited || cpu_bitmap_has(&allowed->cpus, cpu->id));
	}
}

static void probe_huge_pages(struct host_node *node, const char *root)
{
	_cleanup_(close_dir) DIR *dir =
		root_opendir(root, "sys/devices/system/node/node%u/hugepages", node->id);
	const struct dirent *entry;

	node->huge_count = 0;
	while (dir && (entry = readdir(dir)) && node->huge_count < FACTS_HUGE_SIZES_MAX) {
		struct host_huge_pages pages = { 0 };
		char directory[400];
		size_t at = node->huge_count;

		if (sscanf(entry->d_name, "hugepages-%lukB", &pages.size_kib) != 1)
			continue;
		snprintf(directory, sizeof(directory),
		         "sys/devices/system/node/node%u/hugepages/%s", node->id, entry->d_name);
		pages.total = (uint64_t)root_number(root, 0, directory, "nr_hugepages");
		pages.free = (uint64_t)root_number(root, 0, directory, "free_hugepages");
		for (; at > 0 && node->huge[at - 1].size_kib > pages.size_kib; at--)
			node->huge[at] = node->huge[at - 1];
		node->huge[at] = pages;
		node->huge_count++;
	}
}

static void probe_node(struct host_facts *facts, const char *root, struct host_node *node,
                       bool huge)
{
	char text[8192]; /* 1024 distances of up to three digits */
	struct cpu_bitmap cpus = { 0 };
	char path[80];

	snprintf(path, sizeof(path), "sys/devices/system/node/node%u/cpulist", node->id);
	root_list(root, &cpus, path);
	for (size_t i = 0; i < facts->cpu_count; i++)
		if (cpu_bitmap_has(&cpus, facts->cpus[i].id))
			facts->cpus[i].node = (int32_t)node->id;
	if (root_attribute(root, text, sizeof(text), "sys/devices/system/node/node%u/meminfo",
	                   node->id) > 0) {
		node->memory_mib = meminfo_kib(text, "MemTotal:") / 1024;
		node->free_mib = meminfo_room_kib(text, MEMINFO_SHARE) / 1024;
	}
	if (root_attribute(root, text, sizeof(text), "sys/devices/system/node/node%u/distance",
	                   node->id) > 0) {
		char *at = text, *end;

		for (size_t k = 0; k < FACTS_NODES_MAX; k++, at = end) {
			unsigned long distance = strtoul(at, &end, 10);

			if (end == at)
				break;
			facts->distances[node - facts->nodes][k] = (uint8_t)MIN(distance, 255ul);
		}
	}
	if (huge)
		probe_huge_pages(node, root);
}

void probe_nodes(struct host_facts *facts, const char *root, const struct probe_allowed *allowed,
                 bool huge)
{
	struct cpu_bitmap online = { 0 };

	root_list(root, &online, "sys/devices/system/node/online");
	static_assert(FACTS_NODES_MAX == CPU_BITMAP_MAX, "each node of the list has room");
	for (uint32_t id = cpu_bitmap_next(&online, 0); id < CPU_BITMAP_MAX;
	     id = cpu_bitmap_next(&online, id + 1)) {
		struct host_node *node = &facts->nodes[facts->node_count];

		node->id = id;
		node->allowed = !allowed->nodes_limited || cpu_bitmap_has(&allowed->nodes, id);
		facts->node_count++;
		probe_node(facts, root, node, huge);
	}
}

void facts_probe_huge(struct host_facts *facts, const char *root)
{
	for (size_t i = 0; i < facts->node_count; i++)
		probe_huge_pages(&facts->nodes[i], root && strcmp(root, "/") != 0 ? root : "");
}

/* Reads an attribute in an open directory. False: it is missing or empty. */
static bool read_entry(int directory, const char *name, char *buffer, size_t size)
{
	_cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read_once(fd, buffer, size) > 0;
}

void probe_vulnerabilities(struct host_facts *facts, const char *root)
{
	_cleanup_(close_dir) DIR *dir =
		root_opendir(root, "sys/devices/system/cpu/vulnerabilities");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)) &&
	       facts->vulnerability_count < FACTS_VULNERABILITIES_MAX) {
		struct host_named row = { 0 };
		size_t at = facts->vulnerability_count;

		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(row.name) ||
		    !read_entry(dirfd(dir), entry->d_name, row.value, sizeof(row.value)))
			continue;
		memcpy(row.name, entry->d_name, strlen(entry->d_name));
		for (; at > 0 && strcmp(facts->vulnerabilities[at - 1].name, row.name) > 0; at--)
			facts->vulnerabilities[at] = facts->vulnerabilities[at - 1];
		facts->vulnerabilities[at] = row;
		facts->vulnerability_count++;
	}
}

static void take_parameter(struct host_facts *facts, const char *root, const char *module,
                           const char *name)
{
	struct host_kvm *kvm = &facts->kvm;
	struct host_named row = { 0 };
	size_t at = kvm->parameter_count;
	int n = snprintf(row.name, sizeof(row.name), "%s.%s", module, name);

	if (at == FACTS_PARAMETERS_MAX || n < 0 || (size_t)n >= sizeof(row.name) ||
	    root_attribute(root, row.value, sizeof(row.value), "sys/module/%s/parameters/%s",
	                   module, name) < 0)
		return;
	for (; at > 0 && strcmp(kvm->parameters[at - 1].name, row.name) > 0; at--)
		kvm->parameters[at] = kvm->parameters[at - 1];
	kvm->parameters[at] = row;
	kvm->parameter_count++;
}

void probe_kvm_parameters(struct host_facts *facts, const char *root, bool all)
{
	static const char *const modules[] = { "kvm", "kvm_intel", "kvm_amd" };

	if (!all) {
		take_parameter(facts, root, "kvm_intel", "ept");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		_cleanup_(close_dir) DIR *dir =
			root_opendir(root, "sys/module/%s/parameters", modules[i]);
		const struct dirent *entry;

		while (dir && (entry = readdir(dir)))
			if (entry->d_name[0] != '.')
				take_parameter(facts, root, modules[i], entry->d_name);
	}
}
