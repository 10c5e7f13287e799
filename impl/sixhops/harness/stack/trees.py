"""Programs of another release: a tree is a root file system (a directory) that has Docker installed.

A stack `upstream@TREE` runs everything in a machine whose root is a private copy-on-write view of the tree, so several
releases stand side by side on one host and no stack changes its tree. `ci/engines` makes trees of Debian releases.

The docker client alone runs outside, where its files and its terminal are; the tree's own dynamic loader starts it,
since its libraries are newer or older than the host's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TREES_VARIABLE", "Tree", "find_tree", "trees_directory"]

#: Names the directory in which trees are looked for by name.
TREES_VARIABLE = "SIXHOPS_TREES"
_DEFAULT_DIRECTORY = "trees"


@dataclass(frozen=True, slots=True)
class Tree:
    """A root file system; `name` is how the user called it."""

    name: str
    path: Path

    def find(self, program: str, search: str) -> Path | None:
        """Return the path, inside of the tree, of `program` in the first directory of `search` (as PATH) that has it."""
        for directory in search.split(":"):
            place = self.path / directory.lstrip("/") / program
            if place.is_file() and os.access(place, os.X_OK):
                return Path(directory) / program
        return None

    def outside(self, program: Path) -> list[str]:
        """Return the beginning of a command line that runs the tree's `program` on the host.

        Raises UsageError when the program needs a dynamic loader and the tree has none.
        """
        place = self.path / str(program).lstrip("/")
        if not _is_dynamic(place):
            return [str(place)]
        loader = next(
            (path for path in self._directories("lib64", "lib") for path in path.glob("ld-linux*.so.*")), None
        )
        if loader is None:
            raise UsageError(f"the tree {self.path} has no dynamic loader (lib64/ld-linux*) for {program}")
        libraries = ":".join(map(str, self._libraries()))
        return [str(loader), "--library-path", libraries, "--argv0", program.name, str(place)]

    def _directories(self, *names: str) -> Iterator[Path]:
        return (self.path / prefix / name for prefix in ("usr", "") for name in names)

    def _libraries(self) -> Iterator[Path]:
        for directory in self._directories("lib", "lib64"):
            yield from sorted(directory.glob("*-linux-gnu"))
            if directory.is_dir():
                yield directory


def trees_directory() -> Path:
    """Return where trees are looked for by name: $SIXHOPS_TREES, else `trees` in the working directory."""
    return Path(os.environ.get(TREES_VARIABLE) or _DEFAULT_DIRECTORY).absolute()


def find_tree(word: str) -> Tree:
    """Return the tree that a user calls `word`: a path (it has a slash), or a name in `trees_directory`.

    Raises UsageError: there is none, or it is no root file system.
    """
    path = Path(word).absolute() if "/" in word else trees_directory() / word
    if not path.is_dir():
        known = sorted(entry.name for entry in trees_directory().glob("*") if (entry / "usr").is_dir())
        have = f"there are {', '.join(known)}" if known else f"there are none in {trees_directory()}"
        raise UsageError(
            f"no such tree: {word!r}; {have} (`ci/engines/build` makes some, {TREES_VARIABLE} names the directory)"
        )
    for needed in ("usr", "etc", "proc", "sys", "dev", "run"):
        if not (path / needed).is_dir():
            raise UsageError(f"{path} is not a root file system: it has no /{needed}")
    return Tree(word, path)


def _is_dynamic(program: Path) -> bool:
    """Tell whether an ELF file asks for an interpreter (a PT_INTERP segment holds the loader's path)."""
    with program.open("rb") as file:
        head = file.read(4096)
    return head.startswith(b"\x7fELF") and b"/ld-linux" in head
