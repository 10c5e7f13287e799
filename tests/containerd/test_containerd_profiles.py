"""Seccomp profiles that the loaded runtime compiles ahead, once each."""

from __future__ import annotations

import json
from typing import Any

from sixhops.containerd.tasks.profiles import Profiles


class Prepared:
    """Workers that note what they are asked to prepare."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def prepare(self, module: str, function: str, arguments: dict[str, Any]) -> None:
        assert (module, function) == ("sixhops.runc.api", "prepare_here")
        self.asked.append(json.loads(arguments["config"]))


def spec(name: str, profile: dict[str, Any] | None) -> bytes:
    document = {"ociVersion": "1.0.2", "hostname": name, "linux": {"cgroupsPath": name, "seccomp": profile}}
    return json.dumps(document).encode()


def test_a_profile_is_prepared_once_for_all_its_containers() -> None:
    workers = Prepared()
    profiles = Profiles(workers)  # type: ignore[arg-type]
    first, second = ({"defaultAction": f"SCMP_ACT_{word}"} for word in ("ALLOW", "LOG"))

    for name, profile in (("a", first), ("b", first), ("c", second), ("d", None), ("e", first)):
        profiles.prepare(spec(name, profile))

    assert workers.asked == [
        {"ociVersion": "1.0.2", "linux": {"seccomp": profile}} for profile in (first, second)
    ]
