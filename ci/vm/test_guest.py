"""What the guest looks like from outside, by testinfra: programs, sockets, files, control groups.

Run by `python -m ci.vm suite` with --hosts=ssh://vm and --ssh-config=...
"""

from __future__ import annotations

from typing import Any


def test_the_unified_hierarchy_alone(host: Any) -> None:
    assert host.check_output("stat -fc %T /sys/fs/cgroup") == "cgroup2fs"
    assert host.check_output("systemctl is-system-running || true") in {"running", "degraded"}


def test_docker_is_what_debian_installed(host: Any) -> None:
    assert host.service("docker").is_running
    assert host.service("docker").is_enabled
    assert host.package("docker.io").version.startswith("26.1.")


def test_the_engine_and_its_sockets(host: Any) -> None:
    engine = host.process.get(comm="dockerd")
    containerd = host.process.get(comm="containerd")
    assert engine.ppid == containerd.ppid == 1
    assert host.socket("unix:///run/docker.sock").is_listening
    assert host.socket("tcp://2376").is_listening or host.socket("tcp://0.0.0.0:2376").is_listening
    socket = host.file("/run/docker.sock")
    assert (socket.user, socket.group, socket.mode) == ("root", "docker", 0o660)
    assert host.file("/run/containerd/containerd.sock").exists


def test_the_group_of_the_engine_is_its_services(host: Any) -> None:
    engine = host.process.get(comm="dockerd")
    assert host.file(f"/proc/{engine.pid}/cgroup").content_string == "0::/system.slice/docker.service\n"


def test_where_images_go(host: Any) -> None:
    assert host.file("/var/lib/docker/overlay2").is_directory
    assert host.file("/var/lib/docker/overlay2").mode == 0o710


def test_criu_works_on_this_kernel(host: Any) -> None:
    assert host.run("criu check").succeeded
