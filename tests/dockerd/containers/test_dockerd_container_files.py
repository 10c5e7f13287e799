"""Users and groups out of hostile files, hosts and resolv.conf, the life cycle's table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.containers.files import embedded_resolv_conf, hosts_text, resolv_conf_text
from sixhops.dockerd.containers.lifecycle import REFUSALS, TRANSITIONS, Operation, Status, check
from sixhops.dockerd.containers.specification.user import Identity, resolve
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:\n# no\nbroken\nann:x:7:70::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nstaff:x:50:ann,bob\nwheel:x:10:root\n")
    return tmp_path


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", [], Identity(0, 0, (0, 10))),
        ("ann", [], Identity(7, 70, (70, 50))),
        ("7", [], Identity(7, 70, (70, 50))),
        ("1234", [], Identity(1234, 0, (0,))),
        ("1234:5678", [], Identity(1234, 5678, (5678,))),
        ("ann:staff", [], Identity(7, 50, (50,))),
        ("ann", ["wheel", "99"], Identity(7, 70, (70, 50, 10, 99))),
    ],
)
def test_user(root: Path, user: str, groups: list[str], expected: Identity) -> None:
    assert resolve(str(root), user, groups) == expected


@pytest.mark.parametrize("user", ["bob", "ann:nosuch", "4294967296"])
def test_user_that_can_not_be(root: Path, user: str) -> None:
    with pytest.raises(EngineError) as caught:
        resolve(str(root), user, [])

    assert caught.value.status == 500


def test_passwd_that_leads_out_of_the_root_is_not_followed(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("evil:x:0:0::/:\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(outside)

    with pytest.raises(EngineError, match="unable to find user evil"):
        resolve(str(root), "evil", [])


def test_fifo_instead_of_passwd_does_not_block(root: Path) -> None:
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")

    assert resolve(str(root), "5", []).uid == 5


def test_hosts_name_the_container_and_the_extra_ones() -> None:
    text = hosts_text(["172.17.0.2"], "box", "lan", [("10.0.0.1", "db")])

    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert text.endswith("10.0.0.1\tdb\n172.17.0.2\tbox.lan box\n")


def test_loopback_resolver_is_replaced_in_a_network_of_its_own() -> None:
    host = "# c\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch lan\n"

    assert resolv_conf_text(host, [], [], [], own_network=True) == "search lan\nnameserver 10.0.0.1\n"
    assert resolv_conf_text(host, [], [], [], own_network=False) == host
    assert "8.8.8.8" in resolv_conf_text("nameserver 127.0.0.1\n", [], [], [], own_network=True)


def test_embedded_server_keeps_search_list_and_options() -> None:
    assert embedded_resolv_conf("search a.b\nnameserver 9.9.9.9\noptions timeout:3\n") == (
        "search a.b\nnameserver 127.0.0.11\noptions timeout:3 ndots:0\n"
    )
    assert embedded_resolv_conf("options ndots:3\n") == "nameserver 127.0.0.11\noptions ndots:3\n"


def test_chosen_resolver_options() -> None:
    text = resolv_conf_text("nameserver 1.1.1.1\n", ["9.9.9.9"], ["a.b"], ["ndots:2"], own_network=True)

    assert text == "search a.b\nnameserver 9.9.9.9\noptions ndots:2\n"


@pytest.mark.parametrize(
    ("status", "operation", "code", "message"),
    [
        (Status.RUNNING, Operation.START, 304, ""),
        (Status.PAUSED, Operation.START, 409, "cannot start a paused container, try unpause instead"),
        (Status.CREATED, Operation.STOP, 304, ""),
        (Status.CREATED, Operation.KILL, 409, "Container c1 is not running"),
        (Status.PAUSED, Operation.PAUSE, 409, "Container c1 is already paused"),
        (Status.RUNNING, Operation.UNPAUSE, 500, "Container c1 is not paused"),
        (Status.PAUSED, Operation.EXEC, 409, "Container web is paused, unpause the container before exec"),
        (Status.EXITED, Operation.RESIZE, 409, "Container c1 is not running"),
    ],
)
def test_refusals(status: Status, operation: Operation, code: int, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        check(status, operation, "c1", "web")

    assert (caught.value.status, caught.value.message) == (code, message)


def test_table_never_allows_what_it_refuses() -> None:
    assert not {(status, operation) for operation, status in REFUSALS if status} & TRANSITIONS.keys()


def test_every_state_but_the_first_can_be_reached() -> None:
    reached = set(TRANSITIONS.values())

    # dead is what a removal that failed leaves; it is no operation's aim
    assert reached == set(Status) - {Status.CREATED, Status.DEAD}
