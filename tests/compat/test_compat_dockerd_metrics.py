"""--metrics-addr and --experimental on a daemon that runs: ours and, where it is installed, Docker's must do the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from daemons import BOUND, Daemon

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Stack

pytestmark = pytest.mark.skipif(
    not os.access("/usr/bin/docker", os.X_OK), reason="needs Docker's client (apt-get install docker.io)"
)
NAMES = {
    "builder_builds_failed_total",
    "builder_builds_triggered_total",
    "engine_daemon_container_actions_seconds",
    "engine_daemon_container_states_containers",
    "engine_daemon_engine_cpus_cpus",
    "engine_daemon_engine_info",
    "engine_daemon_engine_memory_bytes",
    "engine_daemon_events_subscribers_total",
    "engine_daemon_events_total",
    "engine_daemon_health_checks_failed_total",
    "engine_daemon_health_checks_total",
    "engine_daemon_host_info_functions_seconds",
    "engine_daemon_network_actions_seconds",
    "logger_log_entries_size_greater_than_buffer_total",
    "logger_log_read_operations_failed_total",
    "logger_log_write_operations_failed_total",
    "process_open_fds",
    "promhttp_metric_handler_requests_total",
}


def fetch(stack: Stack, url: str, *words: str) -> str:
    done = subprocess.run(
        [*stack.inside, "curl", "--silent", "--show-error", *words, url],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=True,
    )
    return done.stdout


def values(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_what_has_been_done(stack: Stack, program: str, folder: Path) -> None:
    host = ["-H", f"unix://{folder}/engine.sock"]
    flags = ["--host", host[1], "--metrics-addr", "127.0.0.1:9323", "--experimental"]
    url = "http://127.0.0.1:9323"

    with Daemon(stack, program, folder, flags) as daemon:
        daemon.docker(*host, "load", "--input", f"{stack.folder}/busybox.tar")
        done = daemon.docker(
            *host, "run", "--network=none", "--name=one", "busybox", "head", "-c20000", "/dev/zero"
        )
        assert len(done.stdout) == 20000
        # the logs show what has been written down, and so what has been counted
        assert len(daemon.docker(*host, "logs", "one").stdout) == 20000
        text = fetch(stack, f"{url}/metrics")
        found = values(text)
        assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) >= NAMES
        action = "engine_daemon_container_actions_seconds_count"
        assert found[f'{action}{{action="create"}}'] == "2"  # one of them before the first
        assert found[f'{action}{{action="start"}}'] == "2"
        assert found[f'{action}{{action="delete"}}'] == "1"
        assert found['engine_daemon_network_actions_seconds_count{action="allocate"}'] == "1"
        assert found["logger_log_entries_size_greater_than_buffer_total"] != "0"
        state = "engine_daemon_container_states_containers"
        assert [found[f'{state}{{state="{name}"}}'] for name in ("paused", "running", "stopped")] == [
            "0",
            "0",
            "1",
        ]
        daemon.docker(*host, "rm", "one")
        assert values(fetch(stack, f"{url}/metrics"))[f'{action}{{action="delete"}}'] == "2"
        assert "404 page not found" in fetch(stack, f"{url}/")
        assert "Content-Encoding: gzip" in fetch(
            stack, f"{url}/metrics", "-D-", "-o/dev/null", "-HAccept-Encoding: gzip"
        )


def test_an_experimental_engine_says_so_and_has_checkpoints(stack: Stack, program: str, folder: Path) -> None:
    host = ["-H", f"unix://{folder}/engine.sock"]

    with Daemon(stack, program, folder, ["--host", host[1], "--experimental"]) as daemon:
        assert json.loads(daemon.docker(*host, "version", "--format", "{{json .Server}}").stdout)[
            "Experimental"
        ]
        assert json.loads(daemon.docker(*host, "info", "--format", "{{json .}}").stdout)["ExperimentalBuild"]
        socket = ["--unix-socket", f"{folder}/engine.sock"]
        assert "Docker-Experimental: true" in fetch(stack, "http://x/_ping", "-I", *socket)
        daemon.docker(*host, "load", "--input", f"{stack.folder}/busybox.tar")
        daemon.docker(*host, "create", "--network=none", "--name=one", "busybox", "true")
        assert daemon.docker(*host, "checkpoint", "ls", "one").stdout.splitlines() == ["CHECKPOINT NAME"]
        refused = daemon.docker(*host, "checkpoint", "create", "one", "first", check=False)
        assert "Container one not running" in refused.stderr
        missing = daemon.docker(*host, "start", "--checkpoint=nosuch", "one", check=False)
        assert "checkpoint nosuch does not exist for container /one" in missing.stderr
        gone = daemon.docker(*host, "checkpoint", "rm", "one", "nosuch", check=False)
        assert "checkpoint nosuch does not exist for container one" in gone.stderr
        daemon.docker(*host, "rm", "one")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nope", "address nope: missing port in address"),
        (":9323", "failed to lookup  address in host specification"),
        ("127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
        ("192.0.2.1:80", "listen tcp 192.0.2.1:80: bind: cannot assign requested address"),
    ],
)
def test_where_nobody_can_listen_the_engine_does_not_start(
    stack: Stack, program: str, folder: Path, address: str, message: str
) -> None:
    daemon = Daemon(
        stack, program, folder, ["--host", f"unix://{folder}/engine.sock", "--metrics-addr", address]
    )

    assert (
        daemon.await_line("failed to start metrics server") == f"failed to start metrics server: {message}\n"
    )
    assert daemon.ended() == 1
