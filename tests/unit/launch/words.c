/* SPDX-License-Identifier: MIT */
/* What the `axvm` command says of what is wrong: in words, on standard error and nowhere else, by
 * its status. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/axvm.h"
#include "launch/cli/output.h"
#include "launch/cli/run_options.h"
#include "launch/cli/sockets.h"
#include "launch/cli/terminal.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/protoc.h"

static struct fixture_tree sockets;

static void new_folder(void)
{
	fixture_tree_new(&sockets);
	setenv("XDG_RUNTIME_DIR", sockets.root, 1);
	setenv("AXVM_CLAIMS_DIR", "", 1); /* whether this machine has any is told on stderr */
}

static void remove_folder(void)
{
	fixture_tree_done(&sockets);
}

TestSuite(launch_words, .init = new_folder, .fini = remove_folder, .timeout = 120);

#define DISK_ITEMS "ro, direct, id=, serial=, queues=, queue_size=, max-size=, discard=, format="

static const struct {
	const char *line;
	int status;
	const char *says; /* where it ends in "...", what it begins with */
} complaints[] = {
	{ "nosuch", 64, "axvm: there is no verb \"nosuch\"; `axvm help` lists them\n" },
	{ "help nosuch", 64, "axvm: there is no verb \"nosuch\"; `axvm help` lists them\n" },
	{ "version now", 64, "axvm version: takes no words\n" },
	/* Options. */
	{ "run --kernle x", 64,
	  "axvm run: there is no option --kernle; did you mean --kernel? (axvm run --help lists them)\n" },
	{ "run --metrics x", 64,
	  "axvm run: there is no option --metrics; did you mean --metrics-file? (axvm run --help lists them)\n" },
	{ "run --me=x", 64, "axvm run: there is no option --me (axvm run --help lists them)\n" },
	{ "run --mem=x", 64,
	  "axvm run: there is no option --mem; did you mean --memory? (axvm run --help lists them)\n" },
	{ "events --zzz f", 64,
	  "axvm events: there is no option --zzz (axvm events --help lists them)\n" },
	{ "run -k vmlinuz", 64,
	  "axvm run: -k: options have two dashes and a whole name (axvm run --help lists them)\n" },
	{ "run --rng=1", 64, "axvm run: --rng takes no value\n" },
	{ "run --kernel", 64, "axvm run: --kernel needs a value\n" },
	{ "top --interval 3601", 64,
	  "axvm top: --interval 3601: must be a number of seconds from 1 to 3600\n" },
	{ "ctl --timeout 0 a status", 64,
	  "axvm ctl: --timeout 0: must be a number of seconds from 1 to 86400\n" },
	/* run */
	{ "run", 64,
	  "axvm run: nothing to run: give a spec file, --kernel or --flat (axvm run --help)\n" },
	{ "run --flat f --node 0 --set memory{nodes{size_mib:32}}", 64,
	  "axvm run: --node is for the memory that --memory gives; the nodes of --set have a host_node each\n" },
	{ "run --kernel k --flat f", 64,
	  "axvm run: --flat and --kernel exclude each other; remove one of the two\n" },
	{ "run --flat f --initrd i --kernel k", 64,
	  "axvm run: --flat and --kernel exclude each other; remove one of the two\n" },
	{ "run --flat f --initrd i", 64,
	  "axvm run: --flat and --initrd exclude each other: --initrd is for --kernel\n" },
	{ "run --cmdline c --flat f", 64,
	  "axvm run: --flat and --cmdline exclude each other: --cmdline is for --kernel\n" },
	{ "run --flat f --flat g", 64, "axvm run: --flat is there twice; remove one of the two\n" },
	{ "run --kernel k --initrd i --kernel l", 64,
	  "axvm run: --kernel is there twice; remove one of the two\n" },
	{ "run a.txtpb b.txtpb", 64,
	  "axvm run: \"b.txtpb\" is one word too many: axvm run starts one VM, of one spec file\n" },
	{ "run a.txtpb --cpus 2", 64,
	  "axvm run: --cpus describes a VM, and so does a.txtpb: give one of them\n" },
	{ "run a.txtpb --memory 2G", 64,
	  "axvm run: --memory describes a VM, and so does a.txtpb: give one of them\n" },
	{ "run a.txtpb --node 1", 64,
	  "axvm run: --node describes a VM, and so does a.txtpb: give one of them\n" },
	{ "run a.txtpb --node 1 --cpus 3 --id x", 64,
	  "axvm run: --node describes a VM, and so does a.txtpb: give one of them\n" },
	{ "run a.txtpb --memory 1G --rng", 64,
	  "axvm run: --memory describes a VM, and so does a.txtpb: give one of them\n" },
	{ "run a.txtpb --early-console", 64,
	  "axvm run: --early-console describes a VM, and so does a.txtpb: give one of them\n" },
	{ "run --cpus 0", 64, "axvm run: --cpus 0: must begin with a number from 1 to 255\n" },
	{ "run --cpus 2,pin=3-1", 64,
	  "axvm run: --cpus: pin: \"3-1\" is no range of CPUs like 0-3\n" },
	{ "run --cpus 2,pin=0,99", 64,
	  "axvm run: --cpus 2,pin=0,99: the CPUs of a pin are parted by colons: pin=0:99\n" },
	{ "run --cpus 4,pin=0-1,4-5,dedicated", 64,
	  "axvm run: --cpus 4,pin=0-1,4-5,dedicated: the CPUs of a pin are parted by colons: pin=0-1:4-5\n" },
	{ "run --cpus 2,99", 64,
	  "axvm run: --cpus: \"99\" is not known; there are pin=0-3:8 and dedicated\n" },
	{ "run --cpus 2,fast", 64,
	  "axvm run: --cpus: \"fast\" is not known; there are pin=0-3:8 and dedicated\n" },
	{ "run --memory 1K", 64,
	  "axvm run: --memory 1K: must begin with a size in whole MiB, like 2G or 512M\n" },
	{ "run --memory 1G,huge=3M", 64,
	  "axvm run: --memory: \"huge\" is not known; there are huge=2M|1G|thp, populate and lock\n" },
	{ "run --node 1024", 64,
	  "axvm run: --node 1024: must be the number of a NUMA node of this host\n" },
	{ "run --disk d=1", 64, "axvm run: --disk d=1: must begin with the path of a raw image\n" },
	{ "run --disk d,ro=1", 64, "axvm run: --disk: ro takes no value\n" },
	{ "run --disk d,readonly", 64,
	  "axvm run: --disk: there is no \"readonly\"; there are " DISK_ITEMS
	  "; did you mean ro?\n" },
	{ "run --disk d,dir", 64,
	  "axvm run: --disk: there is no \"dir\"; there are " DISK_ITEMS
	  "; did you mean direct?\n" },
	{ "run --disk d,type=raw", 64,
	  "axvm run: --disk: there is no \"type\"; there are " DISK_ITEMS "\n" },
	{ "run --disk d,zero", 64,
	  "axvm run: --disk: there is no \"zero\"; there are " DISK_ITEMS "\n" },
	{ "run --disk d,", 64, "axvm run: --disk: there is no \"\"; there are " DISK_ITEMS "\n" },
	{ "run --net t,model=virtio", 64,
	  "axvm run: --net: there is no \"model\"; there are id=, mac=, mtu=, queues=, queue_size=, "
	  "offloads=, vhost\n" },
	{ "run --disk d,serial", 64, "axvm run: --disk: serial needs a value: =...\n" },
	{ "run --net t=1", 64,
	  "axvm run: --net t=1: must begin with the name of a TAP interface\n" },
	{ "run --net t,mtu", 64, "axvm run: --net: mtu needs a value: =...\n" },
	{ "run --vsock 2", 64,
	  "axvm run: --vsock 2: must begin with a context id, a number from 3 up\n" },
	{ "run --vsock 4294967295", 64,
	  "axvm run: --vsock 4294967295: must begin with a context id, a number from 3 up\n" },
	{ "run --vsock 3,port=5", 64,
	  "axvm run: --vsock: \"port\" is not known; there is socket=PATH\n" },
	{ "run --pv nosuch", 64,
	  "axvm run: --pv: \"nosuch\" is not known; axvm run --help lists what there is\n" },
	{ "run --on-exit never", 64,
	  "axvm run: --on-exit never: must be shutdown, stop or keep\n" },
	{ "run --events yaml", 64,
	  "axvm run: --events yaml: must be text, json, pb or none, with :FILE after it for a file\n" },
	{ "run --events pb", 64,
	  "axvm run: --events pb: binary events need a file: --events pb:FILE\n" },
	{ "run --set nosuch:1", 64,
	  "axvm run: --set: line 1, column 1: nosuch: there is no such field; LaunchSpec has vm_id, profile, ..." },
	{ "run --disk x,queues=a", 64,
	  "axvm run: --disk: disks[0].queues: \"a\" is not a whole number\n" },
	{ "run --flat f --events text:/nonexistent/f", 73,
	  "axvm run: cannot write events to /nonexistent/f: No such file or directory\n" },
	{ "run --flat f --vsock 3,socket=/nonexistent/b", 73,
	  "axvm run: cannot serve the guest's vsock at /nonexistent/b: there is no such folder, and none is made but "
	  "axvm's own; make it, or name another path (--vsock CID,socket=PATH says where)\n" },
	{ "run --flat f --vsock 3,socket=/tmp/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	  73, "axvm run: cannot serve the guest's vsock at /tmp/..." },
	{ "run --flat f --vsock 3,socket=b --set vsock{channel{fd:0}}", 64,
	  "axvm run: --vsock socket=b: the spec names a channel already, which somebody else serves; remove one of the two\n" },
	{ "run --flat f --set boot{flat_boot{image{fd:60}}}", 66,
	  "axvm run: the spec's boot.flat_boot.image names fd 60, which is not open here; open it for this command: "
	  "axvm run ... 60<FILE\n" },
	{ "run --flat f --shim /nonexistent/shim", 66,
	  "axvm run: cannot run /nonexistent/shim: No such file or directory (--shim FILE or AXVM_SHIM say where it "
	  "is)\n" },
	{ "run --flat f --shim /dev/null", 71,
	  "axvm run: cannot run /dev/null: Permission denied\n" },
	{ "run /nonexistent.txtpb", 66,
	  "axvm run: /nonexistent.txtpb: No such file or directory\n" },
	{ "run /dev/null", 65,
	  "axvm run: /dev/null: no launch in it; a spec is an axvm.v1.ControlStream with..." },
	{ "run /dev/zero", 65, "axvm run: /dev/zero: larger than a spec can be (1 MiB)\n" },
	/* plan */
	{ "plan /nonexistent", 66, "axvm plan: /nonexistent: No such file or directory\n" },
	{ "plan /dev/null", 65, "axvm plan: /dev/null: no launch in it; ..." },
	{ "plan --facts /nonexistent tests/specs/spin.txtpb", 66,
	  "axvm plan: /nonexistent: No such file or directory\n" },
	{ "plan --facts /dev/null tests/specs/spin.txtpb", 65,
	  "axvm plan: /dev/null: is not an axvm.v1.HostFacts; `axvm probe --text` writes one\n" },
	/* ctl */
	{ "ctl a nosuch", 64, "axvm ctl: there is no command \"nosuch\": see axvm ctl --help\n" },
	{ "ctl a pause now", 64,
	  "axvm ctl: \"pause\" was given words that it does not take; usage: axvm ctl VM|SOCKET "
	  "pause\n" },
	{ "ctl a balloon big", 64,
	  "axvm ctl: \"balloon\" was given words that it does not take; usage: axvm ctl VM|SOCKET "
	  "balloon SIZE\n" },
	{ "ctl a limit", 64,
	  "axvm ctl: \"limit\" was given words that it does not take; usage: axvm ctl VM|SOCKET limit "
	  "DEVICE [tx] [bytes=N] [ops=N] [burst=N]\n" },
	{ "ctl .hidden status", 64,
	  "axvm ctl: \".hidden\" is neither a VM's id nor a socket's path\n" },
	{ "ctl -- -x status", 64, "axvm ctl: \"-x\" is neither a VM's id nor a socket's path\n" },
	{ "ctl /nonexistent/s status", 66,
	  "axvm ctl: no VM named \"/nonexistent/s\" runs here: nobody listens at /nonexistent/s (axvm top lists those "
	  "that do)\n" },
	{ "ctl /dev/null/s status", 66,
	  "axvm ctl: cannot connect to /dev/null/s: Not a directory\n" },
	{ "ctl a 1 2 3 4 5 6 7 8", 64, "usage: axvm ctl ..." },
	/* events and timeline */
	{ "events /nonexistent", 66, "axvm events: /nonexistent: No such file or directory\n" },
	{ "events /dev/zero", 65,
	  "axvm events: /dev/zero: what follows is not a whole event; is it what a shim wrote to fd 4?\n" },
	{ "events /tmp", 74, "axvm events: /tmp: Is a directory\n" },
	{ "timeline /nonexistent", 66, "axvm timeline: /nonexistent: No such file or directory\n" },
	{ "timeline /tmp", 66, "axvm timeline: /tmp: Is a directory\n" },
	{ "timeline /dev/zero", 65,
	  "axvm timeline: /dev/zero: no event stream with a stage in it; is it what a shim wrote to fd 4?\n" },
	/* admit */
	{ "admit --profile nosuch", 64,
	  "axvm admit: there is no profile \"nosuch\"; there are: ..." },
	{ "admit --facts /nonexistent", 66,
	  "axvm admit: /nonexistent: No such file or directory\n" },
	{ "admit --facts /dev/null", 65,
	  "axvm admit: /dev/null: is not an axvm.v1.HostFacts; `axvm probe --text` writes one\n" },
	/* policy */
	{ "policy check gpu read", 64,
	  "axvm policy: there is no role \"gpu\"; there are control, vcpu and io\n" },
	{ "policy check io nosuch", 64,
	  "axvm policy: there is no x86-64 system call \"nosuch\"\n" },
	{ "policy check io read 1x", 64,
	  "axvm policy: \"1x\" is neither a number nor a symbol of the policies\n" },
	{ "policy check io read 99999999999999999999", 64,
	  "axvm policy: \"99999999999999999999\" is neither a number nor a symbol of the policies\n" },
};

Test(launch_words, complaints_are_on_standard_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(complaints); i++) {
		struct said said = axvm_say(complaints[i].line, -1);
		const char *says = complaints[i].says;
		size_t n = strlen(says);

		cr_expect_eq(said.status, complaints[i].status, "%s: %d", complaints[i].line,
		             said.status);
		if (n > 3 && strcmp(says + n - 3, "...") == 0)
			cr_expect_eq(strncmp(said.err, says, n - 3), 0, "%s: %s",
			             complaints[i].line, said.err);
		else
			cr_expect_str_eq(said.err, says, "%s: %s", complaints[i].line, said.err);
		cr_expect_str_eq(said.out, "", "%s: %s", complaints[i].line, said.out);
		said_done(&said);
	}
}

/* Each profile there is, in the words for one that is none. */
Test(launch_words, the_profiles_there_are)
{
	struct said said = axvm_say("admit --profile nosuch", -1);

	cr_expect_not_null(strstr(said.err, " xv2"), "%s", said.err);
	cr_expect_not_null(strstr(said.err, " dev"), "%s", said.err);
	cr_expect_eq(said.err[strlen(said.err) - 1], '\n');
	said_done(&said);
}

/* Words that are wrong as a whole: the verb's help, on standard error, and its status. */
Test(launch_words, usage_is_the_help)
{
	static const struct {
		const char *line, *verb;
	} lines[] = {
		{ "ctl", "ctl" },
		{ "ctl a", "ctl" },
		{ "top now", "top" },
		{ "events", "events" },
		{ "events a b", "events" },
		{ "timeline", "timeline" },
		{ "timeline a b", "timeline" },
		{ "plan", "plan" },
		{ "plan a b", "plan" },
		{ "completion", "completion" },
		{ "completion fish", "completion" },
		{ "completion bash zsh", "completion" },
		{ "probe now", "probe" },
		{ "admit now", "admit" },
		{ "policy nosuch", "policy" },
		{ "policy table io vcpu", "policy" },
		{ "policy raw", "policy" },
		{ "policy oci", "policy" },
		{ "policy check", "policy" },
		{ "policy check io", "policy" },
		{ "policy check io read 1 2 3 4 5 6 7", "policy" },
		{ "policy ring io", "policy" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct said said = axvm_say(lines[i].line, -1);

		cr_expect_eq(said.status, 64, "%s: %d", lines[i].line, said.status);
		cr_expect_eq(strncmp(said.err, verb_find(lines[i].verb)->help, strlen(said.err)), 0,
		             "%s: %s", lines[i].line, said.err);
		cr_expect(strncmp(said.err, "usage: axvm ", 12) == 0 && strchr(said.err, '\n'),
		          "%s", lines[i].line);
		cr_expect_str_eq(said.out, "", "%s", lines[i].line);
		said_done(&said);
	}
}

/* Help is asked for, and so on standard output; a line each verb, and what it explains. */
Test(launch_words, help_is_on_standard_output)
{
	size_t count;
	const struct verb *all = verbs(&count);
	struct said none = axvm_say("", -1), help = axvm_say("help", -1),
		    dashed = axvm_say("--help", -1);
	struct said shorter = axvm_say("-h", -1), version = axvm_say("version", -1),
		    also = axvm_say("--version", -1);
	char line[128];

	cr_expect_eq(none.status, 64);
	cr_expect_str_eq(none.out, "");
	cr_expect_str_eq(none.err, help.out);
	cr_expect_str_eq(dashed.out, help.out);
	cr_expect_str_eq(shorter.out, help.out);
	cr_expect_eq(help.status | dashed.status | shorter.status | version.status | also.status,
	             0);
	snprintf(line, sizeof(line), "axvm %s\n", axvm_version());
	cr_expect_str_eq(version.out, line);
	cr_expect_str_eq(also.out, line);
	cr_expect_eq(strncmp(help.out, "usage: axvm VERB [WORD]...\n", 27), 0, "%s", help.out);
	for (size_t i = 0; i < count; i++) {
		static const char *const ways[] = { "help %s", "%s --help", "%s -h",
			                            "%s a --help" };

		snprintf(line, sizeof(line), "\n  %-12s%s\n", all[i].name, all[i].summary);
		cr_expect_not_null(strstr(help.out, line), "%s", line);
		for (size_t k = 0; k < ARRAY_SIZE(ways); k++) {
			struct said said;

			snprintf(line, sizeof(line), ways[k], all[i].name);
			said = axvm_say(line, -1);
			cr_expect_eq(said.status, 0, "%s", line);
			cr_expect_str_eq(said.out, all[i].help, "%s", line);
			cr_expect_str_eq(said.err, "", "%s", line);
			said_done(&said);
		}
	}
	said_done(&none);
	said_done(&help);
	said_done(&dashed);
	said_done(&shorter);
	said_done(&version);
	said_done(&also);
}

/* What troff would show otherwise than it is meant: lines of a literal block that are none of a
 * fence, a line that begins with a dot. */
Test(launch_words, pages_are_shown_as_they_are_meant)
{
	static const char *const pages[] = { "axvm.1", "axvm-shim.8", "axvm-spec.5",
		                             "axvm-events.5", "axvm-profiles.5" };
	static const char *const wrong[] = { "\n\t.", "_\\__", "\n\n\tlaunch {", "++\n\t",
		                             ":- *meaning*" };

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		char path[64], *page;
		size_t size;

		snprintf(path, sizeof(path), "runtime/launch/man/%s.scd", pages[i]);
		cr_assert_eq(read_whole(path, &page, &size), 0);
		page = realloc(page, size + 1);
		page[size] = '\0';
		for (size_t k = 0; k < ARRAY_SIZE(wrong); k++)
			cr_expect_null(strstr(page, wrong[k]), "%s has %s", path, wrong[k]);
		free(page);
	}
}

/* What is a number or a variable in a verb's help is in the manual, too: defaults, limits,
 * statuses. */
Test(launch_words, numbers_of_the_help_are_the_manuals)
{
	static const char *const pages[] = { "runtime/launch/man/axvm.1.scd",
		                             "runtime/launch/man/axvm-shim.8.scd" };
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$";
	char *manual[ARRAY_SIZE(pages)];
	size_t count, checked = 0;
	const struct verb *all = verbs(&count);

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		size_t size;

		cr_assert_eq(read_whole(pages[i], &manual[i], &size), 0);
		manual[i] = realloc(manual[i], size + 1);
		manual[i][size] = '\0';
	}
	for (size_t i = 0; i < count; i++)
		for (const char *at = all[i].help; *at; at += strcspn(at, letters)) {
			size_t n = strspn(at, letters);
			bool found = false;

			if (at[0] != '$' && !(at[0] >= '0' && at[0] <= '9')) {
				at += n;
				continue;
			}
			for (size_t k = 0; k < ARRAY_SIZE(pages); k++)
				for (const char *in = manual[k]; *in; in += strcspn(in, letters)) {
					size_t length = strspn(in, letters);

					found |= length == n && strncmp(in, at, n) == 0;
					in += length;
				}
			cr_expect(found, "%s: %.*s is not in the manual", all[i].name, (int)n, at);
			checked++;
			at += n;
		}
	cr_expect_gt(checked, 20);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		free(manual[i]);
}

/* Help is no longer help behind two dashes. */
Test(launch_words, help_behind_two_dashes_is_a_word)
{
	struct said said = axvm_say("events -- --help", -1);

	cr_expect_eq(said.status, 66);
	cr_expect_str_eq(said.err, "axvm events: --help: No such file or directory\n");
	said_done(&said);
	said = axvm_say("events -- -f", -1);
	cr_expect_eq(said.status, 66, "%s", said.err);
	said_done(&said);
}

/* No shim beside this program, nor in PATH: which one it is that is missing. */
Test(launch_words, no_shim_anywhere)
{
	struct said said;

	unsetenv("AXVM_SHIM");
	setenv("PATH", "/nonexistent", 1);
	said = axvm_say("run --flat f", -1);
	cr_expect_eq(said.status, 66);
	cr_expect_str_eq(
		said.err,
		"axvm run: cannot find axvm-shim: No such file or directory (--shim FILE or AXVM_SHIM say "
		"where it is)\n");
	said_done(&said);
	setenv("PATH", "/usr/bin:/bin", 1);
}

/* Without a folder of one's own there is the system's to look in; by path there is any. Root's own
 * is the system's. */
Test(launch_words, no_folder_of_sockets)
{
	char path[SOCKET_PATH_MAX], longest[SOCKET_PATH_MAX + 8];
	struct sockets_places places;
	struct said said;

	for (int turn = 0; turn < 2; turn++) {
		if (turn)
			setenv("XDG_RUNTIME_DIR", "not/absolute", 1);
		else
			unsetenv("XDG_RUNTIME_DIR");
		cr_expect_eq(sockets_path("a/b", SOCKET_CONTROL, path), 0);
		if (geteuid() == 0) {
			cr_expect_eq(sockets_path("a", SOCKET_CONTROL, path), 0);
			cr_expect_str_eq(path, "/run/axvm/a.sock");
			cr_assert_eq(seteuid(65534), 0);
		}
		cr_expect_eq(sockets_path("a", SOCKET_CONTROL, path), -ENOENT);
		sockets_places(&places);
		cr_expect(places.count == 1 && strcmp(places.folders[0], "/run/axvm") == 0);
		said = axvm_say("top --once", -1);
		cr_expect_eq(said.status, 0, "%s", said.err);
		said_done(&said);
		said = axvm_say("ctl no-vm-has-this-name status", -1);
		cr_expect_eq(said.status, 66);
		cr_expect_not_null(
			strstr(said.err, "axvm ctl: no VM named \"no-vm-has-this-name\" runs here"),
			"%s", said.err);
		cr_expect_not_null(strstr(said.err, "/run/axvm/no-vm-has-this-name.sock"), "%s",
		                   said.err);
		said_done(&said);
		if (getuid() == 0)
			cr_assert_eq(seteuid(0), 0);
	}
	/* As long as a socket's path may be, and a character more. */
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[SOCKET_PATH_MAX - 1] = '\0';
	cr_expect_eq(sockets_path(longest, SOCKET_CONTROL, path), 0);
	cr_expect_str_eq(path, longest);
	longest[SOCKET_PATH_MAX - 1] = 'x';
	longest[SOCKET_PATH_MAX] = '\0';
	cr_expect_eq(sockets_path(longest, SOCKET_CONTROL, path), -ENAMETOOLONG);
	setenv("XDG_RUNTIME_DIR", "/r", 1);
	longest[0] = 'x';
	longest[SOCKET_PATH_MAX - 1 - strlen("/r/axvm/.sock")] = '\0';
	cr_expect_eq(sockets_path(longest, SOCKET_CONTROL, path), 0);
	cr_expect_eq(strlen(path), SOCKET_PATH_MAX - 1);
	longest[strlen(longest)] = 'x';
	cr_expect_eq(sockets_path(longest, SOCKET_CONTROL, path), -ENAMETOOLONG);
}

/* The keys that the help names are those that do it. */
Test(launch_words, the_keys_of_the_help)
{
	static const struct {
		const char *line;
		char key;
		enum escape_action action;
	} keys[] = {
		{ "Ctrl-A x  stop the VM now\n", 'x', ESCAPE_STOP },
		{ "Ctrl-A p  press its power button\n", 'p', ESCAPE_BUTTON },
		{ "Ctrl-A s  pause or resume it\n", 's', ESCAPE_PAUSE },
		{ "Ctrl-A i  its state\n", 'i', ESCAPE_STATUS },
		{ "Ctrl-A h  these keys\n", 'h', ESCAPE_HELP },
		{ "Ctrl-A Ctrl-A  a Ctrl-A for the guest\n", '\x01', ESCAPE_NOTHING },
	};
	const char *at = escape_help;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct escape escape = { .pending = true };
		enum escape_action action = ESCAPE_NOTHING;
		uint8_t guest = 0;

		cr_expect_eq(strncmp(at, keys[i].line, strlen(keys[i].line)), 0, "%s", at);
		at += strlen(keys[i].line);
		cr_expect_eq(escape_take(&escape, (uint8_t)keys[i].key, &guest, &action),
		             keys[i].key == '\x01');
		cr_expect_eq(action, keys[i].action, "%s", keys[i].line);
	}
	cr_expect_eq(*at, '\0');
}

/* The frame of the script for zsh, which no shell here reads: it is for axvm, knows the VMs, and is
 * given its words. */
Test(launch_words, completion_for_zsh)
{
	static const char *const parts[] = {
		"#compdef axvm\n",
		("local -aU vms=(${AXVM_RUNTIME_DIR:-${XDG_RUNTIME_DIR:-/run}/axvm}/*.sock(N=:t:r) \\\n"
		 "\t\t${AXVM_RUNTIME_DIR:-/run/axvm}/*.sock(N=:t:r))\n\tprint -- $vms\n"),
		"_axvm_value() {\n\tcase \"$1 $2\" in\n",
		"\t\t'run:start a VM, with its console on this terminal'\n",
		"if ((CURRENT == 2)); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n",
		"if value=$(_axvm_value \"$verb\" \"$previous\"); then\n\t\tif [[ $value == file ]]; then\n\t\t\t_files\n",
		"\tcompletion)\n\t\tflags=\"\"\n\t\tfirst=\" bash zsh\"\n\t\t;;\n",
		"_axvm \"$@\"\n",
	};
	struct said said = axvm_say("completion zsh", -1);
	const char *at = said.out;

	cr_expect_eq(said.status, 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *next = strstr(at, parts[i]);

		cr_assert_not_null(next, "%s", parts[i]);
		cr_expect(i > 0 || next == at, "at its very beginning");
		at = next + strlen(parts[i]);
	}
	cr_expect_eq(*at, '\0');
	said_done(&said);
}

/* The path of a launch's events. */
static char *events_file(char path[PATH_MAX])
{
	uint8_t bytes[1024];
	size_t size = protoc_encode(
		"EventStream",
		"events { monotonic_ns: 1000 stage_completed { stage: STAGE_LEARN } } "
		"events { monotonic_ns: 2000 stage_completed { stage: STAGE_BUILD } } "
		"events { monotonic_ns: 3000 terminal { } }",
		bytes, sizeof(bytes));
	int fd;

	snprintf(path, PATH_MAX, "%s/events", sockets.root);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
	close(fd);
	return path;
}

/* A verb's own status says more than that its words were lost: how a VM ended, for instance. */
Test(launch_words, output_that_is_lost_leaves_a_failure_its_status)
{
	static const int rows[][2] = { { 0, EX_IOERR }, { EX_NOINPUT, EX_NOINPUT }, { 137, 137 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct output output;
		int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

		cr_assert_geq(fd, 0);
		cr_assert_eq(output_open(&output, fd), 0);
		fputs("word", output.file);
		cr_expect_eq(output_end(&output, rows[i][0]), rows[i][1]);
		close(fd);
	}
}

/* `axvm LINE` with `fd` as its standard output, and EVENTS the name of a file: what it says on
 * standard error. */
static char *say_to(int fd, const char *line, int *ret_status)
{
	char copy[256], path[PATH_MAX], *argv[8] = { (char[]){ "axvm" } };
	struct output output;
	int opened = output_open(&output, fd), caught = memfd_create("err", MFD_CLOEXEC);
	int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10), argc = 1;
	char *text = calloc(1, 4096);

	cr_assert_eq(opened, 0);
	cr_assert(caught >= 0 && before >= 0 && text);
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = strcmp(word, "EVENTS") == 0 ? events_file(path) : word;
	fflush(stderr);
	cr_assert_eq(dup2(caught, STDERR_FILENO), STDERR_FILENO);
	*ret_status = output_end(&output, verb_main(argc, argv, output.file));
	fflush(stderr);
	cr_assert_eq(dup2(before, STDERR_FILENO), STDERR_FILENO);
	cr_assert_geq(pread(caught, text, 4095, 0), 0);
	close(before);
	close(caught);
	return text;
}

static const char *const printing[] = {
	"help",
	"--help",
	"run --help",
	"version",
	"completion bash",
	"completion zsh",
	"policy table",
	"policy ring",
	"policy check vcpu read",
	"top --once",
	"run --dry-run tests/specs/spin.txtpb",
	"events EVENTS",
	"events --json EVENTS",
	"timeline EVENTS",
	"probe",
	"probe --json",
	"probe --text",
	"probe --binary",
	"admit",
	"admit --json",
	"host",
	"host --json",
};

/* Output that nobody takes is no success, and each verb says so in the same words, once. */
Test(launch_words, output_that_is_lost)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	cr_assert_geq(full, 0);
	for (size_t i = 0; i < ARRAY_SIZE(printing); i++) {
		int status;
		char *err = say_to(full, printing[i], &status);

		cr_expect_eq(status, 74, "%s: %d", printing[i], status);
		cr_expect_str_eq(err,
		                 "axvm: cannot write to standard output: No space left on device\n",
		                 "%s: %s", printing[i], err);
		free(err);
	}
	close(full);
}

/* The number is free, and the next file that is opened has it: nothing is written there. */
Test(launch_words, output_is_closed)
{
	int number = open("/dev/null", O_RDONLY | O_CLOEXEC), status;
	char *err;

	cr_assert_geq(number, 0);
	close(number);
	err = say_to(number, "version", &status);
	cr_expect_eq(status, 74);
	cr_expect_str_eq(err, "axvm: cannot write to standard output: Bad file descriptor\n");
	free(err);
}

/* A reader that has seen enough is not told of it. */
Test(launch_words, output_whose_reader_is_gone)
{
	int fds[2], status;
	char *err;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	err = say_to(fds[1], "help", &status);
	cr_expect_eq(status, 74);
	cr_expect_str_empty(err);
	free(err);
	close(fds[1]);
}

/* What a verb itself could not do keeps its status and its words. */
Test(launch_words, output_that_is_taken)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), status;
	char *err = say_to(null, "policy check vcpu no_such_call", &status);

	cr_expect_neq(status, 0);
	cr_expect_neq(status, 74);
	cr_expect_null(strstr(err, "standard output"));
	free(err);
	close(null);
}
