"""Registries of ours for clients that others have written: open, with basic passwords, with tokens, with TLS."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "me", "secret"
MODES = ("open", "basic", "token")
START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that listens on `host`, such as 127.0.0.1:5000; `mode` is one of MODES or tls."""

    mode: str
    host: str

    @property
    def guarded(self) -> bool:
        """Whether it wants a password for a push."""
        return self.mode in {"basic", "token"}


def configuration(directory: Path, mode: str, address: str) -> Path:
    """Write what a registry needs below `directory`; return its configuration file."""
    directory.mkdir(parents=True)
    users = directory / "users"
    users.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    lines = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: '{directory / 'data'}'}}, delete: {{enabled: true}}}}",
    ]
    tls = ""
    if mode == "basic":
        lines.append(f"auth: {{htpasswd: {{realm: here, path: '{users}'}}}}")
    elif mode == "token":
        lines.append(f"auth: {{tokenservice: {{service: here, path: '{users}', anonymouspull: true}}}}")
    elif mode == "tls":
        tls = f", tls: {{certificate: '{directory / 'ca.crt'}', key: '{directory / 'key.pem'}'}}"
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        argv += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "ca.crt"), "-days", "2"]
        argv += ["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(argv, check=True, capture_output=True)
    lines.append(f"http: {{addr: '{address}'{tls}}}")
    path = directory / "registry.yml"
    path.write_text("\n".join(lines) + "\n")
    return path


def program(config: Path) -> list[str]:
    """Return the command line of a registry."""
    return [sys.executable, "-m", "sixhops.registry", "serve", str(config)]


@contextmanager
def started(directory: Path, mode: str) -> Iterator[Registry]:
    """Run a registry on a free port of the loopback until the `with` body ends."""
    process = subprocess.Popen(
        program(configuration(directory, mode, "127.0.0.1:0")), stderr=subprocess.PIPE, text=True
    )
    ports: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, ports))
    reader.start()
    try:
        port = ports.get(timeout=START_SECONDS)
        assert port is not None, "the registry ended before it listened"
        yield Registry(mode, f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        reader.join()


def _read(process: subprocess.Popen[str], ports: queue.SimpleQueue[str | None]) -> None:
    # to the end: a full pipe would stop the registry
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                ports.put(found[1])
    ports.put(None)
