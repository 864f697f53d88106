#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The guest's side of lab_block.sh and lab-cases-block: sh guest_block.sh PHASE [ARGUMENT]. /dev/vda
# is the read-only disk with the tools, vdb and vdc are there to be written. In the tour, vdd is an
# image that is truncated meanwhile, and vde one on a host's disk that is soon full.
# shellcheck shell=dash disable=SC2317
check() {
	what=$1
	shift
	if "$@"; then echo "CHECK ok $what"; else echo "CHECK FAILED $what"; fi
}

# The tools are dynamic programs and bring their libraries.
tool() {
	program=/tools/bin/$1
	shift
	/tools/lib/ld.so --library-path /tools/lib "$program" "$@"
}

mount_tools() {
	mkdir -p /tools
	mount -t ext4 -o ro /dev/vda /tools || echo "CHECK FAILED mounting the tools"
}

sum() { md5sum <"$1" | cut -d' ' -f1; }
serial_is() { [ "$(cat "/sys/block/$1/serial")" = "$2" ]; }
refused() { ! "$@" 2>/dev/null; }

filesystem() {
	mount_tools
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
	mount_tools
	check "fio --verify, 2 jobs, depth 32, direct" tool fio --output=/tmp/fio.txt --name=v \
		--filename=/dev/vdb:/dev/vdc --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bsrange=4k-64k \
		--numjobs=2 --size=4m --offset_increment=8m --verify=crc32c --verify_fatal=1 \
		--do_verify=1 --group_reporting --thread
	grep -E 'err=|IOPS|verify' /tmp/fio.txt
}

# Says that it has come to a point, and waits for the host to have done its part.
halt_at() {
	echo "TOUR $1"
	read -r _
}

# `block DEVICE N`: reads one of 64 KiB, past the guest's cache.
block() { dd if="/dev/$1" bs=64k skip="$2" count=1 iflag=direct 2>/dev/null; }
has_sectors() {
	i=0
	until [ "$(cat "/sys/block/$1/size")" = "$2" ]; do
		i=$((i + 1))
		[ $i -lt 50 ] || return 1
		sleep 0.1
	done
}

tour() {
	mount_tools
	check "the serial number of the spec" serial_is vdb disk-serial-20-chars
	check "write-through by the spec" grep -q 'write through' /sys/block/vdc/queue/write_cache
	check "mkfs.ext4" tool mke2fs -q -t ext4 -F /dev/vdb
	mkdir -p /mnt
	mount -t ext4 /dev/vdb /mnt
	dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null
	before=$(sum /mnt/file)
	umount /mnt
	mount -t ext4 /dev/vdb /mnt
	check "a file of 4 MiB has its checksum after a remount" [ "$(sum /mnt/file)" = "$before" ]
	halt_at "with a file"
	rm /mnt/file
	sync
	check "fstrim" fstrim /mnt
	umount /mnt
	halt_at trimmed
	check "rings of 1024 entries" [ "$(cat /sys/block/vdc/mq/0/nr_tags)" = 1024 ]
	check "fio --verify, 2 queues, depth 512, direct" tool fio --output=/tmp/fio.txt --name=v \
		--filename=/dev/vdc --direct=1 --ioengine=libaio --iodepth=512 --iodepth_batch_submit=512 \
		--rw=randwrite --bsrange=4k-16k --numjobs=2 --size=4m --offset_increment=8m --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --group_reporting --thread
	check "so many were under way" sh -c "grep 'IO depths' /tmp/fio.txt | grep -qE '>=64=[1-9][0-9]'"
	grep -E 'IO depths|submit|IOPS' /tmp/fio.txt
	# A read error. Block 96 is the first of the image's second half.
	check "all of an image can be read" [ "$(block vdd 96 | wc -c)" = 65536 ]
	halt_at "before the image is truncated"
	check "what is not there any more is an I/O error" [ "$(block vdd 96 | wc -c)" = 0 ]
	check "what is there is read" [ "$(block vdd 0 | wc -c)" = 65536 ]
	# A full disk.
	dd if=/dev/urandom of=/tmp/safe bs=64k count=8 2>/dev/null
	check "a write that there is room for" dd if=/tmp/safe of=/dev/vde bs=64k oflag=direct conv=fsync
	check "one that there is none for is an I/O error" refused dd if=/dev/zero of=/dev/vde bs=64k seek=8 \
		count=64 oflag=direct
	check "what was acknowledged is there" [ "$(dd if=/dev/vde bs=64k count=8 iflag=direct 2>/dev/null | md5sum)" = \
		"$(md5sum </tmp/safe)" ]
	halt_at "with a full disk"
	check "with room again it is written" dd if=/dev/zero of=/dev/vde bs=64k seek=8 count=64 oflag=direct
	check "the new capacity is seen" has_sectors vdd 32768
	check "and can be read" [ "$(block vdd 200 | wc -c)" = 65536 ]
}

# Runs until the shim is killed.
crash() {
	mount_tools
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
	mount_tools
	echo "SPEED begin"
	read -r _
	before=$(interrupts)
	tool fio --output=/tmp/fio.txt --minimal --terse-version=3 --name=s --filename=/dev/vdb --direct=1 \
		--ioengine=libaio --iodepth=32 --rw=randread --bs=4k --size=64m --io_size=$(($1 * 4))k --norandommap
	after=$(interrupts)
	echo "SPEED end"
	read -r _
	cut -d';' -f8 /tmp/fio.txt | sed 's/^/FIO iops /'
	echo "IRQ $((after - before)) interrupts for $1 requests"
}

# random_reads N: as fast as they go, for tests/bench/lab_block; in batches and without looking at
# the clock, which would cost fio more than the disk does.
random_reads() {
	mount_tools
	before=$(interrupts)
	tool fio --output=/tmp/fio.txt --minimal --terse-version=3 --name=s --filename=/dev/vdb --direct=1 \
		--ioengine=libaio --iodepth=32 --rw=randread --bs=4k --size=64m --io_size=$(($1 * 4))k --norandommap \
		--eta=never --gtod_reduce=1 --iodepth_batch_submit=32 --iodepth_batch_complete_min=1 --iodepth_batch_complete_max=32
	echo "FIO $(cut -d';' -f8 /tmp/fio.txt) reads a second, $(($(interrupts) - before)) interrupts for $1"
}

"$@"
