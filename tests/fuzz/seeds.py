#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Seeds that need not lie in the tree: launches and event streams from text, small kernels, honest requests.

Usage: tests/fuzz/seeds.py DIRECTORY      (from the project's root; protoc is on PATH)
"""
import glob
import os
import struct
import subprocess
import sys

EVENTS = """
events { sequence: 1 vm_id: "a" stage_completed { stage: STAGE_ARRIVE duration_ns: 5 } }
events { sequence: 2 host_refused { profile: "xv2" requirements { name: "n" asked: "a" found: "f" } } }
events { sequence: 3 dropped: 4 state_changed { to: STATE_PAUSED } }
events { sequence: 4 guest_panicked { message: "oh" } }
events { sequence: 5 balloon_settled { request_id: 1 target_mib: 24 actual_mib: 30 reached: false } }
"""

# Two nodes, two cores of two threads in each, of which one CPU is not online.
FACTS = """
cpus { id: 0 node: 0 package: 0 core: 0 apic_id: 0 smt_siblings: [0, 4] vendor: "GenuineIntel" family: 6 model: 62
       stepping: 4 cpuid { leaf: 1 eax: 0x306e4 ebx: 0x200800 ecx: 0x7fbee3ff edx: 0xbfebfbff }
       cpuid { leaf: 11 subleaf: 0 eax: 1 ebx: 2 ecx: 0x100 } }
cpus { id: 1 node: 0 package: 0 core: 1 apic_id: 2 smt_siblings: [1, 5] }
cpus { id: 2 node: 1 package: 1 core: 0 apic_id: 32 smt_siblings: [2, 6] }
cpus { id: 3 node: 1 package: 1 core: 1 apic_id: 34 smt_siblings: [3, 7] }
cpus { id: 4 node: 0 package: 0 core: 0 } cpus { id: 5 node: 0 package: 0 core: 1 allowed: false }
cpus { id: 6 node: 1 package: 1 core: 0 } cpus { id: 7 online: false }
nodes { id: 0 memory_mib: 65536 free_mib: 60000 cpus: [0, 1, 4, 5] huge_pages { size_kib: 2048 total: 9 free: 8 } }
nodes { id: 1 memory_mib: 65536 free_mib: 50000 }
distances: [10, 21, 21, 10] flags: ["fpu", "vmx", "constant_tsc"] vulnerabilities { name: "l1tf" state: "Vulnerable" }
vmx { flags: ["ept", "vpid"] msrs { index: 0x482 value: 0xfff9fffe0401e172 } }
kvm { present: true accessible: true api_version: 12 max_vcpus: 288 tsc_khz: 2700000 guest_cpuid { leaf: 7 indexed: true }
      capabilities { name: "KVM_CAP_IRQCHIP" value: 1 } parameters { name: "kvm_intel.ept" value: "Y" } }
"""

# Lists too long for their arrays, and numbers beyond their bounds. A fuzzer seldom finds them by
# itself, since all lengths around them must fit.
FACTS_BEYOND = {
    "siblings": "cpus { id: 0 smt_siblings: [0, 1, 2, 3, 4, 5, 6, 7, 8] }",
    "leaves": "cpus { id: 0" + "".join(f" cpuid {{ leaf: {i} }}" for i in range(45)) + " }",
    "huge_pages": "cpus { id: 0 } nodes { id: 0" + " huge_pages { size_kib: 4 }" * 5 + " }",
    "cpu": "cpus { id: 1024 }",
    "sibling": "cpus { id: 0 smt_siblings: [0, 1024] }",
    "node": "cpus { id: 0 } nodes { id: 1024 }",
    "msr": "cpus { id: 0 } vmx { msrs { index: 0x492 value: 1 } msrs { index: 0x47f value: 1 } }",
    "vulnerabilities": "cpus { id: 0 }" + ' vulnerabilities { name: "a" }' * 41,
    "offers": "cpus { id: 0 }" + ' offers { name: "a" }' * 9,
    "flags": "cpus { id: 0 }" + f' flags: "{"a" * 120}"' * 33,
}


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


def field(number, payload):
    """A field of bytes or of a message."""
    length, size = b"", len(payload)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


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


def elf_of_ld():
    """Notes of two alignments in one segment, and before it one that lies outside of the file."""
    image = bytearray(elf())
    struct.pack_into("<H", image, 56, 3)
    struct.pack_into("<IIQQQQQQ", image, 120, 4, 4, 0x500, 0, 0, 24, 24, 4)
    struct.pack_into("<IIQQQQQQ", image, 176, 4, 4, 0x180, 0, 0, 92, 92, 8)
    struct.pack_into("<III4s16s", image, 0x180, 4, 16, 5, b"GNU\0", b"")
    struct.pack_into("<III4s20s", image, 0x1A0, 4, 20, 3, b"GNU\0", b"\xab" * 20)
    struct.pack_into("<III4sQ", image, 0x1C4, 4, 8, 18, b"Xen\0", 0x1000010)
    return bytes(image)


def kernel_input(what, cmdline_length, image):
    return struct.pack("<BHI", what, cmdline_length, 0x100000) + image


def request(queue, header, readable, writable, status):
    """An op of lib/driver_script.c that offers a request, and one that kicks."""
    sizes = []
    for size in (readable, writable):
        sizes += [size // 512, 1] if size >= 512 else [size, 0]
    op = bytes([queue << 4 | 5, 0, len(header), *sizes, status]) + header
    return op + bytes([queue << 4 | 10])


def block(kind, sector, readable, writable):
    return request(0, struct.pack("<IIQ", kind, 0, sector), readable, writable, 1)


def packet(op, length, flags=0):
    """A vsock packet from port 1 of the guest (7) to port 2 of the host."""
    header = struct.pack("<QQIIIHHIII", 7, 2, 1, 2, length, 1, op, flags, 4096, 0)
    return request(1, header, length, 0, 0)


def device_seeds():
    accept = bytes([12, 0, 4, 1, 1, 2])  # the channel's answer to an ASK, with a socket
    return {
        "block": {
            "write": block(1, 8, 1024, 0),
            "read": block(0, 0, 0, 4096),
            "flush": block(4, 0, 0, 0),
            "id": block(8, 0, 0, 20),
            "discard": block(11, 0, 16, 0),
            "zeroes": block(13, 0, 16, 0),
        },
        "vsock": {
            "open": packet(1, 0) + accept + packet(5, 20) + packet(6, 0) + packet(4, 0, 3),
            "reset": packet(1, 0) + accept + packet(3, 0),
        },
        "net": {
            "transmit": request(1, bytes(12), 60, 0, 0),
            "receive": request(0, b"", 0, 2048, 0) + bytes([12, 0]),
            "rx_mode": request(4, b"\0\0", 1, 0, 1),
            "mac": request(4, b"\1\1", 6, 0, 1),
            "pairs": request(4, b"\4\0", 2, 0, 1),
        },
        "console": {
            "out": request(1, b"hello", 0, 0, 0),
            "in": request(0, b"", 0, 64, 0) + bytes([12, 0, 0, 0]),
        },
        "balloon": {
            "inflate": request(0, struct.pack("<4I", 0x100, 0x101, 0x1F0, 3), 0, 0, 0),
            "deflate": request(1, struct.pack("<I", 0x100), 0, 0, 0),
            "stats": request(2, struct.pack("<HQ", 4, 9), 0, 0, 0),
            "report": request(4, b"", 0, 4096, 0),
        },
        "rng": {"read": request(0, b"", 0, 64, 0)},
    }


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
        launch = field(1, launch_of(stream))
        for quick in ("", " quick: true"):
            write("plan_request", name + quick.partition(":")[0].strip(), launch + field(2, encode("HostFacts", FACTS + quick)))
    for name, text in FACTS_BEYOND.items():
        write("plan_request", f"beyond_{name}", launch + field(2, encode("HostFacts", text)))
    write("event_stream", "events", b"\x05" + encode("EventStream", EVENTS))
    for target, seeds in device_seeds().items():
        for name, data in seeds.items():
            write(target, name, data)
    for shape in range(4):
        write("kernel", f"bzimage{shape}", kernel_input(shape | 8, 20, bzimage()))
        write("kernel", f"elf{shape}", kernel_input(shape | 8, 2000, elf()))
        write("kernel", f"elf_of_ld{shape}", kernel_input(shape | 8, 2000, elf_of_ld()))
        write("kernel", f"flat{shape}", kernel_input(shape | 4, 0, b"\xf4" * 64))


main()
