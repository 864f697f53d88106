# SPDX-License-Identifier: MIT
# Disks that are refused, and that a VM with good ones starts and ends with its images as they were.

# disks TEXT…: a launch with local APICs and these disks, a block of text each.
disks() {
	local disk text=""
	for disk; do text+=" disks { $disk }"; done
	flat power_off -b 'local_apic: true' -l "$text"
}

image() { truncate -s "${2:-1M}" "$CASE/$1"; }

test_disks_good() {
	local sum
	need_kvm
	image a
	image b 8M
	echo something | dd of="$CASE/a" conv=notrunc status=none
	sum=$(cat "$CASE/a" "$CASE/b" | md5sum)
	spec < <(flat power_off -b 'local_apic: true' -l "rng {}
		disks { id: 'a' image { fd: 7 } read_only: true }
		disks { id: 'b' image { path: '$CASE/b' } queues: 4 limit { ops_per_s: 100 } }")
	launch 7<"$CASE/a"
	want_status 0
	[[ $(cat "$CASE/a" "$CASE/b" | md5sum) == "$sum" ]] || fail "an image has changed"
}

test_disks_locked_by_another() {
	need_kvm
	image a
	disks "id: \"a\" image { path: \"$CASE/a\" }" "id: \"b\" image { path: \"$CASE/a\" }" |
		refused 66 RESOURCE_UNREADABLE 'disks[1].image'
}

# A VM that is started again on the image of one that has just ended: a ring's files, and their locks, are
# let go of a moment after the process.
test_disks_locked_by_one_that_has_ended() {
	local n
	need_kvm
	image a
	spec < <(disks "id: 'a' image { path: '$CASE/a' } queues: 8")
	for n in {1..40}; do
		"$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" || fail "launch $n: status $?"
	done
}

test_disks_odd_length() {
	need_kvm
	image a 1000
	disks "id: \"a\" image { path: \"$CASE/a\" }" | refused 65 IMAGE_INVALID 'disks[0].image'
	[[ $(stat -c %s "$CASE/a") == 1000 ]] || fail "the image was cut or lengthened"
}

test_disks_block_size() {
	need_kvm
	image a 4608
	disks "id: \"a\" image { path: \"$CASE/a\" } block_size: 4096" |
		refused 65 IMAGE_INVALID 'disks[0].block_size'
}

test_disks_fd_read_only() {
	need_kvm
	image a
	spec < <(disks 'id: "a" image { fd: 7 }')
	launch 7<"$CASE/a"
	want_error 66 RESOURCE_UNREADABLE 'disks[0].image'
}

test_disks_a_device_that_is_no_disk() {
	need_kvm
	disks 'id: "a" image { path: "/dev/zero" }' | refused 66 RESOURCE_WRONG_KIND 'disks[0].image'
}

test_disks_missing() {
	need_kvm
	disks 'id: "a" image { path: "/nonexistent/a" }' | refused 66 RESOURCE_MISSING 'disks[0].image'
}

test_disks_burst_without_rate() {
	disks 'id: "a" image { fd: 7 } limit { bytes_burst: 5 }' | refused 65 SPEC_INVALID 'disks[0].limit'
}
