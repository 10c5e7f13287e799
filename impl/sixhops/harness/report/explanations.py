"""What messages are for, and the walkthrough's text: `explain.yaml` as the page's data."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["explanations", "walkthrough_for"]


def _document() -> dict[str, Any]:
    text = files(__package__).joinpath("explain.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def explanations() -> list[dict[str, str]]:
    """Return what each kind of message is for: hop, call (its summary, with * for any text) and text."""
    calls: list[dict[str, str]] = _document()["calls"]
    return calls


def walkthrough_for(scenarios: Collection[str]) -> dict[str, Any] | None:
    """Return the walkthrough's text for a report that has `scenarios`; None when it has not the one that is told."""
    told = _document()["walkthrough"]
    if told["scenario"] not in scenarios:
        return None
    tree = told["tree"] if told["tree"]["scenario"] in scenarios else None
    return {
        "id": told["scenario"],
        "intro": told["intro"],
        "chapters": told["chapters"],
        "outro": told["outro"],
        "tree": tree and {"id": tree["scenario"], "title": tree["title"], "text": tree["text"]},
    }
