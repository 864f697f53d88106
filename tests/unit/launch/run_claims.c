/* SPDX-License-Identifier: MIT */
/* `axvm run` and claims: who gets them, who is told that he gets none, and the folder that root
 * makes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/cli/run_parts.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/host_fixture.h"

static struct fixture_tree tree;

static void begin(void)
{
	umask(022);
	fixture_tree_new(&tree);
	setenv("AXVM_CLAIMS_DIR", tree.root, 1);
}

static void end(void)
{
	fixture_tree_done(&tree);
}

TestSuite(run_claims, .init = begin, .fini = end, .timeout = 60);

static struct run run;

/* Prepares `axvm run LINE`; the folder of its claims, "fd N", or "none". What it says on stderr
 * goes to `said`. */
static const char *claims_of(const char *line, char said[static 512])
{
	static char copy[512], folder[128], *argv[32];
	int caught = memfd_create("err", MFD_CLOEXEC), before = dup(2), argc = 0;
	const Axvm__V1__Resource *claims;
	ssize_t n;

	snprintf(copy, sizeof(copy), "run %s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	run = (struct run){ .keys_fd = -1,
		            .guest_input_fd = -1,
		            .vsock_fd = -1,
		            .signal_fd = -1,
		            .events_fd = -1,
		            .words = { .fd = -1, .shims_fd = -1 } };
	cr_assert_eq(dup2(caught, 2), 2);
	cr_assert_eq(run_options_parse(&run.options, argc, argv), 0);
	cr_assert_eq(run_add_claims(&run), 0);
	cr_assert_eq(dup2(before, 2), 2);
	n = pread(caught, said, 511, 0);
	said[MAX(n, (ssize_t)0)] = '\0';
	close(caught);
	close(before);
	claims = run.options.spec->cpus ? run.options.spec->cpus->claims : NULL;
	if (!claims)
		strcpy(folder, "none");
	else if (claims->source_case == AXVM__V1__RESOURCE__SOURCE_FD)
		snprintf(folder, sizeof(folder), "fd %u", claims->fd);
	else
		snprintf(folder, sizeof(folder), "%s", claims->path);
	run_done(&run);
	return folder;
}

/* Every VM has those of this host: with pins, alone or not, from flags or a file; what the spec
 * says stays. */
Test(run_claims, every_vm_gets_claims_unless_told_otherwise)
{
	static const struct {
		const char *line, *claims; /* NULL: this host's */
	} rows[] = {
		{ "--flat f", NULL },
		{ "--flat f --cpus 2,pin=0-1", NULL },
		{ "--kernel k --cpus 2,dedicated --quiet", NULL },
		{ "tests/specs/longmode.txtpb", NULL },
		{ "--flat f --no-claims", "none" },
		{ "tests/specs/longmode.txtpb --no-claims", "none" },
		{ "--flat f --set cpus{claims{fd:9}}", "fd 9" },
		{ "--flat f --claims /nonexistent/c", "/nonexistent/c" },
		{ "tests/specs/longmode.txtpb --claims /nonexistent/c", "/nonexistent/c" },
		{ "--flat f --set cpus{claims{fd:9}} --no-claims", "none" },
	};
	char said[512];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cr_expect_str_eq(claims_of(rows[i].line, said),
		                 rows[i].claims ? rows[i].claims : tree.root, "%s", rows[i].line);
		cr_expect_str_eq(said, "", "%s", rows[i].line);
	}
}

/* Where there is no folder, or none that serves, the VM goes without, and that is told in one line;
 * not where nobody wants to know, or nobody wanted claims. */
Test(run_claims, a_vm_without_claims_is_told_once)
{
	static const struct {
		const char *folder, *line, *says; /* NULL: nothing */
	} rows[] = {
		{ "/nonexistent/claims", "--flat f",
		  "/nonexistent/claims: it is not there; make it" },
		{ "/dev/null", "--flat f", "/dev/null: Not a directory" },
		{ "/nonexistent/claims", "--flat f --quiet", NULL },
		{ "/nonexistent/claims", "--flat f --no-claims", NULL },
		{ "", "--flat f", NULL },
	};
	char said[512];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		setenv("AXVM_CLAIMS_DIR", rows[i].folder, 1);
		cr_expect_str_eq(claims_of(rows[i].line, said), "none", "%zu", i);
		if (!rows[i].says) {
			cr_expect_str_eq(said, "", "%zu", i);
			continue;
		}
		cr_expect_not_null(strstr(said, rows[i].says), "%zu: %s", i, said);
		cr_expect_eq(strchr(said, '\n') + 1 - said, (ssize_t)strlen(said), "one line: %s",
		             said);
		cr_expect_not_null(strstr(said, "--no-claims"), "%s", said);
	}
	cr_expect_eq(access("/nonexistent", F_OK), -1, "a folder that was named is not made");
}

/* --dry-run prints what is told, as it prints no console: what this host adds, it adds at the
 * launch. */
Test(run_claims, a_dry_run_is_of_no_host)
{
	struct said said = axvm_say("run --flat f --dry-run", -1);

	cr_expect_eq(said.status, 0);
	cr_expect_null(strstr(said.out, "claims"), "%s", said.out);
	said_done(&said);
}

static unsigned mode_of(const char *path)
{
	struct stat st;
	char whole[128];

	snprintf(whole, sizeof(whole), "%s/%s", tree.root, path);
	return stat(whole, &st) == 0 && S_ISDIR(st.st_mode) ? st.st_mode & 07777 : 0;
}

/* As tmpfiles.d has it, whatever the umask; what is there already stays, and nothing is left beside
 * it. */
Test(run_claims, the_folder_that_is_made)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/run", tree.root);
	cr_assert_eq(run_make_claims(tree.root), -ENOENT);
	cr_assert_eq(mkdir(path, 0700), 0);
	umask(077);
	cr_assert_eq(run_make_claims(tree.root), 0);
	cr_expect_eq(mode_of("run/axvm"), 0755, "%o", mode_of("run/axvm"));
	cr_expect_eq(mode_of("run/axvm/claims"), 03770, "%o", mode_of("run/axvm/claims"));
	snprintf(path, sizeof(path), "%s/run/axvm/claims", tree.root);
	cr_assert_eq(chmod(path, 01700), 0);
	snprintf(path, sizeof(path), "%s/run/axvm", tree.root);
	cr_assert_eq(chmod(path, 0711), 0);
	cr_assert_eq(run_make_claims(tree.root), 0);
	cr_expect_eq(mode_of("run/axvm"), 0711);
	cr_expect_eq(mode_of("run/axvm/claims"), 01700);
	snprintf(path, sizeof(path), "%s/run/axvm/.claims.%d", tree.root, (int)getpid());
	cr_expect_eq(access(path, F_OK), -1);
}
