#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Drives a whole life of a VM with nothing of ours but the shim and the schema: Python's subprocess
and stock protoc. Launch, status, pause, resume, balloon, rate limit, resize, metrics, wrong commands,
shutdown.

    harness.py SHIM PROTO tests/specs/life.txtpb

The spec must have 32 MiB, a balloon, and a disk "root" of fd 5. Prints what it does; the status is 0
when all went as the contract says."""
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import threading

LIMIT = 60
MIB = 1024 * 1024


def protoc(option, message, proto, data):
    folder, name = os.path.split(proto)
    command = ["protoc", f"--{option}=axvm.v1.{message}", f"--proto_path={folder}", name]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


class Vm:
    """A shim and its two streams. `disk` is the file that becomes fd 5, if any."""

    def __init__(self, shim, proto, spec, disk=None):
        self.proto = proto
        self.request = 0
        self.events = []
        self.changed = threading.Condition()
        # Cleared, events are left unread.
        self.reading = threading.Event()
        self.reading.set()
        self.event_fd, low_events = os.pipe()
        low_control, self.control = os.pipe()
        # Out of the way of 3 and 4, where the shim wants its streams.
        control = fcntl.fcntl(low_control, fcntl.F_DUPFD, 20)
        events = fcntl.fcntl(low_events, fcntl.F_DUPFD, 20)
        image = fcntl.fcntl(os.open(os.devnull, os.O_RDONLY) if disk is None else disk,
                            fcntl.F_DUPFD, 20)
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" 3<&{control} 4>&{events} 5<&{image} '
             f'{control}<&- {events}>&- {image}<&-', shim],
            pass_fds=(control, events, image), stdin=subprocess.DEVNULL)
        for fd in (low_control, low_events, control, events, image):
            os.close(fd)
        threading.Thread(target=self.read, daemon=True).start()
        os.write(self.control, protoc("encode", "ControlStream", proto, spec))

    def read(self):
        data = b""
        while self.reading.wait() and (more := os.read(self.event_fd, 65536)):
            data += more
            # A prefix of the stream may end inside an event: take whole ones only.
            whole = 0
            while size := self.first(data[whole:]):
                whole += size
            if whole:
                text = protoc("decode", "EventStream", self.proto, data[:whole]).decode()
                data = data[whole:]
                with self.changed:
                    self.events += re.split(r"(?m)(?<=^\}\n)(?=events \{)", text)
                    self.changed.notify_all()
        with self.changed:
            self.events.append("end")
            self.changed.notify_all()

    @staticmethod
    def first(data):
        """Bytes of the first event: a tag of one byte, a length, that many bytes."""
        size = shift = 0
        for at in range(1, min(len(data), 6)):
            size |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] < 0x80:
                end = at + 1 + size
                return end if end <= len(data) else 0
        return 0

    def wait(self, pattern, what):
        with self.changed:
            if not self.changed.wait_for(lambda: any(re.search(pattern, e) for e in self.events),
                                         LIMIT):
                sys.exit(f"FAIL: no {what}; events were:\n" + "\n".join(self.events))
            return next(e for e in self.events if re.search(pattern, e))

    def ask(self, command, fields=""):
        text = f"commands {{ request_id: {self.request + 1} {command} {{ {fields} }} }}"
        return self.ask_bytes(protoc("encode", "ControlStream", self.proto, text.encode()),
                              f"{command} {fields}")

    def ask_bytes(self, data, what):
        """What data asks for, under the next request id."""
        self.request += 1
        os.write(self.control, data)
        reply = self.wait(rf"(?s)reply \{{\s+request_id: {self.request}\s", f"reply to {what}")
        print(f"{what}: " + " ".join(reply[reply.index("reply {"):].split())[:150])
        return reply

    def counter(self, name):
        """Its value in a new report."""
        found = re.search(rf'name: "{re.escape(name)}"\s+value: (\d+)', self.ask("metrics"))
        return int(found[1]) if found else None


def expect(condition, what):
    if not condition:
        sys.exit(f"FAIL: {what}")


def main(shim, proto, spec):
    with open(spec, "rb") as file:
        text = file.read()
    with tempfile.TemporaryFile() as disk:
        disk.truncate(MIB)
        live(Vm(shim, proto, text, disk.fileno()), disk)


def refused(reply, code):
    expect("ok: true" not in reply and f"code: ERROR_CODE_{code}" in reply, f"it is refused as {code}")


def live(vm, disk):
    vm.wait(r"running \{", "running event")
    expect("STATE_RUNNING" in vm.ask("status"), "it runs")
    expect("ok: true" in vm.ask("pause"), "pause is done")
    expect("STATE_PAUSED" in vm.ask("status"), "it is paused")
    refused(vm.ask("pause"), "COMMAND_WRONG_STATE")
    expect("ok: true" in vm.ask("resume"), "resume is done")
    expect("STATE_RUNNING" in vm.ask("status"), "it runs again")
    refused(vm.ask("resume"), "COMMAND_WRONG_STATE")
    expect("ok: true" in vm.ask("balloon", "target_mib: 24"), "the balloon has a target")
    expect(vm.counter("balloon.wanted_bytes") == 8 * MIB, "the guest is asked for 8 of its 32 MiB")
    refused(vm.ask("balloon", "target_mib: 33"), "COMMAND_INVALID")
    expect("ok: true" in vm.ask("limit", 'device_id: "root" limit { ops_per_s: 100 }'), "a limit")
    refused(vm.ask("limit", 'device_id: "nosuch" limit { }'), "COMMAND_INVALID")
    disk.truncate(2 * MIB)
    expect("ok: true" in vm.ask("resize", 'disk_id: "root"'), "the disk is larger")
    disk.truncate(2 * MIB + 512)
    grown = vm.ask("resize", 'disk_id: "root"')
    refused(grown, "COMMAND_INVALID")
    expect('field: "disks[0].max_size"' in grown, "the field that would allow it is named")
    disk.truncate(2 * MIB + 1)
    refused(vm.ask("resize", 'disk_id: "root"'), "DEVICE_FAILED")
    # Field 99 of Command, which no schema has.
    refused(vm.ask_bytes(bytes([0x12, 5, 0x08, vm.request + 1, 0x9A, 0x06, 0]), "who knows what"),
            "COMMAND_INVALID")
    expect("STATE_RUNNING" in vm.ask("status"), "all that did not disturb it")
    expect("ok: true" in vm.ask("shutdown"), "the power button is pressed")
    status = vm.process.wait(LIMIT)
    terminal = vm.wait(r"terminal \{", "terminal event")
    vm.wait("^end$", "end of fd 4")
    expect(status == 0 and "outcome: OUTCOME_POWER_OFF" in terminal, f"status {status}, and the event agrees")
    for state in ("STATE_PAUSED", "STATE_RUNNING", "STATE_STOPPING"):
        vm.wait(rf"(?s)state_changed \{{[^}}]*to: {state}\s", f"change to {state}")
    sequence = [int(n) for e in vm.events for n in re.findall(r"^  sequence: (\d+)$", e, re.M)]
    expect(sequence == list(range(1, len(sequence) + 1)), "no event is missing")
    print("a whole life: done")


if __name__ == "__main__":
    main(*sys.argv[1:])
