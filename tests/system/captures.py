#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a person sees: the text of `axvm run` and `axvm top` on a terminal, with a real VM.

    captures.py AXVM IMAGE FOLDER

IMAGE is a guest that echoes its console until a full stop comes, and then powers off. The captures are left
in FOLDER as axvm-run.txt and axvm-top.txt, each byte as the terminal got it."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

LIMIT = 60


class Terminal:
    """A command on a terminal of its own, 24 lines of 100 columns."""

    def __init__(self, *command):
        self.seen = b""
        self.ended = False
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    def read(self, limit):
        if not select.select([self.master], [], [], limit)[0]:
            return
        try:
            more = os.read(self.master, 4096)
        except OSError:
            more = b""
        self.ended = not more
        self.seen += more

    def until(self, pattern):
        end = time.monotonic() + LIMIT
        while not re.search(pattern, self.text()):
            left = end - time.monotonic()
            if left <= 0 or self.ended:
                sys.exit(f"FAIL: {pattern!r} did not come; there was:\n{self.text()}")
            self.read(left)

    def type(self, keys):
        os.write(self.master, keys)

    def text(self):
        return self.seen.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait(self):
        while not self.ended:
            self.read(LIMIT)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def keep(self, path):
        with open(path, "wb") as file:
            file.write(self.seen)


def expect(condition, what, text=""):
    if not condition:
        sys.exit(f"FAIL: {what}\n{text}")


def main(axvm, image, folder):
    run = Terminal(axvm, "run", "--flat", image, "--id", "web-17", "--profile", "dev", "--cpus", "1",
                   "--memory", "32M,populate", "--events", "text",
                   "--set", "boot { flat_boot { local_apic: true } } "
                   "console { output { fd: 1 } input { fd: 0 } }")
    run.until("Ctrl-A h lists keys")
    run.until(r"RUNNING|running")
    run.type(b"hello from the keyboard\r")
    run.until("hello from the keyboard")
    metrics = subprocess.run([axvm, "ctl", "web-17", "metrics"], stdout=subprocess.PIPE, check=True,
                             timeout=LIMIT).stdout.decode()
    for line in (r"console\.bytes_out +24", r"console\.queue\.1\.bytes_from_guest +24",
                 r"console\.queue\.0\.bytes_to_guest +24", r"console\.latency_ns +2 \(mean \d+\)",
                 r"kvm\.vcpus\.exits +[1-9]", r"vcpus\.exits\.mmio +[1-9]"):
        expect(re.search(rf"(?m)^{line}", metrics), f"metrics have {line}", metrics)
    top = Terminal(axvm, "top", "--interval", "1")
    # The second picture has rates.
    top.until(r"(?s)BY NODE.*BY NODE.*web-17 +RUNNING +\d+ +\d+\.\d +\d+ MiB  \d+:32 MiB .*/s +\d+")
    top.type(b"q")
    expect(top.wait() == 0, "axvm top ends with 0")
    run.type(b"\x01h")
    run.until("Ctrl-A p  press its power button")
    run.type(b"the end.")
    run.until(r"web-17: powered off.*\(status 0\)")
    expect(run.wait() == 0, "the guest's status is that of axvm run")
    for name, terminal in (("run", run), ("top", top)):
        terminal.keep(os.path.join(folder, f"axvm-{name}.txt"))
        print(f"---- axvm {name}\n{terminal.text()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
