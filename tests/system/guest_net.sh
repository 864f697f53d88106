#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The guest's side of lab_net.sh (transfer) and of lab-cases-net (tour, one_pair): sh guest_net.sh
# WHAT [ARGUMENT]... On the host net_guest serves at 10.77.0.1.
# shellcheck shell=dash
host=10.77.0.1

check() {
	what=$1
	shift
	if "$@"; then echo "CHECK ok $what"; else echo "CHECK FAILED $what"; fi
}

interface=eth0
carrier_is() { [ "$(cat "/sys/class/net/$interface/carrier" 2>/dev/null)" = "$1" ]; }
await_carrier() {
	for _ in $(seq 200); do
		! carrier_is "$1" || return 0
		usleep 50000
	done
	return 1
}
# The device's first octet is made that of a locally administered address: proto/axvm.proto,
# Net.mac.
derived_mac() {
	sum=$(printf %s "$1" | sha256sum)
	first=$(printf %02x $(((0x$(echo "$sum" | cut -c1-2) & 0xfc) | 2)))
	echo "$first$(echo "$sum" | cut -c3-12 | sed 's/../:&/g')"
}
has_mac() { [ "$(cat "/sys/class/net/$1/address")" = "$2" ]; }
has_mtu() { [ "$(cat "/sys/class/net/$1/mtu")" = "$2" ]; }
# Bits of virtio features as sysfs has them, from bit 0 on.
has_features() {
	for bit in $3; do
		[ "$(cut -c$((bit + 1)) "/sys/class/net/$1/device/features")" = "$2" ] || return 1
	done
}
# Interrupts of each receive and transmit queue of the first device.
all_queues_used() {
	[ "$(grep -cE 'virtio[0-9]+-(input|output)\.[0-3]$' /proc/interrupts)" -ge 8 ] || return 1
	for queue in input.0 input.1 input.2 input.3 output.0 output.1 output.2 output.3; do
		grep -E "$1-$queue\$" /proc/interrupts |
			awk '{ for (i = 2; i <= 5; i++) n += $i } END { exit n == 0 }' || return 1
	done
}

# Two devices: eth0 with four pairs and offloads, eth1 with one and without; the TAP of eth1 is
# removed.
tour() {
	offloads="0 1 7 8 11 12"
	check "the address follows from the names" has_mac eth0 "$(derived_mac net/net0)"
	check "the address is the spec's" has_mac eth1 02:00:00:00:00:07
	check "the MTU is the spec's" has_mtu eth0 1400
	check "offloads are offered" has_features eth0 1 "$offloads"
	check "no offloads are offered" has_features eth1 0 "$offloads"
	check "another address is taken" ip link set eth1 address 02:00:00:00:00:99
	ip addr add 10.77.0.2/24 dev eth0
	ip addr add 10.78.0.2/24 dev eth1
	ip link set eth0 up
	ip link set eth1 up
	interface=eth1
	check "the links are up" await_carrier 1
	check "four pairs, both ways" net_guest transfer 10.77.0.1 2048 4
	device=$(readlink -f /sys/class/net/eth0/device)
	check "each queue has been used" all_queues_used "${device##*/}"
	check "receive modes are taken" ifconfig eth0 promisc allmulti
	check "one pair is set" net_guest channels eth0 1
	check "one pair, both ways" net_guest transfer 10.77.0.1 4096 1
	check "without offloads, both ways" net_guest transfer 10.78.0.1 2048 1
	echo "GUEST ready"
	check "the link goes down when the TAP is removed" await_carrier 0
	check "the other device goes on" net_guest transfer 10.77.0.1 1024 1
}
# One device with one pair, of rings with so many entries.
pair_up() {
	ip link set eth0 up
	ip addr add 10.77.0.2/24 dev eth0
	await_carrier 1
}
one_pair() {
	check "the link is up" pair_up
	check "rings of $1 entries" net_guest rings eth0 "$1"
	check "both ways" net_guest transfer 10.77.0.1 4096 1
	device=$(readlink -f /sys/class/net/eth0/device)
	for verb in unbind bind; do
		echo "${device##*/}" >"/sys/bus/virtio/drivers/virtio_net/$verb"
	done
	check "the link is up after a reset" pair_up
	check "both ways after a reset" net_guest transfer 10.77.0.1 4096 1
	# As a balancer of interrupts does: the vectors are masked and moved.
	grep -E "${device##*/}-(in|out)put" /proc/interrupts | cut -d: -f1 | while read -r irq; do
		echo 2 >"/proc/irq/$irq/smp_affinity"
	done
	check "both ways with moved interrupts" net_guest transfer 10.77.0.1 1024 1
	echo "GUEST ready"
	check "both ways across pauses" net_guest transfer 10.77.0.1 32768 1
	check "interrupts came" grep -qE "${device##*/}-input.0" /proc/interrupts
	# The host still pauses, and asks for counters.
	sleep 15
}

# The long run: so many KiB a stream each way, so many streams; then speeds by the guest's clock.
transfer() {
	ip addr add 10.77.0.2/24 dev eth0
	ip link set eth0 up
	check "the link is up" await_carrier 1
	check "ping" ping -q -c 3 -i 0.2 -W 5 $host
	check "$1 KiB in each of $2 streams, both ways" net_guest transfer $host "$1" "$2"
	for way in up down; do
		option=
		[ $way = up ] || option=-R
		# shellcheck disable=SC2086
		iperf3 -c $host -n 256M -P "$2" -f m $option >/tmp/iperf 2>&1
		check "iperf3, $way" [ $? = 0 ]
		grep receiver /tmp/iperf | tail -n 1 | sed "s/.* \([0-9.]* Mbits.sec\).*/SPEED $way \1/"
	done
}
# For tests/bench/lab_net: so often, so many KiB each way, and so many small packets.
speed() {
	pair_up
	ping -q -c 2 -i 0.2 -W 5 $host >/dev/null
	for _ in $(seq "$1"); do
		net_guest speed $host "$2" "$3"
	done
}

verb=$1
shift
"$verb" "$@"
