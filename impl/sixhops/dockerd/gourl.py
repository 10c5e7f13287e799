"""Addresses as Go's net/url reads them: what it takes apart, and its words for what is none.

Users see these words when an address in a request can't be read. Source: net/url of Go 1.19 (`parse`, `parseHost`,
`unescape`), compared with dockerd 20.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from sixhops.dockerd.goquote import quote

__all__ = ["GoUrlError", "Url", "parse"]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PORT: Final = re.compile(r"(?::[0-9]*)?")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
#: What stands for a character of ASCII, but for the percent sign itself, is not let into a host.
_ASCII_ESCAPE: Final = re.compile(r"%(?!25)[0-7][0-9a-fA-F]")
_NOT_IN_HOST: Final = re.compile(r"[ #%/?@\\^`{|}]")
_USER: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")


class GoUrlError(ValueError):
    """The text is no address; the message is Go's."""


@dataclass(frozen=True, slots=True)
class Url:
    """An address: `host` with its port, `path` and `query` as they were written."""

    scheme: str
    host: str
    path: str
    query: str


def parse(text: str) -> Url:
    """Take an address apart. Raises GoUrlError."""
    whole = text.partition("#")[0]

    def refuse(reason: str) -> GoUrlError:
        return GoUrlError(f"parse {quote(whole)}: {reason}")

    if _CONTROL.search(whole):
        raise refuse("net/url: invalid control character in URL")
    if whole.startswith(":"):
        raise refuse("missing protocol scheme")
    found = _SCHEME.match(whole)
    scheme = found[1].lower() if found else ""
    rest, _, query = whole[found.end() if found else 0 :].partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, "", rest, query)
        if ":" in rest.partition("/")[0]:
            raise refuse("first path segment in URL cannot contain colon")
    host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        try:
            host = _host(authority)
        except GoUrlError as error:
            raise refuse(str(error)) from None
    broken = _BROKEN_ESCAPE.search(rest)
    if broken is not None:
        raise refuse(f"invalid URL escape {quote(broken[0])}")
    return Url(scheme, host, rest, query)


def _host(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise GoUrlError("net/url: invalid userinfo")
    if host.startswith("["):
        name, bracket, port = host.rpartition("]")
        if not bracket:
            raise GoUrlError("missing ']' in host")
        name += bracket
    else:
        name, colon, port = host.rpartition(":")
        name, port = (name, colon + port) if colon else (host, "")
    if not _PORT.fullmatch(port):
        raise GoUrlError(f"invalid port {quote(port)} after host")
    for bad in (_BROKEN_ESCAPE.search(host), _ASCII_ESCAPE.search(host)):
        if bad is not None:
            raise GoUrlError(f"invalid URL escape {quote(bad[0])}")
    bad = _NOT_IN_HOST.search(re.sub(r"%[0-9a-fA-F]{2}", "", host))
    if bad is not None:
        raise GoUrlError(f"invalid character {quote(bad[0])} in host name")
    return unquote(host)
