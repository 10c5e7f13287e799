"""The benchmark's own client against gRPC's server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from benchmarks.leancall import LeanCalls, NoAnswerError


def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
    metadata = dict(context.invocation_metadata())
    return request + str(metadata.get("containerd-namespace", "")).encode()


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[LeanCalls]:
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", handlers),))
    server.add_insecure_port(f"unix:{tmp_path}/socket")
    server.start()
    made = LeanCalls(f"{tmp_path}/socket", {"containerd-namespace": "here"}, seconds=20)
    yield made
    made.close()
    server.stop(None).wait(20)


@pytest.mark.parametrize("size", [0, 1, 16379, 16380, 65530])
def test_a_message_comes_back(calls: LeanCalls, size: int) -> None:
    for _ in range(5):
        assert calls.call("/a.Service/Echo", b"x" * size) == b"x" * size + b"here"


def test_a_status_alone_is_an_error_and_the_connection_goes_on(calls: LeanCalls) -> None:
    with pytest.raises(NoAnswerError, match="Missing: no message"):
        calls.call("/a.Service/Missing", b"")
    assert calls.call("/a.Service/Echo", b"x") == b"xhere"


def test_a_message_that_would_have_to_wait_is_refused(calls: LeanCalls) -> None:
    with pytest.raises(ValueError, match="65531 bytes is too large"):
        calls.call("/a.Service/Echo", b"x" * 65531)
