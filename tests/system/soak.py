#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many launches one after another, then one VM that does I/O for long: what the host has less of
afterwards, and what the one VM has more of.

    soak.py BUILD LAUNCHES SECONDS

Every launch must end as it should. Left behind there must be no process, no mount, no file system
object of ours and no descriptor. The VM of the second part (tests/guests/journal.c: writes, flushes,
console bytes) must keep its descriptors and threads, and its memory within 1 MiB of what it was after its
first seconds. Kernel memory is printed, not judged: others use this host too."""
import os
import signal
import subprocess
import sys
import tempfile
import time

FLAT = """launch {{ vm_id: "soak" profile: "dev" cpus {{ count: 2 }} memory {{ nodes {{ size_mib: 16 }} }}
  boot {{ flat_boot {{ image {{ path: "{build}/guests/longmode.bin" }} }} }} }}"""
BUSY = """launch {{ vm_id: "soak-io" profile: "dev" cpus {{ count: 1 }} memory {{ nodes {{ size_mib: 16 }} }}
  boot {{ flat_boot {{ image {{ path: "{build}/guests/journal.bin" }} local_apic: true }} }}
  console {{ output {{ fd: 1 }} early: true }} rng {{}} balloon {{}}
  disks {{ id: "journal" image {{ path: "{image}" }} }} }}"""


def encode(text, path):
    with open(path, "wb") as file:
        subprocess.run(["protoc", "--encode=axvm.v1.ControlStream", "proto/axvm.proto"],
                       input=text.encode(), stdout=file, check=True)


def kernel_memory():
    """KiB of slab, kernel stacks and page tables."""
    with open("/proc/meminfo", encoding="ascii") as file:
        rows = dict(line.split(":") for line in file)
    return {name: int(rows[name].split()[0]) for name in ("Slab", "SUnreclaim", "KernelStack", "PageTables")}


def say_kernel_memory(before):
    print("kernel memory, KiB: " + ", ".join(f"{k} {v - before[k]:+d}" for k, v in kernel_memory().items()))


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return len(file.readlines())


def launches(build, folder, count):
    stream = f"{folder}/flat"
    encode(FLAT.format(build=build), stream)
    before = (len(os.listdir("/proc/self/fd")), mounts(), sorted(os.listdir("/tmp")))
    memory = kernel_memory()
    largest, smallest, start = 0, 1 << 40, time.monotonic()
    for i in range(count):
        # The shell becomes the shim: what wait4 says is the shim's.
        pid = os.posix_spawn("/bin/bash", ["bash", "-c", f'exec "$0" 3<"{stream}" 4>"{folder}/events"',
                                           f"{build}/axvm-shim"], os.environ)
        _, status, usage = os.wait4(pid, 0)
        if status != 0:
            sys.exit(f"FAILED launch {i}: wait status {status:#x}")
        largest, smallest = max(largest, usage.ru_maxrss), min(smallest, usage.ru_maxrss)
    seconds = time.monotonic() - start
    after = (len(os.listdir("/proc/self/fd")), mounts())
    left = sorted(set(os.listdir("/tmp")) - set(before[2]))
    left = [name for name in left if name.startswith(("axvm", "shim"))]
    print(f"{count} launches in {seconds:.0f} s, {1000 * seconds / count:.1f} ms each; peak RSS of one "
          f"{smallest} to {largest} KiB")
    say_kernel_memory(memory)
    if after != before[:2] or left:
        sys.exit(f"FAILED: fds and mounts were {before[:2]}, are {after}; left in /tmp: {left}")
    print(f"ok {count} launches left nothing behind")


def threads_of(pid):
    """Not the kernel's own: workers of the ring (fsync waits in one) come and go."""
    names = [open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8").read()
             for task in os.listdir(f"/proc/{pid}/task")]
    return sum(not name.startswith(("iou-", "kvm-")) for name in names)


def state_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        rows = dict(line.rstrip("\n").split(":", 1) for line in file if ":" in line)
    return {"fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": threads_of(pid),
            "rss": int(rows["VmRSS"].split()[0])}


def busy(build, folder, seconds):
    image = f"{folder}/image"
    with open(image, "wb") as file:
        file.truncate(1 << 20)
    encode(BUSY.format(build=build, image=image), f"{folder}/busy")
    with subprocess.Popen(["bash", "-c", f'exec "$0" 3<"{folder}/busy" 4>"{folder}/events"',
                           f"{build}/axvm-shim"], stdout=subprocess.PIPE) as process:
        end = time.monotonic() + seconds
        said, first, memory = 0, None, {}
        while time.monotonic() < end:
            said += len(os.read(process.stdout.fileno(), 65536))
            if first is None and time.monotonic() > end - seconds * 0.9:
                first, memory = state_of(process.pid), kernel_memory()
        last = state_of(process.pid)
        process.send_signal(signal.SIGTERM)
        while os.read(process.stdout.fileno(), 65536):
            pass
        status = process.wait()
    print(f"one VM for {seconds} s: {said // 4} flushes; fds {first['fds']} and {last['fds']}, threads "
          f"{first['threads']} and {last['threads']}, RSS {first['rss']} and {last['rss']} KiB; status {status}")
    say_kernel_memory(memory)
    if first["fds"] != last["fds"] or first["threads"] != last["threads"] or \
            last["rss"] > first["rss"] + 1024 or said < 8:
        sys.exit("FAILED: it has grown, or did nothing")
    print(f"ok one VM for {seconds} s")


def main():
    build, count, seconds = os.path.abspath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="soak.") as folder:
        launches(build, folder, count)
        busy(build, folder, seconds)


if __name__ == "__main__":
    main()
