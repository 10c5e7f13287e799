"""The init that containers run under unless --init-path names another: `programs/init.c`, compiled when first wanted.

It is static, since it runs among the files of any image. A host without a C compiler needs docker-init or tini on PATH.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sixhops.dockerd.errors import system

__all__ = ["NAMES", "VERSION", "Init", "describe", "init_program"]

#: What the init is called upstream.
NAMES = ("docker-init", "tini")
#: What our own says of itself.
VERSION = "0.19.0+sixhops"
_SOURCE = Path(__file__).with_name("programs") / "init.c"
_FLAGS = ("-static", "-Os", "-s")
_PATIENCE = 60.0
_ANSWER_PATIENCE = 5.0
_PREFIX = "tini version "


@dataclass(frozen=True, slots=True)
class Init:
    """What /version and /info say about an init; `version` is None for one that does not say."""

    name: str
    version: str | None
    commit: str = ""


def describe(path: str) -> Init:
    """Ask an init which one it is; `path` is --init-path, "" for what `init_program` would take."""
    if not path and shutil.which("cc"):
        return Init(NAMES[0], VERSION)
    path = path or NAMES[0]
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=True, timeout=_ANSWER_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return Init(Path(path).name, None, "N/A")
    words, _, rest = done.stdout.strip().partition(" - git.")
    return Init(Path(path).name, words.removeprefix(_PREFIX) if words.startswith(_PREFIX) else "", rest)


def init_program(folder: Path) -> str:
    """Return the path of an init; our own is kept in `folder`. Raises EngineError 500 when there is none to be had."""
    target = folder / f"init-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}"
    if target.is_file():
        return str(target)
    compiler = shutil.which("cc")
    if compiler is None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            raise system(f'exec: "{NAMES[0]}": executable file not found in $PATH')
        return found
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "init"
        done = subprocess.run(
            [compiler, *_FLAGS, "-o", str(made), str(_SOURCE)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        if done.returncode:
            raise system(f"the init program could not be compiled: {done.stderr.strip()}")
        made.chmod(0o755)
        made.replace(target)
    return str(target)
