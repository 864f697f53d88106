#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients of a console that come and go: at a PTY, or at two FIFOs. Between them nobody is there, and no thread of the
shim but the vCPU's (whose guest looks for input by a timer) wakes.

    console_clients.py pty|fifos AXVM IMAGE FOLDER

IMAGE is a guest that writes what it reads, until a full stop comes (tests/guests/console.c)."""
import os
import select
import subprocess
import sys
import time
import tty

LIMIT = 60
SPEC = """launch {{ vm_id: "clients" profile: "dev" cpus {{ count: 1 }} memory {{ nodes {{ size_mib: 16 }} }}
  boot {{ flat_boot {{ image {{ path: "{image}" }} local_apic: true }} }}
  console {{ input {{ {input} }} output {{ {output} }} }} }}"""


def at_pty(folder):
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    os.dup2(master, 7)
    os.dup2(master, 8)
    return "fd: 7", "fd: 8", name, name, (7, 8)


def at_fifos(folder):
    names = [f"{folder}/{end}.fifo" for end in ("keys", "screen")]
    for name in names:
        os.mkfifo(name)
    return f'path: "{names[0]}"', f'path: "{names[1]}"', *names, ()


def switches(pid):
    """How often each thread of a process but the vCPUs has slept."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            lines = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        if not lines["Name"].startswith("vcpu"):
            found[lines["Name"], task] = lines["voluntary_ctxt_switches"]
    return found


def child_of(pid):
    end = time.time() + LIMIT
    while time.time() < end:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    sys.exit("FAIL: axvm run has no shim")


def rests(pid):
    """Until nothing of it has moved for half a second."""
    end = time.time() + LIMIT
    while time.time() < end:
        before = switches(pid)
        time.sleep(0.5)
        if switches(pid) == before:
            return
    sys.exit(f"FAIL: with nobody there it does not rest: {before}, {switches(pid)}")


def opened(name, flags):
    """A FIFO that nobody reads yet is refused."""
    end = time.time() + LIMIT
    while True:
        try:
            return os.open(name, flags | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            if time.time() > end:
                sys.exit(f"FAIL: nobody is at the other end of {name}")
            time.sleep(0.05)


def expect(fd, wanted):
    got = b""
    while wanted not in got:
        if not select.select([fd], [], [], LIMIT)[0]:
            sys.exit(f"FAIL: {wanted} did not come, but {got}")
        more = os.read(fd, 4096)
        if not more:
            sys.exit(f"FAIL: the end came, and not {wanted}")
        got += more


def main(kind, axvm, image, folder):
    input_, output, keys_at, screen_at, fds = {"pty": at_pty, "fifos": at_fifos}[kind](folder)
    with open(f"{folder}/vm.txtpb", "w", encoding="ascii") as file:
        file.write(SPEC.format(image=image, input=input_, output=output))
    run = subprocess.Popen([axvm, "run", f"{folder}/vm.txtpb"], pass_fds=fds, stdin=subprocess.DEVNULL)
    # The shim keeps a FIFO open for both directions, so that a client is let in from then on.
    os.close(opened(keys_at, os.O_WRONLY))
    shim = child_of(run.pid)
    for i in range(3):
        screen = opened(screen_at, os.O_RDONLY)
        keys = opened(keys_at, os.O_WRONLY)
        os.write(keys, f"client {i}".encode())
        expect(screen, f"client {i}".encode())
        os.close(keys)
        os.close(screen)
        rests(shim)
    keys = opened(keys_at, os.O_WRONLY)
    os.write(keys, b"the end.")
    status = run.wait(LIMIT)
    if status != 0:
        sys.exit(f"FAIL: status {status}")
    print("three clients came and went")


if __name__ == "__main__":
    main(*sys.argv[1:])
