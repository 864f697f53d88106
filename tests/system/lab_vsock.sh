#!/bin/bash
# SPDX-License-Identifier: MIT
# vsock under stock Linux: both ways, 200 connections at once, a reader that stalls.
#
# Usage: tests/system/lab_vsock.sh          (from anywhere; needs `make` to have been run)
#
# It starts itself again inside hack/lab, with --inside. Each check is a line "CHECK ok …" or
# "CHECK FAILED …"; the status is 0 when none failed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly WORK=build/lab_vsock
readonly CONSOLE=/tmp/vsock.console
readonly CHECKS=12 # that both sides make

outside() {
	local modules=build/kernels/6.12/modules
	[[ -x build/axvm-shim && -x build/guests/linux/vsock_guest ]] || {
		echo "lab_vsock: build/axvm-shim or a guest is not here: run make" >&2
		exit 1
	}
	hack/install-deps build lab
	hack/fetch-kernel 6.12
	mkdir -p "$WORK"
	gcc -std=gnu17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -Iruntime -o "$WORK/vsock_host" \
		tests/system/vsock_host.c
	hack/make-initramfs "$WORK/initramfs.gz" --module "$modules/vmw_vsock_virtio_transport.ko" \
		--file build/guests/linux/vsock_guest:/test/vsock_guest
	exec hack/lab --timeout 600 -- tests/system/lab_vsock.sh --inside
}

spec() {
	cat <<-END
		launch {
		  vm_id: "vsock"
		  profile: "dev"
		  cpus { count: 2 paravirt { features: KVMCLOCK } }
		  memory { nodes { size_mib: 256 } }
		  boot { linux {
		    kernel { path: "build/kernels/6.12/vmlinuz" }
		    initrd { path: "$WORK/initramfs.gz" }
		    cmdline: "console=hvc0 quiet panic=-1 reboot=a axvm.run=/test/vsock_guest"
		  } }
		  console { output { path: "$CONSOLE" } }
		  vsock { cid: 3 channel { fd: 10 } }
		}
	END
}

inside() {
	local status=0 checks
	spec | protoc --encode=axvm.v1.ControlStream proto/axvm.proto >/tmp/vsock.control
	"$WORK/vsock_host" build/axvm-shim 3</tmp/vsock.control 4>/tmp/vsock.events </dev/null \
		>/tmp/vsock.host || status=$?
	checks=$(tr -d '\r' <"$CONSOLE" | cat - /tmp/vsock.host | grep -E '^(CHECK|FIGURE)') || true
	echo "$checks"
	if ((status)) || [[ $(grep -c '^CHECK ok' <<<"$checks") != "$CHECKS" ]] ||
		grep -q '^CHECK FAILED' <<<"$checks"; then
		echo "CHECK FAILED $CHECKS checks and status 0 (status $status); console and events:"
		tail -n 30 "$CONSOLE"
		protoc --decode=axvm.v1.EventStream proto/axvm.proto </tmp/vsock.events | tail -n 60
		return 1
	fi
}

if [[ ${1:-} == --inside ]]; then
	inside
else
	outside
fi
