"""Docker's command line and the `docker` package (PyPI) with images: out to a registry and back, into files and back."""

from __future__ import annotations

import gc
import io
import json
import os
import secrets
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Stack

CLI = "/usr/bin/docker"
needs_cli = pytest.mark.skipif(
    not os.access(CLI, os.X_OK), reason=f"needs {CLI} (apt-get install docker.io, or make upstream)"
)
# the package leaves the sockets of streams that it has read to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(stack: Stack) -> Iterator[Any]:
    docker = pytest.importorskip("docker", reason="needs the package docker (pip install 'docker>=7,<8')")
    found = docker.DockerClient(base_url=stack.engine, timeout=30)
    yield found
    found.close()
    gc.collect()


@pytest.fixture
def name(stack: Stack) -> str:
    return f"{stack.registry}/compat/{secrets.token_hex(4)}"


def layer(content: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


@needs_cli
def test_push_remove_and_pull(stack: Stack, name: str) -> None:
    stack.run(CLI, "tag", "busybox", f"{name}:one")
    stack.run(CLI, "tag", "hello-world", f"{name}:two")

    pushed = stack.run(CLI, "push", "-a", name).stdout
    digest = pushed.partition("one: digest: ")[2].split()[0]
    assert "two: digest: sha256:" in pushed
    assert f"Untagged: {name}:two" in stack.run(CLI, "rmi", f"{name}:one", f"{name}:two").stdout
    assert "Downloaded newer image" in stack.run(CLI, "pull", "-a", name).stdout

    tags = stack.run(CLI, "images", "--digests", "--format", "{{.Tag}} {{.Digest}}", name).stdout.splitlines()
    assert len(tags) == 2
    assert f"one {digest}" in tags
    assert "tag does not exist" in stack.run(CLI, "push", f"{name}:nosuch", check=False).stderr
    assert "not found" in stack.run(CLI, "pull", f"{name}:nosuch", check=False).stderr
    stack.run(CLI, "rmi", f"{name}:one", f"{name}:two")


@needs_cli
def test_commit_history_save_and_load(stack: Stack, name: str) -> None:
    container = stack.run(CLI, "run", "-d", "busybox", "sh", "-c", f"echo {name} >/new").stdout.strip()
    stack.run(CLI, "wait", container)
    image = stack.run(
        CLI, "commit", "-a", "me", "-m", "hi", "-c", "CMD cat /new", container, name
    ).stdout.strip()
    stack.run(CLI, "rm", container)

    history = stack.run(CLI, "history", "--no-trunc", "--format", "{{json .}}", name).stdout.splitlines()
    newest = json.loads(history[0])
    assert (newest["ID"], newest["Comment"]) == (image, "hi")
    path = stack.folder / "saved.tar"
    stack.run(CLI, "save", "-o", str(path), name)
    stack.run(CLI, "rmi", name)
    assert stack.run(CLI, "load", "-i", str(path)).stdout == f"Loaded image: {name}:latest\n"
    assert stack.run(CLI, "run", "--rm", name).stdout == f"{name}\n"
    stack.run(CLI, "rmi", name)


@needs_cli
def test_import_of_an_export(stack: Stack, name: str) -> None:
    container = stack.run(CLI, "create", "busybox", "true").stdout.strip()
    path = stack.folder / "exported.tar"
    stack.run(CLI, "export", "-o", str(path), container)
    stack.run(CLI, "rm", container)

    image = stack.run(CLI, "import", "-m", "msg", "-c", "ENV A=1", str(path), name).stdout.strip()

    assert stack.run(CLI, "run", "--rm", name, "sh", "-c", "echo $A").stdout == "1\n"
    assert stack.run(CLI, "inspect", "-f", "{{.Id}} {{.Comment}}", name).stdout == f"{image} msg\n"
    stack.run(CLI, "rmi", name)


@needs_cli
def test_filters_and_prune(stack: Stack, name: str) -> None:
    path = stack.folder / "layer.tar"
    path.write_bytes(layer(name.encode()))
    image = stack.run(CLI, "import", "-c", f"LABEL l={name}", str(path)).stdout.strip()
    label = f"label=l={name}"

    assert (
        stack.run(CLI, "images", "-q", "--no-trunc", "-f", "dangling=true", "-f", label).stdout.strip()
        == image
    )
    assert image in stack.run(CLI, "image", "prune", "-f", "--filter", label).stdout
    assert stack.run(CLI, "images", "-aq", "-f", label).stdout == ""
    assert "Unexpected status code 404" in stack.run(CLI, "search", f"{stack.registry}/x", check=False).stderr
    assert "IMAGE" in stack.run(CLI, "system", "df", "-v").stdout.upper()


def test_images_of_the_package(client: Any, name: str) -> None:
    image = client.images.get("busybox")
    assert image.tag(name, tag="one")
    lines = list(client.images.push(name, tag="one", stream=True, decode=True))
    digest = lines[-1]["aux"]["Digest"]
    assert client.images.get_registry_data(f"{name}:one").id == digest

    saved = b"".join(client.images.get(f"{name}:one").save(named=True))
    client.images.remove(f"{name}:one")
    assert client.images.pull(name, tag="one").id == image.id
    client.images.remove(f"{name}:one")
    (loaded,) = client.images.load(saved)

    assert loaded.id == image.id
    assert [step["Size"] for step in image.history()][-1] > 0


def test_commit_and_import_of_the_package(client: Any, name: str) -> None:
    container = client.containers.create("busybox", ["true"])
    image = container.commit(name, tag="two", message="m", conf={"Cmd": ["echo", "hi"]})
    container.remove()

    assert client.containers.run(image.id, remove=True) == b"hi\n"
    assert image.attrs["Comment"] == "m"
    client.images.remove(image.id)
    answer = client.api.import_image_from_data(layer(b"x"), repository=name, tag="three")
    assert json.loads(answer.splitlines()[-1])["status"] == client.images.get(f"{name}:three").id
    client.images.remove(f"{name}:three")
