"""POST /containers/{id}/update: new limits and a new restart policy for a container, running or not.

Facts (dockerd 20.10): 0 and "" mean "as it was"; what can't be together with what is set already is a 409; a running
container gets what was asked, and zeros for the rest; a runtime's refusal leaves the container's document as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.checks.config import RESOURCES, asked_host_config
from sixhops.dockerd.containers.checks.validation import validate
from sixhops.dockerd.containers.specification.resources import processors
from sixhops.dockerd.errors import conflict

if TYPE_CHECKING:
    from sixhops.dockerd.containers.specification.runtimes import Runtimes

__all__ = ["merge"]

_NUMBERS = (
    "BlkioWeight",
    "CpuShares",
    "NanoCpus",
    "CpuPeriod",
    "CpuQuota",
    "CpusetCpus",
    "CpusetMems",
    "Memory",
    "MemorySwap",
    "MemoryReservation",
    "KernelMemory",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
)


def merge(
    body: dict[str, Any], host: dict[str, Any], runtimes: Runtimes
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return HostConfig with the changes of an update, the runtime's document for them, and warnings.

    Raises EngineError 400 and 409.
    """
    given = {key: body[key] for key in (*RESOURCES, "RestartPolicy") if key in body}
    asked = asked_host_config({"HostConfig": given}) or {}
    warnings = validate(None, asked, runtimes, update=True)
    _check_together(asked, host)
    changed = host | {key: asked[key] for key in _NUMBERS if asked[key]}
    if body.get("PidsLimit") is not None:
        changed["PidsLimit"] = max(0, body["PidsLimit"])
    restart = asked["RestartPolicy"]
    if restart["Name"]:
        if host["AutoRemove"] and restart["Name"] != "no":
            raise conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        changed["RestartPolicy"] = restart
    return changed, _limits(asked, body.get("PidsLimit")), warnings


def _limits(asked: dict[str, Any], pids: int | None) -> dict[str, Any]:
    """Return the runtime's document: what was asked, and zeros, which it takes for "as it was", for the rest."""
    memory = {
        "limit": asked["Memory"],
        "reservation": asked["MemoryReservation"],
        "kernel": asked["KernelMemory"],
    }
    if asked["MemorySwap"] > 0:
        memory["swap"] = asked["MemorySwap"]
    cpu = {"quota": 0, "period": 0} | processors(asked)
    for name in ("realtimeRuntime", "realtimePeriod"):
        # accepted and kept, but never handed on
        cpu.pop(name, None)
    found: dict[str, Any] = {"memory": memory, "cpu": cpu, "blockIO": {"weight": asked["BlkioWeight"]}}
    if pids is not None:
        # for the runtime 0 is "as it was", and none at all is -1
        found["pids"] = {"limit": max(0, pids) or -1}
    return found


def _check_together(asked: dict[str, Any], host: dict[str, Any]) -> None:
    for one, other, names in (
        ("NanoCpus", "CpuPeriod", ("Nano CPUs", "CPU Period has")),
        ("NanoCpus", "CpuQuota", ("Nano CPUs", "CPU Quota has")),
        ("CpuPeriod", "NanoCpus", ("CPU Period", "NanoCPUs has")),
        ("CpuQuota", "NanoCpus", ("CPU Quota", "NanoCPUs has")),
    ):
        if asked[one] > 0 and host[other] > 0:
            raise conflict(
                f"Conflicting options: {names[0]} cannot be updated as {names[1]} already been set"
            )
    if asked["Memory"] and not asked["MemorySwap"] and asked["Memory"] > host["MemorySwap"]:
        raise conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
