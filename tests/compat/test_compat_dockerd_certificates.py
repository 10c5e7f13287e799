"""Certificates of registries in /etc/docker/certs.d, on a daemon that runs: ours and, where it is installed, Docker's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemons import BOUND, OURS, Daemon

from certificates import certify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Stack

pytestmark = pytest.mark.skipif(
    not os.access("/usr/bin/docker", os.X_OK), reason="needs Docker's client (apt-get install docker.io)"
)
#: A name that leads to an address which is not the loopback's, as registries there are not verified.
ADDRESS = "198.18.0.1"
PORT = 5443


@pytest.fixture(scope="module")
def registry(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a registry with TLS that wants to know its clients; give the folder with the certificate of all of them."""
    folder = certify(tmp_path_factory.mktemp("registry"), address=ADDRESS)
    certificates = f"certificate: {folder}/cert.pem, key: {folder}/key.pem, clientcas: [{folder}/cert.pem]"
    (folder / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{folder}/data'}}}}\n"
        f"http: {{addr: '{ADDRESS}:{PORT}', tls: {{{certificates}}}}}\n"
    )
    inside = [*stack.inside]
    subprocess.run([*inside, "ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True, timeout=BOUND)
    command = [*inside, "sh", "-c", 'echo $$ >&2; exec "$@"', "sh"]
    command += [sys.executable, "-m", "sixhops.registry", "serve", str(folder / "registry.yml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    pid = process.stderr.readline().strip()
    try:
        assert any(re.search(rf"listening on {re.escape(ADDRESS)}:", line) for line in process.stderr)
        yield folder
    finally:
        subprocess.run([*inside, "kill", pid], check=True, timeout=BOUND)
        process.communicate(timeout=BOUND)
        subprocess.run(
            [*inside, "ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True, timeout=BOUND
        )


def place(stack: Stack, folder: Path, names: dict[str, str]) -> None:
    """Put files into the registry's directory, and no others."""
    directory = Path(f"{stack.root}/etc/docker/certs.d/{ADDRESS}:{PORT}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, source in names.items():
        shutil.copy(folder / source, directory / name)


def test_a_registry_is_known_by_its_authority_and_knows_us_by_our_certificate(
    stack: Stack, program: str, registry: Path
) -> None:
    image = f"{ADDRESS}:{PORT}/known"
    with tempfile.TemporaryDirectory(prefix="sixhops-") as directory:
        folder = Path(directory) / ("ours-known" if program == OURS else "dockers-known")
        folder.mkdir()
        host = ["-H", f"unix://{folder}/engine.sock"]
        with Daemon(stack, program, folder, ["--host", host[1]]) as daemon:
            daemon.docker(*host, "load", "--input", f"{stack.folder}/busybox.tar")
            daemon.docker(*host, "tag", "busybox", image)

            place(stack, registry, {})
            stranger = daemon.docker(*host, "push", image, check=False)
            assert "x509: certificate signed by unknown authority" in stranger.stderr

            place(stack, registry, {"ca.crt": "cert.pem"})
            unknown = daemon.docker(*host, "push", image, check=False)
            assert unknown.returncode == 1

            place(stack, registry, {"ca.crt": "cert.pem", "client.cert": "cert.pem"})
            half = daemon.docker(*host, "push", image, check=False)
            assert "missing key client.key for client certificate client.cert" in half.stderr

            place(stack, registry, {"ca.crt": "cert.pem", "client.cert": "cert.pem", "client.key": "key.pem"})
            daemon.docker(*host, "push", image)
            daemon.docker(*host, "rmi", image)
            daemon.docker(*host, "pull", image)
            daemon.docker(*host, "login", "--username=me", "--password=secret", f"{ADDRESS}:{PORT}")
