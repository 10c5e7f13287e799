"""A stand-in for CRIU: `main(directory)` is the program, which answers as `script.json` there says.

What it was asked is in `asked`, a line of JSON each. A script is a list of steps for the request that it gets, by its
type: `{"say": RESPONSE}`, `{"notify": NAME, ...}`, `{"raw": hex}`, `{"kill": true}` (the container), `{"restore": true}`
(a process in the place of the container), `{"exit": STATUS}`,
`{"kill_itself": true}`.
"""

import json
import os
import socket
import sys
from pathlib import Path

from google.protobuf.json_format import MessageToDict, ParseDict

from sixhops.linux.namespaces import CLONE_PARENT, clone
from sixhops.wire.proto import criu_pb2

VERSION = {"type": "VERSION", "success": True, "version": {"majorNumber": 4, "minorNumber": 1, "sublevel": 1}}


def install(directory: Path, **script: list) -> str:
    """Make the program in `directory` and return its path. `script` is by the requests' types; VERSION is there."""
    directory.mkdir(exist_ok=True)
    (directory / "script.json").write_text(json.dumps({"VERSION": [{"say": VERSION}], **script}))
    program = directory / "criu"
    here = str(Path(__file__).parent)
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\n"
        f"import fake_criu\nfake_criu.main({str(directory)!r})\n"
    )
    program.chmod(0o755)
    return str(program)


def asked(directory: Path) -> list[dict]:
    """Return the requests and confirmations that came."""
    return [json.loads(line) for line in (directory / "asked").read_text().splitlines()]


def main(directory: str) -> None:
    assert sys.argv[1:] == ["swrk", "3"]
    place = Path(directory)
    channel = socket.socket(fileno=3)
    request = _receive(channel, place)
    steps = json.loads((place / "script.json").read_text())[criu_pb2.RequestType.Name(request.type)]
    for step in steps:
        _act(step, request, channel, place)
    channel.recv(1)  # the other side hangs up
    os._exit(0)


def _receive(channel: socket.socket, place: Path) -> criu_pb2.Request:
    data = channel.recv(1 << 16)
    if not data:
        os._exit(9)
    request = criu_pb2.Request.FromString(data)
    with (place / "asked").open("a") as file:
        said = MessageToDict(request, preserving_proto_field_name=True)
        if request.HasField("opts"):
            said["streams"] = [str(Path(f"/proc/self/fd/{number}").readlink()) for number in range(3)]
            said["groups"] = Path("/proc/self/cgroup").read_text()
            said["images"] = str(Path(f"/proc/{os.getppid()}/fd/{request.opts.images_dir_fd}").readlink())
            said["root_is_mounted"] = f" {request.opts.root} " in Path("/proc/self/mountinfo").read_text()
            said["extra"] = [
                os.fstat(fd.fd).st_ino for fd in request.opts.inherit_fd if fd.key.startswith("extRoot")
            ]
        file.write(json.dumps(said) + "\n")
    return request


def _act(step: dict, request: criu_pb2.Request, channel: socket.socket, place: Path) -> None:
    if "raw" in step:
        channel.send(bytes.fromhex(step["raw"]))
    elif "exit" in step:
        os._exit(step["exit"])
    elif "kill_itself" in step:
        os.kill(os.getpid(), 9)
    elif "kill" in step:
        os.kill(request.opts.pid, 9)
    elif "restore" in step:
        _restore(channel, place)
    elif "notify" in step:
        rights = []
        if "descriptor" in step:
            rights = [os.open(step["descriptor"], os.O_RDONLY)]
        _notify(channel, place, step["notify"], step.get("pid", 0), rights)
    else:
        channel.send(ParseDict(step["say"], criu_pb2.Response()).SerializeToString())


def _notify(channel: socket.socket, place: Path, name: str, pid: int, rights: list[int]) -> None:
    answer = criu_pb2.Response(type=criu_pb2.NOTIFY, success=True)
    answer.notify.script, answer.notify.pid = name, pid
    socket.send_fds(channel, [answer.SerializeToString()], rights)
    _receive(channel, place)


def _restore(channel: socket.socket, place: Path) -> None:
    """Make a child of our parent, as rst_sibling asks, which sleeps as the container did."""
    pid = clone(CLONE_PARENT)
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "100"])
    _notify(channel, place, "post-restore", pid, [])
    answer = criu_pb2.Response(type=criu_pb2.RESTORE, success=True)
    answer.restore.pid = pid
    channel.send(answer.SerializeToString())
