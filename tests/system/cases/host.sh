# SPDX-License-Identifier: MIT
# Hosts that cannot, or will not: no KVM, no permission, too little of something.

# with_dev COMMAND: runs the shim on the kept spec in a mount namespace of its own in which COMMAND
# has changed /dev; AS_NOBODY and LIMITED are commands before it.
with_dev() {
	need_mounts
	cat >"$CASE/inside" <<EOF
mount --make-rprivate / && cd "$CASE/cwd" && $1 || exit 99
exec ${AS_NOBODY:-} "$SPAWN" run ${LIMITED:-} "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb"
EOF
	unshare -m "$BASH" "$CASE/inside"
	status=$?
	[ "$status" != 99 ] || fail "cannot set up its /dev"
	decode
}

as_nobody() {
	cp "$SHIM" "$SPAWN" "$CASE/"
	SHIM=$CASE/axvm-shim SPAWN=$CASE/spawn
	AS_NOBODY="setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups"
}

test_kvm_absent() {
	spec < <(flat reset)
	with_dev 'mount -t tmpfs none /dev'
	want_error 69 KVM_MISSING
}

test_kvm_a_regular_file() {
	need_kvm
	spec < <(flat reset)
	: >"$CASE/file"
	with_dev "mount --bind '$CASE/file' /dev/kvm"
	want_error 69 KVM_MISSING
}

test_kvm_another_device() {
	need_kvm
	spec < <(flat reset)
	with_dev 'mount --bind /dev/null /dev/kvm'
	want_error 69 KVM_MISSING
}

test_kvm_a_directory() {
	need_root
	spec < <(flat reset)
	with_dev 'mount -t tmpfs none /dev && mkdir /dev/kvm'
	want_status 69
}

test_kvm_denied() {
	need_kvm
	need_root
	spec < <(flat 'fd: 5')
	as_nobody
	with_dev 'mount -t tmpfs none /dev && mknod -m 600 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
	want_error 69 KVM_DENIED
}

# It need not be root: permission for /dev/kvm is all.
test_as_nobody() {
	need_kvm
	need_root
	spec < <(flat 'fd: 5' -c 2)
	as_nobody
	with_dev 'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
	want_status 32
}

test_one_process_only() {
	need_kvm
	need_root
	spec < <(flat 'fd: 5')
	as_nobody
	LIMITED="$(type -P prlimit) --nproc=1:1"
	with_dev 'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
	want_error 69 HOST_LIMIT
}

test_memory_not_lockable() {
	need_kvm
	need_root
	spec < <(flat 'fd: 5' -M 'lock: true')
	as_nobody
	LIMITED="$(type -P prlimit) --memlock=65536:65536"
	with_dev 'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
	want_error 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
}

# A soft limit is the launcher's habit, a hard one its decision.
test_few_files_softly() {
	need_kvm
	spec < <(flat reset -c 2)
	ulimit -Sn 256
	launch
	want_status 32
}

test_few_files_hard() {
	need_kvm
	spec < <(flat reset -c 2)
	ulimit -Sn 64
	ulimit -Hn 64
	launch
	want_status 71
	want "code: ERROR_CODE_OS_FAILED" 'message: ".*open files.*"'
}

test_little_address_space() {
	need_kvm
	spec < <(flat reset -m 1024)
	ulimit -v 200000
	launch
	want_error 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
}

test_memory_1_tib() {
	need_kvm
	[ "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)" -lt 1000000000 ] ||
		skip "this host may have it"
	[ "$(cat /proc/sys/vm/overcommit_memory)" != 1 ] || skip "this host promises all memory"
	flat reset -m 1048576 | refused 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
}

test_memory_64_tib() {
	need_kvm
	flat reset -m 67108864 | refused 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
}

test_huge_pages_that_are_not_there() {
	need_kvm
	flat reset -m 1048576 -M 'page_size: PAGE_SIZE_2M' |
		refused 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
	flat reset -m 1048576 -M 'page_size: PAGE_SIZE_1G' |
		refused 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
}

# It says which node, what was asked and what is free there; nothing was built.
test_huge_pages_short_on_a_node() {
	need_kvm
	[ -e /sys/devices/system/node/node0/hugepages/hugepages-2048kB ] || skip "no huge pages by node here"
	echo "launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: 1 }
		memory { nodes { size_mib: 1048576 host_node: 0 } page_size: PAGE_SIZE_2M }
		boot { flat_boot { image { path: \"$GUESTS/reset.bin\" } } } }" >"$CASE/text"
	refused 69 MEMORY_UNAVAILABLE 'memory.nodes[0]' <"$CASE/text"
	want 'message: "host node 0: 1048576 MiB of huge pages of 2048 KiB were asked for, [0-9]+ MiB are free: ask for less, or free some"'
}

test_host_node_that_is_not_there() {
	need_kvm
	[ ! -e /sys/devices/system/node/node900 ] || skip "it is there"
	echo "launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: 1 }
		memory { nodes { size_mib: 16 host_node: 900 } }
		boot { flat_boot { image { path: \"$GUESTS/reset.bin\" } } } }" >"$CASE/text"
	spec <"$CASE/text"
	launch
	want_status 69
}

test_pin_to_a_cpu_that_is_not_there() {
	need_kvm
	[ ! -e /sys/devices/system/cpu/cpu8191 ] || skip "it is there"
	spec < <(flat reset -C 'pins: 8191')
	launch
	want_status 69
	want 'field: "cpus.pins.*"'
}

# Two of the reasons lie in the host, two in the resources.
test_all_reasons_in_one_event() {
	spec < <(flat 'path: "/nonexistent/x"' -m 67108864)
	with_dev 'mount -t tmpfs none /dev'
	want_status 69
	want "code: ERROR_CODE_KVM_MISSING" "code: ERROR_CODE_RESOURCE_MISSING" "code: ERROR_CODE_MEMORY_UNAVAILABLE"
}

test_environment_and_folder_do_not_matter() {
	need_kvm
	spec < <(flat reset)
	(cd / && env -i "$SPAWN" run "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
	status=$?
	decode
	want_status 32
}

# scheduling: policy, priority and name of each thread of the shim `pid`, one a line.
scheduling() {
	python3 - "$1" <<-'END'
		import os, sys
		for tid in sorted(map(int, os.listdir(f"/proc/{sys.argv[1]}/task"))):
		    with open(f"/proc/{sys.argv[1]}/task/{tid}/comm") as name:
		        print(os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority, name.read().strip())
	END
}

# vCPU threads, and no other, run under it; the limit that could let others is gone. (KVM's own
# worker comes with the first KVM_RUN since Linux 6.13, and inherits it; it sleeps but once an
# hour.)
test_fifo_priority() {
	local shim started
	need_kvm
	need_root
	need_python
	flat idle -c 2 -C 'pins: [0, 1] fifo_priority: 7' -b 'local_apic: true' >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
	await_event running
	shim_of "$pid"
	scheduling "$shim" >"$CASE/threads"
	grep -E '^Max realtime' "/proc/$shim/limits" >>"$CASE/threads"
	axvm ctl "$VM" stop
	ended 36
	[ "$(grep -c '^1 7 vcpu[01]$' "$CASE/threads")" = 2 ] || { cat "$CASE/threads"; fail "vCPUs are not under SCHED_FIFO 7"; }
	[ "$(grep -c '^0 0 ' "$CASE/threads")" -ge 1 ] || { cat "$CASE/threads"; fail "others are"; }
	grep -v ' kvm-' "$CASE/threads" | grep -q '^1 .* [^v][^ ]*$' && { cat "$CASE/threads"; fail "others are"; }
	grep -qE '^Max realtime priority +0 +0 ' "$CASE/threads" || { cat "$CASE/threads"; fail "the limit is left"; }
}

test_fifo_priority_that_the_limit_does_not_allow() {
	need_kvm
	need_root
	spec < <(flat 'fd: 5' -C 'pins: 0 fifo_priority: 7')
	as_nobody
	with_dev 'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
	want_error 69 HOST_LIMIT 'cpus.fifo_priority'
	want 'message: ".*RLIMIT_RTPRIO is 0;.*"'
}

# Where the kernel cannot, or there is no SMT, the launch is refused with that reason; where it can,
# it runs.
test_core_scheduling() {
	local able
	need_kvm
	need_python
	able=$(python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True)
print(ctypes.get_errno() if c.prctl(62, 1, 0, 1, 0) else 0)')
	[ -n "$able" ] || fail "see above: cannot ask the kernel"
	spec < <(flat reset -C 'core_scheduling: true')
	launch
	case $able in
	0) want_status 32 ;;
	19) want_error 69 HOST_LIMIT 'cpus.core_scheduling' && want 'message: ".*has no SMT.*"' ;;
	22) want_error 69 HOST_LIMIT 'cpus.core_scheduling' && want 'message: ".*CONFIG_SCHED_CORE.*"' ;;
	*) want_error 69 HOST_LIMIT 'cpus.core_scheduling' ;;
	esac
}
