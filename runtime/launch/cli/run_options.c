/* SPDX-License-Identifier: MIT */
/* The options of `axvm run`: a spec from flags, or from a file and flags.
 *
 * A flag that describes the VM (run_flags.c) is a fragment of the spec in protobuf text. The
 * fragment is encoded, and the bytes of all fragments are put one after the other, which by the
 * rules of Protocol Buffers merges messages and appends to lists. --set is a fragment like any. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

#include "launch/cli/run_options.h"
#include "launch/cli/stable_mac.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"

#define FRAGMENT_MAX 16384
#define DEFAULT_MEMORY_MIB 512

int run_complain(const char *format, ...)
{
	va_list args;

	fputs("axvm run: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EX_USAGE;
}

/* Whether a flag may be used with a spec file, whose field it then replaces. */
static bool overrides(const char *flag)
{
	static const char *const flags[] = {
		"set", "id", "profile", "report", "on-exit", "claims"
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(flag, flags[i]) == 0)
			return true;
	return false;
}

int run_add(struct run_options *options, const char *flag, const char *format, ...)
{
	_cleanup_free_ char *text = malloc(FRAGMENT_MAX);
	struct text_error error = { 0 };
	ProtobufCMessage *message = NULL;
	uint8_t *bigger;
	size_t size;
	va_list args;
	int n, r;

	if (!options->first_spec_flag && !overrides(flag))
		options->first_spec_flag = flag;
	if (!text)
		return run_complain("out of memory");
	va_start(args, format);
	n = vsnprintf(text, FRAGMENT_MAX, format, args);
	va_end(args);
	if (n >= FRAGMENT_MAX)
		return run_complain("--%s is too long", flag);
	r = text_parse(text, (size_t)n, &axvm__v1__launch_spec__descriptor, &message, &error);
	if (r == -ENOMEM)
		return run_complain("out of memory");
	/* Line and column help only if the person wrote the text. */
	if (r < 0 && strcmp(flag, "set") == 0)
		return run_complain("--set: line %u, column %u: %s%s%s", error.line, error.column,
		                    error.field, error.field[0] ? ": " : "", error.message);
	if (r < 0)
		return run_complain("--%s: %s: %s", flag, error.field, error.message);
	size = protobuf_c_message_get_packed_size(message);
	bigger = realloc(options->fragments, options->size + size + 1);
	if (bigger) {
		options->fragments = bigger;
		options->size += protobuf_c_message_pack(message, bigger + options->size);
	}
	protobuf_c_message_free_unpacked(message, NULL);
	return bigger ? 0 : run_complain("out of memory");
}

/* Refuses flags that exclude each other: those of Linux and of a flat image, --claims and
 * --no-claims. */
static int check_flags(const struct run_options *options)
{
	if (options->has_claims && options->no_claims)
		return run_complain(
			"--claims and --no-claims exclude each other; remove one of the two");
	if (options->has_flat && options->has_kernel)
		return run_complain(
			"--flat and --kernel exclude each other; remove one of the two");
	if (options->has_flat && options->of_kernel)
		return run_complain("--flat and --%s exclude each other: --%s is for --kernel",
		                    options->of_kernel, options->of_kernel);
	return 0;
}

/* Merges the fragments so far into options->spec. */
static int merge(struct run_options *options)
{
	if (options->spec)
		axvm__v1__launch_spec__free_unpacked(options->spec, NULL);
	options->spec = NULL;
	if (spec_merge(&options->fragments, &options->size) < 0)
		return run_complain("out of memory");
	options->spec = axvm__v1__launch_spec__unpack(NULL, options->size, options->fragments);
	return options->spec ? 0 : run_complain("out of memory");
}

/* Adds the one node of --memory, or one of 512 MiB if --set lists none either. */
static int fill_in_memory(struct run_options *options)
{
	const Axvm__V1__Memory *said = options->spec->memory;
	char node[40] = "";

	if (!options->has_memory && said && said->n_nodes > 0)
		return options->has_node
		               ? run_complain("--node is for the memory that --memory gives; the "
		                              "nodes of --set have a host_node each")
		               : 0;
	if (options->has_node)
		snprintf(node, sizeof(node), "host_node: %" PRIu64, options->node);
	return run_add(options, "memory", "memory { nodes { size_mib: %" PRIu64 " %s } }",
	               options->has_memory ? options->memory_mib : DEFAULT_MEMORY_MIB, node);
}

/* By default the end of this program shuts the VM down, for a spec file too. */
static int fill_in_on_exit(struct run_options *options)
{
	const Axvm__V1__Lifecycle *said = options->spec->lifecycle;

	return said && said->has_on_control_eof
	               ? 0
	               : run_add(options, "on-exit",
	                         "lifecycle { on_control_eof: ON_CONTROL_EOF_SHUTDOWN }");
}

/* Adds the defaults that neither flags nor --set give, without a spec file. */
static int fill_in(struct run_options *options)
{
	const Axvm__V1__LaunchSpec *said = options->spec;
	int r = 0;

	options->has_id = said->vm_id;
	if (!options->has_id)
		r = run_add(options, "id", "vm_id: \"axvm-%d\"", (int)getpid());
	if (r == 0 && !(said->cpus && said->cpus->has_count))
		r = run_add(options, "cpus", "cpus { count: 1 }");
	if (r == 0)
		r = fill_in_memory(options);
	return r;
}

/* Gives MAC addresses, because a made-up id differs at each run, and so would the addresses that
 * the shim derives from it. */
static int name_nets(Axvm__V1__LaunchSpec *spec)
{
	for (size_t i = 0; i < spec->n_nets; i++) {
		Axvm__V1__Net *net = spec->nets[i];
		char mac[MAC_TEXT_MAX];

		if (net->mac || net->backend_case != AXVM__V1__NET__BACKEND_TAP_NAME ||
		    stable_mac("", net->tap_name, mac) < 0)
			continue;
		net->mac = strdup(mac);
		if (!net->mac)
			return -ENOMEM;
	}
	return 0;
}

/* Puts the spec of a file before the fragments of the flags. */
static int put_file_first(struct run_options *options, const char *path)
{
	Axvm__V1__LaunchSpec *spec = NULL;
	uint8_t *both;
	size_t size;
	int r = spec_file_read("axvm run", path, &spec);

	if (r)
		return r;
	options->spec_file = path;
	size = axvm__v1__launch_spec__get_packed_size(spec);
	both = malloc(size + options->size + 1);
	if (both) {
		(void)axvm__v1__launch_spec__pack(spec, both);
		if (options->size > 0)
			memcpy(both + size, options->fragments, options->size);
		free(options->fragments);
		options->fragments = both;
		options->size += size;
	}
	axvm__v1__launch_spec__free_unpacked(spec, NULL);
	return both ? 0 : run_complain("out of memory");
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
	int words, r;

	*options = (struct run_options){ .events = EVENTS_NONE };
	r = flags_parse(&run_flags, argc, argv, options, &words);
	if (r)
		return r;
	if (words > 1)
		return run_complain(
			"\"%s\" is one word too many: axvm run starts one VM, of one spec file",
			argv[2]);
	if (words == 1 && options->first_spec_flag)
		return run_complain("--%s describes a VM, and so does %s: give one of them",
		                    options->first_spec_flag, argv[1]);
	r = check_flags(options);
	if (r)
		return r;
	options->from_flags = words == 0;
	if (options->from_flags && !options->has_boot)
		return run_complain("nothing to run: give a spec file, --kernel or --flat "
		                    "(axvm run --help)");
	r = options->from_flags ? 0 : put_file_first(options, argv[1]);
	r = r ? r : merge(options);
	r = r ? r : fill_in_on_exit(options);
	if (r == 0 && options->from_flags)
		r = fill_in(options);
	r = r ? r : merge(options);
	if (r == 0 && options->no_claims)
		run_drop_claims(options->spec);
	if (r == 0 && options->from_flags && !options->has_id && name_nets(options->spec) < 0)
		r = run_complain("out of memory");
	return r;
}

void run_options_done(struct run_options *options)
{
	if (options->spec)
		axvm__v1__launch_spec__free_unpacked(options->spec, NULL);
	free(options->fragments);
	*options = (struct run_options){ 0 };
}
