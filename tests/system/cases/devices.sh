# SPDX-License-Identifier: MIT
# Devices under a bare-metal driver (tests/guests/lib/virtio.h): ordinary traffic.

APIC='local_apic: true'

# want_pattern BLOCKS BYTES: what `disk` leaves in blocks of so many bytes: block n holds the words
# n << 32 | i.
want_pattern() {
	local seen
	seen=$(od -An -v -t x8 -w8 -N $(($1 * $2)) "$CASE/image" | awk -v words=$(($2 / 8)) -v all=$(($1 * $2 / 8)) '
		$1 != sprintf("%08x%08x", (NR - 1) / words, (NR - 1) % words) { print "word " NR - 1 ": " $1 }
		END { if (NR != all) print NR " words, not " all }')
	[ -z "$seen" ] || fail "the image: ${seen%%$'\n'*}"
}

# disk_traffic FIELDS [SIZES]: the guest saw blocks of one of these sizes, as eight hex digits;
# without it of 512 bytes.
disk_traffic() {
	local size
	need_kvm
	truncate -s 1M "$CASE/image"
	passes < <(flat disk -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/image' } queues: 2
		serial: 'serial' $1 }")
	want "rbx: \"0x(${2:-00000200})00000038\""
	size=$(sed -n 's/^ *rbx: "0x\(.*\)00000038"$/\1/p' "$CASE/terminal")
	want_pattern 56 $((16#$size))
	[ "$(stat -c %s "$CASE/image")" = 1048576 ] || fail "the image has another length"
}

test_disk_traffic() { disk_traffic ''; }
test_disk_traffic_blocks_of_4096() { disk_traffic 'block_size: 4096' 00001000; }
# The blocks of direct I/O are the file system's, and 4096 bytes where it does not say (tmpfs).
test_disk_traffic_direct() { disk_traffic 'direct: true' '00000200|00001000'; }
test_disk_traffic_write_through() { disk_traffic 'cache: CACHE_MODE_WRITE_THROUGH'; }
test_disk_traffic_limited() { disk_traffic 'limit { ops_per_s: 2000 ops_burst: 1 }'; }

test_masks_and_resets() {
	need_kvm
	memory_image image 1M
	passes < <(flat vectors -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/image' } }")
}

# with_peer WHAT: a launch of the kept spec with the host's side of tests/system/peer.py.
with_peer() {
	need_root
	need_python
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	unshare -n true 2>/dev/null || skip "no network namespaces here"
	(cd "$CASE/cwd" && exec unshare -n python3 "$ROOT/tests/system/peer.py" "$1" \
		"$SPAWN" run "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
	status=$?
	[ "$status" != 99 ] || fail "see above: the host's side"
	decode
	want_status 0
	found_well
}

NET="nets { id: 'n' tap { fd: 7 } }"

test_net_traffic() {
	need_kvm
	spec < <(flat net -b "$APIC" -l "$NET")
	with_peer echo
}

# A VM that is started again on the TAP of one that has just ended.
test_net_tap_of_one_that_has_ended() {
	need_kvm
	need_root
	need_python
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	unshare -n true 2>/dev/null || skip "no network namespaces here"
	spec < <(flat power_off -b "$APIC" -l "nets { id: 'n' tap_name: 'peer0' }")
	unshare -n python3 "$ROOT/tests/system/peer.py" named "$BASH" -c \
		"cd '$CASE/cwd' && exec '$SHIM' 3<'$CASE/spec.pb' 4>'$CASE/events.pb'" || fail "see above"
	status=0
	decode
	want "outcome: OUTCOME_POWER_OFF"
}

# Frames that there is no room for stop nothing.
test_net_receive_queue_full() {
	need_kvm
	spec < <(flat "$(with_numbers net 20000)" -b "$APIC" -l "$NET")
	with_peer flood
}

# console NUMBERS: what is typed is in $CASE/typed, what was printed in $CASE/printed.
console_traffic() {
	need_kvm
	seq 3000 >"$CASE/typed"
	printf . >>"$CASE/typed"
	passes < <(flat "$(with_numbers console "$1")" -b "$APIC" \
		-l "console { input { fd: 7 } output { fd: 8 } }") 7< <(cat "$CASE/typed") 8>"$CASE/printed"
	cmp "$CASE/typed" "$CASE/printed" || fail "what was printed is not what was typed"
}

test_console_traffic() { console_traffic 0; }
test_console_receive_queue_full() { console_traffic 5000; }

# console_clients KIND: who reads and types leaves and comes back, three times.
console_clients() {
	need_kvm
	command -v python3 >/dev/null || skip "no python3 here"
	XDG_RUNTIME_DIR=$CASE python3 "$ROOT/tests/system/console_clients.py" "$1" "$BUILD/axvm" "$GUESTS/console.bin" \
		"$CASE" || fail "see above"
}

test_console_clients_of_a_pty() { console_clients pty; }
test_console_clients_of_fifos() { console_clients fifos; }

test_random_traffic() { need_kvm; flat random -b "$APIC" -l 'rng {}' | passes; }

# The kept spec, and commands (text, stdin) when the guest's driver has said how its memory is.
when_the_balloon_is_up() {
	local commands
	commands=$(cat)
	mv "$CASE/spec.pb" "$CASE/spec"
	mkfifo "$CASE/spec.pb"
	{
		cat "$CASE/spec"
		await_event balloon.guest_reports
		encode ControlStream <<<"$commands"
	} >"$CASE/spec.pb" &
}

# balloon_traffic HOST-PAGE [MEMORY]: the host asks for 8 of 32 MiB.
balloon_traffic() {
	need_kvm
	spec < <(flat "$(with_numbers balloon "$1")" -m 32 -M "${2:-}" -b "$APIC" \
		-l "balloon { stats_interval_s: 1 } metrics { interval_ms: 100 }")
	: >"$CASE/events.pb"
	when_the_balloon_is_up <<<'commands { request_id: 1 balloon { target_mib: 24 } }'
	launch
	want_status 0
	found_well
	want_failures '"balloon" false "the guest gave up pages that are not its memory: they are ignored"'
	want_metric balloon.wanted_bytes -eq 8388608
	[ "$(grep -A 5 'balloon_settled {' "$CASE/events" | tr -s ' \n' ' ')" = \
		' balloon_settled { request_id: 1 target_mib: 24 actual_mib: 24 reached: true } ' ] ||
		fail "not one event of the command: $(grep -A 5 'balloon_settled {' "$CASE/events")"
	want_metric balloon.guest_reports -gt 3
	want_metric balloon.guest.free_bytes -ge 0
	want_metric balloon.discard_failures -eq 0
	want_metric balloon.returned_bytes -ge $((2 * 8388608))
}

test_balloon_traffic() { balloon_traffic 4096; }
test_balloon_traffic_locked() { need_root; balloon_traffic 4096 'populate: true lock: true'; }
test_balloon_traffic_huge() { need_huge_pages 16; balloon_traffic 2097152 'page_size: PAGE_SIZE_2M'; }

# Everything that the guest and its orchestrator do to one another: tests/guests/vsock.c,
# vsock_channel.py.
test_vsock_traffic() {
	local malformed='"vsock" false "a message of the vsock channel is malformed: it is dropped"'
	need_kvm
	need_python
	spec < <(flat vsock -b "$APIC" -l "$VSOCK metrics { interval_ms: 100 }")
	(cd "$CASE/cwd" && exec python3 "$ROOT/tests/system/vsock_channel.py" "$SPAWN" run "$SHIM" \
		3<"$CASE/spec.pb" 4>"$CASE/events.pb")
	status=$?
	[ "$status" != 99 ] || fail "see above: the orchestrator's side"
	decode
	want_status 0
	found_well
	want_failures '"vsock" false "the guest sends under a CID that is not its own"' \
		"$malformed" "$malformed" "$malformed" "$malformed" "$malformed" "$malformed" \
		'"vsock" false "the vsock channel has ended: no connections from now on"'
	want_metric vsock.connections -eq 275
	want_metric vsock.connections_open -le 2 # one is, and a socket may be being closed
	want_metric vsock.packets_dropped -eq 1
}
