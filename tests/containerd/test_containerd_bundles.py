"""Bundles: made whole, gone by name at once, and never found again half removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sixhops.containerd.bundles import Bundles, has_log
from sixhops.containerd.config import Config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path / "root", state=tmp_path / "state")


def test_bundle_has_all_and_goes_by_name_at_once(config: Config) -> None:
    bundles = Bundles(config)

    bundle = bundles.make("moby", "one", b"{}", "/usr/bin/shim")

    assert (bundle / "config.json").read_bytes() == b"{}"
    assert (bundle / "work").resolve().is_dir()
    assert has_log(bundle)
    assert list(bundles.all()) == [("moby", "one", bundle)]
    for _ in range(3):  # the same id again, however far the removal has come
        bundles.remove("moby", "one")
        assert not bundle.exists()
        assert list(bundles.all()) == []
        bundles.make("moby", "one", b"{}", "")
    bundles.remove("moby", "one")
    bundles.remove("moby", "one")
    bundles.close()
    assert list((config.state / "io.containerd.runtime.v2.task" / "moby").iterdir()) == []
    assert list((config.root / "io.containerd.runtime.v2.task" / "moby").iterdir()) == []


def test_removal_that_was_cut_short_is_no_bundle_and_goes_at_the_start(config: Config) -> None:
    bundles = Bundles(config)
    bundle = bundles.make("moby", "one", b"{}", "")
    left = bundle.with_name(".two.0")
    left.mkdir()

    assert [name for _, name, _ in bundles.all()] == ["one"]
    bundles.sweep()

    assert not left.exists()
    assert bundle.exists()
    bundles.close()
