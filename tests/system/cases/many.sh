# SPDX-License-Identifier: MIT
# Several VMs of one host that work at once: which CPUs they claim, how long a claim lasts, and what
# comes of a folder of claims that somebody spoils. Who has what is read from the events and from
# the locks themselves.

# `start` and `axvm` are those of cli.sh.

CLAIMS=
pids=()

# need_many: a folder for claims, and as many CPUs and cores as the cases count on. Sets CLAIMS,
# cpus (those this process may use) and cores (as many of them as have a first thread).
need_many() {
	local cpu list
	need_kvm
	need_python
	cpus=() cores=0
	for cpu in $(python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)))'); do
		cpus+=("$cpu")
		read -r list <"/sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list"
		[ "${list%%[,-]*}" != "$cpu" ] || cores=$((cores + 1))
	done
	[ "$cores" -ge 2 ] || skip "this host has one core"
	CLAIMS=$CASE/claims
	mkdir -m 2770 "$CLAIMS"
	# Whatever comes of it, nothing runs on.
	trap kill_all EXIT
}

# The emulated test host, where all takes tens of times as long.
emulated() { grep -q '/hack/lab-init' /proc/cmdline; }

# one_vm: a bare shim on the kept spec, in the background; it runs until it is killed. Its process
# and events are the last of pids and events. An emulated host is to get on with other things.
one_vm() {
	local stream=$CASE/${#pids[@]}.pb modestly=()
	! emulated || modestly=(nice -n 19)
	: >"$stream"
	# shellcheck disable=SC2153 # lib.sh's
	(cd "$CASE/cwd" && exec "${modestly[@]}" "$SHIM" 3<"$CASE/spec.pb" 4>"$stream" 2>>"$CASE/shims.err") </dev/null &
	pids+=($!)
	events+=("$stream")
}

# endless CPUS [FLAT'S OPTIONS]: keeps the spec of a VM that works until it is killed: on a CPU of
# its own for ever, with a local APIC for a while. One that worked for ever would leave an emulated
# host little for the others: it is paused there as soon as it runs.
endless() {
	local guest=spin then='' device=''
	if [[ "$*" == *local_apic* ]]; then
		guest=work
		device='rng {}'
	elif emulated; then
		then='commands { request_id: 1 pause {} }'
	fi
	spec < <(flat "$guest" -C "$@" -l "lifecycle { on_control_eof: ON_CONTROL_EOF_KEEP_RUNNING } $device"; echo "$then")
}

# crew COUNT CPUS [FLAT'S OPTIONS]: so many VMs of one spec, started at once; until all of them run.
crew() {
	local count=$1 first=${#pids[@]} i
	endless "${@:2}"
	for ((i = 0; i < count; i++)); do
		one_vm
	done
	all_run "$first"
}

# all_run [FIRST]: until the VMs from FIRST on run.
all_run() {
	local i
	for ((i = ${1:-0}; i < ${#pids[@]}; i++)); do
		runs "${pids[i]}" || { cat "$CASE/shims.err"; fail "VM $i has ended"; }
		await_event running "${events[i]}"
	done
}

# kill_all: kill -9 of every VM; until they are gone.
kill_all() {
	local pid
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	pids=() events=()
}

# The streams of all VMs, as text, one behind the other: $CASE/said.
read_events() {
	cat "${events[@]}" | protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" >"$CASE/said" ||
		fail "protoc cannot decode the events"
}

# vcpu_cpus: the host CPU of each vCPU that `running` tells of, in the order of the VMs.
vcpu_cpus() { awk '/^    vcpus {/ { on = 1 } /^    }/ { on = 0 } on && $1 == "host_cpu:" { print $2 }' "$CASE/said"; }

# claimed TEXT: what claims there are, "cpu0 1 0;cpu1 whole;".
claims() { python3 tests/system/claims.py show "$CLAIMS" | tr '\n' ';'; }
claimed() { [ "$(claims)" = "$1" ] || fail "claims are: $(claims) and not: $1"; }
nothing_claimed() { [ -z "$(claims)" ]; }

# each_has VCPUS IO: the claims of a host on which every CPU has as many.
each_has() {
	local cpu
	for cpu in "${cpus[@]}"; do
		printf 'cpu%d %d %d;' "$cpu" "$1" "$2"
	done
}

with_claims() { echo "claims { path: '$CLAIMS' }"; }

# ---- where they go -------------------------------------------------------------------------------

# spread EACH: as many VMs a CPU, started at once: every CPU has as many, every node's memory as
# many.
spread() {
	local each=$1 count=$(($1 * ${#cpus[@]})) cpu nodes
	crew "$count" "$(with_claims)" -b 'local_apic: true' -M 'populate: true'
	read_events
	for cpu in "${cpus[@]}"; do
		[ "$(vcpu_cpus | grep -cx "$cpu")" = "$each" ] || fail "vCPUs are on CPUs $(vcpu_cpus | tr '\n' ' ')"
	done
	[ "$(grep -c '^    pinned: true$' "$CASE/said")" = "$count" ] || fail "not all are pinned"
	[ "$(grep -c '^    claimed: true$' "$CASE/said")" = "$count" ] || fail "not all have claimed"
	claimed "$(each_has "$each" "$each")"
	! grep -q 'remote_pages: [1-9]' "$CASE/said" || fail "pages lie on another node"
	[ "$(grep -c 'remote_pages: 0$' "$CASE/said")" -ge "$count" ] || fail "not each tells of its memory"
	nodes=$(sed -n '/^  memory_placed {/,/^  }/s/^ *host_node: //p' "$CASE/said" | sort | uniq -c | awk '{ print $1 }' | sort -u)
	[ "$(echo "$nodes" | wc -l)" = 1 ] || fail "nodes have different numbers of VMs: $(echo "$nodes" | tr '\n' ' ')"
	kill_all
	await "an end of all claims" nothing_claimed
}

test_many_one_a_cpu() {
	need_many
	spread 1
}

test_many_two_a_cpu() {
	need_many
	spread 2
}

# Without claims and pins the kernel balances, within the node.
test_many_without_claims_are_not_pinned() {
	local i value node wanted
	need_many
	crew 2 '' -c 2 -b 'local_apic: true'
	read_events
	[ "$(grep -c '^    pinned: false$' "$CASE/said")" = 2 ] || fail "they say that they are pinned"
	[ "$(grep -c '^    claimed: false$' "$CASE/said")" = 2 ] || fail "they say that they have claimed"
	! grep -q 'host_cpu:' "$CASE/said" || fail "they say on which CPU they are"
	for i in 0 1; do
		node=$(protoc --decode=axvm.v1.EventStream --proto_path="$ROOT/proto" "$PROTO" <"${events[i]}" |
			sed -n '/^    vcpus {/,/^    }/s/^ *host_node: //p' | sort -u)
		wanted=$(python3 - "$node" <<-'END'
			import os, sys
			path = f"/sys/devices/system/node/node{sys.argv[1]}"
			print(*[c for c in sorted(os.sched_getaffinity(0)) if not os.path.isdir(path) or os.path.exists(f"{path}/cpu{c}")])
		END
		)
		value=$(python3 - "${pids[i]}" <<-'END'
			import os, re, sys
			base = f"/proc/{sys.argv[1]}/task"
			for tid in sorted(map(int, os.listdir(base))):
			    with open(f"{base}/{tid}/comm") as comm:
			        name = comm.read().strip()
			    if re.fullmatch("(vcpu|io)[0-9]+", name):
			        print(name, *sorted(os.sched_getaffinity(tid)))
		END
		)
		[ "$(echo "$value" | grep -c .)" = 3 ] || fail "not two vCPUs and an I/O thread: $value"
		! echo "$value" | grep -qvE "^[a-z0-9]+ $wanted\$" || fail "node $node has CPUs $wanted; threads are on: $value"
	done
}

# A DEDICATED VM has its cores without claims too, but nobody knows of it.
test_many_dedicated_without_claims() {
	need_many
	spec < <(flat reset -C 'tenancy: TENANCY_DEDICATED')
	launch
	want_status 32
	grep -q '^    pinned: true$' "$CASE/events" || fail "it is not pinned"
	grep -q '^    claimed: false$' "$CASE/events" || fail "it says that it has claimed"
	grep -q '^      host_cpu: ' "$CASE/events" || fail "it does not say on which CPU it is"
}

# ---- how long a claim lasts ----------------------------------------------------------------------

# launched EOF: a VM by `axvm run` that claims CPUs, and what it does when its launcher is gone.
# Sets `pid`, `shim`.
launched() {
	need_many
	flat work -b 'local_apic: true' -C "$(with_claims)" -l "lifecycle { on_control_eof: $1 } rng {}" >"$CASE/vm.txtpb"
	start "$CASE/vm.txtpb" --events "pb:$CASE/events.pb"
	shim_of "$pid"
	trap 'alive && kill -KILL "$shim"' EXIT
	await_event running
	[ "$(claims | tr ';' '\n' | awk '{ v += $2; i += $3 } END { print v, i }')" = "1 1" ] || fail "claims are: $(claims)"
}

# over: the launcher has ended, and nothing of it is left.
over() {
	wait "$pid" 2>/dev/null
	rm -rf "$CASE/axvm"
}

test_many_a_claim_ends_with_the_shim() {
	local shim started
	launched ON_CONTROL_EOF_KEEP_RUNNING
	kill -KILL "$shim"
	over
	await "an end of the claims" nothing_claimed
}

test_many_a_claim_ends_with_the_launcher() {
	local shim started
	launched ON_CONTROL_EOF_STOP
	kill -KILL "$pid"
	over
	await "the shim's end" gone
	await "an end of the claims" nothing_claimed
}

# The claim is the VM's, not the launcher's.
test_many_a_claim_outlives_the_launcher() {
	local shim started before
	launched ON_CONTROL_EOF_KEEP_RUNNING
	before=$(claims)
	kill -KILL "$pid"
	over
	alive || fail "the VM did not run on"
	claimed "$before"
	kill -KILL "$shim"
	await "the shim's end" gone
	await "an end of the claims" nothing_claimed
}

test_many_a_claim_ends_with_both() {
	local shim started
	launched ON_CONTROL_EOF_KEEP_RUNNING
	kill -KILL "$pid" "$shim"
	over
	await "the shim's end" gone
	await "an end of the claims" nothing_claimed
}

# One descriptor of the folder for all VMs: locks of one open file description would not see each
# other. The launcher keeps it, and the claims end all the same.
test_many_of_one_descriptor() {
	local folder
	need_many
	exec {folder}<"$CLAIMS"
	endless 'claims { fd: 5 }' -b 'local_apic: true'
	for _ in "${cpus[@]}"; do
		one_vm 5<&"$folder"
	done
	all_run
	claimed "$(each_has 1 1)"
	# A DEDICATED VM sees the others' claims too, by its own descriptor of them.
	spec < <(flat reset -C 'tenancy: TENANCY_DEDICATED claims { fd: 5 }')
	launch 5<&"$folder"
	want_error 69 PLACEMENT_FAILED
	kill -KILL "${pids[0]}"
	wait "${pids[0]}" 2>/dev/null
	read_events
	await "an end of one VM's claims" test "$(each_has 1 1)" != "$(claims)"
	[ "$(claims | tr ';' '\n' | awk '{ v += $2; i += $3 } END { print v, i }')" = "$((${#cpus[@]} - 1)) $((${#cpus[@]} - 1))" ] ||
		fail "claims are: $(claims)"
	kill_all
	await "an end of the claims, while the folder is held open" nothing_claimed
	exec {folder}<&-
}

# ---- whole cores ---------------------------------------------------------------------------------

# dedicated COUNT: so many VMs that have a core each.
dedicated() { crew "$1" "tenancy: TENANCY_DEDICATED $(with_claims)"; }

test_many_a_core_of_its_own_is_shared_with_nobody() {
	local other
	need_many
	crew 1 "tenancy: TENANCY_DEDICATED pins: ${cpus[0]} $(with_claims)"
	claims | grep -q "cpu${cpus[0]} whole;" || fail "claims are: $(claims)"
	flat reset -C "pins: ${cpus[0]} $(with_claims)" | refused 69 PLACEMENT_FAILED 'cpus.pins[0]'
	want "message: \".*CPU ${cpus[0]} is claimed by a DEDICATED VM.*\""
	flat reset -C "tenancy: TENANCY_DEDICATED pins: ${cpus[0]} $(with_claims)" | refused 69 PLACEMENT_FAILED 'cpus.pins[0]'
	# A VM on another core is not on it, however many there are.
	crew 3 "$(with_claims)" -b 'local_apic: true'
	read_events
	[ "$(vcpu_cpus | grep -cx "${cpus[0]}")" = 1 ] || fail "vCPUs are on CPUs $(vcpu_cpus | tr '\n' ' ')"
	# Nor may a DEDICATED VM have what others share: pinned, or as many cores as there are.
	other=$(vcpu_cpus | tail -n 1)
	flat reset -C "tenancy: TENANCY_DEDICATED pins: $other $(with_claims)" | refused 69 PLACEMENT_FAILED 'cpus.pins[0]'
	kill_all
	await "an end of all claims" nothing_claimed
	flat reset -C "tenancy: TENANCY_DEDICATED pins: ${cpus[0]} $(with_claims)" >"$CASE/text"
	spec <"$CASE/text"
	launch
	want_status 32
}

# Who is refused is told which CPUs others have.
test_many_no_core_is_left() {
	local list
	need_many
	dedicated "$cores"
	read_events
	[ "$(vcpu_cpus | sort -u | wc -l)" = "$cores" ] || fail "vCPUs are on CPUs $(vcpu_cpus | tr '\n' ' ')"
	list=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
	flat reset -C "tenancy: TENANCY_DEDICATED $(with_claims)" | refused 69 PLACEMENT_FAILED cpus.tenancy
	want "message: \".*CPUs? $list.*\""
	flat reset -C "$(with_claims)" | refused 69 PLACEMENT_FAILED cpus.count
	want "message: \".*CPUs? $list.*\""
}

test_many_pins_are_claimed() {
	need_many
	crew 2 "pins: ${cpus[1]} $(with_claims)" -b 'local_apic: true'
	claims | grep -q "cpu${cpus[1]} 2 " || fail "claims are: $(claims)"
	# And so others go elsewhere.
	crew 2 "$(with_claims)" -b 'local_apic: true'
	claims | grep -q "cpu${cpus[1]} 2 " || fail "claims are: $(claims)"
}

# Two launches at once, one core: one of them has it, however they meet. It ends after the other, so
# that it was theirs to choose between.
test_many_two_race_for_the_last_core() {
	local rounds=200 round first status winner
	need_many
	! emulated || rounds=4
	dedicated $((cores - 1))
	endless "tenancy: TENANCY_DEDICATED $(with_claims)"
	for ((round = 0; round < rounds; round++)); do
		one_vm
		one_vm
		first=0 status=0
		wait -n -p first "${pids[-1]}" "${pids[-2]}" || status=$?
		[ "$status" = 69 ] || { cat "$CASE/shims.err"; fail "round $round: one has ended with status $status"; }
		[ "$first" = "${pids[-1]}" ] && winner=-2 || winner=-1
		await_event running "${events[winner]}"
		runs "${pids[winner]}" || fail "round $round: both have ended"
		kill -KILL "${pids[winner]}"
		wait "${pids[winner]}" 2>/dev/null
		grep -q 'other VMs have claimed' "$CASE/shims.err" || { cat "$CASE/shims.err"; fail "round $round: refused for another reason"; }
		: >"$CASE/shims.err"
		unset 'pids[-1]' 'pids[-1]' 'events[-1]' 'events[-1]'
	done
}

# ---- what a guest sees ---------------------------------------------------------------------------

# digest CPUS: the machine of a VM with these fields of cpus.
digest() {
	spec < <(flat power_off -c "${count:-2}" -b 'local_apic: true' -C "$1")
	launch
	want_status 0
	sed -n 's/^ *machine_sha256: "\([0-9a-f]*\)"$/\1/p' "$CASE/events" >"$CASE/digest"
	grep -qxE '[0-9a-f]{64}' "$CASE/digest" || fail "no digest"
	cat "$CASE/digest"
}

# same_machine CPUS: whatever other VMs there are.
same_machine() {
	local empty full without
	without=$(digest "$1") || fail "$without"
	empty=$(digest "$1 $(with_claims)") || fail "$empty"
	[ "$empty" = "$without" ] || fail "with claims another machine: $empty, $without"
	"${@:2}"
	full=$(digest "$1 $(with_claims)") || fail "$full"
	[ "$empty" = "$full" ] || fail "on a full host another machine: $empty, $full"
	kill_all
}

test_many_a_shared_machine_is_the_same_on_a_full_host() {
	need_many
	same_machine '' crew $((2 * ${#cpus[@]} + 1)) "$(with_claims)" -b 'local_apic: true'
	# Where one CPU alone is left, on which both vCPUs are.
	await "an end of all claims" nothing_claimed
	same_machine '' dedicated $((cores - 1))
}

test_many_a_dedicated_machine_is_the_same_on_a_full_host() {
	local count=1
	need_many
	same_machine 'tenancy: TENANCY_DEDICATED' crew 1 "tenancy: TENANCY_DEDICATED pins: ${cpus[0]} $(with_claims)"
}

# ---- folders that somebody spoils ----------------------------------------------------------------

# hold KIND [NAME...]: somebody has locks on these files (claims.py), all CPUs' without a name,
# until `let_go`.
hold() {
	local kind=$1 names=("${@:2}")
	[ ${#names[@]} -gt 0 ] || names=("${cpus[@]/#/cpu}")
	mkfifo "$CASE/hold"
	python3 tests/system/claims.py hold "$CLAIMS" "${names[@]}" "$kind" <"$CASE/hold" >"$CASE/held" &
	holder=$!
	exec {letting_go}>"$CASE/hold"
	await "$kind on ${names[*]}" grep -q held "$CASE/held"
}

let_go() {
	exec {letting_go}>&-
	wait "$holder" || fail "see above: who was to hold locks"
	rm "$CASE/hold" "$CASE/held"
}

# works: the folder is as good as new.
works() {
	spec < <(flat reset -C "$(with_claims)")
	launch
	want_status 32
	spec < <(flat reset -C "tenancy: TENANCY_DEDICATED $(with_claims)")
	launch
	want_status 32
}

test_many_locks_that_are_nobodys_vms() {
	local kind
	need_many
	for kind in write read most; do
		hold "$kind"
		flat reset -C "$(with_claims)" | refused 69 PLACEMENT_FAILED cpus.count
		flat reset -C "tenancy: TENANCY_DEDICATED $(with_claims)" | refused 69 PLACEMENT_FAILED cpus.tenancy
		flat reset -C "pins: ${cpus[0]} $(with_claims)" | refused 69 PLACEMENT_FAILED 'cpus.pins[0]'
		let_go
		works
	done
	# Of one CPU: others serve.
	hold write "cpu${cpus[0]}"
	works
	let_go
}

# Nothing in a claims folder can say that memory is there which is not, nor keep a VM from what it
# needs.
test_many_locks_on_memory_refuse_nobody() {
	need_many
	hold write node0 node1
	works
	let_go
}

test_many_a_lease_on_a_cpus_file() {
	need_many
	hold lease "cpu${cpus[0]}"
	flat reset -C "pins: ${cpus[0]} $(with_claims)" | refused 66 RESOURCE_UNREADABLE cpus.claims
	let_go
	works
}

test_many_cpus_files_of_other_kinds() {
	local make at
	need_many
	at=$CLAIMS/cpu${cpus[0]}
	for make in "mkdir $at" "mkfifo $at" "ln -s $CASE/elsewhere $at" "ln -s $CASE/spec.pb $at" "mknod $at c 1 3"; do
		$make 2>/dev/null || continue
		flat reset -C "pins: ${cpus[0]} $(with_claims)" | refused 66 RESOURCE_UNREADABLE cpus.claims
		want "message: \".*CPU ${cpus[0]} cannot be claimed: its file is no regular file.*\""
		flat reset -C "$(with_claims)" | refused 66 RESOURCE_UNREADABLE cpus.claims
		rm -r "$at"
	done
	[ ! -e "$CASE/elsewhere" ] || fail "a link was followed, and made a file"
	works
}

test_many_what_is_no_folder() {
	need_many
	CLAIMS=$CASE/missing
	flat reset -C "$(with_claims)" | refused 66 RESOURCE_MISSING cpus.claims
	CLAIMS=$CASE/file
	: >"$CLAIMS"
	flat reset -C "$(with_claims)" | refused 66 RESOURCE_WRONG_KIND cpus.claims
	CLAIMS=$CASE/fifo
	mkfifo "$CLAIMS"
	flat reset -C "$(with_claims)" | refused 66 RESOURCE_WRONG_KIND cpus.claims
	spec < <(flat reset -C 'claims { fd: 5 }')
	launch 5<"$CASE/file"
	want_error 66 RESOURCE_WRONG_KIND cpus.claims
	launch 5<>"$CASE/fifo"
	want_error 66 RESOURCE_WRONG_KIND cpus.claims
	launch
	want_error 66 RESOURCE_MISSING cpus.claims
}

test_many_no_permission() {
	local mode
	need_many
	need_root
	spec < <(flat 'fd: 5' -C "$(with_claims)")
	as_nobody
	# Neither into the folder, nor to make a file there, nor to open the one that is there.
	for mode in 0 555 755; do
		[ "$mode" != 755 ] || for cpu in "${cpus[@]}"; do : >"$CLAIMS/cpu$cpu"; done
		chmod "$mode" "$CLAIMS"
		with_dev 'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
		want_error 66 RESOURCE_UNREADABLE cpus.claims
	done
	chmod 666 "$CLAIMS"/cpu*
	with_dev 'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232' 5<"$GUESTS/reset.bin"
	want_status 32
}

# A VM that runs has what it has; the next finds the folder as it is.
test_many_a_folder_removed_or_replaced_while_held() {
	local had
	need_many
	crew 1 "$(with_claims)" -b 'local_apic: true'
	had=$(claims)
	rm -r "$CLAIMS"
	flat reset -C "$(with_claims)" | refused 66 RESOURCE_MISSING cpus.claims
	mkdir "$CLAIMS"
	works
	crew 1 "$(with_claims)" -b 'local_apic: true'
	claimed "$had"
	runs "${pids[0]}" || fail "the VM of the old folder has ended"
}
