/* SPDX-License-Identifier: MIT */
/* The `axvm` command and its files: facts and specs as text and as bytes, from a file and from
 * standard input; the whole of what `axvm plan` and `axvm policy` make of them. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "host/facts_proto.h"
#include "launch/axvm.h"
#include "launch/cli/stable_mac.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"
#include "sandbox/policy/eval.h"
#include "sandbox/policy/symbols.h"
#include "shim/plan.h"
#include "shim/shim.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/protoc.h"

static struct fixture_tree tree;
static char *facts_text; /* of a host that a launch can be planned on */
static uint8_t facts_bytes[64 * KIB];
static size_t facts_size;

static void make_facts(void)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	Axvm__V1__HostFacts *message;
	size_t size;
	FILE *out = open_memstream(&facts_text, &size);

	fixture_guest_leaves(facts);
	cr_assert_eq(facts_to_message(facts, &message), 0);
	text_print(out, &message->base);
	fclose(out);
	facts_size = axvm__v1__host_facts__get_packed_size(message);
	cr_assert(strlen(facts_text) > 64 * KIB && facts_size <= sizeof(facts_bytes), "%zu bytes",
	          strlen(facts_text));
	axvm__v1__host_facts__pack(message, facts_bytes);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	fixture_tree_new(&tree);
	fixture_tree_write(&tree, "facts", "%s", facts_text);
}

static void end(void)
{
	fixture_tree_done(&tree);
	free(facts_text);
}

TestSuite(launch_files, .init = make_facts, .fini = end, .timeout = 120);

static void write_bytes(const char *name, const void *bytes, size_t n)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", tree.root, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

/* `format` has one %s: the folder. */
static struct said say(const char *format, int input)
{
	char line[256];

	snprintf(line, sizeof(line), format, tree.root, tree.root);
	return axvm_say(line, input);
}

/* ---- facts ----------------------------------------------------------------------------------- */

/* As text and as bytes, from a file and standard input: the same host. */
Test(launch_files, facts_in_each_form)
{
	int inputs[] = { -1, -1, axvm_say_input(facts_text, strlen(facts_text)),
		         axvm_say_input(facts_bytes, facts_size) };
	static const char *const lines[] = { "admit --facts %s/facts", "admit --facts %s/facts.pb",
		                             "admit --facts -", "admit --facts -" };
	char *first = NULL;

	write_bytes("facts.pb", facts_bytes, facts_size);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct said said = say(lines[i], inputs[i]);
		char *rows = strchr(said.out, '\n'); /* behind the name of the file */

		cr_expect_eq(said.status, 0, "%s: %s%s", lines[i], said.err, said.out);
		cr_assert_not_null(rows, "%s", said.err);
		cr_expect_eq(strncmp(said.out, i < 2 ? "profile xv2, /tmp/" : "profile xv2, -\n",
		                     15),
		             0, "%s", said.out);
		if (first)
			cr_expect_str_eq(rows, first);
		else
			first = strdup(rows);
		said_done(&said);
		if (inputs[i] >= 0)
			close(inputs[i]);
	}
	free(first);
}

#define FACTS                                                                                                  \
	"HostFacts has cpus, vmx, nodes, vulnerabilities, kernel_release, kvm, microcode, flags, hypervisor, " \
	"distances, quick, hypervisor_vendor, x2apic_enabled, offers"

/* What is neither, by each way in: told as what it is, with the line where there are lines. */
Test(launch_files, facts_that_are_none)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *says;
	} wrong[] = {
		{ "kernel_release: \"a\"\n\ncolour: 3\n", 31,
		  "%s: -:3:1: colour: there is no such field; " FACTS "\n" },
		{ "\x1a\x7f", 2,
		  "%s: -: is not an axvm.v1.HostFacts; `axvm probe --text` writes one\n" },
		{ "\x01", 1,
		  "%s: -: is not an axvm.v1.HostFacts; `axvm probe --text` writes one\n" },
		/* A control character is none of text's, but these three are. */
		{ "\r\n\t \n", 5,
		  "%s: -: is not an axvm.v1.HostFacts; `axvm probe --text` writes one\n" },
		{ "\r\n\t colour", 10, "%s: -:2:3: colour: there is no such field; " FACTS "\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		for (int plan = 0; plan < 2; plan++) {
			int input = axvm_say_input(wrong[i].bytes, wrong[i].n);
			struct said said = axvm_say(plan ? "plan --facts - tests/specs/spin.txtpb"
			                                 : "admit --facts -",
			                            input);
			char says[512];

			snprintf(says, sizeof(says), wrong[i].says,
			         plan ? "axvm plan" : "axvm admit");
			cr_expect_eq(said.status, 65, "%zu: %d", i, said.status);
			cr_expect_str_eq(said.err, says, "%zu: %s", i, said.err);
			cr_expect_str_eq(said.out, "");
			said_done(&said);
			close(input);
		}
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* The same at each asking; another for another TAP and for another machine. Known ones stay what
 * they are. */
Test(launch_files, the_address_of_a_net_without_a_name)
{
	static const struct {
		const char *file, *id;
	} machines[] = {
		{ "etc/machine-id", "0123456789abcdef0123456789abcdef\n" },
		{ "etc/machine-id", "1123456789abcdef0123456789abcdef\n" },
		{ "etc/machine-id", "uninitialized\n" },
		{ "etc/machine-id", "\n" },
		{ "etc/machine-id", "" },
	};
	struct fixture_tree host;
	char first[MAC_TEXT_MAX], mac[MAC_TEXT_MAX];

	fixture_tree_new(&host);
	cr_assert_eq(stable_mac(host.root, "tap0", mac), -ENOENT);
	fixture_tree_write(&host, machines[0].file, "%s", machines[0].id);
	cr_assert_eq(stable_mac(host.root, "tap0", first), 0);
	cr_expect_str_eq(first, "ca:96:61:05:9e:4c", "an address must not change: %s", first);
	cr_assert_eq(stable_mac(host.root, "tap0", mac), 0);
	cr_expect_str_eq(mac, first);
	cr_assert_eq(stable_mac(host.root, "tap1", mac), 0);
	cr_expect_neq(strcmp(mac, first), 0);
	cr_expect(strtoul(mac, NULL, 16) % 4 == 2, "locally administered, unicast: %s", mac);
	fixture_tree_write(&host, machines[1].file, "%s", machines[1].id);
	cr_assert_eq(stable_mac(host.root, "tap0", mac), 0);
	cr_expect_neq(strcmp(mac, first), 0);
	/* What all copies of an image have is no identity; what comes after it is. */
	for (size_t i = 2; i < ARRAY_SIZE(machines); i++) {
		fixture_tree_write(&host, machines[i].file, "%s", machines[i].id);
		cr_expect_eq(stable_mac(host.root, "tap0", mac), -ENOENT, "row %zu", i);
	}
	fixture_tree_write(&host, "proc/sys/kernel/random/boot_id", "%s", machines[0].id);
	cr_assert_eq(stable_mac(host.root, "tap0", mac), 0);
	cr_expect_str_eq(mac, first);
	fixture_tree_done(&host);
}

/* The nets of `axvm run LINE --dry-run`. */
static char *nets_of(const char *line)
{
	char command[256], *nets;
	struct said said;

	snprintf(command, sizeof(command), "run --kernel k --dry-run %s", line);
	said = axvm_say(command, -1);
	cr_assert_eq(said.status, 0, "%s", said.err);
	nets = strstr(said.out, "nets {");
	nets = strdup(nets ? nets : "");
	*strstr(nets, "lifecycle") = '\0';
	said_done(&said);
	return nets;
}

/* The same command has the same address; what is said is not replaced, and a named VM's is the
 * shim's. */
Test(launch_files, nets_of_unnamed_vms_keep_their_addresses)
{
	char here[MAC_TEXT_MAX], wanted[64], *first, *again, *two, *named, *given;

	cr_assert_eq(stable_mac("", "tap0", here), 0);
	first = nets_of("--net tap0");
	again = nets_of("--net tap0");
	snprintf(wanted, sizeof(wanted), "mac: \"%s\"", here);
	cr_expect_not_null(strstr(first, wanted), "%s", first);
	cr_expect_str_eq(first, again);
	two = nets_of("--net tap1 --net tap0");
	cr_expect_not_null(strstr(two, wanted), "%s", two);
	cr_expect_null(strstr(strstr(two, here) + 1, here), "one for each: %s", two);
	named = nets_of("--net tap0 --id web");
	cr_expect_null(strstr(named, "mac:"), "%s", named);
	given = nets_of("--net tap0,mac=02:00:00:00:00:07");
	cr_expect_not_null(strstr(given, "mac: \"02:00:00:00:00:07\""), "%s", given);
	cr_expect_null(strstr(given, here));
	free(first);
	free(again);
	free(two);
	free(named);
	free(given);
}

/* ---- probe ----------------------------------------------------------------------------------- */

/* This host in each of its formats: the bytes are what protoc makes of the text. */
Test(launch_files, probe_in_each_format)
{
	struct said table = axvm_say("probe", -1), also = axvm_say("probe --table", -1);
	struct said json = axvm_say("probe --json", -1), text = axvm_say("probe --text", -1);
	struct said binary = axvm_say("probe --binary", -1),
		    last = axvm_say("probe --json --text --table", -1);
	Axvm__V1__HostFacts *message;

	cr_expect_eq(table.status | also.status | json.status | text.status | binary.status |
	                     last.status,
	             0);
	cr_expect_not_null(strstr(table.out, "processor        "), "%s", table.out);
	cr_expect_not_null(strstr(also.out, "processor        "));
	cr_expect_not_null(strstr(last.out, "processor        "));
	cr_expect_eq(strncmp(json.out, "{\n  \"", 5), 0, "%s", json.out);
	cr_expect_not_null(strstr(text.out, "cpus {\n"));
	cr_expect_null(strstr(text.out, "\"cpus\""));
	message = axvm__v1__host_facts__unpack(NULL, binary.out_size, (const uint8_t *)binary.out);
	cr_assert_not_null(message);
	cr_expect(message->n_cpus > 0 && message->kernel_release && message->kernel_release[0]);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	said_done(&table);
	said_done(&also);
	said_done(&json);
	said_done(&text);
	said_done(&binary);
	said_done(&last);
}

/* ---- specs ----------------------------------------------------------------------------------- */

/* Text by three names, bytes by any other and from standard input. */
Test(launch_files, specs_in_each_form)
{
	static const char text[] = "launch { vm_id: 'v' cpus { count: 7 } }";
	static const char *const texts[] = { "a.txtpb", "a.textproto", "a.textpb" },
				 *const other[] = { "a.pb", "a" };
	static const char wanted[] = "launch {\n  vm_id: \"v\"\n  cpus { count: 7 }\n"
				     "  lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }\n}\n";
	uint8_t bytes[256];
	size_t n = protoc_encode("ControlStream", text, bytes, sizeof(bytes));
	int input = axvm_say_input(bytes, n);
	struct said said;
	char line[64];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		write_bytes(texts[i], text, strlen(text));
		snprintf(line, sizeof(line), "run --dry-run %%s/%s", texts[i]);
		said = say(line, -1);
		cr_expect_eq(said.status, 0, "%s: %s", line, said.err);
		cr_expect_str_eq(said.out, wanted, "%s", said.out);
		said_done(&said);
	}
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		write_bytes(other[i], bytes, n);
		snprintf(line, sizeof(line), "run --dry-run %%s/%s", other[i]);
		said = say(line, -1);
		cr_expect_eq(said.status, 0, "%s: %s", line, said.err);
		cr_expect_str_eq(said.out, wanted, "%s", said.out);
		said_done(&said);
	}
	said = axvm_say("run --dry-run -", input);
	cr_expect_eq(said.status, 0, "%s", said.err);
	cr_expect_str_eq(said.out, wanted, "%s", said.out);
	said_done(&said);
	close(input);
	/* A stream without a launch, and one with what no message has. */
	write_bytes("a.pb", "\x12\x00", 2);
	said = say("plan %s/a.pb", -1);
	cr_expect_eq(said.status, 65);
	cr_expect_not_null(strstr(said.err, "no launch in it"), "%s", said.err);
	said_done(&said);
	/* Text that no name says to be text. */
	input = axvm_say_input("launch { vm_id: 'piped' }", 25);
	said = axvm_say("run --dry-run -", input);
	cr_expect_eq(said.status, 0, "%s", said.err);
	cr_expect_not_null(strstr(said.out, "vm_id: \"piped\""), "%s", said.out);
	said_done(&said);
	lseek(input, 0, SEEK_SET);
	said = axvm_say("run --dry-run /dev/stdin", input);
	cr_expect_eq(said.status, 0, "%s", said.err);
	said_done(&said);
	close(input);
	input = axvm_say_input("launch { vm_ib: 'piped' }", 25);
	said = axvm_say("run --dry-run -", input);
	cr_expect_eq(said.status, 65);
	cr_expect_not_null(strstr(said.err, "vm_ib"), "%s", said.err);
	said_done(&said);
	close(input);
	write_bytes("a.txtpb", "launch {\n\n cpus { cuont: 1 } }", 30);
	said = say("plan %s/a.txtpb", -1);
	cr_expect_eq(said.status, 65);
	cr_expect_not_null(
		strstr(said.err,
	               "/a.txtpb:3:9: launch.cpus.cuont: there is no such field; Cpus has count, pins, "),
		"%s", said.err);
	said_done(&said);
}

/* What protobuf-c passes over: in binary specs as in text, and as the shim says it. */
Test(launch_files, a_binary_spec_with_something_twice)
{
	/* launch { vm_id: "a" vm_id: "b" boot { linux_boot { kernel { path: "/n" } } flat { image {
	 * path: "x" } } } 127: 1 } */
	static const uint8_t bytes[] = { 0x0a, 0x1a, 0x0a, 1, 'a',  0x0a, 1,    'b', 0x32, 0x0f,
		                         0x0a, 6,    0x0a, 4, 0x12, 2,    '/',  'n', 0x12, 5,
		                         0x0a, 3,    0x12, 1, 'x',  0xf8, 0x07, 1 };
	static const char *const lines[] = { "run - --dry-run", "plan -" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int input = axvm_say_input(bytes, sizeof(bytes));
		struct said said = axvm_say(lines[i], input);

		cr_expect_eq(said.status, 65, "%s: %s", lines[i], said.err);
		cr_expect_not_null(
			strstr(said.err,
		               ": -: launch.vm_id is there twice; remove one of the two\n"),
			"%s", said.err);
		cr_expect_not_null(
			strstr(said.err,
		               ": launch.boot.flat_boot and its alternative linux_boot are both there; remove one of the two\n"),
			"%s", said.err);
		cr_expect_not_null(
			strstr(said.err,
		               ": launch: unknown field 127; remove it, or use a shim that knows it\n"),
			"%s", said.err);
		cr_expect_str_eq(said.out, "");
		said_done(&said);
		close(input);
	}
}

/* As large as a spec and its header can be, and a byte more. */
Test(launch_files, the_largest_spec)
{
	static const char head[] = "launch { vm_id: 'v' }";
	size_t most = (size_t)AXVM_MESSAGE_MAX + 63;
	char *text = malloc(most + 1);
	struct said said;

	memset(text, ' ', most + 1);
	memcpy(text, head, strlen(head));
	write_bytes("a.txtpb", text, most);
	said = say("run --dry-run %s/a.txtpb", -1);
	cr_expect_eq(said.status, 0, "%s", said.err);
	said_done(&said);
	write_bytes("a.txtpb", text, most + 1);
	said = say("run --dry-run %s/a.txtpb", -1);
	cr_expect_eq(said.status, 65);
	cr_expect_not_null(strstr(said.err, "larger than a spec can be (1 MiB)\n"), "%s", said.err);
	said_done(&said);
	free(text);
}

/* What flags make, whole. */
Test(launch_files, a_spec_of_every_flag)
{
	struct said said = axvm_say(
		"run --kernel k --initrd i --cmdline c --cpus 3,pin=4-5:7,dedicated --memory 2G,huge=2M,populate,lock --node 1 "
		"--disk d,ro,direct,id=root,serial=s,queues=2,queue_size=64,max-size=1G --disk e "
		"--net t,id=lan,mac=02:00:00:00:00:01,mtu=9000,queues=4,queue_size=512,offloads=false,vhost --net u "
		"--vsock 5,socket=x --rng --balloon --early-console --id web --profile dev --report --pv kvmclock,eoi "
		"--on-exit keep --set io{threads_per_node:2} --dry-run",
		-1);

	cr_expect_eq(said.status, 0, "%s", said.err);
	cr_expect_str_eq(said.out,
	                 "launch {\n"
	                 "  vm_id: \"web\"\n"
	                 "  profile: \"dev\"\n"
	                 "  admission: ADMISSION_REPORT\n"
	                 "  cpus {\n"
	                 "    count: 3\n"
	                 "    pins: 4\n"
	                 "    pins: 5\n"
	                 "    pins: 7\n"
	                 "    tenancy: TENANCY_DEDICATED\n"
	                 "    paravirt {\n"
	                 "      features: PV_FEATURE_KVMCLOCK\n"
	                 "      features: PV_FEATURE_EOI\n"
	                 "    }\n"
	                 "  }\n"
	                 "  memory {\n"
	                 "    nodes { size_mib: 2048 host_node: 1 }\n"
	                 "    page_size: PAGE_SIZE_2M\n"
	                 "    populate: true\n"
	                 "    lock: true\n"
	                 "  }\n"
	                 "  boot {\n"
	                 "    linux_boot {\n"
	                 "      kernel { path: \"k\" }\n"
	                 "      initrd { path: \"i\" }\n"
	                 "      cmdline: \"c\"\n"
	                 "    }\n"
	                 "  }\n"
	                 "  disks {\n"
	                 "    id: \"root\"\n"
	                 "    image { path: \"d\" }\n"
	                 "    read_only: true\n"
	                 "    serial: \"s\"\n"
	                 "    direct: true\n"
	                 "    queues: 2\n"
	                 "    queue_size: 64\n"
	                 "    max_size: 1073741824\n"
	                 "  }\n"
	                 "  disks {\n"
	                 "    id: \"disk1\"\n"
	                 "    image { path: \"e\" }\n"
	                 "  }\n"
	                 "  nets {\n"
	                 "    id: \"lan\"\n"
	                 "    tap_name: \"t\"\n"
	                 "    mac: \"02:00:00:00:00:01\"\n"
	                 "    queue_pairs: 4\n"
	                 "    queue_size: 512\n"
	                 "    mtu: 9000\n"
	                 "    offloads: false\n"
	                 "    vhost { path: \"/dev/vhost-net\" }\n"
	                 "  }\n"
	                 "  nets { id: \"net1\" tap_name: \"u\" }\n"
	                 "  console { early: true }\n"
	                 "  rng { }\n"
	                 "  balloon { }\n"
	                 "  vsock { cid: 5 }\n"
	                 "  lifecycle { on_control_eof: ON_CONTROL_EOF_KEEP_RUNNING }\n"
	                 "  io { threads_per_node: 2 }\n"
	                 "}\n",
	                 "%s", said.out);
	said_done(&said);
}

/* What --set says is in the place of a default, and beside what --memory says. */
Test(launch_files, defaults_give_way)
{
	struct said said = axvm_say(
		"run --flat f --dry-run --set vm_id:'z' --set cpus{count:2} "
		"--set memory{nodes{size_mib:32}} --set lifecycle{on_control_eof:ON_CONTROL_EOF_STOP}",
		-1);

	cr_expect_eq(said.status, 0, "%s", said.err);
	cr_expect_str_eq(said.out,
	                 "launch {\n"
	                 "  vm_id: \"z\"\n"
	                 "  cpus { count: 2 }\n"
	                 "  memory {\n"
	                 "    nodes { size_mib: 32 }\n"
	                 "  }\n"
	                 "  boot {\n"
	                 "    flat_boot {\n"
	                 "      image { path: \"f\" }\n"
	                 "    }\n"
	                 "  }\n"
	                 "  lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }\n"
	                 "}\n",
	                 "%s", said.out);
	said_done(&said);
	said = axvm_say(
		"run --flat f --dry-run --memory 64M --node 0 --set memory{nodes{size_mib:32}}",
		-1);
	cr_expect_not_null(strstr(said.out, "nodes { size_mib: 32 }"), "%s", said.out);
	cr_expect_not_null(strstr(said.out, "nodes { size_mib: 64 host_node: 0 }"), "%s", said.out);
	said_done(&said);
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* Digests become #: what they are of is the business of other tests. */
static void hide_digests(char *text)
{
	char *to = text;

	for (const char *at = text; *at;) {
		size_t n = strspn(at, "0123456789abcdef");

		if (n == 64) {
			*to++ = '#';
			at += n;
			continue;
		}
		n = MAX(n, (size_t)1);
		memmove(to, at, n);
		to += n;
		at += n;
	}
	*to = '\0';
}

Test(launch_files, a_plan_whole)
{
	struct said said;

	fixture_tree_write(
		&tree, "spec.txtpb",
		"launch { vm_id: 'p' cpus { count: 2 tenancy: TENANCY_DEDICATED } memory { page_size: PAGE_SIZE_2M nodes { "
		"size_mib: 64 } nodes { size_mib: 32 } } io { threads_per_node: 2 } boot { linux_boot { kernel { fd: 7 } "
		"cmdline: 'a b' } } disks { id: 'a' image { fd: 5 } } nets { id: 'n' tap_name: 't' queue_pairs: 2 } "
		"rng {} }");
	said = say("plan --facts %s/facts %s/spec.txtpb", -1);
	cr_expect_eq(said.status, 0, "%s", said.err);
	hide_digests(said.out);
	cr_expect_str_eq(
		said.out,
		"profile xv2: this host meets it\n"
		"CPUs without a look at other VMs\n"
		" VCPU  APIC ID HOST CPU HOST NODE GUEST NODE\n"
		"    0        0        0         0          0\n"
		"    1        1       12         1          1\n"
		"guest node 0: 64 MiB on host node 0 (chosen here) in 2 MiB pages; I/O thread on CPU 1, 2; distances 10 21\n"
		"guest node 1: 32 MiB on host node 1 (chosen here) in 2 MiB pages; I/O thread on CPU 13, 14; distances 21 10\n"
		"memory 0x000000000000-0x000003ffffff RAM of node 0\n"
		"memory 0x000004000000-0x000005ffffff RAM of node 1\n"
		"memory 0x00000009fc00-0x0000000dffff reserved\n"
		"memory 0x0000000e0000-0x0000000fffff ACPI tables\n"
		"memory 0x0000c0000000-0x0000cfffffff BARs\n"
		"memory 0x0000e0000000-0x0000e00fffff PCI configuration (ECAM)\n"
		"memory 0x0000fee00000-0x0000fee00fff local APIC\n"
		"memory 0x0000fe000000-0x0000fe000fff ACPI registers\n"
		"memory 0x0000fec00000-0x0000fec00fff I/O APIC\n"
		"command line: a b\n"
		"kernel: placed at launch, by files that are not here\n"
		"device 00:01.0 disk a: BAR 0 at 0xc0000000, 1 queue, vectors 0-1 as GSI 24-25, io0\n"
		"device 00:02.0 rng: BAR 0 at 0xc0008000, 1 queue, vectors 0-1 as GSI 26-27, io1\n"
		"device 00:03.0 net n: BAR 0 at 0xc0010000, 5 queues, vectors 0-5 as GSI 28-33, io2\n"
		"table RSDP at 0xe0000, 36 bytes, sha256 #\n"
		"table XSDT at 0xe0030, 76 bytes, sha256 #\n"
		"table DSDT at 0xe0080, 516 bytes, sha256 #\n"
		"table FACP at 0xe0290, 276 bytes, sha256 #\n"
		"table APIC at 0xe03b0, 78 bytes, sha256 #\n"
		"table MCFG at 0xe0400, 60 bytes, sha256 #\n"
		"table SRAT at 0xe0440, 160 bytes, sha256 #\n"
		"table SLIT at 0xe04e0, 48 bytes, sha256 #\n"
		"machine_sha256 #\n",
		"%s", said.out);
	said_done(&said);
}

/* Each table's digest is of that table, as the machine's is of the machine: of the plan that the
 * shim itself makes. */
Test(launch_files, digests_of_a_plan)
{
	static const char spec[] =
		"vm_id: 'p' profile: 'dev' cpus { count: 3 } memory { nodes { size_mib: 64 } nodes { "
		"size_mib: 32 } } boot { linux_boot { kernel { fd: 7 } cmdline: 'a' } } rng {}";
	static struct shim shim;
	const struct acpi_image *acpi = &shim.plan.acpi;
	char lines[4096] = "", hex[SHA256_HEX_SIZE];
	uint8_t bytes[512], digest[SHA256_SIZE];
	size_t n = protoc_encode("LaunchSpec", spec, bytes, sizeof(bytes));
	struct said said;

	fixture_tree_write(&tree, "spec.txtpb", "launch { %s }", spec);
	said = say("plan --facts %s/facts %s/spec.txtpb", -1);
	cr_assert_eq(said.status, 0, "%s", said.err);
	shim.facts = facts_new();
	cr_assert_eq(facts_unpack(facts_bytes, facts_size, shim.facts), 0);
	cr_assert_eq(spec_parse(bytes, n, &shim.spec, &shim.problems), 0);
	cr_assert_eq(profile_load("dev", &shim.profile), 0);
	cr_assert_eq(admit(shim.facts, &shim.profile, plan_tenancy(&shim), &shim.verdict), 0);
	cr_assert_eq(plan_machine(&shim), 0);
	cr_assert_eq(plan_guest(&shim), 0);
	cr_assert_gt(acpi->count, 5);
	for (size_t i = 0; i < acpi->count; i++) {
		const struct acpi_image_table *table = &acpi->tables[i];
		struct sha256 hash;
		size_t at = strlen(lines);

		sha256_begin(&hash);
		sha256_add(&hash, acpi->bytes + table->offset, table->length);
		sha256_end(&hash, digest);
		sha256_hex(digest, hex);
		snprintf(lines + at, sizeof(lines) - at, "table %s at %#x, %u bytes, sha256 %s\n",
		         i == 0 ? "RSDP" : table->signature, 0xe0000 + table->offset, table->length,
		         hex);
	}
	snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "machine_sha256 %s\n",
	         shim.plan.digest);
	cr_expect_not_null(strstr(said.out, lines), "no %s in %s", lines, said.out);
	free(shim.facts);
	said_done(&said);
}

/* The words for each size of page. */
Test(launch_files, plan_of_each_size_of_page)
{
	static const char *const sizes[][2] = {
		{ "PAGE_SIZE_4K", " in 4 KiB pages; " },
		{ "PAGE_SIZE_THP", " in 4 KiB pages, transparent huge ones where there are; " },
		{ "PAGE_SIZE_2M", " in 2 MiB pages; " },
		{ "PAGE_SIZE_1G", " in 1 GiB pages; " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct said said;

		fixture_tree_write(
			&tree, "spec.txtpb",
			"launch { vm_id: 'p' cpus { count: 1 } memory { page_size: %s nodes { "
			"size_mib: 1024 } } boot { flat_boot { image { path: 'i' } } } }",
			sizes[i][0]);
		said = say("plan --facts %s/facts %s/spec.txtpb", -1);
		cr_expect_eq(said.status, 0, "%s", said.err);
		cr_expect_not_null(strstr(said.out, sizes[i][1]), "%s: %s", sizes[i][0], said.out);
		said_done(&said);
	}
}

/* A spec that is none, a profile that is none, a machine that there is no room for: each problem a
 * line, the status the first one's. */
Test(launch_files, plans_that_fail)
{
	static const struct {
		const char *spec;
		int status;
		const char *says;
	} wrong[] = {
		{ "vm_id: 'p' cpus { count: 0 }", 65, "axvm plan: launch.cpus.count " },
		{ "vm_id: 'p' cpus { count: 0 }", 65, "\naxvm plan: launch.boot is missing\n" },
		{ "vm_id: 'p' profile: 'nosuch' cpus { count: 1 } memory { nodes { size_mib: 64 } } boot { flat_boot { image { path: "
		  "'i' } } }",
		  65, "axvm plan: launch.profile is \"nosuch\"; it must be " },
		{ "vm_id: 'p' cpus { count: 200 overcommit: false } memory { nodes { size_mib: 64 } } boot { flat_boot { image { path: "
		  "'i' } } }",
		  69,
		  "axvm plan: cpus.count: guest node 0 asks for 200 CPUs on host node 1, where 24 are free" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct said said;

		fixture_tree_write(&tree, "spec.txtpb", "launch { %s }", wrong[i].spec);
		said = say("plan --facts %s/facts %s/spec.txtpb", -1);
		cr_expect_eq(said.status, wrong[i].status, "%s", said.err);
		cr_expect_not_null(strstr(said.err, wrong[i].says), "%s", said.err);
		said_done(&said);
	}
}

/* ---- policy ---------------------------------------------------------------------------------- */

/* Without a role: each role's view after the other, an empty line between them but for digests; the
 * table has the rings' below it, the digests that of all. */
Test(launch_files, policies_of_all_roles)
{
	static const char *const views[] = { "table", "bpf", "digest" };

	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		char line[64], *text = NULL;
		struct said all, one;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		for (size_t role = 0; role < SANDBOX_ROLE_COUNT; role++) {
			snprintf(line, sizeof(line), "policy %s %s", views[i],
			         sandbox_role_name((enum sandbox_role)role));
			one = axvm_say(line, -1);
			cr_expect_eq(one.status, 0);
			fprintf(out, "%s%s", role > 0 && i < 2 ? "\n" : "", one.out);
			said_done(&one);
		}
		one = axvm_say("policy ring", -1);
		if (i == 0)
			fprintf(out, "\n%s", one.out);
		if (i == 2)
			fprintf(out, "%s  all\n", sandbox_policies_digest_hex);
		fclose(out);
		said_done(&one);
		snprintf(line, sizeof(line), "policy %s", views[i]);
		all = axvm_say(line, -1);
		cr_expect_eq(all.status, 0);
		cr_expect_str_eq(all.out, text, "%s", line);
		said_done(&all);
		if (i == 0) {
			all = axvm_say("policy", -1);
			cr_expect_str_eq(all.out, text);
			said_done(&all);
		}
		free(text);
	}
}

/* An answer has the rule by its line, and how many instructions the filter ran. */
Test(launch_files, a_policys_answer_whole)
{
	static const struct {
		const char *words;
		int32_t nr;
		uint64_t args[6];
		enum sandbox_role role;
	} calls[] = {
		{ "vcpu ioctl 901 0xae80 0", 16, { 901, 0xae80 }, SANDBOX_ROLE_VCPU },
		{ "vcpu ioctl 901 0xae80 1", 16, { 901, 0xae80, 1 }, SANDBOX_ROLE_VCPU },
		{ "control 1 4 5 6 7 8 9", 1, { 4, 5, 6, 7, 8, 9 }, SANDBOX_ROLE_CONTROL },
		{ "io read -1 010", 0, { UINT64_MAX, 8 }, SANDBOX_ROLE_IO },
		{ "io 0x40000000", 0x40000000, { 0 }, SANDBOX_ROLE_IO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct seccomp_data call = sandbox_call(calls[i].nr, calls[i].args);
		const char *role = sandbox_role_name(calls[i].role);
		struct sandbox_verdict verdict;
		struct said said;
		char line[96], wanted[512], steps[48];

		cr_assert_eq(sandbox_policy_evaluate(calls[i].role, &call, &verdict), 0);
		snprintf(line, sizeof(line), "policy check %s", calls[i].words);
		said = axvm_say(line, -1);
		cr_expect_eq(said.status, verdict.rule ? 0 : 1, "%s", line);
		snprintf(steps, sizeof(steps), "; %u instructions\n", verdict.steps);
		if (verdict.rule)
			snprintf(wanted, sizeof(wanted), "allow, by %s.policy:%u \"%s: %s\" (%s)%s",
			         role, verdict.rule->line, verdict.rule->call,
			         verdict.rule->conditions, verdict.rule->reason, steps);
		else
			snprintf(wanted, sizeof(wanted), "deny (%s), by no line of %s.policy%s",
			         i == 4 ? "kill_process" : "trap", role, steps);
		cr_expect_str_eq(said.out, wanted, "%s: %s", line, said.out);
		said_done(&said);
	}
}
