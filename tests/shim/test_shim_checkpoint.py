"""Checkpoint and restore that succeed, on upstream's shim and on ours.

A stand-in for the runtime keeps and finds an image, because CRIU is not to be had on every kernel; all else is runc's.
"""

import shlex
from pathlib import Path
from typing import Any

import pytest
from shim_support import Machine, Task

from sixhops.wire.proto import process_pb2, runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack

RUNTIME = r"""#!/bin/sh
before=; command=; image=; bundle=; pid=; last=
for word in "$@"; do
  case $last in --image-path) image=$word;; --bundle) bundle=$word;; --pid-file) pid=$word;; esac
  case $word in checkpoint|restore) command=$word;; esac
  [ -n "$command" ] || before="$before $word"
  last=$word
done
case $command in
checkpoint) echo "$@" > {said}; mkdir -p "$image"; echo frozen > "$image/core.img";;
restore) echo "$@" > {said}; [ -f "$image/core.img" ] || exit 1
  runc $before create --bundle "$bundle" --pid-file "$pid" "$last" && exec runc $before start "$last";;
*) exec runc "$@";;
esac
"""


class Runtime:
    """The stand-in: its path, and what it was called with last."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "runtime"
        self._said = directory / "said"
        self.path.write_text(RUNTIME.replace("{said}", shlex.quote(str(self._said))))
        self.path.chmod(0o755)

    def said(self) -> list[str]:
        """Return the command line from the command on."""
        words = self._said.read_text().split()
        return words[next(at for at, word in enumerate(words) if word in {"checkpoint", "restore"}) :]


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path)


def make(machine: Machine, runtime: Runtime, **fields: Any) -> Task:
    task = machine.start("sleep", "1000")
    task.create(options=machine.options(binary_name=str(runtime.path)), **fields)
    return task


def options(**fields: Any) -> Any:
    request = shim_v2_pb2.CheckpointTaskRequest()
    pack(request.options, runc_options_pb2.CheckpointOptions(**fields))
    return request.options


def test_a_task_is_checkpointed_and_restored(machine: Machine, runtime: Runtime, tmp_path: Path) -> None:
    task = make(machine, runtime)
    task.call("Start")
    image = tmp_path / "image"

    task.call("Checkpoint", path=str(image), options=options(open_tcp=True, file_locks=True))

    assert task.call("State").status == process_pb2.RUNNING
    words = runtime.said()
    assert words[0] == "checkpoint"
    assert words[words.index("--image-path") + 1] == str(image)
    assert {"--tcp-established", "--file-locks", "--leave-running", task.id} <= set(words)
    assert not {"--ext-unix-sk", "--shell-job"} & set(words)

    restored = make(machine, runtime, checkpoint=str(image))
    assert restored.call("State").status == process_pb2.CREATED
    pid = restored.call("Start").pid

    assert Path(f"/proc/{pid}").exists()
    assert restored.call("State").status == process_pb2.RUNNING
    words = runtime.said()
    assert words[0] == "restore"
    assert words[words.index("--image-path") + 1] == str(image)
    assert {"--detach", restored.id} <= set(words)
    restored.call("Kill", signal=9)
    assert restored.wait().exit_status == 137
    assert restored.call("Delete").pid == pid


def test_a_task_that_is_to_end_is_not_left_running(
    machine: Machine, runtime: Runtime, tmp_path: Path
) -> None:
    task = make(machine, runtime)
    task.call("Start")

    task.call("Checkpoint", path=str(tmp_path / "image"), options=options(exit=True, terminal=True))

    words = runtime.said()
    assert "--leave-running" not in words
    assert "--shell-job" in words


def test_without_an_image_nothing_is_restored(machine: Machine, runtime: Runtime, tmp_path: Path) -> None:
    task = make(machine, runtime, checkpoint=str(tmp_path / "none"))

    code, message = task.refused("Start")

    assert code == "UNKNOWN"
    assert message.startswith("OCI runtime restore failed")
    task.call("Delete")
