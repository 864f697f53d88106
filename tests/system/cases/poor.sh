# SPDX-License-Identifier: MIT
# Machines that lack something, or keep it from the shim: a container's seccomp profile, sysctls, a
# chroot. The launch names the cause and what to do, and `axvm probe` says the same before.

DENY=$BUILD/tests/deny

# under WHAT...: runs the shim on the kept spec where these are denied (tests/system/deny.c); WRAP
# is a command before it.
under() {
	# shellcheck disable=SC2086
	(cd "$CASE/cwd" && exec ${WRAP:-} "$SPAWN" run "$DENY" "$@" -- "$SHIM" 3<"$CASE/spec.pb" 4>"$CASE/events.pb")
	status=$?
	decode
}

# tells PATTERN...: the terminal event has a message in which all of them are, in this order.
tells() {
	local pattern="" one
	for one in "$@"; do
		pattern+=".*$one"
	done
	want "message: \"$pattern.*\""
}

# probed WHAT... : `axvm probe` and `axvm admit` where these are denied; into $CASE/probe and
# $CASE/admit.
probed() {
	${WRAP:-} "$DENY" "$@" -- "$BUILD/axvm" probe >"$CASE/probe" || fail "axvm probe: $?"
	${WRAP:-} "$DENY" "$@" -- "$BUILD/axvm" probe --text >"$CASE/probe.txtpb" || fail "axvm probe --text: $?"
	${WRAP:-} "$DENY" "$@" -- "$BUILD/axvm" admit --profile dev >"$CASE/admit"
	admitted=$?
}

# foretold: the launch's first message is one that `axvm probe` begins with, that `axvm admit`
# refuses for, and that is in the facts.
foretold() {
	local message
	message=$(sed -n 's/^ *message: "\(.*\)"$/\1/p' "$CASE/terminal" | head -n 1 | sed "s/\\\\'/'/g")
	grep -qxF "lacking          $message" "$CASE/probe" || { cat "$CASE/probe"; fail "axvm probe does not say: $message"; }
	head -n 1 "$CASE/probe" | grep -q '^lacking ' || fail "axvm probe does not begin with it"
	grep -qxF "lacking: $message" "$CASE/admit" || { cat "$CASE/admit"; fail "axvm admit does not say it"; }
	[ "$admitted" = 69 ] || fail "axvm admit: status $admitted"
	sed "s/\\\\'/'/g" "$CASE/probe.txtpb" | grep -qF "message: \"$message\"" || fail "the facts do not have it"
}

test_poor_io_uring_denied() {
	need_kvm
	spec < <(flat reset -b 'local_apic: true' -l 'rng {}')
	under io_uring
	want_error 69 HOST_LIMIT
	tells 'cannot create an I/O ring \(io_uring\): a seccomp filter' 'profile' '--security-opt seccomp=FILE'
	probed io_uring
	foretold
}

# A VM without devices wants no ring.
test_poor_io_uring_denied_and_not_needed() {
	need_kvm
	spec < <(flat reset -b 'local_apic: true')
	under io_uring
	want_status 32
}

# So answer container engines that do not know a call. The kernel here has io_uring, as its sysctl
# shows.
test_poor_io_uring_hidden() {
	need_kvm
	[ -e /proc/sys/kernel/io_uring_disabled ] || skip "this kernel has no kernel.io_uring_disabled (Linux 6.6)"
	spec < <(flat reset -b 'local_apic: true' -l 'rng {}')
	under io_uring:ENOSYS
	want_error 69 HOST_LIMIT
	tells 'io_uring' 'a seccomp filter' 'io_uring_register'
	probed io_uring:ENOSYS
	foretold
}

# It may ask for a ring, and then not make it into one that the sandbox wants.
test_poor_io_uring_register_denied() {
	need_kvm
	spec < <(flat reset -b 'local_apic: true' -l 'rng {}')
	under io_uring_register
	want_error 69 HOST_LIMIT
	tells 'io_uring' 'a seccomp filter'
}

# The sysctl's value is one file over another; the refusal, which would be the kernel's, is a
# filter's.
test_poor_io_uring_switched_off() {
	need_kvm
	need_mounts
	[ -e /proc/sys/kernel/io_uring_disabled ] || skip "this kernel has no kernel.io_uring_disabled (Linux 6.6)"
	spec < <(flat reset -b 'local_apic: true' -l 'rng {}')
	echo 2 >"$CASE/two"
	cat >"$CASE/wrap" <<-'END'
		mount --make-rprivate / && mount --bind "$0" /proc/sys/kernel/io_uring_disabled || exit 99
		exec "$@"
	END
	WRAP="unshare -m $BASH $CASE/wrap.sh"
	sed "s|\"\$0\"|'$CASE/two'|" "$CASE/wrap" >"$CASE/wrap.sh"
	under io_uring
	want_error 69 HOST_LIMIT
	tells 'kernel.io_uring_disabled is 2' 'sysctl kernel.io_uring_disabled=0'
	probed io_uring
	foretold
}

test_poor_namespaces_denied() {
	need_kvm
	need_root
	spec < <(flat reset)
	under namespaces
	want_error 77 SANDBOX_FAILED
	tells 'cannot leave the launcher.*namespaces: a seccomp filter' 'allows namespaces and mounts'
	probed namespaces
	foretold
}

test_poor_namespaces_denied_without_sys_admin() {
	need_kvm
	need_root
	spec < <(flat reset)
	WRAP="setpriv --bounding-set -sys_admin"
	under namespaces
	want_error 77 SANDBOX_FAILED
	tells 'a seccomp filter' '--cap-add SYS_ADMIN'
	probed namespaces
	foretold
}

test_poor_mounts_denied() {
	need_kvm
	need_root
	spec < <(flat reset)
	under mounts
	want_error 77 SANDBOX_FAILED
	tells 'a file system for the root: a seccomp filter' 'namespaces and mounts'
	probed mounts
	foretold
}

# A limit of a user namespace of the test's own: nobody else sees it.
test_poor_no_network_namespace_left() {
	need_kvm
	need_root
	unshare -U -r true 2>/dev/null || skip "no user namespaces here"
	spec < <(flat reset)
	cat >"$CASE/wrap" <<-'END'
		echo 0 >/proc/sys/user/max_net_namespaces || exit 99
		exec "$@"
	END
	WRAP="unshare -U -r $BASH $CASE/wrap"
	under
	want_error 77 SANDBOX_FAILED
	tells 'user.max_net_namespaces is 0' 'sysctl user.max_net_namespaces='
	probed
	foretold
}

# Of an ordinary user the host may say so, and the launch goes on; the probe tells it all the same.
test_poor_no_user_namespaces() {
	need_kvm
	need_root
	unshare -U -r true 2>/dev/null || skip "no user namespaces here"
	spec < <(flat reset)
	cat >"$CASE/wrap" <<-'END'
		echo 0 >/proc/sys/user/max_user_namespaces || exit 99
		exec setpriv --bounding-set -sys_admin "$@"
	END
	WRAP="unshare -U -r $BASH $CASE/wrap"
	under
	want_status 32
	grep -q 'not_available: "namespaces"' "$CASE/events" || fail "the Sealed event does not say so"
	probed
	grep -q '^namespaces *not available: a launch goes on .*: user.max_user_namespaces is 0; raise it' "$CASE/probe" ||
		{ grep '^namespaces' "$CASE/probe"; fail "axvm probe does not say it"; }
	grep -q '^lacking' "$CASE/probe" && fail "axvm probe says that launches are refused"
	[ "$admitted" = 0 ] || fail "axvm admit: status $admitted"
}

test_poor_mbind_denied() {
	need_kvm
	echo "launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: 1 } memory { nodes { size_mib: 16 host_node: 0 } }
		boot { flat_boot { image { path: \"$GUESTS/reset.bin\" } } } }" >"$CASE/text"
	spec <"$CASE/text"
	under mbind
	want_error 69 HOST_LIMIT 'memory.nodes[0]'
	tells 'mbind' 'a seccomp filter' 'CAP_SYS_NICE'
	probed mbind
	grep -q '^memory_policy *not available: .*a seccomp filter' "$CASE/probe" || fail "axvm probe does not say it"
	[ "$admitted" = 0 ] || fail "axvm admit refuses a host for what few launches ask for"
}

# It is asked for only where a node was chosen: by the spec, or by the plan, on a host of several.
test_poor_mbind_denied_and_not_needed() {
	need_kvm
	spec < <(flat reset)
	under mbind
	if [ -e /sys/devices/system/node/node1 ]; then
		want_error 69 HOST_LIMIT 'memory.nodes[0]'
	else
		want_status 32
	fi
}

# A directory with what the shim needs, and no mount point.
test_poor_chroot() {
	need_kvm
	need_mounts
	spec < <(flat 'fd: 5')
	mkdir -p "$CASE/jail/proc" "$CASE/jail/dev"
	cp "$SHIM" "$CASE/jail/shim"
	cat >"$CASE/wrap" <<-END
		mount --make-rprivate / && mount -t proc none '$CASE/jail/proc' && : >'$CASE/jail/dev/kvm' &&
			mount --bind /dev/kvm '$CASE/jail/dev/kvm' && \$MORE || exit 99
		cd '$CASE/cwd' && exec '$SPAWN' run $(type -P chroot) '$CASE/jail' /shim
	END
	MORE=true unshare -m "$BASH" "$CASE/wrap" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" 5<"$GUESTS/reset.bin"
	status=$?
	decode
	want_error 77 SANDBOX_FAILED
	tells 'cannot keep mounts from spreading: the root directory is no mount point' 'mount --bind DIR DIR'
	# What it says to do is what helps.
	MORE="mount --rbind $CASE/jail $CASE/jail" \
		unshare -m "$BASH" "$CASE/wrap" 3<"$CASE/spec.pb" 4>"$CASE/events.pb" 5<"$GUESTS/reset.bin"
	status=$?
	decode
	want_status 32
}

# `axvm` wants its libraries there: a recursive bind of "/" below a directory that is none, or is
# one.
test_poor_chroot_is_probed() {
	need_mounts
	mkdir -p "$CASE/jail"
	cat >"$CASE/wrap" <<-END
		mount --make-rprivate / && mkdir '$CASE/jail/lib' '$CASE/jail/lib64' '$CASE/jail/usr' '$CASE/jail/proc' \
			'$CASE/jail/sys' '$CASE/jail/axvm' && mount --bind '$BUILD' '$CASE/jail/axvm' || exit 99
		for d in lib lib64 usr proc sys; do mount --rbind "/\$d" "$CASE/jail/\$d" || exit 99; done
		chroot '$CASE/jail' /axvm/axvm probe
	END
	unshare -m "$BASH" "$CASE/wrap" >"$CASE/probe" || fail "axvm probe: $?"
	grep -q '^lacking  *cannot make an empty root: the root directory is no mount point.*mount --bind' "$CASE/probe" ||
		{ head -n 20 "$CASE/probe"; fail "axvm probe does not say it"; }
	grep -qx 'namespaces       available' "$CASE/probe" || fail "axvm probe finds no namespaces"
}

# As in a container that has nothing: three reasons in one event, of two stages.
test_poor_everything_at_once() {
	need_mounts
	spec < <(flat reset -b 'local_apic: true' -l 'rng {}')
	LIMITED="$DENY io_uring namespaces mbind --"
	with_dev 'mount -t tmpfs none /dev'
	want_status 69
	want 'code: ERROR_CODE_KVM_MISSING' 'code: ERROR_CODE_HOST_LIMIT' 'code: ERROR_CODE_SANDBOX_FAILED'
	tells 'there is no /dev/kvm: load kvm_' '--device /dev/kvm'
	tells 'io_uring' 'seccomp'
	tells 'namespaces: a seccomp filter'
}

# The same for an ordinary user, who has no namespaces made ahead: a child tries.
test_poor_everything_at_once_as_nobody() {
	need_mounts
	spec < <(flat 'fd: 5' -b 'local_apic: true' -l 'rng {}')
	as_nobody
	cp "$DENY" "$CASE/deny"
	LIMITED="$CASE/deny io_uring namespaces --"
	with_dev 'mount -t tmpfs none /dev' 5<"$GUESTS/reset.bin"
	want_status 69
	want 'code: ERROR_CODE_KVM_MISSING' 'code: ERROR_CODE_HOST_LIMIT' 'code: ERROR_CODE_SANDBOX_FAILED'
	tells 'namespaces: a seccomp filter'
}

# The first line says what is lacking and what to do: of probe, admit and run.
test_poor_commands_without_kvm() {
	local line
	need_mounts
	flat reset >"$CASE/vm.txtpb"
	cat >"$CASE/wrap" <<-'END'
		mount --make-rprivate / && mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 || exit 99
		exec "$@"
	END
	without_kvm() { unshare -m "$BASH" "$CASE/wrap" "$BUILD/axvm" "$@"; }
	line=$(without_kvm probe | head -n 1)
	[[ $line =~ ^lacking\ +there\ is\ no\ /dev/kvm,.*:\ .+ ]] || fail "axvm probe begins: $line"
	without_kvm admit --profile dev >"$CASE/out"
	[ $? = 69 ] || fail "axvm admit does not refuse"
	line=$(head -n 1 "$CASE/out")
	[[ $line =~ ^lacking:\ there\ is\ no\ /dev/kvm,.*:\ .+ ]] || fail "axvm admit begins: $line"
	without_kvm run "$CASE/vm.txtpb" >"$CASE/out" 2>&1
	[ $? = 69 ] || fail "axvm run does not end with 69"
	grep -q 'there is no /dev/kvm: load kvm_' "$CASE/out" || { cat "$CASE/out"; fail "axvm run does not say it"; }
	line=$(head -n 1 "$CASE/out")
	[[ $line == *'there is no /dev/kvm: load kvm_'* ]] || fail "axvm run begins: $line"
}

# README.md's five minutes, pasted where there is no KVM: they say at once what to do instead, and
# come to an end.
test_poor_readme_without_kvm() {
	need_mounts
	command -v protoc >/dev/null || skip "no protoc here"
	scratch
	fenced | sed -E 's/^(make (demo|check))\b/: #/' >commands
	echo 'echo the end' >>commands
	cat >"$CASE/wrap" <<-'END'
		mount --make-rprivate / && mount -t tmpfs none /dev || exit 99
		for d in null:3 zero:5 urandom:9; do mknod -m 666 "/dev/${d%:*}" c 1 "${d#*:}"; done
		exec timeout 100 "$BASH" commands
	END
	XDG_RUNTIME_DIR=$CASE unshare -m "$BASH" "$CASE/wrap" >out 2>err </dev/null ||
		{ tail -n 5 err; fail "it does not come to an end"; }
	grep -q '^No KVM for you here: make lab-shell' out || fail "it does not say what to do"
	[ "$(tail -n 1 out)" = "the end" ] || fail "it stops before the end"
	cd "$ROOT" || exit 1
	rm -rf "$CASE/clone"
}
