#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The guest's side of lab_net.sh: sh guest_net.sh CASE. The host is 10.77.0.1, its listeners are at 5001
# (sends a file) and 5002 (takes one).
# shellcheck shell=dash
host=10.77.0.1

check() {
	what=$1
	shift
	if "$@"; then echo "CHECK ok $what"; else echo "CHECK FAILED $what"; fi
}

carrier_is() { [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = "$1" ]; }
await_carrier() {
	for _ in $(seq 200); do
		! carrier_is "$1" || return 0
		usleep 50000
	done
	return 1
}
now() { cut -d' ' -f1 /proc/uptime; }
took() { echo "TIME $1 $(awk "BEGIN { print $3 - $2 }")"; }

check "the interface is there" [ -e /sys/class/net/eth0 ]
ip link set eth0 up
ip addr add 10.77.0.2/24 dev eth0
check "the link is up" await_carrier 1
echo "MAC $(cat /sys/class/net/eth0/address)"
echo "MTU $(cat /sys/class/net/eth0/mtu)"
echo "QUEUES $(find /sys/class/net/eth0/queues -name 'rx-*' | wc -l)"
echo "FEATURES $(cat /sys/class/net/eth0/device/features)"
check "ping" ping -q -c 3 -i 0.2 -W 5 $host

transfer() {
	before=$(now)
	# A stdin that neither ends nor says anything: nc leaves at the first end of file.
	mkfifo /tmp/idle
	nc $host 5001 >/tmp/data 0<>/tmp/idle
	took down "$before" "$(now)"
	echo "SUM down $(sha256sum </tmp/data | cut -d' ' -f1)"
	before=$(now)
	nc $host 5002 </tmp/data
	took up "$before" "$(now)"
}

case $1 in
transfer) transfer ;;
removal)
	echo "GUEST ready"
	check "the link goes down when the TAP is removed" await_carrier 0
	check "the guest goes on" sh -c 'echo yes >/tmp/file && grep -q yes /tmp/file'
	;;
esac
