"""The store of contexts: named engines, each with what is needed to reach it.

Below `contexts` in the client's directory, laid out as docker lays it out, so that either program reads what the other
wrote: meta/ID/meta.json, and tls/ID/ENDPOINT/{ca,cert,key}.pem, ID being the name's SHA-256.

A context is what meta.json says: {"Name": ..., "Metadata": {...}, "Endpoints": {"docker": {"Host": ...,
"SkipTLSVerify": ...}}}. The context `default` is in no file; `endpoint` makes it of options and environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

from sixhops.docker.errors import DockerError
from sixhops.docker.values import os_error, quote

__all__ = ["DEFAULT", "ENDPOINT", "TLS_FILES", "Store", "check_name", "natural"]

DEFAULT = "default"
#: The endpoint that is an engine; contexts may have others, which are kept and not used.
ENDPOINT = "docker"

#: The TLS files of an endpoint: the CA, the client's certificate and its key.
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")

_NAME = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"


def check_name(name: str) -> None:
    """Raise DockerError for a name that no new context may have."""
    if not name:
        raise DockerError("context name cannot be empty")
    if name == DEFAULT:
        raise DockerError('"default" is a reserved context name')
    if not re.fullmatch(_NAME, name, re.ASCII):
        raise DockerError(
            f"context name {quote(name)} is invalid, names are validated against regexp {quote(_NAME)}"
        )


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Return the key that sorts names as people do: node2 before node10."""
    return [
        (not part.isdigit(), int(part) if part.isdigit() else 0, part)
        for part in re.findall(r"\d+|\D+", text)
    ]


class Store:
    """The contexts of one directory. Every method raises DockerError for what can't be read or written."""

    def __init__(self, directory: str) -> None:
        self._meta = f"{directory}/contexts/meta"
        self._tls = f"{directory}/contexts/tls"

    def names(self) -> list[str]:
        """Return the names of all contexts but the default one, sorted as people sort."""
        found = []
        for identity in os.listdir(self._meta) if os.path.isdir(self._meta) else []:
            path = f"{self._meta}/{identity}/meta.json"
            if os.path.isfile(path):
                found.append(str(_read(path).get("Name", "")))
        return sorted(found, key=natural)

    def exists(self, name: str) -> bool:
        """Tell whether there is such a context."""
        return os.path.exists(f"{self.places(name)[0]}/meta.json")

    def get(self, name: str) -> dict[str, Any]:
        """Return a context."""
        if not self.exists(name):
            raise DockerError(f"context {quote(name)} does not exist")
        return _read(f"{self.places(name)[0]}/meta.json")

    def put(self, context: dict[str, Any]) -> None:
        """Write a context, a new one or in the place of the one with its name."""
        directory = self.places(context["Name"])[0]
        try:
            os.makedirs(directory, 0o755, exist_ok=True)
            with open(f"{directory}/meta.json", "w", encoding="utf-8") as file:
                json.dump(context, file, separators=(",", ":"), ensure_ascii=False)
        except OSError as error:
            raise DockerError(os_error("open", f"{directory}/meta.json", error)) from error

    def remove(self, name: str) -> None:
        """Remove a context with its TLS files."""
        for directory in self.places(name):
            _remove(directory)

    def tls_files(self, name: str) -> dict[str, list[str]]:
        """Return the names of the TLS files of each endpoint."""
        directory = self.places(name)[1]
        if not os.path.isdir(directory):
            return {}
        return {
            endpoint: sorted(os.listdir(f"{directory}/{endpoint}"))
            for endpoint in sorted(os.listdir(directory))
        }

    def tls_path(self, name: str, endpoint: str, file: str) -> str:
        """Return where a TLS file lies."""
        return f"{self.places(name)[1]}/{endpoint}/{file}"

    def reset_tls(self, name: str, endpoint: str, files: dict[str, bytes]) -> None:
        """Put these TLS files in the place of those of an endpoint."""
        directory = f"{self.places(name)[1]}/{endpoint}"
        _remove(directory)
        if not files:
            return
        try:
            os.makedirs(directory, 0o700)
            for file, data in files.items():
                with open(
                    os.open(f"{directory}/{file}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
                ) as out:
                    out.write(data)
        except OSError as error:
            raise DockerError(os_error("open", directory, error)) from error

    def places(self, name: str) -> tuple[str, str]:
        """Return the directories of a context's meta.json and of its TLS files."""
        import hashlib  # noqa: PLC0415 - only with contexts

        identity = hashlib.sha256(name.encode()).hexdigest()
        return f"{self._meta}/{identity}", f"{self._tls}/{identity}"


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise DockerError(os_error("open", path, error)) from error
    except ValueError as error:
        raise DockerError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise DockerError(f"{path}: it holds no object")
    # docker's keys may be written in any case
    return {
        key.capitalize() if key.lower() in ("name", "metadata", "endpoints") else key: found[key]
        for key in found
    }


def _remove(directory: str) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DockerError(os_error("unlinkat", directory, error)) from error
