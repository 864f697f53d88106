#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Five VMs from Python: launched, followed, commanded and shut down from one loop, with nothing but
the schema and the standard library. README.md, beside this file, says what happens.

    protoc --proto_path=/usr/share/axvm/proto --python_out=. axvm.proto    # makes axvm_pb2.py
    PYTHONPATH=. ./five.py /usr/sbin/axvm-shim IMAGE
"""
import fcntl
import os
import selectors
import signal
import sys

import axvm_pb2 as axvm

INTERFACE = 1  # the oldest that has all that is used here: proto/released/CHANGELOG.md
IMAGE_FD = 5  # in the shim
SIZE_MIB, SHRUNK_MIB = 16, 12
PATIENCE_S = 60
PLANS = [("pause", "resume", "shutdown"), ("balloon", "shutdown")] + 3 * [("shutdown",)]


class Failed(Exception):
    """A VM has not done what was asked of it."""


def launch_spec(vm_id):
    spec = axvm.LaunchSpec(vm_id=vm_id, profile="dev")
    spec.cpus.count = 1
    spec.memory.nodes.add(size_mib=SIZE_MIB)
    spec.boot.flat_boot.image.fd = IMAGE_FD
    spec.boot.flat_boot.local_apic = True
    spec.balloon.SetInParent()  # there is one, with all its defaults
    # When this program dies, its ends of all pipes are closed: no VM stays behind.
    spec.lifecycle.on_control_eof = axvm.ON_CONTROL_EOF_STOP
    return spec


def spawn(shim, *fds):
    """Starts the shim, with the fds as its 3, 4 and so on; returns its pid. Nothing else is inherited:
    in Python every fd is close-on-exec, but for those that posix_spawn places."""
    # Out of the way of the numbers that they become.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in fds]
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high, 3)]
    # A session of its own: Ctrl-C is ours to deal with. Python ignores SIGPIPE, and that would be
    # inherited.
    pid = os.posix_spawn(shim, [shim], {}, file_actions=actions, setsid=True, setsigdef=[signal.SIGPIPE])
    for fd in high:
        os.close(fd)
    return pid


def varint(data, at):
    """(value, where the next byte is), or (0, None) where the end of data comes first."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at
    return 0, None


def whole_events(data):
    """Yields the events at the start of an EventStream, and at last the bytes of one that is not
    whole yet. On the wire it is event after event, each a tag, a length and that many bytes."""
    while data:
        tag, at = varint(data, 0)
        length, at = varint(data, at) if at else (0, None)
        if at is None or len(data) < at + length:
            break
        if tag != axvm.EventStream.EVENTS_FIELD_NUMBER << 3 | 2:
            raise Failed(f"no event has the tag {tag}")
        yield axvm.Event.FromString(data[at:at + length])
        data = data[at + length:]
    yield data


class Vm:
    """A shim with both its streams, and the commands that are to be sent, one after the other."""

    def __init__(self, shim, image, vm_id, plan):
        self.id, self.plan, self.sent = vm_id, list(plan), []
        self.data, self.sequence, self.terminal = b"", 0, None
        control, self.control = os.pipe()
        self.events, events = os.pipe()
        self.pid = spawn(shim, control, events, image)
        os.close(control)
        os.close(events)
        self.write(axvm.ControlStream(launch=launch_spec(vm_id)))

    def write(self, message):
        """Appends to the ControlStream: the bytes of two messages are the message of both."""
        try:
            os.write(self.control, message.SerializeToString())
        except BrokenPipeError:
            pass  # a shim that reads no more is about to say why, in its terminal event

    def next_command(self):
        self.sent.append(self.plan.pop(0))
        command = axvm.Command(request_id=len(self.sent))
        getattr(command, self.sent[-1]).SetInParent()
        if self.sent[-1] == "balloon":
            command.balloon.target_mib = SHRUNK_MIB
        self.write(axvm.ControlStream(commands=[command]))

    def take_events(self):
        """What has come on fd 4; False: it has ended."""
        more = os.read(self.events, 65536)
        *events, self.data = whole_events(self.data + more)
        for event in events:
            self.expect(self.terminal is None, "an event after the terminal one")
            self.sequence += 1
            self.expect(event.sequence == self.sequence, f"event {self.sequence} was lost")
            self.take(event)
        return bool(more)

    def take(self, event):
        self.expect(event.sequence != 1 or event.interface_version >= INTERFACE,
                    f"the shim has interface {event.interface_version}")
        # Bodies of other kinds, and those of a later schema (None), are for other programs.
        match event.WhichOneof("body"):
            case "running":
                self.next_command()
            case "reply":
                self.expect(event.reply.request_id == len(self.sent), "a reply to nothing that was asked")
                self.expect(event.reply.ok, f"{self.sent[-1]}: {event.reply.error.message}")
                # The balloon's reply says that the guest is asked, an event of its own that it is
                # done.
                if self.sent[-1] != "balloon" and self.plan:
                    self.next_command()
            case "balloon_settled":
                self.expect(event.balloon_settled.reached, f"it has {event.balloon_settled.actual_mib} MiB")
                self.next_command()
            case "terminal":
                self.terminal = event.terminal

    def expect(self, holds, otherwise):
        if not holds:
            raise Failed(f"{self.id}: {otherwise}")

    def end(self):
        """After the end of fd 4: what is to be told. The process's status is that of the terminal event."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = None
        self.expect(self.terminal is not None, f"status {status}, and no terminal event")
        self.expect(self.terminal.exit_status == status, f"status {status}, but the terminal event says {self.terminal.exit_status}")
        self.expect(self.terminal.outcome == axvm.OUTCOME_POWER_OFF, self.terminal.message)
        self.expect(not self.plan, f"it ended before {self.plan}")
        return f"{self.id}: {', '.join(self.sent)}: {axvm.Outcome.Name(self.terminal.outcome)}, status {status}"


def serve(vms):
    """One loop for all of them: their ends, by id."""
    ends = {}
    with selectors.DefaultSelector() as selector:
        for vm in vms:
            selector.register(vm.events, selectors.EVENT_READ, vm)
        while selector.get_map():
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise Failed(f"nothing happens: {', '.join(vm.id for vm in vms if vm.pid)}")
            for key, _ in ready:
                if not key.data.take_events():
                    selector.unregister(key.fd)
                    ends[key.data.id] = key.data.end()
    return ends


def main(shim, image_path):
    vms = []
    try:
        with open(image_path, "rb") as image:
            for number, plan in enumerate(PLANS):
                vms.append(Vm(shim, image.fileno(), f"five-{number}", plan))
        ends = serve(vms)
    except (Failed, OSError) as error:
        # Those that still run end with us (on_control_eof).
        sys.exit(f"five.py: {error}")
    for vm in vms:
        print(ends[vm.id])


if __name__ == "__main__":
    main(*sys.argv[1:])
