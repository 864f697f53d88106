#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The two streams of a running VM, used roughly: commands that arrive in two pieces, cut at every
byte; and a reader of events that stops reading.

    streams.py split SHIM PROTO IMAGE
    streams.py stall SHIM PROTO IMAGE SECONDS

IMAGE is a guest that never stops by itself."""
import array
import fcntl
import os
import re
import sys
import termios
import time

from harness import Vm, expect, protoc

SPEC = """launch {{ vm_id: "streams" profile: "dev" cpus {{ count: 1 }}
  memory {{ nodes {{ size_mib: 4 }} }} boot {{ flat_boot {{ image {{ path: "{image}" }} }} }} {more} }}"""
# Every kind of command that leaves the VM running; what it lacks is refused, which is a reply too.
COMMANDS = ["status { }", "pause { }", "resume { }", "metrics { }", "balloon { target_mib: 1 }",
            'limit { device_id: "nosuch" limit { bytes_per_s: 1000000 } }',
            'resize { disk_id: "nosuch" }', "nmi { }", "console_size { columns: 80 rows: 24 }"]


def all_taken(fd):
    """Until the shim has read all that was written to it."""
    left = array.array("i", [1])
    while left[0]:
        fcntl.ioctl(fd, termios.FIONREAD, left)
        time.sleep(0.0002)


def split(shim, proto, image):
    vm = Vm(shim, proto, SPEC.format(image=image, more="").encode())
    vm.wait(r"running \{", "running event")
    sent = []
    for kind, command in enumerate(COMMANDS, 1):
        text = f"commands {{ request_id: {kind} {command} }}"
        data = protoc("encode", "ControlStream", proto, text.encode())
        for cut in range(1, len(data)):
            os.write(vm.control, data[:cut])
            all_taken(vm.control)
            os.write(vm.control, data[cut:])
            sent.append(kind)
    vm.request = len(COMMANDS)
    expect("ok: true" in vm.ask("stop"), "it stops as it was told last")
    expect(vm.process.wait(60) == 36, "status 36")
    vm.wait("^end$", "end of fd 4")
    replies = [int(n) for e in vm.events for n in re.findall(r"reply \{\s+request_id: (\d+)", e)]
    # A pause is answered when it is in force, perhaps behind the next command.
    expect(sorted(replies[:-1]) == sent, "a reply to each of them, once")
    print(f"{len(sent)} commands, each cut at another byte: a reply to each")


def cpu_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))


def stall(shim, proto, image, seconds):
    vm = Vm(shim, proto, SPEC.format(image=image, more="metrics { interval_ms: 100 }").encode())
    vm.wait(r"running \{", "running event")
    vm.reading.clear()
    # More replies than the pipe and the shim hold.
    os.write(vm.control, 200 * protoc("encode", "ControlStream", proto,
                                      b"commands { request_id: 4711 metrics { } }"))
    before = cpu_time(vm.process.pid)
    time.sleep(float(seconds))
    used = (cpu_time(vm.process.pid) - before) / os.sysconf("SC_CLK_TCK")
    expect(used > 0, "the guest goes on")
    vm.reading.set()
    expect("ok: true" in vm.ask("status"), "it answers again")
    replies = sum(len(re.findall(r"reply \{\s+request_id: 4711\s", e)) for e in vm.events)
    expect(replies == 200, f"each of 200 commands has its reply, {replies} have")
    expect("ok: true" in vm.ask("stop"), "it stops")
    expect(vm.process.wait(60) == 36, "status 36")
    vm.wait("^end$", "end of fd 4")
    last = lost = 0
    for event in vm.events[:-1]:
        sequence = int(re.search(r"^  sequence: (\d+)$", event, re.M)[1])
        dropped = re.search(r"^  dropped: (\d+)$", event, re.M)
        dropped = int(dropped[1]) if dropped else 0
        expect(sequence == last + 1 + dropped, f"event {sequence} says what was lost before it")
        last, lost = sequence, lost + dropped
    expect(lost > 0, "events were lost")
    expect(f"events_dropped: {lost}\n" in vm.wait(r"terminal \{", "terminal event"),
           "the terminal event has the sum")
    print(f"{seconds} s without a reader: {used:.1f} s of CPU, {last} events, {lost} of them lost")


if __name__ == "__main__":
    {"split": split, "stall": stall}[sys.argv[1]](*sys.argv[2:])
