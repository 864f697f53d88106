#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The claims of a folder, from outside (runtime/host/claims.h).

    claims.py show FOLDER
        a line a CPU that somebody has claimed: "cpu0 2 1", vCPUs and I/O threads, or "cpu0 whole"
    claims.py hold FOLDER NAME... write|read|most|lease
        locks all of these files, for writing or reading, or all slots but the last, or takes a lease on them, as somebody
        might who has the right to; says "held", and holds them until its stdin ends
"""
import fcntl
import os
import re
import signal
import struct
import sys

SLOTS = 1 << 20
# struct flock of x86-64: l_type, l_whence, l_start, l_len, l_pid
FLOCK = "hhqqi4x"


def others(fd, start, end):
    """The locks of others in [start, end), as pairs; the kernel names one of those there are, any."""
    if start >= end:
        return []
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0))
    kind, _, at, length, _ = struct.unpack(FLOCK, answer)
    if kind == fcntl.F_UNLCK:
        return []
    first, last = max(at, start), min(at + length, end) if length else end
    return others(fd, start, first) + [(first, last)] + others(fd, last, end)


def show(folder):
    names = [name for name in os.listdir(folder) if re.fullmatch("cpu[0-9]+", name)]
    for name in sorted(names, key=lambda name: int(name[3:])):
        fd = os.open(f"{folder}/{name}", os.O_RDWR)
        locks = others(fd, 0, 2 * SLOTS)
        os.close(fd)
        vcpus = sum(min(b, SLOTS) - a for a, b in locks if a < SLOTS)
        io = sum(b - max(a, SLOTS) for a, b in locks if b > SLOTS)
        if locks == [(0, 2 * SLOTS)]:
            print(name, "whole")
        elif locks:
            print(name, vcpus, io)


def hold(folder, names, kind):
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    held = []
    for name in names:
        # A lease on what is open for writing is not given.
        flags = os.O_CREAT | (os.O_RDWR if kind in ("write", "most") else os.O_RDONLY)
        fd = os.open(f"{folder}/{name}", flags, 0o660)
        if kind == "lease":
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        else:
            lock = fcntl.F_RDLCK if kind == "read" else fcntl.F_WRLCK
            length = 2 * SLOTS - 1 if kind == "most" else 0
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(FLOCK, lock, os.SEEK_SET, 0, length, 0))
        held.append(fd)
    print("held", flush=True)
    sys.stdin.read()


if sys.argv[1] == "show":
    show(sys.argv[2])
else:
    hold(sys.argv[2], sys.argv[3:-1], sys.argv[-1])
