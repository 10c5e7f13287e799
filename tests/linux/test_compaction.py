"""In a process of its own: what it occupies stays occupied."""

import subprocess
import sys

SCRIPT = """
import gc, random
from sixhops.linux.compaction import fill_holes
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


def pages(*words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_new_objects_lie_together() -> None:
    scattered, together = pages(), pages("fill")

    assert together <= 10  # 200 blocks of 144 bytes are 7 pages full
    assert scattered > together
