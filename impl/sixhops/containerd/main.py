"""The command line of sixhops-containerd. Its order matters: seal, fork, and only then grpc.

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
import sys
from pathlib import Path

from sixhops.containerd.config import Config, ConfigError, load
from sixhops.linux import forkserver, prctl

__all__ = ["main"]

VERSION = "github.com/containerd/containerd 1.6.20+sixhops.0.1.0 sixhops"
DEFAULT_CONFIG = Path("/etc/containerd/config.toml")
# what forked workers need; names, because programs never import one another
SHIM_MODULES = ("sixhops.shim.server", "sixhops.shim.main")
OWN_MODULES = ("sixhops.containerd.unpack", "sixhops.containerd.layerdiff")
RUNTIME_MODULE = "sixhops.runc.main"
RUNTIME_MODULES = (RUNTIME_MODULE, "sixhops.runc.api", "sixhops.runc.commands")
SEAL_MODULE = "sixhops.runc.selfexe"
FORK_SERVER = "containerd-fork"
LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}


def main(words: list[str] | None = None) -> int:
    """Run containerd until it is told to stop; return the exit status."""
    arguments = _parse(words)
    if arguments.version:
        sys.stdout.write(f"containerd {VERSION}\n")
        return 0
    try:
        config = _config(arguments)
    except ConfigError as error:
        sys.stderr.write(f"containerd: {error}\n")
        return 1
    runtime_module = RUNTIME_MODULE if _installed(RUNTIME_MODULE) and config.shim != "exec" else None
    if runtime_module:
        importlib.import_module(SEAL_MODULE).reexecute()
    prctl.set_name("containerd")
    modules = [
        *SHIM_MODULES,
        "sixhops.containerd.unpack",
        "sixhops.containerd.layerdiff",
        *(RUNTIME_MODULES if runtime_module else ()),
    ]
    forks = forkserver.start(modules, FORK_SERVER)
    logging.basicConfig(
        level=LEVELS[config.level],
        format='time="%(asctime)s" level=%(levelname)s msg="%(message)s" name=%(name)s',
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    for key in config.ignored:
        logging.getLogger(__name__).warning("config key %s has no meaning here", key)
    app = importlib.import_module("sixhops.containerd.app")
    again = functools.partial(forkserver.spawn, modules, FORK_SERVER, SEAL_MODULE if runtime_module else "")
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
    parser = argparse.ArgumentParser(prog="containerd", description="high performance container runtime")
    parser.add_argument("--config", "-c", type=Path, help="path to the configuration file")
    parser.add_argument("--root", help="containerd root directory")
    parser.add_argument("--state", help="containerd state directory")
    parser.add_argument("--address", "-a", help="address for containerd's GRPC server")
    parser.add_argument("--log-level", "-l", choices=sorted(LEVELS), help="set the logging level")
    parser.add_argument("--version", "-v", action="store_true", help="print the version")
    return parser.parse_args(words)


def _config(arguments: argparse.Namespace) -> Config:
    path: Path | None = arguments.config
    if path is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    flags = {name: getattr(arguments, name) for name in ("root", "state", "address", "log_level")}
    config = load(path, flags)
    if config.level not in LEVELS:
        raise ConfigError(f"invalid log level {config.level!r}")
    return config


if __name__ == "__main__":
    raise SystemExit(main())
