"""What can go wrong between the engine and a registry, in the words of Docker's own client.

Users search for these texts. Facts: messages of dockerd 20.10; distribution's registry/client/errors.go and
registry/api/errcode for how a refusal's body is read, Go's net/http and net for what the transport says.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from sixhops.dockerd.api.gojson import GoJsonError, decode_whole
from sixhops.dockerd.errors import EngineError, system

if TYPE_CHECKING:
    from sixhops.dockerd.images.reference import Reference

__all__ = [
    "BrokenOff",
    "NoCredentials",
    "NotAuthorized",
    "RemoteError",
    "TooLong",
    "as_engine_error",
    "go_words",
    "refusal",
]

_LONGEST_REFUSAL = 64 * 1024
_LAST_PORT: Final = 65535
_DNS: Final = 53
#: OpenSSL's X509_V_ERR_*: no issuer there, a self-signed one, in the chain or alone, nobody who vouches for the first.
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
#: What the alert was, in OpenSSL's name of the error: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED].
_ALERT: Final = re.compile(r"ALERT_([A-Z_]+)")
#: So many servers of resolv.conf(5) are asked.
_SERVERS: Final = 3
#: What Go prints of an address as it is; the rest is escaped.
_PRINTED: Final = "".join(map(chr, range(0x20, 0x7F)))
#: Where asyncio says which address it tried.
_ADDRESS = re.compile(r"Connect call failed \('([^']+)'")
_UNAUTHORIZED: Final = 401
_TOO_MANY: Final = 429
# distribution-spec, "Error Codes", as distribution words them
_OWN_MESSAGES: Final = {
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "UNAVAILABLE": "service unavailable",
    "TOOMANYREQUESTS": "too many requests",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "SIZE_INVALID": "provided length did not match content length",
    "NAME_INVALID": "invalid repository name",
    "TAG_INVALID": "manifest tag did not match URI",
    "NAME_UNKNOWN": "repository name not known to registry",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_UNVERIFIED": "manifest failed signature verification",
    "MANIFEST_BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "BLOB_UPLOAD_INVALID": "blob upload invalid",
}


class RemoteError(Exception):
    """A request to a registry failed; `status` and `code` are its answer's, 0 and "" when there was none.

    `bare`: the answer had a code and nothing to say about it. To Go's client that is an error of another type, which it
    does not recognize: neither as a refusal that is final, nor as something that was not found.
    """

    def __init__(self, message: str, status: int = 0, code: str = "", *, bare: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.bare = bare


class BrokenOff(RemoteError):  # noqa: N818 - it tells what happened to the blob
    """A blob had begun to come and ended too early."""


class TooLong(RemoteError):  # noqa: N818 - it tells what is the matter with the blob
    """More bytes came than the answer's head had declared; what it declared can't be told from them any more."""


class NoCredentials(RemoteError):  # noqa: N818 - it tells what was missing
    """The registry wants to know who asks, and there is nothing to tell it."""


class NotAuthorized(RemoteError):  # noqa: N818 - it tells what became of a request
    """A request was not made, because nothing could be had to show; `reason` is why. To Go it is one that failed."""

    def __init__(self, message: str, reason: RemoteError) -> None:
        super().__init__(message)
        self.reason = reason


def go_words(verb: str, url: str, error: BaseException) -> str:
    """Return an error of the transport as Go's client words it."""
    shown = urllib.parse.quote(url, safe=_PRINTED)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        # aiohttp's own is in lower case; what is not in ASCII it has encoded as Go does
        host = _host_of(url) if url.isascii() else error.host
        return f'{verb} "{shown}": dial tcp: lookup {host}{_no_lookup(error.os_error)}'
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f'{verb} "{url}": {_distrust(error)}'
    if isinstance(error, (aiohttp.ClientConnectorSSLError, ssl.SSLError)):
        return f'{verb} "{url}": {_tls_words(error)}'
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error
        text = os.strerror(reason.errno).lower() if reason.errno and reason.errno > 0 else str(reason)
        found = _ADDRESS.search(str(reason))
        address = found[1] if found else error.host
        if not _host_of(url):
            address = ""  # who names nobody means this machine
        elif ":" in address:
            address = f"[{address.strip('[]')}]"
        return f'{verb} "{url}": dial tcp {address}:{error.port}: connect: {text}'
    if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
        return f'{verb} "{shown}": dial tcp: {_no_address(url)}'
    if isinstance(error, TimeoutError):
        return (
            f'{verb} "{url}": net/http: request canceled while waiting for connection '
            "(Client.Timeout exceeded while awaiting headers)"
        )
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f'{verb} "{url}": EOF'
    return f'{verb} "{url}": {error}'


def _distrust(error: aiohttp.ClientConnectorCertificateError) -> str:
    """Return why a registry's certificate is not believed, as Go's crypto/x509 says it."""
    problem = error.certificate_error
    code = getattr(problem, "verify_code", 0)
    if code in _UNKNOWN_AUTHORITY:
        return "x509: certificate signed by unknown authority"
    return f"x509: {getattr(problem, 'verify_message', problem)}"


def _tls_words(error: BaseException) -> str:
    """Return what the other side of TLS said, as Go's crypto/tls says it."""
    found = _ALERT.search(str(error))
    if found is not None:
        return f"remote error: tls: {found[1].lower().replace('_', ' ')}"
    if "WRONG_VERSION_NUMBER" in str(error):
        return "http: server gave HTTP response to HTTPS client"
    return str(error)


def _no_lookup(error: OSError) -> str:
    """Return why a name was not found, as Go's resolver says it: when nobody can be asked, which server that was."""
    if error.errno != socket.EAI_AGAIN:
        return f": {(error.strerror or '').replace('Name or service not known', '') or 'no such host'}"
    server = _last_server()
    try:
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.connect((server, _DNS))
    except OSError as reason:
        at = f"[{server}]:{_DNS}" if ":" in server else f"{server}:{_DNS}"
        return f" on {at}: dial udp {at}: connect: {os.strerror(reason.errno or 0).lower()}"
    return f": {error.strerror}"


def _last_server() -> str:
    """Return the last name server of resolv.conf(5) that is asked, whose failure is the one that Go tells."""
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    servers = [entry[1] for entry in words if len(entry) > 1 and entry[0] == "nameserver"]
    return servers[:_SERVERS][-1] if servers else "127.0.0.1"


def _authority(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _host_of(url: str) -> str:
    return re.sub(r":[0-9]*$", "", _authority(url).rpartition("@")[2])


def _no_address(url: str) -> str:
    """Return why Go's client finds nobody at an address that Python's refuses to look for."""
    host, colon, port = _authority(url).rpartition(":")
    if colon and port.isdigit() and int(port) > _LAST_PORT:
        return f"address {port}: invalid port"
    return f"lookup {host or port}: no such host"


async def refusal(response: aiohttp.ClientResponse) -> RemoteError:
    """Word a registry's refusal: `code: message` of its errors, or what is wrong with its answer."""
    if not 400 <= response.status < 500:
        return RemoteError(
            f"received unexpected HTTP status: {response.status} {response.reason}", response.status
        )
    return _of_body(response.status, await response.content.read(_LONGEST_REFUSAL))


def as_engine_error(error: RemoteError, reference: Reference) -> EngineError:
    """Return what the user of the Engine API is told about a failed pull of `reference`."""
    if error.bare:
        return system(str(error))
    if error.code == "MANIFEST_UNKNOWN":
        return EngineError(404, f"manifest for {reference.familiar} not found: {error}")
    if error.code == "NAME_UNKNOWN":
        return EngineError(404, f"repository {reference.familiar_name} not found: {error}")
    if error.code == "DENIED":
        return EngineError(
            404,
            f"pull access denied for {reference.familiar_name}, "
            f"repository does not exist or may require 'docker login': {error}",
        )
    return system(str(error))


def _of_body(status: int, data: bytes) -> RemoteError:
    try:
        document = decode_whole(data)
    except GoJsonError as problem:
        return _unreadable(status, data, str(problem))
    details = document.get("details") if isinstance(document, dict) else None
    if isinstance(details, str) and details:
        code = {_UNAUTHORIZED: "UNAUTHORIZED", _TOO_MANY: "TOOMANYREQUESTS"}.get(status, "UNKNOWN")
        return RemoteError(f"{_spoken(code)}: {details}", status, code)
    errors = document.get("errors") if isinstance(document, dict) else None
    found = [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []
    if not found:
        return _unreadable(status, data, "no error details found in HTTP response body")
    texts = [_worded(entry) for entry in found]
    text = texts[0] if len(texts) == 1 else "errors:\n" + "".join(f"{line}\n" for line in texts)
    return RemoteError(text, status, _code(found[0]), bare=":" not in texts[0])


def _unreadable(status: int, data: bytes, problem: str) -> RemoteError:
    if status == _UNAUTHORIZED:
        return RemoteError("unauthorized: authentication required", status, "UNAUTHORIZED")
    body = json.dumps(data.decode("utf-8", "replace"), ensure_ascii=False)
    return RemoteError(f"error parsing HTTP {status} response body: {problem}: {body}", status)


def _code(entry: dict[str, Any]) -> str:
    code = str(entry.get("code") or "")
    return code if code in _OWN_MESSAGES else "UNKNOWN"


def _spoken(code: str) -> str:
    return code.lower().replace("_", " ")


def _worded(entry: dict[str, Any]) -> str:
    code, message = _code(entry), str(entry.get("message") or "")
    # Go's registry client leaves out a message that is the code's own and comes without detail
    said = message and (message != _OWN_MESSAGES[code] or entry.get("detail") is not None)
    return f"{_spoken(code)}: {message}" if said else _spoken(code)
