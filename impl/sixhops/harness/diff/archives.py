"""Tar archives as data that is compared, and the same archives without what only a digest of is compared. Pure."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["archive_value", "is_archive", "without_contents"]

DIGEST: Final = "SIXHOPS.sha256"
"""The keyword of a pax header (POSIX.1-2017, pax, "VENDOR.keyword") with the SHA-256 of a content that was left out."""

_MAGIC: Final = slice(257, 262)
_TYPE: Final = slice(156, 157)
_DIGITS: Final = 32


def is_archive(data: bytes) -> bool:
    """Say whether bytes begin as a tar archive (ustar, GNU or pax) does."""
    return data[_MAGIC] == b"ustar"


def archive_value(data: bytes, otherwise: Any) -> Any:
    """Return an archive's entries by name, and their names in order; of names that come twice the last entry stays.

    Of an archive that breaks off, as by a fault of the scenario, the entries up to there, with `there` the bytes that the
    last one has of its content, and under `broken` what is behind if it is no end of an archive: bytes and digest.
    `otherwise` when there is no entry.
    """
    names: list[str] = []
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    broken = False
    try:
        for member in _members(data):
            entry: dict[str, Any] = {
                "type": member.type.decode("latin-1"),
                "mode": f"{member.mode:04o}",
                "owner": f"{member.uid}:{member.gid} {member.uname}:{member.gname}",
                "size": member.size,
                # As a float: the rules know a time in the run when they see one.
                "modified": float(member.mtime),
            }
            end = member.offset_data
            if member.linkname:
                entry["link"] = member.linkname
            if member.isfile():
                content = _content(member, data)
                end += len(content)
                entry["sha256"] = member.pax_headers.get(DIGEST, hashlib.sha256(content).hexdigest())[
                    :_DIGITS
                ]
                if len(content) < _stored(member):
                    entry["there"] = len(content)
            names.append(member.name)
            entries[member.name] = entry
    except (tarfile.TarError, EOFError, OSError, ValueError):
        broken = True
    if broken and not names:
        return otherwise
    value: dict[str, Any] = {"archive": entries, "order": names}
    rest = data[end:]
    # Python's reader takes what is no header for an archive's end.
    if broken or rest.strip(b"\0"):
        value["broken"] = {"length": len(rest), "sha256": hashlib.sha256(rest).hexdigest()[:_DIGITS]}
    return value


def without_contents(data: bytes, least: int) -> bytes | None:
    """Return an archive in which the contents of files of `least` bytes and more are zeros; None where that changes nothing.

    `archive_value` is the same of both: the digest of what was there is in the file's pax header.
    """
    made = io.BytesIO()
    end = 0
    changed = False
    try:
        for member in _members(data):
            made.write(data[end : member.offset])
            end = member.offset_data
            before = data[member.offset : end - tarfile.BLOCKSIZE]
            content = _content(member, data)
            # To a pax header in front of the entry the digest is added; where another kind is, nothing is changed.
            if (
                member.type != tarfile.REGTYPE
                or member.size < least
                or DIGEST in member.pax_headers
                or (before and before[_TYPE] != tarfile.XHDTYPE)
            ):
                made.write(data[member.offset : end])
                continue
            digest = hashlib.sha256(content).hexdigest()
            made.write(_pax_header({**member.pax_headers, DIGEST: digest}))
            made.write(data[end - tarfile.BLOCKSIZE : end])
            made.write(bytes(len(content)))
            end += len(content)
            changed = True
    except (tarfile.TarError, EOFError, OSError, ValueError):
        # It breaks off here, and what is behind stays as it is.
        pass
    made.write(data[end:])
    return made.getvalue() if changed else None


def _members(data: bytes) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        yield from archive


def _stored(member: tarfile.TarInfo) -> int:
    """Return how many bytes of a file's content an archive holds when it is whole: of a sparse file without its holes."""
    pieces: Any = member.sparse
    return member.size if pieces is None else sum(size for _, size in pieces)


def _content(member: tarfile.TarInfo, data: bytes) -> bytes:
    """Return a file's content as it is in the archive, as far as it is there."""
    return data[member.offset_data : member.offset_data + _stored(member)]


def _pax_header(values: dict[str, str]) -> bytes:
    """Return the extended header that gives the next entry these values."""
    info = tarfile.TarInfo()
    info.pax_headers = values
    blocks = info.create_pax_header(info.get_info(), "utf-8")
    # Behind it comes a header of the entry itself, which has one.
    return blocks[: -tarfile.BLOCKSIZE]
