"""Who looks at a container while its run's end is dealt with waits for all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sixhops.dockerd.containers.held import Held


def _held() -> Held:
    return Held(cast("Any", SimpleNamespace(id="one")), cast("Any", Path("one")), None)


def test_nothing_is_waited_for_between_ends() -> None:
    async def body() -> None:
        held = _held()

        await asyncio.wait_for(held.settled(), 20)
        with held.ending():
            pass

        await asyncio.wait_for(held.settled(), 20)

    asyncio.run(body())


def test_a_look_during_an_end_waits_for_it() -> None:
    async def body() -> None:
        held = _held()
        seen: list[str] = []

        async def look() -> None:
            await held.settled()
            seen.append("looked")

        with held.ending():
            looking = asyncio.create_task(look())
            await asyncio.sleep(0)
            seen.append("ended")
        await asyncio.wait_for(looking, 20)

        assert seen == ["ended", "looked"]

    asyncio.run(body())


def test_an_end_that_fails_lets_everybody_look() -> None:
    async def body() -> None:
        held = _held()

        try:
            with held.ending():
                raise RuntimeError("containerd is away")
        except RuntimeError:
            pass

        await asyncio.wait_for(held.settled(), 20)

    asyncio.run(body())
