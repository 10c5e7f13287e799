"""One mutation of a valid request; pure: the same request and random numbers give the same bytes.

What is changed: a value of the body (its type, its size, its name), the body's bytes, the query, the path and its version,
the method, the headers, the framing. The result says in a few words what was done to it.
"""

# ruff: noqa: E501 - what stands in place of good values is a table
from __future__ import annotations

import copy
import dataclasses
import json
import urllib.parse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from benchmarks.engine_fuzz.corpus import Request

__all__ = ["Mutant", "mutate", "written"]


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """A request's bytes, and what was done to it."""

    operation: str
    change: str
    data: bytes
    method: str


_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 1.5, 1e30, "", "x", "0", "-1", "a" * 5000, "\0", "é", "/",
    "../..", "a b", "A=b", [], {}, [None], [1], ["x"], [[]], {"x": 1}, {"x": "y"}, {"x": {}}, {"x": None}, [{}], "nosuch",
    "host", "container:nosuch", "<&>", "\u2028", "9999999999999999999999",
)  # fmt: skip
_TEXTS = (
    "", "0", "1", "-1", "x", "true", "false", "none", "1.5", "99999999999999999999", "1e3", " ", "a b", "é", "\0", "/", "..",
    "a/b", "UPPER", "a:b", "@", "busybox", "fuzz-running", "{}", "[]", "null", '{"', '{"x":1}', '{"x":["y"]}', '{"x":{"y":true}}',
    '{"x":{"y":1}}', '{"label":"a"}', "[1]", '{"until":["x"]}', '{"dangling":["x"]}', "2020-01-01", "2020-01-01T00:00:00Z",
    "1h", "1700000000.123456789", "ctrl-", "ctrl-a,ctrl-", "a" * 3000, "SIGKILL", "9", "sha256:", "<script>", "all",
)  # fmt: skip
_RAW = (
    b"", b"{", b"[", b"null", b"true", b"1", b'"x"', b"[]", b"{}", b"{}{}", b"{} x", b"nul", b"\xff\xfe", b"{\"a\":}", b"{'a':1}",
    b'{"a" 1}', b'{"a":1,}', b'{"a":"\x01"}', b'{"a":"\\q"}', b'{"a":"\\u12"}', b"[" * 200, b"-", b"01", b"1.", b'{"a":1e}',
    b" \n", b'{"Image":1}', b"\0" * 512,
)  # fmt: skip
_VERSIONS = (
    "v1.41",
    "v1.40",
    "v1.39",
    "v1.30",
    "v1.24",
    "v1.20",
    "v1.12",
    "v1.11",
    "v1.42",
    "v2",
    "v1",
    "v",
    "v1.",
    "v1.40.1",
    "va",
    "v-1",
    "V1.40",
)
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get", "X")
_PATHS = (
    "{}/",
    "/{}",
    "{}/x",
    "{}%2f",
    "{}%00",
    "{}%zz",
    "{}//",
    "/.{}",
    "/x/..{}",
    "{}?",
    "{};x",
    "{}%20",
    "{}é",
)
_KINDS = (
    "",
    "text/plain",
    "application/json; charset=utf-8",
    "application/json;",
    "application/JSON",
    "application/x-tar",
    "a/b; c",
    "x",
    ";",
    "application/json, x",
)


def mutate(request: Request, chance: random.Random, name: str | None = None) -> Mutant:
    """Return a mutant of a request; `name` picks one of the kinds of change, where the request can have it."""
    kinds = ["query", "path", "version", "method", "framing"]
    if request.body is not None:
        kinds += ["type", "raw"]
    if request.query:
        kinds += ["query"] * 3
    if isinstance(request.body, (dict, list)):
        kinds += ["value"] * 8 + ["member"] * 2
    kind = name if name in kinds else chance.choice(kinds)
    changed, what = request, ""
    data: bytes | None = None
    prefix = chance.choice(("", "/v1.40", "/v1.41")) if kind != "version" else f"/{chance.choice(_VERSIONS)}"
    media: str | None = "application/json" if isinstance(request.body, (dict, list)) else None
    match kind:
        case "value" | "member":
            body, what = _change_body(request.body, chance, member=kind == "member")
            changed = dataclasses.replace(request, body=body)
        case "raw":
            data = _change_bytes(_bytes_of(request.body), chance)
            what = repr(data[:40])
        case "query":
            query, what = _change_query(request.query, chance)
            changed = dataclasses.replace(request, query=query)
        case "path":
            path = _change_path(request.path, chance)
            changed, what = dataclasses.replace(request, path=path), path
        case "method":
            changed = dataclasses.replace(request, method=chance.choice(_METHODS))
            what = changed.method
        case "version":
            what = prefix
        case "type":
            media = what = chance.choice(_KINDS)
        case "framing":
            body = _bytes_of(request.body)
            what = chance.choice(_FRAMES)
            return Mutant(
                request.operation,
                f"framing: {what}",
                _framed(request, prefix, body, media, what),
                request.method,
            )
    body = _bytes_of(changed.body) if data is None else data
    return Mutant(request.operation, f"{kind}: {what}", written(changed, prefix, body, media), changed.method)


def written(request: Request, prefix: str = "", body: bytes | None = None, media: str | None = None) -> bytes:
    """Return a request's bytes; `media` None says nothing of the body's type."""
    data = _bytes_of(request.body) if body is None else body
    fields = ["Host: x", *(f"{name}: {value}" for name, value in request.headers.items())]
    if media is not None:
        fields.append(f"Content-Type: {media}")
    if data or request.method in {"POST", "PUT"}:
        fields.append(f"Content-Length: {len(data)}")
    return _head(request, prefix, fields) + data


def _head(request: Request, prefix: str, fields: list[str]) -> bytes:
    query = f"?{_query_text(request.query)}" if request.query else ""
    line = f"{request.method} {prefix}{request.path}{query} HTTP/1.1"
    return "\r\n".join([line, *fields, "Connection: close", "", ""]).encode()


def _query_text(query: tuple[tuple[str, str], ...]) -> str:
    # a name that begins with % is broken on purpose and goes out as it is
    return "&".join(
        name if name.startswith("%") else f"{urllib.parse.quote(name)}={urllib.parse.quote(value)}"
        for name, value in query
    )


def _bytes_of(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        found += _places(member, (*path, key))
    return found


def _change_body(body: Any, chance: random.Random, *, member: bool) -> tuple[Any, str]:
    changed = copy.deepcopy(body)
    path = chance.choice(_places(changed))
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    shown = ".".join(map(str, path))
    if not member:
        value = chance.choice(_VALUES)
        holder[path[-1]] = value
        return changed, f"{shown} = {json.dumps(value)[:60]}"
    old = holder.pop(path[-1])
    if isinstance(holder, list):
        return changed, f"{shown} removed"
    what = chance.choice(("removed", "lower", "upper", "renamed", "empty"))
    name = {
        "lower": str(path[-1]).lower(),
        "upper": str(path[-1]).upper(),
        "renamed": f"{path[-1]}X",
        "empty": "",
    }
    if what != "removed":
        holder[name[what]] = old
    return changed, f"{shown} {what}"


def _change_bytes(data: bytes, chance: random.Random) -> bytes:
    what = chance.randrange(5)
    if what == 0 or not data:
        return chance.choice(_RAW)
    at = chance.randrange(len(data))
    match what:
        case 1:
            return data[:at]
        case 2:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 3:
            return data[:at] + chance.choice(_RAW) + data[at:]
        case _:
            return data + chance.choice(_RAW)


def _change_query(
    query: tuple[tuple[str, str], ...], chance: random.Random
) -> tuple[tuple[tuple[str, str], ...], str]:
    pairs = list(query)
    what = chance.randrange(8)
    if not pairs or what == 0:
        pairs.insert(0, (chance.choice(("x", "all", "filters", "name", "", "size")), chance.choice(_TEXTS)))
        return tuple(pairs), f"{pairs[0]} added"
    at = chance.randrange(len(pairs))
    name, value = pairs[at]
    if what == 1:
        del pairs[at]
        return tuple(pairs), f"{name} removed"
    if what == 2:
        pairs.append((name, chance.choice(_TEXTS)))
        return tuple(pairs), f"{name} twice"
    if what == 3:
        broken = chance.choice(("%", "%zz", "%4"))
        pairs.append((broken, ""))
        return tuple(pairs), broken
    if name == "filters" and what > 4:
        filters, said = _change_body(json.loads(value), chance, member=what == 5)
        pairs[at] = (name, json.dumps(filters))
        return tuple(pairs), f"filters {said}"
    pairs[at] = (name, chance.choice(_TEXTS))
    return tuple(pairs), f"{name}={pairs[at][1][:60]!r}"


def _change_path(path: str, chance: random.Random) -> str:
    parts = path.split("/")
    if len(parts) > 2 and chance.random() < 0.6:
        at = chance.randrange(1, len(parts))
        parts[at] = chance.choice(
            (
                "nosuch",
                "",
                "a" * 300,
                "x",
                "..",
                "%2e%2e",
                "-",
                "fuzz",
                "00-0",
                "json",
                "sha256:" + "0" * 64,
                "%20",
                "a%2fb",
            )
        )
        return "/".join(parts)
    return chance.choice(_PATHS).format(path)


_FRAMES = (
    "no host", "two hosts", "short length", "bad length", "two lengths", "chunked", "chunk size", "chunk end", "chunk cut", "both",
    "encoding", "HTTP/1.0", "HTTP/2.0", "no version", "bad header", "long header", "bare newlines", "expect", "leading space", "absolute",
)  # fmt: skip


def _framed(request: Request, prefix: str, body: bytes, media: str | None, what: str) -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    kind = [f"Content-Type: {media}"] if media else []
    common = ["Host: x", *kind]
    size = b"%x\r\n" % len(body)
    whole = (size + body + b"\r\n" if body else b"") + b"0\r\n\r\n"
    chunked = "Transfer-Encoding: chunked"
    plain = _head(request, prefix, [*common, *length]) + body
    match what:
        case "no host":
            return _head(request, prefix, [*kind, *length]) + body
        case "two hosts":
            return _head(request, prefix, ["Host: y", *common, *length]) + body
        case "short length":
            return _head(request, prefix, [*common, f"Content-Length: {len(body) + 5}"]) + body
        case "bad length":
            return _head(request, prefix, [*common, "Content-Length: x"]) + body
        case "two lengths":
            return _head(request, prefix, [*common, "Content-Length: 1", "Content-Length: 2"]) + body
        case "chunked":
            return _head(request, prefix, [*common, chunked]) + whole
        case "chunk size":
            return _head(request, prefix, [*common, chunked]) + b"zz\r\n" + whole
        case "chunk end":
            return _head(request, prefix, [*common, chunked]) + b"1\r\nab\r\n0\r\n\r\n"
        case "chunk cut":
            return _head(request, prefix, [*common, chunked]) + b"ffff\r\n{"
        case "both":
            return _head(request, prefix, [*common, chunked, *length]) + whole
        case "encoding":
            return _head(request, prefix, [*common, "Transfer-Encoding: gzip", *length]) + body
        case "HTTP/1.0" | "HTTP/2.0":
            return plain.replace(b"HTTP/1.1", what.encode(), 1)
        case "no version":
            return plain.replace(b" HTTP/1.1", b"", 1)
        case "bad header":
            return _head(request, prefix, [*common, "a b: c", *length]) + body
        case "long header":
            return _head(request, prefix, [*common, f"X: {'a' * 70000}", *length]) + body
        case "bare newlines":
            return _head(request, prefix, [*common, *length]).replace(b"\r\n", b"\n") + body
        case "expect":
            return _head(request, prefix, [*common, "Expect: 100-continue", *length]) + body
        case "leading space":
            return b" " + plain
        case _:
            return plain.replace(b" /", b" http://x/", 1)
