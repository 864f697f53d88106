# SPDX-License-Identifier: MIT
# README.md is true: what it tells people to type works as pasted, and what it names is there.

# fenced: the lines of the README's shell blocks.
fenced() {
	sed -n '/^```sh$/,/^```$/{/^```/d;p}' "$ROOT/README.md"
}

# A place like a fresh clone that has been built: nothing that is written lands in the real one.
scratch() {
	mkdir "$CASE/clone"
	ln -s "$ROOT"/* "$CASE/clone/"
	rm -f "$CASE/clone/build" "$CASE"/clone/*.pb "$CASE"/clone/*.svg
	ln -s "$BUILD" "$CASE/clone/build"
	cd "$CASE/clone" || fail "no folder"
}

# All of it in one shell, as somebody would paste it; the first line that fails is named. The two
# commands that build, test and demonstrate everything are not run from within a test.
test_readme_commands() {
	need_kvm
	command -v protoc >/dev/null || skip "no protoc here"
	scratch
	fenced | sed -E 's/^(make (demo|check))\b/make -n \2 >\&3 #/' >commands
	[ "$(grep -c . commands)" -ge 12 ] || fail "the README has lost its commands"
	XDG_RUNTIME_DIR=$CASE timeout 100 "$BASH" -eux -o pipefail commands 3>/dev/null \
		>out 2>err </dev/null || { tail -n 5 err; fail "a command of the README fails"; }
	grep -q 'outcome: OUTCOME_HALTED' out || fail "no terminal event in what protoc decoded"
	grep -q 'rax: "0xcafebabedeadbeef"' out || fail "no registers in it"
	grep -q 'end HALTED' out || fail "axvm events does not show the end"
	grep -q '^spin  *RUNNING' out || fail "axvm top does not show the VM"
	grep -q '^kvm.vcpus.exits' out || fail "no metrics"
	grep -q '</svg>' launch.svg || fail "no picture"
	cd "$ROOT" || exit 1
	rm -rf "$CASE/clone"
}

# Every file, folder and make target that the README names between backticks.
test_readme_names() {
	local name names=0 targets=0
	for name in $(grep -oE '`[A-Za-z/_.-]+`' "$ROOT/README.md" | tr -d '`' | grep / | sort -u); do
		case $name in
		tests/* | hack/* | runtime/* | sandbox/* | profiles/* | proto/*)
			names=$((names + 1))
			[ -e "$ROOT/$name" ] || fail "README.md names $name, which is not there"
			;;
		esac
	done
	while read -r name; do
		targets=$((targets + 1))
		make -C "$ROOT" --no-print-directory -n "$name" >/dev/null 2>&1 ||
			fail "README.md names make $name, which is no target"
	done < <(grep -oE '`?make [a-z-]+' "$ROOT/README.md" | sed 's/.*make //' | sort -u)
	[ "$names" -ge 3 ] && [ "$targets" -ge 3 ] || fail "only $names names and $targets targets were found"
}
