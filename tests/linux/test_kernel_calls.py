"""What needs a process of its own: run in a fresh interpreter, because these calls want a single-threaded one."""

import os
import subprocess
import sys

import pytest

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes namespaces")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keep_only_closes_the_rest():
    code = """
import os
from sixhops.linux.fds import keep_only
kept = os.open("/dev/null", os.O_RDONLY); gone = os.open("/dev/null", os.O_RDONLY)
keep_only(frozenset({0, 1, 2, kept}))
os.fstat(kept)
try: os.fstat(gone)
except OSError as error: print(error.errno)
"""
    assert run(code) == "9\n"


def test_reset_signals_restores_sigpipe():
    code = """
import os
from sixhops.linux.signals import reset_signals
reset_signals()
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("SigIgn")][0])
"""
    assert run(code) == "0000000000000000\n"


@ROOT
def test_clone_into_a_pid_namespace():
    code = """
import os
from sixhops.linux import namespaces as ns
pid = ns.clone(ns.CLONE_NEWPID | ns.CLONE_NEWUTS)
if pid == 0:
    os._exit(os.getpid() + 40)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run(code) == "41\n"


@ROOT
def test_loopback_up_in_a_new_network_namespace():
    code = """
from sixhops.linux import namespaces as ns
from sixhops.linux.loopback import bring_up
ns.unshare(ns.CLONE_NEWNET)
bring_up()
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), timeout=2).close()
print("connected")
"""
    assert run(code) == "connected\n"


def test_descriptor_over_a_socket():
    code = """
import os, socket
from sixhops.linux.terminal import receive_descriptor, send_descriptor
ours, theirs = socket.socketpair()
read_end, write_end = os.pipe()
send_descriptor(ours.fileno(), "/dev/ptmx", write_end)
name, received = receive_descriptor(theirs.fileno())
os.write(received, b"through")
print(name, os.read(read_end, 10).decode())
"""
    assert run(code) == "/dev/ptmx through\n"


def test_rlimit_of_a_process():
    code = """
import os, resource
from sixhops.linux.rlimits import set_limit
set_limit(os.getpid(), "RLIMIT_NOFILE", 100, 200)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run(code) == "(100, 200)\n"
