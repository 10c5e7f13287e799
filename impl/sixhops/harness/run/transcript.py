"""A scenario's exchanges as JSON lines: one exchange a line, so that a crashed run leaves what it had."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from sixhops.harness.exchange import Exchange, HopMessage, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["dump", "load"]


def dump(exchanges: Iterable[Exchange]) -> str:
    """Return `exchanges` as JSON lines, each ending with a newline."""
    return "".join(json.dumps(to_json(dataclasses.asdict(exchange))) + "\n" for exchange in exchanges)


def load(text: str) -> list[Exchange]:
    """Return the exchanges that `dump` wrote. Raises ValueError with the line's number when a line is
    none.
    """
    exchanges = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            exchanges.append(_exchange(from_json(json.loads(line))))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} is no exchange: {error}") from error
    return exchanges


def _exchange(data: dict[str, Any]) -> Exchange:
    messages = [HopMessage(**message) for message in data.pop("messages")]
    return Exchange(**data, messages=messages)
