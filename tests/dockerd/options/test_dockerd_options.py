from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sixhops.dockerd.options import FlagError, RuntimeProgram, parse

END = "\nSee 'dockerd --help'., Code: 125"


def test_parse_takes_flags_in_every_form() -> None:
    options = parse(
        [
            "-D",
            "-H",
            "unix:///a",
            "--host=tcp://:1",
            "--mtu",
            "1400",
            "--iptables=false",
            "--add-runtime",
            "x=/y",
        ]
    )

    assert (options.debug, options.hosts, options.mtu) == (True, ["unix:///a", "tcp://:1"], 1400)
    assert (options.iptables, options.runtimes) == (False, {"x": RuntimeProgram("/y")})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nosuch"], f"Status: unknown flag: --nosuch{END}"),
        (["--storage-driver"], f"Status: flag needs an argument: --storage-driver{END}"),
        (
            ["--mtu", "x"],
            f'Status: invalid argument "x" for "--mtu" flag: strconv.ParseInt: parsing "x": invalid syntax{END}',
        ),
        (
            ["--debug=foo"],
            f'Status: invalid argument "foo" for "-D, --debug" flag: strconv.ParseBool: parsing "foo": invalid syntax{END}',
        ),
        (
            ["-H", "foo://x"],
            f'Status: invalid argument "foo://x" for "-H, --host" flag: Invalid bind address format: foo://x{END}',
        ),
        (["--log-level", "foo"], "unable to parse logging level: foo"),
    ],
)
def test_parse_refuses_in_dockerd_s_words(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(arguments)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"nosuch": 1}, "the following directives don't match any configuration option: nosuch"),
        (
            {"hosts": ["unix:///x"]},
            (
                "the following directives are specified both as a flag and in the configuration file: "
                "hosts: (from flag: [unix:///y], from file: [unix:///x])"
            ),
        ),
    ],
)
def test_parse_refuses_a_file_that_does_not_fit(tmp_path: Path, document: object, message: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(document))

    with pytest.raises(FlagError) as caught:
        parse(["--config-file", str(file), "-H", "unix:///y"])

    assert str(caught.value) == f"unable to configure the Docker daemon with file {file}: {message}"


def test_parse_merges_the_file(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"debug": true, "registry-mirrors": ["http://m"], "runtimes": {"r": {"path": "/r"}}}')

    options = parse(["--config-file", str(file)])

    assert (options.debug, options.registry_mirrors, options.runtimes) == (
        True,
        ["http://m"],
        {"r": RuntimeProgram("/r")},
    )


#: Each was given to dockerd 20.10.24: flags, daemon.json (null for no file), what it says before it ends with status 1.
OBSERVED = json.loads(Path(__file__).with_name("observed_options.json").read_text())


@pytest.mark.parametrize("row", OBSERVED, ids=[f"{row['flags']} {row['file']}" for row in OBSERVED])
def test_what_dockerd_refuses(tmp_path: Path, row: dict[str, Any]) -> None:
    file = tmp_path / "daemon.json"
    arguments = list(row["flags"])
    if row["file"] is not None:
        file.write_text(row["file"])
        arguments += ["--config-file", str(file)]

    with pytest.raises(FlagError) as caught:
        parse(arguments)

    assert str(caught.value) == row["message"].replace("{file}", str(file))


@pytest.mark.parametrize(
    "document",
    [
        # dockerd looks these names up among its flags, and their values nowhere
        {"label": ["a=b"], "host": ["x"], "help": 1, "containerd-plugins-namespace": "x"},
        # a value that is an object is looked through for keys
        {"foo": {"debug": True}},
    ],
)
def test_what_dockerd_lets_pass_in_vain(tmp_path: Path, document: object) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(document))

    options = parse(["--config-file", str(file)])

    assert (options.labels, options.hosts, options.debug) == ([], [], False)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], (None, None)),
        (["--tls"], (True, True)),
        (["--tls=false"], (False, False)),
        (["--tlsverify"], (True, True)),
        (["--tlsverify=false"], (True, False)),
        (["--tls", "--tlsverify=false"], (True, False)),
    ],
)
def test_tls_means_that_clients_are_verified_unless_told_otherwise(
    arguments: list[str], found: tuple[bool | None, bool | None]
) -> None:
    options = parse(arguments)

    assert (options.tls, options.tls_verify) == found


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("cri-containerd", "true"),
        ("network-diagnostic-port", "1"),
        ("rootless", "true"),
        ("swarm-default-advertise-addr", "lo"),
        ("userns-remap", "default"),
        ("cluster-store", "etcd://x"),
    ],
)
def test_what_this_engine_has_not_it_refuses(flag: str, value: str) -> None:
    with pytest.raises(FlagError, match=f"this engine has no {flag}"):
        parse([f"--{flag}={value}"])


def test_options_of_the_runtime_and_the_storage_driver() -> None:
    options = parse(
        [
            "--exec-opt",
            "native.cgroupdriver=systemd",
            "--cgroup-parent",
            "x.slice",
            "--storage-opt",
            "overlay2.override_kernel_check=1",
            "--node-generic-resource=gpu=2",
        ]
    )

    assert (options.uses_systemd, options.generic_resources) == (True, ["gpu=2"])
