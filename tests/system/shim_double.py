#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stands in for axvm-shim where its other side is what is tested: keeps the contract of fds 3 and 4
and has no VM. Every command is answered; counters grow from one metrics report to the next.

Under a name with "silent" in it (a link) commands get no reply; under one with "slow" in it the launch
takes a second and a half; under one with "flood" events come as fast as they are taken, from the launch on until
it is told to end."""
import fcntl
import os
import sys
import threading
import time

MIB_OF_MEMORY = 32
STATES = {"running": 2, "paused": 3, "stopping": 4}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def payload(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def parse(data):
    """(field, value, end) of the first field, or None when it is not whole."""
    def take(at):
        value = shift = 0
        while at < len(data):
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return value, at
        return None
    head = take(0)
    body = head and take(head[1])
    if not body:
        return None
    if head[0] & 7 == 0:
        return head[0] >> 3, body[0], body[1]
    end = body[1] + body[0]
    return (head[0] >> 3, data[body[1]:end], end) if end <= len(data) else None


def fields(data):
    found = {}
    while data:
        field, value, end = parse(data)
        found[field] = value
        data = data[end:]
    return found


class Double:
    def __init__(self, silent, slow, flood):
        self.sequence = 0
        self.state = STATES["running"]
        self.metrics = 0
        self.vm_id = b""
        self.wanted = 0
        self.powered_off = False
        self.silent = silent
        self.slow = slow
        self.flood = threading.Thread(target=self.pour) if flood else None
        self.lock = threading.Lock()

    def encoded(self, body):
        self.sequence += 1
        head = number(1, self.sequence) + number(2, time.monotonic_ns()) + payload(5, self.vm_id)
        return payload(1, head + body)

    def write(self, data):
        with self.lock:
            while data:
                data = data[os.write(4, data):]

    def event(self, body):
        self.write(self.encoded(body))

    def pour(self):
        """Many at a time: more a second than any reader prints; the pipe holds what a busy host makes us late by."""
        fcntl.fcntl(4, fcntl.F_SETPIPE_SZ, 1 << 20)
        change = payload(15, number(1, 2) + number(2, 2) + payload(3, b"flood"))
        many = b"".join(self.encoded(change) for _ in range(4000))
        while self.state != STATES["stopping"]:
            self.write(many)

    def become(self, name):
        # Known before it is told: whoever pours events leaves the lock to nobody before that.
        before, self.state = self.state, STATES[name]
        self.event(payload(15, number(1, before) + number(2, self.state)))

    def report(self):
        self.metrics += 1000
        counters = {"vcpu.0.exits": 2 * self.metrics, "vcpu.1.exits": 2 * self.metrics,
                    "vcpus.exits.mmio": 2 * self.metrics, "vcpus.exits.hlt": 2 * self.metrics,
                    "disk.root.bytes_read": 4096 * self.metrics,
                    "balloon.wanted_bytes": self.wanted, "memory.node.0.host_node": 1,
                    "memory.node.0.placed.pages_2m": 16}
        return b"".join(payload(1, payload(1, name.encode()) + number(2, value))
                        for name, value in counters.items())

    def command(self, data):
        found = fields(data)
        request = found.pop(1, 0)
        what = next(iter(found), 0)
        reply = number(1, request)
        metrics = payload(5, self.report()) if what == 7 else b""
        error = None
        if what in (2, 3):
            self.powered_off = what == 2
            self.become("stopping")
        elif what == 4 and self.state == STATES["paused"]:
            error = number(1, 23) + payload(7, b"the VM is paused")
        elif what == 4:
            self.become("paused")
        elif what == 5 and self.state != STATES["paused"]:
            error = number(1, 23) + payload(7, b"the VM is not paused")
        elif what == 5:
            self.become("running")
        elif what == 8 and (left := fields(found[what]).get(1, 0)) <= MIB_OF_MEMORY:
            self.wanted = (MIB_OF_MEMORY - left) << 20
        elif what == 9 and fields(found[what]).get(1) == b"root":
            pass
        elif what == 10:
            # The image is fd 5, or not there.
            if os.fstat(5).st_size % 512:
                error = number(1, 81) + payload(7, b"no multiple of the block size")
            elif os.fstat(5).st_size > 2 << 20:
                error = number(1, 22) + payload(6, b"disks[0].max_size") + payload(7, b"it has grown too far")
        elif what not in (6, 7):
            error = number(1, 22) + payload(7, b"no command that could be meant")
        if not self.silent:
            body = number(2, int(error is None)) + number(4, self.state) + metrics
            self.event(payload(20, reply + body + (payload(3, error) if error else b"")))
        return self.state != STATES["stopping"]

    def run(self):
        data = b""
        going = True
        while going:
            more = os.read(3, 65536)
            if not more:
                break
            data += more
            while going and (field := parse(data)):
                data = data[field[2]:]
                if field[0] == 1:
                    self.vm_id = fields(field[1]).get(1, b"")
                    if self.slow:
                        self.event(payload(10, number(1, 3) + number(2, 1000)))
                        time.sleep(1.5)
                    self.event(payload(10, number(1, 8) + number(2, 1234567)))
                    self.event(payload(14, payload(1, b"dev")))
                    if self.flood:
                        self.flood.start()
                else:
                    going = self.command(field[1])
        if self.flood:
            self.flood.join()
        outcome, status, text = ((1, 0, b"powered off") if self.powered_off else
                                 (7, 36, b"stopped by the host"))
        self.event(payload(22, number(1, outcome) + number(2, status) + payload(5, text)))
        return status


if __name__ == "__main__":
    name = os.path.basename(sys.argv[0])
    sys.exit(Double(*(word in name for word in ("silent", "slow", "flood"))).run())
