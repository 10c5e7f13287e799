import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest

from sixhops.harness.errors import Mark, ScenarioError, TargetError, UsageError
from sixhops.harness.images import (
    BuiltImage,
    Toolbox,
    build,
    docker_archive,
    load_recipe,
    oci_archive,
    push,
    tar_bytes,
)
from sixhops.harness.images.tar import random_bytes
from sixhops.harness.target import Address
from sixhops.wire.image import digest_of, verify_pretty

MARK = Mark("s.yaml", 3, 5)
RECIPES = Path(__file__).parents[3] / "scenarios" / "images"
REGISTRY = Address("tcp://registry", host="registry", port=5000)

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (gcc, libc6-dev)")


def make(folder: Path, text: str = "layers: [[{file: /a, text: hi}], [{dir: /b}]]") -> BuiltImage:
    folder.mkdir(exist_ok=True)
    (folder / "image.yaml").write_text(text)
    return build(load_recipe(folder / "image.yaml"), folder / "cache")


def archive(entries: list[dict[str, object]], tmp_path: Path) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(tar_bytes(entries, Toolbox(tmp_path), MARK)))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"file": "/a", "text": "x", "mode": "4755"}, {"name": "a", "type": b"0", "mode": 0o4755, "size": 1}),
        ({"file": "/a", "text": "xy", "copies": 3}, {"size": 6}),
        ({"file": "/a", "base64": "AAE="}, {"size": 2}),
        ({"file": "/a", "random": {"size": "65KiB", "seed": 1}}, {"size": 65 << 10}),
        (
            {"dir": "/d", "uid": 7, "gid": 8, "mtime": 9},
            {"name": "d", "type": b"5", "uid": 7, "gid": 8, "mtime": 9},
        ),
        ({"symlink": "/l", "to": "../x"}, {"type": b"2", "linkname": "../x", "mode": 0o777}),
        ({"hardlink": "/h", "to": "/a"}, {"type": b"1", "linkname": "a"}),
        ({"char": "/c", "major": 1, "minor": 3}, {"type": b"3", "devmajor": 1, "devminor": 3}),
        ({"block": "/c", "major": 7, "minor": 0}, {"type": b"4", "devmajor": 7}),
        ({"fifo": "/f"}, {"type": b"6"}),
        ({"whiteout": "/d/gone"}, {"name": "d/.wh.gone", "size": 0}),
        ({"opaque": "/d"}, {"name": "d/.wh..wh..opq"}),
        ({"file": "/big", "uid": 3_000_000}, {"uid": 3_000_000}),
        ({"file": "/" + "n" * 150 + "/ü"}, {"name": "n" * 150 + "/ü"}),
        ({"symlink": "/l", "to": "t" * 200}, {"linkname": "t" * 200}),
    ],
)
def test_entry_kinds(tmp_path: Path, entry: dict[str, object], expected: dict[str, object]) -> None:
    (member,) = archive([entry], tmp_path)

    assert {key: getattr(member, key) for key in expected} == expected


def test_xattrs_and_content_after_them(tmp_path: Path) -> None:
    tar = archive([{"file": "/a", "text": "body", "xattrs": {"user.b": "1", "user.a": "ü"}}], tmp_path)
    (member,) = tar
    content = tar.extractfile(member)

    assert member.pax_headers == {"SCHILY.xattr.user.a": "ü", "SCHILY.xattr.user.b": "1"}
    assert content is not None
    assert content.read() == b"body"


def test_hard_link_has_what_its_file_has(tmp_path: Path) -> None:
    file = {"file": "/a", "mode": "0600", "uid": 5, "mtime": 6}

    _, link = archive([file, {"hardlink": "/b", "to": "/a"}], tmp_path)

    assert (link.mode, link.uid, link.mtime) == (0o600, 5, 6)


def test_bad_tar_body_is_marked_with_its_step(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"s\.yaml:3:5: .*did you mean 'file'"):
        tar_bytes([{"fil": "/a"}], Toolbox(tmp_path), MARK)


def test_random_bytes_follow_the_seed() -> None:
    first = b"".join(random_bytes(1, 70_000))

    assert len(first) == 70_000
    assert first == b"".join(random_bytes(1, 70_000))
    assert first != b"".join(random_bytes(2, 70_000))
    # A fixed value: it must be the same on every machine and Python.
    assert (
        hashlib.sha256(first).hexdigest()
        == "6460e232ee46d783316ce97c78520089c48ffc773dfa855f654df3998b8f1a63"
    )


def test_fresh_caches_give_equal_digests(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")

    assert one.digest == two.digest
    assert one.variables() == two.variables()
    for digest, path in one.blobs.items():
        assert path.read_bytes() == two.blobs[digest].read_bytes()


@pytest.mark.parametrize(
    "manifests", ["oci", "schema1", "{list: [{}]}", "{index: [{platform: foreign}, {}]}"]
)
def test_every_format_is_reproducible(tmp_path: Path, manifests: str) -> None:
    text = f"layers: [[{{dir: /a}}]]\nmanifests: {manifests}"

    one, two = make(tmp_path / "one", text), make(tmp_path / "two", text)

    assert [manifest.data for manifest in one.manifests] == [manifest.data for manifest in two.manifests]


def test_diff_ids_do_not_depend_on_compression(tmp_path: Path) -> None:
    text = "manifests: oci\nlayers: [[{file: /a, text: x}]]\ncompression: "

    built = [make(tmp_path / name, text + name) for name in ("gzip", "zstd", "none")]

    assert len({image.layers[0].diff_id for image in built}) == 1
    assert len({image.layers[0].digest for image in built}) == 3
    assert built[2].layers[0].digest == built[2].layers[0].diff_id


def test_blobs_are_what_their_digests_say(tmp_path: Path) -> None:
    built = make(tmp_path)

    for digest, path in built.blobs.items():
        assert digest_of(path.read_bytes()) == digest
    layer = built.layers[0]
    assert digest_of(gzip.decompress(built.blobs[layer.digest].read_bytes())) == layer.diff_id


def test_damaged_cache_is_repaired(tmp_path: Path) -> None:
    built = make(tmp_path)
    path = built.blobs[built.layers[0].digest]
    path.write_bytes(b"torn")
    for note in (tmp_path / "cache" / "layers").iterdir():
        note.write_text("{")

    make(tmp_path)

    assert digest_of(path.read_bytes()) == built.layers[0].digest


def test_nothing_temporary_stays(tmp_path: Path) -> None:
    make(tmp_path)

    assert not list((tmp_path / "cache").rglob("tmp*"))


def test_variables(tmp_path: Path) -> None:
    built = make(tmp_path, "repository: library/x\ntags: [a, b]\nlayers: [[{dir: /a}]]\nconfig: {Cmd: [/x]}")
    found = built.variables()

    assert (found["name"], found["tag"], found["ref"], found["repository"]) == ("x", "a", "x:a", "library/x")
    assert found["digest"] == digest_of(built.top.data)
    assert found["id"] == digest_of(built.config_bytes)
    assert found["short"] == built.image_id[7:19]
    assert built.config["config"] == {"Cmd": ["/x"]}


def test_schema1_digest_is_of_the_payload(tmp_path: Path) -> None:
    built = make(tmp_path, "manifests: schema1\nlayers: [[{dir: /a}]]")

    assert digest_of(verify_pretty(built.top.data)[0]) == built.digest


@needs_compiler
def test_unknown_program_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"image\.yaml:1:11: .*'helo'; known are hello, probe, signals"):
        make(tmp_path, "layers: [[{file: /a, program: helo}]]")


@pytest.mark.parametrize(("program", "package"), [("busybox", "busybox-static"), ("hello", "gcc libc6-dev")])
def test_missing_program_names_the_package(tmp_path: Path, program: str, package: str) -> None:
    with pytest.raises(UsageError, match=f"apt-get install {package}"):
        Toolbox(tmp_path, search=str(tmp_path)).path(program)


@needs_compiler
def test_hello_prints_its_text_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [Toolbox(tmp_path).path("hello")], capture_output=True, text=True, timeout=30, check=True
    )

    assert done.stdout.startswith("\nHello from Docker!\nThis message shows")
    assert done.stdout.count("\n") == 22


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_checked_in_recipes_load(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_docker_archive_holds_the_image(tmp_path: Path) -> None:
    built = make(tmp_path)
    docker_archive(built, tmp_path / "a.tar")

    with tarfile.open(tmp_path / "a.tar") as tar:
        content = {member.name: tar.extractfile(member) for member in tar}
        data = {name: file.read() for name, file in content.items() if file}
    (manifest,) = json.loads(data["manifest.json"])
    assert manifest["RepoTags"] == ["image:latest"]
    assert digest_of(data[manifest["Config"]]) == built.image_id
    assert [digest_of(data[name]) for name in manifest["Layers"]] == [layer.diff_id for layer in built.layers]


def test_oci_archive_holds_every_blob(tmp_path: Path) -> None:
    built = make(tmp_path, "layers: [[{dir: /a}]]\nmanifests: {index: [{}]}")
    oci_archive(built, tmp_path / "a.tar")

    with tarfile.open(tmp_path / "a.tar") as tar:
        names = tar.getnames()
    digests = {*built.blobs, *(manifest.digest for manifest in built.manifests)}
    assert {name.replace("blobs/sha256/", "sha256:") for name in names if name.count("/") == 2} == digests


def test_oci_archive_refuses_schema1(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="schema1"):
        oci_archive(make(tmp_path, "manifests: schema1\nlayers: [[{dir: /a}]]"), tmp_path / "a.tar")


class Registry:
    """Enough of a registry: remembers what came, in order."""

    def __init__(self, refuse: str = "") -> None:
        self.stored: dict[str, bytes] = {}
        self.order: list[str] = []
        self.refuse = refuse

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if self.refuse and self.refuse in f"{request.method} {path}":
            return httpx.Response(403, text="denied")
        if request.method == "HEAD":
            found = self.stored.get(path)
            digest = {"docker-content-digest": digest_of(found)} if found is not None else {}
            return httpx.Response(200 if found is not None else 404, headers=digest)
        if request.method == "POST":
            return httpx.Response(202, headers={"location": f"http://elsewhere{path}1?state=s%2F"})
        body = request.read()
        if "/uploads/" in path:
            assert request.url.params["state"] == "s/"
            path = path.replace("uploads/1", request.url.params["digest"])
        self.stored[path] = body
        self.order.append(path.rpartition("/")[2])
        return httpx.Response(201, headers={"docker-content-digest": digest_of(body)})


def test_push_sends_blobs_then_manifests_then_tag(tmp_path: Path) -> None:
    built = make(tmp_path, "layers: [[{dir: /a}]]\nmanifests: {list: [{}]}")
    registry = Registry()

    report = push(built, REGISTRY, transport=httpx.MockTransport(registry))

    assert registry.order == [*built.blobs, built.manifests[0].digest, "latest"]
    assert report.uploaded == tuple(registry.order)
    for digest in built.blobs:
        assert digest_of(registry.stored[f"/v2/library/image/blobs/{digest}"]) == digest


def test_second_push_sends_nothing(tmp_path: Path) -> None:
    built, registry = make(tmp_path), Registry()
    push(built, REGISTRY, transport=httpx.MockTransport(registry))

    report = push(built, REGISTRY, transport=httpx.MockTransport(registry))

    assert report.uploaded == ()


@pytest.mark.parametrize(
    "refuse", ["HEAD ", "POST ", "PUT /v2/library/image/blobs", "PUT /v2/library/image/manifests"]
)
def test_refusal_says_what_and_how(tmp_path: Path, refuse: str) -> None:
    with pytest.raises(TargetError, match=r"tcp://registry: .* answered 403 instead of \d+"):
        push(make(tmp_path), REGISTRY, transport=httpx.MockTransport(Registry(refuse)))


def test_unreachable_registry_is_a_target_error(tmp_path: Path) -> None:
    nobody = Address("unix:///nobody", unix=tmp_path / "nobody.sock")

    with pytest.raises(TargetError, match="unix:///nobody: can't connect: No such file"):
        push(make(tmp_path), nobody)
