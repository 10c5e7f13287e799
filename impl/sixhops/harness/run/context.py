"""What the steps of one scenario share while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.images import Toolbox
from sixhops.harness.run.content import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.images import BuiltImage
    from sixhops.harness.run.live import Live
    from sixhops.harness.scenario.model import Scenario, Step
    from sixhops.harness.scenario.variables import Scope
    from sixhops.harness.target import Target

__all__ = ["Background", "Context"]


@dataclass(slots=True)
class Background:
    """A background step: what performs it, and where the recorder stood when it began."""

    step: Step
    live: Live
    mark: int
    joined: bool = False


@dataclass(slots=True)
class Context:
    """The state of a running scenario. `scope` is replaced after each step; `scratch` is a fresh directory
    of its own; `images` are the built images by recipe name.
    """

    scenario: Scenario
    target: Target
    scope: Scope
    scratch: Path
    backgrounds: dict[str, Background] = field(default_factory=dict)
    images: Mapping[str, BuiltImage] = field(default_factory=dict)

    @property
    def programs(self) -> Toolbox:
        """Return where the programs inside `tar:` bodies come from; the target's directory keeps compiled
        ones.
        """
        return Toolbox(self.target.directory)

    @property
    def sources(self) -> Sources:
        """Return where the bytes of bodies come from that the scenario only names."""
        return Sources(Path(self.scenario.path).parent, tuple(self.images.values()))
