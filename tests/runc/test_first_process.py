"""When the first process hears that its limits are set: before it becomes another user, whatever it does till then."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sixhops.runc import channel as ch
from sixhops.runc.inside import init

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("waits", "order"),
    [(True, ["limits are set", "mounts"]), (False, ["mounts", "limits are set"])],
    ids=["maps are needed for the mounts", "the mounts need nothing"],
)
def test_first_process_waits_for_its_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: bool, order: list[str]
) -> None:
    happened: list[str] = []
    ours, theirs = ch.open_channel()
    expect = theirs.expect

    def heard(kind: bytes) -> bytes:
        happened.append("limits are set")
        return expect(kind)

    monkeypatch.setattr(theirs, "expect", heard)
    monkeypatch.setattr(init, "call", lambda *_, **__: 0)
    monkeypatch.setattr(init, "open_label", lambda _: -1)
    monkeypatch.setattr(init, "_reopen_null", lambda _: None)
    monkeypatch.setattr(init, "execute", lambda *_: happened.append("mounts"))
    monkeypatch.setattr(os, "setsid", lambda: None)
    root = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(init, "Execution", lambda *_: SimpleNamespace(root=root))
    first = SimpleNamespace(
        waits=waits,
        own_user=False,
        own_groups=False,
        early=False,
        channel=theirs,
        plan=["a mount"],
        rootfs="/",
        console_socket=-1,
        mapped={},
        personality=None,
        process=SimpleNamespace(user=SimpleNamespace(umask=None)),
    )

    ours.send(ch.GO)
    init._prepare(cast("Any", first))

    assert happened == order
    ours.close()
    theirs.close()
