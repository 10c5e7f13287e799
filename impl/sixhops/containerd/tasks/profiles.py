"""Has the loaded runtime compile seccomp profiles before containers need them."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sixhops.containerd.tasks.workers import Workers

__all__ = ["Profiles"]

PREPARE_MODULE = "sixhops.runc.api"
KEPT = 16  # filters that the loaded runtime keeps; as many are remembered here


class Profiles:
    """The profiles that the loaded runtime knows."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._known: deque[bytes] = deque(maxlen=KEPT)

    def prepare(self, spec: bytes) -> None:
        """Have the profile of a container, which runs, compiled for the containers to come, if it is new.

        That takes longer than all else that `create` does, and most containers of a machine share one profile.
        """
        document = json.loads(spec)  # which the runtime has understood, as there is a container now
        profile = {"linux": {"seccomp": (document.get("linux") or {}).get("seccomp")}}
        if not profile["linux"]["seccomp"]:
            return
        profile["ociVersion"] = document["ociVersion"]
        config = json.dumps(profile)
        digest = hashlib.sha256(config.encode()).digest()
        if digest not in self._known:
            self._known.append(digest)
            self._workers.prepare(PREPARE_MODULE, "prepare_here", {"config": config})
