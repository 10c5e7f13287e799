"""Where the API listens: unix and TCP sockets, with TLS, and those that systemd hands over."""

from __future__ import annotations

import grp
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.api.server import unix_listener

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable

    from sixhops.dockerd.options import Options

__all__ = ["ListenError", "open_listeners", "tls_context"]

_log = logging.getLogger("dockerd")

DEFAULT_HOST = "unix:///var/run/docker.sock"
_DEFAULT_PATH = "/var/run/docker.sock"
_DEFAULT_GROUP = "docker"
_DEFAULT_PORT = 2375
_DEFAULT_TLS_PORT = 2376
_BACKLOG = 128
#: The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_HANDED = 3


class ListenError(Exception):
    """A socket can't be opened; the message says why."""


def open_listeners(
    options: Options, stack: contextlib.ExitStack, *, first_handed: int = _FIRST_HANDED
) -> list[socket.socket]:
    """Bind and listen at once, so that clients wait instead of being refused while the engine starts.

    Sockets of `fd://` have the numbers from `first_handed` on. `stack` removes the paths again. Raises ListenError, and
    OSError for an address that is taken.
    """
    found: list[socket.socket] = []
    seen: set[str] = set()
    for host in options.hosts or [DEFAULT_HOST]:
        host = host.strip() or DEFAULT_HOST
        if host in seen:
            continue
        seen.add(host)
        scheme, separator, rest = host.partition("://")
        if not separator:
            scheme, rest = "tcp", host
        match scheme:
            case "fd":
                found += _handed(rest, first_handed)
            case "unix":
                found.append(_unix(Path(rest or _DEFAULT_PATH), options.group, stack))
            case _:
                found.append(_tcp(rest, options))
    for listener in found:
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    return found


def tls_context(options: Options) -> ssl.SSLContext | None:
    """Return what TCP listeners speak; None for plain HTTP. Raises ListenError for certificates that can't be read."""
    if not options.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    pair = f'(cert: "{options.tls_certificate}", key: "{options.tls_key}")'
    for path in (options.tls_certificate, options.tls_key):
        if not Path(path).exists():
            raise ListenError(
                f"invalid TLS configuration: Could not load X509 key pair {pair}: "
                f"open {path}: no such file or directory"
            )
    try:
        context.load_cert_chain(options.tls_certificate, options.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise ListenError(
            f"invalid TLS configuration: Error reading X509 key pair {pair}: {error}. "
            "Make sure the key is not encrypted."
        ) from error
    if options.tls_verify:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(options.tls_ca)
        except FileNotFoundError:
            raise ListenError(
                f'invalid TLS configuration: could not read CA certificate "{options.tls_ca}": '
                f"open {options.tls_ca}: no such file or directory"
            ) from None
        except ssl.SSLError as error:
            raise ListenError(
                f'invalid TLS configuration: failed to append certificates from PEM file: "{options.tls_ca}"'
            ) from error
    return context


def _unix(path: Path, group: str, stack: contextlib.ExitStack) -> socket.socket:
    listener = unix_listener(path)
    stack.callback(path.unlink, missing_ok=True)
    if group:
        os.chown(path, 0, _group(group))
    return listener


def _group(name: str) -> int:
    """Return a group's number; without the stock one the socket is root's alone. Raises ListenError for another."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdigit():
            return int(name)
        if name != _DEFAULT_GROUP:
            raise ListenError(f"group {name} not found") from None
        return 0


def _tcp(rest: str, options: Options) -> socket.socket:
    secure = bool(options.tls)
    name, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        name, port = rest, ""
    number = int(port) if port else _DEFAULT_TLS_PORT if secure else _DEFAULT_PORT
    if number not in range(2**16):
        raise ListenError(f"listen tcp: address {number}: invalid port")
    name = name.strip("[]") or ("0.0.0.0" if colon else "localhost")
    if not (options.tls and options.tls_verify):
        _log.warning(
            "Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone who "
            "has access to your network."
        )
    try:
        family = socket.AF_INET6 if ":" in name else socket.AF_INET
        return socket.create_server((name, number), family=family, reuse_port=False)
    except socket.gaierror as error:
        raise ListenError(f"listen tcp: lookup {name}: {error.strerror}") from error


def _handed(which: str, first: int) -> Iterable[socket.socket]:
    """Return the sockets that systemd started the engine with: all, or the one of a number."""
    count = int(os.environ.get("LISTEN_FDS") or 0)
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or count < 1:
        raise ListenError(
            "no sockets found via socket activation: make sure the service was started by systemd"
        )
    numbers = range(first, first + count)
    if which not in {"", "*"}:
        if not which.isdigit():
            raise ListenError(
                f'failed to parse systemd fd address: should be a number: strconv.Atoi: parsing "{which}": invalid syntax'
            )
        if int(which) not in numbers:
            raise ListenError("too few socket activated files passed in by systemd")
        numbers = range(int(which), int(which) + 1)
    return [_adopted(number) for number in numbers]


def _adopted(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)
