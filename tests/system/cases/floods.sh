# SPDX-License-Identifier: MIT
# More of something than anybody can use, for as long as its source likes. `axvm run` does what a signal asks
# meanwhile: the first presses the power button, which none of these sources heeds but the double, the second stops.
# (`start`, `says`, `ended` are cases/cli.sh's.)

# signalled: the first signal has been taken.
signalled() {
	kill -TERM "$pid"
	await "axvm run's word that it presses the power button" grep -q 'power button pressed' "$CASE/run.err"
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
