"""Addresses of engines in all spellings."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
from pathlib import Path

import pytest

from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.stack import open_target
from sixhops.harness.stack.endpoint import engine_process, resolve_endpoint


def write_context(config: Path, name: str, endpoint: dict[str, object]) -> Path:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = config / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    return config / "contexts" / "tls" / key / "docker"


def test_a_unix_socket() -> None:
    address = resolve_endpoint("unix:///x/y.sock", {}).address

    assert address is not None
    assert (address.unix, address.text) == (Path("/x/y.sock"), "unix:///x/y.sock")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [("tcp://box", "box", 2375), ("tcp://box:99", "box", 99), ("tcp://[::1]:99", "::1", 99)],
)
def test_tcp(url: str, host: str, port: int) -> None:
    address = resolve_endpoint(url, {}).address

    assert address is not None
    assert (address.host, address.port, address.tls) == (host, port, None)


@pytest.mark.parametrize(
    ("url", "destination", "path"),
    [
        ("ssh://box", "box", "/var/run/docker.sock"),
        ("ssh://me@box:22", "me@box:22", "/var/run/docker.sock"),
        ("ssh://me@[::1]:22/run/x.sock", "me@[::1]:22", "/run/x.sock"),
    ],
)
def test_ssh(url: str, destination: str, path: str) -> None:
    endpoint = resolve_endpoint(url, {})

    assert (endpoint.address, endpoint.ssh, endpoint.socket_path) == (None, destination, path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("unix://relative", "no absolute path"),
        ("tcp://", "names no host"),
        ("tcp://box:many", "is not an address"),
        ("ssh://-oProxyCommand=x", "names no host"),
        ("ssh://me:secret@box", "password"),
        ("npipe:////./pipe/x", "no such kind of address"),
        ("context:none", "no such docker context: 'none'; there are default"),
    ],
)
def test_wrong_addresses(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve_endpoint(url, {"DOCKER_CONFIG": str(tmp_path)})

    assert "secret" not in str(caught.value)


def test_env_is_docker_host() -> None:
    address = resolve_endpoint("env", {"DOCKER_HOST": "tcp://box:1", "DOCKER_CONTEXT": "other"}).address

    assert address is not None
    assert (address.host, address.port) == ("box", 1)


def test_env_without_anything_is_the_default_socket(tmp_path: Path) -> None:
    address = resolve_endpoint("env", {"DOCKER_CONFIG": str(tmp_path)}).address

    assert address is not None
    assert address.unix == Path("/var/run/docker.sock")


def test_env_follows_the_current_context(tmp_path: Path) -> None:
    write_context(tmp_path, "far", {"Host": "ssh://me@far"})
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')

    assert resolve_endpoint("env", {"DOCKER_CONFIG": str(tmp_path)}).ssh == "me@far"


def test_contexts_are_under_home_by_default(tmp_path: Path) -> None:
    write_context(tmp_path / ".docker", "near", {"Host": "unix:///n.sock"})

    address = resolve_endpoint("context:near", {"HOME": str(tmp_path)}).address

    assert address is not None
    assert address.unix == Path("/n.sock")


@pytest.mark.parametrize("text", ["{", "[]", '{"Endpoints": {}}'])
def test_a_broken_context_names_its_file(tmp_path: Path, text: str) -> None:
    write_context(tmp_path, "bad", {})
    (path,) = tmp_path.glob("contexts/meta/*/meta.json")
    path.write_text(text)

    with pytest.raises(UsageError, match=r"meta\.json"):
        resolve_endpoint("context:bad", {"DOCKER_CONFIG": str(tmp_path)})


def test_tls_without_verification() -> None:
    address = resolve_endpoint("tcp://box", {"DOCKER_TLS": "1", "DOCKER_CERT_PATH": "/nowhere"}).address

    assert address is not None
    assert address.tls is not None
    assert (address.port, address.tls.verify_mode) == (2376, ssl.CERT_NONE)


def test_tls_with_verification_needs_the_authority(tmp_path: Path) -> None:
    environment = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}

    with pytest.raises(UsageError, match=r"can't read TLS files"):
        resolve_endpoint("tcp://box", environment)


def test_a_context_brings_its_own_tls_files(tmp_path: Path) -> None:
    tls = write_context(tmp_path, "secure", {"Host": "tcp://box:2376", "SkipTLSVerify": True})
    tls.mkdir(parents=True)

    address = resolve_endpoint("context:secure", {"DOCKER_CONFIG": str(tmp_path)}).address

    assert address is not None
    assert address.tls is not None
    assert not address.tls.check_hostname


def test_a_socket_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        open_target(f"unix://{tmp_path}/no.sock")

    assert str(caught.value) == f"can't reach unix://{tmp_path}/no.sock: No such file or directory"


def test_a_port_where_nobody_listens_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(TargetError, match=rf"^can't reach tcp://127\.0\.0\.1:{port}: .*refused"):
        open_target(f"tcp://127.0.0.1:{port}")


def test_a_process_that_is_no_engine_does_not_stand_for_its_host(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        assert "not an engine" in str(engine_process(path)) or "only root" in str(engine_process(path))
