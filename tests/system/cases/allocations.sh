# SPDX-License-Identifier: MIT
# No allocation after the seal: what other cases have devices do, under a shim that ends with status
# 3 when it allocates (counting.c).

counting() {
	SHIM=$BUILD/axvm-shim-counting
	[ -x "$SHIM" ] || fail "$SHIM is not there: run make system"
}

# One that allocates is seen, in each kind of thread.
test_allocation_is_seen() {
	local role
	need_kvm
	counting
	truncate -s 1M "$CASE/image"
	spec < <(flat disk -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/image' } queues: 2 serial: 'serial' }")
	for role in control vcpu io; do
		(cd "$CASE/cwd" && AXVM_ALLOCATE=$role "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
		status=$?
		want_status 3
	done
}

# A test for each of these, under the other shim.
define_countings() {
	local name
	for name in disk_traffic disk_traffic_direct disk_traffic_write_through disk_traffic_limited masks_and_resets \
		net_traffic net_receive_queue_full console_traffic console_flood random_traffic \
		balloon_traffic balloon_traffic_locked balloon_traffic_huge balloon_list_too_long \
		vsock_traffic \
		net_command_without_room_for_its_answer vsock_packet_longer_than_its_data; do
		eval "test_no_allocation_$name() { counting; test_$name; }"
	done
}
define_countings

# Every kind of device at once. (Of another name than the case, which `make hostile` runs at
# length.)
test_no_allocation_hostile() { counting; test_hostile_guest; }
limit_no_allocation_hostile=700

# The program's variables are not given huge pages, which the kernel would have cleared for a few
# bytes each.
test_own_pages_are_small() {
	local large
	need_kvm
	[ -e /sys/kernel/mm/transparent_hugepage ] || skip "this kernel has no transparent huge pages"
	spec < <(flat idle -b "$APIC")
	(cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb") &
	await_event running
	# Written mappings of the program's file, and the one that follows such a one without a gap:
	# its zeroed variables. What is behind those, be it adjacent by chance, is not its own.
	large=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { split($1, at, "-"); own = $2 ~ /w/ && ($6 ~ /axvm-shim/ || (file && at[1] == last)); file = own && $6 ~ /axvm-shim/; last = at[2]; line = $0 }
		/^Size:/ && own { size = $2; if (size >= 1024) seen = 1 }
		/^VmFlags:/ && own && !/ nh( |$)/ { print line }
		END { if (!seen) print "none of a MiB was looked at" }' "/proc/$!/smaps")
	kill -KILL "$!"
	wait "$!" 2>/dev/null
	[ -z "$large" ] || fail "$large"
}

# private_kib PID WORD: what smaps says of the process, guest memory (of 16 MiB) left out.
private_kib() {
	awk -v word="$2" '/^Size:/ { ram = $2 == 16384 } $1 ~ word && !ram { sum += $2 } END { print sum }' "/proc/$1/smaps"
}

# What is kept of a launch: pages that were written, and those of the program's file, which are the
# process's own where no other runs it.
test_own_memory_is_small() {
	local written all
	need_kvm
	spec < <(flat idle -b "$APIC")
	# A file of its own: of the other, shims of other tests may have the pages too.
	cp "$SHIM" "$CASE/axvm-shim"
	(cd "$CASE/cwd" && exec "$CASE/axvm-shim" 3<"$CASE/spec.pb" 4>"$CASE/events.pb") &
	await_event running
	sleep 0.3
	# Private_Dirty would have the program's own pages, where its file has not reached a disk.
	written=$(private_kib "$!" '^Anonymous')
	all=$(private_kib "$!" '^Private_(Clean|Dirty)')
	kill -KILL "$!"
	wait "$!" 2>/dev/null
	[ "$all" -gt 100 ] || fail "only $all KiB were counted"
	((written <= 360 && all <= 560)) || fail "$written KiB are written to, $all with the program's; 360 and 560 are the bounds"
}
