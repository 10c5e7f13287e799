"""sixhops-dockerd: reads the flags, forks the helpers' parent, wires the rooms together, serves, and ends in order.

The fork server must come first, while there is one thread and no gRPC; therefore everything heavier is imported after it.
"""

from __future__ import annotations

import gc
import sys

from sixhops.dockerd.options import FlagError, Options, parse, usage
from sixhops.dockerd.version import VERSION
from sixhops.linux import forkserver, prctl

__all__ = ["main"]

_NAME = "dockerd"
#: The helpers' parent is a process of its own, and must not be taken for a second engine.
_HELPER_NAME = "dockerd-helpers"
_HELPERS = (
    "sixhops.dockerd.images.unpacking.unpack",
    "sixhops.dockerd.containers.rootfs.treework",
    "sixhops.dockerd.networks.proxy",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; return the exit status: 0, or 1 with a message."""
    try:
        words = sys.argv[1:] if arguments is None else arguments
        options = parse(words)
    except FlagError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.version:
        sys.stdout.write(f"Docker version {VERSION}, build sixhops\n")
        return 0
    if options.help:
        sys.stdout.write(usage())
        return 0
    prctl.set_name(_NAME)
    helpers = forkserver.start(_HELPERS, _HELPER_NAME)
    try:
        return _serve(options, words, helpers)
    finally:
        helpers.close()


def _serve(options: Options, words: list[str], helpers: forkserver.ForkServer) -> int:
    import asyncio  # noqa: PLC0415 - after the fork server, as all below

    from sixhops.dockerd import daemon  # noqa: PLC0415

    gc.collect()
    gc.freeze()  # what is loaded stays: no collection need look at it again
    return asyncio.run(daemon.run(options, words, helpers))
