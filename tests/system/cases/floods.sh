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

# start_flood GUEST LAUNCH: `axvm run` of a guest as `flat` takes it, with a local APIC.
start_flood() {
	flat "$1" -b 'local_apic: true' -l "$2" | sed "s/vm_id: \"$VM\"/vm_id: \"flood\"/" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "json:$CASE/events.json"
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
