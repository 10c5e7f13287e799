"""A shim in reserve: forked, settled and waiting for the next container, so that Create need not wait for a fork.

There is one once a first container has shown what containers look like here, and another as soon as that one is taken.
It is a worker as any: a child of ours, which goes when its socket closes, so also when we die.
"""

from __future__ import annotations

import asyncio
import logging
import marshal
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

from sixhops.linux import passing
from sixhops.wire.ttrpc.status import RpcError

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.containerd.tasks.workers import Workers

__all__ = ["Reserve"]

log = logging.getLogger(__name__)
STANDBY_MODULE = "sixhops.shim.standby"
REHEARSAL_MODULE = "sixhops.runc.lifecycle.rehearsal"
SHIM_REHEARSAL_MODULE = "sixhops.shim.rehearsal"
# after a create that no start follows, and after a start: its answer goes out first
PATIENCE, AT_ONCE = 0.1, 0.001
LARGEST = 1 << 16  # bytes of a specification that the fork server takes


class Reserve:
    """The shim that waits, if there is one."""

    def __init__(self, workers: Workers, runtime_module: str | None, directory: Path) -> None:
        """`directory` is where a shim makes one for its dry run; it is removed in the end."""
        self._workers = workers
        self._directory = directory
        self._module = runtime_module
        self._waiting: socket.socket | None = None
        self._document = b""
        self._due: asyncio.TimerHandle | None = None
        self._refilling: asyncio.Task[None] | None = None

    def created(self, document: bytes) -> None:
        """Take note of the specification of a container that is there now; the next ones will be like it."""
        if self._module and not self._document and len(document) <= LARGEST:
            text = document.decode(errors="replace")
            self._workers.prepare(REHEARSAL_MODULE, "rehearse_here", {"document": text})
            self._workers.prepare(SHIM_REHEARSAL_MODULE, "rehearse_here", {})
        self._document = document
        self._refill_in(PATIENCE)

    def started(self) -> None:
        """Make another one, if it is missing: the container that the last one was for runs."""
        if self._document:
            self._refill_in(AT_ONCE)

    def _refill_in(self, seconds: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(seconds, self._refill)

    def _refill(self) -> None:
        if self._waiting is None and self._refilling is None:
            self._refilling = asyncio.get_running_loop().create_task(self._fork())
            self._refilling.add_done_callback(self._refilled)

    def _refilled(self, _task: asyncio.Task[None]) -> None:
        self._refilling = None

    async def _fork(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        document = os.memfd_create("specification", os.MFD_CLOEXEC)
        try:
            os.write(document, self._document)
            descriptors = [theirs.fileno(), document]
            words = {"module": self._module, "directory": str(self._directory)}
            ended = await self._workers.start(STANDBY_MODULE, "stand_by", words, descriptors)
        except (RpcError, OSError) as error:
            log.warning("no shim in reserve: %s", error)
            ours.close()
            return
        except asyncio.CancelledError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(document)
        self._waiting = ours
        ended.add_done_callback(lambda _ended: self._lost(ours))

    def _lost(self, connection: socket.socket) -> None:
        if self._waiting is connection:
            self.close()

    def foretell(self, bundle: str, identifier: str, spec: bytes) -> None:
        """Tell the waiting shim, if there is one, of a container whose task may come next."""
        if self._waiting is None:
            return
        document = os.memfd_create("specification", os.MFD_CLOEXEC)
        try:
            os.write(document, spec)
            passing.send(self._waiting, marshal.dumps((bundle, identifier)), (document,), wait=False)
        except OSError as error:  # it has enough to read, or has gone, which the next one to take it will see
            log.debug("the shim in reserve was not told of %s: %s", identifier, error)
        finally:
            os.close(document)

    def take(self, settings: dict[str, Any], listener: int) -> bool:
        """Have the waiting shim serve a container; False when there is none."""
        connection, self._waiting = self._waiting, None
        if connection is None:
            return False
        with connection:
            try:
                # one that has not even read what it was foretold is of no use either
                passing.send(connection, marshal.dumps(settings), (listener,), wait=False)
            except OSError as error:
                log.warning("the shim in reserve does not answer: %s", error)
                return False
        return True

    def close(self) -> None:
        """Let it go."""
        if self._due is not None:
            self._due.cancel()
        if self._refilling is not None:
            self._refilling.cancel()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
