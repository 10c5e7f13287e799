"""Protobuf messages as facets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2

from sixhops.harness.tap.decode import decode, decode_bytes, find_method
from sixhops.wire.proto import containers_pb2, shim_v2_pb2, tasks_pb2
from sixhops.wire.proto.services import pack

SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"


def test_only_what_was_sent_is_there() -> None:
    assert decode(shim_v2_pb2.CreateTaskRequest()) == {}
    request = shim_v2_pb2.CreateTaskRequest(id="c", terminal=True)
    request.rootfs.add(type="bind", options=["ro"])
    assert decode(request) == {"id": "c", "terminal": True, "rootfs": [{"type": "bind", "options": ["ro"]}]}


def test_enums_are_names_and_unknown_ones_numbers() -> None:
    answer = shim_v2_pb2.StateResponse()
    answer.status = 2  # type: ignore[assignment]
    assert decode(answer) == {"status": "RUNNING"}
    answer.status = 99  # type: ignore[assignment]
    assert decode(answer) == {"status": 99}


def test_maps_have_text_keys() -> None:
    container = containers_pb2.Container(id="c", labels={"a": "b"})
    assert decode(container) == {"id": "c", "labels": {"a": "b"}}


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (1700000000, 1, "2023-11-14T22:13:20.000000001Z"),
        (-62135596800, 0, "0001-01-01T00:00:00Z"),
        (1 << 60, 0, {"seconds": 1 << 60}),
        (0, -1, {"nanos": -1}),
    ],
)
def test_timestamps(seconds: int, nanos: int, text: Any) -> None:
    answer = shim_v2_pb2.DeleteResponse(exited_at=timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos))
    assert decode(answer) == {"exited_at": text}


def test_json_inside_an_any() -> None:
    container = containers_pb2.Container()
    container.spec.type_url = SPEC
    container.spec.value = b'{"process": {"args": ["a"]}}'
    assert decode(container) == {"spec": {"@type": SPEC, "value": {"process": {"args": ["a"]}}}}


@pytest.mark.parametrize("value", [b"{", b"NaN", b"[" * 100_000, b"\xff"])
def test_what_is_not_json_stays_bytes(value: bytes) -> None:
    found = decode(any_pb2.Any(type_url=SPEC, value=value))
    assert found == {"type_url": SPEC, "value": value}
    container = containers_pb2.Container(spec=any_pb2.Any(type_url=SPEC, value=value))
    assert decode(container) == {"spec": {"@type": SPEC, "value": value}}


def test_known_and_unknown_types_in_an_any() -> None:
    request = shim_v2_pb2.CreateTaskRequest()
    pack(request.options, tasks_pb2.GetRequest(container_id="c"))
    assert decode(request)["options"] == {
        "@type": "containerd.services.tasks.v1.GetRequest",
        "container_id": "c",
    }
    request.options.value = b"\xff"
    assert decode(request)["options"] == {
        "@type": "containerd.services.tasks.v1.GetRequest",
        "value": b"\xff",
    }
    request.options.type_url = "some.Thing"
    assert decode(request)["options"] == {"@type": "some.Thing", "value": b"\xff"}
    pack(request.options, duration_pb2.Duration(seconds=1, nanos=500_000_000))
    assert decode(request)["options"] == {"@type": "google.protobuf.Duration", "value": 1.5}


def test_an_any_in_an_any_without_end() -> None:
    inner = any_pb2.Any(type_url="some.Thing", value=b"x")
    for _ in range(200):
        outer = any_pb2.Any()
        pack(outer, inner)
        inner = outer
    found: Any = decode(shim_v2_pb2.CreateTaskRequest(options=inner))
    assert len(json.dumps(found, default=str)) > 100


def test_unknown_fields_are_kept() -> None:
    raw = tasks_pb2.GetRequest(container_id="c").SerializeToString()
    raw += b"\xf8\x01\x05" + b"\xfa\x01\x02ab" + b"\xfb\x01\x08\x07\xfc\x01"
    assert decode_bytes(raw, tasks_pb2.GetRequest) == {
        "container_id": "c",
        "@unknown": [
            {"field": 31, "wire": 0, "value": 5},
            {"field": 31, "wire": 2, "value": b"ab"},
            {"field": 31, "wire": 3, "value": [{"field": 1, "wire": 0, "value": 7}]},
        ],
    }


def test_bytes_that_are_no_message_stay_bytes() -> None:
    assert decode_bytes(b"\xff\xff", tasks_pb2.GetRequest) == b"\xff\xff"


def test_methods_are_found_by_path_and_by_name() -> None:
    by_path = find_method("/containerd.services.tasks.v1.Tasks/Create")
    assert by_path is not None
    assert by_path.request is tasks_pb2.CreateTaskRequest
    by_name = find_method("containerd.task.v2.Task", "Create")
    assert by_name is not None
    assert by_name.request is shim_v2_pb2.CreateTaskRequest
    assert find_method("/containerd.services.tasks.v1.Tasks/None") is None
    assert find_method("", "Create") is None
    third = find_method("containerd.task.v3.Task", "State")
    assert third is not None
