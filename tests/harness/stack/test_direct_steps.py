"""Steps on the inner hops against real programs: what they leave is removed and told, and where they reach."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.errors import TargetError
from sixhops.harness.images import build, load_recipe
from sixhops.harness.run.containerd_objects import ContainerdClient
from sixhops.harness.run.scenario import run_scenario
from sixhops.harness.scenario.load import load_text

if TYPE_CHECKING:
    from sixhops.harness.images import BuiltImage
    from sixhops.harness.run.result import ScenarioRun
    from sixhops.harness.stack.private import PrivateStack

pytestmark = NEEDS_UPSTREAM

RECIPES = Path(__file__).parents[3] / "scenarios" / "images"
HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltImage]:
    return {"busybox": build(load_recipe(RECIPES / "busybox.yaml"), tmp_path_factory.mktemp("cache"))}


def run(stack: PrivateStack, images: dict[str, BuiltImage], steps: str) -> ScenarioRun:
    (scenario,) = load_text(f"title: t\nrefs: [x/y]\nsteps:\n{steps}")
    return run_scenario(scenario, stack, images)


LEAVE = f"""
  - bundle: b
    image: busybox
    config: {{process: {{args: [/bin/sleep, "1000"]}}}}
    save: {{spec: $config}}
  - grpc: Leases/Create
    json: {{id: l}}
  - grpc: Content/Write
    metadata: {{containerd-lease: l}}
    messages: [{{action: COMMIT, ref: r, total: 5, expected: "{HELLO}", data: hello}}]
    expect: {{status: OK}}
  - grpc: Content/Write
    messages: [{{action: WRITE, ref: half, total: 5, data: he}}]
    expect: {{status: OK}}
  - grpc: Images/Create
    json: {{image: {{name: "x:1", target: {{media_type: text/plain, digest: "{HELLO}", size: 5}}}}}}
    expect: {{status: OK}}
  - grpc: Snapshots/Prepare
    metadata: {{containerd-lease: l}}
    json: {{snapshotter: overlayfs, key: a}}
    expect: {{status: OK}}
  - grpc: Snapshots/Commit
    metadata: {{containerd-lease: l}}
    json: {{snapshotter: overlayfs, key: a, name: below}}
    expect: {{status: OK}}
  - grpc: Snapshots/Prepare
    metadata: {{containerd-lease: l}}
    json: {{snapshotter: overlayfs, key: above, parent: below}}
    expect: {{status: OK}}
  - grpc: Containers/Create
    json:
      container:
        id: c
        runtime: {{name: io.containerd.runc.v2}}
        spec: {{"@type": types.containerd.io/opencontainers/runtime-spec/1/Spec, value: "${{spec}}"}}
    expect: {{status: OK}}
  - grpc: Tasks/Create
    json: {{container_id: c, rootfs: [{{type: bind, source: "${{b}}/rootfs", options: [rbind, rw]}}]}}
    expect: {{status: OK}}
  - grpc: Tasks/Start
    json: {{container_id: c}}
    expect: {{status: OK}}
  - bundle: d
    image: busybox
    config: {{process: {{args: [/bin/sleep, "1000"]}}}}
  - runc: run --detach --bundle ${{d}} left
    expect: {{exit: 0}}
"""


def test_everything_that_is_left_is_told_and_then_gone(
    upstream: PrivateStack, images: dict[str, BuiltImage]
) -> None:
    result = run(upstream, images, LEAVE)

    assert result.verdict.mismatches == ()
    assert sorted(result.leftovers) == sorted(
        [
            "runtime container: left",
            "containerd container: c (namespace sixhops)",
            "containerd task: c (namespace sixhops)",
            "containerd image: x:1 (namespace sixhops)",
            "containerd lease: l (namespace sixhops)",
            "containerd snapshot: overlayfs/below (namespace sixhops)",
            "containerd snapshot: overlayfs/above (namespace sixhops)",
            f"containerd content: {HELLO} (namespace sixhops)",
            "containerd upload: half (namespace sixhops)",
        ]
    )
    with ContainerdClient(upstream.machine.containerd) as client:
        now = client.objects()
    assert now.namespaces <= {"moby", "plugins.moby"}
    assert not any(now.names.values())
    assert list(upstream.machine.directory.iterdir()) == []


def test_what_a_scenario_removes_itself_is_no_leftover(
    upstream: PrivateStack, images: dict[str, BuiltImage]
) -> None:
    result = run(
        upstream,
        images,
        "  - {bundle: b, image: busybox, config: {process: {args: [/bin/echo, hello]}}}\n"
        '  - {runc: "run --bundle ${b} x", expect: {exit: 0, stdout: "hello\\n", stderr: "", log: []}}\n'
        "  - {grpc: Leases/Create, json: {id: l}, expect: {status: OK}}\n"
        "  - {grpc: Leases/Delete, json: {id: l}, expect: {status: OK}}\n",
    )

    assert result.passed, (result.leftovers, result.verdict.mismatches)


def test_a_container_is_in_the_stacks_own_control_group(
    upstream: PrivateStack, images: dict[str, BuiltImage]
) -> None:
    result = run(
        upstream,
        images,
        "  - {bundle: b, image: busybox, config: {process: {args: [/bin/cat, /proc/self/cgroup]}}}\n"
        '  - {runc: "run --bundle ${b} x", expect: {exit: 0}}\n',
    )

    groups = {line.split(":", 2)[2] for line in str(result.exchanges[1].facets["stdout"]).splitlines()}
    assert all(group.startswith(f"/{upstream.sandbox.cgroup}/") for group in groups if group != "/"), groups


def test_commands_run_inside_the_machine(upstream: PrivateStack) -> None:
    script = 'cat /proc/self/stat | cut -d" " -f1; ls /proc/net/unix >/dev/null; exit 7'
    done = subprocess.run(
        upstream.machine.command(["sh", "-c", script]),
        env=upstream.machine.environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 7
    assert 1 < int(done.stdout) < 32768


def test_abstract_sockets_belong_to_the_machine(upstream: PrivateStack) -> None:
    server = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0sixhops-test'); s.listen(); "
        "print('up', flush=True); c, _ = s.accept(); c.sendall(b'inside')"
    )
    process = subprocess.Popen(
        upstream.machine.command(["python3", "-c", server]), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "up\n"
        with upstream.machine.connect("@sixhops-test", 5) as connection:
            assert connection.recv(100) == b"inside"
    with pytest.raises(TargetError, match="can't connect to @sixhops-test"):
        upstream.machine.connect("@sixhops-test", 5)


@pytest.mark.parametrize("address", ["/run/nobody.sock", "unix:///no/such/directory/x.sock", "@" + "a" * 200])
def test_an_address_where_nobody_is(upstream: PrivateStack, address: str) -> None:
    with pytest.raises(TargetError, match="can't connect to"):
        upstream.machine.connect(address, 1)


def test_a_container_without_a_shim(upstream: PrivateStack) -> None:
    with pytest.raises(TargetError, match="container nobody has no shim in the namespace moby"):
        upstream.machine.shim("moby", "nobody")


def test_a_runtime_past_its_time_is_killed(upstream: PrivateStack, images: dict[str, BuiltImage]) -> None:
    started = time.monotonic()

    result = run(
        upstream,
        images,
        "  - {bundle: b, image: busybox, config: {process: {args: [/bin/sleep, '1000']}}}\n"
        '  - {runc: "run --bundle ${b} x", timeout: 1s}\n',
    )

    assert "did not end within the step's time and was killed" in str(result.exchanges[1].error)
    assert result.leftovers == ["runtime container: x"]
    assert time.monotonic() - started < 20
