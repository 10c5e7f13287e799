"""Making what a process allocates after a fork lie together, so that few pages become its own.

An allocator gives out the holes that earlier work has left, and they lie all over the memory that parent and child
share: every small object in a hole costs the child a page. `fill_holes` occupies them for good in the parent. After
that new objects come from fresh pools, one beside the other. Python's allocator has pools of 16 KiB for each size up to
512 bytes (Objects/obmalloc.c); larger objects are the C library's, and so is what libraries hold of their own.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from itertools import repeat
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fill_holes", "gather_code"]

_ALIGNMENT = 16
_LARGEST_POOLED = 512
_POOL = 1 << 14
_POOL_HEADER = 48
_IN_ROW = 4  # so many neighbours are no chance
_OF_ADDRESSES = 48  # bytes that an id() takes
_BLINDLY = 2000
_BYTES_HEADER = b"".__sizeof__()
# how many objects of one size are made at most; a pool holds less than a thousand
_LIMIT = 20_000
# of the C library's blocks, largest first: steps as coarse as what is lost by them, then each that there is
_SIZES: Final = (65000, 32000, 16000, 8000, 4000, 3000, 2000, 1500, 1200, *range(1000, 8, -16))
_LIMIT_BLOCKS = 3000

_kept: list[object] = []


class _Figures(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def fill_holes() -> None:
    """Collect garbage, keep all that lives out of later collections, and occupy the holes. Costs some 100 KiB, once."""
    gc.collect()
    gc.freeze()
    _fill_heap()
    for size in range(_ALIGNMENT, _LARGEST_POOLED + 1, _ALIGNMENT):
        _fill_pools(size)
    gc.freeze()


def _fill_pools(size: int) -> None:
    """Make objects of one size until they come from a pool that has just been begun: one after the other, from its start."""
    if size == _OF_ADDRESSES:
        # the numbers by which it would be seen take and leave places of this size
        _kept.extend(_object_of(size) for _ in repeat(None, _BLINDLY))
        return
    expected = -1
    in_row = 0
    for _ in repeat(None, _LIMIT):  # not range: its numbers are objects as well
        filler = _object_of(size)
        _kept.append(filler)
        place = id(filler)
        in_row = in_row + 1 if place == expected else int(place % _POOL == _POOL_HEADER)
        if in_row == _IN_ROW:
            return
        expected = place + size


def _object_of(size: int) -> object:
    if size == _ALIGNMENT:
        return object()
    if size == 2 * _ALIGNMENT:
        return complex(size, size)
    return bytes(size - _BYTES_HEADER)


def _fill_heap() -> None:
    """Take blocks of each size until they come from the top of the heap, as there is no hole left for them."""
    libc = ctypes.PyDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return  # not glibc, or an old one; it is only memory
    libc.mallinfo2.restype = _Figures
    libc.malloc.argtypes, libc.malloc.restype = (ctypes.c_size_t,), ctypes.c_size_t
    libc.sbrk.argtypes, libc.sbrk.restype = (ctypes.c_ssize_t,), ctypes.c_size_t
    for size in _SIZES:
        top = libc.sbrk(0) - libc.mallinfo2().keepcost
        for _ in repeat(None, _LIMIT_BLOCKS):
            if not 0 < libc.malloc(size) < top:
                break


def gather_code(run: Callable[[], object]) -> None:
    """Call `run`, and lay the code of all that it called side by side.

    A call writes the reference count of the code that it runs, so of code that lies scattered among what nobody calls
    each piece costs a fork a page. What a function does stays the same; the interpreter has to get used to it anew.
    """
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    gc.unfreeze()  # what is kept out of collections isn't listed either
    functions = [
        found for found in gc.get_objects() if type(found) is FunctionType and found.__code__ in called
    ]
    copies: dict[CodeType, CodeType] = {}
    for function in functions:
        copies.setdefault(function.__code__, _copy(function.__code__, called))
    for function in functions:
        function.__code__ = copies[function.__code__]
    gc.freeze()


def _copy(code: CodeType, called: set[CodeType]) -> CodeType:
    """Return a copy, in which the code of inner functions that were called is copied as well."""
    constants = tuple(
        _copy(constant, called) if isinstance(constant, CodeType) and constant in called else constant
        for constant in code.co_consts
    )
    return code.replace(co_consts=constants)
