"""The rules of `cp` about paths: which container, what a trailing /. or / asks for, and under which name a copy arrives.

All pure: a path goes in, a path or a decision comes out. A path "asserts a directory" when it ends in / or /. .
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from sixhops.docker.errors import DockerError

__all__ = ["Place", "absolute", "asserts_directory", "destination", "rebased", "split", "split_argument"]


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy. `rebase` is the name that the source has in the archive, when that is not its own."""

    path: str
    exists: bool = False
    is_directory: bool = False
    rebase: str = ""


def split_argument(text: str) -> tuple[str, str]:
    """Return container ("" for none) and path of CONTAINER:PATH. A path with a colon begins with / or . to be one."""
    name, colon, path = text.partition(":")
    if text.startswith("/") or not colon or name.startswith("."):
        return "", text
    return name, path


def is_current(path: str) -> bool:
    """Tell whether the last part of a path is `.`."""
    return path in ("", ".") or path.rstrip("/").endswith("/.") or path.rstrip("/") == "."


def asserts_directory(path: str) -> bool:
    """Tell whether a path can only be a directory's."""
    return path.endswith("/") or is_current(path)


def absolute(path: str, directory: str) -> str:
    """Return the path from the root, with a trailing / or /. kept."""
    return _keep_ending(posixpath.normpath(posixpath.join(directory, path)), path)


def split(path: str) -> tuple[str, str]:
    """Return directory and last part of a path; a trailing /. is a last part."""
    clean = posixpath.normpath(path)
    if is_current(path):
        clean += "/."
    if clean == "/":
        return "/", "/"
    directory, name = posixpath.split(clean)
    return posixpath.normpath(directory) if directory else ".", name


def rebased(path: str, resolved: str) -> tuple[str, str]:
    """Return what a link leads to, with the ending of the path that was given, and the name to copy it under."""
    if is_current(path) and not is_current(resolved):
        resolved += "/."
    if path.endswith("/") and not resolved.endswith("/"):
        resolved += "/"
    name = base(path)
    return resolved, name if name != base(resolved) else ""


def base(path: str) -> str:
    """Return the last part of a path without the slashes behind it."""
    return posixpath.basename(path.rstrip("/")) or ("/" if path else ".")


def destination(source: Place, target: Place) -> tuple[str, tuple[str, str] | None]:
    """Return the directory to unpack in, and the first part of names to replace (None: none).

    Raises DockerError for a directory that would become a file, and for a file into a directory that isn't there.
    """
    if target.exists and target.is_directory:
        return target.path, None
    if target.exists and source.is_directory:
        raise DockerError("cannot copy directory")
    if not target.exists and not source.is_directory and asserts_directory(target.path):
        raise DockerError("no such directory")
    directory, name = split(target.path)
    old = source.rebase or split(source.path)[1]
    return directory, (old, name)


def _keep_ending(clean: str, given: str) -> str:
    if is_current(given) and not is_current(clean):
        clean = f"{clean.rstrip('/')}/."
    if given.endswith("/") and not clean.endswith("/"):
        clean += "/"
    return clean
