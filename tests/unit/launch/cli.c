/* SPDX-License-Identifier: MIT */
/* The `axvm` command: its tables against each other, its flags, and what it prints. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/cli/event_text.h"
#include "launch/cli/metrics_file.h"
#include "launch/cli/run_options.h"
#include "launch/cli/sockets.h"
#include "launch/cli/terminal.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/host_fixture.h"

/* ---- tables --------------------------------------------------------------------------------- */

/* Help fits a screen, and names every flag and word of its verb; the man page does as well. */
Test(launch_cli, help_is_whole_and_fits)
{
	size_t count;
	const struct verb *all = verbs(&count);
	char *man = NULL, dashed[64];
	size_t size;

	cr_assert_eq(read_whole("runtime/launch/man/axvm.1.scd", &man, &size), 0);
	man = realloc(man, size + 1);
	man[size] = '\0';
	for (size_t i = 0; i < count; i++) {
		const struct verb *verb = &all[i];
		size_t lines = 0;

		for (const char *line = verb->help; *line; line += strcspn(line, "\n") + 1, lines++)
			cr_assert_leq(strcspn(line, "\n"), 80, "%s: %.80s", verb->name, line);
		cr_assert_leq(lines, 24, "%s", verb->name);
		cr_assert_not_null(strstr(man, verb->name), "%s is not in axvm(1)", verb->name);
		for (size_t k = 0; verb->flags && k < verb->flags->count; k++) {
			snprintf(dashed, sizeof(dashed), "--%s", verb->flags->rows[k].name);
			cr_assert_not_null(strstr(verb->help, dashed), "%s %s", verb->name, dashed);
			cr_assert_not_null(strstr(man, dashed), "%s is not in axvm(1)", dashed);
		}
		for (size_t k = 0; verb->words && verb->words[k]; k++) {
			cr_assert_not_null(strstr(verb->help, verb->words[k]), "%s %s", verb->name,
			                   verb->words[k]);
			cr_assert_not_null(strstr(man, verb->words[k]), "%s is not in axvm(1)",
			                   verb->words[k]);
		}
	}
	free(man);
}

static int run_verb(char **ret_out, const char *line)
{
	char copy[512], *argv[32] = { (char[]){ "axvm" } };
	FILE *out;
	size_t size;
	int argc = 1, r;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	out = open_memstream(ret_out, &size);
	r = verb_main(argc, argv, out);
	fclose(out);
	return r;
}

Test(launch_cli, completion_knows_every_flag_and_verb)
{
	static const char *const shells[] = { "completion bash", "completion zsh" };
	size_t count;
	const struct verb *all = verbs(&count);

	for (size_t s = 0; s < ARRAY_SIZE(shells); s++) {
		char *out, dashed[64];

		cr_assert_eq(run_verb(&out, shells[s]), 0);
		for (size_t i = 0; i < count; i++) {
			cr_assert_not_null(strstr(out, all[i].name));
			for (size_t k = 0; all[i].flags && k < all[i].flags->count; k++) {
				snprintf(dashed, sizeof(dashed), " --%s",
				         all[i].flags->rows[k].name);
				cr_assert_not_null(strstr(out, dashed), "%s", dashed);
			}
		}
		free(out);
	}
}

static const struct {
	const char *line;
	int status;
} lines[] = {
	{ "", 64 },
	{ "nosuch", 64 },
	{ "help nosuch", 64 },
	{ "help", 0 },
	{ "--help", 0 },
	{ "run --help", 0 },
	{ "ctl -h", 0 },
	{ "--version", 0 },
	{ "version now", 64 },
	{ "run", 64 },
	{ "run --nosuch", 64 },
	{ "run -k vmlinuz", 64 },
	{ "run --kernel", 64 },
	{ "run --rng=1 --kernel x", 64 },
	{ "run --kernel x --cpus 0", 64 },
	{ "run --kernel x --cpus 256", 64 },
	{ "run --kernel x --cpus 2,pin=3-1", 64 },
	{ "run --kernel x --dry-run --cpus 2,pin=1:x", 64 },
	{ "run --kernel x --dry-run --cpus 2,pin=0-256", 64 },
	{ "run --kernel x --dry-run --cpus 2,pin", 64 },
	{ "run --kernel x --dry-run --cpus 2,dedicated=1", 64 },
	{ "run --kernel x --dry-run --memory 64M,huge", 64 },
	{ "run --kernel x --dry-run --memory 64M,lock=1", 64 },
	{ "run --kernel x --dry-run --memory 64M=1", 64 },
	{ "run --kernel x --dry-run --memory 1500K", 64 },
	{ "run --kernel x --dry-run --node 1024", 64 },
	{ "run --kernel x --dry-run --net t,colour=1", 64 },
	{ "run --kernel x --dry-run --net t,vhost=1", 64 },
	{ "run --kernel x --dry-run --net t,mtu", 64 },
	{ "run --kernel x --dry-run --net t=1", 64 },
	{ "run --kernel x --dry-run --disk d,colour=1", 64 },
	{ "run --kernel x --dry-run --disk d,ro=1", 64 },
	{ "run --kernel x --dry-run --disk d,serial", 64 },
	{ "run --kernel x --dry-run --disk d=1", 64 },
	{ "run --kernel x --dry-run --pv eoi=1", 64 },
	{ "run --kernel x --dry-run --pv eoi,nosuch", 64 },
	{ "run --kernel x --memory 1K", 64 },
	{ "run --kernel x --memory 2G,huge=3M", 64 },
	{ "run --kernel x --vsock 2", 64 },
	{ "run --kernel x --vsock socket=a", 64 },
	{ "run --kernel x --vsock 3,socket", 64 },
	{ "run --kernel x --vsock 3,socket=", 64 },
	{ "run --kernel x --vsock 3,port=5", 64 },
	{ "run --kernel x --vsock 3,socket=/nonexistent/a/b", 73 },
	{ "run --kernel x --vsock 3,socket=b --set vsock{channel{fd:0}}", 64 },
	{ "run --kernel x --pv nosuch", 64 },
	{ "run --kernel x --on-exit never", 64 },
	{ "run --kernel x --events yaml", 64 },
	{ "run --kernel x --events pb", 64 },
	{ "run --kernel x --set nosuch:1", 64 },
	{ "run --kernel x --flat y --dry-run", 64 },
	{ "run --flat x --dry-run --claims d --no-claims", 64 },
	{ "run --flat x --claims", 64 },
	{ "host now", 64 },
	{ "host --jason", 64 },
	{ "run a.txtpb b.txtpb", 64 },
	{ "run a.txtpb --cpus 2", 64 },
	{ "run /nonexistent.txtpb", 66 },
	{ "run /dev/null", 65 },
	{ "ctl", 64 },
	{ "ctl vm", 64 },
	{ "ctl vm nosuch", 64 },
	{ "ctl vm pause now", 64 },
	{ "ctl vm balloon", 64 },
	{ "ctl vm balloon much", 64 },
	{ "ctl vm limit", 64 },
	{ "ctl vm limit disk0 fast", 64 },
	{ "ctl vm console-size 80", 64 },
	{ "ctl ../x/y status", 66 },
	{ "ctl /nonexistent/socket status", 66 },
	{ "ctl .hidden status", 64 },
	{ "events", 64 },
	{ "events /nonexistent", 66 },
	{ "events /dev/null", 0 },
	{ "timeline", 64 },
	{ "timeline /dev/null", 65 },
	{ "timeline /nonexistent", 66 },
	{ "top now", 64 },
	{ "top --interval 0", 64 },
	{ "completion fish", 64 },
	{ "plan", 64 },
	{ "plan /nonexistent", 66 },
	{ "plan /dev/null", 65 },
};

Test(launch_cli, every_wrong_command_line_has_its_status)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char *out;

		cr_assert_eq(run_verb(&out, lines[i].line), lines[i].status, "%s", lines[i].line);
		free(out);
	}
}

/* ---- flags ---------------------------------------------------------------------------------- */

static const struct {
	const char *text;
	int r;
	uint64_t size;
} sizes[] = {
	{ "512", 0, 512 * MIB },
	{ "2G", 0, 2 * GIB },
	{ "2g", 0, 2 * GIB },
	{ "64K", 0, 64 * KIB },
	{ "1T", 0, 1024 * GIB },
	{ "3MiB", 0, 3 * MIB },
	{ "3MB", 0, 3 * MIB },
	{ "", -EINVAL, 0 },
	{ "G", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
	{ "1GG", -EINVAL, 0 },
	{ "1P", -EINVAL, 0 },
	{ "16777216T", -EINVAL, 0 },
	{ "99999999999999999999", -EINVAL, 0 },
	{ "16777215T", 0, 16777215ULL << 40 },
};

Test(launch_cli, sizes_are_read_with_their_suffix)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t size = 0;

		cr_assert_eq(flags_size(sizes[i].text, &size), sizes[i].r, "%s", sizes[i].text);
		cr_assert_eq(size, sizes[i].size, "%s", sizes[i].text);
	}
}

static const struct {
	const char *line;
	const char *holds; /* in the text of the spec */
} specs[] = {
	{ "run --kernel v --dry-run", "kernel { path: \"v\" }" },
	{ "run --kernel v --initrd i --cmdline c --dry-run", "kernel { path: \"v\" }" },
	{ "run --kernel v --initrd i --cmdline c --dry-run", "initrd { path: \"i\" }" },
	{ "run --kernel v --initrd i --cmdline c --dry-run", "cmdline: \"c\"" },
	{ "run --cmdline c --kernel v --cmdline d --dry-run", "cmdline: \"d\"" },
	{ "run --flat f --set boot{flat_boot{image{path:\"g\"}}} --dry-run",
	  "image { path: \"g\" }" },
	{ "run --flat f --set cpus{count:2} --dry-run", "cpus { count: 2 }" },
	{ "run --flat f --set cpus{fifo_priority:7} --dry-run",
	  "cpus { count: 1 fifo_priority: 7 }" },
	{ "run --flat f --cpus 3 --set cpus{count:2} --dry-run", "cpus { count: 2 }" },
	{ "run --flat f --set cpus{count:2} --cpus 3 --dry-run", "cpus { count: 3 }" },
	{ "run --flat f --set vm_id:'z' --dry-run", "vm_id: \"z\"" },
	{ "run --flat f --set lifecycle{on_control_eof:ON_CONTROL_EOF_STOP} --dry-run",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }" },
	{ "run --flat f --set lifecycle{shutdown_timeout_ms:5} --dry-run",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN shutdown_timeout_ms: 5 }" },
	{ "run --flat f --set memory{lock:true} --dry-run", "nodes { size_mib: 512 }" },
	{ "run --dry-run --set boot{flat_boot{local_apic:true}} tests/specs/longmode.txtpb",
	  "image { path: \"build/guests/longmode.bin\" }" },
	{ "run --dry-run --set cpus{count:2} tests/specs/longmode.txtpb", "cpus { count: 2 }" },
	{ "run --dry-run tests/specs/longmode.txtpb",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }" },
	{ "run --dry-run --on-exit keep tests/specs/longmode.txtpb",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_KEEP_RUNNING }" },
	{ "run --dry-run --set lifecycle{on_control_eof:ON_CONTROL_EOF_STOP} tests/specs/longmode.txtpb",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }" },
	{ "run --dry-run tests/fuzz/specs/everything.txtpb",
	  "on_control_eof: ON_CONTROL_EOF_STOP" },
	{ "run --flat f --claims /c --dry-run", "count: 1\n    claims { path: \"/c\" }" },
	{ "run --dry-run --claims /c tests/specs/longmode.txtpb", "claims { path: \"/c\" }" },
	{ "run --flat f --set cpus{claims{fd:7}} --claims /c --dry-run",
	  "claims { path: \"/c\" }" },
	{ "run --flat f --set cpus{claims{fd:7}} --no-claims --dry-run", "cpus { count: 1 }" },
	{ "run --dry-run --no-claims tests/specs/longmode.txtpb", "cpus { count: 1 }" },
	{ "run --kernel v --dry-run", "nodes { size_mib: 512 }" },
	{ "run --kernel v --dry-run", "cpus { count: 1 }" },
	{ "run --kernel v --dry-run", "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }" },
	{ "run --kernel=v --dry-run --on-exit keep",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_KEEP_RUNNING }" },
	{ "run --kernel v --dry-run --memory 2G --node 1",
	  "nodes { size_mib: 2048 host_node: 1 }" },
	{ "run --kernel v --dry-run --node 0", "nodes { size_mib: 512 host_node: 0 }" },
	{ "run --kernel v --dry-run --memory 2G,huge=1G,lock", "page_size: PAGE_SIZE_1G" },
	{ "run --kernel v --dry-run --memory 2G,huge=1G,lock", "lock: true" },
	{ "run --kernel v --dry-run --cpus 3,pin=1:4-5", "pins: 1\n    pins: 4\n    pins: 5" },
	{ "run --kernel v --dry-run --cpus 3,dedicated", "tenancy: TENANCY_DEDICATED" },
	{ "run --kernel v --dry-run --disk a --disk b,ro", "id: \"disk1\"" },
	{ "run --kernel v --dry-run --disk a,id=root,serial=s,queues=2", "id: \"root\"" },
	{ "run --kernel v --dry-run --disk a,id=root,serial=s,queues=2", "queues: 2" },
	{ "run --kernel v --dry-run --net t,mac=02:00:00:00:00:01,mtu=9000", "mtu: 9000" },
	{ "run --kernel v --dry-run --net t,queues=4", "queue_pairs: 4" },
	{ "run --kernel v --dry-run --net t --net u,id=lan --net w", "id: \"net2\"" },
	{ "run --kernel v --dry-run --net t,mac=02:00:00:00:00:01", "mac: \"02:00:00:00:00:01\"" },
	{ "run --kernel v --dry-run --disk a,id=root,serial=s", "serial: \"s\"" },
	{ "run --kernel v --dry-run --disk b,ro", "read_only: true" },
	{ "run --kernel v --dry-run --disk a --disk b,id=x --disk c", "id: \"disk2\"" },
	{ "run --kernel v --dry-run --memory 64M,huge=2M", "page_size: PAGE_SIZE_2M" },
	{ "run --kernel v --dry-run --memory 64M,huge=thp", "page_size: PAGE_SIZE_THP" },
	{ "run --kernel v --dry-run --memory 64M,huge=4K", "page_size: PAGE_SIZE_4K" },
	{ "run --kernel v --dry-run --memory 64M,populate", "populate: true" },
	{ "run --kernel v --dry-run --cpus 3,pin=7", "pins: 7" },
	{ "run --kernel v --dry-run --cpus 255", "count: 255" },
	{ "run --kernel v --dry-run --on-exit stop",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }" },
	{ "run --kernel v --dry-run --on-exit shutdown",
	  "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }" },
	{ "run --kernel v --dry-run --profile dev", "profile: \"dev\"" },
	{ "run --kernel v --dry-run --rng", "rng { }" },
	{ "run --kernel v --dry-run --balloon", "balloon { }" },
	{ "run --kernel v --dry-run --pv unhalt", "features: PV_FEATURE_UNHALT" },
	{ "run --kernel v --dry-run --pv tlb", "features: PV_FEATURE_TLB_FLUSH" },
	{ "run --kernel v --dry-run --pv ipi", "features: PV_FEATURE_SEND_IPI" },
	{ "run --kernel v --dry-run --pv steal", "features: PV_FEATURE_STEAL_TIME" },
	{ "run --kernel v --dry-run --pv async_pf", "features: PV_FEATURE_ASYNC_PF" },
	{ "run --kernel v --dry-run --pv poll", "features: PV_FEATURE_POLL_CONTROL" },
	{ "run --kernel v --dry-run --pv yield", "features: PV_FEATURE_SCHED_YIELD" },
	{ "run --kernel v --dry-run --net t,offloads=false", "offloads: false" },
	{ "run --kernel v --dry-run --net t,queue_size=1024", "queue_size: 1024" },
	{ "run --kernel v --dry-run --disk d,queue_size=512", "queue_size: 512" },
	{ "run --kernel v --dry-run --disk d,max-size=20G", "max_size: 21474836480" },
	{ "run --kernel v --dry-run --disk d,discard=false", "discard: false" },
	{ "run --kernel v --dry-run --net t,vhost", "vhost { path: \"/dev/vhost-net\" }" },
	{ "run --kernel v --dry-run --disk d,ro,direct", "direct: true" },
	{ "run --kernel v --dry-run --vsock 3 --rng --balloon", "vsock { cid: 3 }" },
	{ "run --kernel v --dry-run --pv none", "paravirt { }" },
	{ "run --kernel v --dry-run --pv kvmclock,eoi", "features: PV_FEATURE_EOI" },
	{ "run --kernel v --dry-run --profile dev --report", "admission: ADMISSION_REPORT" },
	{ "run --kernel a\"b\\c --dry-run", "path: \"a\\\"b\\\\c\"" },
	{ "run --kernel v --dry-run --set cpus{fifo_priority:7}", "fifo_priority: 7" },
	{ "run --flat f --dry-run --early-console", "console { early: true }" },
	{ "run --dry-run --id other tests/specs/longmode.txtpb", "vm_id: \"other\"" },
	{ "run --dry-run tests/specs/longmode.txtpb", "vm_id: \"longmode\"" },
};

Test(launch_cli, specs_from_flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		struct text_error error = { 0 };
		ProtobufCMessage *back;
		char *out;

		cr_assert_eq(run_verb(&out, specs[i].line), 0, "%s", specs[i].line);
		cr_assert_not_null(strstr(out, specs[i].holds), "%s:\n%s", specs[i].line, out);
		cr_assert_eq(text_parse(out, strlen(out), &axvm__v1__control_stream__descriptor,
		                        &back, &error),
		             0, "%u: %s", error.line, error.message);
		protobuf_c_message_free_unpacked(back, NULL);
		free(out);
	}
}

/* ---- terminal ------------------------------------------------------------------------------- */

Test(launch_cli, escape_keys)
{
	static const struct {
		const char *keys, *guest;
		enum escape_action last;
	} table[] = {
		{ "abc\x03\x1d", "abc\x03\x1d", ESCAPE_NOTHING },
		{ "\x01x", "", ESCAPE_STOP },
		{ "\x01X", "", ESCAPE_STOP },
		{ "\x01p", "", ESCAPE_BUTTON },
		{ "\x01s", "", ESCAPE_PAUSE },
		{ "\x01i", "", ESCAPE_STATUS },
		{ "\x01?", "", ESCAPE_HELP },
		{ "\x01q"
		  "x",
		  "x", ESCAPE_NOTHING },
		{ "a\x01\x01x", "a\x01x", ESCAPE_NOTHING },
		{ "\x01\x01\x01x", "\x01", ESCAPE_STOP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct escape escape = { false };
		enum escape_action action = ESCAPE_NOTHING;
		char guest[32] = "";
		size_t n = 0;

		for (const char *key = table[i].keys; *key; key++)
			n += escape_take(&escape, (uint8_t)*key, (uint8_t *)&guest[n], &action);
		guest[n] = '\0';
		cr_assert_str_eq(guest, table[i].guest, "case %zu", i);
		cr_assert_eq(action, table[i].last, "case %zu", i);
	}
}

/* ---- what is printed ------------------------------------------------------------------------ */

Test(launch_cli, metrics_for_prometheus)
{
	Axvm__V1__MetricsReport report = AXVM__V1__METRICS_REPORT__INIT;
	Axvm__V1__Counter a = AXVM__V1__COUNTER__INIT, b = a, c = a;
	Axvm__V1__Counter *counters[] = { &a, &b, &c };
	Axvm__V1__Histogram h = AXVM__V1__HISTOGRAM__INIT, *histograms[] = { &h };
	uint64_t bounds[] = { 10, 100 }, counts[] = { 1, 2, 3 };
	char *out;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	a.name = (char[]){ "vcpu.0.exits" };
	b.name = (char[]){ "balloon.actual-pages" };
	c.name = (char[]){ "vcpu.1.exits" };
	a.value = 5;
	b.value = 6;
	c.value = UINT64_MAX;
	h.name = (char[]){ "disk.root.queue.2.latency_us" };
	h.n_bounds = 2;
	h.bounds = bounds;
	h.n_counts = 3;
	h.counts = counts;
	h.has_sum = 1;
	h.sum = 4321;
	report.n_counters = 3;
	report.counters = counters;
	report.n_histograms = 1;
	report.histograms = histograms;
	cr_assert_eq(metrics_print(file, "web", &report), 0);
	fclose(file);
	cr_assert_str_eq(
		out, "# TYPE axvm_balloon_actual_pages untyped\n"
		     "axvm_balloon_actual_pages{vm=\"web\"} 6\n"
		     "# TYPE axvm_disk_queue_latency_us histogram\n"
		     "axvm_disk_queue_latency_us_bucket"
		     "{vm=\"web\",disk=\"root\",queue=\"2\",le=\"10\"} 1\n"
		     "axvm_disk_queue_latency_us_bucket"
		     "{vm=\"web\",disk=\"root\",queue=\"2\",le=\"100\"} 3\n"
		     "axvm_disk_queue_latency_us_bucket"
		     "{vm=\"web\",disk=\"root\",queue=\"2\",le=\"+Inf\"} 6\n"
		     "axvm_disk_queue_latency_us_sum{vm=\"web\",disk=\"root\",queue=\"2\"} 4321\n"
		     "axvm_disk_queue_latency_us_count{vm=\"web\",disk=\"root\",queue=\"2\"} 6\n"
		     "# TYPE axvm_vcpu_exits untyped\n"
		     "axvm_vcpu_exits{vm=\"web\",vcpu=\"0\"} 5\n"
		     "axvm_vcpu_exits{vm=\"web\",vcpu=\"1\"} 18446744073709551615\n");
	free(out);
}

/* In one step: the file is there whole or as it was, and nothing beside it, whatever went wrong. */
Test(launch_cli, a_metrics_file_is_replaced)
{
	Axvm__V1__MetricsReport report = AXVM__V1__METRICS_REPORT__INIT;
	char folder[] = "/tmp/axvm-metrics-XXXXXX", path[64], inner[96], longest[PATH_MAX], *text;
	const struct dirent *entry;
	size_t count = 0, size;
	struct stat st;
	ino_t first;
	DIR *dir;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/file", folder);
	cr_assert_eq(metrics_file_write(path, "a", &report), 0);
	cr_assert_eq(stat(path, &st), 0);
	first = st.st_ino;
	cr_assert_eq(metrics_file_write(path, "a", &report), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_neq(st.st_ino, first, "written into the file that is read");
	cr_assert_eq(read_whole(path, &text, &size), 0);
	cr_assert_eq(size, 0);
	free(text);
	cr_assert(unlink(path) == 0 && mkdir(path, 0700) == 0);
	snprintf(inner, sizeof(inner), "%s/none/file", path);
	cr_assert_eq(metrics_file_write(inner, "a", &report), -ENOENT);
	cr_assert_eq(metrics_file_write(path, "a", &report), -EEXIST);
	dir = opendir(folder);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	cr_assert_eq(count, 1, "a draft is left");
	rmdir(path);
	rmdir(folder);
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	cr_assert_eq(metrics_file_write(longest, "a", &report), -ENAMETOOLONG);
}

/* Whoever has it too is told of: each would hide the other's. One that was taken away is
 * nobody's. */
Test(launch_cli, a_metrics_file_of_two)
{
	Axvm__V1__MetricsReport report = AXVM__V1__METRICS_REPORT__INIT;
	struct metrics_file mine = { 0 }, other = { 0 };
	char path[] = "/tmp/axvm-metrics-XXXXXX";

	close(mkostemp(path, O_CLOEXEC));
	cr_expect_eq(metrics_file_write_again(&mine, path, "a", &report), 0,
	             "what was there before is replaced");
	cr_expect_eq(metrics_file_write_again(&mine, path, "a", &report), 0);
	cr_expect_eq(metrics_file_write_again(&other, path, "b", &report), 0);
	cr_expect_eq(metrics_file_write_again(&mine, path, "a", &report), -EBUSY);
	cr_expect_eq(metrics_file_write_again(&mine, path, "a", &report), 0);
	cr_assert_eq(unlink(path), 0);
	cr_expect_eq(metrics_file_write_again(&mine, path, "a", &report), 0);
	cr_expect_not_null(strstr(metrics_file_error(EBUSY), "give each VM one of its own"));
	unlink(path);
}

Test(launch_cli, an_event_is_one_line_of_json)
{
	Axvm__V1__Event event = AXVM__V1__EVENT__INIT;
	Axvm__V1__Terminal terminal = AXVM__V1__TERMINAL__INIT;
	Axvm__V1__Error error = AXVM__V1__ERROR__INIT, *errors[] = { &error, &error };
	char *out;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	event.has_sequence = 1;
	event.sequence = 3;
	event.body_case = AXVM__V1__EVENT__BODY_TERMINAL;
	event.terminal = &terminal;
	terminal.has_outcome = 1;
	terminal.outcome = AXVM__V1__OUTCOME__OUTCOME_HALTED;
	terminal.message = (char[]){ "a \"quoted\"\nline\\" };
	terminal.n_errors = 2;
	terminal.errors = errors;
	error.has_retryable = error.retryable = 1;
	event_print_json(file, &event);
	fclose(file);
	cr_assert_str_eq(out,
	                 "{\"sequence\": \"3\", \"terminal\": {\"outcome\": \"OUTCOME_HALTED\", "
	                 "\"errors\": [{\"retryable\": true}, {\"retryable\": true}], "
	                 "\"message\": \"a \\\"quoted\\\"\\nline\\\\\"}}\n");
	free(out);
}

Test(launch_cli, times_and_bytes_are_printed_in_fitting_units)
{
	char text[32];

	cr_assert_str_eq(format_ns(999, text, sizeof(text)), "999 ns");
	cr_assert_str_eq(format_ns(1500, text, sizeof(text)), "1.5 us");
	cr_assert_str_eq(format_ns(150000000, text, sizeof(text)), "150 ms");
	cr_assert_str_eq(format_bytes(1023, text, sizeof(text)), "1023 B");
	cr_assert_str_eq(format_bytes(3 * GIB / 2, text, sizeof(text)), "1.5 GiB");
}

/* Where VMs are looked for: the user's own folder and the system's, each once. */
Test(launch_cli, socket_places)
{
	struct sockets_places places;

	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	sockets_places(&places);
	cr_assert_eq(places.count, 2);
	cr_expect_str_eq(places.folders[0], "/run/user/7/axvm");
	cr_expect_str_eq(places.folders[1], "/run/axvm");
	setenv("XDG_RUNTIME_DIR", "/run", 1);
	sockets_places(&places);
	cr_assert_eq(places.count, 1);
	cr_expect_str_eq(places.folders[0], "/run/axvm");
	/* One that is named is the only one; a path that is none is no name. */
	setenv("AXVM_RUNTIME_DIR", "/somewhere/else", 1);
	sockets_places(&places);
	cr_assert_eq(places.count, 1);
	cr_expect_str_eq(places.folders[0], "/somewhere/else");
	setenv("AXVM_RUNTIME_DIR", "relative", 1);
	sockets_places(&places);
	cr_expect_str_eq(places.folders[0], "/run/axvm");
	unsetenv("AXVM_RUNTIME_DIR");
}

static int listen_in(const char *folder, const char *vm)
{
	char path[SOCKET_PATH_MAX];
	int fd = -1;

	snprintf(path, sizeof(path), "%s/%s.sock", folder, vm);
	cr_assert(mkdir(folder, 0700) == 0 || errno == EEXIST);
	cr_assert_eq(sockets_listen(path, 8, &fd, NULL), 0);
	return fd;
}

/* In whichever of the two it is; in both is not decided for who asks; where one may not look it may
 * be. */
Test(launch_cli, a_vm_is_found_in_each_place)
{
	static const char *const names[] = { "own", "service", "both" };
	struct sockets_places places = { .count = 2 };
	struct fixture_tree tree;
	struct client client;
	char path[SOCKET_PATH_MAX], wanted[SOCKET_PATH_MAX + 32];
	int fds[4];

	fixture_tree_new(&tree);
	snprintf(places.folders[0], SOCKET_PATH_MAX, "%s/a", tree.root);
	snprintf(places.folders[1], SOCKET_PATH_MAX, "%s/b", tree.root);
	fds[0] = listen_in(places.folders[0], "own");
	fds[1] = listen_in(places.folders[1], "service");
	fds[2] = listen_in(places.folders[0], "both");
	fds[3] = listen_in(places.folders[1], "both");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		client = (struct client){ .fd = -1 };
		cr_expect_eq(sockets_find(&places, names[i], &client, path), i == 2 ? -EEXIST : 0,
		             "%s", names[i]);
		snprintf(wanted, sizeof(wanted), "%s/%s.sock", places.folders[i > 0], names[i]);
		cr_expect_str_eq(path, wanted);
		client_close(&client);
	}
	client = (struct client){ .fd = -1 };
	cr_expect_eq(sockets_find(&places, "none", &client, path), -ENOENT);
	snprintf(wanted, sizeof(wanted), "%s/none.sock", places.folders[0]);
	cr_expect_str_eq(path, wanted, "where one would be first");
	cr_expect_eq(sockets_find(&places, "../b/own", &client, path), -ENOENT,
	             "a path is not looked for elsewhere");
	cr_expect_eq(sockets_find(&places, "..", &client, path), -EINVAL);
	cr_expect_eq(sockets_find(&places, "", &client, path), -EINVAL);
	/* One that has gone and left its socket is nobody. */
	close(fds[2]);
	cr_expect_eq(sockets_find(&places, "both", &client, path), 0);
	snprintf(wanted, sizeof(wanted), "%s/both.sock", places.folders[1]);
	cr_expect_str_eq(path, wanted);
	client_close(&client);
	if (geteuid() == 0) {
		cr_assert_eq(chmod(places.folders[0], 0755), 0);
		cr_assert_eq(chmod(tree.root, 0755), 0);
		cr_assert_eq(chmod(places.folders[1], 0700), 0);
		cr_assert_eq(seteuid(65534), 0);
		client = (struct client){ .fd = -1 };
		cr_expect_eq(sockets_find(&places, "service", &client, path), -EACCES);
		snprintf(wanted, sizeof(wanted), "%s/service.sock", places.folders[1]);
		cr_expect_str_eq(path, wanted);
		cr_assert_eq(seteuid(0), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (i != 2)
			close(fds[i]);
	fixture_tree_done(&tree);
}

/* A name that leads elsewhere is a path or nothing. */
Test(launch_cli, socket_paths)
{
	char path[SOCKET_PATH_MAX];

	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	cr_assert_eq(sockets_path("web-1", SOCKET_CONTROL, path), 0);
	cr_assert_str_eq(path, "/run/user/7/axvm/web-1.sock");
	cr_assert_eq(sockets_path("..", SOCKET_CONTROL, path), -EINVAL);
	cr_assert_eq(sockets_path("a b", SOCKET_CONTROL, path), -EINVAL);
	cr_assert_eq(sockets_path("", SOCKET_CONTROL, path), -EINVAL);
	cr_assert_eq(sockets_path("./a.sock", SOCKET_CONTROL, path), 0);
	cr_assert_str_eq(path, "./a.sock");
}
