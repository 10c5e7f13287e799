"""The log mode non-blocking: the program never waits, and what does not fit is lost by dockerd's rule."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.containers.logs.drivers import Log
from sixhops.dockerd.containers.logs.files import LogFiles
from sixhops.dockerd.containers.logs.formats import JsonFormat, LocalFormat
from sixhops.dockerd.containers.logs.records import Record, Selection
from sixhops.dockerd.containers.logs.ring import Ring

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = Selection(frozenset({"stdout"}))


def record(text: str, time: int = 0) -> Record:
    return Record("stdout", f"{text}\n".encode(), time)


class Disk:
    """Takes batches, each when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_free = asyncio.Event()

    async def append(self, records: list[Record]) -> None:
        await self.is_free.wait()
        self.batches.append([entry.data.decode().strip() for entry in records])


def test_a_slow_disk_holds_nobody_up_and_costs_what_does_not_fit() -> None:
    async def scene() -> list[list[str]]:
        disk = Disk()
        ring = Ring(6, disk.append)
        ring.put([record("aaaa")])
        await asyncio.sleep(0)
        ring.put([record("bb"), record("c"), record("d")])
        disk.is_free.set()
        await ring.settled()
        ring.put([record("e")])
        await ring.settled()
        return disk.batches

    # "aaaa" is under way and has its place still
    assert asyncio.run(scene()) == [["aaaa"], ["bb"], ["e"]]


def test_a_record_that_is_longer_than_all_the_room_goes_alone() -> None:
    async def scene() -> list[list[str]]:
        disk = Disk()
        disk.is_free.set()
        ring = Ring(1, disk.append)
        ring.put([record("long")])
        ring.put([record("lost")])
        await ring.settled()
        return disk.batches

    assert asyncio.run(scene()) == [["long"]]


def test_a_failure_costs_the_batch_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    written: list[Record] = []

    async def append(records: list[Record]) -> None:
        if records[0].data == b"bad\n":
            raise OSError(28, "No space left on device")
        written.extend(records)

    async def scene() -> None:
        ring = Ring(100, append)
        ring.put([record("bad")])
        await ring.settled()
        ring.put([record("good")])
        await ring.settled()

    asyncio.run(scene())

    assert written == [record("good")]
    assert "No space left on device" in caplog.text


def test_the_end_waits_for_what_waits() -> None:
    async def scene() -> tuple[list[str], list[str]]:
        disk = Disk()
        ring = Ring(100, disk.append)
        told: list[str] = []
        ring.put([record("a")])
        ring.finally_(lambda: told.append("taken back"))
        ring.finally_(None)
        ring.finally_(lambda: told.append("end"))
        before = list(told)
        disk.is_free.set()
        await ring.settled()
        ring.finally_(lambda: told.append("at once"))
        return before, told

    assert asyncio.run(scene()) == ([], ["end", "at once"])


@pytest.mark.parametrize("limit", [None, 300])
@pytest.mark.parametrize("form", [JsonFormat(), LocalFormat()], ids=["json-file", "local"])
def test_files_are_the_same_as_without_it(tmp_path: Path, form: Any, limit: int | None) -> None:
    records = [record(str(number), 10**18 + number) for number in range(20)]

    async def scene() -> None:
        plain = LogFiles(tmp_path / "plain", form, limit, 3, compress=False)
        slow = LogFiles(tmp_path / "slow", form, limit, 3, compress=False)
        plain.open()
        slow.open()
        plain.write(records)
        await slow.append(records[:7])
        await slow.append(records[7:])
        assert list(slow.read(EVERYTHING)) == list(plain.read(EVERYTHING))
        slow.close()
        plain.close()

    asyncio.run(scene())

    names = sorted(path.name for path in tmp_path.glob("plain*"))
    assert names == [path.name.replace("slow", "plain") for path in sorted(tmp_path.glob("slow*"))]
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / name.replace("plain", "slow")).read_bytes()


@pytest.mark.parametrize("form", [JsonFormat(), LocalFormat()], ids=["json-file", "local"])
def test_a_record_that_is_half_written_is_not_read(tmp_path: Path, form: Any) -> None:
    files = LogFiles(tmp_path / "log", form, None, 1, compress=False)
    files.open()
    files.write([record("whole", 10**18)])
    with files.path.open("ab") as file:
        file.write(form.encode(record("half", 10**18))[:-3])

    assert list(files.read(EVERYTHING)) == [record("whole", 10**18)]
    assert list(files.read(Selection(frozenset({"stdout"}), tail=1))) == [record("whole", 10**18)]
    files.close()


def test_a_log_in_that_mode_is_followed_to_its_end(tmp_path: Path) -> None:
    config = {"mode": "non-blocking", "max-buffer-size": "1m"}
    container: Any = SimpleNamespace(
        host_config={"LogConfig": {"Type": "json-file", "Config": config}},
        config={"Labels": {}, "Env": []},
    )
    records = [record(str(number), 10**18 + number) for number in range(50)]

    async def scene() -> list[Record]:
        log = Log(tmp_path, container)
        log._container.config.update(Image="x")
        log._container.__dict__.update(id="i", name="n", image="sha256:0", path="p", arguments=())
        log.open()

        async def read() -> list[Record]:
            return [entry async for entry in log.follow(EVERYTHING)]

        reader = asyncio.create_task(read())
        for entry in records:
            log.write([entry])
        log.close()
        await log.settled()
        return await reader

    assert asyncio.run(scene()) == records
