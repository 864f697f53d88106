# SPDX-License-Identifier: MIT
# What the build itself checks.

# An object and its copy define the same names, though a linker that met them in an archive would
# take one and be silent.
test_build_duplicate_globals_are_found() {
	local objects=("$B/obj/runtime/io/op.o" "$B/obj/runtime/io/loop.o")
	command -v nm >/dev/null || skip "no nm"
	hack/duplicate-globals "${objects[@]}" >"$CASE/none" || fail "two objects of the product: $(cat "$CASE/none")"
	cp "${objects[0]}" "$CASE/other.o"
	if hack/duplicate-globals "${objects[@]}" "$CASE/other.o" >"$CASE/found"; then fail "a copy was not noticed"; fi
	grep -q "^io_cancel is defined in .*/op.o and in $CASE/other.o:" "$CASE/found" || fail "$(cat "$CASE/found")"
	if grep -q "io_loop_init" "$CASE/found"; then fail "a name that is there once was found"; fi
}

# Each program has a main, and names that stay inside an object are nobody's business.
test_build_every_program_has_a_main() {
	command -v nm >/dev/null || skip "no nm"
	hack/duplicate-globals "$B"/obj/runtime/{shim,launch/cli}/main.o || fail "main is each program's own"
}

# Of a user's build a compiler that warns of more than today's only warns. `make check` compiles
# again what was compiled with a warning.
test_build_warnings_are_errors_only_for_check() {
	echo 'int main(void) { int unused; return 0; }' >"$CASE/warn.c"
	make_object() { make -s -C "$CASE" -f "$PWD/Makefile" B=b GEN_HDRS= "$@" b/obj/warn.o >"$CASE/out" 2>&1; }
	make_object WERROR= || fail "a warning ends a build: $(cat "$CASE/out")"
	grep -q 'unused variable' "$CASE/out" || fail "no warning is shown: $(cat "$CASE/out")"
	! make_object WERROR=1 || fail "WERROR=1 takes an object that was compiled with a warning"
	grep -q 'error: unused variable' "$CASE/out" || fail "$(cat "$CASE/out")"
	echo 'int main(void) { return 0; }' >"$CASE/warn.c"
	make_object WERROR=1 || fail "$(cat "$CASE/out")"
}
