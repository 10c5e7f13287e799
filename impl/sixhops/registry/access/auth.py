"""Basic authentication against an htpasswd file of bcrypt hashes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import bcrypt

if TYPE_CHECKING:
    from pathlib import Path

_REMEMBERED: Final = 1024
# What an unknown user is checked against, so that the time taken does not tell which users exist.
_NOBODY: Final = bcrypt.hashpw(os.urandom(16), bcrypt.gensalt(5))


class PasswordFile:
    """The users of one htpasswd file, read again when it changes.

    bcrypt is slow on purpose, and clients send the password with every request; so a password that was
    found right is remembered as a keyed hash in memory until the file changes.
    """

    def __init__(self, path: Path, realm: str) -> None:
        self._path = path
        self.realm = realm
        self._stamp: tuple[int, int] | None = None
        self._users: dict[str, bytes] = {}
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._secret = os.urandom(32)
        self._load()

    def _load(self) -> None:
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return
        users = {}
        for number, line in enumerate(self._path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            user, separator, encoded = line.strip().partition(":")
            if not separator or not encoded.startswith(("$2a$", "$2b$", "$2y$")):
                raise ValueError(f"{self._path}:{number}: expected user:bcrypt-hash (htpasswd -B)")
            users[user] = encoded.encode()
        self._users, self._stamp = users, stamp
        self._right.clear()

    async def user(self, header: str) -> str | None:
        """Return the user that an Authorization header proves, or None."""
        credentials = _basic(header)
        if credentials is None:
            return None
        self._load()
        user, password = credentials
        proof = hmac.digest(self._secret, f"{user}\0".encode() + password, hashlib.sha256)
        if proof in self._right:
            return user
        encoded = self._users.get(user)
        # bcrypt looks at 72 bytes and ends at a NUL: what lies behind would be free to guess.
        if len(password) > 72 or b"\0" in password:
            encoded = None
        right = await asyncio.to_thread(bcrypt.checkpw, password[:72].replace(b"\0", b""), encoded or _NOBODY)
        if encoded is None or not right:
            return None
        self._right[proof] = None
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return user


def _basic(header: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
        user, separator, password = decoded.partition(b":")
        return (user.decode(), password) if separator else None
    except (binascii.Error, ValueError):
        return None
