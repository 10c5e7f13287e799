"""The documentation's pictures, drawn from the recorded run in `runs`: `python docs/pictures.py` writes them again.

The run is one of real Docker with all hops recorded: `pytest conformance/ --target upstream --taps all -m walkthrough`.
When a scenario's expectations have changed so that it no longer holds, it is recorded again.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sixhops.harness.report import picture
from sixhops.harness.run.transcript import read_transcript
from sixhops.harness.show import Choice

HERE = Path(__file__).parent
RUN = HERE / "runs" / "dockerd-20.10" / "transcripts" / "walkthrough"


class Picture(NamedTuple):
    """Which steps of which scenario a picture shows, as --step has them."""

    scenario: str
    step: str


PICTURES = {
    "missing": Picture("hello-world", "1"),
    "pull": Picture("hello-world", "2"),
    "create": Picture("hello-world", "3-4"),
    "start": Picture("hello-world", "5"),
    "output": Picture("hello-world", "6-10"),
    "processes": Picture("process-tree", "4-6"),
}


def drawn(name: str) -> str:
    """Return the SVG of one of the pictures."""
    wanted = PICTURES[name]
    return picture(read_transcript(RUN / f"{wanted.scenario}.jsonl"), Choice(step=wanted.step))


def main() -> None:
    """Write all pictures."""
    for name in PICTURES:
        (HERE / "pictures" / f"{name}.svg").write_text(drawn(name), encoding="utf-8")


if __name__ == "__main__":
    main()
