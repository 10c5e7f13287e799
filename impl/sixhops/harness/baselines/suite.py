"""Which version of a scenario a run was made with: `digest_of` its file.

A recorded run can be compared with one of today when the scenario does the same today. So what it does counts (its steps,
what they send and wait for, its images and rows), and not how it is written or judged: comments, layout, titles and
expectations.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from sixhops.harness.scenario.nodes import compose, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.scenario.model import Scenario

__all__ = ["digest_of", "digests"]

#: Keys of a scenario that change nothing of what is done.
_WORDS: Final = ("title", "refs")


def digest_of(text: str, name: str) -> str:
    """Return the digest (16 hexadecimal digits) of what a scenario file does. Raises ScenarioError when it is no YAML."""
    data = _plain(compose(text, name))
    if isinstance(data, dict):
        data = {key: item for key, item in data.items() if key not in _WORDS}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def digests(scenarios: Iterable[Scenario]) -> dict[str, str]:
    """Return the digest of each scenario by its id: that of its file, whose rows all have the same."""
    of_file: dict[str, str] = {}
    found: dict[str, str] = {}
    for scenario in scenarios:
        path = str(scenario.path)
        if path not in of_file:
            of_file[path] = digest_of(read_text(Path(path), path), path)
        found[scenario.id] = of_file[path]
    return found


def _plain(node: yaml.Node) -> Any:
    """Return a node as data in which a tag makes a difference, without what steps expect."""
    if isinstance(node, yaml.MappingNode):
        pairs = [(_key(key), value) for key, value in node.value]
        found: Any = {key: _plain(value) for key, value in pairs if key != "expect"}
    elif isinstance(node, yaml.SequenceNode):
        found = [_plain(item) for item in node.value]
    else:
        found = str(node.value)
    return {node.tag: found} if node.tag.startswith("!") else found


def _key(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else json.dumps(_plain(node))
