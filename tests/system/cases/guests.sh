# SPDX-License-Identifier: MIT
# Bare-metal guests: each is one behaviour of the machine, and says in its registers what it found.

APIC='local_apic: true'

# From the project's root, with the spec as it stands, with nothing between protoc and the shim.
test_longmode() {
	need_kvm
	protoc --encode=axvm.v1.ControlStream proto/axvm.proto <tests/specs/longmode.txtpb |
		timeout "$AWAIT_LIMIT" "$SHIM" 3<&0 4>"$CASE/events.pb"
	status=${PIPESTATUS[1]}
	decode
	want_status 0
	want "outcome: OUTCOME_HALTED" 'rax: "0xcafebabedeadbeef"' "cs_is_64bit: true" \
		'exit_reason: "KVM_EXIT_HLT"' "cpl: 0" 'cr0: "0x0000000080010033"'
}

test_vcpus_one() { need_kvm; flat vcpus | passes; }
test_vcpus_two() { need_kvm; flat vcpus -c 2 | passes; }

test_vcpus_64() {
	need_kvm
	flat vcpus -c 64 | passes
}

test_vcpus_255() {
	need_kvm
	passes < <(flat vcpus -c 255)
	want 'rbx: "0x00000000000000ff"'
}

test_secondaries_by_init_and_sipi() {
	need_kvm
	flat secondaries -c 2 -b "$APIC secondaries_wait: true" | passes
}

test_secondaries_255() {
	need_kvm
	passes < <(flat secondaries -c 255 -b "$APIC secondaries_wait: true")
	want "outcome: OUTCOME_POWER_OFF" 'rbx: "0x00000000000000ff"'
}

test_power_off() {
	need_kvm
	passes < <(flat power_off -b "$APIC")
	want "outcome: OUTCOME_POWER_OFF" 'message: "powered off.*"'
}

test_reset() {
	need_kvm
	spec < <(flat reset)
	launch
	want_status 32
	want "outcome: OUTCOME_GUEST_RESET" 'rbx: "0x000000000005e5e7"'
}

test_triple_fault() {
	need_kvm
	spec < <(flat triple_fault)
	launch
	want_status 33
	want "outcome: OUTCOME_TRIPLE_FAULT" 'exit_reason: "KVM_EXIT_SHUTDOWN"'
	# With AMD-V the state of a guest that has shut down is undefined (APM 2, 15.14.3), and KVM
	# resets the vCPU.
	if grep -qw '^flags.*svm' /proc/cpuinfo; then
		want 'rip: "0x000000000000fff0"'
	else
		want 'rax: "0x3333333333333333"' 'rip: "0x000000000010000a"' 'code_bytes: "0f0b.*"'
	fi
}

# The other vCPU never stops, and does not keep the VM from ending.
test_triple_fault_beside_a_busy_vcpu() {
	need_kvm
	spec < <(flat fault_beside_spin -c 2)
	launch
	want_status 33
	want "outcome: OUTCOME_TRIPLE_FAULT" "index: 1"
}

test_internal_error() {
	need_kvm
	spec < <(flat internal_error)
	launch
	want_status 35
	want "outcome: OUTCOME_VCPU_FAILED" 'exit_reason: "KVM_EXIT_INTERNAL_ERROR"' "exit_detail: 1" \
		'rax: "0x3535353535353535"' 'rip: "0x000000000010000f"' 'code_bytes: "f3480fb80e.*"' \
		'message: "vCPU failed: vCPU 0: KVM could not emulate the instruction at rip 0x000000000010000f, bytes f3480fb80e.*"'
}

test_panic() {
	need_kvm
	spec < <(flat panic -b "$APIC")
	launch
	want_status 34
	want "outcome: OUTCOME_GUEST_PANIC"
	grep -q '^  guest_panicked {' "$CASE/events" || fail "no event says that the guest panicked"
}

test_panic_then_reset() {
	need_kvm
	spec < <(flat panic_reset)
	launch
	want_status 34
	want "outcome: OUTCOME_GUEST_PANIC" 'rax: "0x600d600d600d600d"'
	grep -q '^  guest_panicked {' "$CASE/events" || fail "no event says that the guest panicked"
}

test_unclaimed_addresses() { need_kvm; flat unclaimed | passes; }
test_legacy_ports() { need_kvm; flat legacy_ports | passes; }

# reset_by PORT BYTES RAX: the bytes, the lowest first, as a kernel writes them; the last is in RAX,
# and ends it.
reset_by() {
	need_kvm
	spec < <(flat "$(with_numbers legacy_reset "$1" "$2")")
	launch
	want_status 32
	want "outcome: OUTCOME_GUEST_RESET" 'exit_reason: "KVM_EXIT_IO"' 'rbx: "0x000000000005e5e7"' \
		"rax: \"0x00000000000000$3\""
}

test_reset_by_the_keyboard_controller() { reset_by 0x64 0xfe fe; }
test_reset_by_the_reset_control() { reset_by 0xcf9 0x0e02 0e; }
test_warm_reset_by_the_reset_control() { reset_by 0xcf9 0x0602 06; }

# An operator's NMI, which no error of the bus is behind.
test_nmi() {
	need_kvm
	flat nmi -b "$APIC" -l "console { output { path: '$CASE/console' } early: true }" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
	await "the guest's handler" test -s "$CASE/console"
	axvm ctl "$VM" nmi
	want_status 0
	ended 0
	decode
	want "outcome: OUTCOME_POWER_OFF" 'rbx: "0x0000000000000000"'
	found_well
}
test_memory_above_4_gib() { need_kvm; flat high_memory -m 3584 | passes; }
test_memory_above_4_gib_in_nodes() {
	need_kvm
	flat high_memory -m 1000 -M 'nodes { size_mib: 2584 }' | passes
}
test_interrupts_by_timer() { need_kvm; flat timer -b "$APIC" | passes; }

# The registers that each vCPU starts with are set, not left over.
test_start_msrs() {
	need_kvm
	flat msrs -c 2 | passes
}

# EAX of leaf 0x40000001 for a choice of features.
features() {
	need_kvm
	spec < <(flat features -C "$1")
	launch
	want_status 0
	want "rax: \"0x00000000$2\"" 'rbx: "0x00000000400000(01|10)"'
}

# Bits 0, 3 and 24: two interfaces of the clock, and that it is stable.
test_features_kvmclock_alone() { features 'paravirt { features: PV_FEATURE_KVMCLOCK }' 01000009; }
test_features_none() { features 'paravirt { }' 00000000; }
test_features_chosen() { features 'paravirt { features: PV_FEATURE_EOI features: PV_FEATURE_UNHALT }' 000000c0; }

test_load_address() {
	need_kvm
	spec < <(flat longmode -b 'load_address: 0x400000')
	launch
	want_status 0
	want 'rax: "0xcafebabedeadbeef"' 'rip: "0x000000000040000b"'
}

test_image_by_fd() {
	need_kvm
	spec < <(flat 'fd: 5')
	launch 5<"$GUESTS/longmode.bin"
	want_status 0
	want 'rax: "0xcafebabedeadbeef"'
}

test_pages_thp() { need_kvm; flat vcpus -M 'page_size: PAGE_SIZE_THP populate: true' | passes; }
test_memory_locked() { need_kvm; need_root; flat vcpus -M 'populate: true lock: true' | passes; }

test_pages_huge() {
	need_kvm
	need_huge_pages 8
	passes < <(flat vcpus -M 'page_size: PAGE_SIZE_2M populate: true')
}
