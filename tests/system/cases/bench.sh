# SPDX-License-Identifier: MIT
# What `make bench` measures a host full of VMs with: that it works at all, and counts what it says.
# No figure is judged.

FLEET=$ROOT/tests/bench/fleet

# portable GUEST WORDS [LAUNCH]: the text of a launch of a guest that any monitor runs, WORDS on its
# command line.
portable() {
	echo "launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: 1 } memory { nodes { size_mib: 64 } } ${3:-}
		boot { linux_boot { kernel { path: \"$BUILD/bench/guests/portable/$1\" } cmdline: \"$2\" } } }"
}

# register NAME: of the terminal event, in decimal.
register() {
	echo $(($(sed -n "s/^ *$1: \"\(0x[0-9a-f]*\)\"/\1/p" "$CASE/terminal")))
}

test_bench_guest_computes() {
	need_kvm
	passes < <(portable compute "quiet work=1000")
	want "outcome: OUTCOME_POWER_OFF"
	[ "$(register rbx)" -gt 100000 ] || fail "the TSC's rate is said to be $(register rbx) kHz"
}

# Three turns of two doorbells and four reads.
test_bench_guest_mixes_doorbells_and_reads() {
	need_kvm
	truncate -s 64M "$CASE/disk"
	passes < <(portable mix turns=3 "rng {} disks { id: \"disk\" image { path: \"$CASE/disk\" } read_only: true }")
	want 'rbx: "0x0000000000000012"'
}

# Three batches of 32, with one interrupt a batch, and no virtio-rng.
test_bench_guest_mixes_reads_alone() {
	need_kvm
	truncate -s 64M "$CASE/disk"
	passes < <(portable mix "turns=3 arithmetic=1 doorbells=0 batch=32 event=1" \
		"disks { id: \"disk\" image { path: \"$CASE/disk\" } read_only: true }")
	want 'rbx: "0x0000000000000060"'
}

# It looks itself at the whole time: so many wakes a millisecond apart do not take less.
test_bench_guest_tells_how_late_it_was_woken() {
	local khz p50 p99 p999 largest
	need_kvm
	passes < <(portable compute work=1)
	khz=$(register rbx)
	spec < <(portable jitter "khz=$khz wakes=50")
	launch
	want_status 0
	p50=$(($(register rax) >> 32 & 0xffffffff)) p99=$(($(register rax) & 0xffffffff))
	p999=$(($(register rbx) >> 32 & 0xffffffff)) largest=$(($(register rbx) & 0xffffffff))
	((0 < p50 && p50 <= p99 && p99 <= p999 && p999 == largest)) ||
		fail "of 50 wakes: $p50, $p99, $p999, at most $largest ns"
}

# said WORD...: the lines of the fleet's output are these metrics, each with a number above 0; a
# spread may be 0.
said() {
	local name value
	[ "$(cut -d' ' -f1 "$CASE/said" | xargs)" = "$*" ] || fail "said: $(<"$CASE/said")"
	while read -r name value; do
		[ "$name" = spread ] || awk -v v="$value" 'BEGIN { exit !(v + 0 > 0) }' || fail "$name is $value"
	done <"$CASE/said"
}

test_bench_fleet_of_two() {
	local side
	need_kvm
	for side in $("$FLEET" sides | grep ^axvm); do
		"$FLEET" together "$side" 2 compute work=1000 >"$CASE/said" || fail "$side: status $?"
		said rate spread
	done
	[ -n "$side" ] || fail "no side is ours"
	"$FLEET" together axvm 1 mix turns=2 >"$CASE/said" || fail "mix: status $?"
	said rate
}

test_bench_fleet_beside_one_that_computes() {
	local words
	need_kvm
	words=$("$FLEET" calibrate 5) || fail "cannot tell how much work is a second"
	[[ $words =~ ^work=[1-9][0-9]*\ turns=[1-9][0-9]*\ khz=[1-9][0-9]*$ ]] || fail "calibrated: $words"
	read -ra words <<<"$words"
	"$FLEET" jitter axvm-pins 1 "${words[@]}" wakes=20 >"$CASE/said" || fail "status $?"
	said p50 p99 p999 max
}

# A guest that fails is not one that was quick.
test_bench_fleet_of_guests_that_fail() {
	need_kvm
	! "$FLEET" together axvm 2 jitter >"$CASE/said" 2>&1 || fail "a guest that failed counts: $(<"$CASE/said")"
	grep -q 'guest 0 of axvm did not do its work' "$CASE/said" || fail "said: $(<"$CASE/said")"
	! "$FLEET" jitter axvm-bare 0 >"$CASE/said" 2>&1 || fail "no TSC rate, and all was well: $(<"$CASE/said")"
	# Not even where only the one beside ends before its time.
	! "$FLEET" jitter axvm-bare 1 beside=0 khz=1000000 wakes=20 >"$CASE/said" 2>&1 ||
		fail "a guest beside ended, and all was well: $(<"$CASE/said")"
	grep -q 'guest 0 of axvm-bare did not do its work' "$CASE/said" || fail "said: $(<"$CASE/said")"
}

# Ours against the best of the others, not against our variants; in the same round; where more is
# better and where less is.
test_bench_table_with_a_column_a_side() {
	local table
	cat >"$CASE/rows" <<-'END'
		a.rate|1 2|guests: %|1/s|more|1.0
		a.late|0|late: %|µs|less|0.5 each
	END
	tr ' ' '\t' >"$CASE/samples" <<-'END'
		a.rate:1 us-more 1 90
		a.rate:1 slow 1 4
		a.rate:1 us 1 10
		a.rate:1 fast 1 5
		a.rate:1 us 2 12
		a.rate:1 fast 2 8
		a.rate:1 us 3 12
		a.rate:1 fast 3 16
		a.rate:2 us 1 3
		a.rate:2 fast 1 6
		a.late:0 us 1 1
		a.late:0 slow 1 5
		a.late:0 fast 1 4
		a.late:0 us 2 3
		a.late:0 fast 2 4
		a.late:0 us 3 1
		a.late:0 fast 3 4
	END
	table=$("$ROOT/tests/bench/report_sides" -v form=markdown -v ours=us "$CASE/rows" "$CASE/samples")
	diff - <(echo "$table") <<-'END' || fail "the table differs"
		| row | unit | us | us-more | fast | slow | best other | ratio | worst | goal |
		|---|---|--:|--:|--:|--:|---|--:|--:|---|
		| guests: 1 | 1/s | 12.0 (10.0–12.0) | 90.0 | 8.00 (5.00–16.0) | 4.00 | fast | 1.5 | 0.75 | at least 1.0 met |
		| guests: 2 | 1/s | 3.00 | – | 6.00 | – | fast | 0.5 | 0.5 | at least 1.0 MISSED |
		| late: 0 | µs | 1.00 (1.00–3.00) | – | 4.00 (4.00–4.00) | 5.00 | fast | 0.25 | 0.75 | at most 0.5 in each round MISSED |
	END
}

# between_marks FILE: what stands there in the place of the bench's table.
between_marks() {
	sed -n '/^<!-- bench -->/,/^<!-- end of bench -->/{/^<!--/d;p}' "$1"
}

test_bench_headlines_are_rows_of_the_results() {
	local here=$ROOT/tests/bench
	"$here/headlines" "$here/rows" "$here/RESULTS.md" >"$CASE/headlines" || fail "a headline is no row"
	[ "$(grep -c '^| [^r]' "$CASE/headlines")" = 8 ] || fail "not eight headlines: $(<"$CASE/headlines")"
	between_marks "$ROOT/README.md" | diff "$CASE/headlines" - ||
		fail "README.md shows other figures than RESULTS.md: tests/bench/run --report --readme"
	"$here/headlines" -v form=svg "$here/rows" "$here/RESULTS.md" | diff - "$here/results.svg" ||
		fail "results.svg shows other figures than RESULTS.md: tests/bench/run --report --readme"
	grep -qF '](tests/bench/results.svg)' "$ROOT/README.md" || fail "README.md does not show the plot"
	sed '/exit round trip, port/d' "$here/RESULTS.md" >"$CASE/without"
	! "$here/headlines" "$here/rows" "$CASE/without" >"$CASE/said" 2>&1 || fail "a headline without a row is left out"
	grep -q 'headlines: exit round trip, port write: the table has no such row' "$CASE/said" || fail "said: $(<"$CASE/said")"
}

# From samples to the three places: made-up ones, in a tree of the case's own.
test_bench_report_is_published() {
	local here=$CASE/tree/tests/bench title
	mkdir -p "$CASE/tree/tests" "$CASE/build/bench/samples"
	cp -r "$ROOT/tests/bench" "$CASE/tree/tests/"
	cp "$ROOT/README.md" "$CASE/tree/"
	echo 'a machine of the test, with words enough for a line that has to be folded because it would be too long for a reader' \
		>"$CASE/build/bench/machine"
	awk -F'|' -v OFS='\t' '/^[^#]/ { print $1, $4, 1, 30; print $1, $5, 1, 40 }' "$here/rows" >"$CASE/build/bench/samples/all"
	(cd "$CASE" && B=$CASE/build "$here/run" --report --readme >/dev/null) || fail "status $?"
	grep -qF '| exit round trip, port write | cycles | 30.0 | 30.0 | bare | 40.0 | 40.0 | 0.75 | 0.75 | 1.05 met |' \
		"$here/RESULTS.md" || fail "the table is not in RESULTS.md: $(between_marks "$here/RESULTS.md")"
	grep -qF '| exit round trip, port write | cycles | 30.0 | bare | 40.0 | 0.75 | 1.05 met |' "$CASE/tree/README.md" ||
		fail "the headline is not in README.md: $(between_marks "$CASE/tree/README.md")"
	[ "$(grep -c '0.75 of' "$here/results.svg")" = 7 ] || fail "not seven bars: $(<"$here/results.svg")"
	[ "$(between_marks "$here/RESULTS.md" | sed -n 2p)" = "long for a reader" ] || fail "not folded: $(between_marks "$here/RESULTS.md" | head -n 3)"
	for title in README.md tests/bench/RESULTS.md; do
		diff <(sed '/^<!-- bench/,/^<!-- end/d' "$ROOT/$title") <(sed '/^<!-- bench/,/^<!-- end/d' "$CASE/tree/$title") ||
			fail "$title has changed outside of the marks"
	done
}
