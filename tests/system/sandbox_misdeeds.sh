#!/bin/bash
# SPDX-License-Identifier: MIT
# Every misdeed, by every kind of thread of a sealed shim: each ends the VM as the policy says.
#
# usage: sandbox_misdeeds.sh BUILD [MATCH]     from the project's root
#
# A call that a policy denies, a submission that the I/O ring is restricted from: status 77, and a
# terminal event, the last one, that names role and call. A call through another table: death by
# SIGSYS. A page of memory that cannot be had: status 71, and an event that says so. A crash: death
# by its signal, without a core file, or by the first call that the C library makes about it.
# Whatever it was, nothing is said on stdout and stderr.
set -u -o pipefail
export LC_ALL=C
build=${1:?usage: sandbox_misdeeds.sh BUILD [MATCH]}
match=${2:-}
shim=$build/axvm-shim-misbehave
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failures=0 runs=0

fail() {
	echo "FAIL misdeed/$1: $2"
	failures=$((failures + 1))
}

# The product's binary knows none of this.
if nm "$build/axvm-shim" | grep -q 'misdeed\|__wrap_\|misbehave'; then
	fail product "the shim contains what misbehaves"
fi

sed "s,build/,$build/," tests/specs/spin_io.txtpb |
	protoc --encode=axvm.v1.ControlStream proto/axvm.proto >"$work/spec" || exit 1

one() {
	local misdeed=$1 expected=$2 role=${1%%:*} call=${1##*/} kind=syscall_name status events
	[[ $misdeed == io:ring-* ]] && kind=ring_opcode_name
	# The shell's own message on a death by signal is not wanted.
	(AXVM_MISDEED=$misdeed timeout -s KILL 60 "$shim" 3<"$work/spec" 4>"$work/events" \
		</dev/null >"$work/errors" 2>&1; exit $?) 2>/dev/null
	status=$?
	[ ! -s "$work/errors" ] || fail "$misdeed" "it says: $(head -n 1 "$work/errors")"
	[ $status = "$expected" ] || fail "$misdeed" "status $status, not $expected"
	events=$(protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$work/events") ||
		{ fail "$misdeed" "the events are no EventStream"; return; }
	if [ "$expected" = 77 ]; then
		events=$(tac <<<"$events" | sed '/^events {/q')
		for line in 'terminal {' 'outcome: OUTCOME_RUNTIME_FAILED' 'code: ERROR_CODE_SANDBOX_VIOLATION' \
			"role: \"$role\"" "$kind: \"$call\"" 'policy_sha256: "'; do
			grep -qF "$line" <<<"$events" || fail "$misdeed" "the last event lacks: $line"
		done
	elif [ "$expected" = 71 ]; then
		events=$(tac <<<"$events" | sed '/^events {/q')
		for line in 'terminal {' 'outcome: OUTCOME_RUNTIME_FAILED' 'code: ERROR_CODE_OS_FAILED' "role: \"$role\"" \
			'lost_page: "no page could be had"'; do
			grep -qF "$line" <<<"$events" || fail "$misdeed" "the last event lacks: $line"
		done
	elif grep -q 'terminal {' <<<"$events"; then
		fail "$misdeed" "a terminal event, where none could be written"
	fi
}

while read -r misdeed expected; do
	[[ $misdeed == *$match* ]] || continue
	before=$failures
	one "$misdeed" "$expected"
	runs=$((runs + 1))
	# What abort(3) calls first is the C library's choice.
	[ "$failures" != "$before" ] || echo "ok misdeed/${misdeed/:abort\/*/:abort}"
done < <(AXVM_MISDEED=list "$shim")

[ $runs -gt 0 ] || fail all "no misdeed was committed"
echo "misdeeds: $((runs - failures)) passed, $failures failed, 0 skipped"
[ $failures = 0 ]
