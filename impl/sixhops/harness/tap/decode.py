"""Protobuf messages as facets: what a tap reports of a gRPC or ttrpc payload.

`decode` keeps the names of the .proto files and says exactly what was sent: a field that was not sent is not
there, a field that this version of the .proto files doesn't know is kept under `@unknown`. `find_method`
looks in all services of `sixhops.wire.proto`.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from google.protobuf import any_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from sixhops.wire.catalog import JSON_TYPES, find_message, find_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf import duration_pb2, timestamp_pb2
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from sixhops.harness.exchange import Facet

__all__ = ["decode", "decode_any", "decode_bytes", "find_method"]

#: An Any may hold an Any, which no parser's limit of nested messages covers; what is deeper stays bytes.
_DEPTH = 16

_Converter: TypeAlias = "Callable[[Any, int], Any]"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


#: For each message type (by full name) how its fields are called and converted, by number; made when first needed.
_PLANS: dict[str, dict[int, tuple[str, _Converter]]] = {}


def decode_bytes(data: bytes, cls: type[Message]) -> dict[str, Facet] | bytes:
    """Return the fields of the message `data` is (see `decode`), or `data` itself when it isn't a `cls`."""
    message = cls()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return data
    return decode(message)


def decode(message: Message) -> dict[str, Facet]:
    """Return the fields that are present in `message`, by their names in the .proto file.

    Scalars without presence are left out when they have their default, as they are on the wire. Enums are names
    (a number when the .proto file has no name for it), bytes are bytes, maps have text keys, numbers that JSON
    lacks are "NaN", "Infinity" and "-Infinity". Timestamp: RFC 3339 text in UTC, with nine digits of a second
    when there is a fraction. Duration: seconds. Any: `@type` beside the fields when the type is known;
    `{"@type": url, "value": ...}` with JSON for the types that containerd marks as such, else with the bytes.
    Fields that the .proto file lacks: `@unknown`, a list of `{"field": n, "wire": n, "value": int or bytes}`
    (groups, wire type 3, have a list of the same).
    """
    return _decode(message, 0)


def decode_any(data: bytes) -> dict[str, Facet] | bytes:
    """Return what the google.protobuf.Any `data` holds, as it stands in a message; `data` itself when it is none."""
    value = any_pb2.Any()
    try:
        value.ParseFromString(data)
    except DecodeError:
        return data
    return _any(value, 0)


def _decode(message: Message, depth: int) -> dict[str, Any]:
    descriptor = message.DESCRIPTOR
    plan = _PLANS.get(descriptor.full_name)
    if plan is None:
        plan = _PLANS[descriptor.full_name] = {
            field.number: (field.name, _converter(cast("FieldDescriptor", field)))
            for field in descriptor.fields
        }
    result: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, convert = plan[field.number]
        result[name] = convert(value, depth)
    unknown = UnknownFieldSet(message)
    if len(unknown):
        result["@unknown"] = _unknown(unknown)
    return result


def _unknown(fields: Any) -> list[dict[str, Any]]:
    # Groups nest no deeper than the parser's own limit (100), which has already passed them.
    return [
        {
            "field": field.field_number,
            "wire": field.wire_type,
            "value": field.data if isinstance(field.data, int | bytes) else _unknown(field.data),
        }
        for field in fields
    ]


def _converter(field: FieldDescriptor) -> _Converter:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return _map_converter(kind)
    one = _single(field)
    if field.is_repeated:
        return lambda values, depth: [one(value, depth) for value in values]
    return one


def _map_converter(entry: Descriptor) -> _Converter:
    key = entry.fields_by_name["key"]
    one = _single(entry.fields_by_name["value"])
    if key.type == FieldDescriptor.TYPE_BOOL:
        return lambda values, depth: {str(name).lower(): one(value, depth) for name, value in values.items()}
    return lambda values, depth: {str(name): one(value, depth) for name, value in values.items()}


def _single(field: FieldDescriptor) -> _Converter:
    if field.message_type is not None:
        return _SPECIAL.get(field.message_type.full_name, _decode)
    if field.enum_type is not None:
        names = {value.number: value.name for value in reversed(field.enum_type.values)}
        return lambda value, _depth: names.get(value, value)
    if field.type in {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}:
        return _number
    return _same


def _same(value: Any, _depth: int) -> Any:
    return value


def _number(value: float, _depth: int) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _timestamp(value: timestamp_pb2.Timestamp, depth: int) -> Any:
    try:
        moment = _EPOCH + timedelta(seconds=value.seconds)
    except OverflowError:
        return _decode(value, depth)
    if not 0 <= value.nanos < 1_000_000_000:
        return _decode(value, depth)
    fraction = f".{value.nanos:09d}" if value.nanos else ""
    return f"{moment.replace(tzinfo=None).isoformat()}{fraction}Z"


def _duration(value: duration_pb2.Duration, _depth: int) -> float:
    return value.seconds + value.nanos / 1e9


def _any(value: any_pb2.Any, depth: int) -> dict[str, Any]:
    url, data = value.type_url, value.value
    if url.startswith(JSON_TYPES):
        try:
            return {"@type": url, "value": json.loads(data, parse_constant=_refuse)}
        except (ValueError, RecursionError):
            # Not JSON after all: what was sent is what is reported.
            return {"@type": url, "value": data}
    if depth >= _DEPTH:
        return {"@type": url, "value": data}
    name = url.rpartition("/")[2]
    kind = find_message(name)
    if kind is None:
        return {"@type": url, "value": data}
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return {"@type": url, "value": data}
    special = _SPECIAL.get(name)
    if special is not None:
        return {"@type": name, "value": special(message, depth + 1)}
    return {"@type": name, **_decode(message, depth + 1)}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_SPECIAL: dict[str, _Converter] = {
    "google.protobuf.Any": _any,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Timestamp": _timestamp,
}
