"""What our client and Docker's own write to a terminal, byte by byte, for the same answers of an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from docker_canned import Canned, canned_engine
from docker_case import Keys
from docker_screen import run_on_terminal

if TYPE_CHECKING:
    from pathlib import Path

REAL = "/usr/bin/docker"
pytestmark = pytest.mark.skipif(not shutil.which(REAL), reason="Docker's client is not installed")

_CLIENTS = ([REAL], [sys.executable, "-m", "sixhops.docker"])
_A, _B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def _step(layer: str, status: str, current: int = 0, total: int = 0, **more: Any) -> dict[str, Any]:
    detail = {name: value for name, value in (("current", current), ("total", total)) if value} | more
    return {"status": status, "progressDetail": detail, "id": layer}


_HEAD = {"status": "Pulling from library/x", "id": "latest"}
_TAIL = [{"status": "Digest: sha256:00"}, {"status": "Status: Downloaded newer image for x:latest"}]
_STREAMS: dict[str, Canned] = {
    "one layer": [
        _HEAD,
        _step(_A, "Pulling fs layer"),
        *(_step(_A, "Downloading", size, 3_000_000) for size in (1, 29_999, 1_500_000, 2_999_999, 3_000_000)),
        _step(_A, "Verifying Checksum"),
        _step(_A, "Download complete"),
        _step(_A, "Extracting", 65_536, 3_000_000),
        _step(_A, "Pull complete"),
        *_TAIL,
    ],
    "two layers by turns": [
        _HEAD,
        _step(_A, "Pulling fs layer"),
        _step(_B, "Pulling fs layer"),
        _step(_B, "Waiting"),
        _step(_A, "Downloading", 100, 2000),
        _step(_B, "Downloading", 1_000_000_000, 3_000_000_000),
        _step(_A, "Pull complete"),
        _step(_B, "Extracting", 1, 1),
        _step(_B, "Pull complete"),
        *_TAIL,
    ],
    "a size that nobody knows": [
        _HEAD,
        _step(_A, "Downloading", 5_000),
        _step(_A, "Downloading", 5_000_000),
        *_TAIL,
    ],
    "more than there is": [_HEAD, _step(_A, "Downloading", 500, 100), *_TAIL],
    "units": [
        _HEAD,
        _step(_A, "Counting", 3, 9, units="files"),
        _step(_A, "Counting", 3, 0, units="files"),
        _step(_A, "Hiding", 3, 9, hidecounts=True),
        *_TAIL,
    ],
    "a layer that is there": [
        _HEAD,
        _step(_A, "Already exists"),
        {"status": "Already exists", "id": _B},
        *_TAIL,
    ],
    "text between layers": [
        _HEAD,
        _step(_A, "Pulling fs layer"),
        {"status": "words"},
        _step(_A, "Downloading", 1, 2),
        {"stream": "no line feed"},
        {"stream": "one\n"},
        _step(_B, "Downloading", 1, 2),
        {"id": _B, "status": "bar of another kind", "progress": "[==>  ]"},
        {"status": "words", "from": "somewhere"},
        *_TAIL,
    ],
    "an error": [
        _HEAD,
        _step(_A, "Downloading", 1, 2),
        {"errorDetail": {"message": "it broke"}, "error": "it broke"},
    ],
    "an error with a code": [{"errorDetail": {"code": 401, "message": "nobody"}, "error": "nobody"}],
    "a digest for programs": [
        _HEAD,
        {"progressDetail": {}, "aux": {"Tag": "latest", "Digest": "sha256:00", "Size": 5}},
    ],
}


def _seen(client: list[str], line: list[str], keys: Keys, directory: Path) -> tuple[int, bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "DOCKER_HOST": f"unix://{directory}/engine.sock",
        "TERM": "xterm",
    }
    return run_on_terminal([*client, *line], keys, environment, directory, 20)


@pytest.mark.parametrize(
    ("stream", "columns"),
    [
        *((stream, 80) for stream in _STREAMS),
        *((stream, width) for stream in ("units", "one layer") for width in (40, 120)),
    ],
)
def test_progress(tmp_path: Path, stream: str, columns: int) -> None:
    answers = {"/images/create": _STREAMS[stream], "/info": (200, {})}

    with canned_engine(tmp_path / "engine.sock", answers):
        real, ours = (_seen(client, ["pull", "x"], Keys(columns=columns), tmp_path) for client in _CLIENTS)

    assert ours == real


@pytest.mark.parametrize("stream", _STREAMS)
def test_progress_without_a_terminal(tmp_path: Path, stream: str) -> None:
    answers = {"/images/create": _STREAMS[stream], "/info": (200, {})}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    with canned_engine(tmp_path / "engine.sock", answers):
        real, ours = (
            subprocess.run(
                [*client, "-H", f"unix://{tmp_path}/engine.sock", "pull", "x"],
                capture_output=True,
                check=False,
                timeout=20,
                env=environment,
            )
            for client in _CLIENTS
        )

    assert (ours.returncode, ours.stdout, ours.stderr) == (real.returncode, real.stdout, real.stderr)


@pytest.mark.parametrize("columns", [40, 120])
def test_progress_of_a_push(tmp_path: Path, columns: int) -> None:
    stream: Canned = [
        {"status": "The push refers to repository [docker.io/library/x]"},
        _step(_A, "Preparing"),
        _step(_B, "Preparing"),
        _step(_B, "Waiting"),
        _step(_A, "Pushing", 512, 1_200_000),
        _step(_A, "Pushing", 1_300_000, 1_200_000),
        _step(_A, "Pushed"),
        _step(_B, "Layer already exists"),
        {"status": "latest: digest: sha256:00 size: 5"},
        {"progressDetail": {}, "aux": {"Tag": "latest", "Digest": "sha256:00", "Size": 5}},
    ]
    answers = {"/images/x/push": stream, "/info": (200, {})}

    with canned_engine(tmp_path / "engine.sock", answers):
        real, ours = (_seen(client, ["push", "x"], Keys(columns=columns), tmp_path) for client in _CLIENTS)

    assert ours == real


def _figures(name: str, memory: int, *, before: int = 100, now: int = 300) -> dict[str, Any]:
    def usage(total: int) -> dict[str, Any]:
        return {
            "cpu_usage": {"total_usage": total, "percpu_usage": [1, 1]},
            "system_cpu_usage": total * 7,
            "online_cpus": 2,
        }

    return {
        "read": "2024-01-01T00:00:01Z",
        "preread": "2024-01-01T00:00:00Z",
        "name": f"/{name}",
        "id": (name[0] * 64)[:64],
        "pids_stats": {"current": 3},
        "cpu_stats": usage(now),
        "precpu_stats": usage(before),
        "memory_stats": {"usage": memory, "limit": 2 << 30, "stats": {"inactive_file": 4096, "total_inactive_file": 4096}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5000}, {"op": "write", "value": 1 << 20}]},
        "networks": {"eth0": {"rx_bytes": 1_234_567, "tx_bytes": 89}},
    }  # fmt: skip


def _screens(output: bytes) -> list[bytes]:
    """Return what comes before the first screen of `stats` and the first three, which were whole at the interrupt."""
    return re.split(rb"(?=\x1b\[2J\x1b\[H)", output)[:4]


@pytest.mark.parametrize(
    "words",
    [
        ["one", "two"],
        ["--no-trunc", "one", "two"],
        ["--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}}", "one", "two"],
    ],
    ids=["table", "no-trunc", "format"],
)
def test_the_screen_of_stats(tmp_path: Path, words: list[str]) -> None:
    """Both are interrupted when the third screen is whole; a later one may be cut."""
    third = Keys(typed=((r"(?s)two.*?\x1b\[H.*?two.*?\x1b\[H.*?two.*?\n", "<signal SIGINT>"),))
    answers = {
        "/version": (200, {"Os": "linux"}),
        "/containers/one/stats": [_figures("one", 5_000_000), ...],
        "/containers/two/stats": [_figures("two", 1_500_000_000, now=100), ...],
    }

    with canned_engine(tmp_path / "engine.sock", answers):
        real, ours = (_seen(client, ["stats", *words], third, tmp_path) for client in _CLIENTS)

    assert (ours[0], _screens(ours[1])) == (real[0], _screens(real[1]))


@pytest.mark.parametrize("words", [["one"], ["--no-stream", "one"]], ids=["stream", "no-stream"])
def test_stats_that_never_come(tmp_path: Path, words: list[str]) -> None:
    answers = {"/version": (200, {"Os": "linux"}), "/containers/one/stats": [...]}

    with canned_engine(tmp_path / "engine.sock", answers):
        real, ours = (_seen(client, ["stats", *words], Keys(), tmp_path) for client in _CLIENTS)

    assert ours == real == (1, b"timeout waiting for stats\r\n")
