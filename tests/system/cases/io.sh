# SPDX-License-Identifier: MIT
# I/O threads: how many, where, with which descriptors; and what they do while nothing happens.

# `start` and `ended`, `axvm` and `says` are those of cli.sh.

# start_io IO [LAUNCH]: a VM that spins, with two disks and a source of random bytes, pinned where
# `pins` says so. Sets `shim`.
start_io() {
	need_kvm
	truncate -s 1M "$CASE/a" "$CASE/b"
	flat spin -c 2 ${pins:+-C "pins: [$pins]"} -b 'local_apic: true' -l "io { $1 } rng {} lifecycle { shutdown_timeout_ms: 50 }
		disks { id: 'a' image { path: '$CASE/a' } } disks { id: 'b' image { path: '$CASE/b' } } ${2:-}" \
		>"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb"
	shim_of "$pid"
	# The reply comes when all threads are there.
	axvm ctl system-test status
	want_status 0
	says '^RUNNING$'
}

# Names of the I/O threads, in order; the kernel's own workers have others.
io_threads() { cat /proc/"$shim"/task/*/comm | grep '^io[0-9]' | sort | tr '\n' ' '; }

# task_of NAME: the directory of that thread.
task_of() { grep -lx "$1" /proc/"$shim"/task/*/comm | sed 's,/comm$,,'; }

io_stop() {
	axvm ctl system-test stop
	want_status 0
	ended 36
}

test_io_threads() {
	local i task fds pins="0, 1"
	start_io 'threads_per_node: 3'
	[ "$(io_threads)" = "io0 io1 io2 " ] || fail "the threads are $(io_threads)"
	for i in 0 1 2; do
		task=$(task_of "io$i")
		grep -qE '^Cpus_allowed_list:[[:space:]]*[0-9]+$' "$task/status" || fail "io$i is not pinned"
		[ "$(id -u)" = 0 ] || continue
		fds=$(ls "$task/fd" | sort -n | tr '\n' ' ')
		[ "$fds" = "897 $((912 + i)) $((928 + i)) " ] || fail "io$i has the descriptors $fds"
	done
	axvm ctl system-test metrics
	want_status 0
	says 'io\.0\.turns' && says 'io\.2\.turns'
	! grep -q 'io\.3\.' "$CASE/out" || fail "there are counters of a fourth thread"
	axvm ctl system-test pause
	want_status 0
	axvm ctl system-test resume
	want_status 0
	io_stop
}

# cpus_of TASK: where it may run.
cpus_of() { sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$1/status"; }

# Without pins and claims the kernel balances: vCPUs and I/O threads are on all CPUs of their node
# alike.
test_io_threads_that_are_not_pinned() {
	local i cpus
	start_io 'threads_per_node: 2'
	cpus=$(cpus_of "$(task_of vcpu0)")
	case $cpus in *-*) ;; *) fail "vcpu0 is on CPU $cpus alone" ;; esac
	for i in io0 io1 vcpu1; do
		[ "$(cpus_of "$(task_of $i)")" = "$cpus" ] || fail "$i is on $(cpus_of "$(task_of $i)"), vcpu0 on $cpus"
	done
	io_stop
}

test_io_threads_are_no_more_than_devices() {
	start_io 'threads_per_node: 16'
	[ "$(io_threads)" = "io0 io1 io2 " ] || fail "the threads are $(io_threads)"
	io_stop
}

test_io_threads_of_two_nodes_are_at_most_sixteen() {
	flat reset -b 'local_apic: true' -M 'nodes { size_mib: 16 }' -l 'io { threads_per_node: 9 }' |
		refused 65 SPEC_INVALID io.threads_per_node
}

test_io_busy_poll_under_the_seal() {
	start_io 'busy_poll_us: 1000 threads_per_node: 2'
	axvm ctl system-test pause
	want_status 0
	axvm ctl system-test resume
	want_status 0
	io_stop
}
