"""Going through a create that nobody asked for: all the way for a good document, without effect for a bad one."""

import json

import pytest

from sixhops.runc import rehearsal
from sixhops.runc.main import rehearse
from sixhops.runc.template import template


def test_a_container_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    plan = rehearsal.plan_container
    monkeypatch.setattr(rehearsal, "plan_container", lambda *a, **n: planned.append(len(plan(*a, **n))))
    document = json.loads(json.dumps(template()))
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}

    rehearse(json.dumps(document))

    assert len(planned) == 1
    assert planned[0] > 20


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"ociVersion": "1.0.2", "mounts": [3]}'])
def test_what_is_no_specification_has_no_effect(document: str) -> None:
    rehearse(document)
