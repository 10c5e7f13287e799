"""The program that stands in front of another one: nobody sees a difference, and the tap knows what happened."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.exec.tap import ExecTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.linux import prctl
from sixhops.wire.proto import rpc_pb2, shim_v2_pb2
from sixhops.wire.ttrpc import blocking
from sixhops.wire.ttrpc.calls import CallServer
from sixhops.wire.ttrpc.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.exchange import HopMessage

WAIT = 20.0
SHIM = "containerd-shim-runc-v2"


class Bench:
    """A directory of programs with the tap's in front, and the tap. `real` makes a program; `run` runs it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "bin"
        (self.bin / "real").mkdir(parents=True)
        self.recorder = Recorder()
        self.events = home / "containerd.sock.ttrpc"
        self.tap = ExecTap(home, self.recorder, root=lambda: Path("/"), containerd_ttrpc=self.events)
        self.tap.install(self.bin, {"shim": [SHIM], "runc": ["runc"]})
        self.tap.start()

    def real(self, script: str, name: str = "runc", shell: str = "/bin/sh") -> None:
        path = self.bin / "real" / name
        path.write_text(f"#!{shell}\n{script}\n")
        path.chmod(0o755)

    def run(
        self, *arguments: str | bytes, name: str = "runc", **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        argv = [str(self.bin / name), *arguments]
        return subprocess.run(argv, timeout=WAIT, check=False, **{"capture_output": True, **options})

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(self.bin / "runc"), *arguments], **options)

    def seen(self) -> list[str]:
        return [message.summary for message in self.recorder.since(0, WAIT)]

    def only(self) -> HopMessage:
        (message,) = self.recorder.since(0, WAIT)
        return message


@pytest.fixture
def bench() -> Iterator[Bench]:
    # A short path: sockets have room for 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tap-", dir="/tmp") as home:
        bench = Bench(Path(home))
        try:
            yield bench
        finally:
            bench.tap.close()


@pytest.mark.parametrize("status", [0, 1, 42, 126, 127, 255])
def test_the_exit_status_is_the_programs(bench: Bench, status: int) -> None:
    bench.real(f"exit {status}")
    assert bench.run("state", "c").returncode == status
    assert bench.seen() == [f"state -> {status}"]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT, signal.SIGUSR1]
)
def test_a_death_by_signal_is_ours_too(bench: Bench, number: signal.Signals) -> None:
    bench.real(f"kill -{int(number)} $$")
    assert bench.run("state", "c").returncode == -number
    assert bench.only().fields["exit"] == -number


def test_bytes_pass_through_all_three(bench: Bench) -> None:
    blob = random.Random(1).randbytes(300_000)
    bench.real("cat; printf 'err\\000\\377' >&2")
    done = bench.run("exec", "c", "x", input=blob)
    assert done.stdout == blob
    assert done.stderr == b"err\0\xff"
    fields = bench.only().fields
    assert (fields["stdin"], fields["stdout"], fields["stderr"]) == ("pipe", "pipe", "pipe")


def test_arguments_environment_and_directory(bench: Bench, tmp_path: Path) -> None:
    bench.real(
        "import os, sys\n"
        "os.write(1, b'\\0'.join([os.fsencode(a) for a in sys.argv[1:]] + [os.getcwdb()]) + b'|')\n"
        "os.write(1, open('/proc/self/environ', 'rb').read())",
        shell=sys.executable,
    )
    arguments = [b"", b"a b", b"line\nline", b"\xff\xfe", "ä".encode()]
    env = {"B": "2", "A": "", "TTRPC_ADDRESS": "/else"}
    done = bench.run(*arguments, cwd=tmp_path, env=env)
    assert done.stdout == b"\0".join([*arguments, os.fsencode(tmp_path)]) + b"|B=2\0A=\0TTRPC_ADDRESS=/else\0"
    fields = bench.only().fields
    assert fields["argv"][1:] == ["", "a b", "line\nline", "\udcff\udcfe", "ä"]  # type: ignore[index]
    assert (fields["env"], fields["cwd"]) == (env, str(tmp_path))


def test_descriptors_are_those_that_were_given(bench: Bench) -> None:
    read, write = os.pipe()
    given = fcntl.fcntl(read, fcntl.F_DUPFD, 60)
    bench.real(
        f"import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1], os.read({given}, 5))",
        shell=sys.executable,
    )
    try:
        os.write(write, b"hello")
        direct = subprocess.run([bench.bin / "real/runc"], pass_fds=[given], capture_output=True, check=True)
        os.write(write, b"hello")
        done = bench.run("create", "c", pass_fds=[given])
    finally:
        for descriptor in (given, read, write):
            os.close(descriptor)
    assert done.stdout == direct.stdout
    assert b"hello" in done.stdout
    assert bench.only().fields["descriptors"] == [{"number": given, "kind": "pipe"}]


def test_closed_descriptors_stay_closed(bench: Bench) -> None:
    bench.real(
        "import os; open('/proc/self/cwd/out', 'w').write(repr([os.path.exists(f'/proc/self/fd/{n}') for n in range(3)]))",
        shell=sys.executable,
    )
    directory = bench.home / "w"
    directory.mkdir()
    # the shell closes them; what opens first gets 0
    line = f"exec {bench.bin}/runc state c <&- >&- 2>&-"
    subprocess.run(["/bin/sh", "-c", line], cwd=directory, timeout=WAIT, check=True)
    direct = bench.home / "d"
    direct.mkdir()
    subprocess.run(
        ["/bin/sh", "-c", line.replace("/bin/runc", "/bin/real/runc")], cwd=direct, timeout=WAIT, check=True
    )
    assert (directory / "out").read_text() == (direct / "out").read_text()
    assert [bench.only().fields[name] for name in ("stdin", "stdout", "stderr")] == ["closed"] * 3


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH, signal.SIGRTMIN]
)
def test_signals_reach_the_program(bench: Bench, number: signal.Signals) -> None:
    bench.real(
        # Blocked and waited for: a handler's interruption of pause(2) could come too early.
        "import signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])\n"
        "print('ready', flush=True)\n"
        f"signal.sigwait([{int(number)}])\n"
        "sys.exit(7)",
        shell=sys.executable,
    )
    with bench.popen("run", "c", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(WAIT) == 7
    assert bench.seen() == ["run -> 7"]


def test_a_signal_that_the_program_does_not_catch_ends_both(bench: Bench) -> None:
    bench.real("echo ready; exec sleep 60")
    with bench.popen("run", "c", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert bench.seen() == ["run -> ..."]
        process.terminate()
        assert process.wait(WAIT) == -signal.SIGTERM
    assert bench.seen() == ["run -> -15"]


def test_killed_it_takes_the_program_along(bench: Bench) -> None:
    bench.real("echo $$; exec sleep 60")
    with bench.popen("create", "c", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        program = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
        assert process.wait(WAIT) == -signal.SIGKILL
    assert select.select([program], [], [], WAIT)[0]
    os.close(program)
    assert bench.seen() == ["create -> no answer"]
    assert "killed" in str(bench.only().fields["error"])


def test_what_was_ignored_stays_ignored_and_what_was_blocked_blocked(bench: Bench) -> None:
    bench.real("grep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status")

    def prepare() -> None:
        for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    done = bench.run("state", "c", preexec_fn=prepare, restore_signals=False)
    direct = subprocess.run(
        [bench.bin / "real/runc"], preexec_fn=prepare, restore_signals=False, capture_output=True, check=True
    )
    assert done.stdout == direct.stdout
    assert bench.seen() == ["state -> 0"]


def test_it_stops_and_goes_on_with_the_program(bench: Bench) -> None:
    bench.real("kill -STOP $$; exit 3")
    with bench.popen("run", "c") as process:
        found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert found is not None
        assert found.si_status == signal.SIGSTOP
        process.send_signal(signal.SIGCONT)
        assert process.wait(WAIT) == 3


def test_a_terminal_is_the_programs(bench: Bench) -> None:
    bench.real("trap 'echo caught; exit 5' INT; stty size; echo ready; while :; do read line || :; done")
    master, slave = pty.openpty()

    def own_terminal() -> None:
        # A shell can't trap what it was started with ignored, as everything behind `&` in a script is.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        termios.tcsetwinsize(0, (33, 77))

    with bench.popen("run", "c", stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal) as process:
        os.close(slave)
        said = b""
        while b"ready" not in said:
            assert select.select([master], [], [], WAIT)[0]
            said += os.read(master, 1000)
        os.write(master, b"\x03")
        assert process.wait(WAIT) == 5
        while b"caught" not in said:
            assert select.select([master], [], [], WAIT)[0]
            said += os.read(master, 1000)
    os.close(master)
    assert b"33 77" in said
    # Once: the terminal told the group, and we did not tell it again.
    assert said.count(b"caught") == 1
    assert bench.only().fields["stdin"] == "terminal"


def test_it_is_no_parent_of_what_the_program_leaves(bench: Bench) -> None:
    bench.real("(read x < $1; ps -o ppid= -p $(exec sh -c 'echo $PPID') > out) & echo $! > pid; exit 0")
    os.mkfifo(bench.home / "fifo")
    # The orphan goes where it would have gone: to the nearest subreaper, or process 1.
    prctl.set_subreaper(enabled=True)
    try:
        assert bench.popen(str(bench.home / "fifo"), cwd=bench.home).wait(WAIT) == 0
        (bench.home / "fifo").write_text("go\n")
        # By its pid: other tests' programs may be children of this process as well.
        orphan = int((bench.home / "pid").read_text())
        assert os.waitpid(orphan, 0)[0] == orphan
    finally:
        prctl.set_subreaper(enabled=False)
    assert int((bench.home / "out").read_text()) == os.getpid()


def test_without_a_tap_it_is_the_program(bench: Bench) -> None:
    bench.real("echo $$ $PPID; exit 9")
    bench.tap.close()
    with bench.popen("run", "c", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"{process.pid} {os.getpid()}\n".encode()
        assert process.wait(WAIT) == 9


@pytest.mark.parametrize("said", [b"", b"\0", b"\xff\xff\xff\xff", b"\0\0\0\5pa"])
def test_a_tap_that_talks_nonsense_is_done_without(bench: Bench, said: bytes) -> None:
    bench.real("exit 9")
    bench.tap.close()
    (bench.bin / "tap.sock").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bench.bin / "tap.sock"))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        assert bench.run("state", "c").returncode == 9
        thread.join(WAIT)


def test_a_program_that_is_not_there(bench: Bench) -> None:
    done = bench.run("state", "c")
    assert done.returncode == 127
    assert b"No such file" in done.stderr
    bench.real("")
    (bench.bin / "real/runc").chmod(0o644)
    assert bench.run("state", "c").returncode == 126


def test_many_at_once(bench: Bench) -> None:
    bench.real("exit $2")
    processes = [bench.popen("kill", str(number % 256)) for number in range(60)]
    assert [process.wait(WAIT) for process in processes] == [number % 256 for number in range(60)]
    assert len(bench.seen()) == 60


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_at_the_tap_disturb_nobody(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    raw = chance.choice(
        [
            chance.randbytes(chance.randrange(1, 5000)),
            (64 << 20).to_bytes(4) + chance.randbytes(100),
            (100).to_bytes(4) + chance.randbytes(50),
            (100).to_bytes(4) + chance.randbytes(100),
            (7).to_bytes(4) + b"runc\0-1",
        ]
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT)
        client.connect(str(bench.bin / "tap.sock"))
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    bench.real("exit 4")
    assert bench.run("state", "c").returncode == 4
    assert "state -> 4" in bench.seen()


# The shim.


def test_the_answer_of_a_shim_is_recorded_before_it_is_passed_on(bench: Bench) -> None:
    bench.real("cat > in; printf unix:///none; printf trouble >&2", SHIM)
    options = b"\x0a\x01x"
    done = bench.run("-namespace", "moby", "-id", "c1", "start", name=SHIM, input=options, cwd=bench.home)
    assert (done.stdout, done.stderr, done.returncode) == (b"unix:///none", b"trouble", 0)
    assert (bench.home / "in").read_bytes() == options
    message = bench.only()
    assert (message.hop, message.summary) == (Hop.SHIM, "shim start -> 0")
    assert message.fields["stdin"] == {"@type": "x", "value": b""}
    assert message.fields["stdout"] == "unix:///none"
    assert "can't be tapped" in str(message.fields["error"])


def test_a_shim_that_fails(bench: Bench) -> None:
    bench.real("echo no; exit 3", SHIM)
    assert bench.run("-id", "c1", "start", name=SHIM).returncode == 3
    assert bench.seen() == ["shim start -> 3"]
    assert "error" not in bench.only().fields


def test_the_environment_of_a_shim_leads_to_the_tap(bench: Bench) -> None:
    bench.real('printf %s "$TTRPC_ADDRESS"', SHIM)
    env = {"TTRPC_ADDRESS": str(bench.events)}
    done = bench.run("-v", name=SHIM, env=env)
    assert done.stdout == str(bench.home / "shim-events.sock").encode()
    assert bench.only().fields["env"] == env
    bench.real("exit 0")
    bench.run("state", env={"TTRPC_ADDRESS": done.stdout.decode()})
    assert bench.recorder.since(0, WAIT)[1].fields["env"] == env


def test_much_output_of_a_shim_passes(bench: Bench) -> None:
    bench.real("head -c 3000000 /dev/zero", SHIM)
    assert bench.run("-info", name=SHIM).stdout == bytes(3_000_000)
    assert bench.seen() == ["shim -info -> 0"]


class Server:
    """What answers on a shim's socket: every ttrpc call with the pid 7. `stop` is the shim's death."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        def serve(connection: socket.socket) -> None:
            calls = CallServer()
            with connection, suppress(FrameError, OSError):
                while data := connection.recv(65536):
                    for call in calls.receive(data)[0]:
                        reply = shim_v2_pb2.ConnectResponse(shim_pid=7).SerializeToString()
                        connection.sendall(calls.answer(call.stream, reply))

        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        # As the kernel does it: the listening socket and the connections go together.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT)
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Shim:
    """A shim that was started through the tap: its server, and its socket, where the tap stands now."""

    def __init__(self, bench: Bench, output: str = "unix://{}") -> None:
        self.path = bench.home / "shim.sock"
        self.server = Server(self.path)
        bench.real(f"printf '{output.format(self.path)}'", SHIM)
        self._bench = bench
        self.start()

    def start(self) -> None:
        assert self._bench.run("-namespace", "moby", "-id", "c1", "start", name=SHIM).returncode == 0

    def call(self) -> int:
        with blocking.connect(str(self.path)) as client:
            request = shim_v2_pb2.ConnectRequest(id="c1").SerializeToString()
            answer = client.call("containerd.task.v2.Task", "Connect", request)
        return shim_v2_pb2.ConnectResponse.FromString(answer).shim_pid

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def await_silence(self) -> None:
        deadline = time.monotonic() + WAIT
        while self.answers():
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.mark.parametrize("output", ["unix://{}", '{{"version":3,"address":"unix://{}","protocol":"ttrpc"}}'])
def test_calls_to_a_shim_are_recorded(bench: Bench, output: str) -> None:
    shim = Shim(bench, output)
    assert shim.call() == 7
    assert bench.seen() == ["shim start -> 0", "Connect -> OK"]
    message = bench.recorder.since(1)[0]
    assert (message.hop, message.fields["container"]) == (Hop.SHIM, "c1")
    assert message.fields["response"] == {"shim_pid": 7}
    assert stat.S_IMODE(shim.path.stat().st_mode) == 0o600


def test_a_shim_that_is_started_twice_is_tapped_once(bench: Bench) -> None:
    shim = Shim(bench)
    shim.start()
    shim.start()
    assert shim.call() == 7
    assert bench.seen() == ["shim start -> 0"] * 3 + ["Connect -> OK"]


def test_when_the_shim_dies_nobody_listens_before_its_client_knows(bench: Bench) -> None:
    shim = Shim(bench)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT)
        client.connect(str(shim.path))
        shim.server.stop()
        assert client.recv(1) == b""
        assert not shim.answers()


def test_when_the_shim_dies_while_nobody_is_connected_nobody_listens_either(bench: Bench) -> None:
    shim = Shim(bench)
    assert shim.call() == 7
    shim.server.stop()
    shim.await_silence()
    # As containerd's shim does it: the dead socket is removed, and the next shim begins anew.
    shim.path.unlink()
    again = Shim(bench)
    assert again.call() == 7
    assert not [
        path for path in bench.home.iterdir() if path.name.startswith(".tap") and path.name.endswith("new")
    ]


def test_a_shim_without_socket_file_is_left_alone(bench: Bench) -> None:
    bench.real("printf vsock://3:1", SHIM)
    assert bench.run("-id", "c", "start", name=SHIM).stdout == b"vsock://3:1"
    assert "no tap for the address vsock://3:1" in str(bench.only().fields["error"])


def test_events_of_shims_are_recorded(bench: Bench) -> None:
    Server(bench.events)
    with blocking.connect(str(bench.home / "shim-events.sock")) as client:
        client.call("containerd.services.events.ttrpc.v1.Events", "Forward", b"")
    assert bench.seen() == ["Events/Forward -> OK"]


BAD = {
    "random bytes": random.Random(1).randbytes(3000),
    "a frame of 64 MiB": (64 << 20).to_bytes(4) + b"\0\0\0\1\1\0" + bytes(1000),
    "a torn frame": b"\0\0\0\xff\0\0\0\1\1\0abc",
    "a torn header": b"\0\0\0",
    "an unknown type": bytes(8) + b"\x09\0",
    "a request that is none": b"\0\0\0\2\0\0\0\1\1\0\xff\xff",
    "another service": rpc_pb2.Request(service="x", method="y").SerializeToString(),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_at_a_shim_end_their_connection_and_no_other(bench: Bench, name: str) -> None:
    shim = Shim(bench)
    with blocking.connect(str(shim.path)) as other:
        assert other.call("containerd.task.v2.Task", "Connect", b"")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(shim.path))
            client.sendall(BAD[name])
        assert other.call("containerd.task.v2.Task", "Connect", b"")
    assert shim.call() == 7
    assert [summary for summary in bench.seen() if summary == "Connect -> OK"] == ["Connect -> OK"] * 3


def test_close_ends_what_is_open(bench: Bench) -> None:
    bench.real("echo ready; exec sleep 60")
    shim = Shim(bench)
    with ExitStack() as stack:
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(shim.path))
        process = stack.enter_context(bench.popen("run", "c", stdout=subprocess.PIPE))
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        bench.tap.close()
        bench.tap.close()
        client.settimeout(WAIT)
        assert client.recv(1) == b""
        assert process.poll() is None
        process.kill()
    assert "run -> no answer" in bench.seen()
    assert json.dumps(bench.recorder.since(0)[-1].fields["error"]) == '"the tap was closed"'
