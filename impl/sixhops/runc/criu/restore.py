"""`restore`: a container made from a bundle, as by `create`, whose processes come out of images."""

from __future__ import annotations

import json
import os

from sixhops.linux import mounts as m
from sixhops.linux import terminal
from sixhops.linux.cgroups import control as groups
from sixhops.linux.cgroups.devices import apply_rules
from sixhops.linux.cgroups.layout import container_groups, read_layout
from sixhops.linux.cgroups.limits import LimitError, apply
from sixhops.linux.libc import LinuxError
from sixhops.runc import log
from sixhops.runc.criu.checkpoint import DESCRIPTORS
from sixhops.runc.criu.external import NAMESPACE_VERSIONS, MountPoints, namespace_key, restored_mounts
from sixhops.runc.criu.options import Wishes, common, open_directories
from sixhops.runc.criu.session import FIRST_EXTRA, Session, require_version, version
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.inside.plan import plan_container
from sixhops.runc.inside.validate import validate
from sixhops.runc.lifecycle import notify, state
from sixhops.runc.lifecycle.bundle import read_bundle
from sixhops.runc.lifecycle.control import destroy, kill_first
from sixhops.runc.lifecycle.create import new_container
from sixhops.runc.lifecycle.groups import ALWAYS_ALLOWED
from sixhops.runc.lifecycle.hooks import run_hooks
from sixhops.runc.lifecycle.outline import hook_values
from sixhops.runc.lifecycle.outside import PidFile, refuse_systemd
from sixhops.values import Value, replace
from sixhops.wire.proto import criu_pb2
from sixhops.wire.runtime.document import Cpu, Resources

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.linux.cgroups.layout import Layout
    from sixhops.wire.runtime.document import Linux, Spec

__all__ = ["RestoreRequest", "restore"]

_LOG = "restore.log"
_LEAST, _LSM_LEAST = 30000, 31600
#: CRIU's names for the namespaces that it can join.
_JOINED = {"mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user"}
#: What a terminal's master is called on its way to the console socket.
_MASTER = "orphan-pts-master"


class RestoreRequest(Value):
    """What `restore` is asked for; standard streams are the caller's own.

    A terminal's master goes to the socket at `console_socket`, or else to the one behind the descriptor `console`.
    """

    wishes: Wishes
    root: str
    identifier: str
    bundle: str
    pid_file: str = ""
    console: int = -1
    console_socket: str = ""
    detach: bool = False
    pivot: bool = True
    systemd_groups: bool = False
    notify_socket: str = ""
    lsm_profile: str = ""
    lsm_mount_context: str = ""


def restore(request: RestoreRequest) -> state.Container:
    """Make the container and let it go on; its first process is our child. Raises RuntimeFault, leaving nothing."""
    bundle = os.path.realpath(request.bundle)
    text, spec = read_bundle(bundle)
    state.check_identifier(request.identifier)
    rootfs = os.path.normpath(os.path.join(bundle, spec.root_path or ""))
    validate(spec, rootfs, pivot=request.pivot)
    if request.systemd_groups:
        refuse_systemd(spec.linux.cgroups_path)
    held = state.claim(request.root, request.identifier)
    try:
        container = new_container(request.root, request.identifier, spec, bundle, rootfs)
        shared = False
        try:
            if request.notify_socket:
                notify.make_directory(container)
                spec = notify.with_socket(spec, container.notify)
            with open(container.config, "w", encoding="utf-8") as file:
                file.write(text)
            _check_terminal(request, spec)
            layout = read_layout()
            shared = _find_groups(container, layout, spec.linux.cgroups_path or request.identifier)
            _restore(request, spec, container, layout)
            if request.pid_file:
                PidFile(request.pid_file, container.pid).publish()
        except BaseException:
            _undo(container, keep_groups=shared)
            raise
    finally:
        os.close(held)
    return container


def _check_terminal(request: RestoreRequest, spec: Spec) -> None:
    wanted = spec.process is not None and spec.process.terminal
    if request.detach and wanted and not request.console_socket:
        raise RuntimeFault("cannot allocate tty if runc will detach without setting console socket")
    if request.console_socket and not (request.detach and wanted):
        raise RuntimeFault("cannot use console socket if runc will not detach or allocate tty")


def _undo(container: state.Container, *, keep_groups: bool) -> None:
    try:
        kill_first(container)
        if keep_groups:
            container.groups = {}
        destroy(container)
    except (OSError, RuntimeFault) as error:
        log.warning(f"clean-up after a failed restore: {error}")


def _find_groups(container: state.Container, layout: Layout, path: str) -> bool:
    """Set the container's groups; return whether another one is in them."""
    container.groups = container_groups(layout, path)
    count = len(groups.processes(container.groups)) if groups.exists(container.groups) else 0
    if count:
        # the one that the image was made of may go on, and `ctr containers restore` gives both the same document
        log.warning(f"container's cgroup is not empty: {count} process(es) found")
    return bool(count)


def _restore(request: RestoreRequest, spec: Spec, container: state.Container, layout: Layout) -> None:
    # Recorded before there is anything in the groups: whoever finds a killed restore's rest can remove it.
    state.save(container)
    number = version(request.wishes.program)
    require_version(number, _LEAST)
    plan = plan_container(
        spec,
        request.identifier,
        container.rootfs,
        layout,
        container.groups,
        bundle=container.bundle,
        pivot=request.pivot,
    )
    directories = open_directories(request.wishes)
    extra: list[int] = []
    try:
        with _Root(container) as root:
            options = common(request.wishes, directories, _LOG, spec.annotations)
            options.root = root
            options.evasive_devices = True
            options.rst_sibling = True
            _security(request, options, number)
            _namespaces(spec.linux, options, number, extra)
            with MountPoints(plan, container.rootfs):
                options.ext_mnt.extend(restored_mounts(spec, plan, container.rootfs))
            _pipes(request.wishes.images, options)
            _converse(request, spec, container, options, extra)
    finally:
        directories.close()
        for descriptor in extra:
            os.close(descriptor)


class _Root:
    """The rootfs bound to a directory of the container's state, a context with its path.

    CRIU wants a mount point whose parent is not mounted over.
    """

    def __init__(self, container: state.Container) -> None:
        self._source = container.rootfs
        self._place = os.path.realpath(container.restored_root)

    def __enter__(self) -> str:
        """Bind it and return the path."""
        os.mkdir(self._place, 0o755)
        try:
            m.mount(self._source, self._place, flags=m.MS_BIND | m.MS_REC)
        except LinuxError:
            os.rmdir(self._place)
            raise
        return self._place

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        m.unmount(self._place, m.MNT_DETACH)
        os.rmdir(self._place)


def _security(request: RestoreRequest, options: criu_pb2.Options, number: int) -> None:
    for flag, value in (
        ("lsm-profile", request.lsm_profile),
        ("lsm-mount-context", request.lsm_mount_context),
    ):
        if value:
            if number < _LSM_LEAST:
                raise RuntimeFault(f"--{flag} requires at least CRIU 3.16")
            setattr(options, flag.replace("-", "_"), value)


def _namespaces(linux: Linux, options: criu_pb2.Options, number: int, extra: list[int]) -> None:
    """Say which namespaces are joined; descriptors of those that CRIU leaves alone are added to `extra`."""
    for namespace in linux.namespaces:
        if not namespace.path:
            continue
        name, least = NAMESPACE_VERSIONS.get(namespace.type, ("", 0))
        if name and number >= least:
            place = FIRST_EXTRA + len(extra)
            try:
                extra.append(os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                log.note(f"If a specific network namespace is defined it must exist: {reason(error, 'open')}")
                raise RuntimeFault(f"Requested network namespace {namespace.path} does not exist") from error
            options.inherit_fd.add(key=namespace_key(name), fd=place)
        elif namespace.type in _JOINED:
            options.join_ns.add(ns=_JOINED[namespace.type], ns_file=namespace.path)
        elif not name:
            raise RuntimeFault(f"Do not know how to handle namespace NEW{namespace.type.upper()}")


def _pipes(images: str, options: criu_pb2.Options) -> None:
    """Let the pipes that were standard streams be ours from now on."""
    path = os.path.join(images, DESCRIPTORS)
    try:
        with open(path, encoding="utf-8") as file:
            streams = json.load(file)
    except OSError as error:
        raise RuntimeFault(reason(error, "open")) from error
    except ValueError as error:
        raise RuntimeFault(f"{path}: {error}") from error
    if not isinstance(streams, list) or not all(isinstance(stream, str) for stream in streams):
        raise RuntimeFault(f"{path}: not a list of texts")
    for number, stream in enumerate(streams):
        if "pipe:" in stream:
            options.inherit_fd.add(key=stream, fd=number)


def _converse(
    request: RestoreRequest,
    spec: Spec,
    container: state.Container,
    options: criu_pb2.Options,
    extra: list[int],
) -> None:
    terminal_wanted = spec.process is not None and spec.process.terminal
    log_file = os.path.join(request.wishes.work, _LOG)
    with Session(request.wishes.program, None if terminal_wanted else (0, 1, 2), extra) as session:
        _enter_groups(session.pid, container.groups, spec.linux.resources)
        if set(container.groups) != {""}:
            options.cg_root.extend(_own_groups(session.pid))
        container.descriptors = state.streams(session.pid)

        def notified(name: str, pid: int, descriptors: list[int]) -> None:
            if name == "setup-namespaces":
                hooks = hook_values((*spec.hooks.prestart, *spec.hooks.create_runtime))
                run_hooks(hooks, container.describe("creating", pid), container.bundle)
            elif name == "orphan-pts-master":
                _hand_terminal(request, descriptors)
            elif name == "post-restore":
                container.pid = pid
                container.start_time = state.process_start(pid)
                container.created = state.now()
                container.ready = True
                state.save(container)

        session.ask(
            criu_pb2.Request(type=criu_pb2.RESTORE, opts=options), log_file=log_file, notified=notified
        )
        session.finish(log_file)


def _enter_groups(pid: int, made: dict[str, str], resources: Resources) -> None:
    """Make the groups and put CRIU into them, whose children the container's processes are going to be."""
    try:
        groups.create(made)
        # a cpuset has to be right before anything enters it
        apply(made, Resources(cpu=Cpu(cpus=resources.cpu.cpus, mems=resources.cpu.mems)))
        groups.enter(made, pid)
        apply_rules(made, (*resources.devices, *ALWAYS_ALLOWED))
        apply(made, replace(resources, devices=()))
    except (LinuxError, LimitError) as error:
        raise RuntimeFault(str(error)) from error


def _own_groups(pid: int) -> list[criu_pb2.CgroupRoot]:
    """Return where a process is in each hierarchy, which becomes what the image's group was."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return [
        criu_pb2.CgroupRoot(ctrl=name, path=path) for _, names, path in lines for name in names.split(",")
    ]


def _hand_terminal(request: RestoreRequest, descriptors: list[int]) -> None:
    """Send the master of the container's terminal to whoever wants it."""
    if not descriptors:
        raise RuntimeFault("criu sent no descriptor of the terminal")
    console = request.console
    if request.console_socket:
        console = terminal.connect(request.console_socket)
    if console < 0:
        raise RuntimeFault("the image has a terminal, and there is no console socket to send it to")
    try:
        terminal.send_descriptor(console, _MASTER, descriptors[0])
    finally:
        if request.console_socket:
            os.close(console)
