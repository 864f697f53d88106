# SPDX-License-Identifier: MIT
# Resources that are not what the spec says they are.

linux() {
	echo "launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: 1 }
		memory { nodes { size_mib: 64 } } boot { linux_boot { kernel { $1 } ${2:-} } } }"
}

F=boot.flat_boot.image
K=boot.linux_boot.kernel

test_image_missing() { need_kvm; flat 'path: "/nonexistent/x"' | refused 66 RESOURCE_MISSING $F; }
test_image_a_directory() { need_kvm; flat 'path: "/"' | refused 66 RESOURCE_WRONG_KIND $F; }
test_image_empty() { need_kvm; flat 'path: "/dev/null"' | refused 66 RESOURCE_WRONG_KIND $F; }
test_image_fd_not_open() { need_kvm; flat 'fd: 5' | refused 66 RESOURCE_MISSING $F; }
# Nor does a number that nobody handed over come to mean what is opened meanwhile.
test_image_fd_not_open_beside_a_path() {
	need_kvm
	linux "path: \"$GUESTS/reset.bin\"" 'initrd { fd: 5 }' |
		refused 66 RESOURCE_MISSING boot.linux_boot.initrd
	linux "path: \"$GUESTS/reset.bin\"" 'initrd { fd: 6 }' |
		refused 66 RESOURCE_MISSING boot.linux_boot.initrd
}

test_image_fd_3() { need_kvm; flat 'fd: 3' | refused 65 SPEC_INVALID $F; }
# From 896 on lie the shim's own.
test_image_fd_too_high() { flat 'fd: 896' | refused 65 SPEC_INVALID $F; }

test_image_fd_highest() {
	need_kvm
	spec < <(flat 'fd: 895')
	launch 895<"$GUESTS/reset.bin"
	want_status 32
}

test_image_neither() { flat 'fd: 5' | sed 's/fd: 5//' | refused 65 SPEC_INVALID $F; }
test_image_path_empty() { flat 'path: ""' | refused 65 SPEC_INVALID $F; }
test_image_path_too_long() {
	flat "path: \"$(head -c 5000 /dev/zero | tr '\0' a)\"" | refused 65 SPEC_INVALID $F
}

test_image_empty_file() {
	need_kvm
	: >"$CASE/empty"
	flat "path: \"$CASE/empty\"" | refused 65 IMAGE_INVALID $F
}

test_image_fd_write_only() {
	need_kvm
	spec < <(flat 'fd: 5')
	launch 5>"$CASE/file"
	want_error 66 RESOURCE_UNREADABLE $F
}

test_image_larger_than_ram() {
	need_kvm
	truncate -s 17M "$CASE/large"
	flat "path: \"$CASE/large\"" | refused 65 IMAGE_INVALID $F
}

# Its size is not its own doing, but it is bounded by the guest's memory all the same.
test_image_of_8_eib() {
	need_kvm
	truncate -s 8796093018112K "$CASE/large" 2>/dev/null ||
		truncate -s 16T "$CASE/large" 2>/dev/null || truncate -s 1T "$CASE/large" ||
		skip "no sparse file of 1 TiB here"
	flat "path: \"$CASE/large\"" | refused 65 IMAGE_INVALID $F
}

# A pipe is no file: it cannot be sized, and may never end.
test_image_a_pipe() {
	need_kvm
	spec < <(flat 'fd: 5')
	launch 5< <(cat "$GUESTS/reset.bin")
	want_status 66
	want "code: ERROR_CODE_RESOURCE_WRONG_KIND"
}

test_image_a_fifo_without_a_writer() {
	need_kvm
	mkfifo "$CASE/fifo"
	flat "path: \"$CASE/fifo\"" | refused 66 RESOURCE_WRONG_KIND $F
}

test_image_not_permitted() {
	need_root
	cp "$GUESTS/reset.bin" "$CASE/secret"
	chmod 600 "$CASE/secret"
	spec < <(flat "path: \"$CASE/secret\"")
	cp "$SHIM" "$SPAWN" "$CASE/"
	SHIM=$CASE/axvm-shim
	SPAWN="$CASE/spawn"
	(cd "$CASE/cwd" && setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups \
		"$SPAWN" run "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
	status=$?
	decode
	want "outcome: OUTCOME_LAUNCH_FAILED" "field: \"$F\"" "code: ERROR_CODE_RESOURCE_UNREADABLE"
}

# The launch is refused for all the reasons that hold.
test_kernel_and_initrd_both_missing() {
	need_kvm
	linux 'path: "/nonexistent/k"' 'initrd { path: "/nonexistent/i" }' |
		refused 66 RESOURCE_MISSING $K
	want 'field: "boot.linux_boot.initrd"'
}

# kernel_of_ld LAYOUT: what plain gcc and ld made of tests/guests/elf, whose notes are not all of
# one alignment.
kernel_of_ld() {
	need_kvm
	spec < <(linux "path: \"$GUESTS/elf/$1\"")
	launch
	want_status 0
	want "outcome: OUTCOME_POWER_OFF" 'rax: "0x00000000600d600d"' 'rbx: "0x00000000600d600d"'
}

test_kernel_with_notes_of_two_alignments() { kernel_of_ld plain; }
test_kernel_with_its_notes_in_one_segment() { kernel_of_ld one_segment; }

test_kernel_random_file() {
	need_kvm
	head -c 300000 "$SPAWN" | tail -c 200000 >"$CASE/random"
	linux "path: \"$CASE/random\"" | refused 65 KERNEL_INVALID $K
}

# An ELF file, but without a PVH note.
test_kernel_a_program() { need_kvm; linux "path: \"$SHIM\"" | refused 65 KERNEL_INVALID $K; }
test_kernel_a_directory() { need_kvm; linux 'path: "/"' | refused 66 RESOURCE_WRONG_KIND $K; }
test_kernel_a_device() { need_kvm; linux 'path: "/dev/zero"' | refused 66 RESOURCE_WRONG_KIND $K; }

test_kernel_empty_file() {
	need_kvm
	: >"$CASE/empty"
	linux "path: \"$CASE/empty\"" | refused 65 KERNEL_INVALID $K
}

test_cmdline_too_long() {
	linux 'path: "/dev/null"' "cmdline: \"$(head -c 70000 /dev/zero | tr '\0' a)\"" |
		refused 65 SPEC_INVALID boot.linux_boot.cmdline
}

test_fd_given_twice() {
	spec < <(linux 'fd: 5' 'initrd { fd: 5 }')
	launch 5</dev/null
	want_error 65 SPEC_DUPLICATE boot.linux_boot.initrd
}

# The digests that the Running event has are those of sha256sum, and it has them only when asked to.
test_boot_measure() {
	need_kvm
	spec < <(flat longmode | sed 's/boot {/& measure: true/')
	launch
	want_status 0
	grep -q "^    kernel_sha256: \"$(sha256sum <"$GUESTS/longmode.bin" | cut -d' ' -f1)\"\$" \
		"$CASE/events" || { grep sha256 "$CASE/events"; fail "not the image's digest"; }
	! grep -q initrd_sha256 "$CASE/events" || fail "an initrd that is not there"
	spec < <(flat longmode)
	launch
	want_status 0
	! grep -q kernel_sha256 "$CASE/events" || fail "nobody has asked for it"
}
