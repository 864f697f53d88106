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

# A VM that is started again on the image of one that has just ended: a ring's files, and their
# locks, are let go of a moment after the process.
test_disks_locked_by_one_that_has_ended() {
	local n
	need_kvm
	image a
	spec < <(disks "id: 'a' image { path: '$CASE/a' } queues: 8")
	for n in {1..40}; do
		"$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" || fail "launch $n: status $?"
	done
	status=0
	decode
	want "outcome: OUTCOME_POWER_OFF"
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

# ---- block devices -----------------------------------------------------------------------------

# loop_device [OPTION]...: a loop device of 8 MiB on $CASE/backing; sets $loop. It goes with the
# case's process.
loop_device() {
	need_kvm
	need_root
	memory_image backing 8M
	fallocate -l 8M "$CASE/backing"
	[ -e /dev/loop-control ] || skip "no loop devices here"
	loop=$(losetup --show -f "$@" "$CASE/backing") || fail "see above: no loop device"
	trap 'losetup -d $loop' EXIT
}

# on_loop BLOCK READ-ONLY DISK: tests/guests/disk_device.c passes and sees 8 MiB.
on_loop() {
	passes < <(flat "$(with_numbers disk_device "$1" "$2")" -b 'local_apic: true' -l "disks { id: 'a' $3 }") 7<>"$loop"
	want 'rbx: "0x0000000000004000"'
}

# What the second half of the device was is the backing file's again.
want_half_back() {
	local blocks
	blocks=$(stat -L -c %b "$CASE/backing")
	[ "$blocks" -ge 8192 ] && [ "$blocks" -lt 8448 ] || fail "the backing file has $blocks blocks after the discard"
}

test_disks_block_device_by_path() {
	loop_device
	on_loop 512 0 "image { path: '$loop' }"
	want_half_back
}

test_disks_block_device_by_fd() {
	loop_device
	on_loop 512 0 'image { fd: 7 }'
	want_half_back
}

test_disks_block_device_of_large_blocks() {
	loop_device -b 4096
	on_loop 4096 0 "image { path: '$loop' } direct: true"
	want_half_back
}

test_disks_block_device_read_only() {
	local sum
	loop_device -r
	sum=$(md5sum <"$CASE/backing")
	disks "id: 'a' image { path: '$loop' }" | refused 66 RESOURCE_UNREADABLE 'disks[0].image'
	spec < <(flat "$(with_numbers disk_device 512 1)" -b 'local_apic: true' \
		-l "disks { id: 'a' image { path: '$loop' } read_only: true }")
	launch
	want_status 0
	found_well
	want 'rbx: "0x0000000000004000"'
	[ "$(md5sum <"$CASE/backing")" = "$sum" ] || fail "the backing file has changed"
}

# Somebody who can write in the image's folder changes what its name leads to, all the time. A
# launch has the good image, or is refused: what was found right is what is used, and nothing else
# is ever written.
test_disk_path_swapped_meanwhile() {
	local swapper good=0 refused=0 round=0 end
	need_kvm
	need_python
	mkdir "$CASE/folder" "$CASE/folder/directory"
	mkfifo "$CASE/folder/fifo"
	head -c 5000 /dev/urandom >"$CASE/folder/odd"
	cp "$CASE/folder/odd" "$CASE/odd"
	ln -s "$CASE/image" "$CASE/folder/good"
	python3 -c '
import os, sys, time
os.chdir(sys.argv[1])
os.symlink("loop", "loop")
while True:
    for n in "good", "odd", "good", "fifo", "good", "directory", "good", "loop", "good", "/dev/zero":
        os.symlink(n, "next")
        os.rename("next", "name")
    time.sleep(0.0001) # for the one processor that an emulated host has' "$CASE/folder" &
	swapper=$!
	# shellcheck disable=SC2064
	trap "kill $swapper; wait $swapper 2>/dev/null" EXIT
	await "who swaps the image" test -L "$CASE/folder/name"
	spec < <(flat disk -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/folder/name' } queues: 2
		serial: 'serial' }")
	# Both must have been seen.
	end=$((SECONDS + AWAIT_LIMIT))
	while [ "$round" -lt 12 ] || [ "$good" = 0 ] || [ "$refused" = 0 ]; do
		[ "$SECONDS" -lt "$end" ] || fail "of $round launches $good had the good image, $refused were refused"
		round=$((round + 1))
		rm -f "$CASE/image"
		truncate -s 1M "$CASE/image"
		launch
		case $status in
		0) found_well; want_pattern 56 512; good=$((good + 1)) ;;
		6[56]) want 'outcome: OUTCOME_LAUNCH_FAILED' 'field: "disks.0..image"'; refused=$((refused + 1)) ;;
		*) show; fail "status $status" ;;
		esac
		cmp "$CASE/odd" "$CASE/folder/odd" || fail "what is no image was written"
	done
	runs "$swapper" || fail "nobody swapped"
	echo "$good with the good image, $refused refused"
}
