"""Stacks for the fuzz: an engine with the image that the requests speak of."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engine_fuzz.engine import Engine

from sixhops.harness.images import build, docker_archive, load_recipe
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["engine_of"]

_RECIPE = Path(__file__).parents[2] / "scenarios" / "images" / "busybox.yaml"


@contextlib.contextmanager
def engine_of(name: str) -> Iterator[Engine]:
    """Start a stack by its name; at the end it must have left nothing, and its daemons must still run."""
    stack = PrivateStack.start(name, directory=None, options=StackOptions())
    try:
        with tempfile.TemporaryDirectory() as folder, engine_client(stack.engine, 30) as client:
            archive = Path(folder) / "busybox.tar"
            docker_archive(build(load_recipe(_RECIPE), Path(folder) / "cache"), archive)
            answer = client.post("/images/load", content=archive.read_bytes())
            answer.raise_for_status()
        engine = Engine(Path(stack.engine.text.removeprefix("unix://")), stack)
        yield engine
        engine.close()
        stack.check_alive()
    finally:
        left = stack.close()
    if left:
        raise RuntimeError(f"{name} left behind: {left}")
