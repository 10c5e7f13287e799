"""What containerd holds: also where it has a namespace of which it lets nothing be asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from sixhops.harness.run.containerd_objects import ContainerdClient, Objects, new_objects


class Refused(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


def client_that_refuses(monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode) -> ContainerdClient:
    def ask(client: object, service: str, method: str, namespace: str = "", **fields: Any) -> Any:
        if service == "Namespaces":
            return SimpleNamespace(namespaces=[SimpleNamespace(name="a/x"), SimpleNamespace(name="b")])
        if namespace == "a/x":
            raise Refused(code)
        if service == "Containers":
            return SimpleNamespace(containers=[SimpleNamespace(id="c")])
        if service in {"Snapshots", "Content"} and method == "List":
            return []
        return SimpleNamespace(plugins=[], tasks=[], images=[], leases=[], statuses=[])

    monkeypatch.setattr(ContainerdClient, "ask", ask)
    return ContainerdClient(Path("/nowhere.sock"))


def test_a_namespace_that_cannot_be_asked_is_still_something_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with client_that_refuses(monkeypatch, grpc.StatusCode.INVALID_ARGUMENT) as client:
        found = client.objects()

    assert new_objects(Objects(), found) == [
        ("b", "container", "c"),
        ("a/x", "namespace", "a/x"),
        ("b", "namespace", "b"),
    ]


def test_other_refusals_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        client_that_refuses(monkeypatch, grpc.StatusCode.INTERNAL) as client,
        pytest.raises(grpc.RpcError),
    ):
        client.objects()
