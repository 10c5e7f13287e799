"""The command line of sixhops-containerd. For the server its order matters: seal, fork, and only then grpc.

1. If our runtime is installed, this process is executed again from a sealed binary: forked runtime steps enter
   containers, and nothing in there may be able to write the interpreter (the runtime's module does it).
2. The fork server is forked while there is one thread.
3. grpc is imported, which starts threads.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import importlib.util
import logging
import os
import sys
from pathlib import Path

from sixhops.containerd.settings import logs, tomlwrite
from sixhops.containerd.settings.config import DEFAULTS, Config, ConfigError, load, merged
from sixhops.containerd.settings.plugins import missing
from sixhops.linux import forkserver, prctl

__all__ = ["main"]

VERSION = "github.com/containerd/containerd 1.6.20+sixhops.0.1.0 sixhops"
DEFAULT_CONFIG = Path("/etc/containerd/config.toml")
# what forked workers need; names, because programs never import one another
SHIM_MODULES = ("sixhops.shim.server", "sixhops.shim.main", "sixhops.shim.standby")
LIBRARIES = (  # what the modules of the shim import from elsewhere
    *("sixhops.wire.ttrpc.calls", "sixhops.wire.proto.services"),
    *(f"sixhops.wire.proto.{name}_pb2" for name in ("payloads", "runc_options", "shim_v2", "events_ttrpc")),
    *(f"sixhops.wire.proto.{name}_pb2" for name in ("cgroup1", "cgroup2")),
)
RUNTIME_MODULE = "sixhops.runc.main"
RUNTIME_MODULES = (
    RUNTIME_MODULE,
    "sixhops.runc.api",
    "sixhops.runc.cli.commands",
    "sixhops.runc.lifecycle.rehearsal",
    "sixhops.runc.lifecycle.spare",
)
SEAL_MODULE = "sixhops.runc.cli.selfexe"
FORK_SERVER = "containerd-fork"


def main(words: list[str] | None = None) -> int:
    """Do what the command line says: serve until told to stop, or a command; return the exit status."""
    arguments = _parse(words)
    if arguments.version:
        sys.stdout.write(f"containerd {VERSION}\n")
        return 0
    try:
        if arguments.command == "config":
            return _show_config(arguments)
        if arguments.command == "publish":
            publish = importlib.import_module("sixhops.containerd.tasks.publish").publish
            status: int = publish(
                arguments.address, arguments.topic, arguments.namespace, sys.stdin.buffer.read()
            )
            return status
        config = _config(arguments)
    except ConfigError as error:
        sys.stderr.write(f"containerd: {error}\n")
        return 1
    return _serve(config)


def _serve(config: Config) -> int:
    runtime_module = RUNTIME_MODULE if _installed(RUNTIME_MODULE) and config.shim != "exec" else None
    if runtime_module:
        importlib.import_module(SEAL_MODULE).reexecute()
    prctl.set_name("containerd")
    # No more than a container needs: a shim, a runtime and a first process have it all mapped, to the end.
    modules = [*SHIM_MODULES, *(RUNTIME_MODULES if runtime_module else ())]
    forks = forkserver.start(modules, FORK_SERVER, LIBRARIES)
    logs.start(config.level, config.format)
    for key in config.ignored:
        logging.getLogger(__name__).warning("config key %s has no meaning here", key)
    app = importlib.import_module("sixhops.containerd.app")
    seal = SEAL_MODULE if runtime_module else ""
    again = functools.partial(forkserver.spawn, modules, FORK_SERVER, seal, LIBRARIES)
    # not before the fork: every worker would carry it, and never use it
    asyncio = importlib.import_module("asyncio")
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection need look at it again
    status: int = asyncio.run(app.run(config, forks, again, runtime_module))
    return status


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="containerd", description="high performance container runtime", formatter_class=_formatter
    )
    parser.add_argument("--config", "-c", type=Path, help="path to the configuration file")
    parser.add_argument("--root", help="containerd root directory")
    parser.add_argument("--state", help="containerd state directory")
    parser.add_argument("--address", "-a", help="address for containerd's GRPC server")
    parser.add_argument("--log-level", "-l", choices=sorted(logs.LEVELS), help="set the logging level")
    parser.add_argument("--version", "-v", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command")
    config = commands.add_parser(
        "config", help="information on the containerd config", formatter_class=_formatter
    )
    config.add_argument("what", choices=("default", "dump"), help="the default config, or the final one")
    publish = commands.add_parser(
        "publish", help="publish an event that is read from standard input", formatter_class=_formatter
    )
    publish.add_argument("--topic", "-topic", required=True, help="topic of the event")
    publish.add_argument("--namespace", "-namespace", default="", help="namespace to publish to")
    return parser.parse_args(words)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return the usual one, told of the width: to find it, it would import what compresses archives."""
    try:
        width = os.get_terminal_size().columns
    except OSError:
        width = 80
    return argparse.HelpFormatter(prog, width=width - 2)


def _config(arguments: argparse.Namespace) -> Config:
    flags = {name: getattr(arguments, name) for name in ("root", "state", "address", "log_level")}
    config = load(_path(arguments), flags)
    if config.level not in logs.LEVELS:
        raise ConfigError(f"invalid log level {config.level!r}")
    if absent := missing(config.required, config.root, config.disabled):
        raise ConfigError(f"missing required plugins: {' '.join(absent)}")
    return config


def _path(arguments: argparse.Namespace) -> Path | None:
    """Return the file to read: the one that was named, or the usual one if it is there."""
    given: Path | None = arguments.config
    return given or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


def _show_config(arguments: argparse.Namespace) -> int:
    path = _path(arguments)
    document = DEFAULTS
    if arguments.what == "dump" and path is not None and path.exists():
        document = merged(path)
        load(path, {})  # for its errors
    sys.stdout.write(tomlwrite.dumps({**document, "version": 2}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
