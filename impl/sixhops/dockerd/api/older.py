"""What clients of older versions of the API expect: answers taken back to the shape of their version. Pure functions.

Facts: daemon/inspect_linux.go and daemon/stats.go of moby 20.10, which serves all versions from
1.12 on; compared with dockerd 20.10.24.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixhops.dockerd.api.server import Call

__all__ = ["inspect_document", "stats_sample"]

_TRAFFIC = (
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
)


def inspect_document(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    """Return an inspected container as the client's version has it."""
    if not call.is_older_than("1.21"):
        return document
    host, config = document["HostConfig"], document["Config"]
    old_config = {
        **config,
        "MacAddress": config.get("MacAddress", ""),
        "NetworkDisabled": config.get("NetworkDisabled", False),
        "ExposedPorts": config.get("ExposedPorts"),
        "VolumeDriver": host["VolumeDriver"],
    }
    networks = {name: value for name, value in document["NetworkSettings"].items() if name != "Networks"}
    kept = {
        name: value
        for name, value in document.items()
        if name not in {"Mounts", "Config", "NetworkSettings", "SizeRw", "SizeRootFs"}
    }
    if not call.is_older_than("1.20"):
        return {**kept, "Mounts": document["Mounts"], "Config": old_config, "NetworkSettings": networks}
    old_config |= {
        "Memory": host["Memory"],
        "MemorySwap": host["MemorySwap"],
        "CpuShares": host["CpuShares"],
        "Cpuset": host["CpusetCpus"],
    }
    mounts = document["Mounts"]
    return {
        **kept,
        "Volumes": {mount["Destination"]: mount["Source"] for mount in mounts},
        "VolumesRW": {mount["Destination"]: mount["RW"] for mount in mounts},
        "Config": old_config,
        "NetworkSettings": networks,
    }


def stats_sample(call: Call, sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample of statistics as the client's version has it: before 1.21 one network was all networks."""
    if not call.is_older_than("1.21"):
        return sample
    networks = sample.get("networks") or {}
    total = {name: sum(network.get(name, 0) for network in networks.values()) for name in _TRAFFIC}
    kept = {name: value for name, value in sample.items() if name not in {"name", "id", "networks"}}
    return {**kept, "network": total}
