/* SPDX-License-Identifier: MIT */
/* `axvm completion`: shell functions made from the tables of verbs and flags. */
#include <string.h>
#include <sysexits.h>

#include "launch/cli/sockets.h"
#include "launch/cli/verb.h"

static void print_words(FILE *out, const struct verb *verb)
{
	for (size_t i = 0; verb->flags && i < verb->flags->count; i++)
		fprintf(out, " --%s", verb->flags->rows[i].name);
	for (size_t i = 0; verb->words && verb->words[i]; i++)
		fprintf(out, " %s", verb->words[i]);
	if (verb->takes_vm)
		fputs(" $(_axvm_vms)", out);
}

/* The flags whose value is a file: "--kernel|--initrd", or a word that nobody types. */
static void print_file_flags(FILE *out)
{
	const char *separator = "";
	size_t count;
	const struct verb *all = verbs(&count);

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; all[i].flags && k < all[i].flags->count; k++)
			if (all[i].flags->rows[k].value == FLAG_FILE) {
				fprintf(out, "%s--%s", separator, all[i].flags->rows[k].name);
				separator = "|";
			}
}

static void print_bash(FILE *out)
{
	size_t count;
	const struct verb *all = verbs(&count);

	fputs("# bash completion for axvm, made by `axvm completion bash`\n"
	      "_axvm_vms() {\n"
	      "\tlocal socket\n"
	      "\tfor socket in \"${XDG_RUNTIME_DIR:-/run}\"/axvm/*.sock " SOCKETS_SYSTEM_FOLDER "/*.sock; do\n"
	      "\t\t[[ -S $socket ]] || continue\n"
	      "\t\tsocket=${socket##*/}\n"
	      "\t\tprintf '%s\\n' \"${socket%.sock}\"\n"
	      "\tdone\n"
	      "}\n"
	      "_axvm() {\n"
	      "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
	      "\tlocal words='' files=''\n"
	      "\tif ((COMP_CWORD == 1)); then\n"
	      "\t\twords='",
	      out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%s", i ? " " : "", all[i].name);
	fputs("'\n\telse\n\t\tcase $previous in\n\t\t", out);
	print_file_flags(out);
	fputs(")\n\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n\t\t\treturn\n"
	      "\t\t\t;;\n\t\tesac\n\t\tcase ${COMP_WORDS[1]} in\n",
	      out);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "\t\t%s)\n\t\t\twords=\"", all[i].name);
		print_words(out, &all[i]);
		fputs(strcmp(all[i].name, "help") == 0 ? " $(compgen -W \"$(axvm help | "
		                                         "sed -n 's/^  \\([a-z]*\\).*/\\1/p')\")\""
		                                       : "\"",
		      out);
		fprintf(out, "%s\n\t\t\t;;\n", all[i].takes_file ? "\n\t\t\tfiles=1" : "");
	}
	fputs("\t\tesac\n\tfi\n"
	      "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	      "\tif [[ $files && $current != -* ]]; then\n"
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
	      "\tlocal -aU vms=(${XDG_RUNTIME_DIR:-/run}/axvm/*.sock(N=:t:r) " SOCKETS_SYSTEM_FOLDER "/*.sock(N=:t:r))\n"
	      "\tcompadd -a vms\n"
	      "}\n"
	      "_axvm() {\n"
	      "\tlocal -a verbs=(\n",
	      out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "\t\t'%s:%s'\n", all[i].name, all[i].summary);
	fputs("\t)\n"
	      "\tif ((CURRENT == 2)); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
	      "\tcase $words[CURRENT-1] in\n\t",
	      out);
	print_file_flags(out);
	fputs(")\n\t\t_files\n\t\treturn\n\t\t;;\n\tesac\n\tcase $words[2] in\n", out);
	for (size_t i = 0; i < count; i++) {
		struct verb plain = all[i];

		plain.takes_vm = false;
		fprintf(out, "\t%s)\n\t\tcompadd -- ", all[i].name);
		print_words(out, &plain);
		fprintf(out, "%s%s\n\t\t;;\n", all[i].takes_vm ? "\n\t\t_axvm_vms" : "",
		        all[i].takes_file ? "\n\t\t_files" : "");
	}
	fputs("\tesac\n}\n_axvm \"$@\"\n", out);
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
