"""In a process of its own: what it occupies stays occupied."""

import gc
import subprocess
import sys

from sixhops.linux.compaction import gather_code

SCRIPT = """
import gc, random
from sixhops.linux.compaction import fill_holes, gather_code
kept = [bytes(100) for _ in range(20000)]
for number in random.Random(1).sample(range(20000), 10000):
    kept[number] = None  # holes all over
del number
if "fill" in __import__("sys").argv:
    fill_holes()
    assert gc.get_freeze_count() > 0
fresh = [bytes(100) for _ in range(200)]
print(len({id(each) >> 12 for each in fresh}))
"""


LIBRARY = """
import ctypes, random
from sixhops.linux.compaction import fill_holes
libc = ctypes.PyDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_size_t, (ctypes.c_size_t,)
blocks = [libc.malloc(200) for _ in range(20000)]
for number in random.Random(1).sample(range(20000), 2000):
    libc.free(blocks[number])
if "fill" in __import__("sys").argv:
    fill_holes()
print(len({libc.malloc(size) >> 12 for size in (200, 100, 200) for _ in range(70)}))
"""


def pages(script: str, *words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_new_objects_lie_together() -> None:
    scattered, together = pages(SCRIPT), pages(SCRIPT, "fill")

    assert together <= 10  # 200 blocks of 144 bytes are 7 pages full
    assert scattered > together


def test_blocks_of_libraries_lie_together() -> None:
    scattered, together = pages(LIBRARY), pages(LIBRARY, "fill")

    assert together <= 13  # 140 blocks of 208 bytes and 70 of 112 are 9 pages full
    assert scattered > together


def test_code_that_was_called_lies_side_by_side_and_does_the_same() -> None:
    def outer(word: str) -> list[str]:
        return [inner() for inner in [lambda: word]]

    def never() -> int:
        return 1

    before, untouched = outer.__code__, never.__code__
    gather_code(lambda: outer("x"))

    assert outer.__code__ is not before
    assert outer.__code__ == before
    assert never.__code__ is untouched
    assert outer("y") == ["y"]
    gc.unfreeze()
