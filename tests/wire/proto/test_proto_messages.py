"""The bytes are those that a real containerd 1.6.20 and its shim exchanged."""

import pytest
from google.protobuf.any_pb2 import Any

from sixhops.wire.proto import compile as compiler
from sixhops.wire.proto import (
    image_payloads_pb2,
    leases_pb2,
    rpc_pb2,
    runc_options_pb2,
    shim_v2_pb2,
    shim_v3_pb2,
    tasks_pb2,
)
from sixhops.wire.proto.services import pack, service, type_name, unpack


def test_observed_create_reply() -> None:
    response = rpc_pb2.Response.FromString(bytes.fromhex("120308b979"))

    assert shim_v2_pb2.CreateTaskResponse.FromString(response.payload).pid == 15545


def test_observed_connect_reply() -> None:
    response = rpc_pb2.Response.FromString(bytes.fromhex("120608a37910b979"))

    reply = shim_v2_pb2.ConnectResponse.FromString(response.payload)

    assert (reply.shim_pid, reply.task_pid, reply.version) == (15523, 15545, "")


def test_observed_output_of_delete() -> None:
    reply = shim_v2_pb2.DeleteResponse.FromString(bytes.fromhex("08b9791089011a0c0883e191d80610cdb4dacf02"))

    assert (reply.pid, reply.exit_status, reply.exited_at.seconds) == (15545, 137, 1795453059)


def test_runc_options_have_the_observed_numbers() -> None:
    options = runc_options_pb2.Options(binary_name="runc", root="/r")

    assert options.SerializeToString() == b"\x32\x04runc\x3a\x02/r"


def test_versions_two_and_three_of_the_task_service_have_the_same_fields() -> None:
    two, three = shim_v2_pb2.DESCRIPTOR, shim_v3_pb2.DESCRIPTOR

    def shape(file: object) -> dict[str, list[tuple[str, int, int]]]:
        messages = file.message_types_by_name.items()  # type: ignore[attr-defined]
        return {name: [(f.name, f.number, f.type) for f in message.fields] for name, message in messages}

    assert shape(two) == shape(three)
    assert list(service(two, "Task").methods) == list(service(three, "Task").methods)


def test_service_table_knows_streams_and_paths() -> None:
    tasks = service(tasks_pb2.DESCRIPTOR, "Tasks")

    assert tasks.methods["CloseIO"].path == "/containerd.services.tasks.v1.Tasks/CloseIO"
    assert tasks.methods["CloseIO"].attribute == "close_io"
    assert tasks.methods["ResizePty"].request is tasks_pb2.ResizePtyRequest
    assert not tasks.methods["Wait"].server_streaming
    with pytest.raises(KeyError):
        service(tasks_pb2.DESCRIPTOR, "Nothing")


def test_any_is_packed_with_the_bare_name_and_read_with_either() -> None:
    value, options = Any(), runc_options_pb2.Options(root="/r")
    pack(value, options)
    assert value.type_url == "containerd.runc.v1.Options"

    value.type_url = "types.googleapis.com/containerd.runc.v1.Options"
    seen = runc_options_pb2.Options()

    assert unpack(value, seen)
    assert seen == options
    assert type_name(value) == "containerd.runc.v1.Options"
    assert not unpack(value, leases_pb2.Lease())


def test_image_events_are_in_the_package_of_the_images_service() -> None:
    assert image_payloads_pb2.ImageDelete.DESCRIPTOR.full_name == "containerd.services.images.v1.ImageDelete"


def test_every_source_is_compiled() -> None:
    assert compiler.stale() == []
    assert {path.suffix for path in compiler.generated()} == {".py", ".pyi"}


def test_compiler_refuses_unknown_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert compiler.main(["--help"]) == 2
    assert compiler.main(["--check"]) == 0
    assert "usage" in capsys.readouterr().err
