"""What can stand in a layer, or in the `tar:` body of a step: the grammar of one entry, and its value.

An entry is a mapping whose first word says the kind and the path:

    {file: /etc/motd, text: "hello", mode: "0644", uid: 0, gid: 0, mtime: 0, xattrs: {user.x: y}}
    {file: /bin/hello, program: hello}                 a static C program of ours
    {file: /bin/busybox, busybox: true, applets: [sh, ls]}   with a symlink in the same directory for each
    applet
    {file: /big, random: {size: 3MiB, seed: 1}}        bytes that the seed decides
    {file: /rows, text: "row\n", copies: 1000}         the content, so many times over
    {dir: /etc}   {symlink: /a, to: b}   {hardlink: /a, to: /b}   {fifo: /f}
    {char: /dev/null, major: 1, minor: 3}   {block: /dev/loop0, major: 7, minor: 0}
    {whiteout: /gone}   {opaque: /dir}                 how a layer takes away what lower layers have

Modes are text of octal digits: "755" in quotes, or 0755, which the scenario language reads as text. A number
is an error, because a bare 755 would be decimal and nobody sees the difference.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sixhops.harness.documents import Node
    from sixhops.harness.errors import Mark

__all__ = ["DEFAULT_MTIME", "KINDS", "Content", "Entry", "read_entry"]

DEFAULT_MTIME: Final = 1577836800  # 2020-01-01T00:00:00Z: fixed, so that equal recipes give equal bytes
KINDS: Final = ("file", "dir", "symlink", "hardlink", "char", "block", "fifo", "whiteout", "opaque")

_COMMON = {"mode", "uid", "gid", "mtime", "xattrs"}
_CONTENT = ("text", "base64", "program", "busybox", "random")
_EXTRA: Final[dict[str, set[str]]] = {
    "file": {*_CONTENT, "applets", "copies"},
    "symlink": {"to"},
    "hardlink": {"to"},
    "char": {"major", "minor"},
    "block": {"major", "minor"},
}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|kB|MB|GB)?")
_UNITS = {
    None: 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds. `kind` text: `data`; program, busybox: `name`; random: `size` bytes decided by
    `seed`."""

    kind: Literal["text", "program", "busybox", "random"]
    data: bytes = b""
    name: str = ""
    size: int = 0
    seed: int = 0
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a layer. `path` has no leading slash, as layers have it.

    `inherits`: a hard link that says nothing of mode, owner and time has those of what it links to, because
    engines apply what stands in the link's header to the one file behind both names.
    """

    kind: str
    path: str
    mark: Mark
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = DEFAULT_MTIME
    content: Content | None = None
    target: str = ""
    major: int = 0
    minor: int = 0
    applets: tuple[str, ...] = ()
    xattrs: dict[str, str] = field(default_factory=dict)
    inherits: bool = False


def read_entry(node: Node) -> Entry:
    """Read one entry. Raises ScenarioError at the place that is wrong."""
    kinds = [kind for kind in KINDS if kind in node.mapping()]
    if len(kinds) > 1:
        node.fail(f"an entry is one of {' or '.join(kinds)}, not both")
    if not kinds:
        # A misspelt kind is better named by the check for unknown keys.
        node.mapping({*KINDS, *_COMMON, *set().union(*_EXTRA.values())})
        node.fail(f"an entry needs one of {', '.join(KINDS)}")
    kind = kinds[0]
    keys = node.mapping({kind, *_COMMON, *_EXTRA.get(kind, set())})
    for needed in sorted(_EXTRA.get(kind, set())) if kind != "file" else ():
        if needed not in keys:
            node.fail(f"{kind} needs {needed!r}")
    content = _content(keys) if kind == "file" else None
    if "applets" in keys and (content is None or content.kind != "busybox"):
        keys["applets"].fail("applets go with busybox: true")
    usual = 0o777 if kind == "symlink" else 0o644
    if kind == "dir" or (content is not None and content.kind in {"program", "busybox"}):
        usual = 0o755
    target = keys["to"].text() if "to" in keys else ""
    if kind == "hardlink":
        target = _path(keys["to"])
    return Entry(
        kind=kind,
        path=_path(keys[kind]),
        mark=node.mark,
        mode=_mode(keys["mode"]) if "mode" in keys else usual,
        uid=keys["uid"].number(0, 2**32 - 2) if "uid" in keys else 0,
        gid=keys["gid"].number(0, 2**32 - 2) if "gid" in keys else 0,
        mtime=keys["mtime"].number(0, 2**33 - 1) if "mtime" in keys else DEFAULT_MTIME,
        content=content,
        target=target,
        major=keys["major"].number(0, 4095) if "major" in keys else 0,
        minor=keys["minor"].number(0, 2**20 - 1) if "minor" in keys else 0,
        applets=tuple(sorted(set(keys["applets"].texts()))) if "applets" in keys else (),
        xattrs=keys["xattrs"].text_map() if "xattrs" in keys else {},
        inherits=kind == "hardlink" and not keys.keys() & _COMMON,
    )


def _content(keys: dict[str, Node]) -> Content:
    chosen = [name for name in _CONTENT if name in keys]
    if len(chosen) > 1:
        keys[chosen[1]].fail(f"a file has one content; {chosen[0]!r} is there already")
    copies = keys["copies"].number(0) if "copies" in keys else 1
    if not chosen:
        return Content("text", copies=copies)
    name, value = chosen[0], keys[chosen[0]]
    if name == "program":
        program = value.text()
        if re.fullmatch(r"[a-z][a-z0-9-]*", program) is None:
            value.fail(f"{program!r} is no program name")
        return Content("program", name=program, copies=copies)
    if name == "busybox":
        if not value.flag():
            value.fail("leave the key out instead of false")
        return Content("busybox", name="busybox", copies=copies)
    if name == "random":
        return _random(value, copies)
    if name == "base64":
        try:
            return Content("text", data=base64.b64decode(value.text(), validate=True), copies=copies)
        except binascii.Error as error:
            value.fail(f"not base64: {error}")
    return Content("text", data=value.text().encode(), copies=copies)


def _random(value: Node, copies: int) -> Content:
    keys = value.mapping({"size", "seed"})
    if "size" not in keys:
        value.fail("random needs 'size'")
    size = keys["size"]
    if size.is_a(int):
        count = size.number()
    else:
        found = _SIZE.fullmatch(size.text())
        if found is None:
            size.fail(f"{size.text()!r} is no size; write 4096, 64KiB, 3MiB")
        count = int(found[1]) * _UNITS[found[2]]
    return Content("random", size=count, seed=keys["seed"].number() if "seed" in keys else 0, copies=copies)


def _mode(node: Node) -> int:
    if node.is_a(int):
        node.fail('write the mode as octal digits in quotes, such as "0755"')
    text = node.text()
    if re.fullmatch(r"[0-7]{3,5}", text) is None or int(text, 8) > 0o7777:
        node.fail(f'{text!r} is no mode; write octal digits such as "0755"')
    return int(text, 8)


def _path(node: Node) -> str:
    text = node.text()
    path = PurePosixPath("/", text)
    if not text or "\0" in text:
        node.fail("a path can't be empty or hold NUL")
    if ".." in path.parts:
        node.fail(f"{text!r} climbs out of the image")
    return str(path).lstrip("/") or "."
