"""Two normalised values compared: what differs, at which path, and which numbered tokens stand in each other's place."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.diff.tokens import TOKEN, split_tokens, token

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

__all__ = ["Found", "Partners", "aligned", "canonical", "differences"]

#: Kinds of tokens that share their numbers with another kind.
_SAME_NUMBERS: Final = {"short id": "id", "mac of address": "address"}


@dataclass(frozen=True, slots=True)
class Found:
    """A difference between two values. `kind`: changed, missing, added or order."""

    path: str
    kind: str
    a: Any = None
    b: Any = None


@dataclass(slots=True)
class Partners:
    """Which numbered token of one side stands where which one of the other does.

    Ids and addresses are different in each run; what can be compared is whether the same one comes again. `note` collects,
    `strangers` returns the places where a token does not meet the partner that it meets most often.
    """

    _seen: list[tuple[Any, str, str, int, int]] = field(default_factory=list)
    _found: tuple[int, dict[tuple[str, int], int], dict[tuple[str, int], int]] | None = None

    def note(self, place: Any, path: str, a: str, b: str) -> None:
        """Note the tokens of two texts that are equal but for the tokens' numbers."""
        if not split_tokens(a)[1]:
            return
        for (kind, left), (_, right) in zip(split_tokens(a)[1], split_tokens(b)[1], strict=True):
            self._seen.append((place, path, _SAME_NUMBERS.get(kind, kind), left, right))

    def renamed(self, text: str) -> str:
        """Return a text of side B with the numbers that A has for the same things, as far as is known by now."""
        _, of_b = self._pairs()

        def rename(found: re.Match[str]) -> str:
            kind, number = found[1], found[2]
            if number is None:
                return found[0]
            partner = of_b.get((_SAME_NUMBERS.get(kind, kind), int(number)))
            return token(kind, partner) if partner is not None else f"B {found[0]}"

        return TOKEN.sub(rename, text)

    def _pairs(self) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]]:
        """Return the partner of each token of A, and of B: those that meet most often first."""
        if self._found is not None and self._found[0] == len(self._seen):
            return self._found[1], self._found[2]
        counts = Counter((kind, left, right) for _, _, kind, left, right in self._seen)
        of_a: dict[tuple[str, int], int] = {}
        of_b: dict[tuple[str, int], int] = {}
        # Counter.most_common keeps the order of first sight among equals.
        for (kind, left, right), _ in counts.most_common():
            if (kind, left) not in of_a and (kind, right) not in of_b:
                of_a[kind, left] = right
                of_b[kind, right] = left
        self._found = (len(self._seen), of_a, of_b)
        return of_a, of_b

    def strangers(self) -> Iterator[tuple[Any, str, str, str]]:
        """Yield place, path, and the two tokens, of which one has another partner elsewhere."""
        of_a, of_b = self._pairs()
        for place, path, kind, left, right in self._seen:
            if of_a.get((kind, left)) != right:
                a = f"{kind} {left}" + _partner(of_a.get((kind, left)))
                b = f"{kind} {right}" + _partner(of_b.get((kind, right)))
                yield place, path, a, b


def _partner(number: int | None) -> str:
    return " (nowhere else)" if number is None else f" (elsewhere with {number})"


def canonical(value: Any) -> str:
    """Return a text that is the same for values that are equal but for the numbers of tokens."""
    if isinstance(value, str):
        return f'"{split_tokens(value)[0]}"'
    return TOKEN.sub(lambda found: token(found[1]), json.dumps(value, sort_keys=True, ensure_ascii=False))


def aligned(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    """Yield pairs of positions: equal ones together, others side by side as far as they go, then alone (None)."""
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for _, a_from, a_to, b_from, b_to in matcher.get_opcodes():
        for step in range(max(a_to - a_from, b_to - b_from)):
            left, right = a_from + step, b_from + step
            yield (left if left < a_to else None, right if right < b_to else None)


def differences(a: Any, b: Any, partners: Partners, place: Any, path: str = "") -> Iterator[Found]:
    """Yield what differs between two values; note the tokens of what does not."""
    if isinstance(a, dict) and isinstance(b, dict):
        yield from _mappings(a, b, partners, place, path)
    elif isinstance(a, list) and isinstance(b, list):
        yield from _lists(a, b, partners, place, path)
    elif isinstance(a, str) and isinstance(b, str):
        if split_tokens(a)[0] == split_tokens(b)[0]:
            partners.note(place, path, a, b)
        else:
            yield Found(path, "changed", a, b)
    elif type(a) is not type(b) or a != b:
        yield Found(path, "changed", a, b)


def _mappings(
    a: dict[str, Any], b: dict[str, Any], partners: Partners, place: Any, path: str
) -> Iterator[Found]:
    pairs = {key: key for key in a if key in b}
    # Keys with tokens (a mapping by id) fit when they are equal but for the numbers.
    rest = {split_tokens(key)[0]: key for key in b if key not in pairs}
    for key in a:
        other = rest.get(split_tokens(key)[0])
        if key not in pairs and other is not None:
            pairs[key] = other
            del rest[split_tokens(key)[0]]
            partners.note(place, _at(path, key), key, other)
    for key, other in pairs.items():
        yield from differences(a[key], b[other], partners, place, _at(path, split_tokens(key)[0]))
    for key, item in a.items():
        if key not in pairs:
            yield Found(_at(path, split_tokens(key)[0]), "missing", item)
    taken = set(pairs.values())
    for key, item in b.items():
        if key not in taken:
            yield Found(_at(path, split_tokens(key)[0]), "added", None, item)


def _lists(a: list[Any], b: list[Any], partners: Partners, place: Any, path: str) -> Iterator[Found]:
    left, right = [canonical(item) for item in a], [canonical(item) for item in b]
    if left != right and sorted(left) == sorted(right):
        yield Found(path, "order", a, b)
        return
    for at, other in aligned(left, right):
        if at is not None and other is not None:
            yield from differences(a[at], b[other], partners, place, _at(path, str(at)))
        elif at is not None:
            yield Found(_at(path, str(at)), "missing", a[at])
        elif other is not None:
            yield Found(_at(path, str(other)), "added", None, b[other])


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
