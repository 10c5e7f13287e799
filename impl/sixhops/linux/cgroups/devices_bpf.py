"""The device controller of version 2: a BPF program of type CGROUP_DEVICE, compiled from rules and attached.

The kernel calls the program for each open and mknod of a device with a context of three words: access and type,
major, minor (linux/bpf.h, struct bpf_cgroup_dev_ctx). It answers 1 to allow. The rules are tried from the last to
the first, so that the first match is the one in force; nothing matched means refused, or what the last rule about
all devices said.
"""

from __future__ import annotations

import ctypes
import os
import struct

from sixhops.linux.libc import syscall

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import DeviceRule

__all__ = ["attach", "compile_rules"]

_BPF_PROG_LOAD, _BPF_PROG_ATTACH, _BPF_PROG_DETACH, _BPF_PROG_QUERY = 5, 8, 9, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2
_MAX_PROGRAMS = 64
_ACCESS = {"m": 1, "r": 2, "w": 4}
_KINDS = {"b": 1, "c": 2}

_LOAD_WORD, _AND, _RSH, _MOV, _MOV_REGISTER, _EXIT = 0x61, 0x54, 0x74, 0xB4, 0xBC, 0x95
_JUMP_NOT_EQUAL, _JUMP_NOT_EQUAL_REGISTER = 0x55, 0x5D


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, value)


def compile_rules(rules: tuple[DeviceRule, ...]) -> bytes:
    """Return the instructions for the rules. Pure."""
    code = [
        # r2 = type, r3 = access, r4 = major, r5 = minor
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_AND, 2, value=0xFFFF),
        _instruction(_LOAD_WORD, 3, 1, 0),
        _instruction(_RSH, 3, value=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed(rules):
        body, unconditional = _rule(rule)
        code += body
        if unconditional:
            return b"".join(code)
    code += [_instruction(_MOV, 0, value=0), _instruction(_EXIT)]
    return b"".join(code)


def _rule(rule: DeviceRule) -> tuple[list[bytes], bool]:
    kind = rule.type or "a"
    access = 0
    for letter in rule.access or "rwm":
        access |= _ACCESS[letter]
    verdict = [_instruction(_MOV, 0, value=int(rule.allow)), _instruction(_EXIT)]
    tests: list[tuple[bytes, ...]] = []
    if kind != "a":
        tests.append((_instruction(_JUMP_NOT_EQUAL, 2, value=_KINDS[kind]),))
        if access != 7:
            if rule.allow:  # every requested access must be among the allowed ones
                tests.append(
                    (
                        _instruction(_MOV_REGISTER, 1, 3),
                        _instruction(_AND, 1, value=access),
                        _instruction(_JUMP_NOT_EQUAL_REGISTER, 1, 3),
                    )
                )
            else:  # one forbidden access is enough
                tests.append(
                    (
                        _instruction(_MOV_REGISTER, 1, 3),
                        _instruction(_AND, 1, value=access),
                        _instruction(0x15, 1, value=0),
                    )
                )
        for register, number in ((4, rule.major), (5, rule.minor)):
            if number is not None and number >= 0:
                tests.append((_instruction(_JUMP_NOT_EQUAL, register, value=number),))
    flat = [instruction for test in tests for instruction in test]
    ends = []
    position = 0
    for test in tests:
        position += len(test)
        ends.append(position - 1)
    total = len(flat) + len(verdict)
    for end in ends:
        flat[end] = flat[end][:2] + struct.pack("<h", total - end - 1) + flat[end][4:]
    return flat + verdict, not tests


def _bpf(command: int, attributes: bytes, operation: str) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 144))
    result = syscall("bpf", command, ctypes.byref(buffer), len(buffer), operation=operation)
    return result, buffer.raw


def attach(directory: str, program: bytes) -> None:
    """Load the program and make it the only device program of the group. Raises LinuxError."""
    code = ctypes.create_string_buffer(program)
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    load = struct.pack(
        "<IIQQIIQII",
        _TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
    )
    loaded, _ = _bpf(_BPF_PROG_LOAD, load, "bpf(BPF_PROG_LOAD)")
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = _attached(group)
        _bpf(
            _BPF_PROG_ATTACH,
            struct.pack("<IIII", group, loaded, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI),
            "bpf(BPF_PROG_ATTACH)",
        )
        # The new program stands before the old ones go: there is no moment without rules.
        for number in old:
            previous, _ = _bpf(13, struct.pack("<III", number, 0, 0), "bpf(BPF_PROG_GET_FD_BY_ID)")
            try:
                _bpf(
                    _BPF_PROG_DETACH,
                    struct.pack("<IIII", group, previous, _ATTACH_CGROUP_DEVICE, 0),
                    "bpf(BPF_PROG_DETACH)",
                )
            finally:
                os.close(previous)
    finally:
        os.close(group)
        os.close(loaded)


def _attached(group: int) -> tuple[int, ...]:
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    query = struct.pack(
        "<IIIIQII", group, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS, 0
    )
    _, answer = _bpf(_BPF_PROG_QUERY, query, "bpf(BPF_PROG_QUERY)")
    (count,) = struct.unpack_from("<I", answer, 24)
    return tuple(ids[:count])
