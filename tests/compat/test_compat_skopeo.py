"""skopeo against the reference registry: copies in and out, lists, inspection, deletion, with and without passwords."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registries import MODES, PASSWORD, USER, Registry, started

from sixhops.harness.images import build, docker_archive, load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.images import BuiltImage

pytestmark = pytest.mark.skipif(
    shutil.which("skopeo") is None, reason="needs skopeo (apt-get install skopeo)"
)
RECIPES = Path(__file__).parents[2] / "scenarios" / "images"
BOUND = 60


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    return build(load_recipe(RECIPES / "busybox.yaml"), tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def archive(image: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "busybox.tar"
    docker_archive(image, path)
    return path


@pytest.fixture(scope="module", params=MODES)
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with started(tmp_path_factory.mktemp("registry") / "r", request.param) as running:
        yield running


def skopeo(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    argv = ["skopeo", "--insecure-policy", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BOUND, check=False)
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def into(registry: Registry, side: str = "dest-") -> list[str]:
    words = [f"--{side}tls-verify=false"]
    if registry.guarded:
        words.append(f"--{side}creds={USER}:{PASSWORD}")
    return words


def test_an_archive_goes_in_and_comes_out(
    registry: Registry, archive: Path, image: BuiltImage, tmp_path: Path
) -> None:
    place = f"docker://{registry.host}/lib/busybox:1"
    skopeo("copy", *into(registry), f"docker-archive:{archive}", place)
    skopeo("copy", *into(registry, "src-"), place, f"dir:{tmp_path / 'out'}")

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["config"]["digest"] == image.image_id
    raw = skopeo("inspect", "--raw", *into(registry, ""), place).stdout
    assert json.loads(raw) == manifest


def test_lists_inspection_and_deletion(registry: Registry, archive: Path) -> None:
    place = f"docker://{registry.host}/lib/listed"
    for tag in ("b", "a"):
        skopeo("copy", *into(registry), f"docker-archive:{archive}", f"{place}:{tag}")
    found = json.loads(skopeo("list-tags", *into(registry, ""), place).stdout)
    assert found["Tags"] == ["a", "b"]
    assert json.loads(skopeo("inspect", *into(registry, ""), f"{place}:a").stdout)["Os"] == "linux"

    skopeo("delete", *into(registry, ""), f"{place}:a")

    assert skopeo("inspect", *into(registry, ""), f"{place}:b", check=False).returncode != 0


def test_copy_to_another_repository_and_format(registry: Registry, archive: Path) -> None:
    first, second = (f"docker://{registry.host}/lib/{name}:x" for name in ("first", "second"))
    skopeo("copy", *into(registry), f"docker-archive:{archive}", first)
    skopeo("copy", *into(registry), *into(registry, "src-"), first, second)
    skopeo("copy", "--format=oci", *into(registry), *into(registry, "src-"), first, second + "-oci")

    kind = json.loads(skopeo("inspect", "--raw", *into(registry, ""), second + "-oci").stdout)["mediaType"]
    assert kind == "application/vnd.oci.image.manifest.v1+json"


def test_push_without_a_password(registry: Registry, archive: Path) -> None:
    words = ["copy", "--dest-no-creds", "--dest-tls-verify=false"]
    done = skopeo(*words, f"docker-archive:{archive}", f"docker://{registry.host}/lib/none:1", check=False)

    assert (done.returncode == 0) is not registry.guarded
    if registry.guarded:
        assert "unauthorized" in done.stderr or "authentication required" in done.stderr


def test_a_wrong_password(registry: Registry, archive: Path) -> None:
    place = f"docker://{registry.host}/lib/guarded:1"
    skopeo("copy", *into(registry), f"docker-archive:{archive}", place)

    done = skopeo("inspect", "--tls-verify=false", f"--creds={USER}:wrong", place, check=False)

    assert (done.returncode == 0) is not registry.guarded


def test_pull_without_a_password(registry: Registry, archive: Path) -> None:
    place = f"docker://{registry.host}/lib/anyone:1"
    skopeo("copy", *into(registry), f"docker-archive:{archive}", place)

    done = skopeo("inspect", "--no-creds", "--tls-verify=false", place, check=False)

    # with tokens anybody may pull here; basic passwords guard everything
    assert (done.returncode == 0) is (registry.mode != "basic")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (apt-get install openssl)")
def test_over_tls(archive: Path, tmp_path: Path) -> None:
    with started(tmp_path / "tls", "tls") as registry:
        place = f"docker://{registry.host}/lib/busybox:1"
        (tmp_path / "trust").mkdir()
        shutil.copy(tmp_path / "tls/ca.crt", tmp_path / "trust/ca.crt")

        skopeo("copy", f"--dest-cert-dir={tmp_path / 'trust'}", f"docker-archive:{archive}", place)

        assert "certificate" in skopeo("inspect", place, check=False).stderr
