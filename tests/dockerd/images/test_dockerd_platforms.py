"""Platforms as users write them."""

from __future__ import annotations

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.platforms import parse, this_architecture


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux", f"linux/{this_architecture()}"),
        ("LINUX/AMD64", "linux/amd64"),
        ("x86_64", "linux/amd64"),
        ("linux/i386/x", "linux/386"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("armhf", "linux/arm"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/7", "linux/arm/v7"),
        ("macos", f"darwin/{this_architecture()}"),
        ("a/b", "a/b"),
    ],
)
def test_parse_normalizes(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize("text", ["", "nosuch", "*", "linux/", "a/b/c/d", "a b"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse(text)
    assert caught.value.status == 400
