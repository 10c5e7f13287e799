"""Images that the harness lays into a storage: either registry serves them, and nothing is amiss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import registry_support as support
from registry_support import DOCKER, INDEX, LIST, OCI, SCHEMA1, UPSTREAM

from sixhops.harness.errors import TargetError
from sixhops.harness.images import build, load_recipe, place
from sixhops.registry.storage.maintenance import check, collect
from sixhops.wire.image import Layout, verify_pretty

RECIPES = Path(__file__).parents[2] / "scenarios" / "images"
NAMES = ["hello-world", "hello-list", "hello-index", "hello-oci", "hello-schema1", "many-layers"]
ACCEPT = {"Accept": f"{DOCKER}, {LIST}, {OCI}, {INDEX}, {SCHEMA1}"}
BOTH = [
    support.ours,
    pytest.param(
        support.upstream,
        marks=pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed"),
    ),
]


@pytest.mark.parametrize("start", BOTH)
def test_placed_images_are_served_as_if_they_were_pushed(tmp_path: Path, start: Any) -> None:
    images = [build(load_recipe(RECIPES / f"{name}.yaml"), tmp_path / "cache") for name in NAMES]
    with start(tmp_path) as server:
        for image in images * 2:
            place(image, tmp_path / "data")
        for image in images:
            top = server.ask("GET", f"/v2/{image.repository}/manifests/{image.tags[0]}", headers=ACCEPT)
            assert (top.status, top.headers["docker-content-digest"]) == (200, image.digest)
            if image.format == "schema1":
                assert verify_pretty(top.body)[0] == verify_pretty(image.top.data)[0]
            else:
                assert top.body == image.top.data
            for digest, path in image.blobs.items():
                assert server.ask("GET", f"/v2/{image.repository}/blobs/{digest}").body == path.read_bytes()
            assert server.ask("GET", f"/v2/{image.repository}/tags/list").json["tags"] == list(image.tags)
    layout = Layout(tmp_path / "data")
    assert list(check(layout)) == []
    assert collect(layout, dry_run=True, grace=0).blobs == ()
    assert list(layout.root.rglob("tmp*")) == []


def test_a_tag_moves_when_another_image_is_placed(tmp_path: Path) -> None:
    first, second = (
        build(load_recipe(RECIPES / f"{name}.yaml"), tmp_path / "cache")
        for name in ("hello-world", "hello-plain")
    )
    with support.ours(tmp_path) as server:
        place(first, tmp_path / "data")
        Layout(tmp_path / "data").tag_link(first.repository, "latest").write_text(second.digest)

        place(first, tmp_path / "data")

        found = server.ask("HEAD", f"/v2/{first.repository}/manifests/latest", headers=ACCEPT)
        assert found.headers["docker-content-digest"] == first.digest


def test_a_storage_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(TargetError, match=r"the registry's storage .* can't be written"):
        place(build(load_recipe(RECIPES / "hello-world.yaml"), tmp_path / "cache"), tmp_path / "file")
