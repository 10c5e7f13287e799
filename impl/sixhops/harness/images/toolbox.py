"""The programs inside of images: busybox from the distribution, and our small C programs, compiled once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sixhops.harness.errors import ScenarioError, UsageError

if TYPE_CHECKING:
    from sixhops.harness.errors import Mark

__all__ = ["Toolbox"]

_SOURCES: Final = Path(__file__).parent / "programs"
_STATIC: Final = ("-static", "-Os", "-s", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")
# hello brings its own _start: without libc it starts in a fraction of the time and is a few KiB long.
_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "hello": ("-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"),
}


class Toolbox:
    """Finds and compiles programs; `cache` is where compiled ones are kept, by the digest of source and
    flags.

    Safe with several processes on one cache: a program appears there by rename, whole.
    """

    def __init__(self, cache: Path, sources: Path = _SOURCES, search: str | None = None) -> None:
        self._cache = cache / "programs"
        self._sources = sources
        self._search = search
        self._found: dict[str, Path] = {}

    def path(self, name: str, mark: Mark | None = None) -> Path:
        """Return the executable `name`.

        Raises ScenarioError for a program that we don't have, UsageError naming the package when busybox or
        the compiler is missing.
        """
        if name not in self._found:
            self._found[name] = self._busybox() if name == "busybox" else self._compiled(name, mark)
        return self._found[name]

    def digest(self, name: str, mark: Mark | None = None) -> str:
        """Return the SHA-256 of the executable `name`, in hex."""
        with self.path(name, mark).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _busybox(self) -> Path:
        found = shutil.which("busybox", path=self._search)
        if found is None:
            raise UsageError("no busybox on PATH, which images need: apt-get install busybox-static")
        path = Path(found)
        if _interpreted(path):
            raise UsageError(
                f"{path} is not static, so it can't run in an image: apt-get install busybox-static"
            )
        return path

    def _compiled(self, name: str, mark: Mark | None) -> Path:
        source = self._sources / f"{name}.c"
        if not source.is_file():
            known = ", ".join(sorted(path.stem for path in self._sources.glob("*.c")))
            raise ScenarioError(f"there is no program {name!r}; known are {known}", mark)
        compiler = shutil.which("cc", path=self._search)
        if compiler is None:
            raise UsageError("no C compiler (cc) on PATH, which images need: apt-get install gcc libc6-dev")
        flags = (*_STATIC, *_FLAGS.get(name, ()))
        version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
        key = hashlib.sha256(b"\0".join([source.read_bytes(), " ".join(flags).encode(), version])).hexdigest()
        target = self._cache / f"{name}-{key[:32]}"
        if target.is_file():
            return target
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._cache) as scratch:
            made = Path(scratch) / name
            # Compiled from the source's own folder by relative name, so that no path of this machine gets in.
            argv = [compiler, *flags, "-o", str(made), source.name]
            done = subprocess.run(
                argv, cwd=self._sources, capture_output=True, text=True, check=False, timeout=120
            )
            if done.returncode:
                reason = done.stderr.strip()
                raise UsageError(f"cc can't build {source.name}; apt-get install gcc libc6-dev?\n{reason}")
            made.chmod(0o755)
            made.replace(target)
        return target


def _interpreted(path: Path) -> bool:
    # Program headers of a 64-bit little-endian ELF: type 3 (PT_INTERP) asks for a dynamic linker.
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:6] != b"\x7fELF\x02\x01":
        return False
    places = ((32, 8), (54, 2), (56, 2))
    start, width, count = (int.from_bytes(head[at : at + size], "little") for at, size in places)
    return any(head[start + at * width : start + at * width + 4] == b"\x03\0\0\0" for at in range(count))
