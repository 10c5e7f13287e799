"""HTTP/2 and gRPC read alongside: every conversation whole, byte by byte, and gathered with what follows."""

from __future__ import annotations

import contextlib
import gzip
import random
import struct
import zlib
from typing import TYPE_CHECKING

import hpack
import pytest

from sixhops.harness.tap.errors import ProtocolError
from sixhops.harness.tap.grpc import frames, lengthprefixed
from sixhops.harness.tap.grpc.frames import PREFACE, Frame, FrameReader, fragment, settings
from sixhops.harness.tap.grpc.lengthprefixed import MESSAGE_LIMIT, Budget, Long, MessageReader
from sixhops.harness.tap.grpc.session import (
    Answered,
    Begun,
    Ended,
    GoAway,
    HalfClosed,
    Message,
    Reset,
    Session,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.tap.grpc.session import Event

DATA, HEADERS, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
ENDS, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32
GRPC = [(b"content-type", b"application/grpc")]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def prefixed(data: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(data)) + data


def pieces(data: bytes, way: str) -> list[bytes]:
    """Cut `data` as it may arrive."""
    if way == "whole":
        return [data]
    if way == "bytes":
        return [data[at : at + 1] for at in range(len(data))]
    chance = random.Random(7)
    parts = []
    while data:
        size = chance.randrange(1, 40)
        parts.append(data[:size])
        data = data[size:]
    return parts


WAYS = pytest.mark.parametrize("way", ["whole", "bytes", "pieces"])


def joined(frames: list[Frame]) -> list[Frame]:
    """Put the parts of DATA frames together, since where they are cut depends on the input's pieces."""
    result: list[Frame] = []
    open_data = False
    for item in frames:
        if open_data and item.kind == DATA and result[-1].stream == item.stream:
            result[-1] = item._replace(payload=result[-1].payload + item.payload)
        else:
            result.append(item)
        open_data = item.kind == DATA and not item.flags & ENDS
    return result


class TestFrames:
    @WAYS
    def test_frames_come_out_as_they_went_in(self, way: str) -> None:
        raw = PREFACE + frame(SETTINGS, 0, 0, b"\0\5\0\1\0\0") + frame(HEADERS, END_HEADERS, 1, b"abc")
        raw += (
            frame(WINDOW, 0, 0, b"\0\0\0\1") + frame(DATA, ENDS, 1, b"x" * 50) + frame(200, 0, 7, b"unknown")
        )
        raw += frame(RST, 0, 3, b"\0\0\0\2") + frame(DATA, ENDS, 5)
        reader = FrameReader(PREFACE)
        found = joined([item for part in pieces(raw, way) for item in reader.feed(part)])

        assert found == [
            Frame(SETTINGS, 0, 0, b"\0\5\0\1\0\0"),
            Frame(HEADERS, END_HEADERS, 1, b"abc"),
            Frame(DATA, ENDS, 1, b"x" * 50),
            Frame(RST, 0, 3, b"\0\0\0\2"),
            Frame(DATA, ENDS, 5, b""),
        ]
        assert not reader.torn

    @WAYS
    def test_padding_is_left_out(self, way: str) -> None:
        reader = FrameReader(b"")
        raw = (
            frame(DATA, PADDED | ENDS, 1, b"\3abc\0\0\0")
            + frame(DATA, PADDED, 1, b"\0")
            + frame(PING, 0, 0, b"p" * 8)
        )
        found = [item for part in pieces(raw, way) for item in reader.feed(part)]

        assert b"".join(item.payload for item in found) == b"abc"
        assert [
            bool(item.flags & ENDS) for item in found if not item.payload or item.payload.endswith(b"c")
        ] == [
            True,
            False,
        ]

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (b"GET / HTTP/1.1\r\n", "not HTTP/2"),
            (b"PRI * HTTP/2.0\r\n\r\nXX", "not HTTP/2"),
            (PREFACE + frame(DATA, 0, 1, length=16385), "16385 bytes, where 16384"),
            (PREFACE + frame(200, 0, 0, length=0xFFFFFF), "16777215 bytes"),
            (PREFACE + frame(DATA, PADDED, 1), "without the length of its padding"),
            (PREFACE + frame(DATA, PADDED, 1, b"\5ab"), "5 bytes of padding in a frame of 2"),
        ],
    )
    def test_what_is_no_frame(self, raw: bytes, text: str) -> None:
        with pytest.raises(ProtocolError, match=text):
            list(FrameReader(PREFACE).feed(raw))

    def test_a_long_header_frame_is_refused_even_where_long_frames_are_allowed(self) -> None:
        reader = FrameReader(b"")
        reader.limit = 1 << 24
        with pytest.raises(ProtocolError, match="frame of type 1 with 1000000 bytes"):
            list(reader.feed(frame(HEADERS, 0, 1, length=1_000_000)))

    @pytest.mark.parametrize(
        "raw",
        [
            PREFACE[:4],
            PREFACE + b"\0",
            PREFACE + frame(DATA, 0, 1, b"a", 5),
            PREFACE + frame(PING, 0, 0, length=8),
        ],
    )
    def test_torn(self, raw: bytes) -> None:
        reader = FrameReader(PREFACE)
        list(reader.feed(raw))
        assert reader.torn

    def test_fragment_leaves_out_padding_and_priority(self) -> None:
        assert fragment(Frame(HEADERS, 0, 1, b"abc")) == b"abc"
        assert fragment(Frame(HEADERS, PADDED | PRIORITY, 1, b"\2" + b"p" * 5 + b"abc" + b"\0\0")) == b"abc"
        for flags, payload in ((PADDED, b""), (PADDED, b"\7abc"), (PRIORITY, b"abc")):
            with pytest.raises(ProtocolError):
                fragment(Frame(HEADERS, flags, 1, payload))

    def test_settings(self) -> None:
        assert settings(Frame(SETTINGS, 0, 0, b"\0\5\0\1\0\0\0\1\0\0\0\7")) == [(5, 65536), (1, 7)]
        assert settings(Frame(SETTINGS, frames.ACK, 0, b"")) == []
        with pytest.raises(ProtocolError, match="5 bytes"):
            settings(Frame(SETTINGS, 0, 0, b"12345"))


def reader(*headers: tuple[bytes, bytes], budget: Budget | None = None) -> MessageReader:
    return MessageReader([*GRPC, *headers], budget or Budget())


class TestMessages:
    @WAYS
    def test_messages_come_out_whole(self, way: str) -> None:
        wanted = [b"", b"a", b"x" * 300, b""]
        subject = reader()
        raw = b"".join(prefixed(data) for data in wanted)

        assert [item for part in pieces(raw, way) for item in subject.feed(part)] == wanted
        assert subject.end() is None

    @WAYS
    @pytest.mark.parametrize(("name", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
    def test_compressed_ones_are_decompressed(
        self, way: str, name: bytes, pack: Callable[[bytes], bytes]
    ) -> None:
        subject = reader((b"grpc-encoding", name))
        raw = prefixed(pack(b"z" * 1000), 1) + prefixed(b"plain")

        assert [item for part in pieces(raw, way) for item in subject.feed(part)] == [b"z" * 1000, b"plain"]

    @pytest.mark.parametrize("encoding", [b"gzip", b"snappy", b""])
    def test_what_cannot_be_decompressed_is_reported_as_it_is(self, encoding: bytes) -> None:
        assert list(reader((b"grpc-encoding", encoding)).feed(prefixed(b"junk", 1))) == [b"junk"]

    def test_a_bomb_is_not_unpacked(self) -> None:
        bomb = gzip.compress(bytes(MESSAGE_LIMIT + 1))
        (found,) = reader((b"grpc-encoding", b"gzip")).feed(prefixed(bomb, 1))
        assert isinstance(found, Long)
        assert found.length == len(bomb)

    def test_a_long_one_is_hashed_and_not_kept(self) -> None:
        subject = reader()
        size = MESSAGE_LIMIT + 1
        found = list(subject.feed(struct.pack(">BI", 0, size)))
        for _ in range(size // 65536):
            found += subject.feed(bytes(65536))
        found += subject.feed(bytes(size % 65536))
        (long,) = found
        assert isinstance(long, Long)
        assert (long.length, long.head) == (size, bytes(64))
        assert list(subject.feed(prefixed(b"next"))) == [b"next"]

    def test_the_budget_is_shared_and_given_back(self) -> None:
        budget = Budget(10)
        first, second = reader(budget=budget), reader(budget=budget)
        assert list(first.feed(prefixed(b"12345678")[:-1])) == []
        (long,) = second.feed(prefixed(b"1234"))
        assert isinstance(long, Long)
        assert list(first.feed(b"8")) == [b"12345678"]
        assert list(second.feed(prefixed(b"1234"))) == [b"1234"]
        list(first.feed(prefixed(b"12345678")[:-1]))
        first.drop()
        assert list(second.feed(prefixed(b"1234567890"))) == [b"1234567890"]

    @pytest.mark.parametrize("raw", [b"\0\0\0", prefixed(b"abc")[:-1]])
    def test_an_end_inside_a_message(self, raw: bytes) -> None:
        subject = reader()
        list(subject.feed(raw))
        with pytest.raises(ProtocolError, match="ended inside"):
            subject.end()

    def test_a_prefix_that_is_none(self) -> None:
        with pytest.raises(ProtocolError, match="not the prefix"):
            list(reader().feed(b"\2\0\0\0\0"))

    def test_another_body_is_one_message(self) -> None:
        subject = MessageReader([(b"content-type", b"text/html")], Budget())
        assert list(subject.feed(b"<h1>")) == []
        assert list(subject.feed(b"no")) == []
        assert subject.end() == b"<h1>no"
        long = MessageReader([], Budget())
        for _ in range(3):
            list(long.feed(bytes(40_000)))
        found = long.end()
        assert isinstance(found, Long)
        assert found.length == 120_000
        assert lengthprefixed.MessageReader([], Budget()).end() is None


class Peer:
    """Writes one direction, with header compression of its own."""

    def __init__(self, start: bytes = b"") -> None:
        self.encoder = hpack.Encoder()
        self.raw = start + frame(SETTINGS, 0, 0)

    def headers(self, stream: int, *headers: tuple[str, str], ends: bool = False, cut: int = 0) -> Peer:
        block = self.encoder.encode(list(headers))
        flags = ENDS if ends else 0
        if cut:
            self.raw += frame(HEADERS, flags, stream, block[:cut])
            self.raw += frame(CONTINUATION, 0, stream, block[cut : cut + 1])
            self.raw += frame(CONTINUATION, END_HEADERS, stream, block[cut + 1 :])
        else:
            self.raw += frame(HEADERS, flags | END_HEADERS, stream, block)
        return self

    def data(self, stream: int, data: bytes, *, ends: bool = False) -> Peer:
        self.raw += frame(DATA, ENDS if ends else 0, stream, data)
        return self

    def other(self, raw: bytes) -> Peer:
        self.raw += raw
        return self

    def take(self) -> bytes:
        raw, self.raw = self.raw, b""
        return raw


ASK = ((":path", "/a.B/C"), ("content-type", "application/grpc"))
ANSWER = ((":status", "200"), ("content-type", "application/grpc"))


class Talk:
    """A session that is fed in one of the ways."""

    def __init__(self, way: str = "whole") -> None:
        self.session = Session()
        self.client = Peer(PREFACE)
        self.server = Peer()
        self.way = way

    def asked(self) -> list[Event]:
        return [
            item for part in pieces(self.client.take(), self.way) for item in self.session.from_client(part)
        ]

    def answered(self) -> list[Event]:
        return [
            item for part in pieces(self.server.take(), self.way) for item in self.session.from_server(part)
        ]


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


class TestSession:
    @WAYS
    def test_a_call(self, way: str) -> None:
        talk = Talk(way)
        talk.client.headers(1, *ASK, cut=3).data(1, prefixed(b"ques")[:3]).data(
            1, prefixed(b"ques")[3:], ends=True
        )
        begun, message, closed = talk.asked()
        assert isinstance(begun, Begun)
        assert begun.headers[0] == (b":path", b"/a.B/C")
        assert message == Message(1, True, b"ques")
        assert closed == HalfClosed(1)

        talk.server.headers(1, (":status", "103")).headers(1, *ANSWER).data(1, prefixed(b"answer"))
        talk.server.headers(1, ("grpc-status", "0"), ends=True)
        answered, reply, ended = talk.answered()
        assert answered == Answered(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        assert reply == Message(1, False, b"answer")
        assert ended == Ended(1, [(b"grpc-status", b"0")], alone=False)
        assert not talk.session.torn

    @WAYS
    def test_calls_that_overlap_share_the_compression(self, way: str) -> None:
        talk = Talk(way)
        for stream in (1, 3, 5):
            talk.client.headers(stream, *ASK, ("x-name", "value"))
        for stream in (5, 1, 3):
            talk.client.data(stream, prefixed(b"%d" % stream), ends=True)
        events = talk.asked()
        assert [event.stream for event in events if isinstance(event, Begun)] == [1, 3, 5]
        assert [event.data for event in events if isinstance(event, Message)] == [b"5", b"1", b"3"]

        talk.server.headers(3, *ANSWER, ("grpc-status", "5"), ends=True)
        assert talk.answered() == [Ended(3, [*_bytes(ANSWER), (b"grpc-status", b"5")], alone=True)]

    def test_resets_from_both_sides(self) -> None:
        talk = Talk()
        talk.client.headers(1, *ASK).headers(3, *ASK).other(frame(RST, 0, 1, b"\0\0\0\x08"))
        assert talk.asked()[-1] == Reset(1, True, 8)
        talk.server.other(frame(RST, 0, 3, b"\0\0\0\x07")).headers(1, *ANSWER).data(1, b"late", ends=True)
        assert talk.answered() == [Reset(3, False, 7)]

    def test_the_server_goes_away(self) -> None:
        talk = Talk()
        talk.client.headers(1, *ASK).headers(3, *ASK)
        talk.asked()
        talk.server.other(frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0bye")).headers(1, *ANSWER, ends=True)
        assert talk.answered() == [GoAway(False, 1, 0, b"bye"), Ended(1, _bytes(ANSWER), alone=True)]
        talk.client.data(3, b"still sent", ends=True)
        assert talk.asked() == []

    def test_a_server_that_ends_with_data(self) -> None:
        talk = Talk()
        talk.client.headers(1, *ASK, ends=True)
        assert kinds(talk.asked()) == ["Begun", "HalfClosed"]
        talk.server.headers(1, (":status", "502"), ("content-type", "text/html")).data(1, b"oops", ends=True)
        assert talk.answered()[1:] == [Message(1, False, b"oops"), Ended(1, [], alone=False)]

    def test_longer_frames_when_the_other_side_has_said_so(self) -> None:
        talk = Talk()
        talk.client.headers(1, *ASK).data(1, prefixed(bytes(20_000)))
        with pytest.raises(ProtocolError, match="20005 bytes"):
            talk.asked()
        talk = Talk()
        talk.server.other(frame(SETTINGS, 0, 0, b"\0\5\0\1\0\0"))
        talk.answered()
        talk.client.headers(1, *ASK).data(1, prefixed(bytes(20_000)))
        assert talk.asked()[1] == Message(1, True, bytes(20_000))

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (frame(DATA, 0, 1, b"x"), "which nobody opened"),
            (frame(DATA, 0, 0, b"x"), "without a stream"),
            (frame(HEADERS, END_HEADERS, 2, b"\x82"), "odd numbers"),
            (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"), "can't be decompressed"),
            (frame(HEADERS, 0, 1, b"\x82") + frame(DATA, 0, 1, b""), "inside a header block"),
            (frame(CONTINUATION, 0, 1, b"\x82"), "without a header block"),
            (frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1) * 300, "257 frames|256 frames"),
            (frame(RST, 0, 1, b"x"), "RST_STREAM with 1 bytes"),
            (frame(GOAWAY, 0, 0, b"x"), "GOAWAY with 1 bytes"),
            (frame(SETTINGS, 0, 0, b"x"), "SETTINGS with 1 bytes"),
            (frame(PUSH, 0, 1, b"x"), "PUSH_PROMISE"),
        ],
    )
    def test_what_makes_no_sense(self, raw: bytes, text: str) -> None:
        talk = Talk()
        talk.client.other(raw)
        with pytest.raises(ProtocolError, match=text):
            talk.asked()

    def test_an_answer_before_its_headers(self) -> None:
        talk = Talk()
        talk.client.headers(1, *ASK)
        talk.asked()
        talk.server.data(1, b"x")
        with pytest.raises(ProtocolError, match="data before headers"):
            talk.answered()

    @WAYS
    def test_a_torn_block(self, way: str) -> None:
        talk = Talk(way)
        talk.client.other(frame(HEADERS, 0, 1, b"\x82"))
        assert talk.asked() == []
        assert talk.session.torn

    @pytest.mark.parametrize("seed", range(200))
    def test_no_bytes_do_anything_but_be_refused(self, seed: int) -> None:
        chance = random.Random(seed)
        talk = Talk("pieces")
        talk.client.headers(1, *ASK).data(1, prefixed(b"x"))
        raw = bytearray(talk.client.take() + chance.randbytes(200))
        for _ in range(chance.randrange(6)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        # Any other exception fails the test.
        with contextlib.suppress(ProtocolError):
            for part in pieces(bytes(raw), "pieces"):
                list(talk.session.from_client(part))
                list(talk.session.from_server(chance.randbytes(5)))


def _bytes(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]
