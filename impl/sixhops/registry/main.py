"""The command line: `sixhops-registry serve CONFIG` (or `--storage DIR --addr ADDRESS`), `gc`, `fsck`.

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 cannot listen or use the storage, or `fsck` found faults, 4
bad usage or configuration.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sixhops.registry.access.auth import PasswordFile
from sixhops.registry.access.tokens import TokenService
from sixhops.registry.http.server import Service
from sixhops.registry.settings.config import Config, ConfigError, parse_config
from sixhops.registry.settings.log import begin_log
from sixhops.registry.storage.maintenance import GRACE_SECONDS, check, collect
from sixhops.wire.image.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

_STALLED_MILLISECONDS = 60_000
_TLS_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}
_log = logging.getLogger("sixhops.registry")


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(4, f"sixhops-registry: {message}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; `arguments` default to the command line's. Raises SystemExit."""
    parser = _Parser(prog="sixhops-registry", description="A registry with a directory as storage.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer requests until SIGTERM")
    serve.add_argument("config", nargs="?", type=Path, help="docker-registry's YAML, version 0.1")
    serve.add_argument("--storage", type=Path, help="directory to use; deletion and schema1 are enabled")
    serve.add_argument("--addr", help="HOST:PORT or unix:PATH (default 127.0.0.1:5000; port 0: any free one)")
    gc = commands.add_parser("gc", help="remove content that no manifest refers to; safe beside a server")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    gc.add_argument("--grace", type=float, default=GRACE_SECONDS, help="keep what is younger, in seconds")
    fsck = commands.add_parser("fsck", help="check every digest, link and manifest")
    for command in (gc, fsck):
        command.add_argument("config", nargs="?", type=Path, help="docker-registry's YAML, version 0.1")
        command.add_argument("--storage", type=Path, help="the storage directory")
    options = parser.parse_args(arguments)
    try:
        config = _configuration(options)
        if options.command != "serve":
            sys.exit(_maintain(options, Layout(config.root), mirror=bool(config.remote)))
        try:
            asyncio.run(_serve(config))
        finally:
            if config.net == "unix":
                Path(config.address).unlink(missing_ok=True)
        sys.exit(0)
    except ConfigError as error:
        parser.exit(4, f"sixhops-registry: {options.config or 'arguments'}: {error}\n")
    except (OSError, ValueError) as error:
        parser.exit(1, f"sixhops-registry: {error}\n")


def _maintain(options: Namespace, layout: Layout, *, mirror: bool) -> int:
    if not layout.root.is_dir():
        raise ConfigError(f"{layout.root} is not a directory")
    if options.command == "gc":
        found = collect(layout, dry_run=options.dry_run, grace=options.grace)
        for digest in found.blobs:
            sys.stdout.write(f"{digest}\n")
        did = "would be removed" if options.dry_run else "removed"
        sys.stdout.write(f"{len(found.blobs)} blobs, {found.size} bytes {did}\n")
        return 0
    faults = 0
    for line in check(layout, mirror=mirror):
        faults += 1
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{faults} faults\n")
    return 1 if faults else 0


def _configuration(options: Namespace) -> Config:
    if options.config is None:
        if options.storage is None:
            raise ConfigError("give a CONFIG file or --storage DIR")
        net, address = _address(getattr(options, "addr", None) or "127.0.0.1:5000")
        return Config(options.storage, address, net, delete=True, schema1=True)
    if options.storage is not None or getattr(options, "addr", None) is not None:
        raise ConfigError("CONFIG and --storage/--addr exclude each other")
    try:
        text = options.config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from error
    return parse_config(text, os.environ)


def _address(text: str) -> tuple[str, str]:
    path = text.removeprefix("unix://") if text.startswith("unix://") else text.removeprefix("unix:")
    return ("unix", path) if path != text else ("tcp", text)


def _host_and_port(address: str) -> tuple[str | None, int]:
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"http.addr: {address!r} is not HOST:PORT")
    return host.strip("[]") or None, int(port)


async def _serve(config: Config) -> None:
    begin_log(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    users = None if config.htpasswd is None else PasswordFile(config.htpasswd, config.realm)
    tls = _tls(config)
    tokens = None
    if config.token_users is not None:
        accounts = PasswordFile(config.token_users, config.service)
        tokens = TokenService(
            accounts, config.service, anonymous_pull=config.anonymous_pull, secret=config.secret
        )
    service = Service(config, users, tokens)
    server = service.server()
    try:
        if config.net == "unix":
            # asyncio itself removes a socket file that a dead process has left there.
            listener = await loop.create_unix_server(server, config.address, ssl=tls)
        else:
            host, port = _host_and_port(config.address)
            listener = await loop.create_server(server, host, port, ssl=tls, backlog=1024)
            for listening in listener.sockets:
                # What is accepted inherits it: the kernel gives up a connection whose other side takes nothing.
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MILLISECONDS)
        names = ", ".join(_name(listening.getsockname()) for listening in listener.sockets)
        _log.warning("listening on %s", names) if config.level == "warn" else _log.info(
            "listening on %s", names
        )
        await stop.wait()
        listener.close()
        await server.shutdown(config.drain_seconds)
    finally:
        await service.close()


def _name(address: object) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else f"unix:{address}"


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = _TLS_VERSIONS[config.minimum_tls]
    for authority in config.client_authorities:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(config.certificate, config.key)
    return context
