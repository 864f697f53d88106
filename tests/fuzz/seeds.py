#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Seeds that need not lie in the tree: launches and event streams from text, and small kernels.

Usage: tests/fuzz/seeds.py DIRECTORY      (from the project's root; protoc is on PATH)
"""
import glob
import os
import struct
import subprocess
import sys

EVENTS = """
events { sequence: 1 vm_id: "a" stage_completed { stage: ARRIVE duration_ns: 5 } }
events { sequence: 2 host_refused { profile: "xv2" requirements { name: "n" asked: "a" found: "f" } } }
events { sequence: 3 dropped: 4 state_changed { to: PAUSED } }
events { sequence: 4 guest_panicked { message: "oh" } }
"""


def encode(kind, text):
    command = ["protoc", f"--encode=axvm.v1.{kind}", "proto/axvm.proto"]
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout


def launch_of(stream):
    """The payload of the first field of a ControlStream."""
    length = shift = 0
    at = 1
    while True:
        length |= (stream[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not stream[at - 1] & 0x80:
            return stream[at : at + length]


def bzimage():
    image = bytearray(0x800 + 0x1000)
    image[0x1F1] = 3
    struct.pack_into("<I", image, 0x1F4, 0x1000 // 16)
    struct.pack_into("<H", image, 0x1FE, 0xAA55)
    image[0x200:0x206] = b"\xeb\x6aHdrS"
    struct.pack_into("<H", image, 0x206, 0x20F)
    image[0x211] = 0x83
    struct.pack_into("<I", image, 0x214, 0x100000)
    struct.pack_into("<II", image, 0x22C, 0x7FFFFFFF, 0x200000)
    image[0x234] = 1
    struct.pack_into("<HI", image, 0x236, 0x7F, 2047)
    struct.pack_into("<II", image, 0x248, 0x100, 0xD00)
    struct.pack_into("<QI", image, 0x258, 0x1000000, 0x800000)
    return bytes(image)


def elf():
    image = bytearray(0x400)
    image[:7] = b"\x7fELF\2\1\1"
    struct.pack_into("<HHI", image, 16, 2, 62, 1)
    struct.pack_into("<Q", image, 32, 64)
    struct.pack_into("<HHH", image, 52, 64, 56, 2)
    struct.pack_into("<IIQQQQQQ", image, 64, 1, 5, 0x200, 0, 0x1000000, 0x100, 0x2000, 4)
    struct.pack_into("<IIQQQQQQ", image, 120, 4, 4, 0x180, 0, 0, 24, 24, 4)
    struct.pack_into("<III4sQ", image, 0x180, 4, 8, 18, b"Xen\0", 0x1000010)
    return bytes(image)


def kernel_input(what, cmdline_length, image):
    return struct.pack("<BHI", what, cmdline_length, 0x100000) + image


def main():
    def write(target, name, data):
        os.makedirs(os.path.join(sys.argv[1], target), exist_ok=True)
        with open(os.path.join(sys.argv[1], target, name), "wb") as file:
            file.write(data)

    for path in glob.glob("tests/specs/*.txtpb") + glob.glob("tests/fuzz/specs/*.txtpb"):
        name = os.path.basename(path).removesuffix(".txtpb")
        with open(path, encoding="utf-8") as file:
            stream = encode("ControlStream", file.read())
        write("control_stream", name, b"\x07" + stream)
        write("spec", name, launch_of(stream))
    write("event_stream", "events", b"\x05" + encode("EventStream", EVENTS))
    for shape in range(4):
        write("kernel", f"bzimage{shape}", kernel_input(shape | 8, 20, bzimage()))
        write("kernel", f"elf{shape}", kernel_input(shape | 8, 2000, elf()))
        write("kernel", f"flat{shape}", kernel_input(shape | 4, 0, b"\xf4" * 64))


main()
