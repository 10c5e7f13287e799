"""Images made with real runc and restored by this one, and the other way round; CRIU is the real one."""

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boxed import Box, lacking

OURS = (sys.executable, "-m", "sixhops.runc")
THEIRS = ("runc",)
BOUND = 30


def missing() -> str:
    """Return what the machine lacks; empty when nothing."""
    if lacking():
        return lacking()
    if shutil.which("runc") is None:
        return "needs runc (apt-get install runc, or make upstream)"
    criu = shutil.which("criu")
    if criu is None or subprocess.run([criu, "check"], capture_output=True, check=False).returncode:
        return "needs a CRIU that works on this kernel (ci/criu)"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


def call(runtime: tuple[str, ...], root: Path, *words: str, streams: int = subprocess.DEVNULL) -> None:
    done = subprocess.run(
        [*runtime, "--root", str(root), "--log", f"{root}.log", *words],
        stdin=subprocess.DEVNULL,
        stdout=streams,
        stderr=streams,
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 0, Path(f"{root}.log").read_text()


@pytest.mark.parametrize(("first", "second"), [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours", "runc's"])
def test_an_image_of_one_runtime_is_restored_by_the_other(
    box: Box, tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/note").write_text("from outside\n")
    told = "n=0; told() { n=$((n+1)); cat /shared/note; echo $n; }; trap told USR1; echo ready; "
    box.config["process"]["args"] = ["sh", "-c", f"{told} while :; do sleep 100 & wait; done"]
    box.config["mounts"].append(
        {"destination": "/shared", "type": "bind", "source": str(tmp_path / "shared"), "options": ["bind"]}
    )
    (box.bundle / "config.json").write_text(json.dumps(box.config))
    image = ("--image-path", str(tmp_path / "image"), "--work-path", str(tmp_path / "work"))
    bundle = ("--bundle", str(box.bundle))

    reader, writer = os.pipe()
    call(first, tmp_path / "first", "run", "--detach", *bundle, box.identifier, streams=writer)
    os.close(writer)
    assert read(reader, len(b"ready\n")) == b"ready\n"
    call(first, tmp_path / "first", "kill", box.identifier, "USR1")
    assert read(reader, len(b"from outside\n1\n")) == b"from outside\n1\n"
    call(first, tmp_path / "first", "checkpoint", *image, box.identifier)
    assert read(reader, 1) == b""  # nobody has it any more
    os.close(reader)

    reader, writer = os.pipe()
    call(second, tmp_path / "second", "restore", "--detach", *image, *bundle, box.identifier, streams=writer)
    os.close(writer)
    try:
        call(second, tmp_path / "second", "kill", box.identifier, "USR1")
        assert read(reader, len(b"from outside\n2\n")) == b"from outside\n2\n"
    finally:
        call(second, tmp_path / "second", "delete", "--force", box.identifier)
        os.close(reader)
    assert box.leftovers() == []


def read(reader: int, count: int) -> bytes:
    """Return so many bytes, fewer at the end of all writers; the container's programs write line by line."""
    seen = b""
    while len(seen) < count:
        assert select.select([reader], [], [], BOUND)[0], f"nothing came within {BOUND} s after {seen!r}"
        data = os.read(reader, count - len(seen))
        if not data:
            break
        seen += data
    return seen
