"""Older versions of the API: answers taken back to their shape."""

from __future__ import annotations

from typing import Any

from sixhops.dockerd.api import older
from sixhops.dockerd.api.server import Call


def call(version: str) -> Call:
    request: Any = None
    return Call(request, {}, version=version)


def test_statistics_before_1_21_add_the_networks_up() -> None:
    sample = {
        "read": "t",
        "name": "/n",
        "id": "i",
        "networks": {"eth0": {"rx_bytes": 1}, "eth1": {"rx_bytes": 2}},
    }

    found = older.stats_sample(call("1.20"), sample)
    assert found["network"]["rx_bytes"] == 3
    assert found.keys() == {"read", "network"}
    assert older.stats_sample(call("1.21"), sample) == sample


def test_inspect_before_1_21_and_before_1_20() -> None:
    host = {"VolumeDriver": "", "Memory": 1, "MemorySwap": 2, "CpuShares": 3, "CpusetCpus": "0"}
    mounts = [{"Destination": "/d", "Source": "/s", "RW": True}]
    document = {
        "Id": "i",
        "HostConfig": host,
        "Config": {"User": ""},
        "NetworkSettings": {"Networks": {}},
        "Mounts": mounts,
    }

    middle = older.inspect_document(call("1.20"), document)
    assert middle["Mounts"] == mounts
    assert middle["Config"] == {
        "User": "",
        "MacAddress": "",
        "NetworkDisabled": False,
        "ExposedPorts": None,
        "VolumeDriver": "",
    }
    first = older.inspect_document(call("1.19"), document)
    assert (first["Volumes"], first["VolumesRW"]) == ({"/d": "/s"}, {"/d": True})
    assert first["Config"]["Cpuset"] == "0"
    assert "Mounts" not in first
    assert older.inspect_document(call("1.21"), document) is document
