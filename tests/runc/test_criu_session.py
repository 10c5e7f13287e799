"""The conversation with CRIU, held with a stand-in for it."""

import os
from pathlib import Path

import pytest
from fake_criu import VERSION, asked, install

from sixhops.runc.criu.session import Session, require_version, version
from sixhops.runc.errors import RuntimeFault
from sixhops.wire.proto import criu_pb2

DONE = {"say": {"type": "DUMP", "success": True}}
DUMP = criu_pb2.Request(type=criu_pb2.DUMP)


def test_a_version_is_a_number(tmp_path: Path) -> None:
    assert version(install(tmp_path)) == 40101


def test_a_version_between_two_releases_counts_as_the_next(tmp_path: Path) -> None:
    between = {**VERSION, "version": {**VERSION["version"], "gitid": "v4.1-12-gabc"}}

    assert version(install(tmp_path, VERSION=[{"say": between}])) == 40200


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("no-such-criu", 'exec: "no-such-criu": executable file not found in $PATH'),
        ("/no/such/criu", "fork/exec /no/such/criu: no such file or directory"),
        ("/etc", "fork/exec /etc: permission denied"),
    ],
)
def test_a_program_that_is_not_there(program: str, problem: str) -> None:
    with pytest.raises(RuntimeFault, match="CRIU version check failed: ") as caught:
        version(program)

    assert str(caught.value) == f"CRIU version check failed: {problem}"


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"exit": 0}, "unexpected EOF"),
        ({"raw": "ff"}, "unable to parse what criu answered"),
        ({"say": {"type": "DUMP", "success": True}}, "unable to parse the response"),
        ({"say": {"type": "VERSION", "success": False, "crErrno": 22}}, "criu failed: type VERSION errno 22"),
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, step: dict, problem: str) -> None:
    with pytest.raises(RuntimeFault, match=f"CRIU version check failed: {problem}"):
        version(install(tmp_path, VERSION=[step]))


def test_an_older_version_is_refused() -> None:
    require_version(30000, 30000)
    with pytest.raises(RuntimeFault, match="CRIU version 29999 must be 30000 or higher"):
        require_version(29999, 30000)


def test_notifications_come_in_order_and_are_confirmed(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("handed over")
    steps = [
        {"notify": "setup-namespaces", "pid": 7},
        {"notify": "orphan-pts-master", "descriptor": str(note)},
        DONE,
    ]
    seen = []

    def notified(name: str, pid: int, descriptors: list[int]) -> None:
        seen.append((name, pid, [os.read(descriptor, 99) for descriptor in descriptors]))

    with Session(install(tmp_path / "criu", DUMP=steps)) as session:
        session.ask(DUMP, notified=notified)
        session.finish("dump.log")

    assert seen == [("setup-namespaces", 7, []), ("orphan-pts-master", 0, [b"handed over"])]
    confirmed = {"type": "NOTIFY", "notify_success": True}
    assert asked(tmp_path / "criu") == [{"type": "DUMP"}, confirmed, confirmed]


def test_who_fails_in_a_notification_has_criu_hear_no_more(tmp_path: Path) -> None:
    def refuse(name: str, _pid: int, _descriptors: list[int]) -> None:
        raise RuntimeFault(f"not for me: {name}")

    program = install(tmp_path, DUMP=[{"notify": "network-lock"}, DONE])
    with pytest.raises(RuntimeFault, match="not for me: network-lock"), Session(program) as session:
        session.ask(DUMP, notified=refuse)

    assert asked(tmp_path) == [{"type": "DUMP"}]


@pytest.mark.parametrize(("before", "kind"), [([], "DUMP"), ([{"notify": "pre-dump"}], "NOTIFY")])
def test_a_failure_says_where_and_names_the_log(tmp_path: Path, before: list, kind: str) -> None:
    failed = {"say": {"type": "DUMP", "success": False, "crErrno": 5}}
    program = install(tmp_path, DUMP=[*before, failed])

    with pytest.raises(RuntimeFault) as caught, Session(program) as session:
        session.ask(DUMP, log_file="work/dump.log")

    assert str(caught.value) == f"criu failed: type {kind} errno 5\nlog file: work/dump.log"


@pytest.mark.parametrize(("status", "how"), [(3, "exit status 3"), (-9, "signal: killed")])
def test_an_end_that_is_not_well(tmp_path: Path, status: int, how: str) -> None:
    last = [{"exit": status}] if status > 0 else [{"kill_itself": True}]
    program = install(tmp_path, DUMP=[DONE, *last])

    with Session(program) as session:
        session.ask(DUMP)
        with pytest.raises(RuntimeFault, match=f"criu failed: {how}\nlog file: dump.log"):
            session.finish("dump.log")


def test_streams_and_further_descriptors_get_their_places(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("in", "out", "errors", "extra")]
    for file in files:
        file.touch()
    opened = [os.open(file, os.O_RDWR) for file in files]
    request = criu_pb2.Request(type=criu_pb2.DUMP)
    request.opts.images_dir_fd = opened[0]
    request.opts.inherit_fd.add(key="extRootNetNS", fd=4)
    try:
        with Session(
            install(tmp_path / "criu", DUMP=[DONE]), (opened[0], opened[1], opened[2]), opened[3:]
        ) as session:
            session.ask(request)
    finally:
        for descriptor in opened:
            os.close(descriptor)

    (said,) = asked(tmp_path / "criu")
    assert said["streams"] == [str(file) for file in files[:3]]
    assert said["extra"] == [files[3].stat().st_ino]
