/* SPDX-License-Identifier: MIT */
/* `axvm completion`: shell functions made from the tables of verbs and flags. */
#include <string.h>
#include <sysexits.h>

#include "host/profile.h"
#include "launch/cli/sockets.h"
#include "launch/cli/verb.h"

/* The values of a flag, separated by spaces. For a flag without a row nothing is offered: its value
 * is a number or an unknown name. */
static const struct {
	const char *verb, *flag, *words;
} choices[] = {
	{ "run", "on-exit", "shutdown stop keep" },
	{ "run", "events", "text json pb: none" },
	{ "admit", "tenancy", "shared dedicated" },
	{ "run", "pv", "none kvmclock eoi unhalt tlb ipi steal async_pf poll yield" },
};

static const char *words_of(const char *verb, const char *flag)
{
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
		if (strcmp(choices[i].verb, verb) == 0 && strcmp(choices[i].flag, flag) == 0)
			return choices[i].words;
	return "";
}

/* Prints one pattern of the case: the values to offer for this flag. */
static void print_value(FILE *out, const char *verb, const struct flag *flag)
{
	fprintf(out, "\t'%s --%s') echo '", verb, flag->name);
	if (flag->value == FLAG_FILE)
		fputs("file", out);
	else if (strcmp(flag->name, "profile") == 0)
		for (size_t i = 0; profile_name(i); i++)
			fprintf(out, "%s%s", i ? " " : "", profile_name(i));
	else
		fputs(words_of(verb, flag->name), out);
	fputs("' ;;\n", out);
}

/* For both shells: `_axvm_value VERB FLAG` prints "file" or the words to choose from, perhaps none;
 * status 1 if the flag has no value or is not a flag of that verb. */
static void print_values(FILE *out)
{
	size_t count;
	const struct verb *all = verbs(&count);

	fputs("_axvm_value() {\n\tcase \"$1 $2\" in\n", out);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; all[i].flags && k < all[i].flags->count; k++)
			if (all[i].flags->rows[k].value != FLAG_NONE)
				print_value(out, all[i].name, &all[i].flags->rows[k]);
	fputs("\t*) return 1 ;;\n\tesac\n}\n", out);
}

static void print_flags(FILE *out, const struct verb *verb)
{
	for (size_t i = 0; verb->flags && i < verb->flags->count; i++)
		fprintf(out, " --%s", verb->flags->rows[i].name);
}

/* Prints what can stand at the verb's first place and at the later ones: a VM, then a command. */
static void print_places(FILE *out, const struct verb *verb)
{
	if (verb->takes_vm)
		fputs("\t\tfirst=$(_axvm_vms) rest=\"", out);
	else
		fputs("\t\tfirst=\"", out);
	for (size_t i = 0; verb->words && verb->words[i]; i++)
		fprintf(out, " %s", verb->words[i]);
	fputs("\"\n", out);
	if (strcmp(verb->name, "policy") == 0)
		fputs("\t\trest=$first last=99\n", out);
	if (verb->takes_file)
		fputs("\t\tfiles=1\n", out);
}

/* Prints the body of a case of verbs, the same in both shells. */
static void print_verbs(FILE *out)
{
	size_t count;
	const struct verb *all = verbs(&count);

	for (size_t i = 0; i < count; i++) {
		fprintf(out, "\t%s)\n\t\tflags=\"", all[i].name);
		print_flags(out, &all[i]);
		fputs("\"\n", out);
		print_places(out, &all[i]);
		if (strcmp(all[i].name, "help") == 0) {
			fputs("\t\tfirst=\"", out);
			for (size_t k = 0; k < count; k++)
				fprintf(out, " %s", all[k].name);
			fputs("\"\n", out);
		}
		fputs("\t\t;;\n", out);
	}
}

static void print_bash(FILE *out)
{
	size_t count;
	const struct verb *all = verbs(&count);

	fputs("# bash completion for axvm, made by `axvm completion bash`\n"
	      "_axvm_vms() {\n"
	      "\tlocal socket\n"
	      "\tfor socket in \"${AXVM_RUNTIME_DIR:-${XDG_RUNTIME_DIR:-/run}/axvm}\"/*.sock \\\n"
	      "\t\t\"${AXVM_RUNTIME_DIR:-" SOCKETS_SYSTEM_FOLDER "}\"/*.sock; do\n"
	      "\t\t[[ -S $socket ]] || continue\n"
	      "\t\tsocket=${socket##*/}\n"
	      "\t\tprintf '%s\\n' \"${socket%.sock}\"\n"
	      "\tdone\n"
	      "}\n",
	      out);
	print_values(out);
	fputs("_axvm() {\n"
	      "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
	      "\tlocal verb=${COMP_WORDS[1]} value flags='' first='' rest='' files='' last=1 i n=0\n"
	      "\tif ((COMP_CWORD == 1)); then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W '",
	      out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%s", i ? " " : "", all[i].name);
	fputs("' -- \"$current\")\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\t# --flag=value is three words here.\n"
	      "\tif [[ $current == = ]]; then\n"
	      "\t\tcurrent=''\n"
	      "\telif [[ $previous == = ]]; then\n"
	      "\t\tprevious=${COMP_WORDS[COMP_CWORD - 2]}\n"
	      "\tfi\n"
	      "\tif value=$(_axvm_value \"$verb\" \"$previous\"); then\n"
	      "\t\tif [[ $value == file ]]; then\n"
	      "\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	      "\t\telse\n"
	      "\t\t\tmapfile -t COMPREPLY < <(compgen -W \"$value\" -- \"$current\")\n"
	      "\t\tfi\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	      "\t\tif _axvm_value \"$verb\" \"${COMP_WORDS[i]}\" >/dev/null; then\n"
	      "\t\t\t[[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n"
	      "\t\t\t((i++))\n"
	      "\t\telif [[ ${COMP_WORDS[i]} != -* ]]; then\n"
	      "\t\t\t((n++))\n"
	      "\t\tfi\n"
	      "\tdone\n"
	      "\tcase $verb in\n",
	      out);
	print_verbs(out);
	fputs("\tesac\n"
	      "\tif [[ $current == -* || -z $first$rest$files ]]; then\n"
	      "\t\tfirst=$flags rest=$flags last=99 files=''\n"
	      "\tfi\n"
	      "\t((n == 0)) || first=$rest files=''\n"
	      "\t((n <= last)) || first=''\n"
	      "\tmapfile -t COMPREPLY < <(compgen -W \"$first\" -- \"$current\")\n"
	      "\tif [[ $files ]]; then\n"
	      "\t\tmapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$current\")\n"
	      "\tfi\n"
	      "}\n"
	      "complete -o filenames -F _axvm axvm\n",
	      out);
}

static void print_zsh(FILE *out)
{
	size_t count;
	const struct verb *all = verbs(&count);

	fputs("#compdef axvm\n"
	      "# zsh completion for axvm, made by `axvm completion zsh`\n"
	      "_axvm_vms() {\n"
	      "\tlocal -aU vms=(${AXVM_RUNTIME_DIR:-${XDG_RUNTIME_DIR:-/run}/axvm}/*.sock(N=:t:r) \\\n"
	      "\t\t${AXVM_RUNTIME_DIR:-" SOCKETS_SYSTEM_FOLDER "}/*.sock(N=:t:r))\n"
	      "\tprint -- $vms\n"
	      "}\n",
	      out);
	print_values(out);
	fputs("_axvm() {\n"
	      "\tlocal verb=$words[2] current=$words[CURRENT] previous=$words[CURRENT-1]\n"
	      "\tlocal value flags='' first='' rest='' files=''\n"
	      "\tlocal -i last=1 i n=0\n"
	      "\tlocal -a verbs=(\n",
	      out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "\t\t'%s:%s'\n", all[i].name, all[i].summary);
	fputs("\t)\n"
	      "\tif ((CURRENT == 2)); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
	      "\tif [[ $current == --*=* ]]; then\n"
	      "\t\tprevious=${current%%=*}\n"
	      "\t\tcompset -P '*='\n"
	      "\tfi\n"
	      "\tif value=$(_axvm_value \"$verb\" \"$previous\"); then\n"
	      "\t\tif [[ $value == file ]]; then\n\t\t\t_files\n"
	      "\t\telse\n\t\t\tcompadd -- ${=value}\n\t\tfi\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tfor ((i = 3; i < CURRENT; i++)); do\n"
	      "\t\tif _axvm_value \"$verb\" \"$words[i]\" >/dev/null; then\n"
	      "\t\t\t((i++))\n"
	      "\t\telif [[ $words[i] != -* ]]; then\n"
	      "\t\t\t((n++))\n"
	      "\t\tfi\n"
	      "\tdone\n"
	      "\tcase $verb in\n",
	      out);
	print_verbs(out);
	fputs("\tesac\n"
	      "\tif [[ $current == -* || -z $first$rest$files ]]; then\n"
	      "\t\tfirst=$flags rest=$flags last=99 files=''\n"
	      "\tfi\n"
	      "\t((n == 0)) || { first=$rest; files='' }\n"
	      "\t((n <= last)) || first=''\n"
	      "\tcompadd -- ${=first}\n"
	      "\tif [[ -n $files ]]; then\n\t\t_files\n\tfi\n"
	      "}\n"
	      "_axvm \"$@\"\n",
	      out);
}

int axvm_cmd_completion(int argc, char **argv, FILE *out)
{
	if (argc == 2 && strcmp(argv[1], "bash") == 0)
		print_bash(out);
	else if (argc == 2 && strcmp(argv[1], "zsh") == 0)
		print_zsh(out);
	else {
		fputs(verb_find("completion")->help, stderr);
		return EX_USAGE;
	}
	return fflush(out) == 0 ? EX_OK : EX_IOERR;
}
