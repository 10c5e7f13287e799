"""What gRPC says in headers."""

from __future__ import annotations

import base64

import pytest

from sixhops.harness.tap.grpc.metadata import (
    Status,
    code_name,
    deadline,
    metadata,
    status_of,
    status_of_reset,
)
from sixhops.wire.proto import rpc_pb2, tasks_pb2
from sixhops.wire.proto.services import pack


def test_names_of_codes() -> None:
    assert [code_name(code) for code in (0, 5, 16, 17, -1)] == [
        "OK",
        "NOT_FOUND",
        "UNAUTHENTICATED",
        "CODE_17",
        "CODE_-1",
    ]


def test_metadata_is_what_the_caller_said() -> None:
    headers = [
        (b":path", b"/a.B/C"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"1S"),
        (b"Name", b"one"),
        (b"name", b"two"),
        (b"latin", b"\xe9"),
        (b"grpc-trace-bin", b"AAE"),
    ]
    assert metadata(headers) == {"name": "one, two", "latin": "\xe9", "grpc-trace-bin": b"\0\1"}


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([b"AP8="], b"\0\xff"),
        ([b"AP8"], b"\0\xff"),
        ([b"AP8,AA=="], [b"\0\xff", b"\0"]),
        ([b"AP8", b"AA"], [b"\0\xff", b"\0"]),
        ([b"\0raw, as it is"], b"raw, as it is"),
        ([b""], b""),
        ([b"not base64!"], "not base64!"),
        ([b"A"], "A"),
    ],
)
def test_binary_metadata(values: list[bytes], read: object) -> None:
    assert metadata([(b"x-bin", value) for value in values]) == {"x-bin": read}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2H", 7200.0),
        (b"3M", 180.0),
        (b"5S", 5.0),
        (b"250m", 0.25),
        (b"99999999n", pytest.approx(0.099999999)),
        (b"10u", pytest.approx(1e-5)),
        (b"123456789n", None),
        (b"5", None),
        (b"S", None),
        (b"-1S", None),
    ],
)
def test_deadlines(value: bytes, seconds: float | None) -> None:
    assert deadline([(b"grpc-timeout", value)]) == seconds


def test_no_deadline() -> None:
    assert deadline([]) is None


def trailers(code: bytes, message: bytes = b"", details: bytes | None = None) -> list[tuple[bytes, bytes]]:
    found = [(b"grpc-status", code), (b"grpc-message", message)]
    return found if details is None else [*found, (b"grpc-status-details-bin", details)]


def test_a_status_with_an_encoded_message() -> None:
    assert status_of(trailers(b"5", b"no%20t%C3%A4sk"), []) == Status(5, "no täsk")


@pytest.mark.parametrize("true_binary", [True, False])
def test_details_are_decoded(true_binary: bool) -> None:
    status = rpc_pb2.Status(code=5, message="m")
    pack(status.details.add(), tasks_pb2.GetRequest(container_id="c"))
    blob = status.SerializeToString()
    found = status_of(trailers(b"5", b"m", b"\0" + blob if true_binary else base64.b64encode(blob)), [])
    assert found.details == [{"@type": "containerd.services.tasks.v1.GetRequest", "container_id": "c"}]


@pytest.mark.parametrize("blob", [b"!", base64.b64encode(b"\xff\xff\xff")])
def test_details_that_are_none(blob: bytes) -> None:
    assert status_of(trailers(b"5", b"m", blob), []).details is None


def test_details_without_any() -> None:
    blob = base64.b64encode(rpc_pb2.Status(code=5).SerializeToString())
    assert status_of(trailers(b"5", b"m", blob), []).details == []


@pytest.mark.parametrize(
    ("http", "code"), [(b"404", 12), (b"401", 16), (b"503", 14), (b"418", 2), (b"200", 2), (b"x", 2)]
)
def test_an_answer_without_a_status(http: bytes, code: int) -> None:
    found = status_of([], [(b":status", http)])
    assert found.code == code
    assert f"HTTP status {http.decode()}" in str(found.error)


def test_a_status_that_is_no_number() -> None:
    found = status_of(trailers(b"OK"), [])
    assert found.code == 2
    assert "no number: 'OK'" in str(found.error)


@pytest.mark.parametrize(("reset", "code"), [(8, 1), (7, 14), (11, 8), (12, 7), (2, 13), (99, 13)])
def test_resets(reset: int, code: int) -> None:
    assert status_of_reset(reset).code == code
