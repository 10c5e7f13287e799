"""`checkpoint`: a running container written to a directory of images, and ended unless it is to go on."""

from __future__ import annotations

import fcntl
import json
import os

from sixhops.linux.cgroups.layout import read_layout
from sixhops.linux.libc import describe
from sixhops.runc import log
from sixhops.runc.criu.external import dumped_mounts, dumped_namespaces
from sixhops.runc.criu.options import Directories, Wishes, common, open_directories
from sixhops.runc.criu.session import Session, require_version, version
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.inside.plan import plan_container
from sixhops.runc.lifecycle import control, notify, state
from sixhops.runc.lifecycle.execprocess import stored_spec
from sixhops.values import Value
from sixhops.wire.proto import criu_pb2

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import Spec

__all__ = ["DESCRIPTORS", "CheckpointRequest", "checkpoint", "require_running"]

#: The file beside the images that says what the standard streams were, a JSON list of three texts.
DESCRIPTORS = "descriptors.json"
_LOG = "dump.log"
_LEAST, _NOTIFIES_STATUS = 30000, 31500
_UNIFIED_FREEZER = 31400


class CheckpointRequest(Value):
    """What `checkpoint` is asked for. `status` is a descriptor that is told when memory may be fetched, -1 for none."""

    wishes: Wishes
    parent: str = ""
    leave_running: bool = False
    pre_dump: bool = False
    page_server: tuple[str, int] | None = None
    status: int = -1


def require_running(root: str, identifier: str) -> state.Container:
    """Return the container if it is in a state that can be written down. Raises RuntimeFault."""
    container = state.load(root, identifier)
    status = container.status()
    if status not in {"running", "paused"}:
        raise RuntimeFault(f"Container cannot be checkpointed in {status} state")
    return container


def checkpoint(container: state.Container, request: CheckpointRequest) -> None:
    """Write the container down; unless it is to go on, it is gone afterwards. Raises RuntimeFault, then it still runs."""
    ends = not (request.leave_running or request.pre_dump)
    try:
        _dump(container, request)
    except (RuntimeFault, OSError):
        if ends and container.alive():
            # what runc's removal says, which it tries in either case
            log.note("container paused" if container.status() == "paused" else "container still running")
        elif ends:
            _remove(container)
        raise
    if ends:
        _remove(container)


def _remove(container: state.Container) -> None:
    try:
        control.delete(container.root, container.identifier, force=True)
    except (RuntimeFault, OSError) as error:
        log.note(str(error))  # it is written down all the same


def _dump(container: state.Container, request: CheckpointRequest) -> None:
    wishes = request.wishes
    found = version(wishes.program)
    require_version(found, _LEAST)
    spec = stored_spec(container)
    if os.path.isdir(container.notify):
        spec = notify.with_socket(spec, container.notify)
    directories = open_directories(wishes)
    try:
        options = _options(container, spec, request, directories, found)
        if request.pre_dump:
            _require_feature(wishes, options, criu_pb2.Features(mem_track=True))
        if request.wishes.lazy_pages:
            _require_feature(wishes, options, criu_pb2.Features(lazy_pages=True))
            _check_status(request.status)
            if request.status >= 0 and found < _NOTIFIES_STATUS:
                options.status_fd = request.status
        if not request.pre_dump:
            options.ext_mnt.extend(_mounts(container, spec))
            # what they are now is as good as can be known of a container that an older program made
            _write_descriptors(wishes.images, container.descriptors or state.streams(container.pid))
        kind = criu_pb2.PRE_DUMP if request.pre_dump else criu_pb2.DUMP
        _run(wishes, criu_pb2.Request(type=kind, opts=options), request.status)
    finally:
        directories.close()


def _options(
    container: state.Container, spec: Spec, request: CheckpointRequest, directories: Directories, found: int
) -> criu_pb2.Options:
    options = common(request.wishes, directories, _LOG, spec.annotations)
    options.root = container.rootfs
    options.pid = container.pid
    options.leave_running = request.leave_running
    options.external.extend(dumped_namespaces(spec.linux, found))
    freezer = container.groups.get("freezer", "")
    if not freezer and set(container.groups) == {""} and found >= _UNIFIED_FREEZER:
        freezer = container.groups[""]
    if freezer:
        options.freeze_cgroup = freezer
    if request.page_server is not None:
        address, port = request.page_server
        options.ps.CopyFrom(criu_pb2.PageServer(address=address, port=port))
    if request.parent:
        options.parent_img = request.parent
        options.track_mem = True
    return options


def _mounts(container: state.Container, spec: Spec) -> list[criu_pb2.ExternalMount]:
    plan = plan_container(
        spec,
        container.identifier,
        container.rootfs,
        read_layout(),
        container.groups,
        bundle=container.bundle,
    )
    return dumped_mounts(spec, plan, container.rootfs, container.pid)


def _write_descriptors(images: str, streams: list[str]) -> None:
    path = os.path.join(images, DESCRIPTORS)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(json.dumps(streams, separators=(",", ":")))
    except OSError as error:
        raise RuntimeFault(f"open {path}: {describe(error.errno or 5)}") from error


def _require_feature(wishes: Wishes, options: criu_pb2.Options, wanted: criu_pb2.Features) -> None:
    """Ask CRIU whether it and the kernel can do something. Raises RuntimeFault."""
    request = criu_pb2.Request(type=criu_pb2.FEATURE_CHECK, opts=options, features=wanted)
    try:
        with Session(wishes.program) as session:
            has = session.ask(request).features
    except (RuntimeFault, OSError) as error:
        log.debug(str(error))
        raise RuntimeFault("CRIU feature check failed") from error
    for field, _ in wanted.ListFields():
        if has.HasField(field.name) and not getattr(has, field.name):
            log.debug(f"CRIU does not support {field.name}")
            raise RuntimeFault("CRIU is missing features")


def _check_status(descriptor: int) -> None:
    """Raise RuntimeFault unless the descriptor, if one was given, is open for writing."""
    if descriptor < 0:
        return
    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError as error:
        raise RuntimeFault(f"invalid --status-fd argument {descriptor}: {reason(error)}") from error
    if mode == os.O_RDONLY:
        raise RuntimeFault(f"invalid --status-fd argument {descriptor}: not writable")


def _run(wishes: Wishes, request: criu_pb2.Request, status: int) -> None:
    log_file = os.path.join(wishes.work, _LOG)

    def notified(name: str, _pid: int, _descriptors: list[int]) -> None:
        if name == "status-ready" and status >= 0:
            try:
                os.write(status, b"\0")
            except OSError as error:
                log.warning(f"can't write \\0 to status fd: {reason(error)}")
            os.close(status)

    with Session(wishes.program) as session:
        session.ask(request, log_file=log_file, notified=notified)
        if request.type == criu_pb2.PRE_DUMP:
            return  # it waits for the dump that may follow, and ends when we hang up
        session.finish(log_file)
