"""Images for clients that know nothing newer than schema1: the same document as docker-registry makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import registry_support as support
from registry_support import DOCKER, LIST, SCHEMA1, UPSTREAM, Running, digest, index, manifest

from sixhops.wire.image import EMPTY_LAYER_DIGEST, DocumentError, schema1_of, verify_pretty

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = (b"lower", b"upper")
OLD = {"Accept": SCHEMA1}
HISTORY: list[dict[str, Any]] = [
    {"created": "2023-11-14T22:13:20.100Z", "created_by": "ADD <a> & b", "author": "me", "comment": "é"},
    {"created": "2023-11-14T22:13:21Z", "created_by": "ENV a=b", "empty_layer": True},
    {"created": "2023-11-14T22:13:22.123456789Z", "created_by": "COPY c"},
]


def configuration(history: list[dict[str, Any]], layers: int = len(LAYERS)) -> bytes:
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {
            "Cmd": ["sh", "-c", "a < b && c"],
            "Env": ["x=é\u2028"],
            "Labels": {"b": "1.0", "a": None},
        },
        "size": 1.50,
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": [digest(b"%d" % number) for number in range(layers)]},
        "created": "2023-11-14T22:13:22Z",
    }
    # As written by hand: blanks everywhere, an escape that need not be one.
    return json.dumps(document, indent=2).replace("1.5", "1.50").encode()


LAST_EMPTY = [HISTORY[0], HISTORY[2], HISTORY[1]]
CONFIGS = {
    "history": configuration(HISTORY),
    "the newest step is empty": configuration(LAST_EMPTY),
    "no history": configuration([]),
    "fewer diff ids": configuration(HISTORY, 1),
    "more steps than layers": configuration([*HISTORY, HISTORY[0]]),
}


def push(server: Running, config: bytes) -> bytes:
    image = manifest(DOCKER, config, *LAYERS)
    for data in (config, *LAYERS):
        server.upload("lib/old", data)
    kind = {"Content-Type": DOCKER}
    for reference in ("x", digest(image)):
        assert server.ask("PUT", f"/v2/lib/old/manifests/{reference}", image, kind).status == 201
    many = index(LIST, (image, DOCKER))
    assert server.ask("PUT", "/v2/lib/old/manifests/many", many, {"Content-Type": LIST}).status == 201
    return image


@pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_converted_like_docker_registry(tmp_path: Path, config: bytes) -> None:
    found = []
    for start in (support.upstream, support.ours):
        (tmp_path / start.__name__).mkdir()
        with start(tmp_path / start.__name__) as server:
            image = push(server, config)
            by_tag = [server.ask("GET", f"/v2/lib/old/manifests/{tag}", headers=OLD) for tag in ("x", "many")]
            by_digest = server.ask("GET", f"/v2/lib/old/manifests/{digest(image)}", headers=OLD)
            empty = server.ask("HEAD", f"/v2/lib/old/blobs/{EMPTY_LAYER_DIGEST}")
        assert (by_digest.status, by_digest.body) == (200, image)
        # docker-registry also leaves the empty layer behind when the conversion comes to nothing
        answers: list[Any] = [empty.status if by_tag[0].status == 200 else None]
        for answer in by_tag:
            answers.append((answer.status, answer.headers.get("docker-content-digest")))
            if answer.status == 200:
                payload, _ = verify_pretty(answer.body)
                assert digest(payload) == answer.headers["docker-content-digest"]
                assert answer.headers["content-type"] == SCHEMA1
                answers.append(payload)
            else:
                answers.append(answer.codes)
        found.append(answers)

    assert found[1] == found[0]


def test_the_converted_image_can_be_pushed(tmp_path: Path) -> None:
    with support.ours(tmp_path) as server:
        push(server, CONFIGS["history"])
        old = server.ask("GET", "/v2/lib/old/manifests/x", headers=OLD)
        put = server.ask("PUT", "/v2/lib/old/manifests/again", old.body, {"Content-Type": SCHEMA1})

        assert put.headers["docker-content-digest"] == old.headers["docker-content-digest"]


def test_a_client_that_reads_both_gets_what_is_stored(tmp_path: Path) -> None:
    with support.ours(tmp_path) as server:
        image = push(server, CONFIGS["history"])

        for accept in (f"{SCHEMA1}, {DOCKER}", "*/*"):
            assert server.ask("GET", "/v2/lib/old/manifests/x", headers={"Accept": accept}).body == image


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"{", b"\xff", b'{"history":[1]}', b'{"history":[{}],"rootfs":5}']
)
def test_configuration_that_is_none(config: bytes) -> None:
    with pytest.raises(DocumentError):
        schema1_of("a", "b", config, [])
