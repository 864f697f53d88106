/* SPDX-License-Identifier: MIT */
/* `axvm host`: a host with VMs on it as a table and as JSON; and this host, with claims and a VM of
 * the test's. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/cli/host.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/wait.h"

static struct fixture_tree tree;

static void begin(void)
{
	fixture_tree_new(&tree);
	setenv("AXVM_CLAIMS_DIR", tree.root, 1);
	setenv("AXVM_RUNTIME_DIR", tree.root, 1); /* nobody else's VMs */
}

static void end(void)
{
	fixture_tree_done(&tree);
}

TestSuite(launch_host, .init = begin, .fini = end, .timeout = 120);

static struct host_use use;

/* The VM's threads are bound to these CPUs, each to one; the others may use those of the second
 * list. */
static void add_vm(const char *id, const char *pinned, const char *shared)
{
	struct host_vm *vm;

	use.vms = reallocarray(use.vms, use.vm_count + 1, sizeof(*use.vms));
	vm = &use.vms[use.vm_count++];
	*vm = (struct host_vm){ .pid = 100 + (pid_t)use.vm_count };
	strcpy(vm->id, id);
	cr_assert_eq(cpu_bitmap_parse(pinned, &vm->threads.pinned), 0);
	cr_assert_eq(cpu_bitmap_parse(shared, &vm->threads.free), 0);
}

/* 2 nodes of 12 cores, whose second threads are 24 to 47. */
static void new_host(void)
{
	use = (struct host_use){ .facts = fixture_e5_2697_v2(),
		                 .folder = "/run/axvm/claims",
		                 .error_cpu = UINT32_MAX };
	use.loads[0] = (struct claims_load){ 2, 1, false };
	use.loads[24] = (struct claims_load){ 1, 0, false };
	for (size_t i = 12; i < 14; i++)
		use.loads[i] = use.loads[24 + i] = (struct claims_load){ 1024, 1024, true };
	use.loads[14] = (struct claims_load){ 1024, 1024, true };
	use.loads[47] = (struct claims_load){ 0, 3, false };
	use.claimed_mib[1] = 640;
	add_vm("db", "0,24", "");
	add_vm("free", "", "0-11,24-35");
	add_vm("pay", "12-13,36-37", "");
	add_vm("wide", "", "0-11,24-35");
	add_vm("young", "", "");
}

static char *printed(void)
{
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	host_print(file, &use);
	fclose(file);
	return out;
}

static void done(char *out)
{
	free(out);
	free(use.facts);
	free(use.vms);
}

/* Cores that have the same are one line, whatever their number: a host fits a screen. */
Test(launch_host, a_host_with_vms)
{
	char *out;

	new_host();
	out = printed();
	cr_expect_str_eq(
		out,
		"nodes 2, cores 24, CPUs 48; VMs with a control socket: 5\n"
		"CPUs: 8 of 48 claimed, 5 of them whole; by 3 vCPUs and 4 I/O threads that share them\n"
		" CORES  CPUS            VCPUS     I/O       VMS\n"
		"node 0: 65536 MiB, 60000 free\n"
		"     1  0,24            2,1       1,0       db\n"
		"    11  1-11,25-35      -         -\n"
		"node 1: 65536 MiB, 60000 free, 640 of that claimed\n"
		"     2  12-13,36-37     whole     whole     pay\n"
		"     1  14,38           whole,0   whole,0\n"
		"     8  15-22,39-46     -         -\n"
		"     1  23,47           -         0,3\n"
		"not pinned, on CPUs 0-11,24-35: free wide\n"
		"no threads of vCPUs yet, or not to be looked at: young\n");
	done(out);
}

/* What is not known is no zero; whose VMs cannot be asked is told. */
Test(launch_host, claims_that_are_not_known)
{
	static const struct {
		int error;
		uint32_t cpu;
		const char *says;
	} rows[] = {
		{ -ENOENT, UINT32_MAX,
		  "claims: not known: /run/axvm/claims: there is no such folder, so no VM here has "
		  "claims; `systemd-tmpfiles --create` makes axvm's\n" },
		{ -EACCES, 7,
		  "claims: not known: /run/axvm/claims/cpu7: this user may not look there; " },
		{ -EMEDIUMTYPE, 3,
		  "/run/axvm/claims/cpu3: what is there is no regular file; remove it\n" },
		{ -EMFILE, 3, "/run/axvm/claims/cpu3: Too many open files\n" },
	};
	char *out;

	new_host();
	memset(use.loads, 0, sizeof(use.loads));
	use.beside = (struct vms_beside){ .barred = "/run/axvm",
		                          .not_asked = 3,
		                          .not_asked_error = EACCES };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		use.claims_error = rows[i].error;
		use.error_cpu = rows[i].cpu;
		out = printed();
		cr_expect_not_null(strstr(out, rows[i].says), "%s", out);
		cr_expect_not_null(strstr(out, "    11  1-11,25-35      ?         ?\n"), "%s", out);
		cr_expect_null(strstr(out, " claimed"), "%s", out);
		cr_expect_not_null(
			strstr(out,
		               "services may be in /run/axvm, which is root's\n3 more could not be asked: Permission denied\n"),
			"%s", out);
		free(out);
	}
	done(NULL);
}

/* Names that have no room are counted; the first is always there, whole, as `axvm ctl` takes it. */
Test(launch_host, many_vms_on_a_core)
{
	char *out, id[VM_ID_MAX];

	use = (struct host_use){ .facts = fixture_shape(1, 1, 1), .folder = "/c" };
	for (unsigned i = 0; i < 50; i++) {
		snprintf(id, sizeof(id), "vm-%02u", i);
		add_vm(id, "0", "");
	}
	out = printed();
	cr_expect_not_null(strstr(out, " vm-00 vm-01 vm-02 vm-03 vm-04 +45\n"), "%s", out);
	done(out);
	use = (struct host_use){ .facts = fixture_shape(1, 1, 1), .folder = "/c" };
	add_vm("0123456789012345678901234567890123456789012345678901234567890123", "0", "");
	add_vm("b", "0", "");
	out = printed();
	cr_expect_not_null(
		strstr(out,
	               " 0123456789012345678901234567890123456789012345678901234567890123 +1\n"),
		"%s", out);
	done(out);
}

Test(launch_host, json)
{
	char *out = NULL;
	size_t size;
	FILE *file;

	new_host();
	use.claims_error = 0;
	file = open_memstream(&out, &size);
	cr_assert_eq(host_print_json(file, &use), 0);
	fclose(file);
	cr_expect_not_null(strstr(out, "\"claims\": \"/run/axvm/claims\""), "%s", out);
	cr_expect_null(strstr(out, "claims_error"));
	cr_expect_not_null(
		strstr(out,
	               "\"id\": 1, \"memory_mib\": \"65536\", \"free_mib\": \"60000\", \"claimed_mib\": \"640\""),
		"%s", out);
	cr_expect_not_null(
		strstr(out,
	               "\"id\": 0,\n    \"node\": 0,\n    \"core_cpus\": [0, 24],\n    \"vcpu_claims\": 2,\n"
	               "    \"io_claims\": 1,\n    \"whole\": false,\n    \"vm_ids\": [\"db\"]"),
		"%s", out);
	cr_expect_not_null(
		strstr(out,
	               "\"id\": 13,\n    \"node\": 1,\n    \"core_cpus\": [13, 37],\n    \"vcpu_claims\": 0,\n"
	               "    \"io_claims\": 0,\n    \"whole\": true,\n    \"vm_ids\": [\"pay\"]"),
		"%s", out);
	cr_expect_not_null(
		strstr(out,
	               "\"id\": \"pay\",\n    \"pid\": 103,\n    \"pinned_cpus\": [12, 13, 36, 37]"),
		"%s", out);
	free(out);
	/* What is not known is left out. */
	use.claims_error = -EACCES;
	file = open_memstream(&out, &size);
	cr_assert_eq(host_print_json(file, &use), 0);
	fclose(file);
	cr_expect_not_null(
		strstr(out, "\"claims_error\": \"/run/axvm/claims: this user may not look there"),
		"%s", out);
	cr_expect_null(strstr(out, "vcpu_claims"));
	cr_expect_null(strstr(out, "whole"));
	cr_expect_null(strstr(out, "claimed_mib"));
	done(out);
}

/* ---- this host ------------------------------------------------------------------------------- */

static uint32_t a_cpu(void)
{
	cpu_set_t set;
	uint32_t cpu = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	return cpu;
}

/* Claims of others are seen, and looking makes no file and claims nothing. */
Test(launch_host, claims_of_this_host)
{
	struct claims other = { 0 };
	char file[128];
	uint64_t slot;
	struct said said = axvm_say("host", -1);

	cr_expect_eq(said.status, 0);
	cr_expect_not_null(strstr(said.out, "CPUs: 0 of "), "%s", said.out);
	snprintf(file, sizeof(file), "%s/cpu%u", tree.root, a_cpu());
	cr_expect_eq(access(file, F_OK), -1, "who looks makes nothing");
	said_done(&said);
	cr_assert_eq(claims_open(&other, -1, tree.root, false), 0);
	cr_assert_eq(claims_take(&other, a_cpu(), CLAIMS_VCPU, 0), 0);
	cr_assert_eq(claims_take(&other, a_cpu(), CLAIMS_VCPU, 2), 0);
	cr_assert_eq(claims_take(&other, a_cpu(), CLAIMS_IO, 0), 0);
	cr_assert_eq(claims_take_memory(&other, 0, 65, 100000, &slot), 0);
	said = axvm_say("host", -1);
	cr_expect_not_null(strstr(said.out, "CPUs: 1 of "), "%s", said.out);
	cr_expect_not_null(strstr(said.out, "; by 2 vCPUs and 1 I/O threads that share them\n"),
	                   "%s", said.out);
	/* Where the kernel tells of nodes. */
	cr_expect(!strstr(said.out, "\nnode 0: ") ||
	                  strstr(said.out, " free, 128 of that claimed\n"),
	          "%s", said.out);
	cr_assert_eq(claims_take(&other, a_cpu(), CLAIMS_VCPU, 1), 0,
	             "nothing was claimed by looking");
	said_done(&said);
	said = axvm_say("host --json", -1);
	cr_expect_not_null(strstr(said.out, "\"vcpu_claims\": 3,"), "%s", said.out);
	said_done(&said);
	/* `axvm top` has it in a line. */
	said = axvm_say("top --once", -1);
	cr_expect_not_null(strstr(said.out, "\nhost CPUs: 1 of "), "%s", said.out);
	said_done(&said);
	claims_close(&other);
}

/* A file of claims that is none is told, and the status says that not all is known. No folder is an
 * answer. */
Test(launch_host, a_folder_that_cannot_be_looked_at)
{
	char path[96];
	struct said said;

	snprintf(path, sizeof(path), "%s/cpu%u", tree.root, a_cpu());
	cr_assert_eq(mkdir(path, 0700), 0);
	said = axvm_say("host", -1);
	cr_expect_eq(said.status, 69);
	cr_expect_not_null(strstr(said.out, "what is there is no regular file"), "%s", said.out);
	said_done(&said);
	said = axvm_say("top --once", -1);
	cr_expect_eq(said.status, 0);
	cr_expect_null(strstr(said.out, "host CPUs"), "%s", said.out);
	said_done(&said);
	cr_assert_eq(rmdir(path), 0);
	setenv("AXVM_CLAIMS_DIR", "/nonexistent/claims", 1);
	said = axvm_say("host", -1);
	cr_expect_eq(said.status, 0);
	cr_expect_not_null(strstr(said.out, "/nonexistent/claims: there is no such folder"), "%s",
	                   said.out);
	said_done(&said);
	setenv("AXVM_CLAIMS_DIR", "", 1);
	said = axvm_say("host", -1);
	cr_expect_eq(said.status, 0);
	cr_expect_not_null(strstr(said.out, "claims: not known: AXVM_CLAIMS_DIR is empty\n"), "%s",
	                   said.out);
	said_done(&said);
}

/* A plan is made among the claims of the folder in which `axvm run` would claim, and claims
 * nothing. */
Test(launch_host, a_plan_looks_where_a_run_claims)
{
	static const char *const rows[][2] = {
		{ "", NULL },
		{ "/nonexistent/claims",
		  "axvm plan: no CPUs can be claimed in /nonexistent/claims: it is not there; make it" },
		{ "/dev/null", "axvm plan: no CPUs can be claimed in /dev/null: Not a directory" },
	};
	char line[128], says[160];
	struct said said;

	fixture_tree_write(
		&tree, "vm.txtpb",
		"launch { vm_id: 'p' profile: 'dev' admission: ADMISSION_REPORT cpus { count: 1 } "
		"memory { nodes { size_mib: 16 } } boot { flat_boot { image { path: 'i' } } } }");
	snprintf(line, sizeof(line), "plan %s/vm.txtpb", tree.root);
	snprintf(says, sizeof(says), "\nCPUs as the claims in %s are now", tree.root);
	said = axvm_say(line, -1);
	cr_expect_not_null(strstr(said.out, says), "%s%s", said.out, said.err);
	said_done(&said);
	snprintf(says, sizeof(says), "%s/cpu%u", tree.root, a_cpu());
	cr_expect_eq(access(says, F_OK), -1);
	/* Where this user cannot claim, that is told as `axvm run` tells it; where nobody wants
	 * claims, nothing is. */
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		setenv("AXVM_CLAIMS_DIR", rows[i][0], 1);
		said = axvm_say(line, -1);
		cr_expect_not_null(strstr(said.out, "\nCPUs without a look at other VMs"), "%s%s",
		                   said.out, said.err);
		cr_expect(rows[i][1] ? strstr(said.err, rows[i][1]) != NULL
		                     : !strstr(said.err, "claimed in"),
		          "%zu: %s", i, said.err);
		said_done(&said);
	}
}

static void *be_a_thread(void *name)
{
	cpu_set_t one;

	prctl(PR_SET_NAME, name);
	CPU_ZERO(&one);
	CPU_SET(a_cpu(), &one);
	if (strcmp(name, "vcpu0") == 0)
		sched_setaffinity(0, sizeof(one), &one);
	for (;;)
		pause();
	return NULL;
}

/* A VM's process: one thread bound to a CPU, and one that serves no guest. */
static void be_a_shim(void)
{
	pthread_t threads[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&threads[0], NULL, be_a_thread, (char[]){ "vcpu0" });
	pthread_create(&threads[1], NULL, be_a_thread, (char[]){ "iou-wrk" });
	for (;;)
		pause();
}

/* Whether the process has a thread of that name that is bound to a CPU, by now. */
static bool is_bound(pid_t pid)
{
	struct vm_threads threads;

	return vms_threads(pid, &threads) == 0 && cpu_bitmap_count(&threads.pinned) == 1;
}

/* A VM is named where its threads are bound, by what the kernel says of them. */
Test(launch_host, a_vm_of_this_host)
{
	char path[128], pinned[96];
	struct vm_threads threads;
	struct said said;
	int listener;
	pid_t shim;

	shim = fork();
	if (shim == 0)
		be_a_shim();
	snprintf(path, sizeof(path), "%s/web.sock", tree.root);
	cr_assert_eq(sockets_listen(path, 4, &listener, NULL), 0);
	WAIT_UNTIL(is_bound(shim));
	cr_assert_eq(vms_threads(shim, &threads), 0);
	cr_expect(cpu_bitmap_has(&threads.pinned, a_cpu()));
	cr_expect_eq(cpu_bitmap_count(&threads.free), 0, "what serves no guest is left out");
	said = axvm_say("host --json", -1);
	snprintf(pinned, sizeof(pinned),
	         "\"id\": \"web\",\n    \"pid\": %d,\n    \"pinned_cpus\": [%u]", (int)shim,
	         a_cpu());
	cr_expect_not_null(strstr(said.out, pinned), "%s", said.out);
	cr_expect_not_null(strstr(said.out, "\"vm_ids\": [\"web\"]"), "%s", said.out);
	said_done(&said);
	said = axvm_say("host", -1);
	cr_expect_not_null(strstr(said.out, " web\n"), "%s", said.out);
	said_done(&said);
	close(listener);
	kill(shim, SIGKILL);
	wait_child(shim);
	cr_expect_eq(vms_threads(shim, &threads), -ENOENT);
}
