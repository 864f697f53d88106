# SPDX-License-Identifier: MIT
# That the rig itself sees what it is there to see. The "shims" here are other programs.

# run_status WANTED [SPAWN'S OPTIONS] PROGRAM…
run_status() {
	"$SPAWN" run "${@:2}" 2>"$CASE/stderr"
	status=$?
	want_status "$1"
}

test_rig_sees_a_process_left_behind() {
	run_status 125 "$BASH" -c 'sleep 2 & exit 0'
	# It is the child of nobody any more; it ends by itself.
}

test_rig_sees_that_it_does_not_end() { run_status 124 -t 200 "$(type -P sleep)" 5; }
test_rig_sees_flags_that_changed() {
	run_status 126 "$(type -P dd)" if=/dev/null oflag=nonblock >"$CASE/out"
}
test_rig_passes_the_status_on() {
	run_status 0 "$(type -P true)"
	run_status 77 "$BASH" -c 'exit 77'
	run_status 137 "$BASH" -c 'kill -9 $$'
}

test_rig_judges_streams() {
	need_kvm
	spec < <(flat reset)
	launch
	"$SPAWN" judge 32 <"$CASE/events.pb" || fail "refuses what is right"
	! "$SPAWN" judge 33 <"$CASE/events.pb" || fail "takes another status"
	! cat "$CASE/events.pb" "$CASE/events.pb" | "$SPAWN" judge 32 || fail "takes two terminals"
	! "$SPAWN" judge 32 </dev/null || fail "takes none"
	! head -c -1 "$CASE/events.pb" | "$SPAWN" judge 32 || fail "takes a stream that is cut off"
	encode EventStream <<<'events { sequence: 2 terminal { outcome: OUTCOME_GUEST_RESET exit_status: 32
		stage: STAGE_ACCOUNT message: "guest reset: a" } }' >"$CASE/odd"
	! "$SPAWN" judge 32 <"$CASE/odd" || fail "takes a gap"
	encode EventStream <<<'events { sequence: 1 terminal { outcome: OUTCOME_LAUNCH_FAILED
		exit_status: 65 stage: STAGE_LEARN message: "launch failed: a" errors {
		code: ERROR_CODE_SPEC_EMPTY stage: STAGE_LEARN severity: SEVERITY_FATAL message: "the spec is empty" } } }' >"$CASE/odd"
	! "$SPAWN" judge 65 <"$CASE/odd" || fail "takes an error without retryable"
}

# A guest that finds something wrong fails its test: 15 MiB are not the 16 it asks for.
test_rig_sees_what_a_guest_finds() {
	need_kvm
	flat vcpus -m 15 | passes >"$CASE/out" && fail "it passed"
	grep -q . "$CASE/failed" || fail "a failure in a pipeline is lost"
	rm "$CASE/failed"
	grep -q 'rax: "0x0bad0bad' "$CASE/out" || fail "it failed for another reason"
}

# Else `make sanitize`, which is not in `make check`, no longer builds.
test_rig_stands_in_for_criterion() {
	local name
	for name in $(grep -ohE '\bcr_(assert|expect|skip)[a-z_]*\(' tests/unit/*/*.[ch] | sort -u); do
		grep -qE "^#define ${name%(}\(" tests/stand-in/criterion/criterion.h ||
			grep -qhE "^#define ${name%(}\(|^void ${name%(}\(" tests/unit/*/*.[ch] || fail "tests/stand-in has no ${name%(}"
	done
}

# A tree of rooms in which line $3 stands in file $2 makes `hack/rooms` say $1.
rooms_say() {
	local tree=$CASE/tree file
	rm -rf "$tree"
	mkdir -p "$tree"/runtime/{base,io,virtio,shim,launch/cli,new} "$tree/sandbox"
	for file in base/clock io/loop io/op virtio/queue shim/plan launch/cli/plan; do
		printf '#include "%s.h"\n' "$file" >"$tree/runtime/$file.c"
		touch "$tree/runtime/$file.h"
	done
	printf '#include "io/op.h"\n#include <stdio.h>\n#include "proto/generated.h"\n' >>"$tree/runtime/io/loop.c"
	printf '#include "io/loop.h"\n#include "base/clock.h"\n' >>"$tree/runtime/virtio/queue.c"
	hack/rooms "$tree" >"$CASE/out" || fail "a tree without a fault is refused: $(cat "$CASE/out")"
	echo "$3" >>"$tree/$2"
	! hack/rooms "$tree" >"$CASE/out" || fail "$2 may include what it may not: $3"
	grep -qF "$1" "$CASE/out" || fail "no '$1' but: $(cat "$CASE/out")"
}

test_rig_rooms_are_held_apart() {
	hack/rooms >"$CASE/out" || fail "$(cat "$CASE/out")"
	rooms_say 'runtime/io/op.c includes virtio/queue.h: runtime/virtio is not below runtime/io' runtime/io/op.c '#include "virtio/queue.h"'
	rooms_say 'runtime/virtio is not below runtime/base' runtime/base/clock.h '#include "virtio/queue.h"'
	rooms_say 'give what they share a header below them' runtime/io/op.h '#include "io/loop.h"'
	rooms_say 'runtime/launch/cli and runtime/shim are held apart: they meet in the streams of runtime/interface' \
		runtime/launch/cli/plan.c '#include "shim/plan.h"'
	rooms_say 'runtime/new: not in the table of rooms' runtime/new/new.c '#include "base/clock.h"'
}

# A folder's README, or that of the folder above it, names each module in it.
test_rig_readmes_name_every_module() {
	local file folder readme missing=''
	while IFS= read -r file; do
		folder=${file%/*}
		readme=$folder/README.md
		[ -e "$readme" ] || readme=${folder%/*}/README.md
		file=${file##*/}
		grep -qwE "${file%.[ch]}" "$readme" || missing+=" $folder/$file"
	done < <(find runtime sandbox -name '*.[ch]' | sort)
	[ -z "$missing" ] || fail "no README names:$missing"
}

# The table of floors that people read is the one that `make` holds the tree to.
test_rig_floors_are_those_of_the_readme() {
	sed -n "/^FLOORS='/,/^'/{/'/d;p}" hack/rooms >"$CASE/floors"
	sed -n '/^| floor/,/^$/{/^| [0-9]/{s/^| [0-9]* | //;s/ |$//;s/`//g;p}}' runtime/README.md | diff "$CASE/floors" - ||
		fail "runtime/README.md has other floors than hack/rooms"
	[ "$(grep -c . "$CASE/floors")" -ge 5 ] || fail "no floors found: $(<"$CASE/floors")"
}

# What the glossary explains is said somewhere.
test_rig_glossary_has_no_dead_words() {
	local word words=0
	while IFS= read -r word; do
		words=$((words + 1))
		grep -rqwiE "${word}s?" --include='*.[ch]' --include=rooms runtime sandbox hack || fail "the glossary has a word that nobody uses: $word"
	done < <(sed -n '/^## Glossary/,$s/^| \([a-z, ]*\) | .*/\1/p' runtime/README.md | grep -vx word | sed 's/, /\n/g')
	[ "$words" -ge 20 ] || fail "only $words words"
}

# prose_says N KINDS FILE < TEXT: of a tree with that file alone, hack/prose names line N, or none
# (0).
prose_says() {
	local tree=$CASE/prose script=$CASE/prose-script
	rm -rf "$tree"
	mkdir -p "$tree"
	cat >"$tree/$3"
	sed "s/^readonly KINDS=.*/readonly KINDS='$2'/" hack/prose >"$script"
	bash "$script" "$tree" >"$CASE/out"
	status=$?
	[ "$1" != 0 ] || { [ "$status" = 0 ] || fail "$3: refused: $(<"$CASE/out")"; return; }
	[ "$status" = 1 ] || fail "$3: a line that is too long passes: $(<"$tree/$3")"
	grep -qx "$3:$1: [0-9]* columns: break it before column 101" "$CASE/out" || fail "$3: no line $1 but $(<"$CASE/out")"
	[ "$(grep -c . "$CASE/out")" = 1 ] || fail "$3: more than line $1: $(<"$CASE/out")"
}

# A line of N characters, in words.
words_of() {
	printf '%*s' "$1" '' | sed 's/ /µ/g; s/µµµµµ/µµµµ /g; s/ $/µ/'
}

test_rig_prose_lines_are_short() {
	local long at_most
	hack/prose >"$CASE/out" || fail "$(<"$CASE/out")"
	long=$(words_of 101) at_most=$(words_of 100)
	prose_says 0 md a.md <<<"$at_most"
	prose_says 2 md a.md < <(printf '%s\n' "$at_most" "$long")
	prose_says 3 md a.md < <(printf '%s\n' '- a list' '' "    $long")
	prose_says 0 md a.md < <(printf '%s\n' "| $long |" '```' "$long" '```' 'text' '' "    $long" "see https://example.org/ $long")
	prose_says 4 md a.md < <(printf '%s\n' '```' "$long" '```' "$long")
	prose_says 2 scd a.scd < <(printf '%s\n' "*word*" "	$(words_of 93)")
	prose_says 0 scd a.scd < <(printf '%s\n' "*word*" "	$(words_of 92)" "|  $long" ":  $long")
	prose_says 0 md a.c <<<"/* $long */"
	prose_says 3 c a.c < <(printf '%s\n' 'int a;' '/* a' " * $long" ' */' "char b[] = \"$long\";")
	prose_says 2 c a.c < <(printf '%s\n' "f(\"/* $long\");" "f(1); // $long")
	prose_says 2 h a.h < <(printf '%s\n' "int a(int, int); /* short */" "int b; /* $long */")
	prose_says 2 proto a.proto < <(printf '%s\n' 'message A {' "  // $long" '}')
	prose_says 2 sh a < <(printf '%s\n' '#!/bin/bash' "# $long" "echo '$long'")
	prose_says 1 mk Makefile < <(printf '%s\n' "# $long" "A := $long")
}

# habits_say N WHAT FILE < TEXT: of a tree with that file alone, hack/habits names line N, or none
# (0).
habits_say() {
	local tree=$CASE/habits status=0
	rm -rf "$tree"
	mkdir -p "$tree/${3%/*}"
	cat >"$tree/$3"
	hack/habits "$tree" >"$CASE/out" || status=$?
	[ "$1" != 0 ] || { [ "$status" = 0 ] || fail "$3: refused: $(<"$CASE/out")"; return; }
	[ "$status" = 1 ] || fail "$3: passes: $(<"$tree/$3")"
	grep -q "^$3:$1: .*$2" "$CASE/out" || fail "$3: no line $1 but $(<"$CASE/out")"
	[ "$(grep -c . "$CASE/out")" = 1 ] || fail "$3: more than line $1: $(<"$CASE/out")"
}

test_rig_c_is_written_in_one_way() {
	hack/habits >"$CASE/out" || fail "$(<"$CASE/out")"
	habits_say 0 - runtime/a.c < <(printf '%s\n' '/* a' ' * b // c' ' *' ' * d */' 'f("// x %s", "http://y"); /* z */')
	habits_say 2 'write /\* text \*/' tests/a.c < <(printf '%s\n' 'int a;' 'f(1); // b')
	habits_say 1 'begins without text' sandbox/a.h < <(printf '%s\n' '/*' ' * a */')
	habits_say 2 'line of its own' hack/a.h < <(printf '%s\n' '	/* a' '	 */')
	habits_say 0 - runtime/a.c < <(printf '%s\n' '/*@ requires a;' '  */' 'int a;')
	habits_say 4 'line of its own' runtime/a.c < <(printf '%s\n' '/*@ requires a;' '  */' '/* a' ' */')
	habits_say 1 'errno_text()' runtime/a.c <<<'say("%s", strerror(errno));'
	habits_say 1 'errno_text()' sandbox/a.c <<<'	text = strerrordesc_np(-r);'
	habits_say 1 'errno_text()' tests/unit/a.c <<<'perror("a");'
	habits_say 1 'errno_text()' runtime/a.c <<<'say("cannot: %m");'
	habits_say 0 - runtime/launch/examples/a.c <<<'say("%s", strerror(errno));'
	habits_say 0 - runtime/a.c <<<'say("%s: 100%%", errno_text(errno));'
}
