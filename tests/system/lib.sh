# SPDX-License-Identifier: MIT
# What the cases are written with. A case has a folder, $CASE, with an empty one in it, $CASE/cwd,
# that the shim runs in.

ROOT=$PWD
B=${B:-build}
case $B in /*) BUILD=$B ;; *) BUILD=$ROOT/$B ;; esac
SHIM=$BUILD/axvm-shim
SPAWN=$BUILD/tests/spawn
GUESTS=$BUILD/guests
PROTO=$ROOT/proto/axvm.proto
VM=system-test
SKIP=77
NOBODY=65534
# No VM of `axvm run` claims CPUs, but where a case says so: others' VMs on this machine decide
# nothing here.
export AXVM_CLAIMS_DIR=

# The mark is for a failure in a pipeline, whose process is not the test's.
fail() {
	echo "$*"
	echo "$*" >>"$CASE/failed"
	exit 1
}

skip() {
	echo "$*"
	exit "$SKIP"
}

need_kvm() {
	[ -e /dev/kvm ] || skip "there is no /dev/kvm"
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || skip "no permission for /dev/kvm"
}

need_root() {
	[ "$(id -u)" = 0 ] || skip "only root can do this"
}

# A private mount namespace, in which /dev can be replaced.
need_mounts() {
	need_root
	unshare -m true 2>/dev/null || skip "no mount namespaces here"
}

# Sets huge_free and huge_used: of the pool of 2 MiB pages.
huge_pages() {
	local name value _
	while read -r name value _; do
		case $name in
		HugePages_Total:) huge_used=$value ;;
		HugePages_Free:) huge_free=$value && huge_used=$((huge_used - value)) ;;
		esac
	done </proc/meminfo
}

huge_pages_free() {
	huge_pages
	echo "$huge_free"
}

# more_huge_pages COUNT: the pool is larger by so many pages of 2 MiB on each node until the test's
# end. Sets `back`, what the trap does.
more_huge_pages() {
	local pool pools=(/sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages)
	back=
	[ -w "${pools[0]}" ] || pools=(/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)
	[ -w "${pools[0]}" ] || skip "no huge pages can be had"
	for pool in "${pools[@]}"; do
		back+="echo \$((\$(cat $pool) - $1)) >$pool;"
		echo $(($(cat "$pool") + $1)) >"$pool"
	done
	# Expanded now: the trap runs when this function's variables are gone.
	# shellcheck disable=SC2064
	trap "$back" EXIT
}

# need_huge_pages COUNT: so many of 2 MiB are free on the node that a VM is put on.
need_huge_pages() {
	local nodes=(/sys/devices/system/node/node[0-9]*)
	[ ${#nodes[@]} = 1 ] && [ "$(huge_pages_free)" -ge "$1" ] || more_huge_pages "$1"
	[ "$(huge_pages_free)" -ge "$1" ] || skip "no $1 huge pages can be had"
}

# memory_image NAME SIZE: an empty image, $CASE/NAME, that lies in memory: what is flushed to it
# waits for no disk. `one` takes it away.
memory_image() {
	local file
	[ -d /dev/shm ] || skip "there is no /dev/shm"
	file=$(mktemp -p /dev/shm axvm-test.XXXXXX)
	truncate -s "$2" "$file"
	ln -s "$file" "$CASE/$1"
}

# ---- specs -----------------------------------------------------------------------------------

# flat GUEST [-b BOOT] [-c COUNT] [-m MIB] [-M MEMORY] [-C CPUS] [-l LAUNCH]: the text of a launch
# of a flat image; BOOT, MEMORY, CPUS and LAUNCH are more fields of those messages.
flat() {
	local guest=$1 boot="" count=1 mib=16 memory="" cpus="" launch="" option OPTIND=1
	shift
	while getopts b:c:m:M:C:l: option; do
		case $option in
		b) boot=$OPTARG ;;
		c) count=$OPTARG ;;
		m) mib=$OPTARG ;;
		M) memory=$OPTARG ;;
		C) cpus=$OPTARG ;;
		l) launch=$OPTARG ;;
		*) fail "flat: $option" ;;
		esac
	done
	case $guest in *[{:]*) ;; *) guest="path: \"$GUESTS/$guest.bin\"" ;; esac
	echo "launch { vm_id: \"$VM\" profile: \"dev\" cpus { count: $count $cpus }
		memory { nodes { size_mib: $mib } $memory }
		boot { flat_boot { image { $guest } $boot } } $launch }"
}

# with_numbers GUEST A [B]: an image of the guest with these numbers in it (guest_numbers), as
# `flat` takes it.
with_numbers() {
	local to=$CASE/$1-$2-${3:-0}.bin number i byte
	cp "$GUESTS/$1.bin" "$to"
	for number in "$2" "${3:-0}"; do
		byte=
		for i in 0 8 16 24 32 40 48 56; do
			byte+="\\x$(printf %02x $((number >> i & 255)))"
		done
		printf "$byte"
	done | dd of="$to" bs=8 seek=1 conv=notrunc status=none
	echo "path: \"$to\""
}

# encode MESSAGE: from text to bytes.
encode() {
	protoc --encode="axvm.v1.$1" --proto_path="$ROOT/proto" "$PROTO"
}

# Takes the text of a ControlStream from stdin and keeps it for `launch`.
spec() {
	encode ControlStream >"$CASE/spec.pb" || fail "the test's spec does not encode"
}

# as_launch <LAUNCHSPEC: the bytes of a ControlStream with those of a LaunchSpec in it, whatever
# they are.
as_launch() {
	local length
	cat >"$CASE/payload"
	length=$(stat -c %s "$CASE/payload")
	printf '\x0a'
	while [ "$length" -ge 128 ]; do
		printf "\\x$(printf %02x $((length % 128 + 128)))"
		length=$((length / 128))
	done
	printf "\\x$(printf %02x "$length")"
	cat "$CASE/payload"
}

# ---- launches --------------------------------------------------------------------------------

# shim [SPAWN'S OPTIONS]: runs it with the fds it is given. Sets `status`.
shim() {
	(cd "$CASE/cwd" && exec "$SPAWN" run "$@" "$SHIM")
	status=$?
	case $status in
	124) fail "it did not end" ;;
	125 | 126) fail "see above: it left something behind" ;;
	esac
}

# launch [SPAWN'S OPTIONS]: what `spec` kept, on fd 3; then `status` and `decoded`.
launch() {
	shim "$@" 3<"$CASE/spec.pb" 4>"$CASE/events.pb"
	decode
}

# Judges fd 4 against the status and turns it into text, $CASE/events.
decode() {
	"$SPAWN" judge "$status" <"$CASE/events.pb" || fail "fd 4 does not fit status $status"
	protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" \
		<"$CASE/events.pb" >"$CASE/events" || fail "protoc cannot decode fd 4"
	sed -n '/^  terminal {/,$p' "$CASE/events" >"$CASE/terminal"
	[ -s "$CASE/terminal" ] || fail "protoc shows no terminal event"
}

# ---- expectations ----------------------------------------------------------------------------

# The terminal event without the stages' times.
show() {
	[ ! -s "$CASE/terminal" ] || sed '/^    stages {/,/^    }/d' "$CASE/terminal"
}

want_status() {
	[ "$status" = "$1" ] && return
	show
	fail "status $status, wanted $1"
}

# want LINE...: lines of the terminal event, indentation aside.
want() {
	local line seen
	for line in "$@"; do
		while IFS= read -r seen; do
			[[ ! $seen =~ ^\ *($line)$ ]] || continue 2
		done <"$CASE/terminal"
		show
		fail "the terminal event lacks: $line"
	done
}

# want_metric NAME OPERATOR VALUE: so the last report has it, test(1)'s operator.
want_metric() {
	local seen
	seen=$(grep -A 1 "name: \"$1\"\$" "$CASE/events" | sed -n 's/^ *value: //p' | tail -n 1)
	[ "${seen:--1}" "$2" "$3" ] || fail "$1 is ${seen:-not there}, wanted $2 $3"
}

# want_error STATUS CODE [FIELD]: a launch that failed in this way, whatever else was wrong.
want_error() {
	want_status "$1"
	want "outcome: OUTCOME_LAUNCH_FAILED" "exit_status: $1" "code: ERROR_CODE_$2"
	[ $# -lt 3 ] || want "field: \"${3//[\[\]]/.}\""
}

# refused STATUS CODE [FIELD] <TEXT
refused() {
	spec
	launch
	want_error "$@"
}

# passes [SPAWN'S OPTIONS] <TEXT: a guest of tests/guests that ends by itself and found all as it
# should be.
passes() {
	spec
	launch "$@"
	want_status 0
	found_well
}

# The guest's verdict.
found_well() {
	[[ $(<"$CASE/terminal") != *'rax: "0x600d600d600d600d"'* ]] || return 0
	show
	fail "the guest found something: line and value are in RAX and RBX"
}
