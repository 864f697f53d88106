#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a command with what a VM's devices need from the host, and plays the host's side.

    peer.py idle COMMAND...    fd 7: a TAP, up; fd 8: a vsock channel nobody speaks on
    peer.py echo COMMAND...    and each frame sent to the guest comes back
    peer.py flood COMMAND...   the same after more frames than the TAP and the guest have room for
    peer.py named COMMAND...   a TAP of one queue, peer0, that nobody holds; the command ten times in a row

In a network namespace of the caller's making (unshare -n). The status is the command's, or 99 when
the other side did not do its part."""
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

TUNSETPERSIST = 0x400454CB
TUNSETIFF, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFHWADDR = 0x400454CA, 0x8913, 0x8914, 0x8927
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_UP = 0x2, 0x1000, 0x4000, 0x1
HELLO, PLAIN, END = 0x88B4, 0x88B5, 0x88B6
NAME = b"peer0"
LIMIT = 60


def tap():
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", NAME, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    with open(f"/proc/sys/net/ipv6/conf/{NAME.decode()}/disable_ipv6", "w") as f:
        f.write("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", NAME, 0))
        flags = struct.unpack("16sH22x", request)[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", NAME, flags | IFF_UP))
        request = fcntl.ioctl(control, SIOCGIFHWADDR, struct.pack("16s24x", NAME))
    return fd, request[18:24]


class Wire:
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((NAME.decode(), 0))
        self.address = address
        self.guest = None

    def send(self, kind, payload):
        self.socket.send(self.guest + self.address + struct.pack(">H", kind) + payload)

    def receive(self, seconds):
        """The next frame from the guest: its type and payload; None when none came."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                frame, where = self.socket.recvfrom(65536)
                if where[2] != socket.PACKET_OUTGOING:
                    self.guest = frame[6:12]
                    return struct.unpack(">H", frame[12:14])[0], frame[14:]
        return None


def expect(condition, what):
    if not condition:
        print(f"peer: {what}", file=sys.stderr)
        sys.exit(99)


def frames(wire):
    for size in list(range(46, 1500, 97)) + [1500]:
        payload = struct.pack(">I", size) + bytes(i * size & 255 for i in range(size - 4))
        wire.send(PLAIN, payload)
        expect(wire.receive(LIMIT) == (PLAIN, payload), f"a frame of {size} bytes did not come back")
    wire.send(END, bytes(46))
    expect(wire.receive(LIMIT) is not None, "the last frame did not come back")


def flood(wire):
    for i in range(4000):
        try:
            wire.send(PLAIN, struct.pack(">I", i) + bytes(1000))
        except OSError:
            pass  # the TAP's queue is full, as it should be
    # Whatever of them was kept comes back; then there must be room again.
    marker = b"again" + bytes(60)
    for _ in range(LIMIT * 10):
        wire.send(PLAIN, marker)
        while (frame := wire.receive(0.1)) is not None:
            if frame[1] == marker:
                while wire.receive(0.2) is not None:
                    pass
                return
    expect(False, "no frame came back after a flood")


def named(command):
    fd = tap()[0]
    fcntl.ioctl(fd, TUNSETPERSIST, 1)
    os.close(fd)
    for launch in range(10):
        status = subprocess.call(command)
        expect(status == 0, f"launch {launch}: status {status}")
    return 0


def is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


def main():
    what, command = sys.argv[1], sys.argv[2:]
    if what == "named":
        return named(command)
    null = os.open("/dev/null", os.O_RDONLY)
    inherited = [fd for fd in (3, 4, 9) if is_open(fd)]
    for number in (7, 8):  # taken, until they are what they are meant for
        os.dup2(null, number)
    tap_fd, address = tap()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wire = Wire(address)
    os.dup2(tap_fd, 7)
    os.dup2(theirs.fileno(), 8)
    process = subprocess.Popen(command, pass_fds=inherited + [7, 8])
    if what != "idle":
        expect((hello := wire.receive(LIMIT)) and hello[0] == HELLO, "the guest says nothing")
        if what == "flood":
            flood(wire)
        frames(wire)
    status = process.wait()
    ours.close()
    return status


sys.exit(main())
