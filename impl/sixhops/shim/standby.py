"""A shim that was forked before there is a container for it, and waits to be told of one.

containerd has one in reserve. It is what any shim is, only without a bundle; what costs time and is the same for all has
been done: the process is there, has touched its memory, and has a runtime that waits as well (`resident`). Its word is
one datagram on the socket that it was given: the settings of `server.run_forked`, with the listening socket. When the
other end closes instead, it goes. What comes before that is a guess: bundle and id of a container whose task may come
next, with a file that has its specification, for the runtime to read.
"""

from __future__ import annotations

import _socket
import contextlib
import marshal
import os
from typing import Any

from sixhops.linux import passing
from sixhops.shim.dryrun import DryRun
from sixhops.shim.resident import NAME, Resident
from sixhops.shim.server import run_forked, settle_alone

__all__ = ["stand_by"]

MESSAGE_LIMIT = 1 << 16


def stand_by(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Wait for a container and be its shim; return the exit status.

    `arguments` has `module`, the loaded runtime's or None, and may have another `name` for its process, and the
    `directory` of a dry run (`dryrun`). Descriptor 0 of the list is the socket, 1 (if there) a file with the specification
    of a container as they come here.
    """
    # the bare object: Python's asks for family and type as enumerations
    connection = _socket.socket(fileno=descriptors[0])
    document = descriptors[1] if len(descriptors) > 1 else -1
    settle_alone()
    module, name = arguments["module"], arguments.get("name", NAME)
    dry_run = None
    if module and "directory" in arguments:
        with contextlib.suppress(OSError):  # what is in the way will be in the container's, and be told
            dry_run = DryRun(arguments["directory"])
    resident = Resident(module, document, name, dry_run) if module else None
    if document >= 0:
        os.close(document)
    if dry_run is not None:
        dry_run.go_through(module)
    guess: tuple[str, str] = ("", "")
    while True:
        data, given = passing.receive(connection, MESSAGE_LIMIT, 1)
        if not data:
            return 0
        word = marshal.loads(data)
        if isinstance(word, dict):
            break
        guess = word
        if resident is not None:
            resident.foretell(*guess, *given)
        for descriptor in given:
            os.close(descriptor)
    connection.close()
    if resident is not None and guess != (word["bundle"], word["id"]):
        resident.foretell(word["bundle"], word["id"])
    return run_forked(word, given, resident)
