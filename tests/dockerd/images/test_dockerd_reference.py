from __future__ import annotations

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.reference import parse, with_tag_or_digest

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("hello-world", "docker.io/library/hello-world", "hello-world"),
        ("hello-world:1", "docker.io/library/hello-world:1", "hello-world:1"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("docker.io/library/busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("127.0.0.1:5000/library/app:x", "127.0.0.1:5000/library/app:x", "127.0.0.1:5000/library/app:x"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e", "a__b/c-d.e"),
    ],
)
def test_names_have_a_long_and_a_short_form(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)

    assert reference.canonical == canonical
    assert reference.familiar == familiar


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("UPPER", "invalid reference format: repository name must be lowercase"),
        ("a b", "invalid reference format"),
        ("", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("ab" * 32, f"invalid repository name ({'ab' * 32}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_a_malformed_name_is_refused_in_the_engines_words(text: str, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse(text)

    assert (caught.value.status, caught.value.message) == (400, message)


def test_a_digest_given_as_tag_is_a_digest() -> None:
    assert with_tag_or_digest("busybox", DIGEST).digest == DIGEST


def test_a_tag_that_can_not_be_is_refused() -> None:
    with pytest.raises(EngineError, match="invalid tag format"):
        with_tag_or_digest("busybox", "!")


def test_without_a_tag_there_is_none_until_latest_is_asked_for() -> None:
    reference = with_tag_or_digest("busybox:", "")

    assert reference.tag == ""
    assert reference.or_latest().tag == "latest"
