"""The services behind real gRPC, without a task: one server on a unix socket in a temporary directory."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2

from sixhops.containerd.bus import Bus
from sixhops.containerd.metadata.database import Database
from sixhops.containerd.metadata.gc import Collector
from sixhops.containerd.rpc import Unknown, handler
from sixhops.containerd.services.containers import ContainersService
from sixhops.containerd.services.content import ContentService
from sixhops.containerd.services.events import EventsService
from sixhops.containerd.services.images import ImagesService
from sixhops.containerd.services.leases import LeasesService
from sixhops.containerd.services.namespaces import NamespacesService
from sixhops.containerd.services.small import VersionService
from sixhops.containerd.services.snapshots import SnapshotsService
from sixhops.containerd.storage.content import ContentStore
from sixhops.containerd.storage.snapshots import Snapshotter
from sixhops.containerd.tasks.publish import publish
from sixhops.wire.proto import (
    containers_pb2,
    content_pb2,
    events_pb2,
    images_pb2,
    leases_pb2,
    namespaces_pb2,
    payloads_pb2,
    snapshots_pb2,
    version_pb2,
)
from sixhops.wire.proto.services import pack, service

FILES = {
    "Containers": containers_pb2,
    "Content": content_pb2,
    "Events": events_pb2,
    "Images": images_pb2,
    "Leases": leases_pb2,
    "Namespaces": namespaces_pb2,
    "Snapshots": snapshots_pb2,
    "Version": version_pb2,
}
BLOB = b"hello"
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
MOBY = (("containerd-namespace", "moby"),)


class Client:
    """Calls by `Service/Method`; errors come back as (code, message)."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def method(self, path: str) -> Any:
        name, _, method = path.partition("/")
        entry = service(FILES[name].DESCRIPTOR, name).methods[method]
        kinds = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, True): self._channel.stream_stream,
        }
        make: Any = kinds[entry.client_streaming, entry.server_streaming]
        return make(entry.path, entry.request.SerializeToString, entry.response.FromString)

    async def raw(self, path: str, data: bytes) -> Any:
        try:
            return await self._channel.unary_unary(path)(data, metadata=MOBY, timeout=30)
        except grpc.aio.AioRpcError as error:
            return (error.code().name, error.details())

    async def call(self, path: str, request: Any, metadata: Any = MOBY) -> Any:
        try:
            return await self.method(path)(request, metadata=metadata, timeout=30)
        except grpc.aio.AioRpcError as error:
            return (error.code().name, error.details())

    def stream_raw(self, path: str, data: list[bytes]) -> Any:
        return self._channel.stream_stream(path)(iter(data), metadata=MOBY, timeout=30)

    async def stream(self, path: str, request: Any, metadata: Any = MOBY) -> Any:
        try:
            return [reply async for reply in self.method(path)(request, metadata=metadata, timeout=30)]
        except grpc.aio.AioRpcError as error:
            return (error.code().name, error.details())


def serve(
    path: Path,
    scenario: Callable[[Client], Awaitable[Any]],
    expect: Callable[[str, str, str, bytes], None] = lambda *_: None,
) -> Any:
    """Run `scenario` against a fresh server; `expect` is told of new containers."""

    async def main() -> Any:
        database = Database(path / "meta.db")
        bus = Bus()
        store = ContentStore(path)
        overlay = Snapshotter("overlayfs", path, database)
        collector = Collector(database, store, [overlay])
        targets: dict[str, tuple[object, bool]] = {
            "Containers": (ContainersService(database, bus, expect), True),
            "Content": (ContentService(database, store, bus), True),
            "Events": (EventsService(bus), False),
            "Images": (ImagesService(database, bus, collector), True),
            "Leases": (LeasesService(database, collector), True),
            "Namespaces": (NamespacesService(database, bus), False),
            "Snapshots": (SnapshotsService([overlay], database, bus), True),
            "Version": (VersionService(), False),
        }
        server = grpc.aio.server()
        handlers: list[grpc.GenericRpcHandler] = [
            handler(service(FILES[name].DESCRIPTOR, name), target, namespaced=named)
            for name, (target, named) in targets.items()
        ]
        handlers.append(Unknown({service(FILES[name].DESCRIPTOR, name).name for name in targets}))
        server.add_generic_rpc_handlers(handlers)
        server.add_insecure_port(f"unix:{path}/c.sock")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"unix:{path}/c.sock") as channel:
                return await scenario(Client(channel))
        finally:
            await server.stop(None)
            database.close()

    return asyncio.run(main())


def container(**changes: Any) -> containers_pb2.Container:
    made = containers_pb2.Container(id="c1", labels={"a": "b"})
    made.runtime.name = "io.containerd.runc.v2"
    made.spec.value = b"{}"
    made.MergeFrom(containers_pb2.Container(**changes))
    return made


def write(*requests: dict[str, Any]) -> list[Any]:
    return [content_pb2.WriteContentRequest(**request) for request in requests]


def test_call_without_a_namespace(tmp_path: Path) -> None:
    async def scenario(client: Client) -> Any:
        return await client.call("Containers/Get", containers_pb2.GetContainerRequest(id="x"), ())

    assert serve(tmp_path, scenario) == ("FAILED_PRECONDITION", "namespace is required: failed precondition")


def test_status_says_of_which_ingest_when_it_has_no_namespace(tmp_path: Path) -> None:
    async def scenario(client: Client) -> Any:
        return await client.call("Content/Status", content_pb2.StatusRequest(ref="x"), ())

    code, message = serve(tmp_path, scenario)

    assert code == "FAILED_PRECONDITION"
    assert message == 'could not get status for ref "x": namespace is required: failed precondition'


def test_version_needs_no_namespace(tmp_path: Path) -> None:
    async def scenario(client: Client) -> Any:
        return await client.call("Version/Version", version_pb2.VersionResponse(), ())

    assert serve(tmp_path, scenario).version.startswith("1.6.20")


def test_life_of_a_container_record(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        made = await client.call(
            "Containers/Create", containers_pb2.CreateContainerRequest(container=container())
        )
        twice = await client.call(
            "Containers/Create", containers_pb2.CreateContainerRequest(container=container())
        )
        change = containers_pb2.UpdateContainerRequest(container=container(labels={"a": "c", "d": "e"}))
        change.update_mask.paths.append("labels.d")
        updated = await client.call("Containers/Update", change)
        listed = await client.call(
            "Containers/List", containers_pb2.ListContainersRequest(filters=["labels.d==e"])
        )
        none = await client.call(
            "Containers/List", containers_pb2.ListContainersRequest(filters=["labels.d==x"])
        )
        elsewhere = await client.call(
            "Containers/Get",
            containers_pb2.GetContainerRequest(id="c1"),
            (("containerd-namespace", "other"),),
        )
        await client.call("Containers/Delete", containers_pb2.DeleteContainerRequest(id="c1"))
        gone = await client.call("Containers/Delete", containers_pb2.DeleteContainerRequest(id="c1"))
        return [
            made.container.created_at.seconds > 0,
            twice,
            dict(updated.container.labels),
            [item.id for item in listed.containers],
            len(none.containers),
            elsewhere,
            gone,
        ]

    assert serve(tmp_path, scenario) == [
        True,
        ("ALREADY_EXISTS", 'container "c1": already exists'),
        {"a": "b", "d": "e"},
        ["c1"],
        0,
        ("NOT_FOUND", 'container "c1" in namespace "other": not found'),
        ("NOT_FOUND", "container c1: not found"),
    ]


def test_a_new_container_is_told_of_once(tmp_path: Path) -> None:
    told: list[tuple[str, str, str, bytes]] = []

    async def scenario(client: Client) -> None:
        for _ in range(2):
            await client.call(
                "Containers/Create", containers_pb2.CreateContainerRequest(container=container())
            )

    serve(tmp_path, scenario, lambda *words: told.append(words))

    assert told == [("moby", "c1", "io.containerd.runc.v2", b"{}")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "a/b"}, "container.ID: identifier"),
        ({"snapshot_key": "k"}, "container.Snapshotter must be set if container.SnapshotKey is set"),
    ],
)
def test_invalid_container(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    async def scenario(client: Client) -> Any:
        request = containers_pb2.CreateContainerRequest(container=container(**changes))
        return await client.call("Containers/Create", request)

    code, text = serve(tmp_path, scenario)

    assert code == "INVALID_ARGUMENT"
    assert text.startswith(f"create container failed validation: {message}")


def test_content_is_written_as_dockerd_does(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        lease = await client.call("Leases/Create", leases_pb2.CreateRequest(id="l1"))
        leased = (*MOBY, ("containerd-lease", lease.lease.id))
        requests = write(
            {"ref": "r", "total": 5, "expected": DIGEST},
            {"action": "WRITE", "data": BLOB},
            {"action": "COMMIT", "total": 5, "expected": DIGEST, "offset": 5, "labels": {"k": "v"}},
        )
        replies = await client.stream("Content/Write", iter(requests), leased)
        again = await client.stream("Content/Write", iter(requests[:1]), leased)
        data = await client.stream(
            "Content/Read", content_pb2.ReadContentRequest(digest=DIGEST, offset=1, size=3)
        )
        beyond = await client.stream(
            "Content/Read", content_pb2.ReadContentRequest(digest=DIGEST, offset=4, size=3)
        )
        info = await client.call("Content/Info", content_pb2.InfoRequest(digest=DIGEST))
        held = await client.call("Leases/ListResources", leases_pb2.ListResourcesRequest(id="l1"))
        return [
            [(reply.action, reply.offset, reply.total, reply.digest) for reply in replies],
            again,
            data[0].data,
            beyond[0].data,
            (info.info.size, dict(info.info.labels)),
            [(item.type, item.id) for item in held.resources],
        ]

    empty = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    last = (content_pb2.COMMIT, 5, 5, DIGEST)
    assert serve(tmp_path, scenario) == [
        [(content_pb2.STAT, 0, 5, empty), (content_pb2.WRITE, 5, 5, DIGEST), last, last],
        ("ALREADY_EXISTS", f"content {DIGEST}: already exists"),
        b"ell",
        b"o",
        (5, {"k": "v"}),
        [("content", DIGEST)],
    ]


def test_content_errors(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        wrong = write({"ref": "r"}, {"action": "COMMIT", "data": BLOB, "expected": "sha256:" + "0" * 64})
        offset = write({"ref": "r2"}, {"action": "WRITE", "data": b"x", "offset": 3})
        return [
            await client.stream("Content/Write", iter(write({"action": "WRITE"}))),
            await client.stream("Content/Write", iter(wrong)),
            await client.stream("Content/Write", iter(offset)),
            await client.call("Content/Info", content_pb2.InfoRequest(digest=DIGEST)),
            await client.call("Content/Info", content_pb2.InfoRequest(digest="x")),
            await client.call("Content/Abort", content_pb2.AbortRequest(ref="none")),
            await client.call("Content/Abort", content_pb2.AbortRequest(ref="r2")),
            await client.call("Content/Status", content_pb2.StatusRequest(ref="none")),
        ]

    replies = serve(tmp_path, scenario)

    assert replies[6].ByteSize() == 0
    assert replies[:6] + replies[7:] == [
        ("INVALID_ARGUMENT", "first message must have a reference"),
        (
            "FAILED_PRECONDITION",
            f"unexpected commit digest {DIGEST}, expected sha256:{'0' * 64}: failed precondition",
        ),
        ("OUT_OF_RANGE", "write @3 must occur at current offset 0"),
        ("NOT_FOUND", f"content digest {DIGEST}: not found"),
        ("INVALID_ARGUMENT", '"x" failed validation'),
        ("NOT_FOUND", "reference none: not found"),
        ("NOT_FOUND", 'could not get status for ref "none": reference none: not found'),
    ]


def test_second_namespace_brings_the_same_blob(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        other = (("containerd-namespace", "other"),)
        for metadata in (MOBY, other):
            requests = write({"ref": "r"}, {"action": "COMMIT", "data": BLOB, "total": 5, "expected": DIGEST})
            await client.stream("Content/Write", iter(requests), metadata)
        await client.call("Content/Delete", content_pb2.DeleteContentRequest(digest=DIGEST))
        listed = await client.stream("Content/List", content_pb2.ListContentRequest(), other)
        names = await client.call("Namespaces/List", namespaces_pb2.ListNamespacesRequest())
        return [listed[0].info[0].digest, [item.name for item in names.namespaces]]

    assert serve(tmp_path, scenario) == [DIGEST, ["moby", "other"]]


def test_images_and_leases(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        image = images_pb2.Image(name="i")
        image.target.digest, image.target.size, image.target.media_type = DIGEST, 5, "m"
        await client.call("Images/Create", images_pb2.CreateImageRequest(image=image))
        bad = images_pb2.Image(name="j")
        return [
            await client.call("Images/Create", images_pb2.CreateImageRequest(image=image)),
            (await client.call("Images/Create", images_pb2.CreateImageRequest(image=bad)))[0],
            await client.call("Images/Get", images_pb2.GetImageRequest(name="none")),
            len(
                (await client.call("Images/List", images_pb2.ListImagesRequest(filters=["name~=^i$"]))).images
            ),
            await client.call("Leases/Delete", leases_pb2.DeleteRequest(id="none")),
            (await client.call("Leases/Create", leases_pb2.CreateRequest())).lease.id != "",
            await client.call("Images/Delete", images_pb2.DeleteImageRequest(name="none")),
        ]

    assert serve(tmp_path, scenario) == [
        ("ALREADY_EXISTS", 'image "i": already exists'),
        "INVALID_ARGUMENT",
        ("NOT_FOUND", 'image "none": not found'),
        1,
        ("NOT_FOUND", 'lease "none": not found'),
        True,
        ("NOT_FOUND", 'image "none": not found'),
    ]


def test_namespaces(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        wanted = namespaces_pb2.Namespace(name="n1", labels={"k": "v"})
        create = namespaces_pb2.CreateNamespaceRequest(namespace=wanted)
        await client.call("Namespaces/Create", create)
        await client.call("Containers/Create", containers_pb2.CreateContainerRequest(container=container()))
        return [
            await client.call("Namespaces/Create", create),
            (
                await client.call("Namespaces/Get", namespaces_pb2.GetNamespaceRequest(name="new"))
            ).namespace.name,
            await client.call("Namespaces/Delete", namespaces_pb2.DeleteNamespaceRequest(name="moby")),
            await client.call("Namespaces/Delete", namespaces_pb2.DeleteNamespaceRequest(name="none")),
            *[
                await client.call(
                    "Namespaces/Update",
                    namespaces_pb2.UpdateNamespaceRequest(
                        namespace=namespaces_pb2.Namespace(name=name, labels=labels)
                    ),
                )
                for name, labels in (("", {"k": "v"}), ("n1", {"k": "v" * 4096}))
            ],
        ]

    assert serve(tmp_path, scenario) == [
        ("ALREADY_EXISTS", 'namespace "n1": already exists'),
        "new",
        (
            "FAILED_PRECONDITION",
            'namespace "moby" must be empty, but it still has containers: failed precondition',
        ),
        ("NOT_FOUND", 'namespace "none": not found'),
        ("UNKNOWN", "bucket name required"),
        (
            "UNKNOWN",
            "namespace.Labels: label key and value greater than maximum size (4096 bytes), key: k: invalid argument",
        ),
    ]


def test_events_reach_subscribers_whose_filter_matches(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        filters = ["namespace==moby,topic~=|^/tasks/|,event.container_id==c1"]
        subscription = client.method("Events/Subscribe")(
            events_pb2.SubscribeRequest(filters=filters), metadata=MOBY
        )
        seen: list[str] = []

        async def listen() -> None:
            async for envelope in subscription:
                seen.append(envelope.topic)
                if len(seen) == 2:
                    return

        listener = asyncio.create_task(listen())
        for topic, identifier in [("/tasks/start", "c2"), ("/images/x", "c1")] + [("/tasks/exit", "c1")] * 50:
            request = events_pb2.PublishRequest(topic=topic)
            pack(request.event, payloads_pb2.TaskStart(container_id=identifier))
            await client.call("Events/Publish", request)
            if listener.done():
                break
        await asyncio.wait_for(listener, 30)
        subscription.cancel()
        bad = await client.call("Events/Publish", events_pb2.PublishRequest(topic="x"))
        return [seen, bad]

    assert serve(tmp_path, scenario) == [
        ["/tasks/exit", "/tasks/exit"],
        ("INVALID_ARGUMENT", "envelope topic \"x\": must start with '/': invalid argument"),
    ]


def test_snapshots_service(tmp_path: Path) -> None:
    async def scenario(client: Client) -> list[Any]:
        prepare = snapshots_pb2.PrepareSnapshotRequest(snapshotter="overlayfs", key="a")
        mounts = (await client.call("Snapshots/Prepare", prepare)).mounts
        unknown = snapshots_pb2.PrepareSnapshotRequest(snapshotter="zfs", key="a")
        nameless = snapshots_pb2.StatSnapshotRequest(key="a")
        listing = snapshots_pb2.ListSnapshotsRequest(snapshotter="overlayfs", filters=["kind==active"])
        return [
            mounts[0].type,
            await client.call("Snapshots/Prepare", unknown),
            await client.call("Snapshots/Stat", nameless),
            [info.name for reply in await client.stream("Snapshots/List", listing) for info in reply.info],
        ]

    assert serve(tmp_path, scenario) == [
        "bind",
        ("INVALID_ARGUMENT", "snapshotter not loaded: zfs: invalid argument"),
        ("INVALID_ARGUMENT", "snapshotter argument missing: invalid argument"),
        ["a"],
    ]


def test_what_is_no_call(tmp_path: Path) -> None:
    containers = "containerd.services.containers.v1.Containers"

    async def scenario(client: Client) -> list[Any]:
        return [
            await client.raw(f"/{containers}/Get", b"\x0a\x05ab"),
            await client.raw(f"/{containers}/Get", b"\x0a\x02\xff\xfe"),
            await client.raw(f"/{containers}/Nothing", b""),
            await client.raw("/nobody/Nothing", b""),
            await client.raw("/Nothing", b""),
        ]

    assert serve(tmp_path, scenario) == [
        ("INTERNAL", "grpc: error unmarshalling request: unexpected EOF"),
        ("INTERNAL", "grpc: error unmarshalling request: invalid UTF-8"),
        ("UNIMPLEMENTED", f"unknown method Nothing for service {containers}"),
        ("UNIMPLEMENTED", "unknown service nobody"),
        ("RESOURCE_EXHAUSTED", 'malformed method name: "/Nothing"'),
    ]


def test_broken_message_in_a_stream_ends_it(tmp_path: Path) -> None:
    async def scenario(client: Client) -> Any:
        path = "/containerd.services.content.v1.Content/Write"
        call = client.stream_raw(path, [b"\x0a\x05ab"])
        try:
            return [reply async for reply in call]
        except grpc.aio.AioRpcError as error:
            return (error.code().name, error.details())

    assert serve(tmp_path, scenario) == ("INTERNAL", "grpc: error unmarshalling request: unexpected EOF")


def test_published_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = any_pb2.Any()
    pack(event, payloads_pb2.TaskStart(container_id="c1"))
    socket = str(tmp_path / "c.sock")

    async def scenario(client: Client) -> list[Any]:
        subscription = client.method("Events/Subscribe")(events_pb2.SubscribeRequest(), metadata=MOBY)
        first = asyncio.create_task(subscription.read())
        done: list[int] = []
        while not first.done():
            done.append(
                await asyncio.to_thread(publish, socket, "/tasks/start", "moby", event.SerializeToString())
            )
        envelope = await first
        subscription.cancel()
        refused = await asyncio.to_thread(publish, socket, "nonsense", "moby", b"")
        return [set(done), envelope.topic, envelope.namespace, envelope.event.value, refused]

    assert serve(tmp_path, scenario) == [{0}, "/tasks/start", "moby", event.value, 1]
    assert "must start with '/'" in capsys.readouterr().err
