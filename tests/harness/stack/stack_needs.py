"""What tests of stacks need of the machine, as skip marks that name what is missing."""

from __future__ import annotations

import contextlib
import os
import select
import shutil

import pytest

from sixhops.harness.stack.programs import SYSTEM_PATH

_UPSTREAM = ("dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker-registry", "iptables")
_MISSING = [program for program in _UPSTREAM if shutil.which(program, path=SYSTEM_PATH) is None]
_NO_ROOT = "needs root: a private machine is made of namespaces"

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason=_NO_ROOT)
NEEDS_UPSTREAM = pytest.mark.skipif(
    os.geteuid() != 0 or bool(_MISSING),
    reason=f"needs {', '.join(_MISSING)} (make upstream installs them)" if _MISSING else _NO_ROOT,
)


def await_end(pid: int, bound: float = 20.0) -> None:
    """Wait until a process has ended (a zombie has), at most `bound` seconds; a pid that is gone has ended."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            assert select.select([process], [], [], bound)[0], f"process {pid} lives on"
        finally:
            os.close(process)
