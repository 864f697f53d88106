#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Kills a shim at random moments while its guest (tests/guests/journal.c) writes, and holds the image
against what the guest was told is flushed.

    crash_safety.py BUILD KILLS [SEED]

After each kill the image has its length, and each sector that an acknowledged flush covers holds that
record or a later one, whole words of one or of two of them (a write that was under way). What the guest
said and the shim had not yet handed on is not looked for: that makes the check weaker, never wrong. The
host lives on: that a flush reaches the disk beneath is the host kernel's promise (fsync(2)), not tried here."""
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

SECTORS = 16
SECTOR = 512
LIMIT = 60
SPEC = """launch {{
  vm_id: "journal" profile: "dev" cpus {{ count: 1 }} memory {{ nodes {{ size_mib: 16 }} }}
  boot {{ flat_boot {{ image {{ path: "{build}/guests/journal.bin" }} local_apic: true }} }}
  console {{ output {{ fd: 1 }} early: true }}
  disks {{ id: "journal" image {{ path: "{image}" }} }}
}}"""


def sector_is_right(words, sector, wanted):
    """Whether all of it is of records that belong there, none older than `wanted`."""
    for i, word in enumerate(words):
        n = word >> 32
        if n < wanted or word & 0xFFFFFFFF != i * (n > 0) or (n > 0 and n % SECTORS != sector):
            return False
    return True


def check(image, wanted):
    size = os.stat(image).st_size
    if size != SECTORS * SECTOR:
        return f"the image has {size} bytes"
    with open(image, "rb") as file:
        for sector in range(SECTORS):
            words = struct.unpack(f"<{SECTOR // 8}Q", file.read(SECTOR))
            if not sector_is_right(words, sector, wanted[sector]):
                return f"sector {sector}: wanted {wanted[sector]}, found {sorted({w >> 32 for w in words})}"
    return None


def run(shim, stream, delay, wanted):
    """One life. Returns the flushes that were acknowledged, -1 when it did not die of the kill."""
    command = f'exec "$0" 3<"{stream}" 4>"{stream}.events"'
    process = subprocess.Popen(["bash", "-c", command, shim], stdout=subprocess.PIPE)
    # A guest that never says anything: what it is killed for then is a failure.
    watchdog = threading.Timer(LIMIT, process.terminate)
    watchdog.start()
    said = process.stdout.read(4)
    watchdog.cancel()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()
    if process.wait() != -signal.SIGKILL or len(said) < 4:
        return -1
    said = struct.unpack(f"<{len(said) // 4}I", said[: len(said) // 4 * 4])
    for n in range(said[0] + 1, said[-1] + 1):
        wanted[n % SECTORS] = n
    return len(said) - 1


def main():
    build, kills = sys.argv[1], int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    chance = random.Random(seed)
    wanted = [0] * SECTORS
    flushes = 0
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="axvm-crash.") as folder:
        image = f"{folder}/image"
        with open(image, "wb") as file:
            file.truncate(SECTORS * SECTOR)
        text = SPEC.format(build=os.path.abspath(build), image=image)
        with open(f"{folder}/stream", "wb") as file:
            subprocess.run(["protoc", "--encode=axvm.v1.ControlStream", "proto/axvm.proto"],
                           input=text.encode(), stdout=file, check=True)
        for kill in range(kills):
            acknowledged = run(f"{build}/axvm-shim", f"{folder}/stream", chance.uniform(0, 0.3), wanted)
            if acknowledged < 0:
                with open(f"{folder}/stream.events", "rb") as file:
                    subprocess.run(["protoc", "--decode=axvm.v1.EventStream", "proto/axvm.proto"],
                                   stdin=file, check=False)
                sys.exit(f"FAILED kill {kill}: the shim ended by itself")
            flushes += acknowledged
            if wrong := check(image, wanted):
                sys.exit(f"FAILED kill {kill}: {wrong}")
    if flushes == 0:
        sys.exit("FAILED: nothing was ever acknowledged")
    print(f"ok killed: {kills} kills, {flushes} flushes acknowledged, newest record {max(wanted)}: nothing lost")


if __name__ == "__main__":
    main()
