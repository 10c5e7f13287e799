"""Device rules: the writes for version 1; for version 2 the program, run by a small interpreter of eBPF."""

import struct

import pytest

from sixhops.linux.cgroups.devices import plan_version1
from sixhops.linux.cgroups.devices_bpf import compile_rules
from sixhops.wire.runtime.document import DeviceRule

DENY_ALL = DeviceRule(allow=False, access="rwm")
NULL = DeviceRule(allow=True, type="c", major=1, minor=3, access="rwm")
MKNOD = DeviceRule(allow=True, type="c", access="m")
M, R, W = 1, 2, 4
BLOCK, CHARACTER = 1, 2


def run(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers = [0] * 11
    position = 0
    while True:
        code, sides, offset, value = struct.unpack_from("<BBhi", program, position * 8)
        target, source = sides & 15, sides >> 4
        position += 1
        if code == 0x61:
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif code == 0x54:
            registers[target] &= value & 0xFFFFFFFF
        elif code == 0x74:
            registers[target] >>= value
        elif code == 0xB4:
            registers[target] = value
        elif code == 0xBC:
            registers[target] = registers[source]
        elif code == 0x95:
            return registers[0]
        elif code in {0x55, 0x15, 0x5D}:
            other = registers[source] if code == 0x5D else value
            if (registers[target] == other) == (code == 0x15):
                position += offset
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def test_version1_sorts_and_sums_up():
    extra = DeviceRule(allow=True, type="b", access="m")

    assert plan_version1((DENY_ALL, NULL, MKNOD, extra)) == [
        ("devices.deny", "a"),
        ("devices.allow", "b *:* m"),
        ("devices.allow", "c *:* m"),
        ("devices.allow", "c 1:3 rwm"),
    ]


def test_version1_later_denial_takes_access_away():
    no_write = DeviceRule(allow=False, type="c", major=1, minor=3, access="w")

    assert plan_version1((DENY_ALL, NULL, no_write))[1:] == [("devices.allow", "c 1:3 rm")]


def test_version1_everything_allowed():
    everything = DeviceRule(allow=True, type="a", access="rwm")

    assert plan_version1((DENY_ALL, everything, NULL)) == [("devices.allow", "a")]


def test_version1_without_a_general_rule_adds_only():
    assert plan_version1((NULL,)) == [("devices.allow", "c 1:3 rwm")]


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        ((CHARACTER, R | W, 1, 3), 1),
        ((CHARACTER, R | W, 1, 5), 0),
        ((BLOCK, R, 1, 3), 0),
        ((CHARACTER, M, 9, 9), 1),
        ((CHARACTER, M | R, 9, 9), 0),
        ((BLOCK, M, 9, 9), 0),
    ],
)
def test_version2_program_decides(request_, allowed):
    assert run(compile_rules((DENY_ALL, NULL, MKNOD)), *request_) == allowed


def test_version2_last_rule_wins():
    no_write = DeviceRule(allow=False, type="c", major=1, minor=3, access="w")
    program = compile_rules((DENY_ALL, NULL, no_write))

    assert run(program, CHARACTER, R, 1, 3) == 1
    assert run(program, CHARACTER, R | W, 1, 3) == 0


def test_version2_no_rules_refuse():
    assert run(compile_rules(()), CHARACTER, R, 1, 3) == 0
