"""Small frozen values with named members: what dataclasses are for, for programs that start often.

A dataclass compiles source text for each class when its module is imported: half a millisecond each, and 8 ms for the
module itself. A runtime that has fifty of them and starts four times in a container's life notices that. The rules are
the same: members are the annotated names of the class body, in that order, with the defaults given there; values are
equal when their types and members are.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    V = TypeVar("V", bound="Value")
else:

    def dataclass_transform(**_: object) -> Callable[[type], type]:
        """Tell type checkers, and nobody else, that subclasses are like dataclasses."""
        return lambda cls: cls


__all__ = ["Value", "replace"]


@dataclass_transform(frozen_default=True)
class Value:
    """The base of a value's class. Defaults must not be changed: all values share them."""

    _members: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._members = (*cls._members, *cls.__dict__.get("__annotations__", ()))  # noqa: RUF063  inspect is what is spared

    def __init__(self, *arguments: Any, **named: Any) -> None:
        members = self._members
        if len(arguments) > len(members):
            raise TypeError(f"{type(self).__name__} has {len(members)} members, {len(arguments)} were given")
        given = dict(zip(members, arguments, strict=False))
        for name, value in named.items():
            if name in given or name not in members:
                raise TypeError(f"{type(self).__name__}: unexpected or repeated member {name}")
            given[name] = value
        for name in members:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__}: member {name} is missing")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name}")

    def _key(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._members)
        return f"{type(self).__name__}({shown})"


def replace(value: V, **changes: object) -> V:
    """Return the value with some members changed; raises TypeError for a name that it doesn't have."""
    for name in changes:
        if name not in value._members:  # noqa: SLF001  of this module
            raise TypeError(f"{type(value).__name__} has no member {name}")
    changed = type(value).__new__(type(value))
    changed.__dict__.update(value.__dict__, **changes)
    return changed
