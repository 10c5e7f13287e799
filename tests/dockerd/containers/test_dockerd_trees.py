"""What a process says that unpacks an archive is heard, also when it ends while the archive still comes."""

import asyncio
import socket
from collections.abc import AsyncIterator

from sixhops.dockerd.containers.rootfs.trees import _feed, _Worker

REFUSAL = {"status": 404, "error": "no such directory"}


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1 << 16)


def test_a_refusal_is_heard_while_the_body_is_still_fed() -> None:
    async def scenario() -> dict[str, object]:
        ours, theirs = socket.socketpair()
        feed = ours.dup()
        feed.setblocking(False)
        worker = _Worker(0, feed, *await asyncio.open_unix_connection(sock=ours))
        report = asyncio.create_task(worker.report())
        feeding = asyncio.create_task(_feed(endless(), worker.input))
        try:
            await asyncio.to_thread(theirs.recv, 1)  # something has come; most of it is never read
            theirs.sendall(b'{"status": 404, "error": "no such directory"}\n')
            theirs.close()
            await feeding  # ends by itself: nobody takes any more
            return await report
        finally:
            worker.close()

    for _ in range(20):
        assert asyncio.run(asyncio.wait_for(scenario(), 30)) == REFUSAL
