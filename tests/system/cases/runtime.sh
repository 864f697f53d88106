# SPDX-License-Identifier: MIT
# Hosts that fail while a VM runs: its reader goes away, it is stopped and continued, an image has
# no room or is cut short, huge pages are taken by somebody else, memory runs short. Clocks that
# jump are in lab-cases-control: the clock of this host is not ours to set.

APIC='local_apic: true'

# Whoever reads fd 4 leaves when the VM runs. The VM stays, and its status says how it ended.
test_event_reader_leaves() {
	need_kvm
	spec < <(flat button -b "$APIC")
	mkfifo "$CASE/fifo"
	(cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/fifo") &
	local pid=$!
	[ "$(head -c 64 "$CASE/fifo" | wc -c)" = 64 ] || fail "it has told nothing"
	sleep 0.3
	runs "$pid" || fail "it has ended with its reader"
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
	[ "$status" != 99 ] || fail "no small file system can be mounted"
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
	await_event running
	truncate -s 512K "$CASE/image"
	wait "$pid"
	status=$?
	decode
	want_status 0
	found_well
	want_failures '"a" false "the image was truncated: the guest was given an I/O error"'
	[ "$(stat -c %s "$CASE/image")" = 524288 ] || fail "the image was made longer again"
}

# Somebody takes all huge pages and gives them back, all the time. A launch gets its memory or is
# refused; none dies of a page that was promised.
test_huge_pages_taken_meanwhile() {
	need_kvm
	local nodes=(/sys/devices/system/node/node[0-9]*) taker refused=0 good=0 n=0 end
	need_python
	more_huge_pages 8
	# The kernel promises pages of all nodes together, so all are taken.
	python3 -c '
import mmap, sys, time
while True:
    for size in range(int(sys.argv[1]), 0, -1):
        try:
            taken = mmap.mmap(-1, size << 21, flags=0x40022)
            taken[0] = 1
            break
        except OSError:
            pass
    time.sleep(0.004)
    taken = None
    time.sleep(0.004)' $((8 * ${#nodes[@]})) &
	taker=$!
	# shellcheck disable=SC2064
	trap "kill $taker; wait $taker 2>/dev/null; $back" EXIT
	# Each of the two must have been seen.
	end=$((SECONDS + AWAIT_LIMIT))
	while [ "$n" -lt 12 ] || [ "$refused" = 0 ] || [ "$good" = 0 ]; do
		[ "$SECONDS" -lt "$end" ] || fail "of $n launches $refused were refused, and $good good"
		n=$((n + 1))
		spec < <(flat vcpus -M "page_size: PAGE_SIZE_2M populate: $([ $((n % 2)) = 0 ] && echo true || echo false)")
		launch
		case $status in
		0) found_well; good=$((good + 1)) ;;
		69) want_error 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'; refused=$((refused + 1)) ;;
		*) show; fail "status $status" ;;
		esac
	done
	runs "$taker" || fail "nobody took them"
	echo "$refused of $n were refused"
}

# Two launches at once, each for all huge pages that there are: one of them has them at most, and
# who has not says so, once. Both may find all of them free, and on a host of two nodes each may get
# a part of the one's that they both want.
test_huge_pages_for_one_of_two() {
	need_kvm
	local pool=/sys/devices/system/node/node0/hugepages/hugepages-2048kB rounds=0 had=0 ran pages i pids end=$((SECONDS + AWAIT_LIMIT))
	[ -e "$pool" ] || skip "no huge pages by node here"
	more_huge_pages 8
	pages=$(<"$pool/free_hugepages")
	[ "$pages" -ge 8 ] || skip "$pages of 8 huge pages can be had"
	spec <<<"launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: 1 } lifecycle { shutdown_timeout_ms: 100 }
		memory { nodes { size_mib: $((2 * pages)) host_node: 0 } page_size: PAGE_SIZE_2M }
		boot { flat_boot { image { path: \"$GUESTS/idle.bin\" } local_apic: true } } }"
	while [ "$rounds" -lt 6 ] || [ "$had" = 0 ]; do
		[ "$SECONDS" -lt "$end" ] || fail "in $rounds rounds $had launches had memory"
		rounds=$((rounds + 1)) ran=0
		for i in 0 1; do
			(cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.$i") &
			pids[i]=$!
		done
		for i in 0 1; do await "running, or an end" told "$i" "${pids[i]}"; done
		# Nobody is stopped before both have told: else one could have what the other has
		# given back.
		for i in 0 1; do
			kill -TERM "${pids[i]}" 2>/dev/null
			wait "${pids[i]}"
			status=$?
			mv "$CASE/events.$i" "$CASE/events.pb"
			decode
			if [ "$status" = 36 ]; then
				ran=$((ran + 1))
			else
				want_error 69 MEMORY_UNAVAILABLE 'memory.nodes[0]'
				[ "$(grep -c '^    errors {' "$CASE/terminal")" = 1 ] || fail "it is said more than once"
			fi
		done
		[ "$ran" -le 1 ] || fail "both run, on $pages huge pages, with $pages each"
		had=$((had + ran))
	done
	echo "$had of $rounds pairs had one that ran"
}

# told NUMBER PID: whether that stream has told that its guest runs, or its shim has ended.
told() {
	runs "$2" || return 0
	protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" <"$CASE/events.$1" 2>/dev/null |
		grep -q '^  running {'
}

# memory_group MIB: a cgroup of no more memory than that, swap not counted; sets `group`, whose
# processes the trap moves out of it. One outside it that starts others in it is `hog`.
memory_group() {
	hog=
	local v1=/sys/fs/cgroup/memory v2
	v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	need_root
	if [ -f "$v1/memory.limit_in_bytes" ]; then
		group=$v1/axvm-test-$$
		mkdir "$group" 2>/dev/null || skip "no cgroup can be made"
		echo $(($1 << 20)) >"$group/memory.limit_in_bytes"
	elif grep -qsw memory "$v2/cgroup.subtree_control"; then
		group=$v2/axvm-test-$$
		mkdir "$group" 2>/dev/null || skip "no cgroup can be made"
		echo $(($1 << 20)) >"$group/memory.max"
	else
		skip "no memory controller here"
	fi
	# shellcheck disable=SC2064
	trap "[ -z \"\$hog\" ] || kill \$hog; kill \$(cat $group/cgroup.procs) 2>/dev/null
		await 'the end of all in a cgroup' rmdir $group 2>/dev/null" EXIT
}

# Processes of the group that the kernel has killed for its limit.
killed_in_group() {
	sed -n 's/^oom_kill //p' "$group/memory.events" "$group/memory.oom_control" 2>/dev/null
}

# in_group SCORE COMMAND...: becomes the command, in the group; of two the kernel kills the one of
# the higher score.
in_group() {
	echo "$1" >"/proc/$BASHPID/oom_score_adj"
	echo "$BASHPID" >"$group/cgroup.procs"
	shift
	exec "$@"
}

# Somebody in the VM's own cgroup takes all that is left of its memory, and is killed for it. A
# process that is killed is soon no candidate any more, but its memory comes back only when it has
# had its turn: meanwhile the kernel may want another, and so there are idle ones whose loss comes
# before the VM's. Who starts them all is not in the group.
take_memory_for_ever() {
	while :; do
		while [ "$(jobs -rp | wc -l)" -lt 8 ]; do
			in_group 900 sleep 1000 &
		done
		# In one mapping, touched page by page.
		(in_group 1000 dd if=/dev/zero of=/dev/null bs=256M count=1)
		# Without a pause the group does nothing else but look for memory.
		sleep 0.1
	done 2>/dev/null
}

# A launch that the kernel has denied memory, and that says so: for a page of the guest's it waits
# until somebody has been killed, but a call of the launch (KVM_CREATE_VCPU was seen) may fail with
# ENOMEM.
was_denied_memory() {
	grep -q '^    outcome: OUTCOME_LAUNCH_FAILED' "$CASE/terminal" && grep -q '^      error_number: 12$' "$CASE/terminal" &&
		! grep '^      error_number:' "$CASE/terminal" | grep -qv ' 12$' &&
		! grep -q '^      retryable: false' "$CASE/terminal"
}

# Over and over: five VMs at least, with files behind their disks, go through their work as if alone
# while a process beside them is killed. A launch may be denied its memory; what runs may not fail.
limit_memory_pressure=240
test_memory_pressure() {
	local group rounds=0 beside=0 denied=0 killed end
	need_kvm
	memory_group 32
	truncate -s 1M "$CASE/image"
	spec < <(flat disk -b "$APIC" -l "disks { id: 'a' image { path: '$CASE/image' } queues: 2 serial: 'serial' }")
	take_memory_for_ever &
	hog=$!
	end=$((SECONDS + 180))
	while [ "$beside" -lt 5 ]; do
		[ "$SECONDS" -lt "$end" ] ||
			fail "beside $beside of $rounds VMs somebody was killed, $(killed_in_group) in all; $denied launches were denied"
		killed=$(killed_in_group)
		(echo "$BASHPID" >"$group/cgroup.procs" && cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
		status=$?
		decode
		if was_denied_memory; then
			denied=$((denied + 1))
			continue
		fi
		want_status 0
		found_well
		[ "$(killed_in_group)" = "$killed" ] || beside=$((beside + 1))
		rounds=$((rounds + 1))
	done
	runs "$hog" || fail "nobody takes memory any more"
	echo "$rounds VMs, beside $beside of them somebody was killed for want of memory, $(killed_in_group) processes in all;" \
		"$denied launches were denied memory"
}

# A cgroup with less memory than the VM is to have: the kernel kills it while it takes it. Nothing
# can be said then, the status is the launcher's to see, and nothing of it stays.
test_memory_of_a_cgroup_too_small() {
	need_kvm
	memory_group 16
	spec < <(flat vcpus -m 64 -M 'populate: true')
	(echo "$BASHPID" >"$group/cgroup.procs" && cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
	status=$?
	want_status 137
	[ "$(killed_in_group)" -ge 1 ] || fail "it was killed by something else"
	[ -z "$(cat "$group/cgroup.procs")" ] || fail "a process of it is left"
	protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" <"$CASE/events.pb" >"$CASE/events" ||
		fail "protoc cannot decode fd 4"
	! grep -q 'terminal {' "$CASE/events" || fail "there is a terminal event of a VM that was killed"
}
