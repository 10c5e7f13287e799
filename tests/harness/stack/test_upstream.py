"""Upstream's stack: it starts, tells what it is, records, notices deaths, and leaves nothing."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stack_needs import NEEDS_UPSTREAM, await_end

from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack import open_target
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack
from sixhops.harness.stack.remains import find_cgroups
from sixhops.harness.stack.state import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = NEEDS_UPSTREAM


@pytest.fixture
def doomed() -> Iterator[PrivateStack]:
    """A stack that a test may break."""
    stack = PrivateStack.start("upstream", directory=None, options=StackOptions())
    yield stack
    stack.close()


def start_container(stack: PrivateStack, image: str, *argv: str, network: str = "none") -> tuple[str, int]:
    with engine_client(stack.engine, 30) as client:
        created = client.post(
            "/containers/create",
            json={"Image": image, "Cmd": ["/bin/busybox", *argv], "HostConfig": {"NetworkMode": network}},
        )
        assert created.status_code == 201, created.text
        name = created.json()["Id"]
        started = client.post(f"/containers/{name}/start")
        assert started.status_code == 204, started.text
        return name, client.get(f"/containers/{name}/json").json()["State"]["Pid"]


def remove_container(stack: PrivateStack, name: str) -> None:
    with engine_client(stack.engine, 30) as client:
        assert client.delete(f"/containers/{name}?force=1").status_code == 204


def test_what_the_stack_says_of_itself(upstream: PrivateStack) -> None:
    facts = upstream.facts

    assert facts.root
    assert facts.api_minimum < (1, 40) <= facts.api_maximum
    assert facts.variables["api"] == ".".join(map(str, facts.api_maximum))
    assert set(facts.programs.values()) <= {"upstream", "unknown"}
    assert {hop for hop, reason in facts.hops.items() if reason is None} >= {
        Hop.ENGINE,
        Hop.REGISTRY,
        Hop.PROCESS,
    }
    upstream.check_alive()


def test_daemons_stand_side_by_side_below_the_first_process(upstream: PrivateStack) -> None:
    assert upstream.host is not None
    table = {process["comm"]: process for process in upstream.host.processes()}

    assert {"sixhops-init", "dockerd", "containerd", "docker-registry"} <= table.keys()
    assert table["dockerd"]["parent"] == table["containerd"]["parent"] == "sixhops-init"


def test_pids_of_the_engine_are_those_of_the_snapshot(upstream: PrivateStack, busybox: str) -> None:
    name, pid = start_container(upstream, busybox, "sleep", "1000")
    assert upstream.host is not None

    (process,) = [process for process in upstream.host.processes() if process["pid"] == pid]
    remove_container(upstream, name)

    assert process["argv"] == ["/bin/busybox", "sleep", "1000"]
    assert process["parent"] == "containerd-shim"
    assert process["nspid"] == [pid, 1]
    assert f"/sixhops-{upstream.sandbox.id}/{name}" in process["cgroup"].values()


def test_files_links_and_rules_are_the_stacks_own(upstream: PrivateStack) -> None:
    assert upstream.host is not None

    assert "docker0" in upstream.host.links()
    assert any("DOCKER" in rule for rule in upstream.host.rules())
    assert upstream.host.file("/etc/resolv.conf").content == b"nameserver 192.0.2.53\n"
    assert upstream.host.file("/proc/self").type == "link"
    assert upstream.host.file("/proc/mounts").target == "self/mounts"
    assert not upstream.host.file("/no/such").exists


def test_files_never_lead_out_of_the_stack(upstream: PrivateStack, tmp_path: Path) -> None:
    # /run is the stack's; a link through it that the host would follow to its own must not be.
    (tmp_path / "out").symlink_to("/run")
    assert upstream.host is not None

    assert upstream.host.file(f"{tmp_path}/out/lock").type == "directory"
    assert upstream.host.file(f"{tmp_path}/out/initctl").exists is False


def test_a_missing_image_fails_at_once_and_no_request_leaves(upstream: PrivateStack) -> None:
    mark = upstream.recorder.mark()
    with engine_client(upstream.engine, 30) as client:
        answer = client.post("/images/create?fromImage=nobody&tag=latest")

    assert answer.status_code == 500
    assert "192.0.2.53" in answer.json()["message"]
    summaries = [message.summary for message in upstream.recorder.since(mark, settle=5)]
    assert "HEAD /v2/library/nobody/manifests/latest -> 404" in summaries


def test_the_registry_is_reached_directly(upstream: PrivateStack) -> None:
    assert upstream.registry is not None
    with engine_client(upstream.registry.direct, 10) as client:
        assert client.get("/v2/").json() == {}


def test_a_client_under_test_is_recorded(upstream: PrivateStack) -> None:
    argv, tap = upstream.docker_argv(), upstream.engine_tap()
    if argv is None:
        pytest.skip("needs the docker client (apt-get install docker.io)")
    assert tap is not None
    mark = upstream.recorder.mark()

    done = subprocess.run(
        [*argv, "ps", "--quiet"], env={"DOCKER_HOST": tap.text}, capture_output=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout) == (0, b"")
    assert upstream.recorder.since(mark, settle=5)[0].summary == "HEAD /_ping -> 200"


def test_the_logs_since_a_mark(upstream: PrivateStack) -> None:
    marks = upstream.log_marks()
    with engine_client(upstream.engine, 10) as client:
        client.get("/containers/nobody-knows/json")

    assert "nobody-knows" in upstream.log_since(marks)["dockerd"]


def test_start_and_stop_are_quick_and_logs_stay_where_they_were_wanted(tmp_path: Path) -> None:
    started = time.monotonic()
    stack = open_target("upstream", directory=tmp_path / "logs")
    up = time.monotonic()
    assert stack.close() == []
    down = time.monotonic()

    # Each takes a second or so; what goes wrong is that something waits until a bound of ten seconds has passed.
    assert up - started < 9 * slack()
    assert down - up < 9 * slack()
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {
        "containerd.log",
        "dockerd.log",
        "registry.log",
    }


def slack() -> float:
    """Return by how much this machine is overbooked: the bounds hold for an idle one."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_stopping_with_a_paused_container_leaves_nothing(doomed: PrivateStack) -> None:
    name, _ = start_container(doomed, import_busybox(doomed), "sleep", "1000", network="bridge")
    with engine_client(doomed.engine, 30) as client:
        assert client.post(f"/containers/{name}/pause").status_code == 204

    assert doomed.close() == []
    assert find_cgroups(doomed.sandbox.id) == []
    assert not doomed.sandbox.directory.exists()


def import_busybox(stack: PrivateStack) -> str:
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("needs /bin/busybox (apt-get install busybox-static)")
    archive = subprocess.run(
        ["tar", "-C", "/", "--dereference", "-c", "bin/busybox"], capture_output=True, check=True, timeout=30
    ).stdout
    with engine_client(stack.engine, 30) as client:
        assert client.post("/images/create?fromSrc=-&repo=busybox", content=archive).status_code == 200
    return "busybox"


@pytest.mark.parametrize("role", ["dockerd", "containerd", "registry"])
def test_a_killed_daemon_is_told_with_its_log(doomed: PrivateStack, role: str) -> None:
    doomed.kill(role)
    doomed.sandbox.wait_exit(role, 10)

    with pytest.raises(TargetError, match=rf"{role} was killed by SIGKILL; its log ends with:\n.+"):
        doomed.check_alive()
    assert doomed.close() == []


def test_everything_killed_during_a_run_leaves_nothing(doomed: PrivateStack) -> None:
    start_container(doomed, import_busybox(doomed), "sleep", "1000", network="bridge")
    doomed.sandbox.signal(-1, signal.SIGKILL)

    assert doomed.close() == []
    assert find_cgroups(doomed.sandbox.id) == []


def test_the_whole_machine_killed_is_told(doomed: PrivateStack) -> None:
    os.kill(doomed.sandbox.init, signal.SIGKILL)
    doomed.sandbox.wait_exit("dockerd", 10)

    with pytest.raises(TargetError, match="the private machine has gone"):
        doomed.check_alive()
    assert doomed.close() == []


def test_two_stacks_at_once_have_the_same_addresses_and_do_not_clash() -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        stacks = list(pool.map(open_target, ["upstream", "upstream"]))
    try:
        for stack in stacks:
            with engine_client(stack.engine, 30) as client:
                (bridge,) = [n for n in client.get("/networks").json() if n["Name"] == "bridge"]
                assert bridge["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16"
    finally:
        assert [stack.close() for stack in stacks] == [[], []]


def test_the_state_is_kept_when_wanted() -> None:
    stack = PrivateStack.start("upstream", directory=None, options=StackOptions(keep_state=True))
    directory = stack.sandbox.directory

    assert stack.close() == []
    assert (directory / "docker" / "overlay2").is_dir()
    (directory / "kept").unlink()
    open_target("upstream").close()  # whose start sweeps
    assert not directory.exists()


def test_a_program_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "dockerd"
    broken.write_text("#!/bin/sh\necho no luck today\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(TargetError, match=r"dockerd ended with status 7; its log ends with:\nno luck today"):
        open_target("upstream")


def test_a_program_that_never_listens_is_told_after_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = tmp_path / "containerd"
    lazy.write_text("#!/bin/sh\nexec sleep 100\n")
    lazy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(
        TargetError, match=r"containerd did not listen on .* within 0\.2 s; it logged nothing"
    ):
        open_target("upstream", options={"start_timeout": 0.2})


def test_a_stack_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="did you mean 'upstream'"):
        open_target("upstrem")


OWNER = """
import sys
from sixhops.harness.stack import open_target
stack = open_target("upstream")
print(stack.sandbox.directory, flush=True)
sys.stdin.read()
"""


def test_a_killed_harness_leaves_nothing_of_its_stack() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        directory = owner.stdout.readline().strip()
        record = read_record(Path(directory))
        assert record is not None
        owner.kill()

    await_end(record.reaper)
    assert not Path(directory).exists()
    assert not Path(f"/proc/{record.init}").exists()
    assert find_cgroups(Path(directory).name) == []
    assert directory not in Path("/proc/self/mountinfo").read_text()
