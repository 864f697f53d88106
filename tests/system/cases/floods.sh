# SPDX-License-Identifier: MIT
# More of something than anybody can use, for as long as its source likes. `axvm run` does what a
# signal asks meanwhile: the first presses the power button, which none of these sources heeds but
# the double, the next request stops. (`start`, `says`, `ended` are cases/cli.sh's.)

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
	tail -n 1 "$CASE/events.json" | grep -q '"outcome": "OUTCOME_POWER_OFF"' || fail "what came last is not the last event"
}

# A reader that has stopped: of events on standard error, whose own words are in the same pipe, and
# of those in a FIFO. The VM is stopped by the second signal, and `axvm run` does not wait for the
# reader for good.
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
			    # It has stopped growing: a second without a byte, at ten reports a
			    # second.
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

# stops: sends a signal until `axvm run` has said that it stops the VM. Signals of half a second are
# one request (runtime/shim/README.md), so those that come too early after the first are part of it.
stops() {
	! grep -q '^axvm run: stopping the VM' "$CASE/run.err" || return 0
	kill -TERM "$pid"
	return 1
}

# stopped: the second request, and the end.
stopped() {
	signalled
	await "axvm run's word that it stops the VM" stops
	ended 36
}

# start_flood GUEST LAUNCH: `axvm run` of a guest as `flat` takes it, with a local APIC. The guest
# has a day to heed the power button: what ends the VM sooner is nothing but the second request.
start_flood() {
	flat "$1" -b 'local_apic: true' -l "$2 lifecycle { shutdown_timeout_ms: 86400000 }" |
		sed "s/vm_id: \"$VM\"/vm_id: \"flood\"/" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "json:$CASE/events.json"
}

# commanded WORD: of the VM "flood", by a client of its own.
commanded() {
	axvm ctl flood "$1"
	want_status 0
}

# take_report: what the VM "flood" counts now, for `counter`.
take_report() {
	axvm ctl --json flood metrics
	want_status 0
	cp "$CASE/out" "$CASE/report"
}

# counter NAME: its value in the last report; 0 when there is none.
counter() { sed -n "s/.*\"name\": \"$1\", \"value\": \"\([0-9]*\)\".*/\1/p" "$CASE/report" | grep . || echo 0; }

# more_than LIMIT NAME: in a new report.
more_than() {
	take_report
	[ "$(counter "$2")" -gt "$1" ]
}

# of_events PROGRAM: awk's. `time` is the event's, in s after the seal, which was before the guest's
# first instruction; `suppressed` is what the event stands for besides.
of_events() {
	awk -F'"' '{ suppressed = time = 0 }
		/"sealed": / { sealed = $8 }
		sealed { time = ($8 - sealed) / 1e9 }
		match($0, /"suppressed": "[0-9]+/) { suppressed = substr($0, RSTART + 15, RLENGTH - 15) }
		'"$1" "$CASE/events.json"
}

# A device that is broken and reset in a loop: as often as its guest likes, and its owner hears of
# it twenty times, and ten times a second. While the VM is paused there are no new ones: each is
# told then, or counted.
test_flood_of_failures() {
	local failures told
	need_kvm
	start_flood "$(with_numbers misuse 0 1)" 'rng {}'
	await "a hundred failures of a device" more_than 100 rng.failures
	commanded pause
	take_report
	failures=$(counter rng.failures)
	told() { [ "$(of_events '/"device_failed"/ { n += 1 + suppressed } END { print n + 0 }')" = "$failures" ]; }
	await "an event for each of $failures failures, or its number in one" told
	grep -q '"suppressed"' "$CASE/events.json" || fail "no event stands for others"
	told=$(of_events '/"device_failed"/ { n++; if (n > 20 + 10 * time) print n " events in " time " s" }')
	[ -z "$told" ] || fail "more events than the limit allows: $told"
	commanded resume
	stopped
	echo "$failures failures; events: $(grep -c '"device_failed"' "$CASE/events.json")"
}

# Output that never ends, into a file.
test_flood_of_output() {
	local size over
	need_kvm
	start_flood "$(with_numbers console 0 $((1 << 40)))" \
		"console { output { path: '$CASE/output' } limit { bytes_per_s: 65536 bytes_burst: 262144 } }"
	await "a MiB of output over its limit" more_than 1048576 console.bytes_over_limit
	commanded pause
	balanced() {
		take_report
		[ "$(stat -c %s "$CASE/output")" = "$(counter console.bytes_out)" ] &&
			[ "$(counter console.bytes_from_guest)" = $(($(counter console.bytes_out) + $(counter console.bytes_dropped))) ]
	}
	await "each byte in the file, or among those that were dropped" balanced
	commanded resume
	stopped
	size=$(stat -c %s "$CASE/output")
	over=$(of_events "/\"terminal\"/ && $size > 262144 + 65536 * time { print time \" s\" }")
	[ -z "$over" ] || fail "the file is larger than its limit allows: $size bytes in $over"
	grep -qE '"console_bytes_dropped": "[0-9]{7}' "$CASE/events.json" || fail "what was dropped is not counted at the end"
	grep -q 'prints more than console.limit allows' "$CASE/events.json" || fail "no event tells of it"
	# A spell is over when there was a second without.
	over=$(of_events '/more than console.limit/ { n++ } /"terminal"/ && n > 1 + time { print n " in " time " s" }')
	[ -z "$over" ] || fail "more than one event a spell: $over"
	echo "$size bytes; dropped: $(counter console.bytes_dropped)"
}

# Commands as fast as the control socket takes them, by one client: a hundred at once, of which a
# few may be under way, and a hundred more when each has its reply. Another client is served
# meanwhile. The guest sleeps: its CPU is the others'.
test_flood_of_commands() {
	local client
	need_kvm
	need_python
	start_flood idle ''
	python3 - "$CASE/axvm/flood.sock" "$CASE/busy" >"$CASE/client" <<-'END' &
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		def number(n):
		    return bytes([0x08, 0x80 | n & 127, 1 + (n >> 7) % 127])
		def status(n):
		    return b"\x12\x05" + number(n) + b"\x32\x00"
		def reply(n):
		    return b"\xa2\x01\x07" + number(n) + b"\x10\x01"
		sent = replies = 0
		got = b""
		try:
		    while True:
		        if replies == sent:
		            s.sendall(b"".join(map(status, range(sent, sent + 100))))
		            sent += 100
		        more = s.recv(65536)
		        if not more:
		            break
		        got += more
		        while (at := got.find(reply(replies))) >= 0:
		            got = got[at + len(reply(0)):]
		            replies += 1
		        if replies > 500:
		            open(sys.argv[2], "w").close()
		except OSError:
		    pass
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
