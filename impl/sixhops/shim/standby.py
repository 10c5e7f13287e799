"""A shim that was forked before there is a container for it, and waits to be told of one.

containerd has one in reserve. It is what any shim is, only without a bundle; what costs time and is the same for all has
been done: the process is there, has touched its memory, and has a runtime that waits as well (`resident`). Its word is
one datagram on the socket that it was given: the settings of `server.run_forked`, with the listening socket. When the
other end closes instead, it goes.
"""

from __future__ import annotations

import _socket
import marshal
import os
from typing import Any

from sixhops.linux import passing
from sixhops.shim.resident import NAME, Resident
from sixhops.shim.server import run_forked, settle_alone

__all__ = ["stand_by"]

MESSAGE_LIMIT = 1 << 16


def stand_by(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Wait for a container and be its shim; return the exit status.

    `arguments` has `module`, the loaded runtime's or None, and may have another `name` for its process. Descriptor 0 of
    the list is the socket, 1 (if there) a file with the specification of a container as they come here.
    """
    # the bare object: Python's asks for family and type as enumerations
    connection = _socket.socket(fileno=descriptors[0])
    document = descriptors[1] if len(descriptors) > 1 else -1
    settle_alone()
    module, name = arguments["module"], arguments.get("name", NAME)
    resident = Resident(module, document, name) if module else None
    if document >= 0:
        os.close(document)
    data, given = passing.receive(connection, MESSAGE_LIMIT, 1)
    connection.close()
    if not data:
        return 0
    settings = marshal.loads(data)
    if resident is not None:
        resident.foretell(settings["bundle"], settings["id"])
    return run_forked(settings, given, resident)
