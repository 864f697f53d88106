# SPDX-License-Identifier: MIT
# The `axvm` command, libaxvm as installed, and the package.

AXVM=$BUILD/axvm
DOUBLE=$ROOT/tests/system/shim_double.py

# axvm WORD...: sets `status`; its words are in $CASE/out and $CASE/err.
axvm() {
	AXVM_RUNTIME_DIR=$CASE/axvm timeout "$AWAIT_LIMIT" "$AXVM" "$@" >"$CASE/out" 2>"$CASE/err" </dev/null
	status=$?
}

# says PATTERN [FILE]
says() {
	grep -qE -- "$1" "$CASE/${2:-out}" && return
	cat "$CASE/out" "$CASE/err"
	fail "it does not say: $1"
}

# Somebody listens at a control socket of the case's. (A socket that was left behind is a file, and
# no more.)
listens() {
	runs "$pid" || { cat "$CASE/run.err"; fail "axvm run did not get there"; }
	grep -qE " 00010000 .* $CASE/axvm/[^ ]*\.sock\$" /proc/net/unix
}

# start SPEC [WORD]...: `axvm run` in the background, once its control socket is there. Sets `pid`.
start() {
	XDG_RUNTIME_DIR=$CASE "$AXVM" run "$@" >"$CASE/run.out" 2>"$CASE/run.err" </dev/null &
	pid=$!
	await "a control socket of axvm run" listens
}

# ended STATUS: of what `start` started.
ended() {
	wait "$pid"
	status=$?
	[ "$status" = "$1" ] || { cat "$CASE/run.err"; fail "status $status, wanted $1"; }
	[ -d "$CASE/axvm" ] && [ -z "$(ls "$CASE/axvm")" ] || fail "its control socket is left"
}

need_python() { command -v python3 >/dev/null || skip "no python3 here"; }

test_cli_run() {
	need_kvm
	axvm run tests/specs/longmode.txtpb
	want_status 0
	says 'longmode: halted: rax: 0xcafebabedeadbeef.*\(status 0\)' err
	axvm run --flat "$GUESTS/longmode.bin" --profile dev --memory 16M --quiet
	want_status 0
	[ ! -s "$CASE/err" ] || fail "--quiet said something: $(cat "$CASE/err")"
}

# As root the shim is alone in a process namespace; it says so itself.
test_cli_run_in_a_process_namespace() {
	need_kvm
	need_root
	unshare -p true 2>/dev/null || skip "no process namespaces here"
	axvm run tests/specs/longmode.txtpb --events "json:$CASE/events.json"
	want_status 0
	grep -q '"namespaces": \[.*"pid".*\]' "$CASE/events.json" || fail "no namespace of its own"
}

test_cli_run_binary_spec() {
	need_kvm
	spec < <(flat longmode)
	axvm run "$CASE/spec.pb"
	want_status 0
	says 'halted: rax: 0xcafebabedeadbeef' err
}

test_cli_run_says_the_guests_status() {
	need_kvm
	axvm run --flat "$GUESTS/triple_fault.bin" --profile dev
	want_status 33
	says 'triple fault' err
}

# A console with its ends at /dev/null, a file, a pipe.
test_cli_run_with_a_console() {
	need_kvm
	set -- run --flat "$GUESTS/power_off.bin" --profile dev --set 'boot { flat_boot { local_apic: true } }
		console { output { fd: 1 } input { fd: 0 } }'
	axvm "$@"
	want_status 0
	echo typed | XDG_RUNTIME_DIR=$CASE timeout "$AWAIT_LIMIT" "$AXVM" "$@" 2>&1 | cat >"$CASE/out"
	says 'powered off.*status 0'
}

# The launcher's fd of the number that the spec names; and words to act on when it is not there.
test_cli_run_hands_fds_over() {
	need_kvm
	flat 'fd: 7' >"$CASE/vm.txtpb"
	axvm run "$CASE/vm.txtpb" 7<"$GUESTS/longmode.bin"
	want_status 0
	says 'halted: rax: 0xcafebabedeadbeef' err
	axvm run "$CASE/vm.txtpb" 7<&-
	want_status 66
	says 'boot.flat_boot.image names fd 7' err
}

# The host's side of vsock: the client's socket reaches the shim, and is refused, since no driver is
# up.
test_cli_run_serves_vsock() {
	need_kvm
	need_python
	local socket=$CASE/v.sock
	start --id vs --flat "$GUESTS/spin.bin" --set 'boot { flat_boot { local_apic: true } }' --profile dev \
		--memory 16M --vsock "3,socket=$socket" --events "json:$CASE/events.json"
	[ "$(stat -c %a "$socket")" = 600 ] || fail "the socket's mode is $(stat -c %a "$socket")"
	axvm run --flat "$GUESTS/spin.bin" --profile dev --id other --vsock "3,socket=$socket"
	want_status 69
	says "another VM's vsock is served at $socket" err
	await "the VM's running" grep -q '"running"' "$CASE/events.json"
	python3 - "$socket" <<-END || fail "a client was not refused"
		import socket, sys
		client = socket.socket(socket.AF_UNIX)
		client.settimeout(60)
		client.connect(sys.argv[1])
		client.sendall(b"CONNECT 5000\n")
		sys.exit(client.recv(1) != b"")
	END
	axvm ctl vs stop
	ended 36
	[ ! -e "$socket" ] || fail "the socket is left"
	! grep device_failed "$CASE/events.json" || fail "the shim did not get a whole message"
}

test_cli_run_without_a_shim() {
	axvm run tests/specs/longmode.txtpb --shim /nonexistent/shim
	want_status 66
	says 'cannot run /nonexistent/shim.*AXVM_SHIM' err
}

test_cli_run_a_wrong_spec() {
	axvm run "$(printf 'launch {\n cpus { cuont: 1 }\n}\n' >"$CASE/x.txtpb"; echo "$CASE/x.txtpb")"
	want_status 65
	says 'x.txtpb:2:9: launch.cpus.cuont: there is no such field; Cpus has count' err
}

test_cli_dry_run_is_what_protoc_takes() {
	axvm run --kernel 'a "b" \c' --disk x.img,ro --memory 1G --node 0 --set 'io { }' --dry-run
	want_status 0
	encode ControlStream <"$CASE/out" >"$CASE/spec.pb" || fail "protoc does not take it"
	protoc --decode=axvm.v1.ControlStream --proto_path="$ROOT/proto" "$PROTO" \
		<"$CASE/spec.pb" >"$CASE/back" || fail "nor give it back"
	grep -qF 'path: "a \"b\" \\c"' "$CASE/back" || fail "the path changed: $(cat "$CASE/back")"
}

test_cli_events_json() {
	need_kvm
	need_python
	axvm run tests/specs/longmode.txtpb --events "json:$CASE/events.json"
	want_status 0
	python3 -c 'import json, sys; [json.loads(l) for l in sys.stdin]' <"$CASE/events.json" || fail "see above: no JSON"
	grep -q '"outcome": "OUTCOME_HALTED"' "$CASE/events.json" || fail "no terminal event in it"
}

# The same stream through our decoder and through protoc.
test_cli_events_as_protoc_shows_them() {
	need_kvm
	need_python
	axvm run tests/specs/longmode.txtpb --events "pb:$CASE/events.pb"
	want_status 0
	decode
	axvm events --text "$CASE/events.pb"
	want_status 0
	protoc --encode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" \
		<"$CASE/out" | cmp - "$CASE/events.pb" || fail "text differs from the bytes"
	axvm events --json "$CASE/events.pb"
	want_status 0
	[ "$(grep -c . "$CASE/out")" = "$(grep -c '^events {' "$CASE/events")" ] ||
		fail "not as many lines as events"
	python3 -c 'import json, sys; [json.loads(l) for l in sys.stdin]' <"$CASE/out" ||
		fail "see above: no JSON"
}

test_cli_events_cut_off() {
	need_kvm
	axvm run tests/specs/longmode.txtpb --events "pb:$CASE/events.pb"
	want_status 0
	[ -s "$CASE/events.pb" ] || fail "no events to cut"
	head -c -3 "$CASE/events.pb" >"$CASE/cut"
	axvm events "$CASE/cut"
	want_status 65
	axvm events "$AXVM"
	want_status 65
}

test_cli_events_follow() {
	local half
	need_kvm
	axvm run tests/specs/longmode.txtpb --events "pb:$CASE/events.pb"
	want_status 0
	half=$(($(stat -c %s "$CASE/events.pb") / 2))
	head -c "$half" "$CASE/events.pb" >"$CASE/growing"
	timeout "$AWAIT_LIMIT" "$AXVM" events -f "$CASE/growing" >"$CASE/followed" &
	# It shows what there is, and stays.
	await "the first half of the events" test -s "$CASE/followed"
	! grep -q ' end ' "$CASE/followed" || fail "half of the events have an end"
	tail -c +$((half + 1)) "$CASE/events.pb" >>"$CASE/growing"
	wait $! || fail "follow ended with $?"
	grep -q 'end HALTED' "$CASE/followed" || fail "it missed the end"
}

# The plan is what the launch gets.
test_cli_plan() {
	need_kvm
	need_python
	axvm plan tests/specs/spin.txtpb
	want_status 0
	says 'this host meets it'
	awk '$1 ~ /^[0-9]+$/ { print $1, $2, $3 }' "$CASE/out" >"$CASE/planned"
	[ -s "$CASE/planned" ] || fail "no vCPU in the plan"
	start tests/specs/spin.txtpb --events "json:$CASE/events.json"
	axvm ctl spin stop
	ended 36
	python3 - "$CASE/events.json" >"$CASE/got" <<-'END' || fail "see above"
		import json, sys
		for event in map(json.loads, open(sys.argv[1])):
		    for vcpu in event.get("running", {}).get("vcpus", []):
		        print(vcpu.get("index", 0), vcpu.get("apic_id", 0), vcpu.get("host_cpu", "-"))
	END
	cmp "$CASE/planned" "$CASE/got" || { cat "$CASE/planned" "$CASE/got"; fail "they differ"; }
	sed 's/profile: "dev"/profile: "nosuch"/' tests/specs/spin.txtpb >"$CASE/vm.txtpb"
	axvm plan "$CASE/vm.txtpb"
	want_status 65
}

# A harness with nothing but protoc gets a plan from the shim. Nothing is left of it: no process, no
# file, no claim; and the CPUs are those that are free among the claims.
test_cli_plan_by_protoc() {
	need_kvm
	mkdir "$CASE/claims"
	{
		flat idle -c 2 -b "local_apic: true" \
			-l "rng {} console { output { path: \"$CASE/console\" } }" | sed '1s/^/plan { /'
		echo "claims: \"$CASE/claims\" }"
	} | encode ControlStream | (cd "$CASE/cwd" && "$SHIM" 3<&0 4>"$CASE/events.pb" </dev/null) ||
		fail "status ${PIPESTATUS[*]}"
	protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" <"$CASE/events.pb" >"$CASE/out" || fail "no events"
	says '^  planned \{'
	says 'outcome: OUTCOME_PLANNED'
	says 'exit_status: 0'
	says "claims: \"$CASE/claims\""
	says 'kind: "rng"'
	says 'machine_sha256: "[0-9a-f]{64}"'
	[ "$(grep -c '^    vcpus {' "$CASE/out")" = 2 ] || fail "not two vCPUs"
	[ "$(grep -c '^events {' "$CASE/out")" = 4 ] || fail "more events than arrive, learn, planned, terminal"
	[ -z "$(find "$CASE/claims" "$CASE/cwd" -mindepth 1)" ] || fail "a file is left behind"
	[ ! -e "$CASE/console" ] || fail "the console's output was made"
	# The same by axvm, and by text.
	"$AXVM" events "$CASE/events.pb" >"$CASE/out" || fail "axvm events"
	says 'planned profile dev, 2 vCPUs on 1 nodes, 2 devices, machine [0-9a-f]{12}$'
}

# Every kind of device, and the digest: the plan's, the plan's again, the plan's from facts in a
# file, and the one that the launch announces.
test_cli_plan_digest() {
	need_kvm
	dd if=/dev/zero of="$CASE/disk" bs=64k count=1 status=none
	cat >"$CASE/vm.txtpb" <<-END
		launch {
		  vm_id: "planned" profile: "dev" cpus { count: 2 } memory { nodes { size_mib: 16 } nodes { size_mib: 16 } }
		  boot { flat_boot { image { path: "$GUESTS/idle.bin" } local_apic: true } }
		  disks { id: "one" image { path: "$CASE/disk" } queues: 3 } rng {} balloon {}
		  console { output { path: "$CASE/console" } }
		}
	END
	axvm plan "$CASE/vm.txtpb"
	want_status 0
	says 'device 00:02.0 disk one: BAR 0 at 0xc0008000, 3 queues, vectors 0-3 as GSI 27-30'
	says 'device 00:04.0 balloon: '
	cp "$CASE/out" "$CASE/first"
	grep -qE '^machine_sha256 [0-9a-f]{64}$' "$CASE/first" || fail "no digest"
	axvm plan "$CASE/vm.txtpb"
	cmp "$CASE/first" "$CASE/out" || fail "the same spec and host, another plan"
	"$AXVM" probe --text >"$CASE/facts" || fail "axvm probe"
	# From a file no look is had at other VMs: which CPUs there are is not a part of it.
	axvm plan --facts "$CASE/facts" "$CASE/vm.txtpb"
	sed -i -E '/^(CPUs |guest node | *[0-9]+ )/d' "$CASE/first" "$CASE/out"
	cmp "$CASE/first" "$CASE/out" || { diff "$CASE/first" "$CASE/out"; fail "facts from a file, another plan"; }
	# Another processor is another machine.
	sed '/guest_cpuid/s/leaf: 0x1 \(.*\) edx: 0x[0-9a-f]*/leaf: 0x1 \1 edx: 0x1/' "$CASE/facts" >"$CASE/other"
	cmp -s "$CASE/facts" "$CASE/other" && fail "the facts have no CPUID of a guest"
	axvm plan --facts "$CASE/other" "$CASE/vm.txtpb"
	want_status 0
	says '^machine_sha256 [0-9a-f]{64}$'
	cmp -s <(tail -n 1 "$CASE/first") <(tail -n 1 "$CASE/out") && fail "another CPUID, the same digest"
	start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
	axvm ctl planned stop
	ended 36
	"$AXVM" events --text "$CASE/events.pb" >"$CASE/events.txt"
	[ "$(sed -n 's/^machine_sha256 //p' "$CASE/first")" = \
		"$(sed -n 's/.*machine_sha256: "\(.*\)".*/\1/p' "$CASE/events.txt")" ] ||
		fail "the launch announces another digest: $(grep machine_sha256 "$CASE/events.txt")"
}

test_cli_timeline() {
	need_kvm
	need_python
	axvm run tests/specs/longmode.txtpb --events "pb:$CASE/events.pb"
	axvm timeline "$CASE/events.pb" -o "$CASE/boot.svg"
	want_status 0
	python3 - "$CASE/boot.svg" <<-'END' || fail "no such picture"
		import sys, xml.etree.ElementTree as tree
		root = tree.parse(sys.argv[1]).getroot()
		space = "{http://www.w3.org/2000/svg}"
		texts = [t.text for t in root.iter(space + "text")]
		bars = [r for r in root.iter(space + "rect") if r.get("class") == "b"]
		stages = ["ARRIVE", "LEARN", "ADMIT", "ACQUIRE", "BUILD", "CONFINE", "STAFF", "SEAL"]
		assert all(s in texts for s in stages) and len(bars) == len(stages), (texts, len(bars))
		threads = [r for r in root.iter(space + "rect") if r.get("class") == "p"]
		assert "vcpu0" in texts and len(threads) == 1, texts
		assert any(t and t.startswith(("CPU ", "not pinned")) and ", node " in t for t in texts), texts
	END
}

# ---- the control socket, with a double in the place of the shim --------------------

test_cli_ctl() {
	need_python
	start tests/specs/spin.txtpb --shim "$DOUBLE" --metrics-file "$CASE/metrics.prom"
	axvm ctl spin status
	want_status 0
	says '^RUNNING$'
	axvm ctl spin resume
	want_status 65
	says 'the VM is not paused' err
	axvm ctl spin pause
	says '^PAUSED$'
	axvm ctl "$CASE/axvm/spin.sock" resume
	says '^RUNNING$'
	axvm ctl --json spin metrics
	says '"name": "vcpus.exits.hlt"'
	axvm top
	want_status 0
	says '^spin +RUNNING +[0-9]+ .* 1:32 MiB .*/s +[0-9]+  (hlt|mmio) [0-9]+ (hlt|mmio) [0-9]+$'
	grep -q 'axvm_vcpu_exits{vm="spin",vcpu="1"} [0-9]' "$CASE/metrics.prom" ||
		fail "no metrics file: $(cat "$CASE/metrics.prom")"
	axvm ctl spin stop
	want_status 0
	ended 36
	axvm ctl spin status
	want_status 66
}

# A service has its socket in /run/axvm: who has an XDG_RUNTIME_DIR finds it there, beside VMs of
# its own.
test_cli_ctl_of_a_service() {
	need_python
	need_mounts
	cat >"$CASE/wrap" <<-'END'
		mount --make-rprivate / && mount -t tmpfs none /run || exit 99
		unset AXVM_CLAIMS_DIR
		umask 077
		AXVM=$1 DOUBLE=$2 CASE=$3
		one() { "$AXVM" run tests/specs/spin.txtpb --shim "$DOUBLE" --quiet "$@" </dev/null & }
		trap 'kill $(jobs -p) 2>/dev/null' EXIT
		await_socket() { for ((i = 0; i < 600; i++)); do [ ! -S "$1" ] || return 0; sleep 0.1; done; exit 98; }
		XDG_RUNTIME_DIR=/run one --id service --no-claims
		await_socket /run/axvm/service.sock
		stat -c '%n %a' /run/axvm /run/axvm/service.sock
		XDG_RUNTIME_DIR=/run one --id both
		XDG_RUNTIME_DIR=$CASE one --id own
		XDG_RUNTIME_DIR=$CASE one --id both
		for socket in /run/axvm/{service,both}.sock "$CASE"/axvm/{own,both}.sock; do await_socket "$socket"; done
		stat -c '%n %a' /run/axvm/claims
		export XDG_RUNTIME_DIR=$CASE
		"$AXVM" ctl service status && "$AXVM" ctl own status || exit 97
		"$AXVM" ctl both status
		echo "both: $?"
		"$AXVM" ctl /run/axvm/both.sock status || exit 96
		"$AXVM" top --once
		eval "$("$AXVM" completion bash)"
		_axvm_vms | sort -u | paste -sd' '
		for socket in /run/axvm/*.sock "$CASE"/axvm/*.sock; do "$AXVM" ctl "$socket" stop; done
		wait
	END
	unshare -m "$BASH" "$CASE/wrap" "$AXVM" "$DOUBLE" "$CASE" >"$CASE/out" 2>"$CASE/err" ||
		{ cat "$CASE/out" "$CASE/err"; fail "status $?"; }
	says '^both: 64$'
	says 'two VMs are named "both", the other.s socket is /run/axvm/both.sock' err
	[ "$(grep -cE '^(service|own|both) +RUNNING ' "$CASE/out")" = 4 ] || fail "top: $(cat "$CASE/out")"
	says '^both own service$'
	# Who was first made the folders, as tmpfiles.d would; whoever may go through the one cannot
	# use the sockets there.
	says '^/run/axvm 755$'
	says '^/run/axvm/service.sock 600$'
	says '^/run/axvm/claims 3770$'
	! grep -q 'claimed' "$CASE/err" || fail "told: $(cat "$CASE/err")"
}

test_cli_ctl_no_reply() {
	need_python
	ln -s "$DOUBLE" "$CASE/silent"
	start tests/specs/spin.txtpb --shim "$CASE/silent"
	axvm ctl --timeout 1 spin status
	want_status 75
	kill -TERM "$pid"
	ended 0
}

# Ids of several clients at once do not mix; what is no command stream costs that client only.
test_cli_ctl_clients() {
	need_python
	start tests/specs/spin.txtpb --shim "$DOUBLE"
	python3 - "$CASE/axvm/spin.sock" <<-'END' || fail "see above"
		import socket, sys
		def connect():
		    s = socket.socket(socket.AF_UNIX)
		    s.connect(sys.argv[1])
		    s.settimeout(60)
		    return s
		status = bytes([0x12, 4, 0x08, 7, 0x32, 0])
		a, b, bad = connect(), connect(), connect()
		for byte in status:
		    a.send(bytes([byte]))
		b.send(status + status)
		bad.send(b"GET / HTTP/1.0\r\n\r\n")
		assert bad.recv(100) == b""
		assert a.recv(4096).count(b"\xa2\x01\x06\x08\x07\x10\x01") == 1
		got = b""
		while got.count(b"\xa2\x01\x06\x08\x07\x10\x01") < 2:
		    got += b.recv(4096)
		many = [connect() for _ in range(20)]
		# There are eight places: who has been silent for longest makes way, and the last
		# are served.
		assert all(m.recv(1) == b"" for m in [a, b] + many[:12])
		for m in many[12:]:
		    m.send(status)
		    assert b"\xa2\x01\x06\x08\x07\x10\x01" in m.recv(4096)
	END
	axvm ctl spin stop
	ended 36
}

test_cli_one_vm_of_a_name() {
	need_python
	start tests/specs/spin.txtpb --shim "$DOUBLE"
	axvm run tests/specs/spin.txtpb --shim "$DOUBLE"
	want_status 69
	says 'a VM named "spin" runs here already' err
	axvm ctl spin status
	want_status 0
	axvm ctl spin stop
	ended 36
}

# A socket that a killed launcher left is nobody's.
test_cli_stale_socket() {
	need_python
	start tests/specs/spin.txtpb --shim "$DOUBLE"
	kill -KILL "$pid"
	wait "$pid"
	[ -S "$CASE/axvm/spin.sock" ] || fail "the test needs a socket that was left"
	axvm ctl spin status
	want_status 66
	start tests/specs/spin.txtpb --shim "$DOUBLE"
	axvm ctl spin status
	want_status 0
	axvm ctl spin stop
	ended 36
}

test_cli_top_without_vms() {
	axvm top
	want_status 0
	says 'no VM has a control socket here'
}

# The terminal: raw for the guest, escape keys for us, and as it was afterwards.
test_cli_terminal() {
	need_python
	python3 - "$AXVM" "$DOUBLE" "$CASE" <<-'END' || fail "see above"
		import os, pty, sys, termios, time
		axvm, double, case = sys.argv[1:]
		open(case + "/vm.txtpb", "w").write('launch { vm_id: "tty" console { '
		    'output { fd: 1 } input { fd: 0 } } }')
		pid, master = pty.fork()
		if pid == 0:
		    os.environ["XDG_RUNTIME_DIR"] = case
		    os.execv(axvm, [axvm, "run", case + "/vm.txtpb", "--shim", double])
		seen = b""
		def until(text, limit=60):
		    global seen
		    end = time.time() + limit
		    os.set_blocking(master, False)
		    while text not in seen and time.time() < end:
		        try:
		            seen += os.read(master, 4096)
		        except BlockingIOError:
		            time.sleep(0.02)
		        except OSError:
		            break
		    assert text in seen, (text, seen)
		until(b"Ctrl-A h lists keys")
		flags = termios.tcgetattr(master)[3]
		assert not flags & (termios.ICANON | termios.ECHO | termios.ISIG), "not raw"
		os.write(master, b"\x03hello\x01h")
		until(b"Ctrl-A p  press its power button")
		# It says in which state the VM is, which may still be the one before.
		for _ in range(60):
		    os.write(master, b"\x01i")
		    until(b"tty is ")
		    try:
		        until(b"tty is RUNNING", 1)
		        break
		    except AssertionError:
		        pass
		until(b"tty is RUNNING", 1)
		os.write(master, b"\x01x")
		until(b"(status 36)")
		flags = termios.tcgetattr(master)[3]
		assert flags & termios.ICANON and flags & termios.ECHO, "left raw"
		assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 36
	END
}

# Long work shows how far it is, on a terminal only.
test_cli_progress() {
	need_python
	ln -s "$DOUBLE" "$CASE/slow"
	XDG_RUNTIME_DIR=$CASE python3 - "$AXVM" "$CASE/slow" <<-'END' || fail "see above"
		import sys
		sys.path.insert(0, "tests/system")
		from captures import Terminal
		run = Terminal(sys.argv[1], "run", "--flat", "x", "--memory", "4G", "--id", "big", "--shim",
		               sys.argv[2])
		run.until(r"axvm run: [0-9.]+ s, after stage [A-Z]+: memory .* of 4.0 GiB")
		# It goes when the VM runs. No console: Ctrl-C is for us.
		run.until("\\r\x1b\\[K$")
		run.type(b"\x03")
		assert run.wait() == 0, run.text()
	END
	start --flat x --memory 4G --id big --shim "$CASE/slow" --events "pb:$CASE/events.pb"
	await_event running
	kill -TERM "$pid"
	ended 0
	! grep -q 'after stage' "$CASE/run.err" || fail "progress without a terminal"
}

# ---- life with the real shim --------------------

# Without a console the terminal stays as it is: Ctrl-C once is the power button, twice the end.
test_cli_ctrl_c() {
	need_kvm
	need_python
	XDG_RUNTIME_DIR=$CASE python3 - "$AXVM" "$GUESTS" <<-'END' || fail "see above"
		import sys
		import time
		sys.path.insert(0, "tests/system")
		from captures import Terminal
		axvm, guests = sys.argv[1:]
		def run(guest):
		    vm = Terminal(axvm, "run", "--flat", f"{guests}/{guest}.bin", "--profile", "dev",
		                  "--memory", "16M", "--set", "boot { flat_boot { local_apic: true } }",
		                  "--events", "text")
		    vm.until("STARTING -> RUNNING")
		    vm.type(b"\x03")
		    vm.until("power button pressed; once more stops the VM")
		    return vm
		vm = run("button")
		assert vm.wait() == 0, vm.text()
		vm = run("spin")
		# What comes within half a second of the first is a part of it.
		time.sleep(1.5)
		vm.type(b"\x03")
		vm.until("once more kills its process")
		assert vm.wait() == 36, vm.text()
	END
}

# Without a folder to claim in, a VM runs all the same; that is told in a line, and not to who wants
# none.
test_cli_run_without_claims() {
	need_kvm
	export AXVM_CLAIMS_DIR=$CASE/nosuch
	axvm run tests/specs/longmode.txtpb
	want_status 0
	[ "$(grep -c 'no CPUs can be claimed in .*/nosuch: it is not there' "$CASE/err")" = 1 ] || fail "told: $(cat "$CASE/err")"
	[ ! -e "$CASE/nosuch" ] || fail "it was made"
	axvm run tests/specs/longmode.txtpb --no-claims
	want_status 0
	! grep -q claimed "$CASE/err" || fail "told: $(cat "$CASE/err")"
}

# Two VMs that know of each other, and who is where, on one screen; all of it goes with them.
test_cli_host() {
	local one other
	need_kvm
	need_python
	mkdir "$CASE/claims"
	export AXVM_CLAIMS_DIR=$CASE/claims
	axvm host
	want_status 0
	says '^CPUs: 0 of [0-9]+ claimed'
	start tests/specs/spin.txtpb --id one
	one=$pid
	start tests/specs/spin.txtpb --id other
	other=$pid
	await "the claims of both" both_claimed
	axvm host --json
	want_status 0
	python3 - "$CASE/out" <<-'END' || fail "see above"
		import json, sys
		host = json.load(open(sys.argv[1]))
		vms = {vm["id"]: vm for vm in host["vms"]}
		assert sorted(vms) == ["one", "other"], vms
		for vm in vms.values():
		    assert vm["pinned_cpus"] and "shared_cpus" not in vm, vm
		for cpu in host["cpus"]:
		    there = sum(cpu["id"] in vm["pinned_cpus"] for vm in vms.values())
		    assert len(cpu.get("vm_ids", [])) == there, cpu
		    assert (cpu["vcpu_claims"] + cpu["io_claims"] > 0) == (there > 0), cpu
	END
	axvm host
	says ' (one|other)( other)?$'
	axvm top
	says '^host CPUs: [1-9][0-9]* of [0-9]+ claimed$'
	axvm ctl one stop
	axvm ctl other stop
	wait "$one" "$other"
	axvm host
	says '^CPUs: 0 of [0-9]+ claimed'
}

both_claimed() {
	axvm host --json
	[ "$(grep -c pinned_cpus "$CASE/out")" = 2 ]
}

# The text of `axvm run` and `axvm top` on a terminal; it is kept in build/captures.
test_cli_captures() {
	need_kvm
	need_python
	mkdir -p "$BUILD/captures"
	XDG_RUNTIME_DIR=$CASE python3 tests/system/captures.py "$AXVM" "$GUESTS/console.bin" \
		"$BUILD/captures" || fail "see above"
}

test_cli_fifty() {
	need_kvm
	"$BUILD/tests/fifty" "$SHIM" "$GUESTS/longmode.bin" "$GUESTS/spin.bin" 50 || fail "see above"
}

# ---- installed --------------------

installed() {
	make -C "$ROOT" --no-print-directory install B="$BUILD" DESTDIR="$CASE/root" PREFIX=/usr \
		>"$CASE/make.log" 2>&1 || { cat "$CASE/make.log"; fail "make install"; }
}

test_cli_install_and_uninstall() {
	installed
	"$CASE/root/usr/bin/axvm" version | grep -q '^axvm ' || fail "it does not run there"
	"$CASE/root/usr/bin/axvm" run --flat "$GUESTS/longmode.bin" --profile dev --dry-run \
		>/dev/null || fail "dry run"
	make -C "$ROOT" --no-print-directory uninstall B="$BUILD" DESTDIR="$CASE/root" PREFIX=/usr
	[ -z "$(find "$CASE/root" -type f -o -type l)" ] || fail "left: $(find "$CASE/root" -type f)"
	# The installation is this test's own.
	rm -rf "$CASE/root"
}

of_the_installed() {
	PKG_CONFIG_PATH="$CASE/root/usr/lib/pkgconfig" pkg-config --define-variable=prefix="$CASE/root/usr" \
		--define-variable=libdir="$CASE/root/usr/lib" "$@"
}

# The schema is the interface, and not what protobuf-c makes of it: the header stands alone in any
# language that reads C; the library was compiled without generated code, has no schema in it, and
# gives and asks for nothing of protobuf.
test_cli_library_knows_no_schema() {
	local compile made
	mkdir "$CASE/alone"
	cp "$ROOT/runtime/launch/axvm.h" "$CASE/alone/"
	for compile in "gcc -std=c99 -x c" "gcc -std=gnu17 -x c" "g++ -std=c++11 -x c++"; do
		echo '#include <axvm.h>' | $compile -Wall -Wextra -Werror -fsyntax-only -I "$CASE/alone" - ||
			fail "axvm.h does not stand alone: $compile"
	done
	nm -D --defined-only "$BUILD/libaxvm.so.0" | awk '{ print $NF }' >"$CASE/defined"
	grep -q '^axvm_spawn@@' "$CASE/defined" || fail "no axvm_spawn"
	! grep -vE '^(axvm_|AXVM_)' "$CASE/defined" || fail "it defines what is not its own"
	! grep -E '__v1__' "$CASE/defined" || fail "it defines generated functions"
	! nm -D --undefined-only "$BUILD/libaxvm.so.0" | grep -i proto || fail "it asks for protobuf"
	! nm --undefined-only "$BUILD/libaxvm.a" | grep -i proto || fail "the archive asks for protobuf"
	! readelf -d "$BUILD/libaxvm.so.0" | grep NEEDED | grep -v 'libc\.so' || fail "it needs more than libc"
	! grep -laE 'axvm\.v1|Axvm__V1' "$BUILD/libaxvm.so.0" || fail "it has the schema in it"
	made=$(cat "$BUILD"/obj/runtime/launch/*.d "$BUILD/obj/runtime/interface/wire_cursor.d")
	[[ $made == *runtime/launch/axvm.h* ]] || fail "what it is made of is not known"
	[[ $made != *proto/* && $made != *protobuf* ]] || fail "it is made of generated code"
}

# A program elsewhere, with the flags of pkg-config, against each library; each launches a VM.
test_cli_install_links() {
	local flags
	need_kvm
	installed
	cp tests/system/example.c "$CASE/example.c"
	flags=$(of_the_installed --cflags --libs libaxvm) || fail "pkg-config"
	[[ $flags != *protobuf* ]] || fail "the library asks for protobuf: $flags"
	flags="-I. proto/axvm.pb-c.c $flags $(pkg-config --libs libprotobuf-c)"
	cd "$CASE" || fail "no folder"
	protoc -I "$(of_the_installed --variable=schemadir libaxvm)" --c_out=. proto/axvm.proto || fail "no code of the schema"
	gcc -std=gnu17 -Wall -Wextra -Werror -o example example.c $flags ||
		fail "it does not link to the shared library"
	readelf -d example | grep -q 'libaxvm.so.0' || fail "not the shared library"
	readelf -V example | grep -q 'AXVM_0.4' || fail "no versioned symbol"
	LD_LIBRARY_PATH="$CASE/root/usr/lib" ./example root/usr/sbin/axvm-shim "$GUESTS/spin.bin" ||
		fail "it does not do its work"
	mkdir claims
	LD_LIBRARY_PATH="$CASE/root/usr/lib" ./example root/usr/sbin/axvm-shim "$GUESTS/spin.bin" claims >out ||
		fail "it does not do its work with claims"
	grep -q 'its CPUs claimed' out || fail "no claims: $(cat out)"
	gcc -std=gnu17 -static -o example example.c $flags || fail "it does not link statically"
	./example root/usr/sbin/axvm-shim "$GUESTS/spin.bin" || fail "it does not do its work statically"
	cd "$ROOT" || exit 1
	rm -rf "$CASE/root"
}

# What lintian(1) calls errors: programs with symbols for debuggers, pages that are not compressed,
# no changelog, a shared library that no other package can depend on. And its own word, where it is
# there.
as_debian_wants_it() {
	local deb=$1 file version
	dpkg-deb -R "$deb" "$CASE/deb" || fail "no package"
	for file in "$CASE"/deb/usr/{bin/axvm,sbin/axvm-shim,lib/*/libaxvm.so.0}; do
		! readelf -SW "$file" | grep -qE ' \.(symtab|debug_info|comment) ' || fail "$file is not stripped"
	done
	nm "$CASE"/deb/usr/lib/*/libaxvm.a 2>/dev/null | grep -q ' T axvm_spawn$' || fail "nobody can link the archive"
	file=$(find "$CASE/deb/usr/share/man" -type f ! -name '*.gz')
	[ -z "$file" ] || fail "not compressed: $file"
	version=$("$AXVM" version | cut -d' ' -f2)
	gzip -dc "$CASE/deb/usr/share/man/man1/axvm.1.gz" | grep -q "^.TH \"axvm\" \"1\" .* \"AxVM $version\"" ||
		fail "no page, or of another version"
	gzip -dc "$CASE/deb/usr/share/doc/axvm/changelog.gz" | sed -n 1p |
		grep -qE "^axvm \($version\) unstable; urgency=medium$" || fail "the changelog"
	gzip -dc "$CASE/deb/usr/share/doc/axvm/release-notes.md.gz" | cmp - "$ROOT/hack/release-notes.md" || fail "the notes"
	[[ $(<"$CASE/deb/DEBIAN/shlibs") =~ ^libaxvm\ 0\ axvm\ \(\>=\ [0-9.]+\)$ ]] || fail "shlibs"
	[ "$(cd "$CASE/deb" && md5sum --quiet -c DEBIAN/md5sums 2>&1)" = "" ] || fail "md5sums"
	rm -rf "$CASE/deb"
	command -v lintian >/dev/null || return 0
	! lintian --allow-root --fail-on none --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$deb" 2>/dev/null | grep ^E: ||
		fail "lintian: see above"
}

test_cli_package() {
	local deb
	need_root
	command -v dpkg-deb >/dev/null || skip "no dpkg-deb here"
	make -C "$ROOT" --no-print-directory deb B="$BUILD" >"$CASE/make.log" 2>&1 ||
		{ cat "$CASE/make.log"; fail "make deb"; }
	deb=$(cd "$ROOT" && realpath "$(tail -n 1 "$CASE/make.log")")
	as_debian_wants_it "$deb"
	mkdir -p "$CASE/root/var/lib/dpkg/updates" "$CASE/root/var/lib/dpkg/info"
	: >"$CASE/root/var/lib/dpkg/status"
	mkdir "$CASE/root/etc"
	printf 'root:x:0:\nkvm:x:4242:\n' >"$CASE/root/etc/group"
	echo 'root:x:0:0::/:/bin/sh' >"$CASE/root/etc/passwd"
	dpkg --root="$CASE/root" --force-script-chrootless --force-depends -i "$deb" >"$CASE/dpkg.log" 2>&1 ||
		{ cat "$CASE/dpkg.log"; fail "it does not install"; }
	! command -v systemd-tmpfiles >/dev/null || as_tmpfiles_has_it "$CASE/root"
	if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
		XDG_RUNTIME_DIR=$CASE "$CASE/root/usr/bin/axvm" run --profile dev --flat \
			"$GUESTS/longmode.bin" 2>"$CASE/err" || { cat "$CASE/err"; fail "no VM runs"; }
	else
		"$CASE/root/usr/bin/axvm" version >/dev/null || fail "it does not run"
	fi
	dpkg --root="$CASE/root" --force-script-chrootless -P axvm >"$CASE/dpkg.log" 2>&1 ||
		{ cat "$CASE/dpkg.log"; fail "it does not go"; }
	rm "$CASE/root/etc/group" "$CASE/root/etc/passwd"
	[ -z "$(find "$CASE/root/usr" "$CASE/root/etc" "$CASE/root/lib" -type f 2>/dev/null)" ] ||
		fail "left: $(find "$CASE/root/usr" -type f)"
	rm -rf "$CASE/root"
}

# as_tmpfiles_has_it ROOT: the folders below it that systemd-tmpfiles(8) made.
as_tmpfiles_has_it() {
	[ "$(stat -c %a:%g "$1/run/axvm")" = 755:0 ] || fail "/run/axvm: $(stat -c %a:%g "$1/run/axvm")"
	[ "$(stat -c %a:%g "$1/run/axvm/claims")" = 3770:4242 ] || fail "the claims: $(stat -c %a:%g "$1/run/axvm/claims")"
}

# The folder of claims is the group's that may open /dev/kvm, and stays when it is made again.
test_cli_tmpfiles() {
	need_root
	command -v systemd-tmpfiles >/dev/null || skip "no systemd-tmpfiles here"
	installed
	mkdir -p "$CASE/root/etc"
	printf 'root:x:0:\nkvm:x:4242:\n' >"$CASE/root/etc/group"
	echo 'root:x:0:0::/:/bin/sh' >"$CASE/root/etc/passwd"
	systemd-tmpfiles --root="$CASE/root" --create axvm.conf >"$CASE/err" 2>&1 || { cat "$CASE/err"; fail "status $?"; }
	[ ! -s "$CASE/err" ] || fail "it says: $(cat "$CASE/err")"
	as_tmpfiles_has_it "$CASE/root"
	: >"$CASE/root/run/axvm/claims/cpu0"
	[ "$(stat -c %g "$CASE/root/run/axvm/claims/cpu0")" = 4242 ] || fail "a file in it is not the group's"
	chmod 700 "$CASE/root/run/axvm"
	systemd-tmpfiles --root="$CASE/root" --create axvm.conf
	as_tmpfiles_has_it "$CASE/root"
	[ -e "$CASE/root/run/axvm/claims/cpu0" ] || fail "what was claimed is gone"
	rm -rf "$CASE/root"
}

test_cli_unit_file() {
	command -v systemd-analyze >/dev/null || skip "no systemd-analyze here"
	installed
	sed -i "s|ExecStart=/usr|ExecStart=$CASE/root/usr|" \
		"$CASE/root/usr/lib/systemd/system/axvm@.service"
	cp "$CASE/root/usr/lib/systemd/system/axvm@.service" "$CASE/axvm@web.service"
	systemd-analyze verify --man=no "$CASE/axvm@web.service" >"$CASE/verify" 2>&1
	! grep -q "axvm@web" "$CASE/verify" || { cat "$CASE/verify"; fail "the unit file"; }
	rm -rf "$CASE/root"
}

test_cli_completion() {
	need_python
	axvm completion bash
	want_status 0
	mkdir -p "$CASE/axvm"
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' \
		"$CASE/axvm/web.sock" || fail "see above: no socket to complete"
	XDG_RUNTIME_DIR=$CASE "$BASH" -c '. "$0"
		ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _axvm; echo "${COMPREPLY[*]}"; }
		[ "$(ask axvm ti)" = timeline ] || { ask axvm ti; exit 1; }
		[ "$(ask axvm run --ker)" = --kernel ] || exit 2
		[ "$(ask axvm ctl we)" = web ] || exit 3
		[ "$(ask axvm run --kernel Make)" = Makefile ] || exit 4
		[ "$(ask axvm run --kernel x --profile "")" = "dev xv2" ] || exit 5
		[ "$(ask axvm run --on-exit s)" = "shutdown stop" ] || exit 6
		[ "$(ask axvm run --on-exit = s)" = "shutdown stop" ] || exit 7
		[ "$(ask axvm run --on-exit =)" = "shutdown stop keep" ] || exit 8
		# Values that nobody here knows: no flag in their place, no file.
		for flag in --cpus --memory --id --set --net; do [ -z "$(ask axvm run $flag "")" ] || exit 9; done
		# A VM, then what it is to do, and nothing behind that.
		[ "$(ask axvm ctl "")" = web ] || exit 10
		[ "$(ask axvm ctl web re)" = "resume resize" ] || exit 11
		[ "$(ask axvm ctl --timeout 5 we)" = web ] || exit 12
		[ "$(ask axvm ctl --timeout = 5 web pau)" = pause ] || exit 13
		[ -z "$(ask axvm ctl web balloon "")" ] || exit 14
		[ "$(ask axvm ctl web --j)" = --json ] || exit 15
		[ "$(ask axvm ctl --timeout "")" = "" ] || exit 16
		[ "$(ask axvm top "")" = "--once --interval" ] || exit 17
		[ "$(ask axvm policy bpf vc)" = vcpu ] || exit 18
		[ "$(ask axvm help to)" = top ] || exit 19
		[ -z "$(ask axvm help top "")" ] || exit 20
		[ "$(ask axvm plan --facts f Make)" = Makefile ] || exit 21
		[ -z "$(ask axvm plan a.txtpb Make)" ] || exit 22' "$CASE/out" ||
		fail "completion: $?"
}
