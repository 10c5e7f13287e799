"""Log drivers: what options are refused with which words (observed on dockerd 20.10.24), and what they add to records."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.containers.logs.drivers import Log, check_options, log_of
from sixhops.dockerd.containers.logs.records import Record, Selection
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

BOTH = frozenset({"stdout", "stderr"})


def container(driver: str = "json-file", **options: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return SimpleNamespace(
        id="0123456789abcdef" * 4,
        name="web",
        path="sh",
        arguments=("-c", "x"),
        image=f"sha256:{'a' * 64}",
        config={"Labels": {"l1": "v1", "l2": "v&2"}, "Env": ["A=1", "B=x y"], "Image": "busybox"},
        host_config={"LogConfig": {"Type": driver, "Config": named}},
    )


def log(directory: Path, driver: str = "json-file", **options: str) -> Log:
    found = log_of(directory, container(driver, **options))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("json-file", {"foo": "x"}, "unknown log opt 'foo' for json-file log driver"),
        ("local", {"labels": "x"}, "unknown log opt 'labels' for log driver local"),
        ("nosuch", {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'),
        ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "local",
            {"mode": "non-blocking", "max-buffer-size": "x"},
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
    ],
)
def test_names_of_options_are_checked_at_the_creation(
    driver: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        check_options(driver, options)

    assert (caught.value.status, caught.value.message) == (400, message)


@pytest.mark.parametrize(
    ("driver", "options"),
    [("none", {"foo": "x"}), ("json-file", {"mode": "non-blocking", "max-buffer-size": "1m"}), ("local", {})],
)
def test_options_that_are_taken(driver: str, options: dict[str, str]) -> None:
    check_options(driver, options)


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("json-file", {"max_size": "x"}, "invalid size: 'x'"),
        ("json-file", {"max_size": "-1"}, "invalid size: '-1'"),
        ("json-file", {"max_size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max_file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max_file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        (
            "json-file",
            {"max_size": "1k", "compress": "true"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"compress": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
        ("json-file", {"labels_regex": "("}, "error parsing regexp: missing closing ): `(`"),
        ("json-file", {"tag": "{{"}, "template: log-tag:1: unclosed action"),
        (
            "json-file",
            {"tag": "{{.X}}"},
            'template: log-tag:1:2: executing "log-tag" at <.X>: can\'t evaluate field X in type *logger.Info',
        ),
        ("local", {"max_size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
        ("local", {"max_file": "1"}, "compression cannot be enabled when max file count is 1"),
        ("local", {"max_file": "-1"}, "max file count cannot be less than 0"),
        (
            "local",
            {"compress": "x"},
            'error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax',
        ),
    ],
)
def test_values_of_options_are_checked_at_the_start(
    tmp_path: Path, driver: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        log(tmp_path, driver, **options).open()

    assert (caught.value.status, caught.value.message) == (
        500,
        f"failed to initialize logging driver: {message}",
    )


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, {}),
        ({"labels": "l1,nosuch", "env": "A,B"}, {"l1": "v1", "A": "1", "B": "x y"}),
        ({"labels_regex": "^l", "env_regex": "A|C"}, {"l1": "v1", "l2": "v&2", "A": "1"}),
        ({"tag": "{{.ImageName}}/{{.Name}}/{{.ID}}"}, {"tag": "busybox/web/0123456789ab"}),
        (
            {"tag": "{{upper .Name | lower}}-{{json .ContainerLabels}}"},
            {"tag": 'web-{"l1":"v1","l2":"v&2"}'},
        ),
        ({"tag": '{{pad (.Name) 1 1}}{{truncate .Name 2}} {{join (split .ImageName "b") "-"}}'}, None),
        ({"tag": "{{truncate .Name 2}} {{.ImageID}} {{.Command}}"}, {"tag": "we sha256:aaaaa sh -c x"}),
    ],
)
def test_what_stands_beside_records(
    tmp_path: Path, options: dict[str, str], attributes: dict[str, str] | None
) -> None:
    subject = log(tmp_path, **options)
    if attributes is None:
        with pytest.raises(EngineError, match="template: log-tag"):
            subject.open()
        return
    subject.open()
    subject.write([Record("stdout", b"a\n", 1)])
    subject.close()

    assert [record.attributes for record in subject.read(Selection(BOTH))] == [attributes]


def test_local_log_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    subject = log(tmp_path, "local")
    subject.open()
    subject.write([Record("stderr", b"a\n", 5)])
    subject.close()

    assert (tmp_path / "local-logs" / "container.log").exists()
    assert [record.data for record in subject.read(Selection(BOTH, tail=1))] == [b"a\n"]


def test_sizes_are_decimal(tmp_path: Path) -> None:
    subject = log(tmp_path, max_size="1k", max_file="2")
    subject.open()
    for _ in range(2):
        subject.write([Record("stdout", b"x" * 950 + b"\n", 5)])

    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".1")] != []
