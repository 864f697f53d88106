# SPDX-License-Identifier: MIT
# Drivers that break the rules (tests/guests/ring.c and its like). Whatever they do, the device asks
# for a reset with one event, or answers as documented; the VM lives, and the device works again.

APIC='local_apic: true'

# `device_failed` events of $CASE/events, one line each: the device, whether it needs a reset, what
# was wrong.
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
	memory_image image 1M
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

# misuse NUMBER DEVICE MESSAGE [DEVICES]: the case of tests/guests/misuse.c with that number; it
# breaks the rule twice.
misuse() {
	need_kvm
	spec < <(flat "$(with_numbers misuse "$1")" -b "$APIC" -l "${4:-rng {\} $NET}")
	with_peer idle
	want_failures "\"$2\" true \"$3\"" "\"$2\" true \"$3\""
}

test_rng_buffer_not_writable() { misuse 0 rng 'a buffer for random bytes is not writable'; }
test_rng_buffer_half_writable() { misuse 1 rng 'a buffer for random bytes is not writable'; }
test_net_receive_buffer_not_writable() { misuse 5 n 'a receive buffer is not writable'; }
test_net_command_without_room_for_its_answer() {
	misuse 6 n 'a control command has no writable buffer for its answer'
}

LIST='a list of pages is empty, too long, or not made of page numbers'
test_balloon_list_of_half_numbers() { misuse 7 balloon "$LIST" 'balloon {}'; }
test_balloon_list_too_long() { misuse 8 balloon "$LIST" 'balloon {}'; }
test_balloon_list_empty() { misuse 9 balloon "$LIST" 'balloon {}'; }

VSOCK='vsock { cid: 3 channel { fd: 8 } }'
LYING='a packet is shorter than its header, or than the length in its header'
test_vsock_header_cut_off() { misuse 2 vsock "$LYING" "$VSOCK"; }
test_vsock_packet_without_its_data() { misuse 3 vsock "$LYING" "$VSOCK"; }
test_vsock_packet_longer_than_its_data() { misuse 4 vsock "$LYING" "$VSOCK"; }

# 16 MiB to a reader that takes nothing: what there is no room for is dropped, counted and told
# once.
test_console_flood() {
	need_kvm
	mkfifo "$CASE/fifo"
	exec 8<>"$CASE/fifo"
	passes < <(flat "$(with_numbers console 0 256)" -b "$APIC" -l 'console { output { fd: 8 } }')
	want_failures '"console" false "the console'\\\''s reader does not keep up: output is being dropped"'
	want 'console_bytes_dropped: 16[0-9]{6}'
}

# ---- the hostile guest -------------------------------------------------------------------------

HOSTILE_SEED=${HOSTILE_SEED:-1}
HOSTILE_OPERATIONS=${HOSTILE_OPERATIONS:-20000}
limit_hostile_guest=$((600 + HOSTILE_OPERATIONS / 200))

# KiB of memory that a process has of its own, guest memory (mappings of 16 MiB and more) left out.
# Not Private_*: a page of its program's file is that whenever no other process runs the same
# program, and dirty where the file lies in memory.
own_memory() {
	awk '/^[0-9a-f]+-[0-9a-f]+ / { guest = 0 } /^Size:/ { guest = $2 >= 16384 }
		/^Anonymous:/ && !guest { sum += $2 } END { print sum + 0 }' "/proc/$1/smaps"
}

open_files() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

# A VM beside it does its work over and over, as if nothing were.
neighbour() {
	local rounds=0
	memory_image neighbour 1M
	flat disk -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/neighbour' } queues: 2
		serial: 'serial' }" | encode ControlStream >"$CASE/neighbour.pb"
	while [ ! -e "$CASE/over" ]; do
		rm -f "$CASE/neighbour.events"
		"$SHIM" 3<"$CASE/neighbour.pb" 4>"$CASE/neighbour.events" &&
			protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" \
				<"$CASE/neighbour.events" | grep -q 'rax: "0x600d600d600d600d"' || return 1
		rounds=$((rounds + 1))
	done
	echo "$rounds" >"$CASE/rounds"
	[ "$rounds" -gt 0 ]
}

# Starts it; sets `launcher`, and `pid` of the shim. With a TAP where there can be one.
start_hostile() {
	local net='' before=()
	if [ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && command -v python3 >/dev/null &&
		unshare -n true 2>/dev/null; then
		net="$NET $VSOCK"
		before=(unshare -n python3 "$ROOT/tests/system/peer.py" idle)
	fi
	spec < <(flat "$(with_numbers hostile "$HOSTILE_SEED" $((HOSTILE_OPERATIONS / 2)))" -c 2 -b "$APIC" \
		-l "rng {} console { output { fd: 9 } } $net lifecycle { shutdown_timeout_ms: 600000 }
			disks { id: 'a' image { path: '$CASE/image' } queues: 2 }")
	(cd "$CASE/cwd" && exec "${before[@]}" "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" 9>/dev/null) &
	launcher=$!
	# All threads and descriptors are there from then on.
	await_event running
	pid=$launcher
	[ -z "$net" ] || read -r pid <"/proc/$launcher/task/$launcher/children"
}

# From the seed, so many operations of the two vCPUs. The shim lives, every device works afterwards,
# its memory and its descriptors are what they were, and the neighbour has noticed nothing.
test_hostile_guest() {
	local launcher pid other memory files memory_after files_after
	need_kvm
	memory_image image 1M
	start_hostile
	memory=$(own_memory "$pid")
	files=$(open_files "$pid")
	neighbour &
	other=$!
	while ! grep -aq 'the noise is over' "$CASE/image"; do
		runs "$launcher" || break
		sleep 0.2
	done
	memory_after=$(own_memory "$pid")
	files_after=$(open_files "$pid")
	: >"$CASE/over"
	kill -TERM "$pid" 2>/dev/null
	wait "$launcher"
	status=$?
	wait "$other"
	other=$?
	decode
	[ -z "${HOSTILE_REPORT:-}" ] || cp "$CASE/terminal" "$HOSTILE_REPORT"
	want_status 0
	found_well
	want "outcome: OUTCOME_POWER_OFF"
	[ "$other" = 0 ] || fail "the VM beside it was disturbed"
	echo "seed $HOSTILE_SEED, $HOSTILE_OPERATIONS operations; $(failures | wc -l) failures of devices;" \
		"own memory $memory KiB at first, $memory_after at last; the neighbour ran" \
		"$(cat "$CASE/rounds") times" | tee "${HOSTILE_REPORT:-/dev/null}"
	[ "$memory" -gt 0 ] && [ "$memory_after" -gt 0 ] || fail "its memory could not be read"
	[ "$files_after" = "$files" ] || fail "descriptors: $files at first, $files_after at last"
	[ "$memory_after" -le $((memory + 1024)) ] || fail "its memory has grown"
}
