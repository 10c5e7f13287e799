"""When the parent writes limits while the first process makes its mounts: never rules of devices beside one that goes on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sixhops.runc import channel as ch
from sixhops.runc.lifecycle import create, groups
from sixhops.wire.runtime.parse import parse_spec

_DOCUMENT = json.dumps(
    {
        "ociVersion": "1.0.2",
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}},
    }
)


class _Child:
    """The channel's other end: it says that it has come to the hooks, and that it is ready."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened
        self._words = [ch.HOOKS, ch.READY]

    def send(self, kind: bytes, body: bytes = b"") -> None:
        self._happened.append(f"told {'to go' if kind == ch.GO else 'to go on'}")

    def receive(self) -> tuple[bytes, bytes]:
        kind = self._words.pop(0)
        self._happened.append("waits for the parent" if kind == ch.HOOKS else "is ready")
        return kind, b""


@pytest.mark.parametrize(
    ("meets", "on_devices", "order"),
    [
        (
            True,
            True,
            ["told to go", "waits for the parent", "devices", "limits", "told to go on", "is ready"],
        ),
        (False, True, ["told to go", "waits for the parent", "limits", "is ready", "devices"]),
        (False, False, ["told to go", "waits for the parent", "limits", "is ready"]),
    ],
    ids=["it waits in between", "it does not wait", "they were allowed before it began"],
)
def test_devices_are_allowed_while_the_first_process_waits(
    monkeypatch: pytest.MonkeyPatch, meets: bool, on_devices: bool, order: list[str]
) -> None:
    happened: list[str] = []
    monkeypatch.setattr(groups, "apply_rules", lambda *_: happened.append("devices"))
    monkeypatch.setattr(groups, "apply", lambda *_: happened.append("limits"))
    container = cast("Any", SimpleNamespace(groups={}))
    first = cast("Any", SimpleNamespace(meets=meets, on_devices=on_devices, own_user=False, filter=None))

    create._accompany(parse_spec(_DOCUMENT), container, 0, cast("Any", _Child(happened)), first, lambda: None)

    assert happened == order
