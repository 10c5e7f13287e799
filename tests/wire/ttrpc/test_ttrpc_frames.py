import pytest

from sixhops.wire.ttrpc.frames import (
    HEADER_LENGTH,
    MAXIMUM_LENGTH,
    Frame,
    FrameDecoder,
    FrameError,
    FrameType,
    encode_frame,
)

# an answer of a real shim: stream 1, payload 12 03 08 b9 79
OBSERVED = bytes.fromhex("00000005000000010200120308b979")
FRAMES = [
    (Frame(FrameType.RESPONSE, 1, bytes.fromhex("120308b979")), OBSERVED),
    (Frame(FrameType.RESPONSE, 15), bytes.fromhex("000000000000000f0200")),
    (Frame(FrameType.REQUEST, 3, b"ab"), bytes.fromhex("00000002000000030100") + b"ab"),
    (Frame(FrameType.DATA, 5, b"", 4), bytes.fromhex("00000000000000050304")),
]


@pytest.mark.parametrize(("frame", "data"), FRAMES)
def test_frame_written_and_read_whole(frame: Frame, data: bytes) -> None:
    assert encode_frame(frame) == data
    assert FrameDecoder().feed(data) == [frame]


@pytest.mark.parametrize(("frame", "data"), FRAMES)
def test_frame_read_byte_by_byte(frame: Frame, data: bytes) -> None:
    decoder = FrameDecoder()

    for byte in data[:-1]:
        assert decoder.feed(bytes([byte])) == []

    assert decoder.feed(data[-1:]) == [frame]
    decoder.end()


@pytest.mark.parametrize(("frame", "data"), FRAMES)
def test_frame_read_with_the_next_behind_it(frame: Frame, data: bytes) -> None:
    decoder = FrameDecoder()

    assert decoder.feed(data + OBSERVED[:7]) == [frame]

    assert decoder.feed(OBSERVED[7:]) == [FRAMES[0][0]]


def test_stream_that_ends_inside_a_frame() -> None:
    decoder = FrameDecoder()
    decoder.feed(OBSERVED[:12])

    with pytest.raises(FrameError, match="inside a frame"):
        decoder.end()


def test_frame_of_unknown_type() -> None:
    with pytest.raises(FrameError, match="unknown type 9 on stream 1"):
        FrameDecoder().feed(bytes.fromhex("00000000000000010900"))


def test_payload_over_the_limit_is_skipped_and_the_next_frame_read() -> None:
    decoder = FrameDecoder()
    length = MAXIMUM_LENGTH + 1
    header = length.to_bytes(4, "big") + bytes.fromhex("000000070100")

    frames = decoder.feed(header + b"x" * 100)

    assert frames == [Frame(FrameType.REQUEST, 7, b"", 0, oversized=length)]
    assert decoder.feed(b"x" * (length - 100) + OBSERVED) == [FRAMES[0][0]]


def test_payload_over_the_limit_is_not_written() -> None:
    with pytest.raises(ValueError, match="message length 4194305 exceed maximum message size of 4194304"):
        encode_frame(Frame(FrameType.REQUEST, 1, bytes(MAXIMUM_LENGTH + 1)))


def test_header_is_ten_bytes() -> None:
    assert HEADER_LENGTH == 10
