# SPDX-License-Identifier: MIT
# A host on which one system call of the launch fails: each in turn, with the likeliest error. What
# holds for each launch is said in failing.c. All errors, and other launches: make failing-host.

failing() {
	need_kvm
	truncate -s 1M "$CASE/image"
	spec < <(flat power_off -b 'local_apic: true' -M 'populate: true' -l "rng {}
		disks { id: 'a' image { path: '$CASE/image' } read_only: true }")
	(cd "$CASE/cwd" && exec "$BUILD/tests/failing" -p "$1" "$SHIM" "$CASE/spec.pb") ||
		fail "see above: launches that did not fail as they should"
}

limit_failing_host_1=120 limit_failing_host_2=120 limit_failing_host_3=120 limit_failing_host_4=120
test_failing_host_1() { failing 0/4; }
test_failing_host_2() { failing 1/4; }
test_failing_host_3() { failing 2/4; }
test_failing_host_4() { failing 3/4; }
