#!/bin/bash
# SPDX-License-Identifier: MIT
# What Debian's archive has that starts by the Linux boot protocol or by PVH, under axvm-shim.
#
# Usage: tests/system/lab_foreign.sh [NAME]...      (needs `make` to have been run; all without a
#                                                   name)
#
# Fetches, and starts itself again inside hack/lab with --inside. One line a guest: "ok NAME: what
# came of it" or "FAILED NAME: …", in the words of the table below: init is reached and the guest
# powers off; or it runs and uses its memory, for those that have nothing to say here; or it is
# refused, with these words.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly WORK=build/lab_foreign
trap 'rm -rf "$WORK"/.unpack.*' EXIT
# In seconds of the lab's clock.
readonly LIMIT=60

# name | package it is in, or - for hack/fetch-kernel | file | init, runs, or the words of the
# refusal
readonly GUESTS="
6.12           | - | vmlinuz | init
6.12-elf       | - | vmlinux | init
6.12-amd64     | - | vmlinuz | init
6.12-amd64-elf | - | vmlinux | init
6.12-rt        | - | vmlinuz | init
6.12-rt-elf    | - | vmlinux | init
6.1            | - | vmlinuz | init
6.1-elf        | - | vmlinux | init
6.1-amd64      | - | vmlinuz | init
6.1-amd64-elf  | - | vmlinux | init
6.1-rt         | - | vmlinuz | init
6.1-rt-elf     | - | vmlinux | init
memtest64      | memtest86+                | boot/memtest86+x64.bin | runs
memtest32      | memtest86+                | boot/memtest86+ia32.bin | it is a 32-bit kernel
ipxe           | ipxe                      | boot/ipxe.lkrn | the kernel speaks boot protocol 2.07
grub-lnxboot   | grub-pc-bin               | usr/lib/grub/i386-pc/lnxboot.img | the kernel speaks boot protocol 2.03
grub-pvh       | grub-xen-bin              | grub-pvh.elf | an ELF file, but not for x86-64 (class 1,
xen            | xen-hypervisor-4.17-amd64 | xen.elf | an ELF file, but not for x86-64 (class 1,
xen-gz         | xen-hypervisor-4.17-amd64 | boot/xen-4.17-amd64.gz | the kernel is a gzip file: unpack it first
u-boot         | u-boot-qemu               | usr/lib/u-boot/qemu-x86_64/uboot.elf | an ELF file without a PVH entry note
"

die() {
	echo "lab_foreign: $*" >&2
	exit 69
}

# Unpacks a package, which is not installed, into $WORK/PACKAGE.
unpack() {
	local work
	[[ ! -d $WORK/$1 ]] || return 0
	work=$(mktemp -d "$WORK/.unpack.XXXXXX")
	(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$1" >&2) || die "cannot download $1"
	dpkg -x "$work"/*.deb "$work/x" || die "cannot unpack $1"
	mv -T "$work/x" "$WORK/$1"
	rm -rf "$work"
}

# What a package does not have ready: GRUB's image is put together by its user, Xen's is compressed.
prepare_grub-pvh() {
	unpack grub-common
	"$WORK/grub-common/usr/bin/grub-mkimage" -d "$WORK/grub-xen-bin/usr/lib/grub/i386-xen_pvh" -O i386-xen_pvh \
		-o "$WORK/grub-xen-bin/grub-pvh.elf" -p /boot echo
}
prepare_xen() { gzip -dc "$WORK/$1/boot/xen-4.17-amd64.gz" >"$WORK/$1/xen.elf"; }

# The drivers without which a guest has no console and no power button, where they are not built in.
prepare_linux() {
	local arguments=() name
	for name in virtio_pci virtio_console button; do
		[[ ! -e build/kernels/$1/modules/$name.ko ]] || arguments+=(--module "build/kernels/$1/modules/$name.ko")
	done
	hack/make-initramfs "$WORK/$1.initramfs.gz" "${arguments[@]}"
}

# each FUNCTION [NAME]...: calls it for each guest of that name, all without one: NAME PACKAGE FILE
# WANTED
each() {
	local function=$1 name package file wanted
	shift
	while IFS='|' read -r name package file wanted; do
		read -r name <<<"$name"
		[[ -n $name ]] || continue
		(($# == 0)) || [[ " $* " == *" $name "* ]] || continue
		read -r package <<<"$package"
		read -r file <<<"$file"
		read -r wanted <<<"$wanted"
		"$function" "$name" "$package" "$file" "$wanted"
	done <<<"$GUESTS"
}

prepare() {
	if [[ $2 == - ]]; then
		hack/fetch-kernel "${1%-elf}"
		[[ $1 == *-elf ]] || prepare_linux "$1"
	else
		unpack "$2"
		[[ $(type -t "prepare_$1") != function ]] || "prepare_$1" "$2"
	fi
}

outside() {
	[[ -x build/axvm-shim ]] || die "build/axvm-shim is not here: run make"
	hack/install-deps build lab
	mkdir -p "$WORK"
	each prepare "$@"
	hack/lab --timeout 2400 --silence 400 -- tests/system/lab_foreign.sh --inside "$@"
}

# ---- inside the lab ------------------------------------------------------------------------------

failed=0
passed=0
verdict() { # STATUS NAME WORDS
	if (($1 == 0)); then
		passed=$((passed + 1))
		echo "ok $2: $3"
	else
		failed=$((failed + 1))
		echo "FAILED $2: $3"
	fi
}

# start KERNEL FIELDS-OF-LINUX MIB CPUS: sets shim, base; the console is in $base.console.
start() {
	base=$private/guest
	rm -f "$base".*
	: >"$base.console"
	protoc --encode=axvm.v1.ControlStream proto/axvm.proto >"$base.spec" <<-END
		launch { vm_id: "foreign" profile: "dev" cpus { count: $4 paravirt { features: PV_FEATURE_KVMCLOCK } }
		  memory { nodes { size_mib: $3 } } boot { linux_boot { kernel { path: "$1" } $2 } }
		  console { output { path: "$base.console" } } lifecycle { shutdown_timeout_ms: 100 } }
	END
	build/axvm-shim 3<"$base.spec" 4>"$base.events" 2>/dev/null </dev/null &
	shim=$!
	(sleep "$LIMIT" && kill -KILL "$shim") 2>/dev/null &
	watchdog=$!
}

# finish: sets status, outcome, and message of the last event.
finish() {
	status=0
	wait "$shim" || status=$?
	kill "$watchdog" 2>/dev/null || true
	protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$base.events" >"$base.text" || true
	outcome=$(sed -n 's/.*outcome: //p' "$base.text")
	message=$(sed -n 's/.*message: "\(.*\)"$/\1/p' "$base.text" | tail -n 1)
}

boots() { # NAME KERNEL
	local kernel=build/kernels/${1%-elf} release
	start "$2" "initrd { path: \"$WORK/${1%-elf}.initramfs.gz\" } cmdline: \"console=hvc0 quiet panic=-1\"" 512 2
	finish
	release=$(<"$kernel/release")
	if grep -q AXVM-GUEST-INIT "$base.console" && grep -qF " $release " "$base.console" &&
		grep -q 'nproc: 2' "$base.console" && [[ $status == 0 ]]; then
		verdict 0 "$1" "$release, init reached with 2 vCPUs, powered off"
	else
		verdict 1 "$1" "$release, status $status, $outcome: $message"
		tail -n 5 "$base.console"
	fi
}

# It has touched three quarters of its RAM, and is ended from outside.
runs() { # NAME KERNEL
	local kib=0
	start "$2" '' 64 1
	while kill -0 "$shim" 2>/dev/null && ((kib < 48 * 1024)); do
		sleep 0.2
		kib=$(awk '/^Rss/ { print $2 }' "/proc/$shim/smaps_rollup" 2>/dev/null) || break
	done
	kill -TERM "$shim" 2>/dev/null || true
	finish
	if ((kib >= 48 * 1024)) && [[ $outcome == STOPPED_BY_HOST ]]; then
		verdict 0 "$1" "runs: $((kib / 1024)) of 64 MiB in use"
	else
		verdict 1 "$1" "${kib:-0} KiB in use; status $status, $outcome: $message"
	fi
}

inside_one() { # NAME PACKAGE FILE WANTED
	local kernel=$WORK/$2/$3
	[[ $2 != - ]] || kernel=build/kernels/${1%-elf}/$3
	case $4 in
	init) boots "$1" "$kernel" ;;
	runs) runs "$1" "$kernel" ;;
	*)
		start "$kernel" '' 64 1
		finish
		if [[ $status == 65 && $message == *"$4"* ]]; then
			verdict 0 "$1" "refused: ${message#launch failed: }"
		else
			verdict 1 "$1" "status $status, $outcome: $message; wanted: $4"
		fi
		;;
	esac
}

if [[ ${1:-} == --inside ]]; then
	shift
	private=$(mktemp -d)
	each inside_one "$@"
	echo "$passed passed, $failed failed, 0 skipped"
	((failed == 0 && passed > 0))
else
	outside "$@"
fi
