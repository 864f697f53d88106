#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes each system call of a launch fail with each error that it can fail with, for several kinds
# of launch (failing.c). Some minutes. Prints a line a kind of launch, then the count.
set -u
cd "$(dirname "$0")/../.." || exit 1
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
CASE=$TMP
. tests/system/lib.sh
mkdir "$TMP/cwd"
truncate -s 1M "$TMP/image"

readonly APIC='local_apic: true'
readonly DISK="disks { id: 'a' image { path: '$TMP/image' } read_only: true queues: 2 }"
passed=0 failed=0 skipped=0

# What launches can leave behind: files, huge pages, cgroups, mounts, network devices.
traces() {
	ls -A "$TMP/cwd"
	find /sys/fs/cgroup -maxdepth 4 -type d -name "*$VM*" 2>/dev/null
	wc -l </proc/self/mounts
	ls /sys/class/net
}

# Pages go back to the pool when the last process is gone for good, which may take a moment.
pages_are_back() {
	local try
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(huge_pages_used)" -le "$1" ] && return
		sleep "0.$try"
	done
	echo "huge pages: $1 in use before, $(huge_pages_used) after" >>"$TMP/out"
	return 1
}

# try NAME [COMMAND BEFORE IT...]: the kept spec.
try() {
	local name=$1 before pages
	shift
	pages=$(huge_pages_used)
	before=$(traces)
	if (cd "$TMP/cwd" && "$@" "$BUILD/tests/failing" -a "$SHIM" "$TMP/spec.pb") >"$TMP/out" 2>&1 &&
		[ "$(traces)" = "$before" ] && pages_are_back "$pages"; then
		passed=$((passed + 1))
		echo "ok    $name: $(tail -n 1 "$TMP/out")"
	else
		failed=$((failed + 1))
		echo "FAIL  $name"
		tail -n 40 "$TMP/out"
		diff <(echo "$before") <(traces)
	fi
}

(need_kvm) || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }

spec < <(flat power_off -b "$APIC" -M 'populate: true' -l "rng {} $DISK")
try 'a disk and random bytes'

spec < <(flat vcpus -c 3 -M 'populate: true lock: true page_size: PAGE_SIZE_THP nodes { size_mib: 16 }' -m 8)
try 'three vCPUs, two nodes, locked memory' 

spec < <(flat power_off -c 2 -b "$APIC" -l "console { output { fd: 9 } } balloon {} $DISK
	nets { id: 'n' tap { fd: 7 } } vsock { cid: 3 channel { fd: 8 } } ")
if [ -c /dev/net/tun ] && unshare -n true 2>/dev/null && command -v python3 >/dev/null; then
	try 'all devices' unshare -n python3 "$ROOT/tests/system/peer.py" idle 9>/dev/null
else
	skipped=$((skipped + 1))
	echo "skip  all devices: no TAP or no network namespaces here"
fi

if [ "$(huge_pages_free)" -ge 24 ]; then
	spec < <(flat power_off -b "$APIC" -M 'page_size: PAGE_SIZE_2M populate: true')
	try 'huge pages'
else
	skipped=$((skipped + 1))
	echo "skip  huge pages: fewer than 24 are free"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
