"""Certificates for registries: what counts in a directory, and what is missing (in dockerd 20.10's words)."""

from __future__ import annotations

import shutil
import ssl
from typing import TYPE_CHECKING

import pytest

from certificates import certify
from sixhops.dockerd.images.transfer.certificates import context_for
from sixhops.dockerd.images.transfer.refusals import RemoteError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "registry:5000"
    folder.mkdir()
    return folder


def test_a_registry_of_which_nothing_is_said_has_none(tmp_path: Path) -> None:
    assert context_for("registry:5000", tmp_path) is None


def test_authorities_are_added_to_those_of_the_system(folder: Path, tmp_path: Path) -> None:
    shutil.copy(certify(tmp_path) / "cert.pem", folder / "ca.crt")
    (folder / "none.crt").write_text("nothing")

    context = context_for("registry:5000", tmp_path)

    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    names = [dict(part[0] for part in found["subject"]) for found in context.get_ca_certs()]
    assert {"commonName": "localhost"} in names


def test_a_certificate_of_ours_is_shown(folder: Path, tmp_path: Path) -> None:
    certify(tmp_path)
    shutil.copy(tmp_path / "cert.pem", folder / "client.cert")
    shutil.copy(tmp_path / "key.pem", folder / "client.key")

    assert context_for("registry:5000", tmp_path) is not None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["client.cert"],
            (
                "missing key client.key for client certificate client.cert. "
                "Note that CA certificates should use the extension .crt"
            ),
        ),
        (["client.key"], "missing client certificate client.cert for key client.key"),
        (["client.cert", "client.key"], "tls: failed to find any PEM data in certificate input"),
    ],
)
def test_half_a_pair_is_refused(folder: Path, tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (folder / name).write_text("nothing")

    with pytest.raises(RemoteError) as caught:
        context_for("registry:5000", tmp_path)

    assert str(caught.value) == message
