# SPDX-License-Identifier: MIT
# How a VM ends from outside: signals, the power button, the end of fd 3.

APIC='local_apic: true'
quick_button='lifecycle { shutdown_timeout_ms: 300 }'

test_spin_stops_on_sigterm() {
	need_kvm
	spec < <(sed "s|build/guests|$GUESTS|" tests/specs/spin.txtpb)
	launch -s 15@50
	want_status 36
	want "outcome: OUTCOME_STOPPED_BY_HOST" 'message: ".*signal.*"'
}

test_power_button() {
	need_kvm
	passes -s 15@50 < <(flat button -b "$APIC" -c 2)
	want "outcome: OUTCOME_POWER_OFF"
}

# The guest cannot have programmed anything yet: the press waits for it.
test_power_button_before_the_guest_is_ready() {
	need_kvm
	passes -e -s 15@0 < <(flat button -b "$APIC")
	want "outcome: OUTCOME_POWER_OFF"
}

# Whoever started the launcher may have ignored them: nohup(1), a shell's background jobs.
test_sigterm_ignored_by_the_launcher() {
	need_kvm
	spec < <(flat spin)
	trap '' TERM INT HUP
	launch -s 15@50
	want_status 36
}

test_power_button_ignored() {
	need_kvm
	spec < <(flat spin -b "$APIC" -c 2 -l "$quick_button")
	launch -s 15@50
	want_status 36
	want "outcome: OUTCOME_STOPPED_BY_HOST" 'message: ".*in time.*"'
}

# Halted with interrupts off: the vCPUs sleep in the kernel.
test_power_button_ignored_by_halted_vcpus() {
	need_kvm
	spec < <(flat longmode -b "$APIC" -c 2 -l "$quick_button")
	launch -s 15@50
	want_status 36
}

# vCPUs that nobody has started.
test_power_button_with_waiting_secondaries() {
	need_kvm
	spec < <(flat spin -b "$APIC secondaries_wait: true" -c 4 -l "$quick_button")
	launch -s 15@50
	want_status 36
}

test_no_timeout_at_all() {
	need_kvm
	spec < <(flat spin -b "$APIC" -l 'lifecycle { shutdown_timeout_ms: 0 }')
	launch -s 15@50
	want_status 36
}

# The timeout would be a day.
test_second_sigterm_stops_at_once() {
	need_kvm
	spec < <(flat spin -b "$APIC" -c 2 -l 'lifecycle { shutdown_timeout_ms: 86400000 }')
	launch -r -s 15@running+0
	want_status 36
	want "outcome: OUTCOME_STOPPED_BY_HOST" 'message: ".*second.*"'
}

# storm_at WHOM...: a guest that takes its time to power off, and a thousand SIGTERMs to each of
# WHOM, variables that hold a process: `pid` is axvm run, `shim` the shim. It is let power off, and
# sees one press. Where the host was too busy for a storm there is another.
storm_at() {
	local whom name try
	need_kvm
	flat "$(with_numbers button 600000000)" -b "$APIC" -l 'lifecycle { shutdown_timeout_ms: 86400000 }' >"$CASE/vm.txtpb"
	for try in {1..10}; do
		rm -f "$CASE/events.pb"
		start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
		shim_of "$pid"
		await_event running
		whom=()
		for name; do whom+=("${!name}"); done
		if "$SPAWN" storm 15 1000 "${whom[@]}"; then
			ended 0
			decode
			want "outcome: OUTCOME_POWER_OFF"
			found_well
			return
		fi
		wait "$pid"
		echo "storm $try was none"
	done
	fail "no storm was fast enough"
}

test_sigterm_storm_at_the_shim() { storm_at shim; }

# As a batch system ends a step: the launcher makes a command of its signal, the shim has its own.
test_sigterm_storm_at_launcher_and_shim() { storm_at pid shim; }

test_sigterm_storm_at_the_launcher() { storm_at pid; }

told_again() {
	kill -TERM "$shim" 2>/dev/null
	! runs "$pid"
}

# The signal after a shutdown command is no second one; the one long after that is. Nobody heeds the
# button.
test_sigterm_after_a_shutdown_command() {
	need_kvm
	flat spin -b "$APIC" -l 'lifecycle { shutdown_timeout_ms: 86400000 }' >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
	shim_of "$pid"
	await_event running
	axvm ctl "$VM" shutdown
	want_status 0
	# The time in which it would be a part of the command's request is over by then.
	sleep 0.7
	kill -TERM "$shim"
	sleep 0.7
	axvm ctl "$VM" status
	want_status 0
	says '^RUNNING$'
	await "the end by a later signal" told_again
	ended 36
	decode
	want 'message: ".*second signal.*"'
}

test_sigint_and_sighup() {
	need_kvm
	spec < <(flat spin)
	launch -s 2@100
	want_status 36
	launch -s 1@100
	want_status 36
}

test_signals_without_meaning() {
	need_kvm
	spec < <(flat spin)
	launch -s 13@50 -s 12@60 -s 17@70 -s 10@80 -s 14@90 -s 15@150
	want_status 36
}

test_sigterm_during_launch() {
	need_kvm
	spec < <(flat spin -c 2)
	"$SPAWN" signal "$SHIM" "$CASE/spec.pb" 50 || fail "SIGTERM during a launch"
}

test_sigterm_while_fd_3_is_silent() {
	spec < <(flat reset)
	"$SPAWN" waiting "$SHIM" "$CASE/spec.pb" || fail "SIGTERM while it waits for its launch"
}

# Nothing can be said any more, but nothing is left either.
test_sigkill() {
	need_kvm
	spec < <(flat spin -c 2)
	shim -s 9@running+50 3<"$CASE/spec.pb" 4>"$CASE/events.pb"
	want_status 137
}

test_stop_and_continue() {
	need_kvm
	spec < <(flat spin -c 2)
	launch -s 19@50 -s 18@300 -s 15@400
	want_status 36
}

test_stopped_then_terminated() {
	need_kvm
	spec < <(flat spin -c 2)
	launch -s 19@150 -s 15@250 -s 18@350
	want_status 36
}

# at_eof WHAT TIMEOUT_MS GUEST [SPAWN'S OPTIONS]
at_eof() {
	need_kvm
	spec < <(flat "$3" -b "$APIC" \
		-l "lifecycle { on_control_eof: $1 shutdown_timeout_ms: $2 }")
	launch "${@:4}"
}

test_control_eof_stop() {
	at_eof ON_CONTROL_EOF_STOP 300 spin
	want_status 36
	want 'message: ".*fd 3.*"'
}

test_control_eof_shutdown() {
	at_eof ON_CONTROL_EOF_SHUTDOWN 60000 button
	want_status 0
	want "outcome: OUTCOME_POWER_OFF"
}

test_control_eof_shutdown_ignored() {
	at_eof ON_CONTROL_EOF_SHUTDOWN 300 spin
	want_status 36
}

test_control_eof_keep_running() {
	at_eof ON_CONTROL_EOF_KEEP_RUNNING 86400000 spin -r -s 15@running+300
	want_status 36
	want 'message: ".*signal.*"'
}

test_control_eof_of_a_pipe() {
	need_kvm
	spec < <(flat spin -l 'lifecycle { on_control_eof: ON_CONTROL_EOF_STOP }')
	shim 3< <(cat "$CASE/spec.pb"; await_event running) 4>"$CASE/events.pb"
	decode
	want_status 36
	want 'message: ".*fd 3.*"'
}
