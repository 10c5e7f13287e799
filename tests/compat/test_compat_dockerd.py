"""dockerd's own flags, on a daemon that runs: our dockerd and, where it is installed, Docker's must do the same."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from daemons import Daemon

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Stack

pytestmark = pytest.mark.skipif(
    not os.access("/usr/bin/docker", os.X_OK), reason="needs Docker's client (apt-get install docker.io)"
)
#: Hands a listening socket over as systemd does (sd_listen_fds(3)).
LAUNCHER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def certify(folder: Path) -> None:
    """Write an authority, and a certificate with its key for the server and one for a client."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = dt.datetime.now(dt.UTC)
    span = (now - dt.timedelta(days=1), now + dt.timedelta(days=1))

    def issue(file: str, key: ec.EllipticCurvePrivateKey, usage: x509.ObjectIdentifier | None) -> None:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name if usage is None else x509.Name([]))
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(span[0])
            .not_valid_after(span[1])
            .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = builder.sign(authority, hashes.SHA256())
        (folder / f"{file}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{file}-key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    issue("ca", authority, None)
    issue("server", ec.generate_private_key(ec.SECP256R1()), ExtendedKeyUsageOID.SERVER_AUTH)
    issue("client", ec.generate_private_key(ec.SECP256R1()), ExtendedKeyUsageOID.CLIENT_AUTH)


def test_tls_lets_in_whom_the_authority_knows_and_nobody_else(
    stack: Stack, program: str, folder: Path
) -> None:
    certify(folder)
    flags = ["--host", "tcp://127.0.0.1:2376", "--tlsverify", "--tlscacert", f"{folder}/ca.pem"]
    flags += ["--tlscert", f"{folder}/server.pem", "--tlskey", f"{folder}/server-key.pem"]
    trusting = ["--tlsverify", "--tlscacert", f"{folder}/ca.pem", "-H", "tcp://localhost:2376"]
    known = [*trusting, "--tlscert", f"{folder}/client.pem", "--tlskey", f"{folder}/client-key.pem"]

    with Daemon(stack, program, folder, flags) as daemon:
        daemon.docker(*known, "load", "--input", f"{stack.folder}/busybox.tar")
        # an attach takes the connection over, with TLS on it
        done = daemon.docker(*known, "run", "--rm", "--network=none", "busybox", "echo", "word")
        assert done.stdout == "word\n"
        stranger = daemon.docker(*trusting, "version", check=False)
        assert (stranger.returncode, "Server:" in stranger.stdout) == (1, False)
        unencrypted = daemon.docker("-H", "tcp://localhost:2376", "version", check=False)
        assert "Client sent an HTTP request to an HTTPS server" in unencrypted.stderr
        warnings = daemon.docker(*known, "info", "--format", "{{json .Warnings}}").stdout
        assert "API is accessible" not in warnings


def test_sockets_that_systemd_hands_over(stack: Stack, program: str, folder: Path) -> None:
    socket = f"{folder}/handed.sock"
    launcher = [sys.executable, "-c", LAUNCHER, socket]

    with Daemon(stack, program, folder, ["--host", "fd://"], launcher) as daemon:
        assert "Server:" in daemon.docker("-H", f"unix://{socket}", "version").stdout


def test_a_reload_changes_what_the_engine_says_and_does(stack: Stack, program: str, folder: Path) -> None:
    file = folder / "daemon.json"
    file.write_text("{}")
    host = ["-H", f"unix://{folder}/engine.sock"]
    flags = ["--host", host[1], "--config-file", str(file)]

    with Daemon(stack, program, folder, flags) as daemon:
        daemon.docker(*host, "load", "--input", f"{stack.folder}/busybox.tar")
        file.write_text(
            json.dumps(
                {
                    "labels": ["colour=red"],
                    "default-shm-size": "1M",
                    "default-ipc-mode": "shareable",
                    "features": {"buildkit": False},
                    "runtimes": {"wordy": {"path": "runc", "runtimeArgs": ["--log-format", "json"]}},
                }
            )
        )
        daemon.signal("HUP")
        daemon.await_line("Reloaded configuration")
        said = json.loads(daemon.docker(*host, "info", "--format", "{{json .}}").stdout)
        assert said["Labels"] == ["colour=red"]
        assert said["Runtimes"]["wordy"] == {"path": "runc", "runtimeArgs": ["--log-format", "json"]}
        created = daemon.docker(
            *host, "create", "--network=none", "--runtime=wordy", "busybox", "df", "/dev/shm"
        )
        identity = created.stdout.strip()
        config = json.loads(daemon.docker(*host, "inspect", identity).stdout)[0]["HostConfig"]
        assert (config["ShmSize"], config["IpcMode"], config["Runtime"]) == (1 << 20, "shareable", "wordy")
        done = daemon.docker(*host, "start", "--attach", identity)
        assert done.stdout.splitlines()[1].split()[1] == "1024"
        daemon.docker(*host, "rm", identity)


def test_a_profile_for_all_containers(stack: Stack, program: str, folder: Path) -> None:
    profile = folder / "profile.json"
    profile.write_text(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
            }
        )
    )
    host = ["-H", f"unix://{folder}/engine.sock"]
    flags = ["--host", host[1], "--seccomp-profile", str(profile), "--node-generic-resource", "gpu=2"]

    with Daemon(stack, program, folder, flags) as daemon:
        daemon.docker(*host, "load", "--input", f"{stack.folder}/busybox.tar")
        run = ["run", "--rm", "--network=none"]
        refused = daemon.docker(*host, *run, "busybox", "mkdir", "/made", check=False)
        assert "Operation not permitted" in refused.stderr
        daemon.docker(*host, *run, "--security-opt=seccomp=unconfined", "busybox", "mkdir", "/made")
        said = json.loads(daemon.docker(*host, "info", "--format", "{{json .}}").stdout)
        assert f"name=seccomp,profile={profile}" in said["SecurityOptions"]
        assert said["GenericResources"] == [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}]
