#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a command with a vsock channel as fd 8, and plays the orchestrator that tests/guests/vsock.c wants.

    vsock_channel.py COMMAND...

The status is the command's, or 99 when something else came over the channel or a connection than should."""
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys

# runtime/virtio/vsock_channel.h
CONNECT, CONNECTED, REFUSED, ASK, ACCEPT, REFUSE = range(1, 7)
BY_GUEST, NO_DRIVER, FULL = 1, 2, 3
ANNOUNCE, PLACES = 1, 256
MESSAGE = "<HHIQIIII"
# The ports of tests/guests/vsock.c.
ECHO, STALL, REFUSED_PORT, RELEASE, CROWD, SILENCE = 7000, 7001, 7002, 7003, 7005, 7009
DIAL, LEAVE, DIAL_AND_WAIT, END = 7010, 7011, 7012, 7013
LISTEN, SLOW, UNUSED = 5000, 5001, 5999
LIMIT = 60


def expect(condition, what):
    if not condition:
        print(f"vsock_channel: {what}", file=sys.stderr)
        sys.exit(99)


def read_all(connection, length):
    """As many bytes, or fewer at the end of file."""
    got = b""
    while len(got) < length and (data := connection.recv(length - len(got))):
        got += data
    return got


class Orchestrator:
    def __init__(self, channel):
        self.channel = channel
        self.selector = selectors.DefaultSelector()
        self.selector.register(channel, selectors.EVENT_READ, self.message)
        self.crowd = 0
        self.silent, self.late, self.stalled = [], [], []
        self.waiting = {}  # a CONNECT's id: how it is to be refused, and its socket, which closed would give it up
        self.next_id = 1

    # ---- the channel

    def send(self, kind, number, port=0, flags=0, fds=()):
        packet = struct.pack(MESSAGE, 1, kind, flags, number, port, 0, 0, 0)
        socket.send_fds(self.channel, [packet], [s.fileno() for s in fds])
        for s in fds:
            s.close()

    def receive(self):
        packet = self.channel.recv(64)
        expect(len(packet) == struct.calcsize(MESSAGE), f"a message of {len(packet)} bytes")
        version, kind, _, number, guest_port, host_port, reason, _ = struct.unpack(MESSAGE, packet)
        expect(version == 1, f"version {version}")
        return kind, number, guest_port, host_port, reason

    def message(self, _):
        if not self.channel.recv(1, socket.MSG_PEEK):  # the VM has ended, and says why
            self.close(self.channel)
            return
        kind, number, guest_port, host_port, reason = self.receive()
        if kind == ASK:
            self.asked(number, guest_port, host_port)
        else:
            expect(number in self.waiting, f"answer {kind} to nothing")
            wanted, connection = self.waiting.pop(number)
            expect((kind, reason) == (REFUSED, wanted), f"answer {kind}, reason {reason} and not {wanted}")
            connection.close()

    def pair(self):
        ours, theirs = socket.socketpair()
        ours.settimeout(LIMIT)
        return ours, theirs

    def connect(self, port, flags=0, refused=None):
        ours, theirs = self.pair()
        if refused:
            self.waiting[self.next_id] = refused, ours
        self.send(CONNECT, self.next_id, port, flags, [theirs])
        self.next_id += 1
        return ours

    def accept(self, number, handler):
        ours, theirs = self.pair()
        self.send(ACCEPT, number, fds=[theirs])
        if handler:
            self.selector.register(ours, selectors.EVENT_READ, handler)
        return ours

    def asked(self, number, guest_port, port):
        if port in (REFUSED_PORT, LEAVE, DIAL_AND_WAIT):
            if port == LEAVE:
                self.slow.close()
            if port == DIAL_AND_WAIT:
                self.connect(SLOW, refused=NO_DRIVER)
            self.send(REFUSE, number)
        elif port == SILENCE:
            self.silent.append(number)
        elif port == STALL:
            self.stalled.append((self.accept(number, None), guest_port))
        elif port == END:
            self.end(number)
        else:
            expect(port in (ECHO, RELEASE, CROWD, DIAL), f"the guest asks for port {port}")
            if port == RELEASE:
                self.release()
            self.accept(number, self.echo)
            if port == CROWD:
                self.crowd += 1
            if port == CROWD and self.crowd == PLACES:
                self.connect(UNUSED, refused=FULL)
            if port == DIAL:
                self.dial()

    # ---- connections

    def close(self, connection):
        self.selector.unregister(connection)
        connection.close()

    def echo(self, connection):
        try:
            data = connection.recv(65536)
            connection.sendall(data)
        except ConnectionError:  # the guest's device was reset, or its packet out of place
            data = b""
        if not data:
            self.close(connection)

    def nothing(self, connection):
        expect(connection.recv(1) == b"", "bytes over a connection that is none")
        self.late.remove(connection)
        self.close(connection)

    def release(self):
        for number in self.silent:
            self.late.append(self.accept(number, self.nothing))
        for connection, port in self.stalled:
            self.drain(connection, port)
        self.silent, self.stalled = [], []

    def drain(self, connection, port):
        got = bytearray()

        def take(connection):
            data = connection.recv(65536)
            got.extend(data)
            if not data:
                want = b"".join(struct.pack("<Q", port << 32 | at) for at in range(0, len(got), 8))
                expect(len(got) >= 65536 and got == want, f"{len(got)} bytes of a reader that stalled are not right")
                self.close(connection)

        self.selector.register(connection, selectors.EVENT_READ, take)

    def dial(self):
        connection = self.connect(LISTEN, ANNOUNCE)
        kind, _, guest_port, host_port, _ = self.receive()
        expect((kind, guest_port) == (CONNECTED, LISTEN), f"answer {kind} for port {guest_port}")
        greeting = b"OK %d\n" % host_port
        expect(read_all(connection, len(greeting)) == greeting, "the greeting is wrong")
        data = bytes(range(251)) * 80
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        expect(read_all(connection, 2 * len(data)) == data, "the guest's echo is wrong")
        self.connect(UNUSED, refused=BY_GUEST)
        self.slow = self.connect(SLOW)

    def end(self, number):
        """What is no message is dropped; when the channel ends, connections go on."""
        expect(not self.late, f"{len(self.late)} sockets that came too late are still open")
        for packet in b"short", struct.pack(MESSAGE, 2, REFUSE, 0, number, 0, 0, 0, 0), bytes(64):
            self.channel.send(packet)
        self.send(CONNECT, 0, LISTEN)  # without a socket
        self.send(CONNECT, 0, LISTEN, fds=self.pair())  # with two
        self.send(77, number)
        self.accept(number, self.echo)
        self.close(self.channel)


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 8)  # taken, until it is what it is meant for
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(LIMIT)
    os.dup2(theirs.fileno(), 8)
    theirs.close()
    host = Orchestrator(ours)
    process = subprocess.Popen(sys.argv[1:], pass_fds=[3, 4, 8])
    os.close(8)
    while process.poll() is None:
        for key, _ in host.selector.select(0.2):
            if key.fileobj.fileno() >= 0:
                key.data(key.fileobj)
    expect(not host.waiting, f"refusals that did not come: {host.waiting}")
    return process.returncode


sys.exit(main())
