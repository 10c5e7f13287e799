"""Plain data to protobuf messages, and what is said of data that is none."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.messages import encode, problems
from sixhops.harness.scenario.model import Template
from sixhops.harness.scenario.reader import Fields
from sixhops.harness.tap.decode import decode
from sixhops.wire.proto import containers_pb2, content_pb2, shim_v2_pb2, tasks_pb2, types_pb2

MARK = Mark("x.yaml", 1, 1)


def to_bytes(value: Any, _mark: Mark) -> bytes:
    return value.encode() if isinstance(value, str) else bytes.fromhex(value["hex"])


def made(value: Any, kind: Any) -> Any:
    return encode(value, kind, MARK, to_bytes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (
            containers_pb2.Container,
            {
                "id": "a",
                "labels": {"x": "y"},
                "runtime": {"name": "io.containerd.runc.v2", "options": {"@type": "containerd.runc.v1.Options"}},
                "spec": {"@type": "types.containerd.io/opencontainers/runtime-spec/1/Spec", "value": {"a": [1, None]}},
                "created_at": "2020-01-02T03:04:05.000000006Z",
                "extensions": {"e": {"@type": "no.such.Type", "value": b"\\x00\\xff"}},
            },
        ),
        (tasks_pb2.CreateTaskRequest, {"rootfs": [{"type": "bind", "options": ["rw", "rbind"]}], "terminal": True}),
        (shim_v2_pb2.StateResponse, {"status": "RUNNING", "pid": 4294967295}),
        (content_pb2.WriteContentRequest, {"action": "COMMIT", "offset": -1, "data": b"abc"}),
        (types_pb2.Envelope, {"topic": "/x", "event": {"@type": "google.protobuf.Duration", "value": 1.5}}),
        (types_pb2.Envelope, {}),
    ],
)  # fmt: skip
def test_what_the_tap_shows_is_what_can_be_sent(kind: Any, value: dict[str, Any]) -> None:
    assert decode(made(value, kind)) == value


@pytest.mark.parametrize(
    ("kind", "value", "seen"),
    [
        (tasks_pb2.KillRequest, {"container_id": "a", "exec_id": None}, {"container_id": "a"}),
        (content_pb2.WriteContentRequest, {"data": {"hex": "00ff"}}, {"data": b"\x00\xff"}),
        (content_pb2.WriteContentRequest, {"action": 2}, {"action": "COMMIT"}),
        (containers_pb2.Container, {"created_at": {"seconds": 1}}, {"created_at": "1970-01-01T00:00:01Z"}),
        (containers_pb2.Container, {"created_at": "2020-01-01T02:00:00+02:00"}, {"created_at": "2020-01-01T00:00:00Z"}),
        (
            containers_pb2.Container,
            {"spec": {"@type": "types.containerd.io/x", "raw": "{bad"}},
            {"spec": {"@type": "types.containerd.io/x", "value": b"{bad"}},
        ),
        (
            containers_pb2.Container,
            {"spec": {"@type": "containerd.runc.v1.Options", "raw": {"hex": "ff"}}},
            {"spec": {"@type": "containerd.runc.v1.Options", "value": b"\xff"}},
        ),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_value(kind: Any, value: Any, seen: Any) -> None:
    assert decode(made(value, kind)) == seen


WRONG: list[tuple[Any, Any, str]] = [
    (tasks_pb2.KillRequest, {"container": "a"}, "KillRequest has no field container; did you mean container_id?"),
    (tasks_pb2.ListTasksRequest, {"x1": 1}, "it has filter"),
    (tasks_pb2.KillRequest, {"signal": "KILL"}, "signal is a whole number, not the string 'KILL'"),
    (tasks_pb2.KillRequest, {"signal": True}, "signal is a whole number"),
    (tasks_pb2.KillRequest, {"signal": -1}, "signal: "),
    (tasks_pb2.KillRequest, {"signal": 1 << 40}, "signal: "),
    (tasks_pb2.KillRequest, {"all": 1}, "all is true or false, not the integer 1"),
    (tasks_pb2.KillRequest, {"container_id": 5}, "container_id is text, not the integer 5"),
    (tasks_pb2.KillRequest, ["a"], "KillRequest is a mapping of its fields, not a list"),
    (tasks_pb2.CreateTaskRequest, {"rootfs": {"type": "bind"}}, "rootfs is a list, not a mapping"),
    (tasks_pb2.CreateTaskRequest, {"rootfs": [{"kind": "bind"}]}, "Mount has no field kind"),
    (tasks_pb2.CreateTaskRequest, {"rootfs": ["bind"]}, "Mount is a mapping"),
    (containers_pb2.Container, {"labels": ["a"]}, "labels is a mapping, not a list"),
    (containers_pb2.Container, {"labels": {"a": 1}}, "value is text"),
    (containers_pb2.Container, {"spec": {"value": 1}}, 'an Any is a mapping with "@type"'),
    (containers_pb2.Container, {"spec": "x"}, 'an Any is a mapping with "@type"'),
    (containers_pb2.Container, {"spec": {"@type": "no.such.T", "a": 1}}, "no .proto file has no.such.T"),
    (containers_pb2.Container, {"spec": {"@type": "no.such.T"}}, "it needs a value, or raw"),
    (containers_pb2.Container, {"spec": {"@type": "types.containerd.io/x", "a": 1}}, "besides @type it has value alone"),
    (containers_pb2.Container, {"spec": {"@type": "containerd.runc.v1.Options", "rot": 1}}, "did you mean root?"),
    (containers_pb2.Container, {"created_at": "today"}, "a Timestamp is an RFC 3339 time"),
    (containers_pb2.Container, {"created_at": "2020-13-01T00:00:00Z"}, "a Timestamp is an RFC 3339 time"),
    (types_pb2.Envelope, {"event": {"@type": "google.protobuf.Duration", "value": "x"}}, "a Duration is a number"),
    (content_pb2.WriteContentRequest, {"action": "COMIT"}, "action has no value 'COMIT'; did you mean COMMIT?"),
    (content_pb2.WriteContentRequest, {"data": 5}, "data is bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "message"), WRONG)
def test_what_is_wrong_is_said(kind: Any, value: Any, message: str) -> None:
    (found,) = problems(value, kind, MARK, to_bytes)

    assert message in found.message
    with pytest.raises(ScenarioError):
        made(value, kind)


def test_the_place_is_that_of_the_key() -> None:
    inner = Fields(MARK)
    inner.marks["kind"] = Mark("x.yaml", 7, 3)
    inner["kind"] = "bind"

    (found,) = problems({"rootfs": [inner]}, tasks_pb2.CreateTaskRequest, MARK, to_bytes)

    assert str(found.mark) == "x.yaml:7:3"


def test_templates_stand_for_anything_until_they_are_replaced() -> None:
    later = Template("${x}", MARK)
    value = {
        "id": later,
        "labels": {"a": later},
        "runtime": later,
        "spec": {"@type": "types.containerd.io/x", "value": {"a": later}},
        "extensions": {"e": {"@type": later}},
    }

    assert problems(value, containers_pb2.Container, MARK, to_bytes) == []
    assert problems(later, containers_pb2.Container, MARK, to_bytes) == []


def test_all_that_is_wrong_is_reported() -> None:
    found = problems({"a": 1, "signal": "x", "all": 2}, tasks_pb2.KillRequest, MARK, to_bytes)

    assert len(found) == 3
