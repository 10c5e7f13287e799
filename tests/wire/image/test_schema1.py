import base64
import json
import re

import pytest

from sixhops.wire.image import (
    EMPTY_LAYER_DIGEST,
    DocumentError,
    SignatureError,
    TrustKey,
    config_of,
    digest_of,
    parse_schema1,
    schema1_payload,
    sign_pretty,
    verify_pretty,
)

A, B = (f"sha256:{letter * 64}" for letter in "ab")
KEY = TrustKey.from_seed(b"test")
TIME = "2020-01-01T00:00:00Z"
CONFIG = {
    "created": TIME,
    "architecture": "amd64",
    "os": "linux",
    "config": {"Cmd": ["/a", "<&>"]},
    "history": [{"created_by": "one"}, {"created_by": "nothing", "empty_layer": True}, {"created_by": "two"}],
}
PAYLOAD = schema1_payload("library/x", "latest", CONFIG, [A, B])


def test_layers_travel_newest_first() -> None:
    found = parse_schema1(PAYLOAD)

    assert found.layers == (B, EMPTY_LAYER_DIGEST, A)
    assert [json.loads(text)["container_config"]["Cmd"] for text in found.history] == [
        ["two"],
        ["nothing"],
        ["one"],
    ]


def test_each_v1_document_names_its_parent() -> None:
    documents = [json.loads(text) for text in parse_schema1(PAYLOAD).history]

    assert [document.get("parent") for document in documents] == [
        documents[1]["id"],
        documents[2]["id"],
        None,
    ]


def test_history_must_fit_the_layers() -> None:
    with pytest.raises(DocumentError, match="history"):
        schema1_payload("x", "y", CONFIG, [A])


def test_config_is_sorted_and_escaped_as_engines_do() -> None:
    text = config_of(parse_schema1(PAYLOAD), [A, B]).decode()
    document = json.loads(text)

    assert list(document) == sorted(document)
    assert r"\u003c\u0026\u003e" in text
    assert not document.keys() & {"id", "parent", "throwaway"}
    assert [entry.get("empty_layer") for entry in document["history"]] == [None, True, None]


def test_config_of_an_old_builder_is_refused() -> None:
    payload = schema1_payload("x", "y", CONFIG | {"docker_version": "1.7.1"}, [A, B])

    with pytest.raises(DocumentError, match=r"1\.8\.3"):
        config_of(parse_schema1(payload), [A, B])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemaVersion": 2}, "schemaVersion"),
        ({"fsLayers": []}, "as many"),
        ({"fsLayers": [{"blobSum": "x"}] * 3}, "blobSum"),
        ({"history": None}, "not a schema1"),
    ],
)
def test_bad_manifest(change: dict[str, object], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_schema1(json.dumps(json.loads(PAYLOAD) | change).encode())


def test_signing_twice_gives_equal_bytes() -> None:
    assert sign_pretty(PAYLOAD, KEY, TIME) == sign_pretty(PAYLOAD, KEY, TIME)


@pytest.mark.parametrize("payload", [PAYLOAD, b'{"a":1}', b'{\n  "a": {}\n}\n', b'{ "a": "\xc3\xbc" }'])
def test_verifying_gives_the_payload_back(payload: bytes) -> None:
    found, keys = verify_pretty(sign_pretty(payload, KEY, TIME))

    assert found == payload
    assert keys == (KEY.public_document()["kid"],)


def test_key_id_has_libtrust_form() -> None:
    assert re.fullmatch(r"([A-Z2-7]{4}:){11}[A-Z2-7]{4}", KEY.public_document()["kid"])


def test_digest_is_of_the_payload() -> None:
    assert digest_of(verify_pretty(sign_pretty(PAYLOAD, KEY, TIME))[0]) == digest_of(PAYLOAD)


@pytest.mark.parametrize("payload", [b"[1]", b"{}", b"", b"{\n}"])
def test_what_can_not_be_signed(payload: bytes) -> None:
    with pytest.raises(SignatureError):
        sign_pretty(payload, KEY, TIME)


def test_every_torn_payload_is_noticed() -> None:
    signed = sign_pretty(PAYLOAD, KEY, TIME)

    for length in range(0, len(signed) - 1, 97):
        with pytest.raises(SignatureError):
            verify_pretty(signed[:length])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"tag": "latest"', b'"tag": "Latest"', "does not hold"),
        (b'"kid": "', b'"kid": "AAAA:', "kid"),
        (b'"alg": "ES256"', b'"alg": "none"', "algorithm"),
        (b'"crv": "P-256"', b'"crv": "P-384"', "P-256"),
        (b'"signatures": [', b'"signatures": [], "x": [', "no signatures"),
        (b'"signatures": [', b'"extra": 1, "signatures": [', "not signed"),
    ],
)
def test_changed_document(old: bytes, new: bytes, message: str) -> None:
    signed = sign_pretty(PAYLOAD, KEY, TIME)
    assert old in signed

    with pytest.raises(SignatureError, match=message):
        verify_pretty(signed.replace(old, new))


def test_format_length_outside_of_the_document() -> None:
    signed = json.loads(sign_pretty(PAYLOAD, KEY, TIME))
    protected = {"formatLength": 10**9, "formatTail": "fQ", "time": TIME}
    signed["signatures"][0]["protected"] = (
        base64.urlsafe_b64encode(json.dumps(protected).encode()).decode().rstrip("=")
    )

    with pytest.raises(SignatureError, match="outside"):
        verify_pretty(json.dumps(signed).encode())
