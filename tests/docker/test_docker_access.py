"""Contexts, credentials, addresses and ssh without an engine."""

from __future__ import annotations

import base64
import contextlib
import json
import tarfile

import pytest

from sixhops.docker import config, credentials
from sixhops.docker.commands import contextfile
from sixhops.docker.documents import ipam
from sixhops.docker.engine import contexts, endpoint, ssh
from sixhops.docker.errors import DockerError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", "unix:///var/run/docker.sock"),
        ("unix://", "unix:///var/run/docker.sock"),
        ("tcp://", "tcp://localhost:2375"),
        ("host", "tcp://host:2375"),
        (":1", "tcp://localhost:1"),
        ("tcp://[::1]:1", "tcp://[::1]:1"),
        ("tcp://a:1:2", "tcp://[a:1:2]:2375"),
        ("tcp://a:2/x", "tcp://a:2/x"),
        ("ssh://me@far:22", "ssh://me@far:22"),
    ],
)
def test_addresses_are_completed(text, address):
    assert endpoint.parse_host(text) == address


@pytest.mark.parametrize("text", ["foo://x", "tcp://[::1]", "unix://tcp://x", "tcp://unix://x"])
def test_addresses_that_are_none(text):
    with pytest.raises(DockerError, match="Invalid"):
        endpoint.parse_host(text)


def test_a_port_that_is_none():
    with pytest.raises(DockerError, match=r'^parse "tcp://a:b": invalid port ":b" after host$'):
        endpoint.parse_host("tcp://a:b")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ssh://far", ["--", "far"]),
        ("ssh://me@far:2222", ["-l", "me", "-p", "2222", "--", "far"]),
        ("ssh://[::1]:22", ["-p", "22", "--", "::1"]),
    ],
)
def test_what_ssh_is_told(address, words):
    assert ssh.arguments(address) == [*words, "docker", "system", "dial-stdio"]


@pytest.mark.parametrize(
    "address", ["ssh://", "ssh://a/b", "ssh://a:b@c", "ssh://a?b", "ssh://a#b", "ssh://a:b"]
)
def test_addresses_that_ssh_does_not_take(address):
    with pytest.raises(DockerError):
        ssh.arguments(address)


def test_a_context_is_kept_with_its_files_and_removed_with_them(tmp_path):
    store = contexts.Store(str(tmp_path))
    store.put({"Name": "node10", "Endpoints": {}})
    store.put({"Name": "node2", "Endpoints": {"docker": {"Host": "tcp://a:1"}}})
    store.reset_tls("node2", "docker", {"ca.pem": b"ca"})

    assert store.names() == ["node2", "node10"]
    assert store.get("node2")["Endpoints"]["docker"]["Host"] == "tcp://a:1"
    assert store.tls_files("node2") == {"docker": ["ca.pem"]}
    store.remove("node2")
    assert not store.exists("node2")
    assert store.tls_files("node2") == {}
    with pytest.raises(DockerError, match='context "node2" does not exist'):
        store.get("node2")


def _settings(path, document):
    return config.Settings(directory=str(path), document=document)


def test_credentials_are_found_by_host_and_by_address(tmp_path):
    auth = base64.b64encode(b"me:wo:rd").decode()
    settings = _settings(tmp_path, {"auths": {"https://a.example/v1/": {"auth": auth}}})

    assert credentials.find(settings, "a.example") == {
        "username": "me",
        "password": "wo:rd",
        "serveraddress": "https://a.example/v1/",
    }
    assert credentials.find(settings, "b.example") == {}


@pytest.mark.parametrize("auth", ["!", base64.b64encode(b"nocolon").decode()])
def test_credentials_that_are_none(tmp_path, auth):
    with pytest.raises(DockerError, match="Invalid auth configuration file"):
        credentials.find(_settings(tmp_path, {"auths": {"a": {"auth": auth}}}), "a")


def test_what_is_stored_is_found_and_other_keys_stay(tmp_path):
    (tmp_path / "config.json").write_text('{"own": 1, "psFormat": "x"}')
    (tmp_path / "config.json").chmod(0o640)
    settings = _settings(tmp_path, config.load(str(tmp_path)))

    credentials.store(settings, "a.example", {"username": "me", "password": "word"})

    again = _settings(tmp_path, config.load(str(tmp_path)))
    assert credentials.find(again, "a.example")["password"] == "word"
    assert list(json.loads((tmp_path / "config.json").read_text())) == ["auths", "psFormat", "own"]
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o640
    credentials.erase(again, "a.example")
    assert credentials.find(_settings(tmp_path, config.load(str(tmp_path))), "a.example") == {}


def test_options_of_a_network_meet_in_its_subnets():
    found = ipam.configs(
        ["10.1.0.0/16", "10.2.0.0/16"], ["10.2.3.0/24"], ["10.1.0.9"], {"a": "10.1.0.3", "b": "10.2.0.3"}
    )

    assert found == [
        {"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.9", "AuxiliaryAddresses": {"a": "10.1.0.3"}},
        {"Subnet": "10.2.0.0/16", "IPRange": "10.2.3.0/24", "AuxiliaryAddresses": {"b": "10.2.0.3"}},
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["10.1.0.0/16"], [], ["10.1.0.1", "10.1.0.2"], {}), "every ip-range or gateway"),
        ((["10.1.0.0/16", "10.1.2.0/24"], [], [], {}), "overlapping"),
        ((["10.1.0.0/16"], [], ["10.2.0.1"], {}), "no matching subnet for gateway 10.2.0.1"),
        ((["10.1.0.0/16"], ["10.1.0.0/99"], [], {}), "invalid CIDR address: 10.1.0.0/99"),
        ((["foo"], [], ["1.1.1.1"], {}), "invalid subnet: invalid CIDR address: foo"),
    ],
)
def test_networks_that_make_no_sense(arguments, message):
    with pytest.raises(DockerError, match=message):
        ipam.configs(*arguments)


@pytest.mark.parametrize(("missing", "whole"), [(0, True), (1, False), (600, False)])
def test_an_exported_context_may_end_with_its_last_byte(missing, whole, tmp_path):
    """docker leaves out what fills the last block, and the end of the archive."""
    data = b""
    for name, content in (("meta.json", b'{"Name":"x"}'), ("tls/docker/key.pem", b"k" * 700)):
        item = tarfile.TarInfo(name)
        item.size = len(content)
        data += bytes(-len(data) % tarfile.BLOCKSIZE) + item.tobuf() + content
    data = data[: len(data) - missing]

    with contextlib.nullcontext() if whole else pytest.raises(DockerError, match=r"^unexpected EOF$"):
        assert [name for name, _ in contextfile._members(data)] == ["meta.json", "tls/docker/key.pem"]
