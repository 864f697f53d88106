/* SPDX-License-Identifier: MIT */
/* One virtual machine in KVM: slots, interrupt routes, doorbells, and the call slot through which
 * vCPU threads reach them. */
#include "machine/vm.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/futex.h"
#include "base/uses.h"
#include "base/wake.h"
#include "guest/layout.h"

enum { VM_CALL_FREE, VM_CALL_ASKED, VM_CALL_DONE };

static int set_routes(struct vm *vm)
{
	SANDBOX_USES(control, ioctl, arg0 == VM_FD && arg1 == KVM_SET_GSI_ROUTING);
	static_assert(offsetof(__typeof__(vm->routing), entries) ==
	                      offsetof(struct kvm_irq_routing, entries),
	              "KVM reads it as a struct kvm_irq_routing");
	vm->routing.nr = vm->routes_used;
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &vm->routing) < 0 ? -errno : 0;
}

/* A GSI has an entry only once it is routed: KVM drops the signals of a GSI without an entry. */
static int do_route(struct vm *vm, const struct vm_call *call)
{
	struct kvm_irq_routing_entry *entry = NULL;

	for (uint32_t i = 0; i < vm->routes_used && !entry; i++)
		if (vm->routing.entries[i].gsi == call->gsi)
			entry = &vm->routing.entries[i];
	if (!entry) {
		if (vm->routes_used == VM_MSI_ROUTES_MAX)
			return -ENOSPC;
		entry = &vm->routing.entries[vm->routes_used++];
	}
	*entry = (struct kvm_irq_routing_entry){
		.gsi = call->gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)call->address,
		           .address_hi = (uint32_t)(call->address >> 32),
		           .data = call->data },
	};
	return set_routes(vm);
}

static int do_doorbell(struct vm *vm, const struct vm_call *call, uint32_t flags)
{
	struct kvm_ioeventfd doorbell = {
		.addr = call->address,
		.len = 0, /* any length, so that KVM does not have to decode the instruction */
		.fd = call->eventfd,
		.flags = flags,
	};

	SANDBOX_USES(control, ioctl, arg0 == VM_FD && arg1 == KVM_IOEVENTFD);
	return ioctl(vm->fd, KVM_IOEVENTFD, &doorbell) < 0 ? -errno : 0;
}

static int do_add_doorbell(struct vm *vm, const struct vm_call *call)
{
	return do_doorbell(vm, call, 0);
}

static int do_remove_doorbell(struct vm *vm, const struct vm_call *call)
{
	return do_doorbell(vm, call, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int do_signal(struct vm *vm, const struct vm_call *call)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)call->address,
		.address_hi = (uint32_t)(call->address >> 32),
		.data = call->data,
	};

	SANDBOX_USES(control, ioctl, arg0 == VM_FD && arg1 == KVM_SIGNAL_MSI);
	return ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}

static int (*const call_table[])(struct vm *, const struct vm_call *) = {
	[VM_CALL_ROUTE] = do_route,
	[VM_CALL_ADD_DOORBELL] = do_add_doorbell,
	[VM_CALL_REMOVE_DOORBELL] = do_remove_doorbell,
	[VM_CALL_SIGNAL] = do_signal,
};

void vm_serve_calls(struct vm *vm)
{
	struct vm_call *call = &vm->call;

	/* Pairs with the release in forward(). */
	if (atomic_load_explicit(&call->state, memory_order_acquire) != VM_CALL_ASKED)
		return;
	call->result = call_table[call->kind](vm, call);
	futex_advance(&call->state, VM_CALL_DONE);
}

static int forward(struct vm *vm, const struct vm_call *wanted)
{
	struct vm_call *call = &vm->call;
	int result;

	pthread_mutex_lock(&vm->call_lock);
	call->kind = wanted->kind;
	call->gsi = wanted->gsi;
	call->address = wanted->address;
	call->data = wanted->data;
	call->eventfd = wanted->eventfd;
	atomic_store_explicit(&call->state, VM_CALL_ASKED, memory_order_release);
	(void)wake_eventfd(vm->control_wake_fd);
	futex_wait_until(&call->state, VM_CALL_DONE);
	result = call->result;
	atomic_store_explicit(&call->state, VM_CALL_FREE, memory_order_relaxed);
	pthread_mutex_unlock(&vm->call_lock);
	return result;
}

static int call_vm(struct vm *vm, const struct vm_call *call)
{
	if (atomic_load_explicit(&vm->calls_forwarded, memory_order_relaxed) &&
	    !pthread_equal(pthread_self(), vm->control_thread))
		return forward(vm, call);
	return call_table[call->kind](vm, call);
}

static struct vm *vm_of(struct fabric *fabric)
{
	return CONTAINER_OF(fabric, struct vm, fabric);
}

static int fabric_add_irqfd(struct fabric *fabric, int eventfd, uint32_t *ret_gsi)
{
	struct vm *vm = vm_of(fabric);
	struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd };

	if (vm->gsis_used == VM_MSI_ROUTES_MAX)
		return -ENOSPC;
	irqfd.gsi = LAYOUT_FIRST_MSI_GSI + vm->gsis_used;
	if (ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0)
		return -errno;
	vm->gsis_used++;
	*ret_gsi = irqfd.gsi;
	return 0;
}

static int fabric_route_msi(struct fabric *fabric, uint32_t gsi, uint64_t address, uint32_t data)
{
	return call_vm(vm_of(fabric), &(struct vm_call){ .kind = VM_CALL_ROUTE,
	                                                 .gsi = gsi,
	                                                 .address = address,
	                                                 .data = data });
}

static int fabric_add_doorbell(struct fabric *fabric, uint64_t gpa, int eventfd)
{
	return call_vm(vm_of(fabric), &(struct vm_call){ .kind = VM_CALL_ADD_DOORBELL,
	                                                 .address = gpa,
	                                                 .eventfd = eventfd });
}

static int fabric_remove_doorbell(struct fabric *fabric, uint64_t gpa, int eventfd)
{
	return call_vm(vm_of(fabric), &(struct vm_call){ .kind = VM_CALL_REMOVE_DOORBELL,
	                                                 .address = gpa,
	                                                 .eventfd = eventfd });
}

static const struct fabric_ops vm_fabric_ops = {
	.add_irqfd = fabric_add_irqfd,
	.route_msi = fabric_route_msi,
	.add_doorbell = fabric_add_doorbell,
	.remove_doorbell = fabric_remove_doorbell,
};

int vm_signal_msi(struct vm *vm, uint64_t address, uint32_t data)
{
	return call_vm(vm, &(struct vm_call){
				   .kind = VM_CALL_SIGNAL, .address = address, .data = data });
}

static int set_slots(struct vm *vm, struct problems *problems)
{
	for (size_t i = 0; i < vm->memory->count; i++) {
		const struct guest_region *region = &vm->memory->regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = (uint32_t)i,
			.guest_phys_addr = region->base.v,
			.memory_size = region->size,
			.userspace_addr = (uint64_t)(uintptr_t)region->hva,
		};

		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return problems_add(problems, ERROR_CODE_KVM_FAILED, errno, NULL,
			                    "KVM refuses guest memory at %#llx, %llu MiB: %s",
			                    (unsigned long long)region->base.v,
			                    (unsigned long long)(region->size / MIB),
			                    errno_text(errno));
	}
	return 0;
}

static int create_apic(struct vm *vm, struct problems *problems)
{
	static const struct {
		uint32_t cap;
		uint64_t argument;
		const char *name;
	} steps[] = {
		{ KVM_CAP_SPLIT_IRQCHIP, LAYOUT_IOAPIC_PINS, "the split interrupt chip" },
		{ KVM_CAP_X2APIC_API,
		  KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
		  "32-bit APIC ids" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct kvm_enable_cap cap = { .cap = steps[i].cap, .args = { steps[i].argument } };

		if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
			return problems_add(problems, ERROR_CODE_KVM_FAILED, errno, NULL,
			                    "KVM refuses %s: %s", steps[i].name, errno_text(errno));
	}
	return 0;
}

/* Intel hosts without unrestricted guest keep a TSS and an identity map in guest-physical space;
 * KVM must be told their addresses before the first vCPU. Other hosts accept and ignore the
 * calls. */
static int place_kvm_pages(struct vm *vm, struct problems *problems)
{
	uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS) < 0)
		return problems_add(problems, ERROR_CODE_KVM_FAILED, errno, NULL,
		                    "KVM refuses the address of its TSS or identity map: %s",
		                    errno_text(errno));
	return 0;
}

int vm_create(struct vm *vm, int kvm_fd, const struct guest_memory *memory, bool apic,
              struct problems *problems)
{
	int size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	int r;

	if (size < 0)
		return problems_add(problems, ERROR_CODE_KVM_FAILED, errno, NULL,
		                    "KVM does not tell the size of its run page: %s",
		                    errno_text(errno));
	if (size < (int)sizeof(struct kvm_run))
		return problems_add(problems, ERROR_CODE_KVM_FAILED, ENOTSUP, NULL,
		                    "KVM's run page has %d bytes, and %zu are needed", size,
		                    sizeof(struct kvm_run));
	vm->fabric.ops = &vm_fabric_ops;
	vm->kvm_fd = kvm_fd;
	vm->memory = memory;
	vm->has_apic = apic;
	pthread_mutex_init(&vm->call_lock, NULL);
	vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return problems_add(problems, ERROR_CODE_KVM_FAILED, errno, NULL,
		                    "KVM cannot create a VM: %s", errno_text(errno));
	vm->run_size = (uint32_t)size;
	r = set_slots(vm, problems);
	if (r < 0)
		return r;
	r = place_kvm_pages(vm, problems);
	if (r < 0)
		return r;
	return apic ? create_apic(vm, problems) : 0;
}

int vm_tune(struct vm *vm, const struct vm_tuning *tuning, struct problems *problems)
{
	struct kvm_enable_cap exits = { .cap = KVM_CAP_X86_DISABLE_EXITS };
	struct kvm_enable_cap poll = { .cap = KVM_CAP_HALT_POLL, .args = { tuning->halt_poll_ns } };

	exits.args[0] = (tuning->disable_hlt_exits ? KVM_X86_DISABLE_EXITS_HLT : 0) |
	                (tuning->disable_pause_exits ? KVM_X86_DISABLE_EXITS_PAUSE : 0) |
	                (tuning->disable_cstate_exits ? KVM_X86_DISABLE_EXITS_CSTATE : 0);
	if (exits.args[0] && ioctl(vm->fd, KVM_ENABLE_CAP, &exits) < 0)
		return problems_add(problems, ERROR_CODE_KVM_CAPABILITY_MISSING, errno,
		                    "cpus.tenancy",
		                    "this KVM cannot leave out the exits of a dedicated VM: %s",
		                    errno_text(errno));
	if (tuning->has_halt_poll_ns && ioctl(vm->fd, KVM_ENABLE_CAP, &poll) < 0)
		return problems_add(problems, ERROR_CODE_KVM_CAPABILITY_MISSING, errno, "profile",
		                    "this KVM has no halt polling per VM: %s", errno_text(errno));
	return 0;
}

void vm_forward_calls(struct vm *vm, int control_wake_fd)
{
	vm->control_wake_fd = control_wake_fd;
	vm->control_thread = pthread_self();
	atomic_store(&vm->calls_forwarded, true);
}
