/* SPDX-License-Identifier: MIT */
/* What is asked of KVM, with a KVM made up: it answers for descriptors of its own, notes what it is
 * asked, and refuses what a test wants refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/kvm.h"
#include "machine/machine.h"
#include "tests/unit/rig/boot_guest.h"
#include "tests/unit/rig/fake_kvm.h"

#define NOTES_MAX 2048

static struct note {
	int fd;
	unsigned long request;
	uint64_t number; /* the argument itself, where it is no pointer */
	union {
		struct kvm_userspace_memory_region slot;
		struct kvm_ioeventfd doorbell;
		struct kvm_irqfd irqfd;
		struct kvm_msi msi;
		struct kvm_enable_cap cap;
		struct kvm_mp_state mp;
		struct kvm_sregs sregs;
		struct kvm_regs regs;
		uint64_t value;
		uint32_t words[4];
	};
} notes[NOTES_MAX];
static size_t notes_count;

static struct {
	int kvm, vm, vcpu;
	unsigned long refused; /* this request fails with EPERM */
	int extension[256];    /* by number */
	int msrs_taken;        /* -1: all */
	int page_size;         /* of what a vCPU shares with user space */
	struct kvm_run *page;
	int (*run)(struct kvm_run *run); /* KVM_RUN: 0, or the errno that it fails with */
	struct kvm_irq_routing_entry routes[VM_MSI_ROUTES_MAX];
	uint32_t routes_count;
} fake;

static size_t size_of(unsigned long request)
{
	return MIN((size_t)_IOC_SIZE(request), sizeof(notes[0].sregs));
}

static void answer(unsigned long request, void *argument)
{
	if (request == KVM_GET_SREGS) {
		*(struct kvm_sregs *)argument =
			(struct kvm_sregs){ .cr0 = 0x60000010, .apic_base = 0xfee00800 };
	} else if (request == KVM_SET_GSI_ROUTING) {
		const struct kvm_irq_routing *routing = argument;

		fake.routes_count = routing->nr;
		memcpy(fake.routes, routing->entries, routing->nr * sizeof(fake.routes[0]));
	}
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
	struct note *note;

	if (request == KVM_RUN && fake.run) {
		/* Not noted: there is no end to them. */
		errno = fake.run(fake.page);
		return errno ? -1 : 0;
	}
	note = &notes[notes_count++];
	cr_assert_lt(notes_count, NOTES_MAX);
	*note = (struct note){ .fd = fd,
		               .request = request,
		               .number = (uint64_t)(uintptr_t)argument };
	if (_IOC_DIR(request) & _IOC_WRITE)
		memcpy(note->words, argument, size_of(request));
	if (request == fake.refused) {
		errno = EPERM;
		return -1;
	}
	if (_IOC_DIR(request) & (_IOC_READ | _IOC_WRITE))
		answer(request, argument);
	switch (request) {
	case KVM_GET_VCPU_MMAP_SIZE:
		return fake.page_size;
	case KVM_CREATE_VM:
		return fake.vm;
	case KVM_CREATE_VCPU:
		return fake.vcpu;
	case KVM_CHECK_EXTENSION:
		return fake.extension[note->number];
	case KVM_SET_MSRS:
		return fake.msrs_taken < 0 ? (int)note->words[0] : fake.msrs_taken;
	default:
		return 0;
	}
}

static bool answer_ioctl(int fd, unsigned long request, void *argument, int *ret_result)
{
	if (fd != fake.kvm && fd != fake.vm && fd != fake.vcpu)
		return false;
	*ret_result = fake_ioctl(fd, request, argument);
	return true;
}

static int new_fd(size_t size)
{
	int fd = memfd_create("kvm", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void new_fake(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.kvm = new_fd(0);
	fake.vm = new_fd(0);
	fake.vcpu = new_fd(3 * 4096);
	fake.msrs_taken = -1;
	fake.page_size = 3 * 4096;
	for (size_t i = 0; i < ARRAY_SIZE(fake.extension); i++)
		fake.extension[i] = 0xff;
	fake.extension[KVM_CAP_MAX_VCPUS] = 64;
	notes_count = 0;
	fake_kvm_ioctl = answer_ioctl;
}

TestSuite(kvm_calls, .init = new_fake, .timeout = 60);

static const struct note *noted(unsigned long request, size_t which)
{
	for (size_t i = 0; i < notes_count; i++)
		if (notes[i].request == request && which-- == 0)
			return &notes[i];
	return NULL;
}

static size_t count_of(unsigned long request)
{
	size_t n = 0;

	while (noted(request, n))
		n++;
	return n;
}

/* ---- capabilities ---------------------------------------------------------------------------- */

Test(kvm_calls, each_capability_that_lacks_is_named)
{
	static const struct {
		int number, enough, too_little;
		const char *name;
	} needs[] = {
		{ KVM_CAP_USER_MEMORY, 1, 0, "USER_MEMORY" },
		{ KVM_CAP_EXT_CPUID, 1, 0, "EXT_CPUID" },
		{ KVM_CAP_MP_STATE, 1, 0, "MP_STATE" },
		{ KVM_CAP_SPLIT_IRQCHIP, 1, 0, "SPLIT_IRQCHIP" },
		{ KVM_CAP_X2APIC_API, 3, 1, "X2APIC_API" },
		{ KVM_CAP_SIGNAL_MSI, 1, -1, "SIGNAL_MSI" },
		{ KVM_CAP_IRQ_ROUTING, 4096, 0, "IRQ_ROUTING" },
		{ KVM_CAP_IRQFD, 1, 0, "IRQFD" },
		{ KVM_CAP_IOEVENTFD, 1, 0, "IOEVENTFD" },
		{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1, 0, "IOEVENTFD_ANY_LENGTH" },
		{ KVM_CAP_IMMEDIATE_EXIT, 1, 0, "IMMEDIATE_EXIT" },
		{ KVM_CAP_SYNC_REGS, 3, 2, "SYNC_REGS" },
		{ KVM_CAP_TSC_DEADLINE_TIMER, 1, 0, "TSC_DEADLINE_TIMER" },
		{ KVM_CAP_ADJUST_CLOCK, 1, 0, "ADJUST_CLOCK" },
		{ KVM_CAP_KVMCLOCK_CTRL, 1, 0, "KVMCLOCK_CTRL" },
	};
	struct problems problems = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
		fake.extension[needs[i].number] = needs[i].enough;
	cr_assert_eq(kvm_check(fake.kvm, 64, &problems), 0, "%s", problems.list[0].message);
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		problems = (struct problems){ 0 };
		fake.extension[needs[i].number] = needs[i].too_little;
		cr_assert_eq(kvm_check(fake.kvm, 64, &problems), -ENOTSUP, "%s", needs[i].name);
		fake.extension[needs[i].number] = needs[i].enough;
		cr_assert_eq(problems.count, 1);
		cr_assert_eq(problems.list[0].code, ERROR_CODE_KVM_CAPABILITY_MISSING);
		cr_assert_not_null(strstr(problems.list[0].message, needs[i].name), "%s",
		                   problems.list[0].message);
		cr_assert_eq(problems.list[0].error_number, ENOSYS);
		cr_assert_str_eq(problems.list[0].field, "");
	}
	problems = (struct problems){ 0 };
	cr_assert_eq(kvm_check(fake.kvm, 65, &problems), -ENOTSUP);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_HOST_LIMIT);
	cr_assert_str_eq(problems.list[0].field, "cpus.count");
	cr_assert_eq(problems.list[0].error_number, E2BIG);
	cr_assert_str_eq(problems.list[0].message,
	                 "65 vCPUs were asked for, this host's KVM allows 64: ask for fewer");
	/* Both at once, in one refusal. */
	fake.extension[KVM_CAP_IRQFD] = 0;
	problems = (struct problems){ 0 };
	cr_assert_eq(kvm_check(fake.kvm, 65, &problems), -ENOTSUP);
	cr_assert_eq(problems.count, 2);
	/* One that does not tell how many allows all. */
	fake.extension[KVM_CAP_IRQFD] = 1;
	fake.extension[KVM_CAP_MAX_VCPUS] = 0;
	cr_assert_eq(kvm_check(fake.kvm, 65, &problems), 0);
}

static int open_error, api_version;

static int open_kvm(void)
{
	errno = open_error;
	return open_error ? -1 : fake.kvm;
}

static bool answer_version(int fd, unsigned long request, void *argument, int *ret_result)
{
	(void)argument;
	if (fd != fake.kvm || request != KVM_GET_API_VERSION)
		return false;
	errno = ENOTTY; /* should it be -1 */
	*ret_result = api_version;
	return true;
}

static const char *vendor_here(void)
{
	static char vendor[64], line[256];
	FILE *file = fopen("/proc/cpuinfo", "re");

	while (fgets(line, sizeof(line), file) && sscanf(line, "vendor_id : %63s", vendor) != 1)
		;
	fclose(file);
	return vendor;
}

/* Denied, absent, or there and not KVM: what to do differs. */
Test(kvm_calls, a_kvm_that_cannot_be_opened)
{
	static const struct {
		int error, version;
		enum axvm_error_code code;
		int told;
		const char *says;
	} rows[] = {
		{ EACCES, 12, ERROR_CODE_KVM_DENIED, EACCES,
		  "no permission for /dev/kvm: run as root" },
		{ EPERM, 12, ERROR_CODE_KVM_DENIED, EPERM,
		  "no permission for /dev/kvm: run as root" },
		{ ENOENT, 12, ERROR_CODE_KVM_MISSING, ENOENT,
		  "there is no /dev/kvm: load %s and switch %s on" },
		{ ENODEV, 12, ERROR_CODE_KVM_MISSING, ENODEV,
		  "cannot open /dev/kvm: No such device; load %s and switch %s on" },
		{ 0, 11, ERROR_CODE_KVM_MISSING, ENODEV,
		  "/dev/kvm is not KVM with API version 12" },
		{ 0, 13, ERROR_CODE_KVM_MISSING, ENODEV,
		  "/dev/kvm is not KVM with API version 12" },
		{ 0, -1, ERROR_CODE_KVM_MISSING, ENOTTY,
		  "/dev/kvm is not KVM with API version 12" },
	};
	/* As the kernel tells of this processor. */
	struct kvm_kind here = kvm_kind_of(vendor_here());
	int fd = -7;

	fake_kvm_open = open_kvm;
	fake_kvm_ioctl = answer_version;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct problems problems = { 0 };
		char says[128];

		snprintf(says, sizeof(says), rows[i].says, here.module, here.technique);
		if (rows[i].error == 0)
			fake.kvm = new_fd(0);
		open_error = rows[i].error;
		api_version = rows[i].version;
		cr_expect_eq(kvm_open(&fd, &problems), -rows[i].told, "row %zu", i);
		cr_expect_eq(fd, -7);
		cr_assert_eq(problems.count, 1);
		cr_expect_eq(problems.list[0].code, rows[i].code, "row %zu", i);
		cr_expect_eq(problems.list[0].error_number, rows[i].told, "row %zu", i);
		cr_expect_str_eq(problems.list[0].field, "");
		cr_expect_not_null(strstr(problems.list[0].message, says), "%s",
		                   problems.list[0].message);
		cr_expect(rows[i].error || fcntl(fake.kvm, F_GETFD) < 0, "closed again");
	}
	open_error = 0;
	api_version = 12;
	fake.kvm = new_fd(0);
	cr_expect_eq(kvm_open(&fd, &(struct problems){ 0 }), 0);
	cr_expect(fd == fake.kvm && fcntl(fd, F_GETFD) >= 0);
}

/* ---- the VM ---------------------------------------------------------------------------------- */

static struct guest_memory memory;
static struct vm vm;

static void make_vm(bool apic)
{
	static const uint64_t size = 4 * GIB;
	struct problems problems = { 0 };

	cr_assert_eq(guest_memory_layout(&memory, &size, 1), 0);
	memory.regions[0].hva = (uint8_t *)0x10000000;
	memory.regions[1].hva = (uint8_t *)0x20000000;
	memset(&vm, 0, sizeof(vm));
	cr_assert_eq(vm_create(&vm, fake.kvm, &memory, apic, &problems), 0, "%s",
	             problems.list[0].message);
}

/* Slots first, KVM's own pages, the chip last: see vm.h. */
Test(kvm_calls, a_vm_is_made_in_order)
{
	static const unsigned long order[] = {
		KVM_GET_VCPU_MMAP_SIZE,
		KVM_CREATE_VM,
		KVM_SET_USER_MEMORY_REGION,
		KVM_SET_USER_MEMORY_REGION,
		KVM_SET_IDENTITY_MAP_ADDR,
		KVM_SET_TSS_ADDR,
		KVM_ENABLE_CAP,
		KVM_ENABLE_CAP,
	};

	make_vm(true);
	cr_assert_eq(notes_count, ARRAY_SIZE(order));
	for (size_t i = 0; i < notes_count; i++)
		cr_assert_eq(notes[i].request, order[i], "call %zu", i);
	for (size_t i = 0; i < 2; i++) {
		const struct kvm_userspace_memory_region *slot =
			&noted(KVM_SET_USER_MEMORY_REGION, i)->slot;

		cr_assert(slot->slot == i && slot->flags == 0);
		cr_assert_eq(slot->guest_phys_addr, i ? 4 * GIB : 0);
		cr_assert_eq(slot->memory_size, i ? GIB : 3 * GIB);
		cr_assert_eq(slot->userspace_addr, i ? 0x20000000 : 0x10000000);
	}
	cr_assert_eq(noted(KVM_SET_IDENTITY_MAP_ADDR, 0)->value, LAYOUT_KVM_IDENTITY_MAP);
	cr_assert_eq(noted(KVM_SET_TSS_ADDR, 0)->number, LAYOUT_KVM_TSS);
	cr_assert_eq(noted(KVM_ENABLE_CAP, 0)->cap.cap, KVM_CAP_SPLIT_IRQCHIP);
	cr_assert_eq(noted(KVM_ENABLE_CAP, 0)->cap.args[0], LAYOUT_IOAPIC_PINS);
	cr_assert_eq(noted(KVM_ENABLE_CAP, 1)->cap.cap, KVM_CAP_X2APIC_API);
	cr_assert_eq(noted(KVM_ENABLE_CAP, 1)->cap.args[0], 3, "32-bit ids, no broadcast quirk");
	cr_assert(vm.run_size == 3 * 4096 && vm.has_apic);
	notes_count = 0;
	make_vm(false);
	cr_assert_eq(count_of(KVM_ENABLE_CAP), 0);
}

Test(kvm_calls, a_vm_that_kvm_refuses)
{
	static const unsigned long steps[] = { KVM_CREATE_VM, KVM_SET_USER_MEMORY_REGION,
		                               KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR,
		                               KVM_ENABLE_CAP };

	make_vm(true);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct problems problems = { 0 };

		fake.refused = steps[i];
		memset(&vm, 0, sizeof(vm));
		cr_assert_eq(vm_create(&vm, fake.kvm, &memory, true, &problems), -EPERM, "step %zu",
		             i);
		cr_assert_eq(problems.list[0].code, ERROR_CODE_KVM_FAILED);
	}
}

/* What a vCPU shares must hold what is read from it. */
Test(kvm_calls, a_run_page_that_is_too_small)
{
	const int whole = (int)sizeof(struct kvm_run);
	const int sizes[] = { 0, -1, whole - 1, whole };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct problems problems = { 0 };

		make_vm(false);
		fake.page_size = sizes[i];
		errno = ENOENT; /* of this call where it fails, else of another */
		cr_expect_eq(vm_create(&vm, fake.kvm, &memory, false, &problems),
		             sizes[i] == whole ? 0
		             : sizes[i] < 0    ? -ENOENT
		                               : -ENOTSUP,
		             "%d", sizes[i]);
		cr_expect_eq(problems.count, sizes[i] != whole);
		if (problems.count > 0) {
			cr_expect_eq(problems.list[0].code, ERROR_CODE_KVM_FAILED);
			cr_expect_not_null(strstr(problems.list[0].message, "run page"), "%s",
			                   problems.list[0].message);
		}
		fake.page_size = 3 * 4096;
	}
}

/* Each of the three exits by its own bit; polling when there is a figure, 0 too; nothing when
 * nothing is asked. */
Test(kvm_calls, each_tuning_asks_kvm_for_its_own_bit)
{
	struct problems problems = { 0 };

	make_vm(true);
	for (unsigned asked = 0; asked < 8; asked++) {
		const struct vm_tuning tuning = { .disable_hlt_exits = asked & 1,
			                          .disable_pause_exits = asked & 2,
			                          .disable_cstate_exits = asked & 4 };
		uint64_t bits = (asked & 1 ? 2 : 0) | (asked & 2 ? 4 : 0) | (asked & 4 ? 8 : 0);

		notes_count = 0;
		cr_assert_eq(vm_tune(&vm, &tuning, &problems), 0);
		cr_assert_eq(notes_count, asked ? 1 : 0);
		cr_assert(!asked || (notes[0].cap.cap == KVM_CAP_X86_DISABLE_EXITS &&
		                     notes[0].cap.args[0] == bits));
	}
	for (uint32_t ns = 0; ns <= 50000; ns += 50000) {
		const struct vm_tuning tuning = { .has_halt_poll_ns = true, .halt_poll_ns = ns };

		notes_count = 0;
		cr_assert_eq(vm_tune(&vm, &tuning, &problems), 0);
		cr_assert(notes_count == 1 && notes[0].cap.cap == KVM_CAP_HALT_POLL &&
		          notes[0].cap.args[0] == ns);
	}
	fake.refused = KVM_ENABLE_CAP;
	cr_assert_eq(vm_tune(&vm, &(struct vm_tuning){ .disable_hlt_exits = true }, &problems),
	             -EPERM);
	cr_assert_str_eq(problems.list[0].field, "cpus.tenancy");
	cr_assert_eq(vm_tune(&vm, &(struct vm_tuning){ .has_halt_poll_ns = true }, &problems),
	             -EPERM);
	cr_assert_str_eq(problems.list[1].field, "profile");
}

/* ---- interrupts and doorbells ---------------------------------------------------------------- */

Test(kvm_calls, doorbells_come_and_go)
{
	const struct fabric_ops *ops;
	const struct note *note;

	make_vm(true);
	ops = vm.fabric.ops;
	cr_assert_eq(ops->add_doorbell(&vm.fabric, 0xc0003000, 77), 0);
	note = noted(KVM_IOEVENTFD, 0);
	cr_assert_eq(note->fd, fake.vm);
	cr_assert(note->doorbell.addr == 0xc0003000 && note->doorbell.fd == 77 &&
	          note->doorbell.len == 0);
	cr_assert_eq(note->doorbell.flags, 0);
	cr_assert_eq(ops->remove_doorbell(&vm.fabric, 0xc0003000, 77), 0);
	note = noted(KVM_IOEVENTFD, 1);
	cr_assert(note->doorbell.addr == 0xc0003000 && note->doorbell.fd == 77 &&
	          note->doorbell.len == 0);
	cr_assert_eq(note->doorbell.flags, KVM_IOEVENTFD_FLAG_DEASSIGN);
	fake.refused = KVM_IOEVENTFD;
	cr_assert_eq(ops->add_doorbell(&vm.fabric, 0xc0003000, 77), -EPERM);
	cr_assert_eq(ops->remove_doorbell(&vm.fabric, 0xc0003000, 77), -EPERM);
}

/* GSIs behind the I/O APIC's pins, one an eventfd, to the last and no further. */
Test(kvm_calls, irqfds_are_numbered)
{
	uint32_t gsi = 0;

	make_vm(true);
	fake.refused = KVM_IRQFD;
	cr_assert_eq(vm.fabric.ops->add_irqfd(&vm.fabric, 50, &gsi), -EPERM);
	fake.refused = 0;
	notes_count = 0;
	for (uint32_t i = 0; i < VM_MSI_ROUTES_MAX; i++) {
		cr_assert_eq(vm.fabric.ops->add_irqfd(&vm.fabric, (int)(50 + i), &gsi), 0);
		cr_assert_eq(gsi, 24 + i, "a refusal takes no number");
		cr_assert(notes[i].irqfd.fd == 50 + i && notes[i].irqfd.gsi == gsi &&
		          notes[i].irqfd.flags == 0);
	}
	cr_assert_eq(vm.fabric.ops->add_irqfd(&vm.fabric, 50, &gsi), -ENOSPC);
}

/* A route is changed in its place; all of them are told each time; each half of the address in its
 * own. */
Test(kvm_calls, routes_are_told_as_a_whole)
{
	const struct fabric_ops *ops;

	make_vm(true);
	ops = vm.fabric.ops;
	cr_assert_eq(ops->route_msi(&vm.fabric, 24, 0xfee01000, 0x31), 0);
	cr_assert_eq(ops->route_msi(&vm.fabric, 30, 0x1fee02000, 0x32), 0);
	cr_assert_eq(ops->route_msi(&vm.fabric, 24, 0xfee03000, 0x33), 0);
	cr_assert_eq(fake.routes_count, 2);
	cr_assert(fake.routes[0].gsi == 24 && fake.routes[1].gsi == 30);
	for (size_t i = 0; i < 2; i++)
		cr_assert(fake.routes[i].type == KVM_IRQ_ROUTING_MSI && fake.routes[i].flags == 0);
	cr_assert(fake.routes[0].u.msi.address_lo == 0xfee03000 &&
	          fake.routes[0].u.msi.address_hi == 0);
	cr_assert(fake.routes[1].u.msi.address_lo == 0xfee02000 &&
	          fake.routes[1].u.msi.address_hi == 1);
	cr_assert(fake.routes[0].u.msi.data == 0x33 && fake.routes[1].u.msi.data == 0x32);
	for (uint32_t gsi = 100; gsi < 100 + VM_MSI_ROUTES_MAX - 2; gsi++)
		cr_assert_eq(ops->route_msi(&vm.fabric, gsi, 0xfee00000, 0), 0);
	cr_assert_eq(ops->route_msi(&vm.fabric, 9999, 0xfee00000, 0), -ENOSPC);
	cr_assert_eq(ops->route_msi(&vm.fabric, 24, 0xfee00000, 0), 0,
	             "one that is there may be changed");
	fake.refused = KVM_SET_GSI_ROUTING;
	cr_assert_eq(ops->route_msi(&vm.fabric, 24, 0xfee00000, 0), -EPERM);
}

static void *signal_from_a_vcpu(void *context)
{
	*(int *)context = vm_signal_msi(&vm, 0x2fee04000, 0x44);
	return NULL;
}

/* From the control thread at once; from another one by way of it, with the result handed back. */
Test(kvm_calls, calls_are_handed_to_the_control_thread)
{
	int wake = eventfd(0, EFD_CLOEXEC), result = 1;
	pthread_t thread;
	uint64_t n;

	make_vm(true);
	cr_assert_eq(vm_signal_msi(&vm, 0x2fee04000, 0x43), 0);
	cr_assert(noted(KVM_SIGNAL_MSI, 0)->msi.address_lo == 0xfee04000 &&
	          noted(KVM_SIGNAL_MSI, 0)->msi.address_hi == 2);
	cr_assert_eq(noted(KVM_SIGNAL_MSI, 0)->msi.data, 0x43);
	vm_forward_calls(&vm, wake);
	cr_assert_eq(vm_signal_msi(&vm, 0, 0), 0, "its own calls are its own");
	vm_serve_calls(&vm);
	cr_assert_eq(count_of(KVM_SIGNAL_MSI), 2, "there was no call to serve");
	for (int refused = 0; refused < 2; refused++) {
		size_t before = count_of(KVM_SIGNAL_MSI);

		fake.refused = refused ? KVM_SIGNAL_MSI : 0;
		cr_assert_eq(pthread_create(&thread, NULL, signal_from_a_vcpu, &result), 0);
		cr_assert_eq(read(wake, &n, sizeof(n)), sizeof(n), "woken");
		cr_assert_eq(count_of(KVM_SIGNAL_MSI), before, "not by the thread itself");
		vm_serve_calls(&vm);
		pthread_join(thread, NULL);
		cr_assert_eq(result, refused ? -EPERM : 0);
		cr_assert_eq(count_of(KVM_SIGNAL_MSI), before + 1);
		cr_assert_eq(noted(KVM_SIGNAL_MSI, before)->msi.data, 0x44);
	}
	close(wake);
}

/* ---- a vCPU ---------------------------------------------------------------------------------- */

static struct machine machine;

static int make_vcpu(uint32_t index, enum vcpu_start start, bool apic)
{
	static struct guest_topology topology = { .vcpu_count = 2, .node_count = 1, .packages = 1 };
	static struct cpuid_table cpuid = { .nent = 1 };
	const struct vcpu_entry entry = { .start = start,
		                          .rip = 1,
		                          .rsp = 2,
		                          .rdi = 3,
		                          .rsi = 4,
		                          .rdx = 5,
		                          .rbx = 6,
		                          .page_table = GPA(0x9000),
		                          .code_selector = 0x10 };
	struct vcpu *vcpu = &machine.vcpus[index];

	make_vm(apic);
	notes_count = 0;
	memset(&machine, 0, sizeof(machine));
	machine.vm = vm;
	*vcpu = (struct vcpu){
		.index = index, .apic_id = 40 + index, .machine = &machine, .vm = &machine.vm
	};
	return vcpu_create(vcpu, &entry, &cpuid, &topology);
}

Test(kvm_calls, a_vcpu_gets_its_whole_state)
{
	const struct kvm_regs *regs;

	cr_assert_eq(make_vcpu(1, VCPU_LONG_MODE, true), 0);
	cr_assert_eq(noted(KVM_CREATE_VCPU, 0)->number, 41, "its number is its APIC id");
	cr_assert_eq(noted(KVM_SET_CPUID2, 0)->words[0], 4,
	             "the leaf that was there and three of topology");
	regs = &noted(KVM_SET_REGS, 0)->regs;
	cr_assert(regs->rip == 1 && regs->rsp == 2 && regs->rdi == 3 && regs->rsi == 4 &&
	          regs->rdx == 5 && regs->rbx == 6 && regs->rflags == 2);
	cr_assert_eq(noted(KVM_SET_SREGS, 0)->sregs.apic_base, 0xfee00c00, "x2APIC mode");
	cr_assert_eq(noted(KVM_SET_SREGS, 0)->sregs.cr3, 0x9000);
	cr_assert_eq(noted(KVM_SET_MSRS, 0)->words[0], 11);
	/* With local APICs only vCPU 0 would start by itself. */
	cr_assert_eq(noted(KVM_SET_MP_STATE, 0)->mp.mp_state, KVM_MP_STATE_RUNNABLE);
	cr_assert_eq(make_vcpu(0, VCPU_LONG_MODE, true), 0);
	cr_assert_null(noted(KVM_SET_MP_STATE, 0));
	cr_assert_eq(make_vcpu(1, VCPU_LONG_MODE, false), 0);
	cr_assert_null(noted(KVM_SET_MP_STATE, 0));
	cr_assert_eq(noted(KVM_SET_SREGS, 0)->sregs.apic_base, 0xfee00800);
	/* One that waits is left as a reset leaves it, but for the mode of its APIC. */
	cr_assert_eq(make_vcpu(1, VCPU_WAITS, true), 0);
	cr_assert_null(noted(KVM_SET_REGS, 0));
	cr_assert_null(noted(KVM_SET_MP_STATE, 0));
	cr_assert(noted(KVM_SET_SREGS, 0)->sregs.cr0 == 0x60000010 &&
	          noted(KVM_SET_SREGS, 0)->sregs.efer == 0);
	cr_assert_eq(noted(KVM_SET_SREGS, 0)->sregs.apic_base, 0xfee00c00);
	cr_assert_not_null(noted(KVM_SET_MSRS, 0));
}

Test(kvm_calls, a_vcpu_that_kvm_refuses)
{
	static const struct {
		unsigned long request;
		const char *says;
	} steps[] = {
		{ KVM_CREATE_VCPU, "to create it" },
		{ KVM_SET_CPUID2, "its CPUID" },
		{ KVM_GET_SREGS, "its system registers" },
		{ KVM_SET_SREGS, "its system registers" },
		{ KVM_SET_REGS, "its registers" },
		{ KVM_SET_MSRS, "its MSRs" },
		{ KVM_SET_MP_STATE, "to start it" },
	};
	const struct problem *problem = &machine.vcpus[1].problems.list[0];

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		fake.refused = steps[i].request;
		cr_assert_eq(make_vcpu(1, VCPU_LONG_MODE, true), -EPERM, "%s", steps[i].says);
		cr_assert_eq(problem->code, ERROR_CODE_KVM_FAILED);
		cr_assert_not_null(strstr(problem->message, steps[i].says), "%s", problem->message);
		cr_assert_not_null(strstr(problem->message, "vCPU 1"), "%s", problem->message);
	}
	/* KVM takes MSRs up to the first that it does not know. */
	fake.refused = 0;
	fake.msrs_taken = 10;
	cr_assert_eq(make_vcpu(1, VCPU_LONG_MODE, true), -EIO);
}

static int tries, try_fails_with;

static int one_try(struct kvm_run *run)
{
	cr_assert_eq(run->immediate_exit, 1, "no guest is entered");
	tries++;
	return try_fails_with;
}

/* What KVM has to start for a VM it starts before the guest runs, where it can still be said that
 * it could not. */
Test(kvm_calls, a_vm_is_tried_before_it_runs)
{
	static const struct {
		int error, result;
		enum axvm_error_code code;
		const char *says;
	} rows[] = {
		{ EINTR, 0, 0, NULL },
		{ 0, 0, 0, NULL },
		{ EAGAIN, -EAGAIN, ERROR_CODE_HOST_LIMIT, "TasksMax" },
		{ ENOMEM, -ENOMEM, ERROR_CODE_HOST_LIMIT, "RLIMIT_NPROC" },
		{ EIO, -EIO, ERROR_CODE_KVM_FAILED, "vCPU 0: KVM refuses to run it" },
	};

	fake.run = one_try;
	fake.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fake.vcpu, 0);
	cr_assert_neq(fake.page, MAP_FAILED);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vcpu *vcpu = &machine.vcpus[0];

		tries = 0;
		try_fails_with = rows[i].error;
		cr_assert_eq(make_vcpu(0, VCPU_LONG_MODE, true), 0);
		cr_assert(tries == 0 && !vcpu->waits);
		cr_assert_eq(vcpu_try_run(&machine.vcpus[0]), rows[i].result, "case %zu", i);
		cr_assert(tries == 1 && vcpu->run->immediate_exit == 0);
		cr_assert_eq(vcpu->problems.count, rows[i].says ? 1 : 0);
		if (rows[i].says)
			cr_assert(vcpu->problems.list[0].code == rows[i].code &&
			          strstr(vcpu->problems.list[0].message, rows[i].says));
	}
	cr_assert_eq(make_vcpu(1, VCPU_WAITS, true), 0);
	cr_assert(machine.vcpus[1].waits);
}

/* ---- the run loop ---------------------------------------------------------------------------- */

static _Atomic uint32_t runs;
static bool starts_waiting;

static void *loop_main(void *context)
{
	vcpu_loop(context);
	return NULL;
}

/* Starts the loop of vCPU 0 with what KVM_RUN shall do; the vCPU's page is ordinary memory. */
static pthread_t start_loop(int (*run)(struct kvm_run *run))
{
	static struct kvm_run page;
	pthread_t thread;

	memset(&machine, 0, sizeof(machine));
	memset(&page, 0, sizeof(page));
	machine.vcpu_count = 1;
	machine.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine.vcpus[0] = (struct vcpu){
		.fd = fake.vcpu, .run = &page, .machine = &machine, .waits = starts_waiting
	};
	fake.page = &page;
	fake.run = run;
	runs = 0;
	cr_assert_eq(pthread_create(&thread, NULL, loop_main, &machine.vcpus[0]), 0);
	return thread;
}

static void stop_loop(pthread_t thread)
{
	machine_ask(&machine, MACHINE_STOP);
	pthread_join(thread, NULL);
	cr_assert_eq(machine.parked, 1, "it stays counted");
	close(machine.wake_fd);
}

static void until(const _Atomic uint32_t *word, uint32_t value)
{
	while (atomic_load(word) < value)
		usleep(1000);
}

static int another_vcpu_ends(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTR;
	atomic_store(&machine.ending, true);
	atomic_fetch_add(&runs, 1);
	return 0;
}

/* Beside a vCPU that has ended the VM none enters the guest again; it waits, parked, for the
 * stop. */
Test(kvm_calls, nobody_goes_on_beside_one_that_ended)
{
	pthread_t thread = start_loop(another_vcpu_ends);

	until(&machine.parked, 1);
	/* Not even when it is asked to go on. */
	machine_ask(&machine, MACHINE_RUN);
	usleep(20000);
	cr_assert_eq(runs, 1);
	stop_loop(thread);
}

static int kicked(struct kvm_run *run)
{
	run->immediate_exit = 1;
	atomic_fetch_add(&runs, 1);
	return runs % 3 ? EINTR : EAGAIN;
}

/* A kick leads back into the guest when nothing is wanted; a pause parks, and telling the guest's
 * clock follows it. */
Test(kvm_calls, a_kick_a_pause_and_on)
{
	pthread_t thread = start_loop(kicked);
	uint32_t before;

	until(&runs, 10);
	machine_ask(&machine, MACHINE_PAUSE);
	until(&machine.parked, 1);
	before = runs;
	usleep(20000);
	cr_assert_eq(runs, before, "paused");
	cr_assert(machine.vcpus[0].parked && count_of(KVM_KVMCLOCK_CTRL) == 0);
	notes_count = 0;
	machine_ask(&machine, MACHINE_RUN);
	until(&runs, before + 5);
	cr_assert_eq(notes[0].request, KVM_KVMCLOCK_CTRL, "before it runs again");
	cr_assert_eq(count_of(KVM_KVMCLOCK_CTRL), 1);
	cr_assert(machine.parked == 0 && !machine.vcpus[0].parked);
	stop_loop(thread);
	cr_assert_eq(machine.end, MACHINE_END_NONE);
}

static int out_of_memory(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	atomic_fetch_add(&runs, 1);
	return runs == 1 ? EFAULT : EINTR;
}

static int has_no_thread(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	atomic_fetch_add(&runs, 1);
	return run->immediate_exit ? EINTR : EAGAIN;
}

/* A vCPU that KVM cannot enter for want of a thread is not tried for ever; one that waits for SIPI
 * is. */
Test(kvm_calls, a_run_that_never_begins_ends_the_vm)
{
	pthread_t thread = start_loop(has_no_thread);

	until(&machine.parked, 1);
	cr_assert_eq(machine.end, MACHINE_END_VCPU_FAILED);
	cr_assert(machine.end_detail == EAGAIN && machine.end_exit == KVM_EXIT_UNKNOWN);
	stop_loop(thread);
	starts_waiting = true;
	thread = start_loop(has_no_thread);
	until(&runs, 10000);
	cr_assert(machine.end == MACHINE_END_NONE && machine.parked == 0);
	stop_loop(thread);
}

/* What KVM_RUN fails with is told as the detail of an end, under no exit's name. */
Test(kvm_calls, a_run_that_fails_ends_the_vm)
{
	pthread_t thread = start_loop(out_of_memory);

	until(&machine.parked, 1);
	cr_assert_eq(machine.end, MACHINE_END_VCPU_FAILED);
	cr_assert(machine.end_detail == EFAULT && machine.end_exit == KVM_EXIT_UNKNOWN);
	/* Once to run, once for the registers. */
	cr_assert_eq(runs, 2);
	stop_loop(thread);
}
