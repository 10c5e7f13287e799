"""A process that waits with nothing in its memory, and what it is then. Each is forked by one with a single thread."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sixhops.linux.lastwait import can_wait

pytestmark = pytest.mark.skipif(not can_wait(), reason="needs x86_64")

MAKER = """
import contextlib, json, os, signal, sys, time
from pathlib import Path
from sixhops.linux.clone import fork_plainly
from sixhops.linux.lastwait import wait_and_execute

program, arguments, environment, number = json.loads(sys.argv[1])
gate, opener = os.pipe2(os.O_CLOEXEC)
output, said = os.pipe2(os.O_CLOEXEC)
child = fork_plainly()
if child == 0:
    os.dup2(said, 1)
    os.dup2(said, 2)
    texts = [text.encode() for text in arguments], [text.encode() for text in environment]
    try:
        wait_and_execute(gate, program.encode(), *texts, b"exec it: ", (signal.SIGTERM,))
    except ValueError as error:
        os.write(2, str(error).encode())
    os._exit(7)
os.close(said)
os.close(gate)
told = {}
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
        break
    told["mapped"] = len(Path(f"/proc/{child}/maps").read_text().splitlines())
    if told["mapped"] < 12:
        break
told["name"] = Path(f"/proc/{child}/cmdline").read_text().split("\\0")[0]
if number:
    os.kill(child, number)
else:
    with contextlib.suppress(BrokenPipeError):
        os.write(opener, b"0")
text = b""
while part := os.read(output, 4096):
    text += part
told["said"] = text.decode()
told["status"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(told))
"""


def lived(
    program: str, *arguments: str, environment: tuple[str, ...] = (), number: int = 0
) -> dict[str, Any]:
    """Return how many maps the process had while it waited, its command line's first word, what it wrote, its status."""
    words = json.dumps([program, arguments, environment, number])
    done = subprocess.run(
        [sys.executable, "-c", MAKER, words], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["status"] == 7 or found["mapped"] < 12
    return found


def test_the_program_has_its_arguments_and_environment() -> None:
    found = lived(
        "/bin/sh",
        "sh",
        "-c",
        'echo "$0 $1"; env | grep VARIABLE; exit 3',
        "a",
        "b c",
        environment=("VARIABLE=x=y",),
    )

    assert (found["said"], found["status"]) == ("a b c\nVARIABLE=x=y\n", 3)
    assert found["name"] == sys.executable  # until then it is who it was


def test_arguments_may_be_long_and_none_need_be_there() -> None:
    long = "x" * 50_000
    assert lived("/bin/echo", "echo", long, environment=(f"V={long}",))["said"] == f"{long}\n"
    assert lived("/usr/bin/env", "env")["said"] == ""


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("/missing", "no such file or directory"),
        ("/etc", "permission denied"),
        ("/etc/passwd/x", "not a directory"),
    ],
)
def test_a_failure_is_said(program: str, text: str) -> None:
    found = lived(program, "x")

    assert (found["said"], found["status"]) == (f"exec it: {text}\n", 1)


def test_a_program_of_no_known_format_is_said(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("")
    (tmp_path / "program").chmod(0o755)

    assert lived(str(tmp_path / "program"), "x")["said"] == "exec it: exec format error\n"


def test_a_signal_ends_the_wait() -> None:
    found = lived("/bin/true", "true", number=15)

    assert (found["said"], found["status"]) == ("", 2)


def test_a_text_with_a_zero_byte_changes_nothing() -> None:
    found = lived("/bin/true", "true", "a\0b")

    assert (found["said"], found["status"]) == ("embedded null byte", 7)
