"""What containerd makes of a request's options, which it hands on to the shim."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from sixhops.containerd.tasks.runcoptions import read_options
from sixhops.wire.proto import runc_options_pb2, tasks_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

RUNC = "io.containerd.runc.v2"


def request(kind: str, value: bytes = b"") -> tasks_pb2.CreateTaskRequest:
    return tasks_pb2.CreateTaskRequest(options=Any(type_url=kind, value=value))


def test_options_of_the_kind_are_read() -> None:
    data = runc_options_pb2.Options(criu_image_path="/image").SerializeToString()

    read = read_options(request("containerd.runc.v1.Options", data), RUNC, runc_options_pb2.Options, "create")

    assert read.criu_image_path == "/image"


@pytest.mark.parametrize("runtime", ["io.containerd.other.v1", "nonsense", "/a/path"])
def test_options_of_other_runtimes_are_not_looked_at(runtime: str) -> None:
    given = request("some.other.Type", b"x")

    assert read_options(given, runtime, runc_options_pb2.Options, "create") == runc_options_pb2.Options()


def test_without_options_there_is_nothing_to_read() -> None:
    given = tasks_pb2.CreateTaskRequest()

    assert read_options(given, RUNC, runc_options_pb2.Options, "create") == runc_options_pb2.Options()


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("some.other/Type", b"", "type with url some.other/Type: not found"),
        ("containerd.runc.v1.CheckpointOptions", b"", f"invalid task create option for {RUNC}"),
        (
            "types.containerd.io/opencontainers/runtime-spec/1/Spec",
            b"{}",
            f"invalid task create option for {RUNC}",
        ),
        ("containerd.runc.v1.Options", b"\xff", "unexpected EOF"),
    ],
)
def test_options_that_can_not_be(kind: str, value: bytes, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        read_options(request(kind, value), RUNC, runc_options_pb2.Options, "create")

    assert (caught.value.code, caught.value.message) == (Code.UNKNOWN, message)
