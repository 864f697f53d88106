# SPDX-License-Identifier: MIT
# Drivers that break the rules (tests/guests/ring.c and its like). Whatever they do, the device asks
# for a reset with one event, or answers as documented; the VM lives, and the device works again.

APIC='local_apic: true'

# `device_failed` events of $CASE/events, one line each: the device, whether it needs a reset, what was wrong.
failures() {
	awk '/^  device_failed \{/ { inside = 1; id = reset = message = "" }
		inside && /device_id:/ { id = $2 }
		inside && /needs_reset:/ { reset = $2 }
		inside && /message:/ { sub(/^ *message: /, ""); message = $0 }
		inside && /^  \}/ { print id, reset, message; inside = 0 }' "$CASE/events"
}

# want_failures LINE...: exactly these, and nothing else.
want_failures() {
	[ "$(failures)" = "$(printf '%s\n' "$@" | sed '/^$/d')" ] && return
	failures
	fail "the failures that fd 4 tells of are not those that were wanted"
}

# ring NUMBER [MESSAGE]: the case of tests/guests/ring.c with that number, from 0.
ring() {
	need_kvm
	truncate -s 1M "$CASE/image"
	passes < <(flat "$(with_numbers ring "$1")" -m 128 -b "$APIC" \
		-l "disks { id: 'a' image { path: '$CASE/image' } queue_size: 64 }")
	want_failures "${2:+\"a\" true \"$2\"}"
}

RINGS='a queue.s rings are not in RAM, misaligned, or overlap'
RINGS=${RINGS/./\\\'}
LONG='a chain longer than its queue: a loop'
OUTSIDE='a buffer that is not in RAM'

# In the order of the guest's table: a name for the test, and what the event says. Without one there
# is none: the driver is not heeded, and the device goes on.
violations() {
	cat <<EOF
loop|$LONG
loop_through_the_head|$LONG
head_beyond_the_size|a chain head beyond the queue\\'s size
next_beyond_the_size|a descriptor index beyond its table
zero_length|a descriptor of length 0
address_that_wraps|a descriptor whose end wraps around
buffer_in_the_hole|$OUTSIDE
buffer_in_a_bar|$OUTSIDE
buffer_beyond_ram|$OUTSIDE
buffer_across_the_end_of_ram|$OUTSIDE
buffer_far_away|$OUTSIDE
writable_before_readable|a readable descriptor after a writable one
header_too_short|a request whose header is shorter than 16 bytes
no_byte_for_the_status|a request without a writable byte for its status
avail_index_that_jumps|avail.idx jumped by more than the queue\\'s size
indirect_table_empty|an indirect table of an impossible length
indirect_table_of_odd_length|an indirect table of an impossible length
indirect_table_with_next|an indirect descriptor that has a next
indirect_table_beyond_ram|an indirect table that is not in RAM
indirect_table_that_wraps|an indirect table that is not in RAM
indirect_table_next_beyond|a descriptor index beyond its table
indirect_table_loop|$LONG
indirect_table_not_negotiated|an indirect descriptor that was not negotiated
indirect_table_nested|an indirect table within an indirect table
lengths_that_add_up|a chain of more than 2^32 - 1 bytes
used_ring_over_the_descriptors|$RINGS
avail_ring_over_the_used|$RINGS
rings_in_the_hole|$RINGS
rings_misaligned|$RINGS
ring_that_wraps|$RINGS
ring_across_the_end_of_ram|$RINGS
queue_size_zero|
registers_after_driver_ok|
queue_that_is_not_there|
EOF
}

# A test function for each.
define_violations() {
	local number=0 name message
	while IFS='|' read -r name message; do
		eval "test_ring_$name() { ring $number \"$message\"; }"
		number=$((number + 1))
	done < <(violations)
}
define_violations

# misuse NUMBER DEVICE MESSAGE [DEVICES]: the case of tests/guests/misuse.c with that number; it breaks
# the rule twice.
misuse() {
	need_kvm
	spec < <(flat "$(with_numbers misuse "$1")" -b "$APIC" -l "${4:-rng {\} $NET}")
	with_peer idle
	want_failures "\"$2\" true \"$3\"" "\"$2\" true \"$3\""
}

test_rng_buffer_not_writable() { misuse 0 rng 'a buffer for random bytes that is not writable'; }
test_rng_buffer_half_writable() { misuse 1 rng 'a buffer for random bytes that is not writable'; }
test_net_receive_buffer_not_writable() { misuse 5 n 'a receive buffer that is not writable'; }
test_net_command_without_room_for_its_answer() {
	misuse 6 n 'a control command without room for its answer'
}

# 16 MiB to a reader that takes nothing: what there is no room for is dropped, counted and told once.
test_console_flood() {
	need_kvm
	mkfifo "$CASE/fifo"
	exec 8<>"$CASE/fifo"
	passes < <(flat "$(with_numbers console 0 256)" -b "$APIC" -l 'console { output { fd: 8 } }')
	want_failures '"console" false "the console'\\\''s reader does not keep up: output is being dropped"'
	want 'console_bytes_dropped: 16[0-9]{6}'
}
