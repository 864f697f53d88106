/* SPDX-License-Identifier: MIT */
/* The shim that is asked for a plan, as any orchestrator asks it: bytes in, events out; and what is
 * refused. */
#include "launch/cli/ask_shim.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host/facts_proto.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/protoc.h"

#define FLAT                                                                                                                  \
	"launch { vm_id: 'p' profile: 'dev' admission: ADMISSION_REPORT cpus { count: 2 } memory { nodes { size_mib: 64 } } " \
	"boot { flat_boot { image { fd: 7 } local_apic: true } } disks { id: 'a' image { fd: 8 } } } "

TestSuite(ask_shim, .timeout = 120);

static Axvm__V1__EventStream *answer;
static const Axvm__V1__Planned *planned;
static const Axvm__V1__Terminal *terminal;

/* Asks, and expects `planned` events, one or none, and one terminal event behind all others, with
 * the status. */
static void ask_bytes(const uint8_t *bytes, size_t n, size_t plans, int status)
{
	int wait_status = 0;

	planned = NULL;
	terminal = NULL;
	cr_assert_eq(ask_shim(getenv("AXVM_SHIM"), bytes, n, &answer, &wait_status), 0);
	cr_assert(WIFEXITED(wait_status));
	for (size_t i = 0; i < answer->n_events; i++) {
		const Axvm__V1__Event *event = answer->events[i];

		cr_assert(event->has_sequence && event->sequence == i + 1);
		/* There is no VM that could have a state. */
		cr_assert(plans == 0 || event->body_case != AXVM__V1__EVENT__BODY_STATE_CHANGED);
		if (event->body_case == AXVM__V1__EVENT__BODY_PLANNED) {
			cr_assert_null(planned);
			planned = event->planned;
			cr_assert_str_eq(event->vm_id, "p");
		}
		if (event->body_case == AXVM__V1__EVENT__BODY_TERMINAL) {
			terminal = event->terminal;
			cr_assert_eq(i, answer->n_events - 1);
		}
	}
	cr_assert_not_null(terminal);
	cr_assert_eq(planned != NULL, plans > 0, "%s", terminal->message);
	cr_assert_eq(terminal->exit_status, (uint32_t)status, "%s", terminal->message);
	cr_assert_eq(WEXITSTATUS(wait_status), status);
	if (planned)
		cr_assert_eq(terminal->outcome, AXVM__V1__OUTCOME__OUTCOME_PLANNED);
}

static void ask(const char *text, size_t plans, int status)
{
	static uint8_t bytes[64 * KIB];

	ask_bytes(bytes, protoc_encode("ControlStream", text, bytes, sizeof(bytes)), plans, status);
}

static void done(void)
{
	axvm__v1__event_stream__free_unpacked(answer, NULL);
}

/* A field of a message, with its tag and length, behind what is there. */
static size_t append(uint8_t *to, size_t at, uint8_t tag, const uint8_t *bytes, size_t n)
{
	to[at++] = tag;
	for (size_t rest = n; rest >= 0x80 || (to[at++] = (uint8_t)rest, false); rest >>= 7)
		to[at++] = (uint8_t)(rest | 0x80);
	memcpy(to + at, bytes, n);
	return at + n;
}

/* The launch of FLAT with these facts. */
static void ask_for(const uint8_t *facts, size_t n, size_t plans, int status)
{
	static uint8_t plan[256 * KIB], stream[256 * KIB], launch[4096];
	size_t size = protoc_encode("ControlStream", FLAT, launch, sizeof(launch));

	memcpy(plan, launch, size);
	size = append(plan, size, 2 << 3 | 2, facts, n);
	ask_bytes(stream, append(stream, 0, 3 << 3 | 2, plan, size), plans, status);
}

static size_t facts_of(struct host_facts *facts, uint8_t *to, size_t size)
{
	Axvm__V1__HostFacts *message;
	size_t n;

	cr_assert_eq(facts_to_message(facts, &message), 0);
	n = axvm__v1__host_facts__get_packed_size(message);
	cr_assert_leq(n, size);
	axvm__v1__host_facts__pack(message, to);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	free(facts);
	return n;
}

/* Descriptors that the launch names need not be there; commands are not carried out, and do not
 * keep it. */
Test(ask_shim, a_plan_of_another_host)
{
	static uint8_t bytes[128 * KIB];
	struct host_facts *facts = fixture_e5_2697_v2();
	size_t n;

	fixture_guest_leaves(facts);
	n = facts_of(facts, bytes, sizeof(bytes));
	ask_for(bytes, n, 1, 0);
	cr_assert_eq(terminal->n_errors, 0);
	cr_assert_eq(terminal->stage, AXVM__V1__STAGE__STAGE_ADMIT);
	cr_assert(planned->has_admitted && planned->admitted);
	cr_assert_eq(planned->n_vcpus, 2);
	cr_assert_eq(planned->n_devices, 1);
	cr_assert_eq(strlen(planned->machine_sha256), 64);
	cr_assert_null(planned->claims);
	cr_assert_eq(planned->nodes[0]->n_host_cpus, 24);
	done();
	/* The recorded host has no KVM's word for it. */
	n = facts_of(fixture_e5_2697_v2(), bytes, sizeof(bytes));
	ask_for(bytes, n, 1, 69);
	cr_assert_null(planned->machine_sha256);
	cr_assert_eq(planned->n_vcpus, 2);
	cr_assert_eq(terminal->errors[0]->code, AXVM__V1__ERROR_CODE__ERROR_CODE_KVM_MISSING);
	done();
}

Test(ask_shim, commands_behind_a_plan_get_no_reply)
{
	static uint8_t bytes[4096];
	/* One after the other: an encoder has fields in the order of their numbers, and a command
	 * does not come first. */
	size_t n = protoc_encode("ControlStream", "plan { " FLAT " }", bytes, 2048);

	n += protoc_encode("ControlStream",
	                   "commands { request_id: 1 pause {} } commands { request_id: 2 stop {} }",
	                   bytes + n, 2048);
	ask_bytes(bytes, n, 1, access("/dev/kvm", R_OK | W_OK) == 0 ? 0 : 69);
	for (size_t i = 0; i < answer->n_events; i++)
		cr_assert_neq(answer->events[i]->body_case, AXVM__V1__EVENT__BODY_REPLY);
	done();
}

Test(ask_shim, a_plan_that_is_wrong_is_refused_with_its_field)
{
	static const struct {
		const char *stream;
		Axvm__V1__ErrorCode code;
		const char *field, *says;
	} rows[] = {
		{ FLAT "plan { " FLAT " }", AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_DUPLICATE, NULL,
		  "a plan behind a launch" },
		{ "plan { }", AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID, "launch",
		  "plan.launch is missing" },
		/* In the words and by the fields of a launch. */
		{ "plan { launch { vm_id: 'p' cpus { count: 0 } memory { nodes { size_mib: 64 } } boot { flat_boot { image { fd: 7 } } } "
		  "} }",
		  AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID, "cpus.count",
		  "launch.cpus.count is 0" },
		{ "plan { " FLAT " facts { } }", AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID,
		  "facts", "is not an axvm.v1.HostFacts" },
		{ "plan { " FLAT " facts { cpus { id: 1 } cpus { id: 1 } } }",
		  AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID, "facts",
		  "is not an axvm.v1.HostFacts" },
		{ "plan { " FLAT " claims: '' }", AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_INVALID,
		  "claims", "plan.claims has a path of 0 bytes" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ask(rows[i].stream, 0, 65);
		cr_assert_eq(terminal->outcome, AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED, "%zu", i);
		cr_assert_eq(terminal->errors[0]->code, rows[i].code, "%zu: %s", i,
		             terminal->message);
		cr_assert_not_null(strstr(terminal->errors[0]->message, rows[i].says), "%zu: %s", i,
		                   terminal->message);
		if (rows[i].field)
			cr_assert_str_eq(terminal->errors[0]->field, rows[i].field, "%zu", i);
		done();
	}
	/* Bytes that are none, in the place of facts; a field of the request that is not known; the
	 * launch twice. */
	ask_for((const uint8_t *)"\x0a\x7f", 2, 0, 65);
	cr_assert_eq(terminal->errors[0]->code, AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_MALFORMED);
	cr_assert_str_eq(terminal->errors[0]->field, "facts");
	done();
	ask_for((const uint8_t *)"\xfa\x01\x00", 3, 0, 65);
	cr_assert_eq(terminal->errors[0]->code,
	             AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_UNKNOWN_FIELD);
	done();
	ask_bytes((const uint8_t *)"\x1a\x00", 2, 0, 65);
	done();
}

/* A refusal is a plan all the same, and the errors say what for; waived, it is none. */
Test(ask_shim, a_host_that_is_refused)
{
	static uint8_t bytes[128 * KIB], plan[128 * KIB], stream[128 * KIB];
	static const char *const admissions[] = { "ADMISSION_ENFORCE", "ADMISSION_REPORT" };
	struct host_facts *facts = fixture_i7_4930k();
	size_t n, size;
	char text[512];

	fixture_guest_leaves(facts);
	n = facts_of(facts, bytes, sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(admissions); i++) {
		snprintf(
			text, sizeof(text),
			"launch { vm_id: 'p' admission: %s cpus { count: 1 } memory { nodes { size_mib: 64 } } "
			"boot { flat_boot { image { fd: 7 } } } }",
			admissions[i]);
		size = append(plan, protoc_encode("ControlStream", text, plan, 4096), 2 << 3 | 2,
		              bytes, n);
		ask_bytes(stream, append(stream, 0, 3 << 3 | 2, plan, size), 1, i == 0 ? 69 : 0);
		cr_assert_eq(planned->n_unmet, 1);
		cr_assert_str_eq(planned->unmet[0]->name, "brand");
		cr_assert_eq(planned->unmet[0]->waived, i == 1);
		cr_assert_eq(planned->admitted, i == 1);
		cr_assert_eq(planned->n_vcpus, 1);
		cr_assert_eq(terminal->n_errors, i == 0 ? 1 : 0);
		if (i == 0)
			cr_assert_eq(terminal->errors[0]->code,
			             AXVM__V1__ERROR_CODE__ERROR_CODE_HOST_REFUSED);
		cr_assert(i == 0 ? planned->other_profile &&
		                           strcmp(planned->other_profile, "dev") == 0
		                 : !planned->other_profile);
		done();
	}
}

static size_t files_in(const char *folder)
{
	DIR *dir = opendir(folder);
	size_t count = 0;

	cr_assert_not_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* A folder of claims is looked at, and has no file more; what the launch would open or make, a
 * console's output among it, is not touched. */
Test(ask_shim, a_plan_makes_no_file)
{
	struct fixture_tree tree;
	char text[1024];

	fixture_tree_new(&tree);
	for (int named = 0; named < 2; named++) {
		snprintf(
			text, sizeof(text),
			"plan { launch { vm_id: 'p' profile: 'dev' admission: ADMISSION_REPORT cpus { count: 1 "
			"%s%s%s } memory { nodes { size_mib: 64 } } boot { flat_boot { image { path: '/nonexistent' } "
			"local_apic: true } } console { output { path: '%s/console' } } } %s%s%s }",
			named ? "claims { path: '" : "", named ? tree.root : "", named ? "' }" : "",
			tree.root, named ? "" : "claims: '", named ? "" : tree.root,
			named ? "" : "'");
		ask(text, 1, access("/dev/kvm", R_OK | W_OK) == 0 ? 0 : 69);
		cr_assert_str_eq(planned->claims, tree.root);
		cr_assert_eq(files_in(tree.root), 0);
		done();
	}
	/* A folder that nobody can claim in: gone without where the launch does not name it. */
	ask("plan { " FLAT " claims: '/nonexistent' }", 1,
	    access("/dev/kvm", R_OK | W_OK) == 0 ? 0 : 69);
	cr_assert_null(planned->claims);
	cr_assert_str_eq(
		planned->claims_error,
		"no CPUs can be claimed in /nonexistent: it is not there; make it, mode 3770, its "
		"group all who launch VMs here");
	done();
	ask("plan { launch { vm_id: 'p' profile: 'dev' cpus { count: 1 claims { path: '/nonexistent' } } memory { nodes { size_mib: "
	    "64 } } boot { flat_boot { image { fd: 7 } } } } }",
	    1, 66);
	cr_assert_eq(planned->n_vcpus, 0);
	cr_assert_str_eq(terminal->errors[0]->field, "cpus.claims");
	done();
	fixture_tree_done(&tree);
}

Test(ask_shim, a_shim_that_cannot_be_run)
{
	int status;

	cr_assert_eq(ask_shim("/nonexistent/shim", "", 0, &answer, &status), -ENOENT);
	/* One that says nothing. */
	cr_assert_eq(ask_shim("true", "", 0, &answer, &status), 0);
	cr_assert_eq(answer->n_events, 0);
	done();
}
