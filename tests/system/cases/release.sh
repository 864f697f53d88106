# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016 # words of other shells, of make and of Markdown
# `make release` (hack/release) in a work tree of its own, whose version is 0.9.1, so that what this
# tree has released changes nothing here. It is 2009-02-13 by UTC, and a day later by the clock.

# release_tree [FOLDER]...: $CASE/tree, what a release reads of this tree as it is, committed; what
# is built has these folders too.
release_tree() {
	unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE MAKEFLAGS VERSION
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@localhost \
		GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@localhost SOURCE_DATE_EPOCH=1234567890 TZ=DAY-14
	mkdir "$CASE/tree"
	cp -r --parents .gitignore Makefile hack proto "${@:-runtime/interface}" "$CASE/tree" || fail "no copy"
	cd "$CASE/tree" || fail "no tree"
	sed -i 's/AXVM_VERSION ".*"/AXVM_VERSION "0.9.1"/' runtime/interface/version.h
	printf '%s\n' '# Notes' '' 'What they are.' '' '## Unreleased' '' '### New' '' '- Something.' '' '## 0.9.1 (2009-01-01)' '' \
		'- Older.' >hack/release-notes.md
	git init -q && git add -A && commit before
}

commit() { git commit -q --allow-empty -m "$1" "${@:2}" || fail "the test cannot commit"; }

# The schema has a field more, with all that goes with one.
grow_schema() {
	local number
	# What the real tree has not released yet is: the field is all that is new.
	cp proto/axvm.proto proto/released/axvm.proto
	number=$(sed -n 's/^#define AXVM_INTERFACE_VERSION //p' runtime/interface/version.h)
	printf '%s\n' '# Changes' '' '## Unreleased' '' '- `Cpus.released`: of a test.' '' "## Interface $number (AxVM 0.9.1)" >proto/released/CHANGELOG.md
	sed -i "s/^\(#define AXVM_INTERFACE_VERSION\) .*/\1 $((number + 1))/" runtime/interface/version.h
	sed -i 's/^message Cpus {$/&\n  optional bool released = 900;/' proto/axvm.proto
	commit "a field" -a
}

# All that a release changes, and what it may not.
state() {
	git rev-parse HEAD && git symbolic-ref HEAD && git for-each-ref && git stash list && git status --porcelain --ignored && git diff HEAD
}

# refuses STATUS VERSION LINE...: so it does, with these lines and no other, and changes nothing.
refuses() {
	local before after status
	before=$(state)
	hack/release "$2" >"$CASE/out" 2>"$CASE/err"
	status=$?
	after=$(state)
	[ "$status" = "$1" ] || fail "$2: status $status, wanted $1: $(cat "$CASE/out" "$CASE/err")"
	printf 'release: %s\n' "${@:3}" | diff - "$CASE/err" || fail "$2: other words"
	[ "$before" = "$after" ] || fail "$2: refused, and something changed: $(diff <(echo "$before") <(echo "$after"))"
}

test_release_malformed_version_is_refused() {
	local version
	release_tree
	for version in '' 1 1. .2 0.2x v0.2 0.02 0.2.0.1 0.2-rc1 -0.2 '0.2 ' $'0.2\n' '0.2.$(touch x)' 0.1234567; do
		refuses 64 "$version" "VERSION: \"$version\" is not two or three numbers; give one such as 0.2 or 0.2.1"
	done
	! make -s release >"$CASE/out" 2>&1 || fail "no version is one"
	grep -q '^release: VERSION: "" is not' "$CASE/out" || fail "$(<"$CASE/out")"
	hack/release 2>"$CASE/err"
	[ $? = 64 ] || fail "no argument: $(<"$CASE/err")"
}

test_release_version_that_is_not_greater_is_refused() {
	local version
	release_tree
	for version in 0.9.1 0.9.0 0.9 0.8.20 0.8; do
		refuses 65 "$version" "VERSION: $version is not greater than 0.9.1, which runtime/interface/version.h has; give a greater one"
	done
	sed -i 's/"0.9.1"/"one"/' runtime/interface/version.h
	commit "no version" -a
	refuses 65 1.0 'runtime/interface/version.h: AXVM_VERSION is "one", not two or three numbers; put it back'
}

test_release_of_an_unclean_tree_is_refused() {
	local rest='commit or put back what git status names'
	release_tree
	echo >>Makefile
	refuses 65 1.0 "the tree: Makefile is not as committed; $rest"
	git add Makefile
	refuses 65 1.0 "the tree: Makefile is not as committed; $rest"
	git config status.showUntrackedFiles no
	touch new
	refuses 65 1.0 "the tree: Makefile is not as committed (nor are 1 more); $rest"
	git reset -q --hard
	refuses 65 1.0 "the tree: new is not as committed; $rest"
}

test_release_without_a_work_tree_of_its_own_is_refused() {
	release_tree
	mkdir inner
	cp -r hack proto runtime inner
	commit "a tree in a tree"
	inner/hack/release 1.0 2>"$CASE/err"
	[ $? = 69 ] || fail "the tree around it is released: $(<"$CASE/err")"
	grep -qx "release: git: $PWD/inner is not the top of a work tree; release from a clone" "$CASE/err" || fail "$(<"$CASE/err")"
}

test_release_whose_tag_is_there_is_refused() {
	release_tree
	git tag v1.0
	refuses 65 1.0 "tag v1.0: is there already, at $(git rev-parse --short HEAD); give a greater VERSION"
}

test_release_on_no_branch_is_refused() {
	release_tree
	git checkout -q --detach
	refuses 65 1.0 'HEAD: is on no branch, where no push would find the commit; switch to the branch that is to have it'
}

test_release_amid_a_merge_is_refused() {
	local head
	release_tree
	git checkout -q -b beside && commit beside && git checkout -q - && commit here
	git merge -q --no-commit -s ours beside 2>/dev/null
	refuses 65 1.0 'MERGE_HEAD: is there, so git has begun what is not ended; commit or abort it'
	git merge --abort
	for head in CHERRY_PICK_HEAD REVERT_HEAD; do
		git update-ref "$head" HEAD
		refuses 65 1.0 "$head: is there, so git has begun what is not ended; commit or abort it"
		git update-ref -d "$head"
	done
}

test_release_without_notes_is_refused() {
	local notes=hack/release-notes.md unreleased='"## Unreleased"'
	release_tree
	# They stop at the next heading, and headings and comments are none.
	sed -i 's/^- Something.$/<!-- nothing -->/' "$notes"
	commit "no notes" -a
	refuses 65 1.0 "$notes: nothing stands below $unreleased; write what changes for users"
	sed -i '/^## Unreleased/,/^## 0/{/^## 0/!d}' "$notes"
	commit "no heading" -a
	refuses 65 1.0 "$notes: 0 headings $unreleased; write one, above the last release's"
	printf '## Unreleased\n\n- a\n\n## Unreleased\n\n- b\n' >"$notes"
	commit "two headings" -a
	refuses 65 1.0 "$notes: 2 headings $unreleased; write one, above the last release's"
}

test_release_names_all_that_stands_against_it() {
	release_tree
	git tag v0.9
	: >hack/release-notes.md
	SOURCE_DATE_EPOCH=now refuses 65 0.9 "VERSION: 0.9 is not greater than 0.9.1, which runtime/interface/version.h has; give a greater one" \
		"the tree: hack/release-notes.md is not as committed; commit or put back what git status names" \
		"tag v0.9: is there already, at $(git rev-parse --short HEAD); give a greater VERSION" \
		'hack/release-notes.md: 0 headings "## Unreleased"; write one, above the last release'"'s" \
		'SOURCE_DATE_EPOCH: "now" is not a number of seconds; give one, or unset it'
}

# built VERSION: what is made of the tree has it.
built() {
	local said
	make -s B=build build/libaxvm.so.0 build/man/axvm.1 >"$CASE/make.log" 2>&1 || fail "it does not build: $(<"$CASE/make.log")"
	said=$(python3 -c 'import ctypes; version = ctypes.CDLL("build/libaxvm.so.0").axvm_version
version.restype = ctypes.c_char_p
print(version().decode())')
	[ "$said" = "$1" ] || fail "libaxvm says $said, not $1"
	grep -q "^.TH \"axvm\" \"1\" \"[0-9-]*\" \"AxVM $1\"" build/man/axvm.1 || fail "the page is not of $1"
	said=$(make -s B=build --eval='say: ; @echo $(DEB)' say)
	[ "$said" = "build/axvm_$1_amd64.deb" ] || fail "the package is called $said"
}

# 0.10 is greater than 0.9.1, though not letter by letter.
test_release_stamps_commits_and_tags() {
	local before number
	release_tree profiles runtime sandbox
	grow_schema
	built 0.9.1
	before=$(git rev-parse HEAD)
	number=$(sed -n 's/^#define AXVM_INTERFACE_VERSION //p' runtime/interface/version.h)
	make release VERSION=0.10 B=build >"$CASE/out" 2>&1 || fail "no release: $(<"$CASE/out")"
	built 0.10
	[ -z "$(git status --porcelain)" ] || fail "not committed: $(git status --porcelain)"
	[ "$(git rev-parse HEAD~)" = "$before" ] || fail "not one commit"
	[ "$(git diff --name-only HEAD~ | tr '\n' ' ')" = \
		"hack/release-notes.md proto/released/CHANGELOG.md proto/released/axvm.proto runtime/interface/version.h " ] ||
		fail "other files: $(git diff --stat HEAD~)"
	git diff -U0 HEAD~ runtime | grep '^[-+]#' | diff <(printf '%s\n' '-#define AXVM_VERSION "0.9.1"' '+#define AXVM_VERSION "0.10"') - ||
		fail "the header has other changes"
	printf '%s\n' '# Notes' '' 'What they are.' '' '## Unreleased' '' '## 0.10 (2009-02-13)' '' '### New' '' '- Something.' '' \
		'## 0.9.1 (2009-01-01)' '' '- Older.' | diff - hack/release-notes.md || fail "the notes"
	cmp proto/axvm.proto proto/released/axvm.proto || fail "the schema is not the released one"
	grep -qx "## Interface $number (AxVM 0.10)" proto/released/CHANGELOG.md || fail "$(<proto/released/CHANGELOG.md)"
	[ "$(git cat-file -t v0.10)" = tag ] || fail "the tag has no text"
	[ "$(git rev-parse 'v0.10^{commit}')" = "$(git rev-parse HEAD)" ] || fail "another commit has the tag"
	git tag -l --format='%(contents)' v0.10 | sed '$d' | diff <(printf '%s\n' 'AxVM 0.10' '' '### New' '' '- Something.') - || fail "the tag's text"
	[ "$(git log -1 --format=%s)" = "AxVM 0.10" ] || fail "the commit's subject"
	refuses 65 0.10 "VERSION: 0.10 is not greater than 0.10, which runtime/interface/version.h has; give a greater one" \
		"tag v0.10: is there already, at $(git rev-parse --short HEAD); give a greater VERSION" \
		'hack/release-notes.md: nothing stands below "## Unreleased"; write what changes for users'
}

# undone WORDS: a release of 1.0 fails, says WORDS, and leaves no trace.
undone() {
	local before after
	before=$(state)
	! hack/release 1.0 >"$CASE/out" 2>"$CASE/err" || fail "it was released all the same"
	after=$(state)
	grep -q "$1" "$CASE/err" || fail "no '$1' but $(<"$CASE/err")"
	grep -q '^release: 1.0: failed (status [0-9]*), and all is as it was; mend what is said above$' "$CASE/err" || fail "$(<"$CASE/err")"
	[ "$before" = "$after" ] || fail "$1: left: $(diff <(echo "$before") <(echo "$after"))"
}

test_release_that_fails_midway_is_undone() {
	local hook=.git/hooks/pre-commit
	release_tree
	grow_schema
	mkdir -p .git/hooks "$CASE/bin"
	# The second file that is stamped.
	printf '#!/bin/sh\ncase "$*" in *release-notes.md) echo "no room" >&2; exit 4 ;; esac\nexec %s "$@"\n' "$(command -v sed)" >"$CASE/bin/sed"
	chmod +x "$CASE/bin/sed"
	PATH=$CASE/bin:$PATH undone 'no room'
	rm "$CASE/bin/sed"
	printf '#!/bin/sh\necho "not today" >&2\nexit 1\n' >"$hook"
	chmod +x "$hook"
	undone 'not today'
	rm "$hook"
	# Once it is committed: the tag cannot be made.
	git tag v1.0/in_the_way
	undone v1.0/in_the_way
	git tag -d v1.0/in_the_way >/dev/null
	# Interrupted, which is seen once git has ended: with a commit, and with a tag too.
	printf '#!/bin/sh\necho interrupted >&2\nread -r _ _ _ parent _ </proc/$PPID/stat\nkill -TERM "$parent"\n' >"$CASE/interrupt"
	cp "$CASE/interrupt" "$hook"
	chmod +x "$hook"
	undone interrupted
	rm "$hook"
	hook=.git/hooks/reference-transaction
	{
		cat "$CASE/interrupt"
		echo 'fi'
	} | sed '1a if [ "$1" = committed ] && grep -q " refs/tags/v1.0$"; then' >"$hook"
	chmod +x "$hook"
	undone interrupted
	rm "$hook"
	hack/release 1.0 >"$CASE/out" 2>&1 || fail "what has failed is not released then: $(<"$CASE/out")"
}

test_release_of_a_schema_that_breaks_readers_is_undone() {
	release_tree
	sed -i 's/^  optional uint32 count = 1;/  optional uint64 count = 1;/' proto/axvm.proto
	commit "another type" -a
	undone 'Cpus.count: type was uint32, is uint64'
}
