from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sixhops.dockerd.options import FlagError, parse

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
    assert (options.iptables, options.runtimes) == (False, {"x": "/y"})


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

    assert (options.debug, options.registry_mirrors, options.runtimes) == (True, ["http://m"], {"r": "/r"})


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
