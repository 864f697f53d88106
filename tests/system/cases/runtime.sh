# SPDX-License-Identifier: MIT
# Hosts that fail while a VM runs: its reader goes away, it is stopped and continued, an image has no room
# or is cut short, huge pages are taken by somebody else.

APIC='local_apic: true'

# Whoever reads fd 4 leaves when the VM runs. The VM stays, and its status says how it ended.
test_event_reader_leaves() {
	need_kvm
	spec < <(flat button -b "$APIC")
	mkfifo "$CASE/fifo"
	(cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/fifo") &
	local pid=$!
	head -c 64 "$CASE/fifo" >/dev/null
	sleep 0.3
	kill -0 "$pid" || fail "it has ended with its reader"
	kill -TERM "$pid"
	wait "$pid"
	status=$?
	want_status 0
}

# Stopped and continued, before it runs and in the middle of traffic: the guest finds nothing amiss.
test_stopped_and_continued() {
	need_kvm
	memory_image image 1M
	flat disk -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/image' } queues: 2
		serial: 'serial' limit { ops_per_s: 500 ops_burst: 1 } }" >"$CASE/text"
	passes -s 19@20 -s 18@300 -s 19@320 -s 18@500 <"$CASE/text"
	for at in 02 05 10; do
		spec <"$CASE/text"
		(cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb") &
		sleep "0.0$at"
		kill -STOP $!
		sleep 0.2
		kill -CONT $!
		wait $!
		status=$?
		decode
		want_status 0
		found_well
	done
}

test_stopped_and_then_ended() {
	need_kvm
	spec < <(flat spin -b "$APIC" -c 2 -l 'lifecycle { shutdown_timeout_ms: 100 }')
	launch -s 19@50 -s 15@100 -s 18@150
	want_status 36
}

# The guest sees an I/O error, the launcher an event, and the disk goes on.
test_disk_without_room() {
	need_kvm
	need_mounts
	spec < <(flat "$(with_numbers disk_errors 0)" -b "$APIC" \
		-l "disks { id: 'a' image { path: '$CASE/full/image' } }")
	mkdir "$CASE/full"
	unshare -m "$BASH" -c "mount -t tmpfs -o size=256k none '$CASE/full' || exit 99
		truncate -s 4M '$CASE/full/image' && cd '$CASE/cwd' &&
		exec '$SPAWN' run '$SHIM' 3<'$CASE/spec.pb' 4>'$CASE/events.pb'"
	status=$?
	[ "$status" != 99 ] || skip "cannot mount here"
	decode
	want_status 0
	found_well
	want_failures '"a" false "the host has no room for what the guest writes: it was given an I/O error"'
}

test_disk_cut_short() {
	need_kvm
	truncate -s 1M "$CASE/image"
	spec < <(flat "$(with_numbers disk_errors 1)" -b "$APIC" \
		-l "disks { id: 'a' image { path: '$CASE/image' } }")
	(cd "$CASE/cwd" && exec "$SPAWN" run "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb") &
	local pid=$!
	while [ ! -s "$CASE/events.pb" ] && kill -0 "$pid"; do sleep 0.02; done
	sleep 0.1
	truncate -s 512K "$CASE/image"
	wait "$pid"
	status=$?
	decode
	want_status 0
	found_well
	want_failures '"a" false "the image was truncated: the guest was given an I/O error"'
	[ "$(stat -c %s "$CASE/image")" = 524288 ] || fail "the image was made longer again"
}

# Somebody takes all huge pages and gives them back, all the time. A launch gets its memory or is refused;
# none dies of a page that was promised.
test_huge_pages_taken_meanwhile() {
	need_kvm
	local pool=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages taker refused=0 n
	command -v python3 >/dev/null || skip "no python3 here"
	[ -w "$pool" ] || skip "no huge pages can be had"
	echo $(($(cat "$pool") + 8)) >"$pool"
	# Expanded now: the trap runs when this function's variables are gone.
	# shellcheck disable=SC2064
	trap "echo \$((\$(cat $pool) - 8)) >$pool" EXIT
	[ "$(huge_pages_free)" -ge 8 ] || skip "no 8 huge pages can be had"
	python3 -c '
import mmap, sys, time
while True:
    for size in range(8, 0, -1):
        try:
            taken = mmap.mmap(-1, size << 21, flags=0x40022)
            taken[0] = 1
            break
        except OSError:
            pass
    time.sleep(0.004)
    taken = None
    time.sleep(0.004)' &
	taker=$!
	# shellcheck disable=SC2064
	trap "kill $taker; wait $taker 2>/dev/null; echo \$((\$(cat $pool) - 8)) >$pool" EXIT
	for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
		spec < <(flat vcpus -M "page_size: HUGE_2M populate: $([ $((n % 2)) = 0 ] && echo true || echo false)")
		launch
		case $status in
		0) found_well ;;
		69) want_error 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'; refused=$((refused + 1)) ;;
		*) show; fail "status $status" ;;
		esac
	done
	echo "$refused of 12 were refused"
}
