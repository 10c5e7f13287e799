"""--cpu-rt-period and --cpu-rt-runtime: what the parents of containers' control groups may use of the real-time scheduler.

The kernel lets a group have no more than its parent. Source: moby 20.10, `WithCgroups` in daemon/oci_linux.go.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from sixhops.dockerd.containers.checks.kernel import this_kernel
from sixhops.dockerd.errors import system

__all__ = ["prepare_parents"]

_CPU = Path("/sys/fs/cgroup/cpu")


def prepare_parents(group: str, realtime: tuple[int, int], root: Path = _CPU) -> None:
    """Make the parents of `group` (linux.cgroupsPath) and write `realtime`, period and runtime in microseconds, 0 for none.

    Raises EngineError 500.
    """
    if not any(realtime):
        return
    kernel = this_kernel()
    if kernel.unified:
        raise system("daemon-scoped cpu-rt-period and cpu-rt-runtime are not implemented for cgroup v2")
    if not kernel.realtime:
        raise system("daemon-scoped cpu-rt-period and cpu-rt-runtime are not supported by the kernel")
    place = root
    for name in posixpath.normpath(posixpath.dirname(f"/{group}")).strip("/").split("/"):
        if not name:
            continue
        place /= name
        try:
            place.mkdir(mode=0o755, exist_ok=True)
            for value, file in zip(realtime, ("cpu.rt_period_us", "cpu.rt_runtime_us"), strict=True):
                if value:
                    # the file is the kernel's: it is never made
                    (place / file).write_text(str(value))
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise system(
                f"unable to init CPU RT controller: write {error.filename or place / file}: {reason}"
            ) from error
