# SPDX-License-Identifier: MIT
# The examples for who writes an orchestrator (runtime/launch/examples): each does the same, and
# says the same of it.

# example IMAGE PROGRAM [ARGUMENT]...: sets `status`; $CASE/out and $CASE/err are what it says.
example() {
	need_kvm
	(cd "$CASE/cwd" && exec "${@:2}" "$SHIM" "$1") >"$CASE/out" 2>"$CASE/err"
	status=$?
}

# Five VMs, from their launch to their end.
five() {
	example "$GUESTS/tenant.bin" "$@"
	[ "$status" = 0 ] || fail "status $status: $(cat "$CASE/err")"
	diff - "$CASE/out" <<-'END' || fail "it says something else, see above"
		five-0: pause, resume, shutdown: OUTCOME_POWER_OFF, status 0
		five-1: balloon, shutdown: OUTCOME_POWER_OFF, status 0
		five-2: shutdown: OUTCOME_POWER_OFF, status 0
		five-3: shutdown: OUTCOME_POWER_OFF, status 0
		five-4: shutdown: OUTCOME_POWER_OFF, status 0
	END
}

# A launch that is refused is a failure of theirs, and the shim's reason is told.
five_refused() {
	: >"$CASE/empty"
	example "$CASE/empty" "$@"
	[ "$status" = 1 ] || fail "status $status: $(cat "$CASE/out" "$CASE/err")"
	grep -q '^five.*: five-[0-4]: .*launch failed: .*empty' "$CASE/err" || fail "it does not say why: $(cat "$CASE/err")"
}

five_py() { PYTHONPATH=$BUILD/examples/python PYTHONDONTWRITEBYTECODE=1 "$1" "$ROOT/runtime/launch/examples/five.py"; }

test_examples_c() { five "$BUILD/examples/c/five"; }
test_examples_cpp() { five "$BUILD/examples/cpp/five"; }
test_examples_python() { five_py five; }
test_examples_go() { five "$BUILD/examples/go/five"; }
test_examples_c_tells_why_a_launch_is_refused() { five_refused "$BUILD/examples/c/five"; }
test_examples_cpp_tells_why_a_launch_is_refused() { five_refused "$BUILD/examples/cpp/five"; }
test_examples_python_tells_why_a_launch_is_refused() { five_py five_refused; }
test_examples_go_tells_why_a_launch_is_refused() { five_refused "$BUILD/examples/go/five"; }
