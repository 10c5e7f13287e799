"""The last wait of a process before it executes a program: with next to nothing in its memory.

execve(2) gives an interpreter's memory back before the program begins, which takes a millisecond, and whoever started the
program waits for it. Here it is given back before the wait. What is left is the stack, the arguments, and a routine that
waits and executes (`machinecode`), which never comes back.
"""

from __future__ import annotations

import ctypes
import mmap
import struct

from sixhops.linux import machinecode
from sixhops.linux.libc import describe, syscall

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["can_wait", "prepare", "wait_and_execute"]

_SA_RESTORER = 0x04000000
_SIGSET = 8  # bytes
_ERRORS = 134  # one more than the largest number of an error
# the struct: ranges; gate, number of ranges; a byte; path, argv, envp; texts by error, number of them; two parts of what is
# said of an error, address and length; the last range
_HEAD = struct.Struct("=QIIQQQQQQQQQQQ")
_RANGE = struct.Struct("=QQ")
_PLACE = struct.Struct("=II")
_POINTER = 8

# what is said of errors, made once
_texts: list[bytes] = []


def can_wait() -> bool:
    """Tell whether this machine can do it."""
    return machinecode.is_known()


def prepare() -> None:
    """Make what is the same for all such processes, so that those that are forked have it."""
    _said_of_errors()


def wait_and_execute(
    gate: int,
    program: bytes,
    arguments: Sequence[bytes],
    environment: Sequence[bytes],
    prefix: bytes,
    ending: Sequence[int],
) -> None:
    """Wait until a byte can be read from the descriptor `gate`, then execute; never returns.

    When that fails, `prefix` and the error's text are written to descriptor 2, and the process ends with status 1. Until
    then the signals `ending` end it with status 2. It must have one thread, which is its first. Raises ValueError
    for a text with a zero byte in it, and OSError; the process has all its memory then.
    """
    strings = (program, *arguments, *environment)
    if any(b"\0" in text for text in strings):
        raise ValueError("embedded null byte")
    texts = _said_of_errors()
    pointers = len(arguments) + len(environment) + 2
    # a range before each part that is kept, and one up to the stack
    ranges_at = _HEAD.size
    pointers_at = ranges_at + 4 * _RANGE.size
    texts_at = pointers_at + pointers * _POINTER
    strings_at = texts_at + len(texts)
    size = strings_at + sum(len(text) + 1 for text in strings) + len(prefix)
    size += -size % machinecode.PAGE
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    place, places = strings_at, []
    for text in strings:
        places.append(base + place)
        memory[place : place + len(text)] = text  # a zero follows, as everywhere here
        place += len(text) + 1
    memory[place : place + len(prefix)] = prefix
    listed = [*places[1 : 1 + len(arguments)], 0, *places[1 + len(arguments) :], 0]
    memory[pointers_at:texts_at] = struct.pack(f"={pointers}Q", *listed)
    memory[texts_at:strings_at] = texts
    ranges = _around([(base, base + size), _page("wait"), *_watched()])
    memory[ranges_at : ranges_at + len(ranges) * _RANGE.size] = b"".join(
        _RANGE.pack(*each) for each in ranges
    )
    memory[: _HEAD.size] = _HEAD.pack(
        base + ranges_at,
        gate,
        len(ranges),
        0,
        places[0],
        base + pointers_at,
        base + pointers_at + (len(arguments) + 1) * _POINTER,
        base + texts_at,
        _ERRORS,
        base + place,
        len(prefix),
        0,
        0,
        base + ranges_at + (len(ranges) - 1) * _RANGE.size,
    )
    stop = machinecode.address("stop")
    action = struct.pack("=QQQQ", stop, _SA_RESTORER, stop, 0)
    for number in ending:
        syscall("rt_sigaction", number, action, None, _SIGSET)
    ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(machinecode.address("wait"))(base)


def _said_of_errors() -> bytes:
    """Return a table of places in itself, by number of the error, and the texts with a newline each."""
    if not _texts:
        lines = [f"{describe(number)}\n".encode() for number in range(_ERRORS)]
        table, place = b"", _ERRORS * _PLACE.size
        for line in lines:
            table += _PLACE.pack(place, len(line))
            place += len(line)
        _texts.append(table + b"".join(lines))
    return _texts[0]


def _page(name: str) -> tuple[int, int]:
    begin = machinecode.address(name) // machinecode.PAGE * machinecode.PAGE
    return begin, begin + machinecode.PAGE


def _watched() -> list[tuple[int, int]]:
    """Return the pages that the kernel writes to when it gives a thread the processor (rseq(2)); without them it ends it.

    A process whose successor we are may still be told so, too.
    """
    library = ctypes.CDLL(None)
    try:
        offset = ctypes.c_ssize_t.in_dll(library, "__rseq_offset").value
    except ValueError:
        return []  # an older C library, which has not got that
    library.pthread_self.restype = ctypes.c_void_p
    begin = library.pthread_self() + offset
    end = begin + 32
    begin -= begin % machinecode.PAGE
    return [(begin, end + -end % machinecode.PAGE)]


def _around(kept: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (begin, length) between what is kept (begin, end); the last one's length is found out at the end."""
    ranges, position = [], 0
    for begin, end in sorted(kept):
        if begin > position:
            ranges.append((position, begin - position))
        position = max(position, end)
    return [*ranges, (position, 0)]
