"""What templates may ask of the engine's documents: docker's own types, with their zero values and their errors."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from docker_canned import canned_engine

from sixhops.docker.screen.structs import view
from sixhops.docker.screen.template import TemplateError, parse

_REAL = "/usr/bin/docker"
_INFO = {
    "ID": "x", "NCPU": 2, "CpuCfsPeriod": True, "Swarm": {"NodeID": "n"}, "ContainerdCommit": {"ID": "a", "Expected": "b"},
    "Runtimes": {"runc": {"path": "runc"}}, "ClientInfo": {"Debug": False, "Context": "default"},
}  # fmt: skip
_EVENT = {
    "status": "start",
    "Type": "container",
    "Actor": {"ID": "c", "Attributes": {"name": "one"}},
    "timeNano": 7,
}


@pytest.mark.parametrize(
    ("kind", "document", "text", "expected"),
    [
        ("system.info", _INFO, "{{.ID}} {{.NCPU}} {{.CPUCfsPeriod}} {{.Swarm.NodeID}}", "x 2 true n"),
        ("system.info", _INFO, "{{.Labels}} {{.MemTotal}} {{.Isolation}}|{{.ServerErrors}}", "[] 0 |[]"),
        ("system.info", _INFO, "{{.ContainerdCommit}} {{.Runtimes}}", "{a b} map[runc:{runc [] <nil>}]"),
        ("system.info", _INFO, "{{json .ContainerdCommit}}", '{"ID":"a","Expected":"b"}'),
        (
            "*events.Message",
            _EVENT,
            "{{.Status}} {{.Actor.Attributes.name}} {{.Time}} {{.TimeNano}}",
            "start one 0 7",
        ),
        ("*events.Message", {}, "{{.Actor.Attributes}}{{.Scope}}{{.Actor.Attributes.no}}", "map[]<no value>"),
        ("system.versionInfo", {"Client": {}, "Server": None}, "{{.ServerOK}} {{.Server}}", "false <nil>"),
        ("*types.Version", {"ApiVersion": "1.41"}, "{{.APIVersion}} {{.Platform}}", "1.41 {}"),
    ],
)
def test_a_field_is_there_with_its_type(kind, document, text, expected):
    assert parse(text).render(view(kind, document)) == expected


@pytest.mark.parametrize(
    ("kind", "document", "text", "message"),
    [
        ("system.info", _INFO, "{{.ID}}{{.Foo}}", ":1:9: … <.Foo>: can't evaluate field Foo in type system.info"),
        ("system.info", _INFO, "{{.Swarm.Foo}}", ":1:8: … <.Swarm.Foo>: can't evaluate field Foo in type swarm.Info"),
        ("system.info", _INFO, "{{.Swarm.Cluster.ID}}",
         ":1:8: … <.Swarm.Cluster.ID>: nil pointer evaluating *swarm.ClusterInfo.ID"),
        ("system.info", _INFO, "{{.ID 1}}", ":1:2: … <.ID>: ID has arguments but cannot be invoked as function"),
        ("system.info", {"ClientInfo": {}}, "{{.ID}}",
         ":1:2: … <.ID>: reflect: indirection through nil pointer to embedded struct field Info"),
        ("*events.Message", _EVENT, "{{.status}}", ":1:2: … <.status>: can't evaluate field status in type *events.Message"),
        ("system.versionInfo", {}, "{{.ServerOK 1}}",
         ":1:2: … <.ServerOK>: wrong number of args for ServerOK: want 0 got 1"),
    ],
)  # fmt: skip
def test_a_field_that_is_not_there(kind, document, text, message):
    with pytest.raises(TemplateError) as caught:
        parse(text).render(view(kind, document))

    assert str(caught.value).replace('executing "" at', "…") == f"template: {message}"


@pytest.mark.skipif(not shutil.which(_REAL), reason="Docker's client is not installed")
@pytest.mark.parametrize(
    "line",
    [
        ["info", "-f", "{{.ID}} {{.Foo}}"],
        ["info", "-f", "{{.Swarm.Foo}}"],
        ["version", "-f", "{{.Server.Foo}}"],
        ["events", "--format", "{{.Foo}}"],
        ["events", "--format", "{{.ID.Foo}}"],
    ],
    ids=" ".join,
)
def test_both_clients_refuse_it_alike(line, tmp_path):
    answers = {"/info": (200, _INFO), "/version": (200, {"ApiVersion": "1.41", "Version": "20"})}
    with canned_engine(tmp_path / "engine.sock", answers):
        seen = [
            subprocess.run(
                [*client, *line], capture_output=True, text=True, timeout=60, check=False,
                env={"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/engine.sock"},
            )
            for client in ([_REAL], [sys.executable, "-m", "sixhops.docker"])
        ]  # fmt: skip

    real, ours = ((done.returncode, done.stdout, done.stderr) for done in seen)

    assert ours == real
    assert "can't evaluate field Foo" in real[2]
