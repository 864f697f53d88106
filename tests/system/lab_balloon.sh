#!/bin/bash
# SPDX-License-Identifier: MIT
# The balloon under stock Linux: memory goes back to the host and comes back to the guest.
#
# Usage: tests/system/lab_balloon.sh [huge|reporting|pages|locked|oom]...
#        (from anywhere; needs `make` to have been run; all cases without one)
#
# It starts itself again inside hack/lab, with --inside. Each check is a line "CHECK ok …" or
# "CHECK FAILED …"; the status is 0 when none failed. FIGURE lines are what was measured, in MiB.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly WORK=build/lab_balloon
readonly PRIVATE=/tmp/balloon
failed=0
request=100

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

outside() {
	[[ -x build/axvm-shim ]] || {
		echo "lab_balloon: build/axvm-shim is not here: run make" >&2
		exit 1
	}
	hack/install-deps build lab
	hack/fetch-kernel 6.12
	mkdir -p "$WORK"
	hack/make-initramfs "$WORK/initramfs.gz" --module build/kernels/6.12/modules/virtio_balloon.ko \
		--file tests/system/guest_balloon.sh:/test/balloon.sh
	exec hack/lab --timeout 600 -- tests/system/lab_balloon.sh --inside "$@"
}

# ---- inside the lab ------------------------------------------------------------------------------

# spec PAGE-SIZE BALLOON-FIELDS
spec() {
	cat <<-END
		launch {
		  vm_id: "balloon"
		  profile: "dev"
		  cpus { count: 1 paravirt { features: PV_FEATURE_KVMCLOCK } }
		  memory { nodes { size_mib: 512 } page_size: $1 ${3:-} }
		  boot { linux_boot {
		    kernel { path: "build/kernels/6.12/vmlinuz" }
		    initrd { path: "$WORK/initramfs.gz" }
		    cmdline: "console=hvc0 quiet panic=-1 reboot=a axvm.run=\"sh /test/balloon.sh\""
		  } }
		  console { output { fd: 5 } input { fd: 6 } }
		  balloon { $2 }
		}
	END
}

send() { protoc --encode=axvm.v1.ControlStream proto/axvm.proto <<<"$1" >&8; }

start() {
	base=$PRIVATE/$1
	mkfifo "$base.control" "$base.input"
	: >"$base.console"
	exec 7<>"$base.input"
	build/axvm-shim 3<"$base.control" 4>"$base.events" 5>>"$base.console" 6<&7 </dev/null &
	shim=$!
	exec 8>"$base.control"
	send "$(spec "$2" "$3" "${4:-}")"
	await "GUEST ready"
}

# Waits until the console has a line that matches; fails when the VM ends before.
await() {
	until grep -q "$1" "$base.console"; do
		kill -0 "$shim" 2>/dev/null || return 1
		sleep 0.1
	done
}

# order WORDS: has the guest do it; sets free to the memory free afterwards, in MiB.
order() {
	obey "$@" || {
		verdict "$base: the guest does \"$*\"" false
		end "$base"
		exit 1
	}
}

obey() {
	local before
	before=$(grep -c '^GUEST' "$base.console") || true
	echo "$*" >&7
	until (($(grep -c '^GUEST' "$base.console") > before)); do
		kill -0 "$shim" 2>/dev/null || return 1
		sleep 0.1
	done
	free=$(tr -d '\r' <"$base.console" | grep '^GUEST' | tail -n 1 | cut -d' ' -f3)
}

# What the VM's process has resident, in MiB, pages of hugetlbfs included.
resident() {
	awk '/^Rss|^Private_Hugetlb/ { sum += $2 } END { print int(sum / 1024) }' "/proc/$shim/smaps_rollup"
}

# Waits, a while, until a figure of the host or the guest is as it should be.
until_resident() {
	local i
	for ((i = 0; i < 100; i++)); do
		((! ($(resident) $1))) || return 0
		sleep 0.1
	done
	return 1
}
until_free() {
	local i
	for ((i = 0; i < 60; i++)); do
		order free
		((! (free $1))) || return 0
		sleep 0.2
	done
	echo "FIGURE free in the guest: $free, expected $1"
	return 1
}

end() {
	local status=0
	echo end >&7
	wait "$shim" || status=$?
	verdict "$1: the guest powered off, status $status" test "$status" = 0
	exec 7>&- 8>&-
	((!failed)) || {
		tail -n 20 "$base.console"
		protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$base.events" | tail -n 60
	}
}

reporting() {
	start reporting PAGE_SIZE_4K 'stats_interval_s: 1'
	order fill 300
	local full
	full=$(resident)
	verdict "reporting: the guest filled its memory ($full MiB resident)" test "$full" -gt 300
	order drop
	verdict "reporting: what it freed goes back by itself" until_resident "< full - 200"
	local low
	low=$(resident)
	echo "FIGURE reporting $full -> $low"
	# More than the growth cannot be asked for: what the guest's boot once used is not touched
	# again.
	order fill 300
	verdict "reporting: and can be had again" until_resident "> low + 200"
	echo "FIGURE reporting $low -> $(resident)"
	end reporting
}

# half NAME PAGE-SIZE MEMORY-FIELDS
half() {
	local full before low
	start "$1" "$2" 'free_page_reporting: false deflate_on_oom: false' "$3"
	order fill 300
	order drop
	full=$(resident)
	before=$free
	send 'commands { request_id: 1 balloon { target_mib: 256 } }'
	verdict "$1: the guest has half" until_free "< before - 230"
	verdict "$1: the host has the other half" until_resident "< full - 200"
	low=$(resident)
	echo "FIGURE $1 resident $full -> $low, free in the guest $before -> $free"
	send 'commands { request_id: 2 balloon { target_mib: 512 } }'
	verdict "$1: the guest has all again" until_free "> before - 60"
	order fill 300
	verdict "$1: and it can be used" until_resident "> low + 200"
	echo "FIGURE $1 resident $low -> $(resident)"
	end "$1"
}

# Sets in_balloon to what is in the balloon, in MiB, by the host's counters.
inflated() {
	local seen=''
	request=$((request + 1))
	send "commands { request_id: $request metrics {} }"
	until [[ -n $seen ]]; do
		kill -0 "$shim" 2>/dev/null || return 1
		sleep 0.1
		seen=$(protoc --decode=axvm.v1.EventStream proto/axvm.proto <"$base.events" 2>/dev/null |
			awk -v id="$request" '$1 == "request_id:" { ours = $2 == id }
				ours && /"balloon.actual_bytes"/ { getline; print int($2 / 1048576); exit }') || true
	done
	in_balloon=$seen
}

# A process that needs more than the balloon has left of the guest gets it: nothing is killed.
oom() {
	local before low given
	start oom PAGE_SIZE_4K 'free_page_reporting: false'
	order fill 300
	order drop
	before=$free
	send "commands { request_id: 1 balloon { target_mib: $((512 - before + 80)) } }"
	verdict "oom: the guest is short" until_free "< 100"
	low=$(resident)
	inflated
	given=$in_balloon
	echo "FIGURE oom resident $low, free in the guest $before -> $free, in the balloon $given"
	verdict "oom: the balloon is as large as was asked for" test "$given" -ge $((before - 100))
	order need 200
	verdict "oom: a process that needs 200 MiB gets them, and none is killed" \
		grep -q 'NEED status 0, oom_kill 0' "$base.console"
	inflated
	verdict "oom: out of the balloon ($given -> $in_balloon)" test "$in_balloon" -le $((given - 90))
	verdict "oom: and of the host" until_resident "> low + 90"
	echo "FIGURE oom resident $low -> $(resident), in the balloon $given -> $in_balloon"
	end oom
}

case_reporting() { reporting; }
case_pages() { half pages PAGE_SIZE_4K ''; }
case_locked() { half locked PAGE_SIZE_4K 'populate: true lock: true'; }
case_oom() { oom; }
case_huge() {
	# On the node that the VM goes to, and first of all, while its memory is in one piece.
	echo 300 >/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages
	half huge PAGE_SIZE_2M ''
	echo 0 >/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages
}

inside() {
	local name
	mkdir -p "$PRIVATE"
	(($#)) || set -- huge reporting pages locked oom
	for name; do
		"case_$name"
	done
	((!failed))
}

if [[ ${1:-} == --inside ]]; then
	inside "${@:2}"
else
	outside "$@"
fi
