#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Drives a whole life of a VM with nothing of ours but the shim and the schema: Python's subprocess
and stock protoc. Launch, status, pause, resume, metrics, a wrong command, stop.

    harness.py SHIM PROTO SPEC.txtpb

Prints what it does; the status is 0 when all went as the contract says."""
import fcntl
import os
import re
import subprocess
import sys
import threading

LIMIT = 30


def protoc(option, message, proto, data):
    folder, name = os.path.split(proto)
    command = ["protoc", f"--{option}=axvm.v1.{message}", f"--proto_path={folder}", name]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


class Vm:
    def __init__(self, shim, proto, spec):
        self.proto = proto
        self.request = 0
        self.events = []
        self.changed = threading.Condition()
        self.event_fd, low_events = os.pipe()
        low_control, self.control = os.pipe()
        # Out of the way of 3 and 4, where the shim wants its streams.
        control = fcntl.fcntl(low_control, fcntl.F_DUPFD, 20)
        events = fcntl.fcntl(low_events, fcntl.F_DUPFD, 20)
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" 3<&{control} 4>&{events} {control}<&- {events}>&-', shim],
            pass_fds=(control, events), stdin=subprocess.DEVNULL)
        for fd in (low_control, low_events, control, events):
            os.close(fd)
        threading.Thread(target=self.read, daemon=True).start()
        os.write(self.control, protoc("encode", "ControlStream", proto, spec))

    def read(self):
        data = b""
        while more := os.read(self.event_fd, 65536):
            data += more
            # A prefix of the stream may end inside an event: take whole ones only.
            while whole := self.first(data):
                text = protoc("decode", "EventStream", self.proto, data[:whole]).decode()
                data = data[whole:]
                with self.changed:
                    self.events.append(text)
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

    def ask(self, command):
        self.request += 1
        text = f"commands {{ request_id: {self.request} {command} {{ }} }}"
        os.write(self.control, protoc("encode", "ControlStream", self.proto, text.encode()))
        reply = self.wait(rf"(?s)reply \{{\s+request_id: {self.request}\s", f"reply to {command}")
        print(f"{command}: " + " ".join(reply.split())[:150])
        return reply


def expect(condition, what):
    if not condition:
        sys.exit(f"FAIL: {what}")


def main(shim, proto, spec):
    with open(spec, "rb") as file:
        vm = Vm(shim, proto, file.read())
    vm.wait(r"running \{", "running event")
    expect("STATE_RUNNING" in vm.ask("status"), "it runs")
    expect("ok: true" in vm.ask("pause"), "pause is done")
    expect("PAUSED" in vm.ask("status"), "it is paused")
    wrong = vm.ask("pause")
    expect("ok: true" in wrong or "COMMAND_WRONG_STATE" in wrong, "a second pause is answered")
    expect("ok: true" in vm.ask("resume"), "resume is done")
    expect("STATE_RUNNING" in vm.ask("status"), "it runs again")
    expect("counters" in vm.ask("metrics"), "there are counters")
    refused = vm.ask("balloon")
    expect("ok: true" not in refused and "code:" in refused, "no balloon is there")
    expect("ok: true" in vm.ask("stop"), "stop is done")
    status = vm.process.wait(LIMIT)
    terminal = vm.wait(r"terminal \{", "terminal event")
    vm.wait("^end$", "end of fd 4")
    expect(status == 36 and "exit_status: 36" in terminal, f"status {status} and the event agree")
    sequence = [int(n) for e in vm.events for n in re.findall(r"^  sequence: (\d+)$", e, re.M)]
    expect(sequence == list(range(1, len(sequence) + 1)), "no event is missing")
    print("a whole life: done")


if __name__ == "__main__":
    main(*sys.argv[1:])
