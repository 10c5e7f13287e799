import os
import socket
import threading
from pathlib import Path

from sixhops.shim.log import Log
from sixhops.shim.loop import Loop
from sixhops.shim.publisher import Publisher
from sixhops.wire.proto import events_ttrpc_pb2, payloads_pb2
from sixhops.wire.ttrpc.calls import Call, CallServer


def publisher(loop: Loop, path: Path) -> tuple[Publisher, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return Publisher(loop, str(path), "moby", Log(descriptor=writer)), reader


def collect(listener: socket.socket, seen: list[Call], count: int, drop_first: bool) -> None:
    """Be containerd: answer events until `count` came; with `drop_first` hang up on the first one."""
    while len(seen) < count:
        connection, _address = listener.accept()
        server = CallServer()
        with connection:
            while len(seen) < count and (data := connection.recv(1 << 16)):
                calls = server.receive(data)[0]
                if drop_first:
                    drop_first = False
                    break
                for call in calls:
                    seen.append(call)
                    connection.sendall(server.answer(call.stream, b""))


def run(tmp_path: Path, *, drop_first: bool = False, kept: float = 0.0, follow: bool = True) -> list[Call]:
    """Publish three events, the first one to be kept for some seconds; the others only if they `follow`."""
    loop = Loop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "e.sock"))
        listener.listen()
        seen: list[Call] = []
        done, tell = os.pipe()

        def be_containerd() -> None:
            collect(listener, seen, 3 if follow else 1, drop_first)
            os.close(tell)

        peer = threading.Thread(target=be_containerd)
        peer.start()
        made, _log = publisher(loop, tmp_path / "e.sock")
        made.retry_seconds = 0.001
        made.publish("/tasks/create", payloads_pb2.TaskStart(container_id="c"), seconds=kept)
        for topic in ("/tasks/start", "/tasks/exit") if follow else ():
            made.publish(topic, payloads_pb2.TaskStart(container_id="c"))
        if follow or kept > 5:
            made.flushed().on_done(loop.stop)
        else:
            loop.on_readable(done, loop.stop)
        loop.later(5.0, loop.stop)
        loop.run()
        peer.join(5)
        os.close(done)
        made.close()
    return seen


def topics(calls: list[Call]) -> list[str]:
    return [events_ttrpc_pb2.ForwardRequest.FromString(call.payload).envelope.topic for call in calls]


def test_events_arrive_in_order_with_namespace_and_deadline(tmp_path: Path) -> None:
    calls = run(tmp_path, drop_first=False)

    assert topics(calls) == ["/tasks/create", "/tasks/start", "/tasks/exit"]
    assert {(call.service, call.method, call.timeout) for call in calls} == {
        ("containerd.services.events.ttrpc.v1.Events", "Forward", 5.0)
    }
    assert calls[0].metadata == {"containerd-namespace-ttrpc": "moby"}


def test_one_that_is_kept_goes_with_the_next(tmp_path: Path) -> None:
    assert topics(run(tmp_path, kept=1000.0)) == ["/tasks/create", "/tasks/start", "/tasks/exit"]


def test_one_that_is_kept_does_not_outlast_the_shim(tmp_path: Path) -> None:
    assert topics(run(tmp_path, kept=1000.0, follow=False)) == ["/tasks/create"]


def test_one_that_is_kept_goes_when_its_time_has_come(tmp_path: Path) -> None:
    assert topics(run(tmp_path, kept=0.001, follow=False)) == ["/tasks/create"]


def test_event_is_sent_again_when_containerd_hangs_up_on_it(tmp_path: Path) -> None:
    assert topics(run(tmp_path, drop_first=True)) == ["/tasks/create", "/tasks/start", "/tasks/exit"]


def test_event_is_dropped_after_some_attempts_without_containerd(tmp_path: Path) -> None:
    loop = Loop()
    made, log = publisher(loop, tmp_path / "none.sock")
    made.retry_seconds = 0.001

    made.publish("/tasks/exit", payloads_pb2.TaskExit(container_id="c"))
    made.flushed().on_done(loop.stop)
    loop.later(5.0, loop.stop)
    loop.run()

    assert os.read(log, 1 << 16).count(b"forward event: ") == 5


def test_nothing_to_flush(tmp_path: Path) -> None:
    made, _log = publisher(Loop(), tmp_path / "none.sock")

    assert made.flushed().done
