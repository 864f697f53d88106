#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The interactive shell of the test host, as a person has it: hack/lab without a command, on a terminal.

    lab_shell.py             what a terminal must do: output, its size, Ctrl-C, job control, the status
    lab_shell.py --readme    README.md's five minutes, pasted

From the project's root, after `make` and with what `make lab` installs; a boot of the lab. What was seen is left in
build/captures/lab-shell.txt."""
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

LIMIT = 300  # s, of an answer; the boot has longer
PROMPT = "lab:[^ ]*# $"


class Shell:
    """hack/lab on a terminal of 31 lines of 117 columns."""

    def __init__(self):
        self.seen = b""
        self.ended = False
        self.mark = 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 117, 0, 0))
            os.environ["TERM"] = "vt100"
            os.execv("hack/lab", ["hack/lab"])

    def text(self):
        """What came since the last line was typed, without escape sequences."""
        text = self.seen[self.mark:].decode("utf-8", "replace").replace("\r", "")
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text)

    def read(self, limit):
        if not select.select([self.master], [], [], limit)[0]:
            return
        try:
            more = os.read(self.master, 4096)
        except OSError:
            more = b""
        self.ended = not more
        self.seen += more

    def until(self, pattern, limit=LIMIT):
        end = time.monotonic() + limit
        while not re.search(pattern, self.text()):
            left = end - time.monotonic()
            if left <= 0 or self.ended:
                self.keep()
                sys.exit(f"FAIL: {pattern!r} did not come; there was:\n{self.text()}")
            self.read(left)

    def type(self, keys):
        self.mark = len(self.seen)
        os.write(self.master, keys)

    def expect(self, line, pattern):
        """Types a line, and wants the pattern and then a prompt."""
        self.type(line.encode() + b"\r")
        self.until(pattern)
        self.until(PROMPT)

    def wait(self):
        while not self.ended:
            self.read(LIMIT)
        self.keep()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def keep(self):
        os.makedirs("build/captures", exist_ok=True)
        with open("build/captures/lab-shell.txt", "wb") as file:
            file.write(self.seen)


def terminal(shell):
    # What is typed comes back as well: the answers are not in the lines.
    shell.expect("echo answer=$((6*7)) of $(nproc)", "(?m)^answer=42 of 4$")
    shell.expect("stty size", "(?m)^31 117$")
    shell.expect("echo term=$TERM", "(?m)^term=vt100$")
    shell.expect("type -p axvm; ls -l $KERNEL $INITRD; test -c /dev/kvm && echo a kvm: $?",
                 r"(?s)build/axvm\n.*vmlinuz.*initramfs\.gz.*a kvm: 0")
    shell.type(b"sleep 1000\r")
    shell.until("sleep 1000\n")
    time.sleep(1)
    shell.type(b"\x03")
    shell.until(PROMPT)
    shell.expect("echo status=$?", "(?m)^status=130$")
    shell.type(b"sleep 1001\r")
    shell.until("sleep 1001\n")
    time.sleep(1)
    shell.type(b"\x1a")
    shell.until("Stopped")
    shell.until(PROMPT)
    shell.expect("kill %1; echo job=$?", "(?m)^job=0$")
    shell.expect("axvm run tests/specs/longmode.txtpb; echo ran=$?", "(?m)^ran=0$")
    shell.type(b"exit 7\r")
    status = shell.wait()
    if status != 7:
        sys.exit(f"FAIL: the shell's status 7 became {status}")


def readme(shell):
    """As pasted: the lines go in at once and the shell takes one after the other."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", open("README.md", encoding="utf-8").read())
    tour = next(block for block in blocks if "axvm run" in block)
    lines = [line for line in tour.splitlines() if line and not line.startswith("#")]
    if len(lines) < 12:
        sys.exit("FAIL: the README has lost its commands")
    shell.expect("set -o pipefail; trap 'echo failed=$?' ERR; cd $(mktemp -d) && ln -s $OLDPWD/* . && echo there=$?",
                 "(?m)^there=0$")
    paste = "\r".join(lines) + "\recho the=end $?\r"
    shell.type(paste.encode())
    shell.until("(?m)^the=end 0$", 1800)
    text = shell.text()
    for pattern in (r"outcome: OUTCOME_HALTED", r'rax: "0xcafebabedeadbeef"', r"(?m)^spin +RUNNING", r"(?m)^kvm\.vcpus\.exits",
                    r"(?m)^admitted$"):
        if not re.search(pattern, text):
            sys.exit(f"FAIL: {pattern!r} is not in what came of README.md's commands:\n{text}")
    if re.search(r"(?m)^failed=", text):
        sys.exit(f"FAIL: a command of README.md failed:\n{text}")
    shell.type(b"exit 0\r")
    if shell.wait() != 0:
        sys.exit("FAIL: the test host did not end well")


def main():
    shell = Shell()
    shell.until(PROMPT, 900)
    if not re.search(r"initramfs.*\$INITRD = /", shell.text()):
        sys.exit(f"FAIL: no banner:\n{shell.text()}")
    (readme if sys.argv[1:] == ["--readme"] else terminal)(shell)
    print("ok")


if __name__ == "__main__":
    main()
