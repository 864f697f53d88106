#!/bin/bash
# SPDX-License-Identifier: MIT
# Stock Linux on a TAP in the NUMA lab: ping, a file each way with its checksum, with and without
# offloads, one and four queues, and a TAP that is removed. Prints a line a check, "ok" or "FAILED".
#
# Usage: tests/system/lab_net.sh [--mib N] [--bench] [CASE...]      (N: size of the file, 64)
#
#   --bench   the same under QEMU microvm with the same TAP, kernel and initramfs, in turn; and iperf3 in
#             both, whose speeds are figures, not checks
#
# Times are virtual seconds as the guest sees them (hack/README.md): 10^9 instructions of the test host
# to the second. The file is made, and sums are compared, inside the lab.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly WORK=build/lab-net
readonly KERNEL=build/kernels/6.12
readonly PROTO=proto/axvm.proto
mib=64
bench=
cases=()

# name, queues, offloads, what the guest does, vCPUs
readonly CASES=(
	"one-queue 1 true transfer 1"
	"no-offloads 1 false transfer 1"
	"four-queues 4 true transfer 4"
	"four-queues-no-offloads 4 false transfer 4"
	"removal 1 true removal 1"
)

die() {
	local status=$1
	shift
	echo "lab_net: $*" >&2
	exit "$status"
}

# ---------------------------------------------------------------------------------- outside the lab

write_spec() {
	local name=$1 queues=$2 offloads=$3 guest=$4 cpus=$5
	cat <<-END
		launch {
		  vm_id: "lab-net"
		  profile: "dev"
		  cpus { count: $cpus paravirt { features: KVMCLOCK } }
		  memory { nodes { size_mib: 384 } }
		  boot { linux {
		    kernel { path: "$KERNEL/vmlinuz" }
		    initrd { path: "$WORK/initramfs.gz" }
		    cmdline: "console=hvc0 quiet panic=-1 reboot=a axvm.run=\"sh /guest_net.sh $guest ${bench:+$queues}\""
		  } }
		  console { output { fd: 1 } }
		  nets { id: "net0" tap_name: "axvm-tap0" queue_pairs: $queues offloads: $offloads mtu: 1500 }
		}
	END
}

# A program with the libraries it needs, as make-initramfs takes them.
with_libraries() {
	local program library
	program=$(command -v "$1") || die 69 "$1 is not here; hack/install-deps lab installs it"
	echo "--file $program:/bin/$1"
	ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
		echo "--file $(realpath "$library"):$library"
	done
}

prepare() {
	local row fields tools=()
	hack/install-deps lab
	hack/fetch-kernel 6.12
	mkdir -p "$WORK"
	read -r -d '' -a tools < <(with_libraries iperf3) || true
	hack/make-initramfs "$WORK/initramfs.gz" --module "$KERNEL/modules/virtio_net.ko" \
		--file tests/system/guest_net.sh:/guest_net.sh "${tools[@]}"
	for row in "${CASES[@]}"; do
		read -r -a fields <<<"$row"
		write_spec "${fields[@]}" |
			protoc --encode=axvm.v1.ControlStream "$PROTO" >"$WORK/${fields[0]}.control" ||
			die 65 "the spec of ${fields[0]} is wrong"
	done
}

# ----------------------------------------------------------------------------------- inside the lab

failures=0
result() {
	if [[ $1 == 0 ]]; then
		echo "ok     $2"
	else
		echo "FAILED $2"
		failures=$((failures + 1))
	fi
}

add_tap() {
	local mode=()
	(($1 == 1)) || mode=(multi_queue)
	ip tuntap add axvm-tap0 mode tap vnet_hdr "${mode[@]}"
	ip addr add 10.77.0.1/24 dev axvm-tap0
	ip link set axvm-tap0 up
}

# Judges what the guest printed, and what it sent.
judge() {
	local name=$1 console=$2 guest=$3 line
	while read -r line; do
		result 1 "$name: ${line#CHECK FAILED }"
	done < <(tr -d '\r' <"$console" | grep -a 'CHECK FAILED' || true)
	while read -r line; do
		result 0 "$name: ${line#CHECK ok }"
	done < <(tr -d '\r' <"$console" | grep -a 'CHECK ok' || true)
	tr -d '\r' <"$console" | grep -aE '^(TIME|QUEUES|MAC|MTU|SPEED)' | sed "s/^/       $name: /" || true
	[[ $guest == transfer ]] || return 0
	tr -d '\r' <"$console" | grep -qa "SUM down $sum"
	result $? "$name: ${mib} MiB to the guest, checksum"
	[[ $(sha256sum </tmp/received | cut -d' ' -f1) == "$sum" ]]
	result $? "$name: ${mib} MiB from the guest, checksum"
}

remove_when_ready() {
	local console=$1
	until grep -qa 'GUEST ready' "$console"; do
		sleep 0.2
	done
	ip link del axvm-tap0
}

run_case() {
	local name=$1 queues=$2 guest=$4 cpus=$5 vmm=$6 status=0 helpers=()
	local console=$WORK/$name.$vmm.console
	set +e
	add_tap "$queues"
	: >"$console"
	busybox nc -l -p 5001 </tmp/data >/dev/null &
	helpers+=($!)
	busybox nc -l -p 5002 >/tmp/received 0<>/tmp/idle &
	helpers+=($!)
	if [[ -n $bench ]]; then
		iperf3 -s >/dev/null &
		helpers+=($!)
	fi
	if [[ $guest == removal ]]; then
		remove_when_ready "$console" &
		helpers+=($!)
	fi
	if [[ $vmm == axvm ]]; then
		/tmp/axvm-shim 3<"$WORK/$name.control" 4>"$WORK/$name.events" </dev/null >"$console"
		status=$?
	else
		run_qemu "$name" "$queues" "$3" "$cpus" >"$console" </dev/null
		status=$?
	fi
	kill "${helpers[@]}" 2>/dev/null
	wait "${helpers[@]}" 2>/dev/null
	[[ $status == 0 ]]
	result $? "$name: $vmm ends with status 0 (is $status)"
	judge "$name ($vmm)" "$console" "$guest"
	[[ $failures == 0 ]] || cat "$console"
	ip link del axvm-tap0 2>/dev/null
	set -e
}

# The same machine under QEMU: microvm with PCIe and virtio-net-pci, no vhost.
run_qemu() {
	local name=$1 queues=$2 offloads=$3 cpus=$4 options=mq=off vectors
	((queues == 1)) || options="mq=on"
	vectors=$((2 * queues + 2))
	[[ $offloads == true ]] || options+=",csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"
	qemu-system-x86_64 -M microvm,pcie=on,pit=off,pic=off,rtc=off -accel kvm -cpu host,-kvm-asyncpf,-kvm-pv-ipi,-kvm-pv-tlb-flush,-kvm-pv-unhalt,-kvm-steal-time,-kvm-pv-eoi \
		-smp "$cpus" -m 384 -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
		-kernel "$KERNEL/vmlinuz" -initrd "$WORK/initramfs.gz" \
		-append "console=ttyS0 quiet panic=-1 reboot=t axvm.end=reboot axvm.run=\"sh /guest_net.sh transfer $queues\"" \
		-netdev "tap,id=n0,ifname=axvm-tap0,script=no,downscript=no,vhost=off,queues=$queues" \
		-device "virtio-net-pci,netdev=n0,vectors=$vectors,romfile=,$options"
}

inside() {
	local row fields sum
	dd if=/dev/urandom of=/tmp/data bs=1M count="$mib" status=none
	sum=$(sha256sum </tmp/data | cut -d' ' -f1)
	mkfifo /tmp/idle
	# A copy of our own: building goes on outside.
	cp build/axvm-shim /tmp/axvm-shim
	for row in "${CASES[@]}"; do
		read -r -a fields <<<"$row"
		[[ ${#cases[@]} == 0 || " ${cases[*]} " == *" ${fields[0]} "* ]] || continue
		run_case "${fields[@]}" axvm
		[[ -z $bench || ${fields[3]} != transfer ]] || run_case "${fields[@]}" qemu
	done
	echo "$failures failed"
	((failures == 0))
}

arguments=("$@")
while (($#)); do
	case $1 in
	--mib) mib=${2:?} && shift ;;
	--bench) bench=1 ;;
	--inside) inside=1 ;;
	-*) die 64 "usage: tests/system/lab_net.sh [--mib N] [--bench] [CASE...]" ;;
	*) cases+=("$1") ;;
	esac
	shift
done

if [[ -n ${inside:-} ]]; then
	inside
	exit
fi
prepare
status=0
hack/lab --timeout 1800 --module tun -- tests/system/lab_net.sh --inside "${arguments[@]}" || status=$?
# The removed TAP is one event, and says which device it was.
if [[ ${#cases[@]} == 0 || " ${cases[*]} " == *" removal "* ]]; then
	events=$(protoc --decode=axvm.v1.EventStream "$PROTO" <"$WORK/removal.events" |
		grep -c 'message: "the TAP is gone' || true)
	[[ $events == 1 ]] || { echo "FAILED removal: $events events for a removed TAP" && status=1; }
fi
exit "$status"
