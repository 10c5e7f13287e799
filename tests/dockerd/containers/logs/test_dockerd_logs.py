"""The json-file log: how output is cut into records, what is on disk, and every way of reading it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.containers.logs.files import LogFiles
from sixhops.dockerd.containers.logs.formats import Format, JsonFormat, LocalFormat
from sixhops.dockerd.containers.logs.reading import LogReader, selection_of
from sixhops.dockerd.containers.logs.records import PARTIAL_SIZE, LineSplitter, Partial, Record, Selection
from sixhops.dockerd.containers.streams.connection import LogOptions
from sixhops.dockerd.containers.times import fixed, parse_query, parse_rfc3339, rfc3339
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

BOTH = frozenset({"stdout", "stderr"})
SECOND = 10**9


def lines(*texts: str, stream: str = "stdout", start: int = 1) -> list[Record]:
    return [Record(stream, text.encode(), (start + number) * SECOND) for number, text in enumerate(texts)]


def files(path: Path, limit: int | None = None, count: int = 1, **settings: Any) -> LogFiles:
    found = LogFiles(path, settings.pop("form", JsonFormat()), limit, count, compress=False, **settings)
    found.open()
    return found


@pytest.fixture
def log(tmp_path: Path) -> LogFiles:
    return files(tmp_path / "x-json.log")


def texts(log: LogFiles, selection: Selection) -> list[str]:
    return [record.data.decode() for record in log.read(selection)]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_the_same_however_the_bytes_were_cut(size: int) -> None:
    data, splitter, found = b"one\ntwo\n\nthree", LineSplitter("stdout"), []
    for at in range(0, len(data), size):
        found += splitter.feed(data[at : at + size], 5)
    found += splitter.finish(6)

    assert [record.data for record in found] == [b"one\n", b"two\n", b"\n", b"three"]


def test_long_line_is_cut_and_its_parts_have_the_time_of_the_first() -> None:
    splitter = LineSplitter("stdout")
    found = splitter.feed(b"x" * (PARTIAL_SIZE + 1), 5) + splitter.feed(b"y\nz\n", 9)

    assert [(len(record.data), record.time) for record in found] == [(PARTIAL_SIZE, 5), (3, 5), (2, 9)]


def test_line_of_exactly_the_limit() -> None:
    found = LineSplitter("stdout").feed(b"x" * PARTIAL_SIZE + b"\n", 5)

    assert [len(record.data) for record in found] == [PARTIAL_SIZE, 1]


def test_file_is_dockers(log: LogFiles) -> None:
    log.write([Record("stderr", "<é>\n".encode(), parse_rfc3339("2026-11-23T16:48:31.22258791Z"))])

    stored = log.path.read_text()
    assert stored == '{"log":"\\u003cé\\u003e\\n","stream":"stderr","time":"2026-11-23T16:48:31.22258791Z"}\n'


def test_tail_counts_both_streams(log: LogFiles) -> None:
    log.write(lines("1\n", "2\n", "3\n") + lines("e\n", stream="stderr", start=9))

    assert texts(log, Selection(frozenset({"stdout"}), tail=2)) == ["3\n"]
    assert texts(log, Selection(BOTH, tail=2)) == ["3\n", "e\n"]
    assert texts(log, Selection(BOTH, tail=0)) == []
    assert texts(log, Selection(BOTH, tail=99)) == ["1\n", "2\n", "3\n", "e\n"]


def test_tail_over_many_blocks(log: LogFiles) -> None:
    log.write(lines(*(f"{number} {'x' * 100}\n" for number in range(1500))))

    found = texts(log, Selection(BOTH, tail=1200))
    assert (len(found), found[0].split()[0], found[-1].split()[0]) == (1200, "300", "1499")


def test_time_span(log: LogFiles) -> None:
    log.write(lines("1\n", "2\n", "3\n"))

    assert texts(log, Selection(BOTH, since=2 * SECOND)) == ["2\n", "3\n"]
    assert texts(log, Selection(BOTH, until=2 * SECOND)) == ["1\n", "2\n"]


def test_torn_last_line_is_left_out(log: LogFiles) -> None:
    log.write(lines("1\n"))
    with log.path.open("ab") as file:
        file.write(b'{"log":"half')

    assert texts(log, Selection(BOTH)) == ["1\n"]


def test_rotation_keeps_the_number_of_files(tmp_path: Path) -> None:
    log = files(tmp_path / "log", 100, 2)
    for number in range(10):
        log.write(lines(f"{number}{'x' * 60}\n"))
    log.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert [text[0] for text in texts(log, Selection(BOTH))] == ["8", "9"]
    assert [text[0] for text in texts(log, Selection(BOTH, tail=2))] == ["8", "9"]


def test_follow_tells_old_and_new_through_rotation_and_ends_with_the_writer(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        log = files(tmp_path / "log", 100, 5)
        log.write(lines("old\n"))
        found: list[str] = []

        async def follow() -> None:
            async for record in log.follow(Selection(BOTH)):
                found.append(record.data.decode()[:3])  # noqa: PERF401 - in turn with the writer

        task = asyncio.create_task(follow())
        for number in range(4):
            await asyncio.sleep(0)
            log.write(lines(f"n{number}{'x' * 90}\n"))
        log.close()
        await asyncio.wait_for(task, 20)
        return found

    assert asyncio.run(scenario()) == ["old", "n0x", "n1x", "n2x", "n3x"]


def test_reader_frames_and_stamps(log: LogFiles) -> None:
    log.write(lines("a\n"))
    options = LogOptions(stdout=True, timestamps=True)

    reading: Any = log

    async def read(*, tty: bool) -> bytes:
        return b"".join([piece async for piece in LogReader(reading, options, tty=tty)])

    bare = b"1970-01-01T00:00:01.000000000Z a\n"
    assert asyncio.run(read(tty=True)) == bare
    assert asyncio.run(read(tty=False)) == b"\x01\0\0\0\0\0\0" + bytes([len(bare)]) + bare


def test_no_stream_chosen() -> None:
    with pytest.raises(EngineError, match="Bad parameters: you must choose at least one stream"):
        selection_of(LogOptions())


def test_driver_none_can_not_be_read() -> None:
    with pytest.raises(EngineError, match="configured logging driver does not support reading"):
        LogReader(None, LogOptions(stdout=True), tty=False)


def test_times() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert fixed(1_500_000_000) == "1970-01-01T00:00:01.500000000Z"
    assert parse_query("1.5") == 1_500_000_000
    assert parse_query("0") is None
    with pytest.raises(EngineError, match='parsing "yesterday": invalid syntax'):
        parse_query("yesterday")
    with pytest.raises(EngineError, match='parsing "99999999999999999999": value out of range'):
        parse_query("99999999999999999999.5")


def test_every_stored_line_is_json(log: LogFiles) -> None:
    log.write([Record("stdout", bytes(range(256)), 1)])

    assert [json.loads(line)["stream"] for line in log.path.read_text().splitlines()] == ["stdout"]


FORMATS = pytest.mark.parametrize("form", [JsonFormat(), LocalFormat()], ids=["json-file", "local"])


@FORMATS
def test_formats_are_read_from_either_end_and_up_to_what_is_torn(tmp_path: Path, form: Format) -> None:
    log = files(tmp_path / "log", form=form)
    log.write(
        [
            *lines("one\n", "two\n"),
            Record("stderr", b"\xc3\xa9", 9 * SECOND, Partial("i" * 64, 1, last=False)),
        ]
    )
    with log.path.open("ab") as file:
        file.write(form.encode(Record("stdout", b"torn\n", 1))[:-6])

    with log.path.open("rb") as file:
        assert [record.data for record in form.records(file)] == [b"one\n", b"two\n", b"\xc3\xa9"]
        position = file.tell()
        assert list(form.records(file)) == []
        assert file.tell() == position


@FORMATS
def test_rotated_files_are_compressed_and_read_as_before(tmp_path: Path, form: Format) -> None:
    log = LogFiles(tmp_path / "log", form, 100, 4, compress=True)
    log.open()
    for number in range(6):
        log.write([Record("stdout", f"{number}{'x' * 120}\n".encode(), number * SECOND)])
    log.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
    assert [text[0] for text in texts(log, Selection(BOTH))] == ["2", "3", "4", "5"]
    assert [text[0] for text in texts(log, Selection(BOTH, tail=3))] == ["3", "4", "5"]
    assert b'{"lastTime": "1970-01-01T00:00:04Z"}' in (tmp_path / "log.1.gz").read_bytes()


# written by dockerd 20.10.24 with --log-driver local: a line, and the end of a line of more than 16 KiB
LOCAL_SAMPLE = bytes.fromhex(
    "000000170a067374646f757410a195c8fbaeeedff5181a036f6e6500000017"
    "0000005f0a067374646f757410cfcac9fbaeeedff5181a017820012a46080112403938356435333131356666363663303566393437336165"
    "363564623262313761363064333237373934653262353736313339323263636538366263613630393118020000005f"
)


def test_local_format_is_dockers(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(LOCAL_SAMPLE)
    with (tmp_path / "log").open("rb") as file:
        found = list(LocalFormat().records(file))

    assert [(record.stream, record.data) for record in found] == [("stdout", b"one\n"), ("stdout", b"x")]
    assert found[1].partial is not None
    assert (found[1].partial.ordinal, found[1].partial.last) == (2, True)
    assert b"".join(map(LocalFormat().encode, found)) == LOCAL_SAMPLE


def test_record_with_attributes() -> None:
    record = Record("stdout", b"a\n", SECOND, attributes={"b": "<", "a": "1"})

    assert JsonFormat().encode(record) == (
        b'{"log":"a\\n","stream":"stdout","attrs":{"a":"1","b":"\\u003c"},"time":"1970-01-01T00:00:01Z"}\n'
    )
