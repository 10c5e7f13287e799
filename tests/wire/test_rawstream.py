"""The decoder gets every stream whole, byte by byte, and with bytes left over."""

from __future__ import annotations

import pytest

from sixhops.wire.rawstream import Decoder, Frame, RawStreamError, Stream, encode

HELLO = bytes.fromhex("01 00 00 00 00 00 00 04") + b"out\n"
CASES = {
    "one frame of stdout": (HELLO, [Frame(Stream.STDOUT, b"out\n")]),
    "stdout, then stderr": (
        HELLO + bytes.fromhex("02 00 00 00 00 00 00 04") + b"err\n",
        [Frame(Stream.STDOUT, b"out\n"), Frame(Stream.STDERR, b"err\n")],
    ),
    "an empty frame": (bytes.fromhex("01 00 00 00 00 00 00 00"), [Frame(Stream.STDOUT, b"")]),
    "the engine's own error": (
        bytes.fromhex("03 00 00 00 00 00 00 02") + b"no",
        [Frame(Stream.SYSTEMERR, b"no")],
    ),
    "a length of several bytes": (
        bytes.fromhex("00 00 00 00 00 01 02 03") + bytes(0x10203),
        [Frame(Stream.STDIN, bytes(0x10203))],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_frames_come_out_of_the_whole_stream(name: str) -> None:
    data, frames = CASES[name]
    decoder = Decoder()

    assert decoder.feed(data) == frames
    decoder.finish()


@pytest.mark.parametrize("name", [name for name in CASES if "several" not in name])
def test_frames_come_out_byte_by_byte_and_not_too_early(name: str) -> None:
    data, frames = CASES[name]
    decoder, seen = Decoder(), []

    for position in range(len(data)):
        before = len(seen)
        seen += decoder.feed(data[position : position + 1])
        assert len(seen) == before or not decoder.pending
    assert seen == frames


@pytest.mark.parametrize("name", CASES)
def test_bytes_of_the_next_frame_are_kept(name: str) -> None:
    data, frames = CASES[name]
    decoder = Decoder()

    assert decoder.feed(data + HELLO[:5]) == frames
    assert decoder.pending == HELLO[:5]
    assert decoder.feed(HELLO[5:]) == [Frame(Stream.STDOUT, b"out\n")]


@pytest.mark.parametrize("name", CASES)
def test_encode_writes_what_the_decoder_reads(name: str) -> None:
    data, frames = CASES[name]

    assert b"".join(encode(frame.stream, frame.data) for frame in frames) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HELLO + HELLO[:3], r"ended 3 bytes into a frame header of 8 \(at byte 12"),
        (HELLO[:10], r"ended 2 bytes into a frame of 4 \(at byte 0"),
    ],
)
def test_a_torn_frame_is_an_error_at_the_end(data: bytes, message: str) -> None:
    decoder = Decoder()
    decoder.feed(data)

    with pytest.raises(RawStreamError, match=message):
        decoder.finish()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hi\r\n from a terminal", "there is no stream 104"),
        (bytes.fromhex("01 00 00 01 00 00 00 01"), "padding is 00 00 01"),
        (bytes.fromhex("01 00 00 00 7f ff ff ff"), "2147483647 bytes is above the limit of 16777216"),
        (HELLO + b"\x04\0\0\0\0\0\0\0", r"there is no stream 4 \(at byte 12 of the stream\)"),
    ],
)
def test_what_is_no_frame_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(RawStreamError, match=message):
        Decoder().feed(data)


def test_frames_before_a_bad_one_are_not_lost() -> None:
    with pytest.raises(RawStreamError) as caught:
        Decoder().feed(HELLO + b"$ ls and more")

    assert caught.value.frames == [Frame(Stream.STDOUT, b"out\n")]
    assert caught.value.offset == len(HELLO)


def test_the_limit_itself_is_allowed_and_one_more_is_not() -> None:
    assert Decoder(limit=4).feed(HELLO) == [Frame(Stream.STDOUT, b"out\n")]
    with pytest.raises(RawStreamError, match="above the limit of 3"):
        Decoder(limit=3).feed(HELLO)


def test_labels_are_those_of_transcripts() -> None:
    assert [stream.label for stream in Stream] == ["stdin", "stdout", "stderr", "systemerr"]
