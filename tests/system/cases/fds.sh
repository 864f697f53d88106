# SPDX-License-Identifier: MIT
# fds 3 and 4 as a launcher may get them wrong. Where fd 4 works there is an event as well.

# unusable CODE [REDIRECTIONS ARE THE CALLER'S]: status 64, and the event in $CASE/events.pb.
unusable() {
	shim
	[ ! -s "$CASE/events.pb" ] || decode
	want_status 64
	[ -z "$1" ] || want "code: ERROR_CODE_$1"
}

# Nothing can be said on fd 4, so a person reads it on stderr.
unusable_with_words() {
	shim 2>"$CASE/stderr"
	want_status 64
	[ -s "$CASE/stderr" ] || fail "nothing on stderr either"
}

test_fd_3_closed() { unusable CONTROL_FD_UNUSABLE 3<&- 4>"$CASE/events.pb"; }
test_fd_3_a_directory() { unusable CONTROL_FD_UNUSABLE 3</ 4>"$CASE/events.pb"; }
test_fd_3_write_only() { unusable CONTROL_FD_UNUSABLE 3>"$CASE/file" 4>"$CASE/events.pb"; }

test_fd_3_dev_null() {
	shim 3</dev/null 4>"$CASE/events.pb"
	decode
	want_error 65 SPEC_EMPTY
}

test_fd_4_closed() { spec < <(flat reset); unusable_with_words 3<"$CASE/spec.pb" 4>&-; }
test_fds_3_and_4_closed() { unusable_with_words 3<&- 4>&-; }
test_fd_4_a_directory() { spec < <(flat reset); unusable_with_words 3<"$CASE/spec.pb" 4</; }
test_fd_4_read_only() { spec < <(flat reset); unusable_with_words 3<"$CASE/spec.pb" 4</dev/null; }

test_fds_3_and_4_swapped() {
	spec < <(flat reset)
	unusable_with_words 4<"$CASE/spec.pb" 3>"$CASE/events.pb"
}

# The two ends of one pipe.
test_fds_3_and_4_of_one_fifo() {
	mkfifo "$CASE/fifo"
	exec 9<>"$CASE/fifo"
	unusable_with_words 3<&9 4>&9
}

# The launch itself goes on: the status says how it ended.
test_fd_4_dev_full() {
	need_kvm
	spec < <(flat reset)
	shim 3<"$CASE/spec.pb" 4>/dev/full
	want_status 32
}

test_fd_4_dev_null() {
	need_kvm
	spec < <(flat reset)
	shim 3<"$CASE/spec.pb" 4>/dev/null
	want_status 32
}

# With `ulimit -f 0` every write to a file raises SIGXFSZ.
test_fd_4_over_the_file_size_limit() {
	need_kvm
	spec < <(flat reset)
	(ulimit -f 0; shim 3<"$CASE/spec.pb" 4>"$CASE/events.pb"; want_status 32) || exit 1
}

test_fd_4_not_read() {
	need_kvm
	spec < <(flat reset)
	"$SPAWN" gone "$SHIM" "$CASE/spec.pb" || fail "fd 4 that nobody reads"
}

# Its reader is gone before fd 3 turns out to be unusable: SIGPIPE must not be the answer.
test_fd_4_without_a_reader_and_fd_3_closed() {
	exec 9> >(exec true)
	wait $!
	shim 3<&- 4>&9
	want_status 64
}

# Events are written where the file stands.
test_fd_4_a_file_with_something_in_it() {
	need_kvm
	spec < <(flat reset)
	launch
	cp "$CASE/events.pb" "$CASE/first"
	shim 3<"$CASE/spec.pb" 4>>"$CASE/events.pb"
	want_status 32
	cmp -n "$(stat -c %s "$CASE/first")" "$CASE/first" "$CASE/events.pb" || fail "overwritten"
	[ "$(stat -c %s "$CASE/events.pb")" -gt "$(stat -c %s "$CASE/first")" ] ||
		fail "not appended"
}

# Nothing reaches the guest's process that it was not given.
test_foreign_fds_are_closed() {
	need_kvm
	spec < <(flat spin)
	mkfifo "$CASE/fifo"
	exec 8<>"$CASE/fifo"
	(cd "$CASE/cwd" && exec "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" 77<&8 1023<&8) &
	local pid=$!
	await_event running
	ls -l "/proc/$pid/fd" >"$CASE/fds" || fail "cannot look at its fds"
	kill "$pid"
	wait "$pid"
	status=$?
	decode
	want_status 36
	! grep fifo "$CASE/fds" || fail "a foreign fd is open"
}

test_stdout_stays_empty() {
	need_kvm
	spec < <(flat reset)
	launch >"$CASE/stdout"
	[ ! -s "$CASE/stdout" ] || fail "something was written to stdout"
}

test_fds_0_to_2_closed() {
	need_kvm
	spec < <(flat reset)
	(cd "$CASE/cwd" && "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" 0<&- 1>&- 2>&-)
	status=$?
	decode
	want_status 32
}

test_arguments_are_refused() {
	"$SHIM" --nonsense 3</dev/null 4>"$CASE/events.pb" 2>"$CASE/stderr"
	status=$?
	want_status 64
	grep -q 'fd 3' "$CASE/stderr" || fail "no word about how it is used"
	"$SHIM" --version 2>/dev/null || fail "--version"
	"$SHIM" --help 2>/dev/null || fail "--help"
}
