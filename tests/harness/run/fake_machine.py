"""A machine that is this one, with a `runc` that is a shell script, and a containerd that is a table of functions."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from sixhops.harness.errors import TargetError
from sixhops.harness.target import ShimAddress
from sixhops.wire.catalog import find_method
from sixhops.wire.ttrpc.calls import Call, CallServer
from sixhops.wire.ttrpc.status import RpcError

if TYPE_CHECKING:
    from pathlib import Path

Answer = Callable[[Any, grpc.ServicerContext], Any]


class FakeMachine:
    """What `target.Machine` says, without namespaces."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "steps"
        self.cgroup = "sixhops-test"
        self.containerd = directory / "c.sock"
        self._bin = directory / "bin"
        self._bin.mkdir(parents=True)
        self.shims: dict[tuple[str, str], tuple[str, int]] = {}

    def runc(self, script: str) -> None:
        """Let `runc` be a shell script."""
        program = self._bin / "runc"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def criu_problem(self) -> str:
        return ""

    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self._bin}:{os.environ['PATH']}", "HOME": "/nowhere"}

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["env", *argv]

    def shim(self, namespace: str, container: str) -> ShimAddress:
        try:
            return ShimAddress(*self.shims[namespace, container])
        except KeyError:
            raise TargetError(f"container {container} has no shim in the namespace {namespace}") from None

    def connect(self, address: str, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(address.removeprefix("unix://"))
        except OSError as error:
            connection.close()
            raise TargetError(f"can't connect to {address}: {error.strerror}") from error
        return connection


class FakeContainerd:
    """A gRPC server that answers by `routes`, from path to a function of the requests; anything else is empty.

    `seen` has (path, metadata, request bytes of the first request).
    """

    def __init__(self, path: Path) -> None:
        self.routes: dict[str, Answer] = {}
        self.seen: list[tuple[str, dict[str, Any], list[bytes]]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))  # type: ignore[arg-type]
        self._server.add_insecure_port(f"unix:{path}")

    def __enter__(self) -> FakeContainerd:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop(0).wait()

    def on(self, service: str, method: str, answer: Answer) -> None:
        """Answer a method of containerd's with messages, one or an iterator of them."""
        self.routes[f"/containerd.services.{service.lower()}.v1.{service}/{method}"] = answer

    def asked(self, name: str) -> list[tuple[str, dict[str, Any], list[bytes]]]:
        return [entry for entry in self.seen if entry[0].endswith(name)]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Make the handler of a call; gRPC asks for it by this name."""
        path = str(details.method)
        metadata = dict(details.invocation_metadata or ())

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            known = find_method(path)
            entry: tuple[str, dict[str, Any], list[bytes]] = (path, metadata, [])
            self.seen.append(entry)

            def each() -> Iterator[Any]:
                for request in requests:
                    entry[2].append(request)
                    yield known.request.FromString(request) if known is not None else request

            route = self.routes.get(path)
            if route is None:
                entry[2].extend(requests)
                if known is None:
                    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {path}")
                if known is not None and not known.server_streaming:
                    yield b""
                return
            streams = known is not None and known.client_streaming
            answer = route(each() if streams else next(each()), context)
            for message in answer if isinstance(answer, Iterator) else [answer]:
                yield message.SerializeToString() if hasattr(message, "SerializeToString") else message

        return grpc.stream_stream_rpc_method_handler(handle)


class FakeShim:
    """A ttrpc server at `path` that answers one connection after the other with `answer`; `calls` is what came."""

    def __init__(self, path: Path, answer: Callable[[Call], bytes]) -> None:
        self.calls: list[Call] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # A client that goes away is a case of its own, and no mistake here.
            with connection, contextlib.suppress(ConnectionError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        server = CallServer()
        while data := connection.recv(65536):
            calls, refusals = server.receive(data)
            connection.sendall(refusals)
            for call in calls:
                self.calls.append(call)
                try:
                    connection.sendall(server.answer(call.stream, self._answer(call)))
                except RpcError as error:
                    connection.sendall(server.refuse(call.stream, error))
