"""Manifests in containerd's content store that a collection takes while they are looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from sixhops.dockerd.containerd.client import Containerd
from sixhops.dockerd.containerd.contents import ContainerdContents
from sixhops.dockerd.errors import EngineError
from sixhops.wire.image import digest_of
from sixhops.wire.proto import content_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MANIFEST = b"{}"
DIGEST = digest_of(MANIFEST)


class Store(grpc.GenericRpcHandler):
    """A content store with one manifest, in which the call `gone` finds nothing any more (`broken`: fails otherwise)."""

    def __init__(self, gone: str = "", *, broken: bool = False) -> None:
        self._gone = gone
        self._code = grpc.StatusCode.INTERNAL if broken else grpc.StatusCode.NOT_FOUND

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = details.method.rpartition("/")[2]

        async def one(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            if name == self._gone:
                await context.abort(self._code, f"content digest {DIGEST}: not found")
            info = content_pb2.Info(digest=DIGEST, size=len(MANIFEST))
            return content_pb2.InfoResponse(info=info).SerializeToString()

        async def many(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
            if name == self._gone:
                await context.abort(self._code, f"content digest {DIGEST}: not found")
            yield content_pb2.ReadContentResponse(data=MANIFEST).SerializeToString()

        if name == "Read":
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.unary_unary_rpc_method_handler(one)


def read(store: Store, path: Path) -> bytes | None:
    async def ask() -> bytes | None:
        server = grpc.aio.server(handlers=[store])
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        containerd = Containerd(str(path))
        try:
            return await ContainerdContents(containerd).read(DIGEST, "docker.io", "library/hello-world")
        finally:
            await containerd.channel.close()
            await server.stop(0)

    return asyncio.run(ask())


def test_a_manifest_that_is_here_is_read(tmp_path: Path) -> None:
    assert read(Store(), tmp_path / "s") == MANIFEST


@pytest.mark.parametrize("call", ["Info", "Update", "Read"])
def test_one_that_is_gone_at_any_call_is_not_here(tmp_path: Path, call: str) -> None:
    assert read(Store(call), tmp_path / "s") is None


@pytest.mark.parametrize("call", ["Info", "Update", "Read"])
def test_other_failures_are_told(tmp_path: Path, call: str) -> None:
    with pytest.raises(EngineError):
        read(Store(call, broken=True), tmp_path / "s")
