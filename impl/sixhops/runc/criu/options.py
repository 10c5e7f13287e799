"""What the two commands are asked for, and the part of CRIU's options that both have.

Meanings, defaults and words are runc 1.1's (checkpoint.go, restore.go and container_linux.go there).
"""

from __future__ import annotations

import errno
import os

from sixhops.linux.libc import describe
from sixhops.linux.namespaces import CLONE_NEWNET
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.values import Value
from sixhops.wire.proto import criu_pb2

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CGROUP_MODES",
    "Directories",
    "Wishes",
    "common",
    "empty_namespaces",
    "open_directories",
    "prepare_images",
]

CGROUP_MODES = {"soft": criu_pb2.SOFT, "full": criu_pb2.FULL, "strict": criu_pb2.STRICT}
#: How much CRIU tells its log; 4 is everything.
_LOG_LEVEL = 4
_CONFIGURATION = "/etc/criu/runc.conf"


class Wishes(Value):
    """What both commands take. Paths are as given; `work` empty is CRIU's default, the images' directory."""

    program: str
    images: str
    work: str = ""
    tcp_established: bool = False
    external_sockets: bool = False
    shell_job: bool = False
    file_locks: bool = False
    lazy_pages: bool = False
    auto_dedup: bool = False
    empty: int = CLONE_NEWNET
    cgroups: str = ""


class Directories(Value):
    """Open descriptors of the images' and the work directory (-1: none); close them."""

    images: int
    work: int = -1

    def close(self) -> None:
        """Close both."""
        for descriptor in (self.images, self.work):
            if descriptor >= 0:
                os.close(descriptor)


def prepare_images(path: str, parent: str) -> tuple[str, str]:
    """Make the images' directory; return it, and the relative path of the one before. Raises RuntimeFault."""
    images = path or os.path.join(os.getcwd(), "checkpoint")
    try:
        os.makedirs(images, 0o600, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RuntimeFault(f"mkdir {_first_file(images)}: {describe(errno.ENOTDIR)}") from error
    except OSError as error:
        raise RuntimeFault(reason(error, "mkdir")) from error
    if not parent:
        return images, ""
    if os.path.isabs(parent):
        raise RuntimeFault("--parent-path must be relative")
    real = os.path.normpath(os.path.join(images, parent))
    try:
        if not os.path.isdir(real):
            os.stat(real)
            raise RuntimeFault(f"invalid --parent-path:  {real}: {describe(errno.ENOTDIR)}")
    except OSError as error:
        raise RuntimeFault(f"invalid --parent-path: {reason(error, 'stat')}") from error
    return images, parent


def _first_file(path: str) -> str:
    """Return what of a path is there and no directory."""
    above = os.path.dirname(path)
    return _first_file(above) if above != path and not os.path.lexists(path) else path


def empty_namespaces(names: list[str]) -> int:
    """Return the mask of namespaces that are made anew instead of restored: always the network, which others set up."""
    for name in names:
        if name != "network":
            raise RuntimeFault(f'namespace "{name}" is not supported')
    return CLONE_NEWNET


def open_directories(wishes: Wishes) -> Directories:
    """Open both directories, the work directory made if it is not there. Raises RuntimeFault."""
    images = _open(wishes.images)
    if not wishes.work:
        return Directories(images)
    try:
        os.mkdir(wishes.work, 0o700)
    except FileExistsError:
        log.debug(f"{wishes.work} is there already")
    except OSError as error:
        os.close(images)
        raise RuntimeFault(reason(error, "mkdir")) from error
    try:
        return Directories(images, _open(wishes.work))
    except RuntimeFault:
        os.close(images)
        raise


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeFault(reason(error, "open")) from error


def common(
    wishes: Wishes, directories: Directories, log_file: str, annotations: Mapping[str, str]
) -> criu_pb2.Options:
    """Return the options that both requests have; `log_file` is a name in the work directory."""
    options = criu_pb2.Options(
        images_dir_fd=directories.images,
        log_level=_LOG_LEVEL,
        log_file=log_file,
        manage_cgroups=True,
        notify_scripts=True,
        shell_job=wishes.shell_job,
        ext_unix_sk=wishes.external_sockets,
        tcp_established=wishes.tcp_established,
        file_locks=wishes.file_locks,
        empty_ns=wishes.empty,
        orphan_pts_master=True,
        auto_dedup=wishes.auto_dedup,
        lazy_pages=wishes.lazy_pages,
    )
    if directories.work >= 0:
        options.work_dir_fd = directories.work
    if wishes.cgroups:
        options.manage_cgroups_mode = CGROUP_MODES[wishes.cgroups]
    # A file with options for CRIU, which go before ours; that there is none is fine with it.
    configuration = annotations.get("org.criu.config", _CONFIGURATION)
    if configuration:
        options.config_file = configuration
    return options
