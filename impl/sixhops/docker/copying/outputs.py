"""Files that a command writes: checked before anything is asked of the engine, and never there by half."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING

from sixhops.docker.attached.relay import write_all
from sixhops.docker.errors import DockerError
from sixhops.docker.values import os_error, quote

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_output_path", "write_to"]


def check_output_path(path: str) -> None:
    """Raise DockerError for a path in a directory that isn't there, and for a device."""
    directory = os.path.dirname(os.path.normpath(path))
    if directory and not os.path.exists(directory):
        raise DockerError(f"invalid output path: directory {quote(directory)} does not exist")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise DockerError(os_error("stat", path, error)) from error
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise DockerError(
            f"invalid output path: {quote(path)} must be a directory or a regular file: got a device"
        )


def write_to(path: str, pieces: Iterable[bytes]) -> None:
    """Write pieces to a file beside `path` and rename it; "" is stdout. Raises DockerError."""
    if not path:
        for piece in pieces:
            write_all(1, piece)
        return
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".docker_temp_", dir=os.path.dirname(path) or ".")
        with open(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
        if os.path.isdir(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), temporary, None, path)
        os.rename(temporary, path)
    except OSError as error:
        _discard(temporary)
        if error.filename2:
            reason = (error.strerror or "").lower()
            beside = f"{os.path.dirname(path) or '.'}/{os.path.basename(temporary)}"
            raise DockerError(f"rename {beside} {path}: {reason}") from error
        raise DockerError(os_error("open", path, error)) from error
    except BaseException:
        _discard(temporary)
        raise


def _discard(path: str) -> None:
    if path:
        os.unlink(path)
