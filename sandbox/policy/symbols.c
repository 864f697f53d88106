/* SPDX-License-Identifier: MIT */
/* The symbols a policy may name in a condition: the descriptor layout, and the kernel's constants
 * for the calls in use. Both policyc and `axvm policy check` link this one table. */
#include "sandbox/policy/symbols.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "sandbox/fd_layout.h"

/* clang-format off */
#define SYMBOL(name) { #name, (uint64_t)(name) }
/* clang-format on */

static const struct {
	const char *name;
	uint64_t value;
} symbols[] = {
	/* sandbox/fd_layout.h */
	SYMBOL(STDERR_FD),
	SYMBOL(CONTROL_FD),
	SYMBOL(EVENT_FD),
	SYMBOL(VM_FD),
	SYMBOL(CONTROL_WAKE_FD),
	SYMBOL(VM_STATS_FD),
	SYMBOL(VCPU_STATS_FD_BASE),
	SYMBOL(VCPU_STATS_FD_LAST),
	SYMBOL(EPOLL_FD),
	SYMBOL(SIGNAL_FD),
	SYMBOL(VCPU_FD),
	SYMBOL(TAP_FD_BASE),
	SYMBOL(TAP_FD_LAST),
	SYMBOL(VHOST_FD_BASE),
	SYMBOL(VHOST_FD_LAST),
	SYMBOL(IO_WAKE_FD_BASE),
	SYMBOL(IO_WAKE_FD_LAST),
	SYMBOL(IO_RING_FD_BASE),
	SYMBOL(IO_RING_FD_LAST),
	SYMBOL(EVENTFD_SIZE),
	SYMBOL(VCPU_KICK_SIGNAL),
	/* linux/kvm.h: requests on a vCPU */
	SYMBOL(KVM_RUN),
	SYMBOL(KVM_KVMCLOCK_CTRL),
	SYMBOL(KVM_GET_REGS),
	SYMBOL(KVM_GET_SREGS),
	SYMBOL(KVM_INTERRUPT),
	SYMBOL(KVM_NMI),
	/* linux/kvm.h: requests on a VM */
	SYMBOL(KVM_IRQFD),
	SYMBOL(KVM_IOEVENTFD),
	SYMBOL(KVM_IRQ_LINE),
	SYMBOL(KVM_SIGNAL_MSI),
	SYMBOL(KVM_SET_GSI_ROUTING),
	SYMBOL(KVM_GET_CLOCK),
	SYMBOL(KVM_SET_CLOCK),
	/* linux/if_tun.h */
	SYMBOL(TUNSETOFFLOAD),
	/* linux/vhost.h */
	SYMBOL(VHOST_SET_FEATURES),
	SYMBOL(VHOST_SET_VRING_NUM),
	SYMBOL(VHOST_SET_VRING_BASE),
	SYMBOL(VHOST_GET_VRING_BASE),
	SYMBOL(VHOST_SET_VRING_ADDR),
	SYMBOL(VHOST_SET_VRING_KICK),
	SYMBOL(VHOST_SET_VRING_CALL),
	SYMBOL(VHOST_NET_SET_BACKEND),
	/* linux/futex.h */
	SYMBOL(FUTEX_WAIT_PRIVATE),
	SYMBOL(FUTEX_WAKE_PRIVATE),
	SYMBOL(FUTEX_WAIT_BITSET_PRIVATE),
	/* linux/io_uring.h */
	SYMBOL(IORING_ENTER_GETEVENTS),
	SYMBOL(IORING_ENTER_EXT_ARG),
	/* sys/epoll.h, sys/socket.h */
	SYMBOL(EPOLL_CTL_MOD),
	SYMBOL(MSG_DONTWAIT),
	SYMBOL(MSG_NOSIGNAL),
	/* time.h */
	SYMBOL(CLOCK_MONOTONIC),
	SYMBOL(CLOCK_REALTIME),
	/* unistd.h */
	SYMBOL(SEEK_END),
};

int sandbox_symbol_value(const char *name, uint64_t *ret_value)
{
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
		if (strcmp(name, symbols[i].name) == 0) {
			*ret_value = symbols[i].value;
			return 0;
		}
	return -ENOENT;
}
