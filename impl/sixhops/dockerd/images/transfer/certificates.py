"""Certificates for a registry, from /etc/docker/certs.d/HOST: authorities (*.crt), and ours with its key (*.cert, *.key).

Rules and messages: `ReadCertsDirectory` of moby 20.10 (registry/registry.go). A registry that may be spoken to without
verification has none, as there.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import Final

from sixhops.dockerd.images.transfer.refusals import RemoteError

__all__ = ["DIRECTORY", "context_for"]

DIRECTORY: Final = Path("/etc/docker/certs.d")


def context_for(host: str, directory: Path = DIRECTORY) -> ssl.SSLContext | None:
    """Return how a registry is spoken to, None when nothing is said about it. Raises RemoteError.

    `host` with its port, as in an image's name.
    """
    folder = directory / host
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are what counts
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RemoteError(f"open {folder}: {(error.strerror or '').lower()}") from error
    context = ssl.create_default_context()
    try:
        for name in names:
            stem, _, suffix = name.rpartition(".")
            match suffix:
                case "crt":
                    _trust(context, folder / name)
                case "cert":
                    if f"{stem}.key" not in names:
                        raise RemoteError(
                            f"missing key {stem}.key for client certificate {name}. "
                            "Note that CA certificates should use the extension .crt"
                        )
                    _show(context, folder / name, folder / f"{stem}.key")
                case "key" if f"{stem}.cert" not in names:
                    raise RemoteError(f"missing client certificate {stem}.cert for key {name}")
                case _:
                    pass
    except OSError as error:
        raise RemoteError(f"open {error.filename}: {(error.strerror or '').lower()}") from error
    return context


def _trust(context: ssl.SSLContext, path: Path) -> None:
    # what is none is left out, as Go's AppendCertsFromPEM does
    with contextlib.suppress(ssl.SSLError, ValueError):
        context.load_verify_locations(cadata=path.read_text(encoding="ascii", errors="replace"))


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        path.read_bytes()  # so that an error names the file
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise RemoteError(_reason(certificate, key, error)) from error


def _reason(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    for path, kind in ((certificate, "certificate"), (key, "key")):
        if b"-----BEGIN " not in path.read_bytes():
            return f"tls: failed to find any PEM data in {kind} input"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "tls: private key does not match public key"
    return f"tls: {error.reason or error}"
