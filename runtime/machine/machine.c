/* SPDX-License-Identifier: MIT */
/* The machine's vCPUs as a crew: asking all of them to run, pause or stop. */
#include "machine/machine.h"

#include <signal.h>

#include "base/uses.h"

void machine_ask(struct machine *machine, enum machine_want want)
{
	atomic_store(&machine->want, want);
	futex_wake_all(&machine->want);
	if (want == MACHINE_RUN)
		return;
	for (uint32_t i = 0; i < machine->vcpu_count; i++) {
		struct vcpu *vcpu = &machine->vcpus[i];
		pid_t tid = atomic_load(&vcpu->tid);

		if (tid == 0 || atomic_load(&vcpu->parked))
			continue;
		vcpu->run->immediate_exit = 1;
		SANDBOX_USES(control, tgkill, arg2 == VCPU_KICK_SIGNAL);
		(void)tgkill(machine->pid, tid, MACHINE_KICK_SIGNAL);
	}
}

bool machine_all_parked(const struct machine *machine)
{
	return atomic_load(&machine->parked) == machine->vcpu_count;
}
