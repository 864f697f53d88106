/* SPDX-License-Identifier: MIT */
/* The table of verbs, and `axvm help`. */
#include "launch/cli/verb.h"

#include <string.h>
#include <sysexits.h>

#include "launch/axvm.h"
#include "launch/cli/admit.h"
#include "launch/cli/host.h"
#include "launch/cli/policy.h"
#include "launch/cli/probe.h"

static const struct flag probe_rows[] = {
	{ .name = "table" }, { .name = "json" }, { .name = "text" }, { .name = "binary" }
};
static const struct flags probe_flags = { "probe", probe_rows, ARRAY_SIZE(probe_rows) };

static const struct flag admit_rows[] = {
	{ .name = "profile", .value = FLAG_TEXT },
	{ .name = "tenancy", .value = FLAG_TEXT },
	{ .name = "facts", .value = FLAG_FILE },
	{ .name = "json" },
};
static const struct flags admit_flags = { "admit", admit_rows, ARRAY_SIZE(admit_rows) };

static const char *const policy_words[] = { "table", "bpf",     "digest", "oci", "raw", "ring",
	                                    "check", "control", "vcpu",   "io",  NULL };
static const char *const shells[] = { "bash", "zsh", NULL };

static int cmd_version(int argc, char **argv, FILE *out)
{
	(void)argv;
	if (argc > 1) {
		fputs("axvm version: takes no words\n", stderr);
		return EX_USAGE;
	}
	fprintf(out, "axvm %s\n", axvm_version());
	return fflush(out) == 0 ? EX_OK : EX_IOERR;
}

static int cmd_help(int argc, char **argv, FILE *out);

static const struct verb table[] = {
	{ .name = "run",
	  .summary = "start a VM, with its console on this terminal",
	  .flags = &run_flags,
	  .takes_file = true,
	  .run = axvm_cmd_run,
	  .help = "usage: axvm run SPEC.txtpb|SPEC.pb [OPTION]...\n"
	          "       axvm run --kernel FILE [OPTION]...\n"
	          "  --kernel FILE  --initrd FILE  --cmdline TEXT   Linux: bzImage or ELF\n"
	          "  --flat FILE             a bare-metal image instead\n"
	          "  --cpus N[,pin=0-3][,dedicated]                 1 vCPU unless given\n"
	          "  --memory SIZE[,huge=2M|1G|thp][,populate][,lock]  512M unless given\n"
	          "  --node N                host NUMA node of the memory\n"
	          "  --disk FILE[,ro][,direct][,id=ID][,serial=S][,queues=N][,queue_size=N]\n"
	          "         [,max-size=SIZE][,discard=false][,format=raw]\n"
	          "  --net TAP[,id=ID][,mac=MAC][,mtu=N][,queues=N][,queue_size=N][,offloads=false]\n"
	          "        [,vhost]\n"
	          "  --vsock CID[,socket=PATH]  --rng  --balloon  --no-console  --early-console\n"
	          "  --id NAME  --profile NAME  --report            profile \"xv2\" unless given\n"
	          "  --pv LIST     kvmclock,eoi,unhalt,tlb,ipi,steal,async_pf,poll,yield; or none\n"
	          "  --on-exit shutdown|stop|keep                   when this program ends\n"
	          "  --set TEXT              any field: --set 'cpus { fifo_priority: 1 }'\n"
	          "  --events text|json|pb|none[:FILE]              what happens, to stderr\n"
	          "  --metrics-file FILE     for Prometheus' text collector, every 5 s\n"
	          "  --control-socket PATH|none                     where `axvm ctl` connects\n"
	          "  --dry-run  print the spec and start nothing    --shim FILE  --quiet\n"
	          "  --claims DIR|--no-claims                       where host CPUs are claimed\n"
	          "SIGINT or SIGTERM: the power button; later again: stop. On a terminal, Ctrl-A h\n"
	          "lists keys. The exit status is the VM's: 0 off or halted, 32 reset, 33\n"
	          "triple fault, 34 panic, 36 stopped; 64 to 77 as in sysexits.h. See axvm(1).\n" },
	{ .name = "ctl",
	  .summary = "command a running VM",
	  .flags = &ctl_flags,
	  .words = ctl_words,
	  .takes_vm = true,
	  .run = axvm_cmd_ctl,
	  .help = "usage: axvm ctl [--json] [--timeout SECONDS] VM|SOCKET COMMAND\n"
	          "  status                  its state\n"
	          "  metrics                 its counters and histograms\n"
	          "  pause, resume           stop its vCPUs and devices for a while\n"
	          "  shutdown [SECONDS]      press the power button; after that time, stop\n"
	          "  stop                    end it now\n"
	          "  balloon SIZE            what the guest is to be left with, and has\n"
	          "  limit DEVICE [tx] [bytes=N] [ops=N] [burst=N]\n"
	          "                          bytes and operations a second; nothing: no limit.\n"
	          "                          tx: of a net. burst: of the bytes, without bytes= of\n"
	          "                          the operations. N may end in K, M or G\n"
	          "  resize DISK             tell the guest the image's new size\n"
	          "  nmi                     a non-maskable interrupt to vCPU 0\n"
	          "  console-size COLUMNS ROWS\n"
	          "A VM is named by its id if `axvm run` started it, with its control socket in\n"
	          "$XDG_RUNTIME_DIR/axvm, or in /run/axvm where services have theirs. The exit\n"
	          "status is 0, that of the error, 66 when there is no such VM, or 75 when it does\n"
	          "not answer in time (10 s).\n" },
	{ .name = "top",
	  .summary = "the VMs on this host: CPU, exits, memory, I/O",
	  .flags = &top_flags,
	  .run = axvm_cmd_top,
	  .help = "usage: axvm top [--once] [--interval SECONDS]\n"
	          "Lists the VMs whose control sockets are in $XDG_RUNTIME_DIR/axvm and in\n"
	          "/run/axvm, where services have theirs. On a terminal the list is refreshed,\n"
	          "every 2 s unless --interval is given; q or Ctrl-C ends it. It shows as many as\n"
	          "have room there, and how many there are beside. When piped, or with --once, all\n"
	          "are printed, once, with the rates of one second.\n" },
	{ .name = "host",
	  .summary = "this host's cores: what VMs have claimed, and which VMs are there",
	  .flags = &host_flags,
	  .run = axvm_cmd_host,
	  .help = "usage: axvm host [--json]\n"
	          "A line a core, by node; cores side by side that have the same are one line:\n"
	          "how many, their CPUs, how many vCPUs and I/O threads have claimed each of a\n"
	          "core's CPUs (\"whole\": a DEDICATED VM has them alone), and the VMs whose threads\n"
	          "are bound there. Claims are those in /run/axvm/claims, or $AXVM_CLAIMS_DIR.\n"
	          "They have no names: VMs are those with a control socket, where `axvm top` looks.\n"
	          "--json prints axvm.v1.HostUse. The exit status is 0, also where there is no\n"
	          "folder of claims; 69 when there is one that cannot be looked at.\n" },
	{ .name = "events",
	  .summary = "decode an event stream",
	  .flags = &events_flags,
	  .takes_file = true,
	  .run = axvm_cmd_events,
	  .help = "usage: axvm events [--json | --text] [-f | --follow] FILE|-\n"
	          "Prints what a shim has written to fd 4, one line an event; with --json one\n"
	          "object a line, with --text protobuf text. --follow waits for more until the\n"
	          "terminal event. The exit status is 0; 65 when the file is no EventStream or\n"
	          "ends inside an event.\n" },
	{ .name = "probe",
	  .summary = "what this host is",
	  .flags = &probe_flags,
	  .run = axvm_cmd_probe,
	  .help = "usage: axvm probe [--table | --json | --text | --binary]\n"
	          "Processors, virtualization, NUMA nodes, KVM and its parameters. --text and\n"
	          "--binary write HostFacts, which `axvm admit --facts` reads.\n" },
	{ .name = "admit",
	  .summary = "hold this host against a hardware profile",
	  .flags = &admit_flags,
	  .run = axvm_cmd_admit,
	  .help = "usage: axvm admit [--profile NAME] [--tenancy NAME] [--facts FILE] [--json]\n"
	          "Lists what the profile (xv2 unless given) asks and what the host has, for a VM\n"
	          "whose --tenancy is \"shared\" (unless given) or \"dedicated\". With\n"
	          "--facts the host is one whose facts were written to a file; \"-\" is standard\n"
	          "input. The exit status is 0 when admitted, 69 when refused.\n" },
	{ .name = "plan",
	  .summary = "what a launch would be given on this host",
	  .flags = &plan_flags,
	  .takes_file = true,
	  .run = axvm_cmd_plan,
	  .help = "usage: axvm plan [--facts FILE] [--shim FILE] SPEC.txtpb|SPEC.pb\n"
	          "What a launch of the spec would get here and now, as the shim that would launch\n"
	          "it says: whether the profile is met, CPUs, nodes, page sizes, the guest's memory\n"
	          "map, devices with their vectors, ACPI tables, and the digest that the launch's\n"
	          "`running` event would carry. Same spec and facts, same output. With --facts the\n"
	          "host is the one of `axvm probe --text >FILE`. No VM is started, and\n"
	          "no KVM is needed but for CPUID and the digest. The exit status is 0, 65 for a\n"
	          "spec that is not valid, 69 when the host is refused, cannot give what is asked,\n"
	          "or has no KVM.\n" },
	{ .name = "policy",
	  .summary = "show the system call policies, and ask them questions",
	  .words = policy_words,
	  .run = axvm_cmd_policy,
	  .help = "usage: axvm policy [table|bpf|digest] [ROLE]\n"
	          "       axvm policy oci|raw ROLE\n"
	          "       axvm policy ring\n"
	          "       axvm policy check ROLE SYSCALL [ARG...]\n"
	          "ROLE: control, vcpu, io. ARG: a number, or a symbol of the policies.\n"
	          "check: the exit status is 0 when allowed, 1 when denied.\n" },
	{ .name = "timeline",
	  .summary = "draw a launch as a picture",
	  .flags = &timeline_flags,
	  .takes_file = true,
	  .run = axvm_cmd_timeline,
	  .help = "usage: axvm timeline EVENTS.pb|- [--output FILE.svg]\n"
	          "Draws the stages of a launch from its event stream, a bar a stage, as an SVG\n"
	          "that needs nothing else. `axvm run --events pb:EVENTS.pb` writes one.\n" },
	{ .name = "completion",
	  .summary = "print completion for a shell",
	  .words = shells,
	  .run = axvm_cmd_completion,
	  .help = "usage: axvm completion bash|zsh\n"
	          "To try it: source <(axvm completion bash)\n" },
	{ .name = "version",
	  .summary = "print the version",
	  .run = cmd_version,
	  .help = "usage: axvm version\n" },
	{ .name = "help",
	  .summary = "explain a verb",
	  .run = cmd_help,
	  .help = "usage: axvm help [VERB]\n" },
};

const struct verb *verbs(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(table);
	return table;
}

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static void overview(FILE *out)
{
	fputs("usage: axvm VERB [WORD]...\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		fprintf(out, "  %-12s%s\n", table[i].name, table[i].summary);
	fputs("`axvm VERB --help` explains one; axvm(1) explains all.\n", out);
}

static int unknown(const char *name)
{
	fprintf(stderr, "axvm: there is no verb \"%s\"; `axvm help` lists them\n", name);
	return EX_USAGE;
}

static int cmd_help(int argc, char **argv, FILE *out)
{
	const struct verb *verb = argc > 1 ? verb_find(argv[1]) : NULL;

	if (argc > 1 && !verb)
		return unknown(argv[1]);
	if (verb)
		fputs(verb->help, out);
	else
		overview(out);
	return fflush(out) == 0 ? EX_OK : EX_IOERR;
}

int verb_main(int argc, char **argv, FILE *out)
{
	char help[] = "help", *only_help[] = { help, NULL };
	const struct verb *verb;

	if (argc < 2) {
		overview(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cmd_help(1, only_help, out);
	verb = verb_find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
	if (!verb)
		return unknown(argv[1]);
	for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || (i == 2 && strcmp(argv[i], "-h") == 0))
			return cmd_help(2, (char *[]){ help, argv[1], NULL }, out);
	return verb->run(argc - 1, argv + 1, out);
}
