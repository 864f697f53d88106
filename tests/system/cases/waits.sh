# SPDX-License-Identifier: MIT
# How cases wait: for an event, never for a time by which it has surely happened. A limit is for
# what never comes, and fails the case with what was waited for.

AWAIT_LIMIT=60

# await WHAT COMMAND...: until the command succeeds.
await() {
	local what=$1 end=$((SECONDS + AWAIT_LIMIT))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "in $AWAIT_LIMIT s it did not come: $what"
		sleep 0.05
	done
}

# await_event EVENT [FILE]: until the stream that a shim writes has told it; see `spawn await`.
await_event() {
	"$SPAWN" await "$1" "${2:-$CASE/events.pb}" || fail "see above: no event \"$1\""
}

# runs PID: a child of this shell, in the background, that has not ended. (kill -0 would also find
# whoever has its number by now.)
runs() { [[ $'\n'$(jobs -rp)$'\n' == *$'\n'$1$'\n'* ]]; }

# since PID: when a process was started, in ticks; nothing when it is no more, or a zombie.
since() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return
	# shellcheck disable=SC2086 # words: from the state on
	set -- ${stat##*) }
	case $1 in Z | X) ;; *) echo "${20}" ;; esac
}

# shim_of LAUNCHER: the shim that `axvm run` has started; sets `shim`, and `started` for `alive`.
shim_of() {
	shim=
	# What /proc has of it ends without a line feed.
	read -r shim _ <"/proc/$1/task/$1/children"
	[ -n "$shim" ] || fail "the launcher has no shim"
	started=$(since "$shim")
	[ -n "$started" ] || fail "its shim has ended already"
}

# alive: the process of `shim_of`, no other of its number, and no zombie. Its new parent may take
# its time.
alive() { [ "$(since "$shim")" = "$started" ]; }
gone() { ! alive; }

# cpu_time PID: ticks of the processor that it has had.
cpu_time() {
	local stat
	read -r stat <"/proc/$1/stat" || fail "no process $1"
	# shellcheck disable=SC2086 # words: from the state on
	set -- ${stat##*) }
	echo $((${12} + ${13}))
}
