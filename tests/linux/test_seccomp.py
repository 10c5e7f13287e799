"""The compiled program is run by a small interpreter of classic BPF, so that what it decides is what is tested."""

import struct

import pytest

from sixhops.linux import seccomp

X86_64, X86 = 0xC000003E, 0x40000003
ALLOW, ERRNO, ENOSYS = 0x7FFF0000, 0x00050000, 38

try:
    seccomp.library_version()
    MISSING = ""
except seccomp.LibraryMissingError:
    MISSING = "libseccomp.so.2 is not installed"

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "libseccomp is there")


def run(program: bytes, number: int, architecture: int = X86_64, arguments: tuple[int, ...] = ()) -> int:
    data = struct.pack("<iIQ6Q", number, architecture, 0, *(arguments + (0,) * 6)[:6])
    code = [struct.unpack_from("<HBBI", program, i) for i in range(0, len(program), 8)]
    accumulator = position = 0
    while True:
        operation, true, false, value = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == 0x06:
            return value
        elif operation == 0x05:
            position += value
        elif operation in {0x15, 0x25, 0x35}:
            taken = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[
                operation
            ]
            position += true if taken else false
        elif operation == 0x54:
            accumulator &= value
        else:
            raise AssertionError(f"unknown instruction {operation:#x}")


@pytest.fixture(scope="module")
def program() -> bytes:
    rules = [
        (("read", "write", "nosuchcall"), ALLOW, ()),
        (("personality",), ALLOW, ((0, 4, 8, 0),)),
        (("clone",), ALLOW, ((0, 7, 0x7E020000, 0),)),
        (("clone3",), ERRNO | ENOSYS, ()),
    ]
    return seccomp.compile_filter(ERRNO | 1, ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"), rules)


def test_listed_call_is_allowed_on_each_architecture(program):
    assert run(program, 0) == ALLOW
    assert run(program, 3, X86) == ALLOW


def test_unlisted_call_gets_the_default(program):
    assert run(program, 2) == ERRNO | 1


def test_equal_argument(program):
    assert run(program, 135, arguments=(8,)) == ALLOW
    assert run(program, 135, arguments=(9,)) == ERRNO | 1


def test_masked_argument(program):
    assert run(program, 56, arguments=(0x11,)) == ALLOW
    assert run(program, 56, arguments=(0x10000000,)) == ERRNO | 1


def test_errno_of_a_rule(program):
    assert run(program, 435) == ERRNO | ENOSYS


def test_call_newer_than_the_profile_does_not_exist(program):
    assert run(program, 436) == ERRNO | ENOSYS


def test_foreign_architecture_is_killed(program):
    assert run(program, 0, 0xC00000B7) in {0, 0x80000000}


def test_several_conditions_on_one_argument_are_alternatives():
    program = seccomp.compile_filter(ERRNO | 1, (), [(("personality",), ALLOW, ((0, 4, 0, 0), (0, 4, 8, 0)))])

    assert run(program, 135, arguments=(0,)) == ALLOW
    assert run(program, 135, arguments=(8,)) == ALLOW


def test_allowing_default_has_no_prefix_for_unknown_calls():
    program = seccomp.compile_filter(ALLOW, (), [(("read",), ERRNO | 1, ())])

    assert run(program, 9999) == ALLOW
    assert run(program, 0) == ERRNO | 1
