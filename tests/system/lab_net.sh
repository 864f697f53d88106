#!/bin/bash
# SPDX-License-Identifier: MIT
# Long transfers of a stock Linux on a TAP in the NUMA lab: sums both ways, with and without
# offloads, one and four queues, vhost-net; and iperf3. What is quick is in lab-cases-net. Prints a
# line a check, "ok" or "FAILED", and figures.
#
# Usage: tests/system/lab_net.sh [--mib N] [--bench] [CASE...]
#
#   --mib N   how much each way, 1024
#   --bench   each case also under QEMU microvm with the same TAP, kernel and initramfs, in turn
#
# Speeds are by the guest's clock, virtual seconds (hack/README.md): 10^9 instructions of the whole
# test host to the second.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly WORK=build/lab-net
readonly KERNEL=build/kernels/6.12
readonly PROTO=proto/axvm.proto
mib=1024
bench=
cases=()

# name, queues, vCPUs, further fields of the net
readonly CASES=(
	"one-queue 1 1"
	"no-offloads 1 1 offloads: false"
	"four-queues 4 4"
	"four-queues-no-offloads 4 4 offloads: false"
	"vhost 1 1 vhost { path: \"/dev/vhost-net\" }"
)

die() {
	local status=$1
	shift
	echo "lab_net: $*" >&2
	exit "$status"
}

# ---------------------------------------------------------------------------------- outside the lab

# What the guest is to run.
guest_command() {
	echo "sh /guest_net.sh transfer $((mib * 1024 / $1)) $1"
}

write_spec() {
	local queues=$1 cpus=$2 more=$3
	cat <<-END
		launch {
		  vm_id: "lab-net"
		  profile: "dev"
		  cpus { count: $cpus paravirt { features: PV_FEATURE_KVMCLOCK } }
		  memory { nodes { size_mib: 384 } }
		  boot { linux_boot {
		    kernel { path: "$KERNEL/vmlinuz" }
		    initrd { path: "$WORK/initramfs.gz" }
		    cmdline: "console=hvc0 quiet panic=-1 reboot=a axvm.run=\"$(guest_command "$queues")\""
		  } }
		  console { output { fd: 1 } }
		  nets { id: "net0" tap_name: "axvm-tap0" queue_pairs: $queues mtu: 1500 $more }
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
	local row name queues cpus more tools=()
	hack/install-deps lab
	hack/fetch-kernel 6.12
	mkdir -p "$WORK"
	read -r -d '' -a tools < <(with_libraries iperf3) || true
	hack/make-initramfs "$WORK/initramfs.gz" --module "$KERNEL/modules/virtio_net.ko" \
		--file build/guests/linux/net_guest:/bin/net_guest \
		--file tests/system/guest_net.sh:/guest_net.sh "${tools[@]}"
	for row in "${CASES[@]}"; do
		read -r name queues cpus more <<<"$row"
		write_spec "$queues" "$cpus" "$more" |
			protoc --encode=axvm.v1.ControlStream "$PROTO" >"$WORK/$name.control" ||
			die 65 "the spec of $name is wrong"
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

# Judges what the guest printed.
judge() {
	local name=$1 console=$2 line
	while read -r line; do
		case $line in
		"CHECK ok "*) result 0 "$name: ${line#CHECK ok }" ;;
		"CHECK FAILED "*) result 1 "$name: ${line#CHECK FAILED }" ;;
		SPEED*) echo "       $name: $line" ;;
		esac
	done < <(tr -d '\r' <"$console")
	[[ $(grep -ac '^CHECK ok' "$console") == 5 ]]
	result $? "$name: five checks"
}

run_case() {
	local vmm=$1 name=$2 queues=$3 cpus=$4 more=$5 status=0 servers=()
	# In the lab's memory while the VM runs: what goes to the shared file system disturbs the
	# lab.
	local console=/tmp/$name.$vmm.console events=/tmp/$name.$vmm.events
	set +e
	add_tap "$queues"
	/tmp/net_guest serve &
	servers+=($!)
	iperf3 -s >/dev/null &
	servers+=($!)
	if [[ $vmm == axvm ]]; then
		/tmp/axvm-shim 3<"$WORK/$name.control" 4>"$events" </dev/null >"$console"
		status=$?
	else
		run_qemu "$queues" "$cpus" "$more" >"$console" </dev/null
		status=$?
	fi
	kill "${servers[@]}" 2>/dev/null
	wait "${servers[@]}" 2>/dev/null
	[[ $status == 0 ]]
	result $? "$name: $vmm ends with status 0 (is $status)"
	judge "$name ($vmm)" "$console"
	[[ $failures == 0 ]] || cat "$console"
	ip link del axvm-tap0 2>/dev/null
	cp "$console" "$events" "$WORK/" 2>/dev/null
	set -e
}

# The same machine under QEMU: microvm with PCIe and virtio-net-pci.
run_qemu() {
	local queues=$1 cpus=$2 more=$3 options=mq=off vectors vhost=off
	((queues == 1)) || options="mq=on"
	vectors=$((2 * queues + 2))
	[[ $more != vhost* ]] || vhost=on
	[[ $more != offloads* ]] || options+=",csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"
	qemu-system-x86_64 -M microvm,pcie=on,pit=off,pic=off,rtc=off -accel kvm -cpu host,-kvm-asyncpf,-kvm-pv-ipi,-kvm-pv-tlb-flush,-kvm-pv-unhalt,-kvm-steal-time,-kvm-pv-eoi \
		-smp "$cpus" -m 384 -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
		-kernel "$KERNEL/vmlinuz" -initrd "$WORK/initramfs.gz" \
		-append "console=ttyS0 quiet panic=-1 reboot=t axvm.end=reboot axvm.run=\"$(guest_command "$queues")\"" \
		-netdev "tap,id=n0,ifname=axvm-tap0,script=no,downscript=no,vhost=$vhost,queues=$queues" \
		-device "virtio-net-pci,netdev=n0,vectors=$vectors,romfile=,$options"
}

inside() {
	local row name queues cpus more
	# Copies of our own: building goes on outside.
	cp build/axvm-shim build/guests/linux/net_guest /tmp/
	for row in "${CASES[@]}"; do
		read -r name queues cpus more <<<"$row"
		[[ ${#cases[@]} == 0 || " ${cases[*]} " == *" $name "* ]] || continue
		run_case axvm "$name" "$queues" "$cpus" "$more"
		[[ -z $bench ]] || run_case qemu "$name" "$queues" "$cpus" "$more"
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
exec hack/lab --timeout 3000 --silence 300 -- tests/system/lab_net.sh --inside "${arguments[@]}"
