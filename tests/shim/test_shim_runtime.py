import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sixhops.shim.loop import Loop, Task
from sixhops.shim.runtime import Runtime, RuntimeFailedError, RuntimeOptions

pytestmark = pytest.mark.alone


@pytest.fixture
def loop() -> Iterator[Loop]:
    kept = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    made.catch_signals()
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, kept)


def run(loop: Loop, coroutine: object) -> object:
    task: Task[object] = Task(coroutine)  # type: ignore[arg-type]
    task.on_done(loop.stop)
    loop.later(5.0, loop.stop)
    loop.run()
    return task.result()


def make(loop: Loop, path: Path, script: str) -> Runtime:
    binary = path / "fake"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return Runtime(loop, RuntimeOptions(str(binary), "/state"), "ns", path / "log.json")


def test_arguments_are_those_of_runc(loop: Loop, tmp_path: Path) -> None:
    runtime = make(loop, tmp_path, 'echo "$@"')

    output = run(loop, runtime.run(["start", "c1"]))

    assert output == f"--root /state/ns --log {tmp_path}/log.json --log-format json start c1\n".encode()


def test_input_reaches_the_runtime(loop: Loop, tmp_path: Path) -> None:
    assert run(loop, make(loop, tmp_path, "cat").run(["update"], stdin=b"{}")) == b"{}"


def test_container_descriptors_are_handed_on(loop: Loop, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)

    run(loop, make(loop, tmp_path, "echo out").run(["create"], stdio=(null, writer, null)))

    assert os.read(reader, 10) == b"out\n"
    for descriptor in (reader, writer, null):
        os.close(descriptor)


def test_failure_has_status_and_output(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailedError) as caught:
        run(loop, make(loop, tmp_path, "echo broken; exit 3").run(["kill"]))

    assert str(caught.value) == "fake did not terminate successfully: exit status 3: broken\n"


def test_explanation_is_the_last_error_of_the_log(loop: Loop, tmp_path: Path) -> None:
    runtime = make(loop, tmp_path, "")
    lines = [
        '{"level":"error","msg":"first"}',
        "noise",
        '{"level":"error","msg":"second"}',
        '{"level":"info","msg":"x"}',
    ]
    (tmp_path / "log.json").write_text("\n".join(lines))

    assert (
        runtime.explain("OCI runtime create failed", ValueError("e")) == "OCI runtime create failed: second"
    )


def test_explanation_without_a_log(loop: Loop, tmp_path: Path) -> None:
    text = make(loop, tmp_path, "").explain("OCI runtime create failed", ValueError("e"))

    missing = f"open {tmp_path}/log.json: no such file or directory"
    assert text == f"OCI runtime create failed: unable to retrieve OCI runtime error ({missing}): e"


def test_missing_binary(loop: Loop, tmp_path: Path) -> None:
    runtime = Runtime(loop, RuntimeOptions("no-such-runtime", "/s"), "ns", tmp_path / "log.json")

    with pytest.raises(OSError, match=r'exec: "no-such-runtime": executable file not found in \$PATH'):
        run(loop, runtime.run(["create"]))


def test_binary_that_is_a_directory(loop: Loop, tmp_path: Path) -> None:
    runtime = Runtime(loop, RuntimeOptions(str(tmp_path), "/s"), "ns", tmp_path / "log.json")

    with pytest.raises(OSError, match=rf"^fork/exec {tmp_path}: permission denied$"):
        run(loop, runtime.run(["create"]))


def test_loaded_runtime_is_forked(tmp_path: Path) -> None:
    (tmp_path / "fake_runtime.py").write_text(
        "import os\n"
        "def main(words):\n"
        "    count = len(os.listdir('/proc/self/fd'))\n"
        "    os.write(1, f'{count} {words[-2]} {words[-1]}'.encode())\n"
        "    return 4\n"
    )
    # a process of its own: a process that forks must have one thread
    script = """
import pathlib
from sixhops.shim.loop import Loop, Task
from sixhops.shim.runtime import Runtime, RuntimeFailedError, RuntimeOptions
loop = Loop()
loop.catch_signals()
options = RuntimeOptions("sixhops-runc", "/s", module="fake_runtime")
runtime = Runtime(loop, options, "ns", pathlib.Path("log.json"))
async def main():
    try:
        await runtime.run(["delete", "c1"])
    except RuntimeFailedError as error:
        print(error.status, error.output)
Task(main()).on_done(loop.stop)
loop.run()
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]

    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=30)

    # 0, 1, 2 and the one that lists the directory: nothing of ours leaks into the runtime
    assert (done.stdout, done.stderr) == ("4 4 delete c1\n", "")
