"""Bodies that name a blob of one of the scenario's images."""

from __future__ import annotations

from pathlib import Path

import pytest

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.images import BuiltImage, build, load_recipe
from sixhops.harness.run.content import Sources, content

MARK = Mark("x.yaml", 1, 1)


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    (tmp_path / "small.yaml").write_text("layers: [[{file: /a, text: hello}]]\n")
    (tmp_path / "cache").mkdir()
    return build(load_recipe(tmp_path / "small.yaml"), tmp_path / "cache")


def test_layers_configuration_and_manifest(image: BuiltImage) -> None:
    sources = Sources(Path(), (image,))

    layer = content({"blob": image.layers[0].digest}, MARK, sources)
    assert layer.length == image.layers[0].size
    assert content({"blob": image.image_id}, MARK, sources).all() == image.config_bytes
    assert content({"blob": image.digest, "repeat": 2}, MARK, sources).all() == image.top.data * 2


def test_an_unknown_digest_names_the_images(image: BuiltImage) -> None:
    with pytest.raises(
        ScenarioError, match=r"no image of the scenario has the blob sha256:00 \(images: small\)"
    ):
        content({"blob": "sha256:00"}, MARK, Sources(Path(), (image,)))


def test_a_scenario_without_images() -> None:
    with pytest.raises(ScenarioError, match="images: none"):
        content({"blob": "x"}, MARK, Sources(Path()))
