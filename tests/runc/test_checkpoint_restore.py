"""checkpoint and restore as commands, on real containers; CRIU itself is a stand-in (scenarios have the real one)."""

import json
import subprocess
from pathlib import Path

import pytest
from boxed import Box, lacking, wait_end
from fake_criu import asked, install

from sixhops.linux.mounts import MS_BIND, mount

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "all is there")
DUMPED = {"say": {"type": "DUMP", "success": True}}
FAILED = {"say": {"type": "DUMP", "success": False, "crErrno": 22}}


def running(box: Box) -> int:
    box.config["process"]["args"] = ["sleep", "100"]
    box.create(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    box.start()
    return int(box.state()["pid"])


def criu(box: Box, program: str, command: str, *words: str, **options) -> subprocess.CompletedProcess:
    # global options stand in front of the command
    return box.runc("--criu", program, command, *words, box.identifier, **options)


def pairs(request: dict) -> dict[str, str]:
    return {mount["key"]: mount["val"] for mount in request["opts"]["ext_mnt"]}


def test_a_checkpoint_ends_and_removes_the_container(box: Box, tmp_path: Path) -> None:
    box.config["annotations"] = {"org.criu.config": "/etc/mine"}
    box.config["linux"]["maskedPaths"] = ["/proc/keys", "/sys", "/nosuch"]
    (box.bundle / "rootfs/sys").mkdir()
    (box.bundle / "rootfs/link").symlink_to("/there")
    (tmp_path / "shared").mkdir()
    box.config["mounts"].append(
        {"destination": "/link/x", "type": "bind", "source": str(tmp_path / "shared"), "options": ["bind"]}
    )
    program = install(tmp_path / "criu", DUMP=[{"notify": "network-lock"}, {"kill": True}, DUMPED])
    pid = running(box)

    criu(box, program, "checkpoint", "--image-path", f"{tmp_path}/image", "--work-path", f"{tmp_path}/work")

    wait_end(pid)
    assert box.leftovers() == []
    dump = asked(tmp_path / "criu")[1]
    options = dump["opts"]
    assert dump["images"] == f"{tmp_path}/image"
    assert dump["streams"] == ["/dev/null"] * 3
    assert options["pid"] == pid
    assert options["root"] == str(box.bundle / "rootfs")
    assert options["log_file"] == "dump.log"
    assert options["config_file"] == "/etc/mine"
    assert options["leave_running"] is False
    assert options["freeze_cgroup"].endswith(box.cgroup)
    mounts = pairs(dump)
    # where the link leads, what is masked, and devices
    assert mounts["/there/x"] == "/there/x"
    assert mounts["/proc/keys"] == "/dev/null"
    assert not {"/sys", "/nosuch"} & mounts.keys()  # a directory, and what is not there at all
    assert mounts["/dev/null"] == "/dev/null"
    assert json.loads((tmp_path / "image/descriptors.json").read_text()) == ["/dev/null"] * 3


def test_with_leave_running_it_goes_on(box: Box, tmp_path: Path) -> None:
    program = install(tmp_path / "criu", DUMP=[DUMPED])
    running(box)

    criu(box, program, "checkpoint", "--leave-running", "--image-path", f"{tmp_path}/image")

    assert box.state()["status"] == "running"
    assert asked(tmp_path / "criu")[1]["opts"]["leave_running"] is True


def test_a_container_of_a_version_that_knew_no_checkpoints(box: Box, tmp_path: Path) -> None:
    program = install(tmp_path / "criu", DUMP=[DUMPED])
    running(box)
    record = Path(box.root, box.identifier, "state.json")
    kept = json.loads(record.read_text())
    del kept["descriptors"]
    record.write_text(json.dumps(kept))

    criu(box, program, "checkpoint", "--leave-running", "--image-path", f"{tmp_path}/image")

    # its streams, as they are now
    assert json.loads((tmp_path / "image/descriptors.json").read_text()) == ["/dev/null"] * 3


def test_what_could_not_be_written_down_goes_on(box: Box, tmp_path: Path) -> None:
    program = install(tmp_path / "criu", DUMP=[FAILED])
    running(box)

    done = criu(box, program, "checkpoint", "--image-path", f"{tmp_path}/image", check=False)

    assert done.returncode == 1
    assert done.stderr == "criu failed: type DUMP errno 22\nlog file: dump.log\n"
    assert [json.loads(line)["msg"] for line in box.log.read_text().splitlines()] == [
        "container still running",
        "criu failed: type DUMP errno 22\nlog file: dump.log",
    ]
    assert box.state()["status"] == "running"


def test_memory_alone_is_written_where_the_kernel_can(box: Box, tmp_path: Path) -> None:
    can = {"say": {"type": "FEATURE_CHECK", "success": True, "features": {"memTrack": True}}}
    written = {"say": {"type": "PRE_DUMP", "success": True}}
    program = install(tmp_path / "criu", FEATURE_CHECK=[can], PRE_DUMP=[written, {"exit": 1}])
    running(box)
    (tmp_path / "before").mkdir()

    criu(
        box,
        program,
        *("checkpoint", "--pre-dump", "--image-path", f"{tmp_path}/image", "--parent-path", "../before"),
    )

    _, feature, dump = asked(tmp_path / "criu")
    assert feature["features"] == {"mem_track": True}
    assert dump["type"] == "PRE_DUMP"
    assert (dump["opts"]["parent_img"], dump["opts"]["track_mem"]) == ("../before", True)
    assert "ext_mnt" not in dump["opts"]
    assert box.state()["status"] == "running"


@pytest.mark.parametrize("flag", ["--pre-dump", "--lazy-pages"])
def test_what_criu_or_the_kernel_can_not_do(box: Box, tmp_path: Path, flag: str) -> None:
    nothing = {"memTrack": False, "lazyPages": False}
    lacks = {"say": {"type": "FEATURE_CHECK", "success": True, "features": nothing}}
    program = install(tmp_path / "criu", FEATURE_CHECK=[lacks])
    running(box)

    done = criu(box, program, "checkpoint", flag, "--image-path", f"{tmp_path}/image", check=False)

    assert done.returncode == 1
    assert done.stderr == "CRIU is missing features\n"
    assert box.state()["status"] == "running"


def test_who_fetches_memory_later_is_told_when_it_is_there(box: Box, tmp_path: Path) -> None:
    can = {"say": {"type": "FEATURE_CHECK", "success": True, "features": {"lazyPages": True}}}
    program = install(
        tmp_path / "criu", FEATURE_CHECK=[can], DUMP=[{"notify": "status-ready"}, {"kill": True}, DUMPED]
    )
    pid = running(box)
    told = tmp_path / "told"

    with told.open("w") as file:
        criu(
            box,
            program,
            *(
                "checkpoint",
                "--lazy-pages",
                "--page-server",
                "127.0.0.1:27",
                "--image-path",
                f"{tmp_path}/image",
            ),
            *("--status-fd", str(file.fileno())),
            pass_fds=[file.fileno()],
        )

    wait_end(pid)
    assert told.read_bytes() == b"\0"
    options = asked(tmp_path / "criu")[2]["opts"]
    assert options["lazy_pages"] is True
    assert options["ps"] == {"address": "127.0.0.1", "port": 27}


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "read only"])
def test_a_status_descriptor_that_is_none(box: Box, tmp_path: Path, is_open: bool) -> None:
    can = {"say": {"type": "FEATURE_CHECK", "success": True, "features": {"lazyPages": True}}}
    program = install(tmp_path / "criu", FEATURE_CHECK=[can])
    running(box)

    with Path("/dev/null").open("rb") as file:
        descriptor = str(file.fileno())
        done = criu(
            box,
            program,
            *("checkpoint", "--lazy-pages", "--status-fd", descriptor, "--image-path", f"{tmp_path}/image"),
            check=False,
            pass_fds=[file.fileno()] if is_open else [],
        )

    problem = "not writable" if is_open else "bad file descriptor"
    assert done.stderr == f"invalid --status-fd argument {descriptor}: {problem}\n"


def images(directory: Path, streams: list[str]) -> str:
    directory.mkdir()
    (directory / "descriptors.json").write_text(json.dumps(streams))
    return str(directory)


def test_a_restored_container_is_one_as_any(box: Box, tmp_path: Path) -> None:
    box.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {tmp_path}/told"]}]
    }
    (tmp_path / "shared").mkdir()
    box.config["mounts"].append(
        {"destination": "/new/x", "type": "bind", "source": str(tmp_path / "shared"), "options": ["bind"]}
    )
    box.config["linux"]["namespaces"] = [
        *({"type": kind} for kind in ("mount", "uts", "pid")),
        {"type": "network", "path": "/proc/self/ns/net"},
        {"type": "ipc", "path": "/proc/self/ns/ipc"},
    ]
    program = install(
        tmp_path / "criu", RESTORE=[{"notify": "setup-namespaces", "pid": 77}, {"restore": True}]
    )
    image = images(tmp_path / "image", ["/dev/null", "pipe:[5]", "pipe:[6]"])

    criu(
        box,
        program,
        *("restore", "--detach", "--image-path", image, "--pid-file", f"{tmp_path}/pid"),
        *("--bundle", str(box.bundle), "--lsm-profile", "apparmor:x"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    state = box.state()
    assert state["status"] == "running"
    assert (tmp_path / "pid").read_text() == str(state["pid"])
    assert json.loads((tmp_path / "told").read_text())["pid"] == 77
    restore = next(one for one in asked(tmp_path / "criu") if one["type"] == "RESTORE")
    options = restore["opts"]
    assert options["rst_sibling"] is True
    assert restore["root_is_mounted"] is True
    assert options["root"] == str(box.root / box.identifier / "criu-root")
    assert not Path(options["root"]).exists()
    assert all(line.endswith(box.cgroup) for line in restore["groups"].splitlines())
    # every hierarchy's group, which takes the place of the image's
    assert {root["path"] for root in options.get("cg_root", [{"path": box.cgroup}])} == {box.cgroup}
    assert restore["extra"] == [Path("/proc/self/ns/net").stat().st_ino]
    inherited = {fd["key"]: fd["fd"] for fd in options["inherit_fd"]}
    assert inherited == {"extRootNetNS": 4, "pipe:[5]": 1, "pipe:[6]": 2}
    assert options["join_ns"] == [{"ns": "ipc", "ns_file": "/proc/self/ns/ipc"}]
    assert options["lsm_profile"] == "apparmor:x"
    assert pairs(restore)["/new/x"] == str(tmp_path / "shared")
    # places are made, and nothing is left mounted there
    assert (box.bundle / "rootfs/new/x").is_dir()
    assert (box.bundle / "rootfs/proc").is_dir()
    box.runc("delete", "--force", box.identifier)
    assert box.leftovers() == []


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (
            [{"say": {"type": "RESTORE", "success": False, "crErrno": 2}}],
            "criu failed: type RESTORE errno 2\n",
        ),
        ([{"exit": 0}], "unexpected EOF\n"),
        ([{"restore": True}, {"exit": 3}], "criu failed: exit status 3\n"),
        ([{"notify": "orphan-pts-master"}], "criu sent no descriptor of the terminal\n"),
        (
            [{"notify": "orphan-pts-master", "descriptor": "/dev/null"}],
            "the image has a terminal, and there is no console socket to send it to\n",
        ),
    ],
)
def test_a_restore_that_fails_leaves_nothing(box: Box, tmp_path: Path, steps: list, problem: str) -> None:
    program = install(tmp_path / "criu", RESTORE=steps)
    image = images(tmp_path / "image", [""] * 3)

    done = criu(
        box,
        program,
        *("restore", "--detach", "--image-path", image, "--bundle", str(box.bundle)),
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(problem)
    assert box.leftovers() == []


def test_a_restore_that_fails_beside_the_original_leaves_that_alone(box: Box, tmp_path: Path) -> None:
    program = install(
        tmp_path / "criu", RESTORE=[{"say": {"type": "RESTORE", "success": False, "crErrno": 2}}]
    )
    image = images(tmp_path / "image", [""] * 3)
    running(box)

    done = box.runc(
        "--criu", program, "restore", "--detach", "--image-path", image, "--bundle", str(box.bundle), "other",
        check=False,
    )  # fmt: skip

    assert done.returncode == 1
    said = [json.loads(line)["msg"] for line in box.log.read_text().splitlines()]
    assert said[0] == "container's cgroup is not empty: 1 process(es) found"
    assert box.state()["status"] == "running"
    assert [path.name for path in box.root.iterdir()] == [box.identifier]


def test_what_a_killed_restore_has_left_goes_with_the_container(box: Box) -> None:
    running(box)
    place = box.root / box.identifier / "criu-root"
    place.mkdir()
    mount(str(box.bundle / "rootfs"), str(place), flags=MS_BIND)

    box.runc("delete", "--force", box.identifier)

    assert box.leftovers() == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "open {}/descriptors.json: no such file or directory\n"),
        ("{", "{}/descriptors.json: "),
        ('["a", 1]', "{}/descriptors.json: not a list of texts\n"),
    ],
)
def test_images_whose_streams_are_unknown(box: Box, tmp_path: Path, text: str | None, problem: str) -> None:
    image = tmp_path / "image"
    image.mkdir()
    if text is not None:
        (image / "descriptors.json").write_text(text)

    done = criu(
        box,
        install(tmp_path / "criu"),
        *("restore", "--detach", "--image-path", str(image), "--bundle", str(box.bundle)),
        check=False,
    )

    assert done.stderr.startswith(problem.format(image))
    assert box.leftovers() == []
