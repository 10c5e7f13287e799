import hashlib
import json

import pytest

from sixhops.wire.image import (
    EMPTY_LAYER,
    EMPTY_LAYER_DIGEST,
    Descriptor,
    DocumentError,
    Index,
    Manifest,
    Platform,
    chain_ids,
    digest_of,
    encode,
    is_digest,
    media,
    parse_config,
    parse_index,
    parse_manifest,
    short,
)

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def manifest(**changes: object) -> bytes:
    document = Manifest(
        media.DOCKER_MANIFEST,
        Descriptor(media.DOCKER_CONFIG, A, 10),
        (Descriptor(media.DOCKER_LAYER, B, 20),),
    ).document()
    return encode(document | changes)


def test_digest_of_empty_content() -> None:
    assert digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_chain_id_of_one_layer_is_its_diff_id() -> None:
    assert chain_ids([A]) == (A,)


def test_chain_ids_join_with_a_space() -> None:
    second = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()

    assert chain_ids([A, B]) == (A, second)


def test_chain_ids_of_a_real_engine() -> None:
    # Diff ids of many-layers' first layers, and the names that dockerd 20.10.24 gave them in its layerdb.
    known = {
        "4d5b57a05666b8cfd0e8958e4f41952004a8ab02bd667684f63059d9df7d5f3b": (
            "4d5b57a05666b8cfd0e8958e4f41952004a8ab02bd667684f63059d9df7d5f3b"
        ),
        "1af10070163f7bec53d1a33885ddc50db408a63be491b83c570d90e57ab839cf": (
            "abbd66f4cb52d609055d79f50064f8104bb0cb84cf444009352d4199797d91bc"
        ),
        "caee23f73f546715eadc36fdfc31bb3efad1f6d045445515bcdef7ff698910b9": (
            "03d6d3994ab29459f2d48b7ccc2b31f3859d1fb3f233297d14d905bd82fec50f"
        ),
    }

    assert chain_ids(f"sha256:{diff_id}" for diff_id in known) == tuple(
        f"sha256:{name}" for name in known.values()
    )


def test_empty_layer_blob() -> None:
    assert digest_of(EMPTY_LAYER) == EMPTY_LAYER_DIGEST


def test_manifest_reads_back_equal() -> None:
    found = parse_manifest(manifest())

    assert encode(found.document()) == manifest()
    assert found.layers[0].size == 20


def test_index_reads_back_equal() -> None:
    index = Index(media.OCI_INDEX, (Descriptor(media.OCI_MANIFEST, A, 5, Platform("arm", "linux", "v7")),))

    assert parse_index(encode(index.document())) == index
    assert str(index.manifests[0].platform) == "linux/arm/v7"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected a JSON object"),
        (manifest(schemaVersion=1), "schemaVersion"),
        (manifest(mediaType="text/plain"), "mediaType"),
        (manifest(config=None), "config: expected a descriptor"),
        (manifest(layers={}), "layers: expected a list"),
        (manifest(layers=[{"mediaType": "x", "digest": "sha256:1", "size": 1}]), r"layers\[0\].digest"),
        (manifest(layers=[{"mediaType": "x", "digest": A, "size": -1}]), r"layers\[0\].size"),
        (manifest(layers=[{"mediaType": "x", "digest": A, "size": True}]), r"layers\[0\].size"),
    ],
)
def test_bad_manifest_names_the_field(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_manifest(data)


def test_transport_and_document_must_agree() -> None:
    with pytest.raises(DocumentError, match="transport said"):
        parse_manifest(manifest(), media.OCI_MANIFEST)


def test_config_gives_diff_ids_and_platform() -> None:
    data = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [A]}})

    assert parse_config(data.encode()).diff_ids == (A,)


def test_config_without_layers_type() -> None:
    with pytest.raises(DocumentError, match=r"rootfs\.type"):
        parse_config(b'{"architecture":"amd64","os":"linux","rootfs":{}}')


def test_short_and_is_digest() -> None:
    assert short(A) == "a" * 12
    assert is_digest(A)
    assert not is_digest(A.upper())
    assert not is_digest(A + "\n")
