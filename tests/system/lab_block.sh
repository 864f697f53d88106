#!/bin/bash
# SPDX-License-Identifier: MIT
# Disks under stock Linux: file systems, fio with verification, discard, a crash of the shim.
#
# Usage: tests/system/lab_block.sh [filesystem|verify|crash|speed ...]     (all of them; run `make`
#     first)
#
# It makes a read-only disk with the tools and starts itself again inside hack/lab, with --inside.
# Each check is a line "CHECK ok …" or "CHECK FAILED …"; the status is 0 when none failed. The last
# lines say what the requests of a random read at depth 32 cost; they are figures, not checks.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly WORK=build/lab_block
readonly IMAGES=/tmp/images
failed=0

die() {
	echo "lab_block: $*" >&2
	exit 1
}

verdict() {
	local what=$1
	shift
	if "$@"; then
		echo "CHECK ok $what"
	else
		echo "CHECK FAILED $what"
		failed=1
	fi
}

# ---- outside -------------------------------------------------------------------------------------

# The libraries of a program, and its loader as ld.so.
collect_tools() {
	local root=$1 program library
	mkdir -p "$root/bin" "$root/lib"
	shift
	for program; do
		cp -L "$program" "$root/bin/"
		while read -r library; do
			cp -nL "$library" "$root/lib/"
		done < <(ldd "$program" | sed -n -e 's/.* => \(\/[^ ]*\) .*/\1/p')
		cp -L "$(ldd "$program" | sed -n 's/^\t\(\/[^ ]*ld-linux[^ ]*\) .*/\1/p')" "$root/lib/ld.so"
	done
}

outside() {
	local root modules=build/kernels/6.12/modules
	[[ -x build/axvm-shim ]] || die "build/axvm-shim is not here: run make"
	hack/install-deps build lab
	hack/fetch-kernel 6.12
	mkdir -p "$WORK"
	root=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$root'" EXIT
	collect_tools "$root" "$(command -v fio)" "$(PATH=$PATH:/sbin:/usr/sbin command -v mke2fs)"
	rm -f "$WORK/tools.img"
	PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -O ^has_journal -d "$root" "$WORK/tools.img" 256M
	gcc -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -Iruntime -static -o "$WORK/sequence" tests/system/sequence.c
	hack/make-initramfs "$WORK/initramfs.gz" --module "$modules/virtio_blk.ko" \
		--module "$modules/virtio-rng.ko" --file "$WORK/sequence:/test/sequence" \
		--file tests/system/guest_block.sh:/test/block.sh
	hack/lab --timeout 1500 -- tests/system/lab_block.sh --inside "$@"
}

# ---- inside the lab ------------------------------------------------------------------------------

# spec PHASE: the launch, with its console on fd 5 and its console's input on fd 6.
spec() {
	cat <<-END
		launch {
		  vm_id: "disks"
		  profile: "dev"
		  cpus { count: 2 paravirt { features: PV_FEATURE_KVMCLOCK } }
		  memory { nodes { size_mib: 512 } }
		  boot { linux_boot {
		    kernel { path: "build/kernels/6.12/vmlinuz" }
		    initrd { path: "$WORK/initramfs.gz" }
		    cmdline: "console=hvc0 quiet panic=-1 reboot=a mitigations=off nokaslr axvm.run=\"sh /test/block.sh $1\""
		  } }
		  console { output { fd: 5 } input { fd: 6 } }
		  disks { id: "tools" image { path: "$WORK/tools.img" } read_only: true }
		  disks { id: "first" image { path: "$IMAGES/first.img" } serial: "disk-serial-20-chars"
		          queues: 2 direct: true }
		  disks { id: "second" image { path: "$IMAGES/second.img" } queues: 2 cache: CACHE_MODE_WRITE_THROUGH }
		  rng {}
		}
	END
}

# Starts a VM in the background: its console in $console, its process in $shim.
start() {
	console=$WORK/console.$1
	: >"$console"
	spec "$1${2:+ $2}" | protoc --encode=axvm.v1.ControlStream proto/axvm.proto >"$IMAGES/control"
	rm -f "$IMAGES/input"
	mkfifo "$IMAGES/input"
	# Ours too, and read-write: to open it when the shim has died would wait for good.
	exec 6<>"$IMAGES/input"
	build/axvm-shim 3<"$IMAGES/control" 4>"$IMAGES/events" 5>>"$console" </dev/null &
	shim=$!
}

# Waits until the console has a line that matches, or the VM has ended.
await() {
	until grep -q "$1" "$console"; do
		kill -0 "$shim" 2>/dev/null || return 1
		sleep 0.2
	done
}

# Waits for the end and takes the guest's checks over.
finish() {
	local status=0
	wait "$shim" || status=$?
	tr -d '\r' <"$console" | grep -E '^(CHECK|FIO|IRQ|sequence|.*err=)' || true
	grep -q 'AXVM-GUEST-RUN: 0' "$console" || {
		echo "CHECK FAILED the guest's script ended well; its console:"
		tail -n 30 "$console"
		protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$IMAGES/events" | tail -n 60
		failed=1
	}
	verdict "exit status 0 after $1" [ "$status" = 0 ]
	! grep -q 'CHECK FAILED' "$console" || failed=1
	if protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$IMAGES/events" | grep -A7 device_failed; then
		verdict "no event about a device" false
	fi
}

blocks() { stat -c %b "$IMAGES/$1.img"; }

# The lab's tmpfs, which has O_DIRECT and holes.
make_images() {
	mkdir -p "$IMAGES"
	truncate -s 96M "$IMAGES/first.img" "$IMAGES/second.img"
}

phase_filesystem() {
	local before after
	start filesystem
	await 'FILESYSTEM written' || true
	before=$(blocks first)
	echo >&6
	finish "filesystem"
	after=$(blocks first)
	echo "blocks of the image: $before with a file of 16 MiB, $after after its removal and fstrim"
	verdict "discard gives the image's blocks back" [ "$((before - after))" -gt 28000 ]
}

phase_verify() {
	start verify
	finish "fio --verify"
}

phase_crash() {
	local last status=0
	start crash
	until [[ $(grep -c SAFE "$console") -ge 100 ]]; do
		kill -0 "$shim" 2>/dev/null || break
		sleep 0.2
	done
	kill -KILL "$shim"
	wait "$shim" 2>/dev/null || status=$?
	verdict "the shim was killed in the middle" [ "$status" = 137 ]
	# Only lines that are whole: what the reader saw is what counts.
	last=$(tr -d '\r' <"$console" | sed -n 's/^SAFE \([0-9]*\)$/\1/p' | sort -n | tail -n 1)
	[[ $(tail -c 1 "$console") == "" ]] || last=$((last - 1))
	echo "kill -9 after block $last was said to be safe"
	start recover "$last"
	finish "recovery"
}

# What the kernel counted of a process: system calls of its I/O thread, exits to user space.
histogram() {
	sed -n "s/^{ $2 *} hitcount: *\([0-9]*\).*/\1/p" "/sys/kernel/tracing/events/$1/hist" |
		awk '{ sum += $1 } END { print sum + 0 }'
}

phase_speed() {
	local requests=100000 tid
	local -A before=() after=()
	echo 'hist:keys=common_pid' >/sys/kernel/tracing/events/raw_syscalls/sys_enter/trigger
	echo 'hist:keys=reason' >/sys/kernel/tracing/events/kvm/kvm_userspace_exit/trigger
	start speed $requests
	await 'SPEED begin' || true
	tid=$(grep -lx io0 /proc/"$shim"/task/*/comm | sed 's/.*task.\([0-9]*\).*/\1/')
	before[calls]=$(histogram raw_syscalls/sys_enter "common_pid: *$tid")
	before[exits]=$(histogram kvm/kvm_userspace_exit '.*')
	echo >&6
	await 'SPEED end' || true
	after[calls]=$(histogram raw_syscalls/sys_enter "common_pid: *$tid")
	after[exits]=$(histogram kvm/kvm_userspace_exit '.*')
	echo >&6
	finish "speed"
	echo "random reads of 4 KiB at depth 32: $requests requests," \
		"$((after[calls] - before[calls])) system calls of the I/O thread," \
		"$((after[exits] - before[exits])) exits to user space (${before[exits]} before them)"
	verdict "the counters count" [ "${before[calls]}" -gt 0 -a "${before[exits]}" -gt 0 ]
}

inside() {
	local phase phases=("$@")
	(($#)) || phases=(filesystem verify crash speed)
	make_images
	for phase in "${phases[@]}"; do
		echo "== $phase"
		"phase_$phase"
	done
	((failed == 0)) || die "there are checks that failed"
	echo "all checks passed"
}

if [[ ${1:-} == --inside ]]; then
	shift
	inside "$@"
else
	outside "$@"
fi
