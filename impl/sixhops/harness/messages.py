"""Plain data to protobuf messages: what authors write in `grpc` and `ttrpc` steps; the reverse of `tap.decode`.

The same walk serves twice. When a file is read, `problems` finds what is wrong with everything that is known by then
(templates pass); when the step is reached, `encode` makes the message.

    message             a mapping by the fields' names in the .proto file; null leaves a field out
    repeated, map       a list; a mapping, whose keys become what the map's keys are
    enum                its name, or a number
    bytes               text (as UTF-8), or a body mapping (base64, hex, text, file)
    Timestamp           RFC 3339 text, or its fields;  Duration: seconds, or its fields
    Any                 {"@type": url, field: ...}; {"@type": url, value: JSON} for the types that containerd keeps as
                        JSON; {"@type": url, raw: body} for any bytes
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from google.protobuf.descriptor import FieldDescriptor

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.match.values import type_name
from sixhops.harness.scenario.model import Template
from sixhops.harness.scenario.variables import nearest
from sixhops.wire.catalog import JSON_TYPES, find_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    #: Turns what stands for bytes (text or a body mapping) into them; raises ScenarioError.
    ToBytes: TypeAlias = Callable[[Any, Mark], bytes]

__all__ = ["encode", "problems"]

_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_WHOLE: Final = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
_FLOATS: Final = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})
_NOT_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode(value: Any, kind: type[Message], mark: Mark, to_bytes: ToBytes) -> Message:
    """Return the message that `value`, a mapping without templates, stands for. `mark` is the place for errors.

    Raises ScenarioError: a field that the message lacks, a value that the field can't take.
    """
    writer = _Writer(to_bytes)
    message = writer.message(value, kind, mark)
    if writer.errors:
        raise writer.errors[0]
    return message


def problems(value: Any, kind: type[Message], mark: Mark, to_bytes: ToBytes) -> list[ScenarioError]:
    """Return all that is wrong with `value` as a message of `kind`; templates stand for anything."""
    writer = _Writer(to_bytes)
    writer.message(value, kind, mark)
    return writer.errors


class _Writer:
    """Fills messages and collects what is wrong with the values."""

    def __init__(self, to_bytes: ToBytes) -> None:
        self._to_bytes = to_bytes
        self.errors: list[ScenarioError] = []

    def message(self, value: Any, kind: type[Message], mark: Mark) -> Message:
        """Return a message of `kind` with the fields in `value`."""
        message = kind()
        if isinstance(value, Template):
            return message
        special = _SPECIAL.get(kind.DESCRIPTOR.full_name)
        if special is not None:
            special(self, value, message, mark)
            return message
        self._fields(value, message, mark)
        return message

    def _wrong(self, problem: str, mark: Mark) -> None:
        self.errors.append(ScenarioError(problem, mark))

    def _fields(self, value: Any, message: Message, mark: Mark, leave: tuple[str, ...] = ()) -> None:
        descriptor = message.DESCRIPTOR
        if not isinstance(value, dict):
            self._wrong(f"{descriptor.name} is a mapping of its fields, not {_say(value)}", mark)
            return
        for name, item in value.items():
            place = _place(value, name, mark)
            field = descriptor.fields_by_name.get(name)
            if name in leave:
                continue
            if field is None:
                names = list(descriptor.fields_by_name)
                known = nearest(name, names) or f"; it has {', '.join(names) or 'none'}"
                self._wrong(f"{descriptor.full_name} has no field {name}{known}", place)
            elif item is not None and not isinstance(item, Template):
                self._field(message, cast("FieldDescriptor", field), item, place)

    def _field(self, message: Message, field: FieldDescriptor, value: Any, mark: Mark) -> None:
        choice = field.containing_oneof
        if choice is not None and message.WhichOneof(choice.name) is not None:
            taken = message.WhichOneof(choice.name)
            self._wrong(f"{field.name} can't stand beside {taken}: only one of them can be sent", mark)
            return
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            self._map(message, field, value, mark)
        elif field.is_repeated:
            if not isinstance(value, list):
                self._wrong(f"{field.name} is a list, not {_say(value)}", mark)
                return
            items = [self._one(field, item, mark) for item in value if not isinstance(item, Template)]
            self._guarded(field, mark, lambda: getattr(message, field.name).extend(_known(items)))
        else:
            item = self._one(field, value, mark)
            if item is None:
                return
            if kind is not None:
                getattr(message, field.name).CopyFrom(item)
            else:
                self._guarded(field, mark, lambda: setattr(message, field.name, item))

    def _map(self, message: Message, field: FieldDescriptor, value: Any, mark: Mark) -> None:
        if not isinstance(value, dict):
            self._wrong(f"{field.name} is a mapping, not {_say(value)}", mark)
            return
        assert field.message_type is not None
        key_field = field.message_type.fields_by_name["key"]
        value_field = field.message_type.fields_by_name["value"]
        entries = getattr(message, field.name)
        for name, item in value.items():
            place = _place(value, name, mark)
            if isinstance(item, Template):
                continue
            key: Any = name
            if key_field.type in _WHOLE:
                if not re.fullmatch(r"-?\d+", name):
                    self._wrong(f"the keys of {field.name} are whole numbers, not {name!r}", place)
                    continue
                key = int(name)
            made = self._one(value_field, item, place)
            if made is not None and value_field.message_type is not None:
                entries[key].CopyFrom(made)
            elif made is not None:
                self._guarded(field, place, partial(entries.__setitem__, key, made))

    def _guarded(self, field: FieldDescriptor, mark: Mark, act: Callable[[], Any]) -> None:
        try:
            act()
        except (ValueError, TypeError) as error:
            self._wrong(f"{field.name}: {error}", mark)

    def _one(self, field: FieldDescriptor, value: Any, mark: Mark) -> Any:
        """Return one value of a field as protobuf takes it; None when it is wrong, which is noted."""
        if field.message_type is not None:
            kind = find_message(field.message_type.full_name)
            assert kind is not None
            return self.message(value, kind, mark)
        if field.enum_type is not None:
            return self._enum(field, value, mark)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._bytes(field.name, value, mark)
        if field.type == FieldDescriptor.TYPE_STRING:
            return value if isinstance(value, str) else self._mistyped(field, "text", value, mark)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return value if isinstance(value, bool) else self._mistyped(field, "true or false", value, mark)
        if field.type in _FLOATS:
            if isinstance(value, str) and value in _NOT_NUMBERS:
                return _NOT_NUMBERS[value]
            return float(value) if _is_number(value) else self._mistyped(field, "a number", value, mark)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole else self._mistyped(field, "a whole number", value, mark)

    def _mistyped(self, field: FieldDescriptor, wanted: str, value: Any, mark: Mark) -> None:
        self._wrong(f"{field.name} is {wanted}, not {_say(value)}", mark)

    def _enum(self, field: FieldDescriptor, value: Any, mark: Mark) -> int | None:
        assert field.enum_type is not None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        names = {item.name: item.number for item in field.enum_type.values}
        if isinstance(value, str) and value in names:
            return names[value]
        hint = nearest(str(value), list(names)) or f"; it is one of {', '.join(names)}"
        self._wrong(f"{field.name} has no value {value!r}{hint}", mark)
        return None

    def _bytes(self, name: str, value: Any, mark: Mark) -> bytes | None:
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str | dict):
            self._wrong(f"{name} is bytes: text, or one of base64, hex, text, file; not {_say(value)}", mark)
            return None
        if isinstance(value, dict) and any(isinstance(item, Template) for item in value.values()):
            return b""
        try:
            return self._to_bytes(value, mark)
        except ScenarioError as error:
            self.errors.append(error)
            return None

    def any(self, value: Any, message: Any, mark: Mark) -> None:
        """Fill an Any."""
        url = value.get("@type") if isinstance(value, dict) else None
        if url is None or not isinstance(url, str | Template):
            self._wrong('an Any is a mapping with "@type", the type\'s name or URL', mark)
            return
        if isinstance(url, Template):
            return
        message.type_url = url
        place = _place(value, "@type", mark)
        kind = None if url.startswith(JSON_TYPES) else find_message(url.rpartition("/")[2])
        special = kind is not None and kind.DESCRIPTOR.full_name in _SPECIAL
        if (
            "raw" in value
            or (kind is None and not url.startswith(JSON_TYPES))
            or special
            or url.startswith(JSON_TYPES)
        ):
            key = "raw" if "raw" in value else "value"
            odd = [name for name in value if name not in {"@type", key}]
            if odd or key not in value:
                unknown = (
                    "" if kind is not None or url.startswith(JSON_TYPES) else f"; no .proto file has {url}"
                )
                known = (
                    f"besides @type it has {key} alone, not {odd[0]}" if odd else "it needs a value, or raw"
                )
                self._wrong(
                    f"an Any of this type: {known}{unknown}", _place(value, odd[0], mark) if odd else place
                )
                return
            self._any_value(value[key], key, kind, message, _place(value, key, mark))
            return
        assert kind is not None
        inner = kind()
        self._fields(value, inner, mark, leave=("@type",))
        message.value = inner.SerializeToString(deterministic=True)

    def _any_value(self, item: Any, key: str, kind: type[Message] | None, message: Any, mark: Mark) -> None:
        if isinstance(item, Template):
            return
        if key == "value" and message.type_url.startswith(JSON_TYPES):
            # In JSON, a template somewhere inside says nothing about the rest.
            text = json.dumps(item, separators=(",", ":"), ensure_ascii=False, default=lambda _: None)
            message.value = text.encode()
        elif key == "value" and kind is not None:
            message.value = self.message(item, kind, mark).SerializeToString(deterministic=True)
        else:
            message.value = self._bytes(key, item, mark) or b""

    def timestamp(self, value: Any, message: Any, mark: Mark) -> None:
        """Fill a Timestamp."""
        if isinstance(value, dict):
            self._fields(value, message, mark)
            return
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        try:
            if found is None:
                raise ValueError
            moment = datetime.fromisoformat(found[1] + found[3].upper().replace("Z", "+00:00"))
        except ValueError:
            self._wrong(
                f"a Timestamp is an RFC 3339 time, such as 2020-01-01T00:00:00Z, not {_say(value)}", mark
            )
            return
        message.seconds = int(moment.timestamp())
        message.nanos = int((found[2] or "").ljust(9, "0")) if found[2] else 0

    def duration(self, value: Any, message: Any, mark: Mark) -> None:
        """Fill a Duration."""
        if isinstance(value, dict):
            self._fields(value, message, mark)
        elif _is_number(value):
            whole = math.trunc(value)
            message.seconds, message.nanos = whole, round((value - whole) * 1_000_000_000)
        else:
            self._wrong(f"a Duration is a number of seconds, not {_say(value)}", mark)


_SPECIAL: Final[dict[str, Callable[[_Writer, Any, Any, Mark], None]]] = {
    "google.protobuf.Any": _Writer.any,
    "google.protobuf.Timestamp": _Writer.timestamp,
    "google.protobuf.Duration": _Writer.duration,
}


def _known(items: list[Any]) -> list[Any]:
    return [item for item in items if item is not None]


def _place(value: Any, key: str, mark: Mark) -> Mark:
    """Return where a key stands, when the mapping still knows."""
    marks: dict[str, Mark] = getattr(value, "marks", {})
    return marks.get(key, mark)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _say(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float) else ""
    return f"the {type_name(value)} {text}" if 0 < len(text) <= 40 else f"a {type_name(value)}"
