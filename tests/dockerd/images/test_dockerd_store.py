from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.deletion import delete
from sixhops.dockerd.images.layers import LayerStore
from sixhops.dockerd.images.reference import parse
from sixhops.dockerd.images.store import ImageStore
from sixhops.dockerd.state import State
from sixhops.wire.image import chain_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.dockerd.images.store import Image

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: the mount thread unshares its working directory"
)

DIFF_IDS = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]
DIGEST = "sha256:" + "d" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    state = State(tmp_path / "state.db")
    layers = LayerStore(tmp_path / "overlay2", state)
    yield ImageStore(state, layers)
    layers.close()
    state.close()


def nobody(_image: str) -> list[tuple[str, bool]]:
    return []


def add_layer(layers: LayerStore, diff_ids: list[str], content: str) -> None:
    directory = layers.begin()
    (directory / "diff" / "file").write_text(content)
    chain = chain_ids(diff_ids)
    layers.commit(directory, chain[-1], chain[-2] if len(chain) > 1 else "", diff_ids[-1], len(content))


def add_image(
    store: ImageStore, names: list[str], diff_ids: list[str] = DIFF_IDS[:1], cmd: str = "x"
) -> Image:
    for count in range(1, len(diff_ids) + 1):
        add_layer(store.layers, diff_ids[:count], f"layer {count}")
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Cmd": [cmd]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    image = store.add(json.dumps(config).encode())
    for name in names:
        store.name(parse(name), image.id)
    return image


def test_an_image_is_found_by_id_prefix_and_name(store: ImageStore) -> None:
    image = add_image(store, ["busybox:latest", f"busybox@{DIGEST}"])

    for text in (
        image.id,
        image.id[7:],
        image.id[7:19],
        image.id[:19],
        "busybox",
        "docker.io/library/busybox:latest",
        f"busybox@{DIGEST}",
    ):
        assert store.resolve(text).id == image.id, text


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("nosuch", 404, "No such image: nosuch:latest"),
        ("nosuch:tag", 404, "No such image: nosuch:tag"),
        ("UPPER", 400, "invalid reference format: repository name must be lowercase"),
    ],
)
def test_what_is_not_here_is_refused(store: ImageStore, text: str, status: int, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        store.resolve(text)

    assert (caught.value.status, caught.value.message) == (status, message)


def test_the_last_tag_takes_digest_image_and_layers_with_it(store: ImageStore) -> None:
    image = add_image(store, ["busybox:latest", f"busybox@{DIGEST}"], DIFF_IDS)

    entries = delete(store, "busybox", nobody, force=False, prune=True).entries

    chain = chain_ids(DIFF_IDS)
    assert entries == [
        {"Untagged": "busybox:latest"},
        {"Untagged": f"busybox@{DIGEST}"},
        {"Deleted": image.id},
        {"Deleted": chain[1]},
        {"Deleted": chain[0]},
    ]
    assert store.all() == []
    assert store.layers.get(chain[0]) is None


def test_a_layer_that_another_image_needs_stays(store: ImageStore) -> None:
    add_image(store, ["one:latest"], DIFF_IDS[:1])
    add_image(store, ["two:latest"], DIFF_IDS, cmd="y")

    delete(store, "two", nobody, force=False, prune=True)

    assert store.layers.get(chain_ids(DIFF_IDS)[0]) is not None
    assert store.layers.get(chain_ids(DIFF_IDS)[1]) is None


def test_one_of_two_names_is_only_untagged(store: ImageStore) -> None:
    image = add_image(store, ["one:a", "one:b"])

    assert delete(store, "one:a", nobody, force=False, prune=True).entries == [{"Untagged": "one:a"}]
    assert store.by_id(image.id) is not None


def test_a_container_protects_the_last_name_of_its_image(store: ImageStore) -> None:
    image = add_image(store, ["one:a"])

    def users(identity: str) -> list[tuple[str, bool]]:
        return [("c" * 64, False)] if identity == image.id else []

    with pytest.raises(EngineError) as caught:
        delete(store, "one:a", users, force=False, prune=True)

    assert caught.value.message == (
        'conflict: unable to remove repository reference "one:a" (must force) - '
        f"container {'c' * 12} is using its referenced image {image.id[7:19]}"
    )
    assert delete(store, "one:a", users, force=True, prune=True).entries[0] == {"Untagged": "one:a"}
    assert store.by_id(image.id) is None


def test_a_running_container_protects_the_id_even_from_force(store: ImageStore) -> None:
    image = add_image(store, ["one:a"])

    with pytest.raises(EngineError, match=r"cannot be forced.*running container cccccccccccc"):
        delete(store, image.id, lambda _image: [("c" * 64, True)], force=True, prune=True)


def test_a_container_root_is_mounted_and_removed(store: ImageStore) -> None:
    image = add_image(store, ["one:a"], DIFF_IDS)

    layer = store.layers.create_writable(
        "e" * 64,
        image.chain_id,
        [("/etc/hosts", "file"), ("/dev", "dir"), ("/etc/mtab", "link:/proc/mounts")],
    )
    merged = store.layers.mount("e" * 64)

    assert merged == layer.merged
    assert sorted(item.name for item in Path(merged).iterdir()) == ["dev", "etc", "file"]
    assert store.layers.mount("e" * 64) == merged
    assert Path(merged, "file").read_text() == "layer 2"
    store.layers.remove_writable("e" * 64)
    assert not Path(merged).exists()


def test_what_a_crash_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    first = LayerStore(tmp_path / "overlay2", state)
    first.begin()
    (tmp_path / "overlay2" / ("f" * 64) / "diff").mkdir(parents=True)
    (tmp_path / "overlay2" / "l" / "DANGLING").symlink_to("../nowhere/diff")
    first.close()

    LayerStore(tmp_path / "overlay2", state).close()

    assert sorted(item.name for item in (tmp_path / "overlay2").iterdir()) == ["l"]
    assert list((tmp_path / "overlay2" / "l").iterdir()) == []
    state.close()


def test_a_layer_that_no_image_got_is_gone_after_the_next_start(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    first = LayerStore(tmp_path / "overlay2", state)
    store = ImageStore(state, first)
    add_image(store, ["one:a"], DIFF_IDS[:1])
    add_layer(first, DIFF_IDS, "of a pull that was killed")
    first.close()

    second = LayerStore(tmp_path / "overlay2", state)

    assert tuple(second.sizes()) == chain_ids(DIFF_IDS)[:1]
    assert len([item for item in (tmp_path / "overlay2").iterdir() if item.name != "l"]) == 1
    second.close()
    state.close()


def test_a_claimed_layer_stays_until_it_is_let_go(store: ImageStore) -> None:
    chain = chain_ids(DIFF_IDS)

    with store.layers.claims() as claim:
        add_layer(store.layers, DIFF_IDS[:1], "below")
        add_layer(store.layers, DIFF_IDS, "above")
        claim(chain[1])
        assert store.layers.collect() == []

    assert store.layers.sizes() == {}


def test_the_layers_below_a_container_stay_when_its_image_goes(store: ImageStore) -> None:
    image = add_image(store, ["one:a"], DIFF_IDS)
    store.layers.create_writable("e" * 64, image.chain_id, [])
    with store._state.change() as database:
        document = json.dumps({"layer": "e" * 64})
        database.execute("INSERT INTO containers VALUES ('c', 'n', 0, ?)", (document,))

    entries = delete(store, image.id, lambda _image: [("c", False)], force=True, prune=True).entries

    assert entries == [{"Untagged": "one:a"}, {"Deleted": image.id}]
    assert len(store.layers.sizes()) == 2
    with store._state.change() as database:
        database.execute("DELETE FROM containers")
    store.layers.remove_writable("e" * 64)
    assert store.layers.sizes() == {}
