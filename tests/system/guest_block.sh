#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The guest's side of lab_block.sh: sh guest_block.sh PHASE [ARGUMENT]. /dev/vda is the read-only disk
# with the tools, vdb and vdc are there to be written.
# shellcheck shell=dash disable=SC2317
check() {
	what=$1
	shift
	if "$@"; then echo "CHECK ok $what"; else echo "CHECK FAILED $what"; fi
}

mkdir -p /tools
mount -t ext4 -o ro /dev/vda /tools || echo "CHECK FAILED mounting the tools"
# The tools are dynamic programs and bring their libraries.
tool() {
	program=/tools/bin/$1
	shift
	/tools/lib/ld.so --library-path /tools/lib "$program" "$@"
}

sum() { md5sum <"$1" | cut -d' ' -f1; }
serial_is() { [ "$(cat "/sys/block/$1/serial")" = "$2" ]; }
refused() { ! "$@" 2>/dev/null; }

filesystem() {
	check "the serial number of the spec" serial_is vdb disk-serial-20-chars
	check "the id is the serial number where there is none" serial_is vdc second
	check "a read-only disk says so" [ "$(cat /sys/block/vda/ro)" = 1 ]
	check "queues of the spec" [ "$(find /sys/block/vdc/mq -maxdepth 1 -mindepth 1 | wc -l)" = 2 ]
	check "write-back at first" grep -q 'write back' /sys/block/vdb/queue/write_cache
	check "write-through by the spec" grep -q 'write through' /sys/block/vdc/queue/write_cache
	check "random numbers of the host" [ "$(dd if=/dev/hwrng bs=64 count=16 2>/dev/null | wc -c)" = 1024 ]
	check "mkfs.ext4" tool mke2fs -q -t ext4 -F /dev/vdb
	mkdir -p /mnt
	check "mount" mount -t ext4 -o discard /dev/vdb /mnt
	dd if=/dev/urandom of=/mnt/file bs=64k count=256 2>/dev/null
	before=$(sum /mnt/file)
	check "umount" umount /mnt
	mount -t ext4 /dev/vdb /mnt
	check "a file of 16 MiB has its checksum after a remount" [ "$(sum /mnt/file)" = "$before" ]
	echo "FILESYSTEM written"
	# The host looks at the image's blocks now.
	read -r _
	rm /mnt/file
	sync
	check "fstrim" fstrim /mnt
	umount /mnt
	check "blkdiscard refused on a read-only disk" refused blkdiscard /dev/vda
	check "write-through can be asked for" sh -c 'echo "write through" >/sys/block/vdb/cache_type'
	check "and is in force" grep -q 'write through' /sys/block/vdb/queue/write_cache
	check "a write in write-through mode" dd if=/dev/zero of=/dev/vdb bs=1M count=1 oflag=direct
}

verify() {
	check "fio --verify, 2 jobs, depth 32, direct" tool fio --output=/tmp/fio.txt --name=v \
		--filename=/dev/vdb:/dev/vdc --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bsrange=4k-64k \
		--numjobs=2 --size=4m --offset_increment=8m --verify=crc32c --verify_fatal=1 \
		--do_verify=1 --group_reporting --thread
	grep -E 'err=|IOPS|verify' /tmp/fio.txt
}

# Runs until the shim is killed.
crash() {
	tool fio --output=/dev/null --name=v --filename=/dev/vdc --direct=1 --ioengine=libaio \
		--iodepth=32 --rw=randwrite --bs=4k --size=64m --verify=crc32c --time_based --runtime=9999 &
	/test/sequence write /dev/vdb
	echo "CHECK FAILED the sequence of writes ended"
}

recover() {
	check "all $1 blocks that were safe are there after kill -9" /test/sequence check /dev/vdb "$1"
}

interrupts() { awk '/virtio[0-9]+-req/ { for (i = 2; i <= 3; i++) n += $i } END { print n }' /proc/interrupts; }

speed() {
	echo "SPEED begin"
	read -r _
	before=$(interrupts)
	tool fio --output=/tmp/fio.txt --minimal --terse-version=3 --name=s --filename=/dev/vdb --direct=1 \
		--ioengine=libaio --iodepth=32 --rw=randread --bs=4k --size=64m --number_ios="$1" --norandommap
	after=$(interrupts)
	echo "SPEED end"
	read -r _
	cut -d';' -f8 /tmp/fio.txt | sed 's/^/FIO iops /'
	echo "IRQ $((after - before)) interrupts for $1 requests"
}

"$@"
