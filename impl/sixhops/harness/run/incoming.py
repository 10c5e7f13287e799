"""What came back, as facets: status and headers, JSON, streams of JSON values, multiplexed output.

`Incoming` takes the head and then bytes, on the thread that reads, and gives facets at any time, so a step
that still runs can be looked at. Nothing here knows sockets.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sixhops.harness.tap.values import as_text
from sixhops.wire.rawstream import Decoder, Frame, RawStreamError, Stream

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.http.message import Head

__all__ = ["Incoming", "JsonValues", "multiplexed"]

_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_RAW = "application/vnd.docker.raw-stream"
_OUTPUT_PATHS = re.compile(r"(/v\d+(\.\d+)?)?/(containers/[^/]+/(attach|logs)|exec/[^/]+/start)")
_BLANK = " \t\r\n"


def multiplexed(path: str, tty: bool, head: Head) -> bool:
    """Say whether the answer's body consists of frames.

    Engines since API 1.42 name multiplexed streams by their media type. Before, attach and exec start say
    raw-stream for both kinds, and logs of dockerd 20.10 say nothing at all; there the step must know
    whether the container has a TTY. Answers of 400 and above are error texts.
    """
    if head.status >= 400:
        return False
    kind = head.joined().get("content-type", "").partition(";")[0].strip().lower()
    if kind == _MULTIPLEXED:
        return True
    if tty or not _OUTPUT_PATHS.fullmatch(path):
        return False
    return kind in {_RAW, "", "application/octet-stream"} or head.status == 101


class JsonValues:
    """Cuts a stream of JSON values (separated by blanks or nothing) into values as they come."""

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._text = bytearray()
        self.values: list[Any] = []
        self.broken = False

    def feed(self, data: bytes) -> None:
        """Take bytes; `values` grows. After something that is no JSON `broken` is true and the rest is
        ignored.
        """
        if self.broken:
            return
        self._text += data
        # A value is complete at the latest with the line that ends it; looking earlier would decode every
        # byte again and again.
        if b"\n" in data:
            end = self._text.rfind(b"\n") + 1
            self._take(bytes(self._text[:end]), end)

    def finish(self) -> None:
        """Say that no more comes: what is left must be whole values."""
        if not self.broken and self._text.strip():
            self._take(bytes(self._text), len(self._text))
            self.broken = bool(self._text.strip())

    def _take(self, raw: bytes, end: int) -> None:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self.broken = True
            return
        position = 0
        while True:
            while position < len(text) and text[position] in _BLANK:
                position += 1
            if position == len(text):
                break
            try:
                value, position = self._decoder.raw_decode(text, position)
            except (ValueError, RecursionError):
                # Perhaps a value of several lines that goes on; `finish` decides.
                break
            self.values.append(value)
        self._text[:end] = text[position:].encode()


class Incoming:
    """An answer while it comes in. Not locked: the owner serialises reading and looking."""

    def __init__(self, path: str, *, tty: bool) -> None:
        self._path = path
        self._tty = tty
        self._head: Head | None = None
        self._body = bytearray()
        self._decoder: Decoder | None = None
        self._values: JsonValues | None = None
        self._frames: list[Frame] = []
        self._frame_error: str | None = None
        self.eof = False

    @property
    def head(self) -> Head | None:
        """Return the answer's head, None before it came."""
        return self._head

    def begin(self, head: Head) -> None:
        """Take the head; from here on bytes may come."""
        self._head = head
        if multiplexed(self._path, self._tty, head):
            self._decoder = Decoder()
        elif head.status != 101 and (self._plain_output() or not _is_raw(head)):
            self._values = JsonValues()

    def feed(self, data: bytes) -> None:
        """Take body bytes, without chunk framing."""
        if self._values is not None:
            if not self._body and not _may_be_json(data, self._head):
                self._values = None
            else:
                self._values.feed(data)
        self._body += data
        if self._decoder is not None:
            try:
                self._frames += self._decoder.feed(data)
            except RawStreamError as error:
                self._frames += error.frames
                self._frame_error, self._decoder = str(error), None

    def finish(self) -> None:
        """Say that the body or stream has ended."""
        self.eof = True
        if self._values is not None:
            self._values.finish()
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except RawStreamError as error:
                self._frame_error = str(error)

    def facets(self) -> dict[str, Facet]:
        """Return what is known so far, as `Exchange.facets` documents it."""
        head = self._head
        if head is None:
            return {}
        body = bytes(self._body)
        result: dict[str, Facet] = {
            "status": head.status,
            "reason": head.reason,
            "headers": {**head.joined()},
            "body": as_text(body),
            "eof": self.eof,
        }
        if self._decoder is not None or self._frames or self._frame_error:
            result |= self._output()
        elif head.status == 101 or _is_raw(head) or self._plain_output():
            result["output"] = as_text(body)
        if self._values is not None and self._values.values and not self._values.broken:
            result["stream"] = list(self._values.values)
            if self.eof and len(self._values.values) == 1:
                result["json"] = self._values.values[0]
        return result

    def _plain_output(self) -> bool:
        return self._tty and bool(_OUTPUT_PATHS.fullmatch(self._path))

    def _output(self) -> dict[str, Facet]:
        text = {stream: b"".join(f.data for f in self._frames if f.stream is stream) for stream in Stream}
        result: dict[str, Any] = {
            "frames": [{"stream": f.stream.label, "data": as_text(f.data)} for f in self._frames],
            "stdout": as_text(text[Stream.STDOUT]),
            "stderr": as_text(text[Stream.STDERR]),
            "output": as_text(b"".join(f.data for f in self._frames)),
        }
        if text[Stream.SYSTEMERR]:
            result["systemerr"] = as_text(text[Stream.SYSTEMERR])
        if self._frame_error is not None:
            result["frame_error"] = self._frame_error
        return result


def _is_raw(head: Head) -> bool:
    return head.joined().get("content-type", "").startswith(_RAW)


def _may_be_json(first: bytes, head: Head | None) -> bool:
    kind = head.joined().get("content-type", "") if head is not None else ""
    return "json" in kind or first.lstrip()[:1] in {b"{", b"["}
