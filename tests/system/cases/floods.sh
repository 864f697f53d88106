# SPDX-License-Identifier: MIT
# More of something than anybody can use, for as long as its source likes. `axvm run` does what a signal asks
# meanwhile: the first presses the power button, which none of these sources heeds but the double, the second stops.
# (`start`, `says`, `ended` are cases/cli.sh's.)

# signalled: the first signal has been taken.
signalled() {
	kill -TERM "$pid"
	await "axvm run's word of the power button" grep -q 'power button' "$CASE/run.err"
}

# Events from a double in the place of the shim, which has no limit.
test_flood_of_events() {
	need_python
	ln -s "$DOUBLE" "$CASE/flood"
	start tests/specs/spin.txtpb --shim "$CASE/flood" --events "json:$CASE/events.json"
	await "a flood of events" grep -q '"reason": "flood"' "$CASE/events.json"
	signalled
	ended 0
	tail -n 1 "$CASE/events.json" | grep -q '"outcome": "POWER_OFF"' || fail "what came last is not the last event"
}

# A reader that has stopped: of events on standard error, whose own words are in the same pipe, and of those in a FIFO. The
# VM is stopped by the second signal, and `axvm run` does not wait for the reader for good.
test_reader_that_stalls() {
	local way
	need_kvm
	need_python
	flat spin -l 'metrics { interval_ms: 100 }' >"$CASE/vm.txtpb"
	for way in stderr fifo; do
		XDG_RUNTIME_DIR=$CASE python3 - "$AXVM" "$CASE" "$way" <<-'END' || fail "$way: see above"
			import fcntl, os, signal, struct, subprocess, sys, termios, time
			axvm, case, way = sys.argv[1:]
			fifo = case + "/fifo"
			if way == "fifo":
			    os.mkfifo(fifo)
			    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
			    error, to = open(case + "/fifo.err", "w"), ":" + fifo
			else:
			    reader, error = os.pipe()
			    to = ""
			vm = subprocess.Popen([axvm, "run", case + "/vm.txtpb", "--events", "json" + to], stdin=subprocess.DEVNULL,
			                      stdout=subprocess.DEVNULL, stderr=error)
			def is_full():
			    # It has stopped growing: a second without a byte, at ten reports a second.
			    held = [struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0] for _ in range(20) if not time.sleep(0.05)]
			    return held[0] == held[-1] and held[0] > 61440
			while not is_full():
			    assert vm.poll() is None, vm.returncode
			vm.send_signal(signal.SIGTERM)
			while vm.poll() is None:
			    time.sleep(0.6)
			    vm.send_signal(signal.SIGTERM)
			assert vm.returncode == 36, vm.returncode
		END
	done
}

# stopped: the second signal, and the end.
stopped() {
	signalled
	kill -TERM "$pid"
	ended 36
}

# counter NAME: its value in a new report of the VM "flood"; 0 when there is none.
counter() {
	axvm ctl --json flood metrics
	want_status 0
	sed -n "s/.*\"name\": \"$1\", \"value\": \"\([0-9]*\)\".*/\1/p" "$CASE/out" | grep . || echo 0
}

# more_than LIMIT NAME
more_than() { [ "$(counter "$2")" -gt "$1" ]; }

# start_flood GUEST LAUNCH: `axvm run` of a guest as `flat` takes it, with a local APIC.
start_flood() {
	flat "$1" -b 'local_apic: true' -l "$2" | sed "s/vm_id: \"$VM\"/vm_id: \"flood\"/" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "json:$CASE/events.json"
}

# A device that is broken and reset in a loop: as often as its guest likes, and its owner hears of it ten times a second.
test_flood_of_failures() {
	local sent suppressed seconds=$SECONDS
	need_kvm
	start_flood "$(with_numbers misuse 0 1)" 'rng {}'
	await "forty failures of a device" more_than 40 rng.failures
	stopped
	sent=$(grep -c '"device_failed"' "$CASE/events.json")
	suppressed=$(sed -n 's/.*"suppressed": "\([0-9]*\)".*/\1/p' "$CASE/events.json" | awk '{ n += $1 } END { print n + 0 }')
	seconds=$((SECONDS - seconds + 1))
	echo "$sent events of a device in at most $seconds s, which stand for $suppressed more"
	[ "$sent" -le $((20 + 10 * seconds)) ] || fail "more events than its limit allows"
	[ $((sent + suppressed)) -gt 40 ] || fail "not every failure is told or counted"
}

# Output that never ends, into a file.
test_flood_of_output() {
	local size seconds=$SECONDS
	need_kvm
	start_flood "$(with_numbers console 0 $((1 << 40)))" "console { output { path: '$CASE/output' } limit { bytes_per_s: 65536 bytes_burst: 524288 } }"
	await "output over its limit" more_than 0 console.bytes_over_limit
	stopped
	size=$(stat -c %s "$CASE/output")
	seconds=$((SECONDS - seconds + 1))
	echo "$size bytes in at most $seconds s"
	# The burst, the rate, and one write that a full bucket lets pass.
	[ "$size" -le $((524288 + seconds * 65536 + 262144)) ] || fail "the file is larger than its limit allows: $size"
	grep -q '"console_bytes_dropped": "[1-9]' "$CASE/events.json" || fail "what was dropped is not counted"
	grep -q 'prints more than console.limit allows' "$CASE/events.json" || fail "no event tells of it"
}

# Commands as fast as the control socket takes them, by one client; another is served meanwhile, and every command has
# its reply.
test_flood_of_commands() {
	local client
	need_kvm
	need_python
	start_flood spin ''
	python3 - "$CASE/axvm/flood.sock" "$CASE/busy" >"$CASE/client" <<-'END' &
		import select, socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.setblocking(False)
		status = bytes([0x12, 4, 0x08, 7, 0x32, 0])
		reply = b"\x7a\x06\x08\x07\x10\x01"
		sent = replies = 0
		rest = got = b""
		while True:
		    select.select([s], [s], [])
		    try:
		        rest = rest or status * 200
		        rest = rest[s.send(rest):]
		        sent += 200 * (not rest)
		    except BlockingIOError:
		        pass
		    except OSError:
		        break
		    try:
		        more = s.recv(65536)
		    except BlockingIOError:
		        continue
		    except OSError:
		        break
		    if not more:
		        break
		    got = got[-len(reply) + 1:] + more
		    replies += got.count(reply)
		    if replies > 500:
		        open(sys.argv[2], "w").close()
		print(sent, replies)
	END
	client=$!
	await "500 replies" test -e "$CASE/busy"
	axvm ctl flood status
	want_status 0
	says '^RUNNING$'
	stopped
	wait "$client" || fail "the client"
	echo "commands sent, replies: $(cat "$CASE/client")"
}
