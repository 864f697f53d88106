#!/bin/bash
# SPDX-License-Identifier: MIT
# A sealed shim as proc(5) shows it to others: every thread, as root and as an ordinary user.
#
# usage: sandbox_outside.sh BUILD     from the project's root, as root
#
# The ordinary user gets at KVM through a device node of the test's own, in a mount namespace of the
# test's own: the machine's /dev/kvm is not touched.
set -u -o pipefail
export LC_ALL=C
build=${1:?usage: sandbox_outside.sh BUILD}
[ "$(id -u)" = 0 ] || { echo "skip outside: not root"; exit 0; }
if [ "${AXVM_OUTSIDE:-}" != inside ]; then
	AXVM_OUTSIDE=inside exec unshare --mount --propagation private "$0" "$@"
fi

work=$(mktemp -d) || exit 1
pid=
trap '[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null; umount "$work/proc" 2>/dev/null
	rm -rf --one-file-system "$work"' EXIT
chmod 711 "$work"
cp "$build/axvm-shim" "$build/axvm-shim-misbehave" "$build"/guests/{spin,idle}.bin "$work" &&
	chmod 755 "$work"/axvm-shim* &&
	chmod 644 "$work"/{spin,idle}.bin || exit 1
mknod -m 666 "$work/kvm" c 10 232 && mount --bind "$work/kvm" /dev/kvm || exit 1
user=54321
checks=0 failures=0

check() { # NAME ACTUAL EXPECTED
	local name=outside/$who/$1
	name=${name// /_}
	checks=$((checks + 1))
	[ "$2" = "$3" ] && echo "ok $name" && return
	echo "FAIL $name: \"$2\", not \"$3\""
	failures=$((failures + 1))
}

encode() { # SPEC [SED]
	sed -e "s,build/guests/,$work/," ${2:+-e "$2"} "tests/specs/$1.txtpb" |
		protoc --encode=axvm.v1.ControlStream proto/axvm.proto >"$work/spec"
}

decode() {
	protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$work/events"
}

await() { # TEXT: until the events have it; that they never have it is a failure
	local end=$((SECONDS + 60))
	until decode 2>/dev/null | grep -q "$1"; do
		if ! kill -0 "$pid" 2>/dev/null && ! decode 2>/dev/null | grep -q "$1" || ((SECONDS >= end)); then
			check "events have \"$1\"" no yes
			return
		fi
		sleep 0.01
	done
}

start() { # COMMAND PREFIX...
	: >"$work/events"
	chmod 666 "$work/events"
	"$@" "$work/axvm-shim" 3<"$work/spec" 4>"$work/events" </dev/null >/dev/null 2>"$work/errors" &
	pid=$!
	await 'stage: STAGE_SEAL'
}

finish() { # SIGNAL STATUS
	local status
	kill "-$1" "$pid"
	wait "$pid" 2>/dev/null
	status=$?
	check "status after SIG$1" $status "$2"
	check "nothing left after SIG$1" "$(ls -d "/proc/$pid" 2>/dev/null)" ""
	pid=
}

values() { # FIELD: of all threads, each once
	sed -n "s/^$1:[[:space:]]*//p" /proc/"$pid"/task/*/status | sort -u | tr '\t' ' ' | tr '\n' ';'
}

fds() { # of the thread of that name
	local task
	for task in /proc/"$pid"/task/*; do
		[ "$(cat "$task/comm")" = "$1" ] && ls "$task/fd" | sort -n | tr '\n' ' '
	done
}

sealed() { # FIELD of the Sealed event
	decode | sed -n "/^  sealed {/,/^  }/s/^    $1: //p"
}

look() { # UID GID GROUPS
	local ns none=0000000000000000
	check "capabilities" "$(for s in CapInh CapPrm CapEff CapBnd CapAmb; do values $s; done)" \
		"$none;$none;$none;$none;$none;"
	check "no new privileges" "$(values NoNewPrivs)" "1;"
	check "seccomp" "$(values Seccomp)" "2;"
	check "filters" "$(values Seccomp_filters)" "1;"
	check "uid" "$(values Uid)" "$1 $1 $1 $1;"
	check "gid" "$(values Gid)" "$2 $2 $2 $2;"
	check "groups" "$(values Groups | tr -d ' ')" "$3;"
	for ns in mnt net ipc uts cgroup; do
		check "namespace $ns" "$(for t in /proc/"$pid"/task/*/ns/$ns; do
			[ "$(readlink "$t")" != "$(readlink /proc/self/ns/$ns)" ] || echo ours; done)" ""
	done
	check "namespaces as the event says" "$(sealed namespace_inodes)" "$(sealed namespaces | tr -d '"' |
		while read -r ns; do stat -Lc %i "/proc/$pid/ns/$ns"; done)"
	check "rings tried" "$(sealed rings_restricted)" 1
	check "securebits" "$(sealed securebits_locked)" true
	check "writable or executable" "$(sealed memory_deny_write_execute)" true
	check "launcher's death" "$(sealed launcher_death_told)" false
	check "root" "$(ls -A "/proc/$pid/root/")" ""
	check "working directory" "$(readlink "/proc/$pid/cwd")" "/"
	check "mounts" "$(wc -l <"/proc/$pid/mountinfo")" 1
	check "mount options" "$(awk '{ print $6 }' "/proc/$pid/mountinfo")" \
		"ro,nosuid,nodev,noexec,relatime"
	check "file system of the root" "$(awk '{ print $NF }' "/proc/$pid/mountinfo" | tr , '\n' |
		grep -xe ro -e size=4k -e nr_inodes=1 -e mode=555 | sort | tr '\n' ' ')" "mode=555 nr_inodes=1 ro size=4k "
	check "umask" "$(values Umask)" "0077;"
	check "environment" "$(tr -d '\0' <"/proc/$pid/environ" | wc -c)" 0
	check "owner of what only a dumpable process owns" "$(stat -c %u "/proc/$pid/io")" 0
	check "core limit" "$(awk '/^Max core/ { print $5, $6 }' "/proc/$pid/limits")" "0 0"
	check "descriptor limit" "$(awk '/^Max open files/ { print $4, $5 }' "/proc/$pid/limits")" "1 1"
	check "locked memory limit" "$(awk '/^Max locked/ { print $4, $5 }' "/proc/$pid/limits")" "0 0"
	check "message queue limit" "$(awk '/^Max msgqueue/ { print $4, $5 }' "/proc/$pid/limits")" "0 0"
	check "realtime limit" "$(awk '/^Max realtime priority/ { print $4, $5 }' "/proc/$pid/limits")" "0 0"
	check "children" "$(cat /proc/"$pid"/task/*/children)" ""
	# From 7 on: the doorbells and interrupts of the one device.
	check "control's descriptors" "$(fds axvm-shim)" \
		"0 1 2 3 4 7 8 9 10 11 12 13 14 15 16 17 896 897 898 899 900 912 928 960 961 "
	check "vcpu0's descriptors" "$(fds vcpu0)" "897 901 912 "
	check "vcpu1's descriptors" "$(fds vcpu1)" "897 901 912 "
	check "io0's descriptors" "$(fds io0)" "897 912 928 "
	check "interfaces" "$(awk -F: 'NR > 2 { print $1 }' "/proc/$pid/net/dev" | tr -d ' ')" "lo"
}

as_user=(setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all)

who=root
encode spin_io
start
look 2000000077 2000000077 ""
check "not available" "$(decode | grep -c not_available)" 0
# A wait with a time limit must not come back as restart_syscall.
kill -STOP "$pid"; sleep 0.05; kill -CONT "$pid"; sleep 0.05
finish TERM 36
check "last event" "$(decode | grep -c 'terminal {')" 1

who="root, ids of the spec"
encode spin_io 's/vm_id:.*/& sandbox { uid: 4711 gid: 4712 }/'
start
look 4711 4712 ""
finish KILL 137

who=user
encode spin_io
start "${as_user[@]}"
look $user $user ""
check "namespace user" "$([ "$(readlink "/proc/$pid/ns/user")" != "$(readlink /proc/self/ns/user)" ] &&
	echo own)" own
check "ids mapped" "$(cat "/proc/$pid/uid_map" "/proc/$pid/gid_map")" ""
check "not available" "$(decode | sed -n 's/ *not_available: //p')" '"uid and gid of its own"'
finish TERM 36

# One misdeed of each kind of thread and of its ring, whoever started the shim and however many
# threads there are; sandbox_misdeeds.sh has all of them.
misdeeds() { # COMMAND PREFIX...
	local misdeed
	for misdeed in control:passwd/openat vcpu:exec/execve io:out/socket io:ring-opcode/OPENAT; do
		: >"$work/events"
		"$@" env "AXVM_MISDEED=$misdeed" timeout -s KILL 60 "$work/axvm-shim-misbehave" 3<"$work/spec" \
			4>"$work/events" </dev/null >/dev/null 2>"$work/errors"
		check "status of $misdeed" $? 77
		check "record of $misdeed" "$(decode | sed -n "/^    death {/,/^    }/s/^      \(role\|.*_name\): //p" |
			tr -d '"' | tr '\n' ' ')" "${misdeed%%:*} ${misdeed##*/} "
	done
}
misdeeds "${as_user[@]}"

# Where a user may have no user namespace: in one whose descendants are limited to none.
who="user without user namespaces"
cat >"$work/mapped" <<-'MAPPED'
	echo $$ >"$1/pid"
	for ((i = 0; i < 6000; i++)); do [ -n "$(cat /proc/self/gid_map)" ] && break; sleep 0.01; done
	shift
	exec bash "$@"
MAPPED
cat >"$work/limited" <<-LIMITED
	echo 0 >/proc/sys/user/max_user_namespaces || exit 1
	shift
	exec setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all "\$@"
LIMITED
(
	for ((i = 0; i < 6000; i++)); do [ -s "$work/pid" ] && break; sleep 0.01; done
	echo 0 0 65536 >"/proc/$(cat "$work/pid")/uid_map"
	echo 0 0 65536 >"/proc/$(cat "$work/pid")/gid_map"
) &
encode spin_io
start unshare --user bash "$work/mapped" "$work" "$work/limited" "$work"
rm -f "$work/pid"
check "not available" "$(decode | sed -n 's/ *not_available: //p' | tr '\n' ' ')" \
	'"namespaces" "empty root" "bounding set" "securebits" "uid and gid of its own" '
check "landlock" "$(decode | grep -c landlock_abi)" 1
check "filters" "$(values Seccomp_filters)" "1;"
finish TERM 36

# What lies above such a root cannot be kept from spreading: refused, not half done.
who="a chroot that is no mount"
mkdir -p "$work/proc" "$work/dev" "$work$(dirname "$work")" && ln -s / "$work$work" &&
	mknod -m 666 "$work/dev/kvm" c 10 232 && mount -t proc proc "$work/proc" || exit 1
encode spin_io
timeout -s KILL 20 chroot "$work" "$work/axvm-shim" 3<"$work/spec" 4>"$work/events" </dev/null >/dev/null 2>&1
check "status" $? 77

# Where such a root is a mount, it is put away like any other: what lies above it is not to be
# found.
who="a chroot that is a mount"
mount --rbind "$work" "$work" || exit 1
: >"$work/events"
chroot "$work" "$work/axvm-shim" 3<"$work/spec" 4>"$work/events" </dev/null >/dev/null 2>"$work/errors" &
pid=$!
await 'stage: STAGE_SEAL'
check "root" "$(ls -A "/proc/$pid/root/")" ""
check "working directory" "$(stat -Lc %d:%i "/proc/$pid/cwd")" "$(stat -Lc %d:%i "/proc/$pid/root")"
check "mount options" "$(awk '{ print $6 }' "/proc/$pid/mountinfo")" "ro,nosuid,nodev,noexec,relatime"
finish TERM 36
umount -R "$work"
umount "$work/proc"

who="PID namespace of the launcher's"
encode spin_io
start unshare --pid --fork
check "reported" "$(decode | grep -c 'namespaces: "pid"')" 1
# The shim itself is to be killed: it does not follow unshare, whose death signal its new ids have
# undone.
child=$(pgrep -P "$pid")
kill -KILL "$child"
wait "$pid" 2>/dev/null
check "nothing left after SIGKILL" "$(ls -d "/proc/$child" 2>/dev/null)" ""
pid=

who="64 vCPUs"
# They halt: with as many that spin an emulated host gets to nothing else.
encode spin_io 's/count: 2/count: 64/; s,/spin.bin,/idle.bin,'
start
check "threads" "$(decode | sed -n '/sealed {/,/^}/s/^    threads: //p')" 66
check "filters" "$(values Seccomp_filters)" "1;"
finish TERM 36
misdeeds

# No path in the spec, from a directory that anyone can write, in an environment that has the C
# library look for locales and check its heap.
who="descriptors only"
encode spin_io 's,image { path: "[^"]*" },image { fd: 5 },'
check "paths in the spec" "$(protoc --decode=axvm.v1.ControlStream proto/axvm.proto <"$work/spec" | grep -c path)" 0
mkdir -m 1777 "$work/open"
ln -s /etc "$work/open/proc"
ln -s /etc "$work/open/root"
shim=$work/axvm-shim
: >"$work/events"
(cd "$work/open" && exec env LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8 TMPDIR="$work/open" MALLOC_CHECK_=3 \
	GLIBC_TUNABLES=glibc.malloc.check=3 "$shim" 3<"$work/spec" 4>"$work/events" 5<"$work/spin.bin" \
	</dev/null >/dev/null 2>"$work/errors") &
pid=$!
await 'stage: STAGE_SEAL'
check "root" "$(ls -A "/proc/$pid/root/")" ""
check "what it left behind" "$(ls "$work/open" | tr '\n' ' ')" "proc root "
finish TERM 36
check "last event" "$(decode | grep -c 'terminal {')" 1

who="launcher's death"
encode spin_io 's/lifecycle {/& stop_when_launcher_dies: true/'
: >"$work/events"
bash -c '"$1" 3<"$2/spec" 4>"$2/events" </dev/null >/dev/null 2>&1 & echo $! >"$2/pid"; sleep 60' - \
	"$work/axvm-shim" "$work" &
launcher=$!
for ((i = 0; i < 6000; i++)); do [ -s "$work/pid" ] && break; sleep 0.01; done
pid=$(cat "$work/pid")
await 'stage: STAGE_SEAL'
kill -KILL $launcher
wait $launcher 2>/dev/null
await 'terminal {'
check "message" "$(decode | sed -n 's/^    message: //p')" '"the launcher has died"'
pid=

who="a directory handed over"
encode spin_io
: >"$work/events"
timeout -s KILL 20 "$work/axvm-shim" 3<"$work/spec" 4>"$work/events" </ >/dev/null 2>&1
check "status" $? 77
check "reason" "$(decode | grep -c 'a directory is open')" 2

who="a descriptor that is no cgroup"
encode spin_io 's/vm_id:.*/& sandbox { cgroup_fds: 5 }/'
timeout -s KILL 20 "$work/axvm-shim" 3<"$work/spec" 4>"$work/events" 5</ </dev/null >/dev/null 2>&1
check "status" $? 77

who=cgroup
group=$(awk '$3 ~ /^cgroup2?$/ && $4 !~ /(^|,)cpuset(,|$)/ { print $2 }' /proc/mounts | head -1)
skipped=0
if [ -n "$group" ] && mkdir "$group/axvm-test-$$" 2>/dev/null; then
	start 5<"$group/axvm-test-$$"
	check "members" "$(sort -u "$group/axvm-test-$$/cgroup.procs")" "$pid"
	finish TERM 36
	for ((i = 0; i < 100; i++)); do rmdir "$group/axvm-test-$$" 2>/dev/null && break; sleep 0.01; done
else
	echo "skip outside/cgroup: no cgroup file system to make a group in"
	skipped=1
fi

echo "outside: $((checks - failures)) passed, $failures failed, $skipped skipped"
[ $failures = 0 ]
