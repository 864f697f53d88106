# SPDX-License-Identifier: MIT
# What comes on fd 3 and is no launch, or one that is refused. None of these needs KVM.

# bytes STATUS CODE [FIELD] <BYTES
bytes() {
	cat >"$CASE/spec.pb"
	launch
	want_error "$@"
}

test_spec_empty() { bytes 65 SPEC_EMPTY </dev/null; }

test_spec_cut_off_after_each_byte() {
	spec < <(flat reset)
	"$SPAWN" truncate "$SHIM" "$CASE/spec.pb" || fail "a launch cut off"
}

test_spec_byte_by_byte() {
	need_kvm
	spec < <(flat reset)
	"$SPAWN" drip "$SHIM" "$CASE/spec.pb" || fail "a launch byte by byte"
}

# Whatever the bytes: an event that fits the status. A reset guest ends by itself if it gets to run.
test_spec_mutated() {
	spec < <(flat reset)
	(cd "$CASE/cwd" && "$SPAWN" mutate "$SHIM" "$CASE/spec.pb" 300) || fail "a mutated launch"
}

test_spec_garbage() {
	head -c 4096 /dev/zero | tr '\0' '\377' | bytes 65 SPEC_MALFORMED
	printf 'launch { vm_id: "text" }' >"$CASE/spec.pb"
	launch
	want_status 65
	# The build is at hand, and no two runs of the test differ.
	head -c 100000 "$SHIM" | bytes 65 SPEC_MALFORMED
}

test_spec_never_ending_varint() {
	printf '\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff' | bytes 65 SPEC_MALFORMED
}

test_spec_group_wire_type() { printf '\x0b\x0c' | bytes 65 SPEC_MALFORMED; }

# 1 MiB is the most a message may have, and its length is enough to tell.
test_spec_too_large_by_its_length() {
	printf '\x0a\x81\x80\x40' | bytes 65 SPEC_TOO_LARGE
	printf '\x0a\xff\xff\xff\xff\x07' | bytes 65 SPEC_TOO_LARGE
}

test_spec_too_large_in_full() {
	head -c 1048577 /dev/zero | as_launch | bytes 65 SPEC_TOO_LARGE
}

test_spec_of_the_largest_size() {
	local id
	id=$(head -c 1048000 /dev/zero | tr '\0' x)
	id=$(flat reset | while IFS= read -r line; do echo "${line/$VM/$id}"; done)
	echo "$id" | refused 65 SPEC_INVALID vm_id
}

test_spec_command_before_launch() {
	encode ControlStream <<<'commands { request_id: 1 status { } }' >"$CASE/spec.pb"
	launch
	want_status 65
	encode ControlStream < <(flat reset) >>"$CASE/spec.pb"
	launch
	want_status 65
}

test_spec_duplicate_launch() {
	encode ControlStream < <(flat reset) >"$CASE/once"
	cat "$CASE/once" "$CASE/once" | bytes 65 SPEC_DUPLICATE
}

test_spec_duplicate_field() {
	{
		encode LaunchSpec <<<'vm_id: "a" cpus { count: 1 }'
		encode LaunchSpec <<<'vm_id: "b"'
	} | as_launch | bytes 65 SPEC_DUPLICATE
}

test_spec_unknown_field() {
	{ flat reset | sed 's/^launch {//; $s/}$//' | encode LaunchSpec; printf '\xf8\x07\x01'; } |
		as_launch | bytes 65 SPEC_UNKNOWN_FIELD
}

# Field 120 in a MemoryNode.
test_spec_unknown_field_deep_down() {
	printf '\x2a\x07\x0a\x05\x08\x10\xc0\x07\x01' | as_launch | bytes 65 SPEC_UNKNOWN_FIELD
}

test_spec_unknown_field_of_the_stream() {
	{ encode ControlStream < <(flat reset); printf '\x1a\x01x'; } >"$CASE/spec.pb"
	launch
	want_status 65
}

# admission: 99
test_spec_unknown_enum_value() {
	{ flat reset | sed 's/^launch {//; $s/}$//' | encode LaunchSpec; printf '\x18\x63'; } |
		as_launch >"$CASE/spec.pb"
	launch
	want_status 65
	want 'field: "admission"'
}

test_spec_string_with_a_zero_byte() {
	{
		printf '\x0a\x03a\x00b'
		encode LaunchSpec <<<'cpus { count: 1 }'
	} | as_launch >"$CASE/spec.pb"
	launch
	want_status 65
}

test_spec_nothing_but_a_launch() { echo 'launch { }' | refused 65 SPEC_INVALID vm_id; }

test_spec_all_reasons_in_one_event() {
	flat reset -c 0 -m 0 \
		-l 'lifecycle { shutdown_timeout_ms: 4000000000 } metrics { interval_ms: 1 }' |
		sed "s/$VM/-/" | refused 65 SPEC_INVALID cpus.count
	want 'field: "memory.nodes.0..size_mib"' 'field: "lifecycle.shutdown_timeout_ms"' \
		'field: "vm_id"' 'field: "metrics.interval_ms"'
}

test_spec_no_boot() {
	echo 'launch { vm_id: "v" cpus { count: 1 } memory { nodes { size_mib: 16 } } }' |
		refused 65 SPEC_INVALID boot
}

test_spec_no_profile_of_that_name() {
	flat reset | sed 's/profile: "dev"/profile: "xv9"/' | refused 65 SPEC_INVALID profile
}

test_cpus_zero() { flat reset -c 0 | refused 65 SPEC_INVALID cpus.count; }
test_cpus_256() { flat reset -c 256 | refused 65 SPEC_INVALID cpus.count; }
test_cpus_4294967295() { flat reset -c 4294967295 | refused 65 SPEC_INVALID cpus.count; }
test_cpus_pins_too_few() { flat reset -c 2 -C 'pins: 0' | refused 65 SPEC_INVALID cpus.pins; }
test_memory_zero() { flat reset -m 0 | refused 65 SPEC_INVALID 'memory.nodes[0].size_mib'; }
test_memory_2_60_mib() {
	flat reset -m 1152921504606846976 | refused 65 SPEC_INVALID 'memory.nodes[0].size_mib'
}
test_memory_sum_that_wraps() {
	flat reset -m 18446744073709551615 -M 'nodes { size_mib: 2 }' |
		refused 65 SPEC_INVALID 'memory.nodes[0].size_mib'
}
test_memory_odd_for_huge_pages() {
	flat reset -m 17 -M 'page_size: PAGE_SIZE_2M' |
		refused 65 SPEC_INVALID 'memory.nodes[0].size_mib'
}
test_load_address_odd() {
	flat reset -b 'load_address: 0x100001' | refused 65 SPEC_INVALID boot.flat_boot.load_address
}
test_load_address_low() {
	flat reset -b 'load_address: 0x1000' | refused 65 SPEC_INVALID boot.flat_boot.load_address
}
test_load_address_beyond_ram() {
	flat reset -b 'load_address: 0x1000000' | refused 65 SPEC_INVALID boot.flat_boot.load_address
}
test_load_address_huge() {
	flat reset -b 'load_address: 0xfffffffffffff000' |
		refused 65 SPEC_INVALID boot.flat_boot.load_address
}
test_secondaries_wait_without_apic() {
	flat reset -b 'secondaries_wait: true' | refused 65 SPEC_INVALID boot.flat_boot.secondaries_wait
}
