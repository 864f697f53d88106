# SPDX-License-Identifier: MIT
# Whole lives of real VMs, commanded from outside.

# `start` and `ended`, `axvm` and `says` are those of cli.sh.

test_life_by_a_foreign_harness() {
	need_kvm
	need_python
	python3 tests/system/harness.py "$SHIM" "$PROTO" tests/specs/life.txtpb || fail "see above"
}

# The harness itself: against a double it passes whatever the shim can do.
test_life_harness_against_the_double() {
	need_python
	python3 tests/system/harness.py "$DOUBLE" "$PROTO" tests/specs/life.txtpb || fail "see above"
}

test_life_ctl() {
	need_kvm
	start tests/specs/spin.txtpb
	axvm ctl spin status
	want_status 0
	says '^RUNNING$'
	axvm ctl spin pause
	want_status 0
	axvm ctl spin status
	says '^PAUSED$'
	axvm ctl spin resume
	want_status 0
	axvm ctl spin status
	says '^RUNNING$'
	axvm ctl spin metrics
	want_status 0
	axvm ctl spin balloon 8M
	[ "$status" != 0 ] || fail "a balloon that is not there"
	axvm ctl spin stop
	want_status 0
	ended 36
}

has_run_since() { [ "$(cpu_time "$shim")" -gt "$1" ]; }

test_life_pause_takes_the_cpu_away() {
	local shim started before after
	need_kvm
	start tests/specs/spin.txtpb --events "pb:$CASE/events.pb"
	shim_of "$pid"
	await_event running
	before=$(cpu_time "$shim")
	await "CPU time of a VM that spins" has_run_since "$before"
	axvm ctl spin pause
	want_status 0
	before=$(cpu_time "$shim")
	sleep 0.5
	after=$(cpu_time "$shim")
	[ "$before" = "$after" ] || fail "CPU time while it was paused: $before, $after"
	axvm ctl spin stop
	ended 36
}

# SIGTERM to the launcher: the power button, which a flat guest without local APICs has not.
test_life_sigterm_to_the_launcher() {
	need_kvm
	start tests/specs/spin.txtpb
	kill -TERM "$pid"
	ended 36
}

# launcher_killed SPEC_TEXT: kill -9 of `axvm run` when its VM runs; sets `shim`, which is as it was
# until then.
launcher_killed() {
	flat spin -l "lifecycle { $1 }" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
	shim_of "$pid"
	# Whatever comes of it, nothing runs on.
	trap 'alive && kill -KILL "$shim"' EXIT
	await_event running
	alive || fail "there is no shim to be left alone"
	kill -KILL "$pid"
	wait "$pid"
	[ "$?" = 137 ] || fail "the launcher was not killed"
	rm -rf "$CASE/axvm"
}

test_life_launcher_killed_stop() {
	local shim started
	need_kvm
	launcher_killed 'on_control_eof: ON_CONTROL_EOF_STOP'
	await "the shim's end" gone
}

test_life_launcher_killed_shutdown() {
	local shim started
	need_kvm
	launcher_killed 'on_control_eof: ON_CONTROL_EOF_SHUTDOWN shutdown_timeout_ms: 200'
	await "the shim's end" gone
}

# A spec that does not say: as with --on-exit shutdown.
test_life_launcher_killed_unsaid() {
	local shim started
	need_kvm
	launcher_killed 'shutdown_timeout_ms: 200'
	await "the shim's end" gone
}

test_life_launcher_killed_keep_running() {
	local shim started
	need_kvm
	launcher_killed 'on_control_eof: ON_CONTROL_EOF_KEEP_RUNNING'
	sleep 1
	alive || fail "it did not run on"
	kill -TERM "$shim"
	await "the shim's end" gone
}

has_exits() {
	axvm ctl "$CASE"/axvm/*.sock metrics
	grep -qE '^kvm.vcpus.exits +[1-9]' "$CASE/out"
}

has_reports() { [ "$(grep -c '"metrics": {"counters"' "$CASE/events.json")" -ge 3 ]; }

# placed PREFIX FILE: pages of 4 KiB by the metrics that begin so; a host may give larger ones
# without being asked.
placed() {
	awk -v prefix="$1" 'index($1, prefix "pages_4k") == 1 { sum += $NF }
		index($1, prefix "pages_2m") == 1 { sum += 512 * $NF } END { print sum + 0 }' "$2"
}

# What a VM counts of itself, from the real thing: by hand, at an interval, and for Prometheus.
test_life_metrics() {
	need_kvm
	truncate -s 1M "$CASE/disk.img"
	flat spin -c 2 -m 16 -M 'populate: true' -b 'local_apic: true' \
		-l "metrics { interval_ms: 100 } console { output { fd: 1 } } rng { } balloon { }
		disks { id: \"root\" queues: 2 image { path: \"$CASE/disk.img\" } }" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "json:$CASE/events.json" --metrics-file "$CASE/metrics.prom"
	await "exits of a vCPU" has_exits
	want_status 0
	[ "$(placed memory.node.0.placed. "$CASE/out")" = 4096 ] || fail "not 16 MiB are placed"
	says '^kvm.vcpus.exits +[1-9]'
	says '^stage.seal.ns +[1-9]'
	says '^vcpu.1.exits +[0-9]'
	for name in io.0.turns console.bytes_out disk.root.reads rng.requests balloon.wanted_bytes \
		disk.root.interrupts_suppressed; do
		says "^$name +[0-9]"
	done
	await "three reports at the interval" has_reports
	axvm ctl "$CASE"/axvm/*.sock stop
	ended 36
	grep -qE '^axvm_disk_reads\{vm=".*",disk="root"\} 0$' "$CASE/metrics.prom" ||
		{ cat "$CASE/metrics.prom"; fail "no metrics file"; }
	[ "$(placed axvm_memory_node_placed_ "$CASE/metrics.prom")" = 4096 ] || fail "no memory in the metrics file"
}

# Killed, with fd 3 still held open by somebody else: only the process itself is missed.
test_life_launcher_killed_and_fd_3_open() {
	local launcher shim started
	need_kvm
	spec < <(flat spin -l 'lifecycle { stop_when_launcher_dies: true }')
	mkfifo "$CASE/control"
	exec 8<>"$CASE/control"
	cat "$CASE/spec.pb" >&8
	(
		cd "$CASE/cwd" || exit
		"$SHIM" 3<"$CASE/control" 4>"$CASE/events.pb" &
		echo $! >"$CASE/shim"
		wait
	) &
	launcher=$!
	await_event running
	shim=$(cat "$CASE/shim")
	started=$(since "$shim")
	[ -n "$started" ] || fail "it has ended already"
	trap 'alive && kill -KILL "$shim"' EXIT
	kill -KILL "$launcher"
	wait "$launcher"
	await "the shim's end" gone
	exec 8>&-
	status=36
	decode
	want "outcome: OUTCOME_STOPPED_BY_HOST" 'message: "the launcher has died"'
}

test_life_commands_cut_at_every_byte() {
	need_kvm
	need_python
	python3 tests/system/streams.py split "$SHIM" "$PROTO" "$GUESTS/spin.bin" || fail "see above"
}

# `make nightly` has it stall for a minute.
test_life_stalled_reader() {
	need_kvm
	need_python
	python3 tests/system/streams.py stall "$SHIM" "$PROTO" "$GUESTS/spin.bin" 2 || fail "see above"
}

# A VM that is started again the moment it has ended, as a guest's reset asks for: its disk is free.
test_life_again_at_once() {
	local i
	need_kvm
	truncate -s 1M "$CASE/image"
	flat disk -b 'local_apic: true' -l "disks { id: \"a\" queues: 2 serial: \"serial\"
		image { path: \"$CASE/image\" } }" >"$CASE/vm.txtpb"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		axvm run "$CASE/vm.txtpb"
		want_status 0
	done
}

# The last report of a disk's VM, from a driver that uses two queues: the sums are those of the
# parts.
test_life_metrics_add_up() {
	need_kvm
	need_python
	truncate -s 1M "$CASE/image"
	flat disk -b 'local_apic: true' -l "metrics { interval_ms: 60000 }
		disks { id: \"a\" queues: 2 serial: \"serial\" image { path: \"$CASE/image\" } }" >"$CASE/vm.txtpb"
	axvm run "$CASE/vm.txtpb" --events "json:$CASE/events.json"
	want_status 0
	python3 - "$CASE/events.json" <<-'END' || fail "see above"
		import json, sys
		events = [json.loads(line) for line in open(sys.argv[1])]
		assert "terminal" in events[-1] and "metrics" in events[-3], list(events[-3])
		report = events[-3]["metrics"]
		c = {x["name"]: int(x["value"]) for x in report["counters"]}
		latency, = (h for h in report["histograms"] if h["name"] == "disk.a.latency_ns")
		print({k: v for k, v in c.items() if k.startswith("disk.a.") and ".queue." not in k}, latency)
		for name in ("requests", "bytes_from_guest", "bytes_to_guest", "kicks", "batches", "interrupts",
		             "interrupts_suppressed"):
		    parts = [c[f"disk.a.queue.{i}.{name}"] for i in (0, 1)]
		    assert c[f"disk.a.{name}"] == sum(parts), name
		assert min(c[f"disk.a.queue.{i}.requests"] for i in (0, 1)) > 0
		assert c["disk.a.batches"] == c["disk.a.interrupts"] + c["disk.a.interrupts_suppressed"]
		assert 0 < c["disk.a.batches"] <= c["disk.a.requests"]
		# Every request was waited for, so each has its time and its status byte.
		assert sum(map(int, latency["counts"])) == c["disk.a.requests"]
		assert len(latency["counts"]) == len(latency["bounds"]) + 1
		assert int(latency["sum"]) > 0
		done = sum(c[f"disk.a.{name}"] for name in ("reads", "writes", "flushes"))
		assert 0 < done <= c["disk.a.requests"]
		assert c["disk.a.bytes_to_guest"] >= c["disk.a.bytes_read"] > 0
		assert c["disk.a.bytes_from_guest"] >= c["disk.a.bytes_written"] > 0
	END
}

paused_and_told() {
	runs "$pid" || return 0
	axvm ctl "$CASE"/axvm/*.sock pause && axvm ctl "$CASE"/axvm/*.sock resume
	sleep 0.1
	! runs "$pid"
}

# The guest ends when kvmclock tells it that it was stopped (KVM_KVMCLOCK_CTRL), and not before. A
# pause that comes before it has a clock is not told, so there may be several.
test_life_pause_is_told_to_the_guest() {
	need_kvm
	flat paused -b 'local_apic: true' >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb"
	axvm ctl "$CASE"/axvm/*.sock status
	says '^RUNNING$'
	sleep 0.3
	axvm ctl "$CASE"/axvm/*.sock pause
	says '^PAUSED$'
	axvm ctl "$CASE"/axvm/*.sock resume
	want_status 0
	await "the guest's end after a pause" paused_and_told
	ended 0
	grep -q 'rax: 0x600d600d600d600d' "$CASE/run.err" || fail "the guest is not content"
}
