"""Where a layer is known to be: what a push tries first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.images.transfer.authorization import Credentials
from sixhops.dockerd.images.transfer.sources import Source, Sources, attempts_for, mark_of, mountable, ranked
from sixhops.dockerd.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = Credentials()
ME = Credentials("me", "secret")


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    state = State(tmp_path / "state.db")
    yield Sources(state)
    state.close()


def test_the_newest_comes_last_and_the_oldest_go(sources: Sources) -> None:
    for number in range(60):
        sources.add("d", Source(f"sha256:{number}", "r/a"))
    sources.add("d", Source("sha256:20", "r/a"))
    sources.remove("d", Source("sha256:59", "r/a"))

    found = [source.digest for source in sources.of("d")]

    assert len(found) == 49
    assert found[-2:] == ["sha256:58", "sha256:20"]
    assert sources.of("other") == []


def test_who_pushed_counts_more_than_where_and_that_more_than_when() -> None:
    mine = Source("1", "r/x/y", mark_of(ME, "1", "r/x/y"))
    near, far, newer = Source("2", "r/a/b/c"), Source("3", "r/z"), Source("4", "r/q")

    assert ranked([near, far, newer, mine], "r/a/b", ME) == [mine, near, newer, far]
    assert ranked([near, far, newer, mine], "r/a/b", NOBODY)[0] == near


def test_only_the_same_registry_has_what_can_be_mounted() -> None:
    here, own, elsewhere = Source("1", "r/a"), Source("2", "r/b"), Source("3", "s/a")

    assert mountable([here, own, elsewhere], "r/b", NOBODY, 3) == [here]
    assert mountable([here, own, elsewhere], "r/b", NOBODY, 0) == []


@pytest.mark.parametrize(("size", "mounts", "checks"), [(1, 1, 1), (200 << 10, 3, 1), (20 << 20, 4, 3)])
def test_a_large_layer_is_worth_more_attempts(size: int, mounts: int, checks: int) -> None:
    found = attempts_for(size)

    assert (found.mounts, found.checks) == (mounts, checks)
