"""Names, subreapers and the signal at a parent's death."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPTS = {
    "name": (
        (
            "from sixhops.linux import prctl; prctl.set_name('a-name-longer-than-fits')\n"
            "print(open('/proc/self/comm').read().strip())"
        ),
        "a-name-longer-t",
    ),
    "subreaper": (
        (
            "import os\n"
            "from sixhops.linux import prctl\n"
            "prctl.set_subreaper(); me = os.getpid()\n"
            "r, w = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    if os.fork() == 0:\n"
            "        os.read(r, 1); print(os.getppid() == me); os._exit(0)\n"
            "    os._exit(0)\n"
            "os.wait(); os.write(w, b'x'); print(os.wait()[1])"
        ),
        "True\n0",
    ),
    "death": (
        (
            "import os, signal\n"
            "from sixhops.linux import prctl\n"
            "ready, done = os.pipe(), os.pipe()\n"
            "middle = os.fork()\n"
            "if middle == 0:\n"
            "    if os.fork() == 0:\n"
            "        prctl.die_with_parent(signal.SIGKILL); os.close(done[0]); os.write(ready[1], b'x'); signal.pause()\n"
            "    os.close(done[1]); signal.pause()\n"
            "os.close(done[1]); os.read(ready[0], 1); os.kill(middle, signal.SIGKILL); os.wait()\n"
            "print(os.read(done[0], 1))"
        ),  # end of file: the grandchild, the last holder, has ended
        "b''",
    ),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_in_a_process_of_its_own(case: str) -> None:
    script, output = SCRIPTS[case]

    done = subprocess.run(
        [sys.executable, "-u", "-c", script], capture_output=True, text=True, timeout=20, check=True
    )

    assert done.stdout.strip() == output
