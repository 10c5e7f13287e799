"""`checkpoint` and `restore` as commands: options into requests, and, unless detached, waiting for what was restored."""

from __future__ import annotations

import os

from sixhops.runc import log
from sixhops.runc.cli.foreground import attach, wait
from sixhops.runc.criu.checkpoint import CheckpointRequest, checkpoint, require_running
from sixhops.runc.criu.options import CGROUP_MODES, Wishes, empty_namespaces, prepare_images
from sixhops.runc.criu.restore import RestoreRequest, restore
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.lifecycle import control, notify

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.cli.options import Parsed

__all__ = ["page_server", "run_checkpoint", "run_restore"]


def run_checkpoint(parsed: Parsed, root: str, program: str) -> int:
    """Write a container down by the CRIU `program`; return 0. Raises RuntimeFault."""
    _warn_of_users()
    container = require_running(root, parsed.arguments[0])
    images, parent = prepare_images(parsed.values.get("image-path", ""), parsed.values.get("parent-path", ""))
    request = CheckpointRequest(
        wishes=_wishes(parsed, images, program),
        parent=parent,
        leave_running="leave-running" in parsed.flags,
        pre_dump="pre-dump" in parsed.flags,
        page_server=page_server(parsed.values.get("page-server", "")),
        status=parsed.number("status-fd") if "status-fd" in parsed.values else -1,
    )
    checkpoint(container, request)
    return 0


def run_restore(parsed: Parsed, root: str, program: str, *, systemd_groups: bool) -> int:
    """Restore a container and (unless detached) wait for it and remove it; return its exit status. Raises RuntimeFault."""
    _warn_of_users()
    identifier = parsed.arguments[0]
    images, _ = prepare_images(parsed.values.get("image-path", ""), parsed.values.get("parent-path", ""))
    detach = "detach" in parsed.flags
    bundle = parsed.values.get("bundle") or "."
    _, console = attach(parsed)
    container = restore(
        RestoreRequest(
            wishes=_wishes(parsed, images, program),
            root=root,
            identifier=identifier,
            bundle=bundle,
            pid_file=parsed.values.get("pid-file", ""),
            console_socket=parsed.values.get("console-socket", ""),
            console=console.theirs,
            detach=detach,
            pivot="no-pivot" not in parsed.flags,
            systemd_groups=systemd_groups,
            notify_socket=notify.host_socket(),
            lsm_profile=parsed.values.get("lsm-profile", ""),
            lsm_mount_context=parsed.values.get("lsm-mount-context", ""),
        )
    )
    if detach:
        return 0
    try:
        return wait(container.pid, console)
    finally:
        control.delete(root, identifier, force=True)


def _warn_of_users() -> None:
    if os.geteuid() != 0:
        log.warning("runc checkpoint is untested with rootless containers")


def _wishes(parsed: Parsed, images: str, program: str) -> Wishes:
    mode = parsed.values.get("manage-cgroups-mode", "")
    if mode and mode not in CGROUP_MODES:
        raise RuntimeFault("Invalid manage cgroups mode")
    return Wishes(
        program=program,
        images=images,
        work=parsed.values.get("work-path", ""),
        tcp_established="tcp-established" in parsed.flags,
        external_sockets="ext-unix-sk" in parsed.flags,
        shell_job="shell-job" in parsed.flags,
        file_locks="file-locks" in parsed.flags,
        lazy_pages="lazy-pages" in parsed.flags,
        auto_dedup="auto-dedup" in parsed.flags,
        empty=empty_namespaces(parsed.lists.get("empty-ns", [])),
        cgroups=mode,
    )


def page_server(text: str) -> tuple[str, int] | None:
    """Return address and port of `ADDRESS:PORT`, the address in brackets if it has colons itself."""
    if not text:
        return None
    address, colon, port = text.rpartition(":")
    if not colon or not address or not port or (":" in address and not address.startswith("[")):
        raise RuntimeFault("Use --page-server ADDRESS:PORT to specify page server")
    try:
        return address.strip("[]"), int(port)
    except ValueError:
        raise RuntimeFault("Invalid port number") from None
