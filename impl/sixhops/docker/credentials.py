"""Who somebody is at a registry: in config.json, or with a credential helper (docker-credential-NAME get|store|erase).

Which of both is said by `credHelpers` (for one registry) and `credsStore` (for all). A registry is named by its host;
Docker Hub by https://index.docker.io/v1/. Credentials are a mapping: username, password, identitytoken, registrytoken,
serveraddress; those of the kind that isn't there are left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from sixhops.docker import config
from sixhops.docker.errors import DockerError

if TYPE_CHECKING:
    from sixhops.docker.config import Settings

__all__ = ["HUB", "erase", "find", "helper_of", "host_of", "key_of", "store"]

#: The key under which Docker Hub's credentials are kept.
HUB = "https://index.docker.io/v1/"

_TOKEN_USER = "<token>"  # noqa: S105 - the word that stands for "the secret is a token"
_NOT_FOUND = "credentials not found in native keychain"


def key_of(registry: str) -> str:
    """Return the key of a registry ("docker.io": Docker Hub)."""
    return HUB if registry in ("docker.io", "index.docker.io") else registry


def host_of(name: str) -> str:
    """Return the host of a registry that may be written as an address."""
    return name.removeprefix("http://").removeprefix("https://").split("/")[0]


def helper_of(settings: Settings, key: str) -> str:
    """Return the name of the helper that keeps a registry's credentials, "" for config.json."""
    return str(config.mapping(settings.document, "credHelpers").get(key) or settings.text("credsStore"))


def find(settings: Settings, registry: str) -> dict[str, str]:
    """Return what is known for `registry`: {} when nobody is logged in. Raises DockerError when a helper fails."""
    key = key_of(registry)
    found: dict[str, str] = {}
    entries = config.mapping(settings.document, "auths")
    for name, entry in entries.items():
        if isinstance(entry, dict) and (name == key or (key not in entries and host_of(name) == key)):
            found = _from_entry(entry, name)
            break
    helper = helper_of(settings, key)
    if helper:
        names = ("serveraddress", "registrytoken")
        return _from_helper(helper, key) | {name: found[name] for name in names if name in found}
    return found


def store(settings: Settings, key: str, found: dict[str, str]) -> None:
    """Keep credentials. Raises DockerError."""
    helper = helper_of(settings, key)
    entry: dict[str, str] = {}
    if helper:
        token = found.get("identitytoken")
        given = {
            "ServerURL": key,
            "Username": _TOKEN_USER if token else found.get("username", ""),
            "Secret": token or found.get("password", ""),
        }
        document = json.dumps(given, separators=(",", ":"), ensure_ascii=False)
        for sign in "<>&":  # as Go writes them
            document = document.replace(sign, f"\\u{ord(sign):04x}")
        _ask(helper, "store", f"{document}\n", "storing")
    else:
        if found.get("username") or found.get("password"):
            plain = f"{found.get('username', '')}:{found.get('password', '')}"
            entry["auth"] = base64.b64encode(plain.encode()).decode()
        entry |= {name: found[name] for name in ("identitytoken", "registrytoken") if found.get(name)}
    entries = dict(config.mapping(settings.document, "auths"))
    settings.document["auths"] = dict(sorted({**entries, key: entry}.items()))
    config.save(settings)


def erase(settings: Settings, key: str) -> None:
    """Forget credentials. Raises DockerError when a helper fails or config.json can't be written."""
    helper = helper_of(settings, key)
    if helper:
        _ask(helper, "erase", key, "erasing")
    entries = dict(config.mapping(settings.document, "auths"))
    entries.pop(key, None)
    settings.document["auths"] = entries
    config.save(settings)


def _from_entry(entry: dict[str, str], server: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        text = base64.b64decode(str(entry.get("auth", "")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DockerError(f"Invalid auth configuration file: {error}") from error
    if text:
        user, colon, password = text.partition(":")
        if not colon:
            raise DockerError("Invalid auth configuration file")
        found = {"username": user, "password": password.strip("\0")}
    found["serveraddress"] = server
    found |= {name: str(entry[name]) for name in ("identitytoken", "registrytoken") if entry.get(name)}
    return found


def _from_helper(helper: str, key: str) -> dict[str, str]:
    output = _ask(helper, "get", key, "getting")
    if output == _NOT_FOUND:
        return {}
    try:
        answer = json.loads(output)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise DockerError(f"docker-credential-{helper} answered what is no credentials: {error}") from error
    if user == _TOKEN_USER:
        return {"identitytoken": secret}
    return {"username": user, "password": secret}


def _ask(helper: str, action: str, given: str, doing: str) -> str:
    """Run a helper; return its output. One that says that it has no such credentials has not failed."""
    import subprocess  # noqa: PLC0415 - only with helpers

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, action], input=given.encode(), stdout=subprocess.PIPE, check=False)
    except OSError as error:
        # docker's words for a program that isn't there at all, whatever they say
        reason = f"{program} resolves to executable in current directory (./{program})"
        raise DockerError(f"error {doing} credentials - err: {reason}, out: ``") from error
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode and not (action == "get" and output == _NOT_FOUND):
        raise DockerError(f"error {doing} credentials - err: exit status {done.returncode}, out: `{output}`")
    return output
