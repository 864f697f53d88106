/* SPDX-License-Identifier: MIT */
/* Stage admit of a shim that is asked for a plan: by the same functions, in the same order, as
 * stages admit, acquire and build of a launch, and then the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "boot/boot.h"
#include "host/claims_folder.h"
#include "shim/plan.h"
#include "shim/planned.h"
#include "shim/shim.h"

/* All facts, where a launch reads the quick ones: which CPU those are of is chance, and would show
 * in the verdict. */
static int look(struct shim *shim)
{
	int r;

	if (!shim->planning.here)
		return 0;
	free_ptr(&shim->facts);
	shim->facts = facts_new();
	r = shim->facts ? facts_probe(shim->facts, NULL) : -ENOMEM;
	return r < 0 ? problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
	                            "cannot tell what this host is: %s", facts_error(r))
	             : 0;
}

/* 0, or -errno with a sentence in `why`. */
static int open_claims(struct shim *shim, const char *path, char why[PROBLEM_MESSAGE_MAX])
{
	_cleanup_close_ int fd = claims_folder_open(path);
	int r = fd < 0 ? fd : claims_open(&shim->claims, fd, NULL, true);

	if (r < 0)
		snprintf(why, PROBLEM_MESSAGE_MAX, "no CPUs can be claimed in %s: %s", path,
		         claims_folder_reason(-r, path));
	return r;
}

/* Among the VMs that run now. A folder that the spec names is not gone without. */
static int look_at_others(struct shim *shim, struct planned *planned, char why[PROBLEM_MESSAGE_MAX])
{
	const struct spec_resource *folder = &shim->spec.cpus.claims;
	const char *path =
		folder->kind == RESOURCE_SOURCE_PATH ? folder->path : shim->planning.claims;
	bool named = folder->kind != RESOURCE_SOURCE_NOT_SET;
	int r;

	if (!shim->planning.here || !path || folder->kind == RESOURCE_SOURCE_FD) {
		planned->will_claim = named;
		return 0;
	}
	r = open_claims(shim, path, why);
	if (r < 0 && named)
		return problems_add(&shim->problems,
		                    r == -ENOTDIR  ? ERROR_CODE_RESOURCE_WRONG_KIND
		                    : r == -ENOENT ? ERROR_CODE_RESOURCE_MISSING
		                                   : ERROR_CODE_RESOURCE_UNREADABLE,
		                    -r, "cpus.claims", "%s", why);
	if (r < 0) {
		planned->claims_error = why;
		return 0;
	}
	planned->claims = path;
	r = plan_claim(shim);
	claims_close(&shim->claims);
	return r;
}

/* A file that is missing or unreadable here is no fault of the spec: a launch on another host may
 * have it. */
static int open_file(const struct spec_resource *resource)
{
	return resource->kind == RESOURCE_SOURCE_PATH
	               ? open(resource->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
	               : -1;
}

static void lay_out(struct shim *shim, struct planned *planned)
{
	const struct spec_boot *boot = &shim->spec.boot;
	_cleanup_close_ int kernel = open_file(&boot->kernel);
	_cleanup_close_ int initrd = open_file(&boot->initrd);
	const struct boot_linux_config config = {
		.kernel = { kernel, "boot.linux_boot.kernel" },
		.initrd = { initrd, "boot.linux_boot.initrd" },
		.cmdline = boot->cmdline,
		.cmdline_field = "boot.linux_boot.cmdline",
		.rsdp = LAYOUT_ACPI,
	};

	if (boot->kind != BOOT_KIND_LINUX_BOOT)
		return;
	planned->loaded_unknown =
		kernel < 0 || (boot->initrd.kind != RESOURCE_SOURCE_NOT_SET && initrd < 0);
	if (!planned->loaded_unknown &&
	    boot_plan_linux(&config, &shim->plan.memory, &shim->problems, &planned->loaded) < 0)
		planned->loaded.format = NULL;
}

/* What is planned stands without KVM; all that a launch would be given is not there. */
static void add_lack_of_kvm(struct shim *shim)
{
	const struct host_kvm *kvm = &shim->facts->kvm;
	bool denied = kvm->error_number == EACCES || kvm->error_number == EPERM;
	char text[FACTS_OFFER_TEXT_MAX];
	const char *lacking =
		kvm->accessible
			? "these facts have no kvm.guest_cpuid; take them with `axvm probe --text` "
			  "where KVM is there"
			: facts_lacking(shim->facts, 0, text, sizeof(text));

	(void)problems_add(&shim->problems, denied ? ERROR_CODE_KVM_DENIED : ERROR_CODE_KVM_MISSING,
	                   kvm->error_number, NULL,
	                   "CPUID and machine_sha256 are not known without KVM: %s", lacking);
}

/* Requires: a plan's spec and, where it is for another host, that one's facts. Does: all that a
 * launch decides before it opens what the spec names, and where a kernel would lie; tells it. Must
 * not: claim, write or keep anything. */
int stage_plan(struct shim *shim)
{
	char why[PROBLEM_MESSAGE_MAX];
	struct planned planned = { 0 };
	bool has_kvm;
	int r = look(shim);

	if (r == 0)
		r = admit_judge(shim);
	if (r < 0)
		return r;
	if (shim->spec.admission == ADMISSION_REPORT)
		(void)verdict_waive(&shim->verdict);
	has_kvm = shim->facts->kvm.guest_leaf_count > 0;
	r = plan_machine(shim);
	if (r == 0)
		r = has_kvm ? plan_guest(shim) : plan_without_kvm(shim);
	if (r == 0)
		r = look_at_others(shim, &planned, why);
	planned.placed = r == 0;
	if (r == 0)
		lay_out(shim, &planned);
	if (shim->problems.count == 0 && !has_kvm)
		add_lack_of_kvm(shim);
	if (shim->verdict.unmet > 0 && shim->spec.admission == ADMISSION_ENFORCE) {
		if (shim->problems.count == 0)
			planned.other_profile = admit_alternative(shim->facts, shim->profile.name);
		admit_add_unmet(shim, true);
	}
	r = planned_tell(shim, &planned);
	if (r == -ENOBUFS)
		return problems_add(&shim->problems, ERROR_CODE_INTERNAL, -r, NULL,
		                    "the plan is too large for an event");
	shim->planning.told = true;
	return -ECANCELED;
}
