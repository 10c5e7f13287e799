from pathlib import Path

import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.images.recipe import load_recipe, native_platform

FILE = "layers:\n  - - {file: /a, "


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "empty"),
        ("layers: [", "2:1", "bad YAML"),
        ("- a", "1:1", "expected a mapping"),
        ("tags: [a]\ntags: [b]", "2:1", "the key 'tags' stands twice"),
        ("layer: []", "1:1", "did you mean 'layers'"),
        ("repository: UPPER", "1:13", "no repository name"),
        ("tags: []", "1:7", "needs a tag"),
        ("tags: [ok, 'not ok']", "1:12", "no tag"),
        ("tags: [1]", "1:8", "expected a string, found a whole number"),
        ("compression: lzma", "1:14", "none of gzip, none, zstd"),
        ("compression: zstd\nlayers: [[{dir: /a}]]", "1:1", "zstd needs"),
        ("manifests: oci1", "1:12", "did you mean 'oci'"),
        ("manifests: {list: []}", "1:19", "needs a member"),
        ("manifests: {list: [], index: []}", "1:12", "one of list and index"),
        ("manifests:\n  list:\n    - {format: schema1}", "3:16", "none of"),
        ("manifests: schema1", "1:1", "needs a layer"),
        ("manifests: schema1\ncompression: none\nlayers: [[{dir: /a}]]", "1:1", "gzip"),
        ("platform: linux", "1:11", "is not native"),
        ("created: yesterday", "1:10", "no time"),
        ("from: ../x", "1:7", "no recipe name"),
        ("from: nowhere", "1:7", "no recipe 'nowhere'"),
        ("from: image", "1:7", "circular: image -> image"),
        ("layers:\n  - {file: /a}", "2:5", "expected a list"),
        ("layers:\n  - - {fle: /a}", "2:8", "did you mean 'file'"),
        ("layers:\n  - - {mode: '0644'}", "2:7", "needs one of"),
        ("layers:\n  - - {file: /a, dir: /b}", "2:7", "not both"),
        ("layers:\n  - - {file: ''}", "2:14", "empty"),
        ("layers:\n  - - {file: /a/../../b}", "2:14", "climbs out"),
        ("layers:\n  - - {symlink: /a}", "2:7", "needs 'to'"),
        ("layers:\n  - - {char: /a, major: 1}", "2:7", "needs 'minor'"),
        ("layers:\n  - - {dir: /a, text: x}", "2:17", "unknown key 'text'"),
        (FILE + "mode: 755}", "2:24", "in quotes"),
        (FILE + "mode: '0999'}", "2:24", "no mode"),
        (FILE + "uid: -1}", "2:23", "not between"),
        (FILE + "uid: true}", "2:23", "expected a whole number"),
        (FILE + "text: x, program: hello}", "2:36", "one content"),
        (FILE + "program: ../x}", "2:27", "no program name"),
        (FILE + "busybox: false}", "2:27", "leave the key out"),
        (FILE + "applets: [sh]}", "2:27", "applets go with"),
        (FILE + "base64: '*'}", "2:26", "not base64"),
        (FILE + "random: {seed: 1}}", "2:26", "needs 'size'"),
        (FILE + "random: {size: 3 bytes}}", "2:33", "no size"),
        ("config: {Comd: [a]}", "1:10", "did you mean 'Cmd'"),
        ("config: {Cmd: sh}", "1:15", "expected a list"),
        ("config: {Env: [A=1, B]}", "1:21", "NAME=value"),
        ("config: {ExposedPorts: ['80']}", "1:25", "no port"),
        ("config: {Healthcheck: {Interval: soon}}", "1:34", "no duration"),
        ("history: [{created_by: x}]", "1:1", "1 entries without empty_layer, and the image 0 layers"),
        ("a: &x [*x]", "1:4", "anchors"),
        ("config: !re x", "1:9", "tags"),
    ],
)
def test_bad_recipe_names_the_place(tmp_path: Path, text: str, place: str, message: str) -> None:
    path = tmp_path / "image.yaml"
    path.write_text(text)

    with pytest.raises(ScenarioError) as caught:
        load_recipe(path)

    assert str(caught.value).startswith(f"{path}:{place}: ")
    assert message in str(caught.value)


def test_circle_over_two_recipes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("from: b")
    (tmp_path / "b.yaml").write_text("# one\nfrom: a")

    with pytest.raises(ScenarioError, match=r"b\.yaml:2:7: .*circular: a -> b -> a"):
        load_recipe(tmp_path / "a.yaml")


def test_layers_of_from_lie_below(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("layers: [[{dir: /a}]]")
    (tmp_path / "b.yaml").write_text("from: a\nlayers: [[{dir: /b}]]")

    (variant,) = load_recipe(tmp_path / "b.yaml").variants

    assert [layer.entries[0].path for layer in variant.layers] == ["a", "b"]


def test_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("config: {}")

    recipe = load_recipe(tmp_path / "a.yaml")

    assert (recipe.repository, recipe.tags, recipe.list_format) == ("library/a", ("latest",), "")
    assert recipe.variants[0].platform == native_platform()


def test_config_becomes_docker_types(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "config: {ExposedPorts: [80/tcp], Volumes: [/v], "
        "Healthcheck: {Test: [NONE], Interval: 2s}, ArgsEscaped: true}"
    )

    assert load_recipe(tmp_path / "a.yaml").variants[0].config == {
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "Healthcheck": {"Test": ["NONE"], "Interval": 2 * 10**9},
        "ArgsEscaped": True,
    }
