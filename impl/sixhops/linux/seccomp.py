"""System call filters: libseccomp compiles the rules, the kernel takes the program.

Compiling and installing are apart on purpose: the runtime compiles outside the container, at the same time as the
container's process mounts its filesystems, and that process then needs neither the library nor its memory.
"""

from __future__ import annotations

import ctypes
import os
import struct

from sixhops.linux.libc import LinuxError, call, syscall

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ACTIONS",
    "ARCHITECTURES",
    "FLAGS",
    "OPERATORS",
    "LibraryMissingError",
    "compile_filter",
    "install",
    "library_version",
]

# seccomp(2) and seccomp.h of libseccomp. KILL is the old name of KILL_THREAD.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_FLAG_NEW_LISTENER = 8

# The AUDIT_ARCH value, and the range that the numbers of the architecture's system calls start at.
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "x86",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_ARM": "arm",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_MIPS": "mips",
    "SCMP_ARCH_MIPS64": "mips64",
    "SCMP_ARCH_MIPS64N32": "mips64n32",
    "SCMP_ARCH_MIPSEL": "mipsel",
    "SCMP_ARCH_MIPSEL64": "mipsel64",
    "SCMP_ARCH_MIPSEL64N32": "mipsel64n32",
    "SCMP_ARCH_PPC": "ppc",
    "SCMP_ARCH_PPC64": "ppc64",
    "SCMP_ARCH_PPC64LE": "ppc64le",
    "SCMP_ARCH_S390": "s390",
    "SCMP_ARCH_S390X": "s390x",
    "SCMP_ARCH_RISCV64": "riscv64",
}
_X32_BIT = 0x40000000
_X32_TOKEN = 0x4000003E
_EM_X86_64 = 0xC000003E

_EEXIST, _EINVAL, _EDOM, _ENOSYS = 17, 22, 33, 38
# seccomp.h: SCMP_FLTATR_CTL_OPTIMIZE, and its value for a binary tree
_OPTIMIZE, _TREE = 8, 2
_SECCOMP_SET_MODE_FILTER = 1
_INSTRUCTION = struct.Struct("HBBI")
_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP, _RETURN = 0x20, 0x15, 0x25, 0x05, 0x06

# One rule: names, action value, conditions (argument index, operator value, first and second operand).
Condition = tuple[int, int, int, int]
Rule = tuple[tuple[str, ...], int, tuple[Condition, ...]]


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class LibraryMissingError(OSError):
    """libseccomp is not installed."""


def _library() -> ctypes.PyDLL:
    try:
        library = ctypes.PyDLL("libseccomp.so.2")
    except OSError as error:
        raise LibraryMissingError(str(error)) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    return library


def library_version() -> str:
    """Return libseccomp's version, such as 2.5.4; raises LibraryMissingError."""

    class Version(ctypes.Structure):
        _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))

    library = _library()
    library.seccomp_version.restype = ctypes.POINTER(Version)
    version = library.seccomp_version().contents
    return f"{version.major}.{version.minor}.{version.micro}"


def compile_filter(default: int, architectures: tuple[str, ...], rules: Iterable[Rule]) -> bytes:
    """Return the BPF program of the rules; unknown system calls are skipped, as are rules that say the default.

    With a default of ERRNO, system calls newer than everything that the profile names answer ENOSYS, so that a
    C library falls back to an older call instead of reporting a refusal. Raises LinuxError and
    LibraryMissingError.
    """
    library = _library()
    context = library.seccomp_init(default)
    if not context:
        raise LinuxError(22, "seccomp_init")
    # A tree of comparisons instead of a row. The kernel asks each program for every system call while it takes it, which
    # is most of what installing costs. Libraries before 2.5 know rows alone, and say EINVAL.
    _check(library.seccomp_attr_set(context, _OPTIMIZE, _TREE), "seccomp_attr_set", _EINVAL)
    newest: dict[int, int] = {}
    try:
        native = library.seccomp_arch_native()
        tokens = [library.seccomp_arch_resolve_name(ARCHITECTURES[name].encode()) for name in architectures]
        for token in tokens:
            _check(library.seccomp_arch_add(context, token), "seccomp_arch_add", _EEXIST)
        for names, action, conditions in rules:
            for name in names:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number == -1:
                    continue
                for token in {native, *tokens}:
                    local = library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), name.encode())
                    newest[token] = max(newest.get(token, 0), local & ~_X32_BIT if local >= 0 else 0)
                if action != default:
                    _add(library, context, action, number, conditions)
        program = _export(library, context)
    finally:
        library.seccomp_release(context)
    if default & 0x7FFF0000 == ACTIONS["SCMP_ACT_ERRNO"] and newest:
        return _unknown_calls_prefix(newest) + program
    return program


def _add(
    library: ctypes.PyDLL, context: int, action: int, number: int, conditions: tuple[Condition, ...]
) -> None:
    indices = [condition[0] for condition in conditions]
    # libseccomp takes one condition per argument; several on one argument are alternatives.
    groups = [conditions] if len(set(indices)) == len(indices) else [(one,) for one in conditions]
    for group in groups:
        array = (_Comparison * len(group))(*(_Comparison(*one) for one in group)) if group else None
        result = library.seccomp_rule_add_array(context, action, number, len(group), array)
        _check(result, "seccomp_rule_add", _EEXIST, _EDOM)


def _check(result: int, operation: str, *accepted: int) -> None:
    if result < 0 and -result not in accepted:
        raise LinuxError(-result, operation)


def _export(library: ctypes.PyDLL, context: int) -> bytes:
    memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, memory), "seccomp_export_bpf")
        return os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.close(memory)


def _unknown_calls_prefix(newest: dict[int, int]) -> bytes:
    """Return instructions that answer ENOSYS for numbers above the newest known one of each architecture."""
    # x32 calls carry x86_64's architecture value and a bit in the number; the filter behind this prefix judges them.
    plain = {token: number for token, number in newest.items() if token != _X32_TOKEN}
    code = [_INSTRUCTION.pack(_LOAD_WORD, 0, 0, 4)]
    for token, number in plain.items():
        body = [_INSTRUCTION.pack(_LOAD_WORD, 0, 0, 0)]
        if token == _EM_X86_64:
            body.append(
                _INSTRUCTION.pack(0x35, 2, 0, _X32_BIT)
            )  # jump if greater or equal: over the next two
        body += [
            _INSTRUCTION.pack(_JUMP_GREATER, 0, 1, number),
            _INSTRUCTION.pack(_RETURN, 0, 0, ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS),
            _INSTRUCTION.pack(_LOAD_WORD, 0, 0, 4),
        ]
        code += [_INSTRUCTION.pack(_JUMP_EQUAL, 0, len(body), token), *body]
    return b"".join(code)


def install(program: bytes, flags: int = 0, *, listener: bool = False) -> int:
    """Load a compiled filter for the calling thread; return the notification descriptor if `listener`, else 0.

    Needs CAP_SYS_ADMIN or no_new_privs. Raises LinuxError.
    """
    filter_program = _Program(len(program) // _INSTRUCTION.size, program)
    return syscall(
        "seccomp",
        _SECCOMP_SET_MODE_FILTER,
        flags | (_FLAG_NEW_LISTENER if listener else 0),
        ctypes.byref(filter_program),
        operation="error loading seccomp filter: seccomp",
    )


def set_no_new_privileges() -> None:
    """Promise that execve grants nothing any more, for this thread and all its descendants."""
    call("prctl", 38, 1, 0, 0, 0, operation="prctl(PR_SET_NO_NEW_PRIVS)")
