/* SPDX-License-Identifier: MIT */
/* The events about the shim itself and its VM. Each list of an event is as long as the array that
 * fills it, so that none can overflow. */
#include "shim/announce.h"

#include "interface/event.h"
#include "interface/version.h"
#include "sandbox/policy.h"
#include "shim/shim.h"

void announce_fill_stage(Axvm__V1__StageCompleted *to, enum axvm_stage stage, uint64_t duration_ns)
{
	axvm__v1__stage_completed__init(to);
	EVENT_SET(to, stage, (Axvm__V1__Stage)stage);
	EVENT_SET(to, duration_ns, duration_ns);
}

int announce_stage(struct shim *shim)
{
	Axvm__V1__StageCompleted body;

	announce_fill_stage(&body, shim->stage, shim->stage_ns[shim->stage]);
	return event_writer_put(&shim->events, EVENT(STAGE_COMPLETED, stage_completed, &body));
}

static void fill_requirement(Axvm__V1__Requirement *to, const struct verdict_row *row)
{
	axvm__v1__requirement__init(to);
	to->name = EVENT_TEXT(row->name);
	to->asked = EVENT_TEXT(row->asked);
	to->found = EVENT_TEXT(row->found);
	EVENT_SET(to, met, row->met);
	EVENT_SET(to, waived, row->waived);
}

int announce_refusal(struct shim *shim)
{
	Axvm__V1__HostRefused body = AXVM__V1__HOST_REFUSED__INIT;
	Axvm__V1__Requirement rows[PROFILE_NAMES_MAX], *list[PROFILE_NAMES_MAX];

	for (size_t i = 0; i < shim->verdict.count; i++) {
		if (shim->verdict.rows[i].met)
			continue;
		fill_requirement(&rows[i], &shim->verdict.rows[i]);
		list[body.n_requirements++] = &rows[i];
	}
	body.profile = shim->profile.name;
	body.requirements = list;
	return event_writer_put(&shim->events, EVENT(HOST_REFUSED, host_refused, &body));
}

int announce_memory(struct shim *shim)
{
	Axvm__V1__MemoryPlaced body = AXVM__V1__MEMORY_PLACED__INIT;
	Axvm__V1__PlacedNode rows[GUEST_NODES_MAX], *list[GUEST_NODES_MAX];

	for (size_t i = 0; i < shim->spec.memory.count; i++) {
		const struct numa_counts *counts = &shim->ram.nodes[i];

		axvm__v1__placed_node__init(&rows[i]);
		EVENT_SET(&rows[i], guest_node, (uint32_t)i);
		EVENT_SET(&rows[i], host_node,
		          (uint32_t)MAX(shim->placement.nodes[i].host_node, 0));
		EVENT_SET(&rows[i], pages_4k, counts->pages_4k);
		EVENT_SET(&rows[i], pages_2m, counts->pages_2m);
		EVENT_SET(&rows[i], pages_1g, counts->pages_1g);
		EVENT_SET(&rows[i], remote_pages, counts->remote_pages);
		list[body.n_nodes++] = &rows[i];
	}
	body.nodes = list;
	EVENT_SET(&body, remote_pages, shim->ram.remote_pages);
	return event_writer_put(&shim->events, EVENT(MEMORY_PLACED, memory_placed, &body));
}

/* sandbox_verify_process() and sandbox_verify_threads() accept no other values of what is a
 * constant here. */
static void fill_attributes(Axvm__V1__Sealed *to, const struct sandbox *sandbox)
{
	EVENT_SET(to, no_new_privs, true);
	EVENT_SET(to, dumpable, false);
	EVENT_SET(to, capabilities_empty, true);
	EVENT_SET(to, uid, sandbox->uid);
	EVENT_SET(to, gid, sandbox->gid);
	EVENT_SET(to, landlock_abi, sandbox->landlock_abi);
	EVENT_SET(to, securebits_locked, sandbox->privileged || sandbox->namespaced);
	EVENT_SET(to, memory_deny_write_execute, sandbox->writes_refused_exec);
	EVENT_SET(to, launcher_death_told, sandbox->config.stop_with_launcher);
}

int announce_sealed(struct shim *shim, const struct sandbox_seen *seen)
{
	const struct sandbox *sandbox = &shim->sandbox;
	const uint32_t vcpus = shim->machine.vcpu_count;
	const uint32_t threads[SANDBOX_ROLE_COUNT] = {
		[SANDBOX_ROLE_CONTROL] = 1,
		[SANDBOX_ROLE_VCPU] = vcpus,
		[SANDBOX_ROLE_IO] = shim->threads - vcpus,
	};
	Axvm__V1__Sealed body = AXVM__V1__SEALED__INIT;
	Axvm__V1__SealedRole rows[SANDBOX_ROLE_COUNT], *list[SANDBOX_ROLE_COUNT];
	char *inherited[SANDBOX_INHERITED_MAX];

	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		if (threads[role] == 0)
			continue;
		axvm__v1__sealed_role__init(&rows[role]);
		rows[role].role = EVENT_TEXT(sandbox_role_name(role));
		EVENT_SET(&rows[role], threads, threads[role]);
		EVENT_SET(&rows[role], instructions, sandbox_filters[role].count);
		list[body.n_roles++] = &rows[role];
	}
	for (size_t i = 0; i < sandbox->inherited_count; i++)
		inherited[body.n_inherited++] = EVENT_TEXT(sandbox->inherited[i]);
	fill_attributes(&body, sandbox);
	EVENT_SET(&body, threads, seen->threads);
	/* or devices_enable() had failed */
	EVENT_SET(&body, rings_restricted, threads[SANDBOX_ROLE_IO]);
	body.roles = list;
	body.inherited = inherited;
	body.policy_sha256 = EVENT_TEXT(sandbox_policies_digest_hex);
	body.namespaces = (char **)(uintptr_t)seen->namespaces;
	body.n_namespaces = seen->namespaces_count;
	body.namespace_inodes = (uint64_t *)(uintptr_t)seen->namespace_inodes;
	body.n_namespace_inodes = seen->namespaces_count;
	body.not_available = (char **)(uintptr_t)sandbox->not_available;
	body.n_not_available = sandbox->not_available_count;
	body.fds = (uint32_t *)(uintptr_t)seen->fds;
	body.n_fds = seen->fds_count;
	return event_writer_put(&shim->events, EVENT(SEALED, sealed, &body));
}

/* ---- running --------------------------------------------------------------------------------- */

/* What a running event lists. */
struct running_lists {
	Axvm__V1__Requirement waived[PROFILE_NAMES_MAX], *waived_list[PROFILE_NAMES_MAX];
	Axvm__V1__VcpuPlacement vcpus[MACHINE_VCPUS_MAX], *vcpu_list[MACHINE_VCPUS_MAX];
	Axvm__V1__ThreadRecord threads[SHIM_THREADS_MAX], *thread_list[SHIM_THREADS_MAX];
	Axvm__V1__Vulnerability known[FACTS_VULNERABILITIES_MAX],
		*known_list[FACTS_VULNERABILITIES_MAX];
};

static void fill_vcpus(const struct shim *shim, Axvm__V1__Running *body,
                       struct running_lists *lists)
{
	for (uint32_t i = 0; i < shim->machine.vcpu_count; i++) {
		const struct vcpu *vcpu = &shim->machine.vcpus[i];
		Axvm__V1__VcpuPlacement *row = &lists->vcpus[i];

		axvm__v1__vcpu_placement__init(row);
		EVENT_SET(row, index, i);
		EVENT_SET(row, apic_id, vcpu->apic_id);
		row->has_host_cpu = shim->placement.pinned;
		row->host_cpu = (uint32_t)MAX(vcpu->host_cpu, 0);
		EVENT_SET(row, host_node, (uint32_t)MAX(vcpu->host_node, 0));
		lists->vcpu_list[body->n_vcpus++] = row;
	}
	body->vcpus = lists->vcpu_list;
}

static void fill_threads(const struct shim *shim, Axvm__V1__Running *body,
                         struct running_lists *lists)
{
	for (uint32_t i = 0; i < shim->threads; i++) {
		const struct thread_record *from = &shim->records[i];
		Axvm__V1__ThreadRecord *row = &lists->threads[i];

		axvm__v1__thread_record__init(row);
		row->name = EVENT_TEXT(from->name);
		row->has_host_cpu = shim->placement.pinned;
		row->host_cpu = from->host_cpu;
		EVENT_SET(row, host_node, from->host_node);
		EVENT_SET(row, started_ns, from->started_ns);
		EVENT_SET(row, staffed_ns, from->staffed_ns);
		EVENT_SET(row, sealing_ns, from->sealing_ns);
		lists->thread_list[body->n_threads++] = row;
	}
	body->threads = lists->thread_list;
}

static void fill_host(const struct shim *shim, Axvm__V1__Running *body, struct running_lists *lists)
{
	for (size_t i = 0; i < shim->verdict.count; i++) {
		if (!shim->verdict.rows[i].waived)
			continue;
		fill_requirement(&lists->waived[i], &shim->verdict.rows[i]);
		lists->waived_list[body->n_waived++] = &lists->waived[i];
	}
	for (size_t i = 0; i < shim->vulnerabilities_count; i++) {
		axvm__v1__vulnerability__init(&lists->known[i]);
		lists->known[i].name = EVENT_TEXT(shim->vulnerabilities[i].name);
		lists->known[i].state = EVENT_TEXT(shim->vulnerabilities[i].value);
		lists->known_list[body->n_vulnerabilities++] = &lists->known[i];
	}
	body->waived = lists->waived_list;
	body->vulnerabilities = lists->known_list;
}

int announce_running(struct shim *shim)
{
	Axvm__V1__Running body = AXVM__V1__RUNNING__INIT;
	struct running_lists lists;

	fill_host(shim, &body, &lists);
	fill_vcpus(shim, &body, &lists);
	fill_threads(shim, &body, &lists);
	body.profile = EVENT_TEXT(shim->verdict.profile);
	EVENT_SET(&body, development, shim->verdict.development);
	EVENT_SET(&body, pinned, shim->placement.pinned);
	EVENT_SET(&body, claimed, shim->placement.claimed);
	body.machine_sha256 = shim->plan.digest;
	body.kernel_sha256 = shim->kernel_digest[0] ? shim->kernel_digest : NULL;
	body.initrd_sha256 = shim->initrd_digest[0] ? shim->initrd_digest : NULL;
	body.version = EVENT_TEXT(AXVM_VERSION);
	return event_writer_put(&shim->events, EVENT(RUNNING, running, &body));
}
