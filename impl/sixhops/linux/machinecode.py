"""What can't be said in Python: routines in the processor's own words, on one page.

They run while the interpreter's memory is another process's, or is gone.

`clone`: long (*)(struct clone_args *, size_t); clone3, and exit_group(0) where that returns a pid (`successor`).
`wait`: void (*)(struct *); unmap ranges, wait for a byte, execute a program; never returns (`lastwait` has the struct).
`stop`: a signal's handler that ends the process with status 2.
"""

from __future__ import annotations

import ctypes
import mmap
import os

__all__ = ["PAGE", "address", "is_known"]

_CODE = {
    "x86_64": {
        "clone": bytes.fromhex(
            "b8b3010000"  # mov eax, 435
            "0f05"  # syscall
            "4885c0"  # test rax, rax
            "7f01"  # jg over the next one
            "c3"  # ret: 0 in the successor, or an error
            "31ff"  # xor edi, edi
            "b8e7000000"  # mov eax, 231
            "0f05"  # syscall
        ),
        "wait": bytes.fromhex(
            "4889fb"  # mov rbx, rdi
            "4c8b23"  # mov r12, [rbx]
            # the last range ends 64 KiB below the stack's top, as it is now
            "4889e0"  # mov rax, rsp
            "482d00000100"  # sub rax, 0x10000
            "482500f0ffff"  # and rax, -4096
            "488b4b60"  # mov rcx, [rbx+96]
            "482b01"  # sub rax, [rcx]
            "48894108"  # mov [rcx+8], rax
            "448b6b0c"  # mov r13d, [rbx+12]
            # munmap each
            "498b3c24"  # mov rdi, [r12]
            "498b742408"  # mov rsi, [r12+8]
            "b80b000000"  # mov eax, 11
            "0f05"  # syscall
            "4983c410"  # add r12, 16
            "41ffcd"  # dec r13d
            "75e7"  # jnz to the first of these
            # read until there is a byte
            "8b7b08"  # mov edi, [rbx+8]
            "488d7310"  # lea rsi, [rbx+16]
            "ba01000000"  # mov edx, 1
            "31c0"  # xor eax, eax
            "0f05"  # syscall
            "4883f801"  # cmp rax, 1
            "75ea"  # jne to the first of these
            # execve
            "488b7b18"  # mov rdi, [rbx+24]
            "488b7320"  # mov rsi, [rbx+32]
            "488b5328"  # mov rdx, [rbx+40]
            "b83b000000"  # mov eax, 59
            "0f05"  # syscall
            # it failed: writev what is to be said of the error, if there is a text for it
            "48f7d8"  # neg rax
            "483b4338"  # cmp rax, [rbx+56]
            "732b"  # jae to the end
            "488b4b30"  # mov rcx, [rbx+48]
            "8b34c1"  # mov esi, [rcx+rax*8]
            "8b54c104"  # mov edx, [rcx+rax*8+4]
            "4801ce"  # add rsi, rcx
            "48897350"  # mov [rbx+80], rsi
            "48895358"  # mov [rbx+88], rdx
            "488d7340"  # lea rsi, [rbx+64]
            "bf02000000"  # mov edi, 2
            "ba02000000"  # mov edx, 2
            "b814000000"  # mov eax, 20
            "0f05"  # syscall
            # exit_group(1)
            "bf01000000"  # mov edi, 1
            "b8e7000000"  # mov eax, 231
            "0f05"  # syscall
        ),
        "stop": bytes.fromhex(
            "bf02000000"  # mov edi, 2
            "b8e7000000"  # mov eax, 231
            "0f05"  # syscall
        ),
    }
}
_ALIGNMENT = 16
PAGE = mmap.PAGESIZE

_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)


def _load() -> dict[str, int]:
    """Return the routines' addresses, none where this processor's are not known or memory can't be executed."""
    routines = _CODE.get(os.uname().machine)
    if routines is None:
        return {}
    text, places = b"", {}
    for name, code in routines.items():
        places[name] = len(text)
        text += code + bytes(-len(code) % _ALIGNMENT)
    try:
        # by way of a file, so that no memory is ever writable and executable at once
        file = os.memfd_create("routines", os.MFD_CLOEXEC)
    except OSError:
        return {}
    try:
        os.write(file, text)
        place = _mmap(None, len(text), mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file, 0)
    finally:
        os.close(file)
    if place in {None, ctypes.c_void_p(-1).value}:
        return {}
    return {name: int(place) + begin for name, begin in places.items()}


_addresses = _load()


def is_known() -> bool:
    """Tell whether there are routines for this machine: they are known for x86_64."""
    return bool(_addresses)


def address(name: str) -> int:
    """Return where a routine is; the page that it lies on begins at a multiple of PAGE. KeyError if none is known."""
    return _addresses[name]
