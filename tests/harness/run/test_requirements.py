from __future__ import annotations

import pytest
from socket_engine import one

from sixhops.harness.run.requirements import looks_inside

STEP = "steps:\n  - request: GET /_ping\n"


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("    expect: {status: 200}\n", False),
        ("    expect: {registry: !none }\n", False),
        ("    expect: {containerd: !none }\n", True),
        ("    expect: {shim: [Create]}\n", True),
        ("    expect: {runtime: [create]}\n", True),
        ("    save: {pid: '$shim[0].response.pid'}\n", True),
        ("    eventually: {timeout: 1s, fail_if: {runtime: [delete]}}\n    expect: {status: 200}\n", True),
        ("requires: {hop: shim}\n", True),
        ("cleanup:\n  - request: GET /_ping\n    expect: {containerd: !none }\n", True),
    ],
)
def test_a_scenario_looks_inside_when_it_names_an_inner_hop(text: str, inside: bool) -> None:
    assert looks_inside(one(STEP + text)) is inside
