import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any

from sixhops.shim.main import delete_response
from sixhops.shim.options import (
    Arguments,
    UsageError,
    load_options,
    parse,
    socket_address,
    store_options,
)
from sixhops.shim.runtime import RuntimeOptions
from sixhops.shim.taskoptions import runtime_options
from sixhops.wire.proto import leases_pb2, runc_options_pb2, runtime_info_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.status import Code, RpcError


def test_command_line_of_a_real_containerd() -> None:
    words = [
        "-namespace",
        "moby",
        "-address",
        "/c.sock",
        "-publish-binary",
        "/usr/bin/containerd",
        "-id",
        "abc",
        "-debug",
        "start",
    ]

    assert parse(words) == Arguments(
        namespace="moby",
        address="/c.sock",
        publish_binary="/usr/bin/containerd",
        id="abc",
        debug=True,
        action="start",
    )


def test_flags_in_their_other_spellings() -> None:
    assert parse(["--id=a", "-debug=false", "-v"]) == Arguments(id="a", version=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["-nope"], "flag provided but not defined: -nope"), (["-id"], "flag needs an argument: -id")],
)
def test_wrong_flags(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(words)


def test_address_is_the_digest_of_socket_namespace_and_id() -> None:
    digest = "f2a459ec6ad3ea63fc82bfe8659b1a893fc4d695907d523ab82a16003fcba7fb"  # of /run/c.sock/moby/abc

    assert socket_address("/run/c.sock", "moby", "abc") == f"unix:///run/containerd/s/{digest}"
    assert socket_address("/run/c.sock", "moby", "abc", debug=True) != socket_address(
        "/run/c.sock", "moby", "abc"
    )


def test_options_of_dockerd() -> None:
    value = Any()
    pack(value, runc_options_pb2.Options(binary_name="crun", root="/state", systemd_cgroup=True))

    options = runtime_options(value)

    assert options == RuntimeOptions(binary="crun", root="/state", systemd_cgroup=True)


def test_no_options_are_the_defaults() -> None:
    assert runtime_options(Any()) == RuntimeOptions(binary="runc", root="/run/containerd/runc")


def test_options_of_another_type() -> None:
    value = Any()
    pack(value, leases_pb2.Lease(id="x"))

    with pytest.raises(RpcError) as caught:
        runtime_options(value)

    assert caught.value.code is Code.UNKNOWN  # as observed
    assert "containerd.services.leases.v1.Lease" in caught.value.message


def test_options_that_are_no_protobuf() -> None:
    with pytest.raises(RpcError):
        runtime_options(Any(type_url="containerd.runc.v1.Options", value=b"\xff\xff"))


def test_loaded_runtime_is_used_only_for_our_binary(tmp_path: Path) -> None:
    ours, alias = tmp_path / "sixhops-runc", tmp_path / "runc"
    ours.write_text("#!/bin/sh\n")
    ours.chmod(0o755)
    alias.symlink_to(ours)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text("#!/bin/sh\n")
    wrapper.chmod(0o755)

    def module_for(path: Path) -> str | None:
        value = Any()
        pack(value, runc_options_pb2.Options(binary_name=str(path)))
        return runtime_options(value, module="loaded").module

    assert [module_for(path) for path in (ours, alias, wrapper)] == ["loaded", "loaded", None]


def test_options_survive_in_the_bundle(tmp_path: Path) -> None:
    options = RuntimeOptions(binary="crun", root="/state", systemd_cgroup=True)
    store_options(tmp_path, options)

    assert load_options(tmp_path) == options
    assert (tmp_path / "runtime").read_text() == "crun"


def test_options_of_a_bundle_without_notes(tmp_path: Path) -> None:
    assert load_options(tmp_path) == RuntimeOptions(binary="runc", root="/run/containerd/runc")


def run_shim(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "sixhops.shim", *words]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=30)


def test_info_repeats_the_options_and_what_that_runtime_can(tmp_path: Path) -> None:
    runtime = tmp_path / "crun"
    runtime.write_text("#!/bin/sh\necho told by crun: $*\n")
    runtime.chmod(0o755)
    value = Any()
    pack(value, runc_options_pb2.Options(binary_name=str(runtime)))

    done = run_shim("-info", data=value.SerializeToString())

    answer = runtime_info_pb2.RuntimeInfo.FromString(done.stdout)
    assert (done.returncode, answer.name, answer.options) == (0, "io.containerd.sixhops.v1", value)
    assert answer.features.value == b"told by crun: features"


def test_info_of_a_runtime_that_there_is_not(tmp_path: Path) -> None:
    value = Any()
    pack(value, runc_options_pb2.Options(binary_name=str(tmp_path / "crun")))

    done = run_shim("-info", data=value.SerializeToString())

    assert (done.returncode, done.stdout) == (1, b"")
    assert "executable file not found in $PATH" in done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["-nope"], 2, "flag provided but not defined: -nope"),
        (["start"], 1, "shim namespace cannot be empty"),
        (["-namespace", "n", "dance"], 1, "unknown action 'dance'"),
    ],
)
def test_wrong_command_lines(words: list[str], status: int, text: str) -> None:
    done = run_shim(*words)

    assert done.returncode == status
    assert text in done.stderr.decode()


def test_output_of_delete_is_a_delete_response() -> None:
    # a real shim's bytes
    observed = bytes.fromhex("08b9791089011a0c0883e191d80610cdb4dacf02")

    assert delete_response(15545, 137, 1795453059_704027213) == observed
    assert shim_v2_pb2.DeleteResponse.FromString(delete_response(0, 137, 5 * 10**9)).exited_at.seconds == 5
