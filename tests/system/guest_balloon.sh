#!/bin/sh
# SPDX-License-Identifier: MIT
# The guest's side of tests/system/lab_balloon.sh: does what the lines on its console say.
# shellcheck shell=dash
echo "GUEST ready"
while read -r order count; do
	case $order in
	fill) dd if=/dev/zero of=/tmp/fill bs=1M count="$count" 2>/dev/null ;;
	need) # a process with so much memory of its own, all of it used
		dd if=/dev/zero of=/dev/null bs="${count}M" count=1 2>/dev/null
		echo "NEED status $?, $(grep oom_kill /proc/vmstat)"
		;;
	drop) rm -f /tmp/fill ;;
	free) ;;
	end) exit 0 ;;
	esac
	echo "GUEST $order $(awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo) MiB free"
	grep balloon /proc/vmstat
done
