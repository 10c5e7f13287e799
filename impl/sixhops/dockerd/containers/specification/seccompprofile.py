"""System call filters of the user's: a profile in Docker's format, and what of it applies to one container.

Source: moby 20.10, profiles/seccomp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.dockerd.api import gojson
from sixhops.dockerd.api.gojson import Kind, Struct
from sixhops.dockerd.containers.specification.seccomp import machine, release, running_kernel
from sixhops.dockerd.errors import system

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["read_profile"]

_STRING = Kind("string", "string")
_STRINGS = Kind("[]string", "list", _STRING)
_ARCHITECTURE = Kind("specs.Arch", "string")
_ARCHITECTURES = Kind("[]specs.Arch", "list", _ARCHITECTURE)
_ACTION = Kind("specs.LinuxSeccompAction", "string")
_UINT64 = Kind("uint64", "int")
_FILTER = Struct("Filter", {"caps": _STRINGS, "arches": _STRINGS}, "seccomp")
_ARGUMENT = Struct(
    "LinuxSeccompArg",
    {
        "index": Kind("uint", "int"),
        "value": _UINT64,
        "valueTwo": _UINT64,
        "op": Kind("specs.LinuxSeccompOperator", "string"),
    },
    "specs",
)
_CALL = Struct(
    "Syscall",
    {
        "name": _STRING,
        "names": _STRINGS,
        "action": _ACTION,
        "errnoRet": Kind("uint", "int"),
        "args": Kind("[]*specs.LinuxSeccompArg", "list", _ARGUMENT),
        "comment": _STRING,
        "includes": _FILTER,
        "excludes": _FILTER,
    },
    "seccomp",
)
_PROFILE = Struct(
    "Seccomp",
    {
        "defaultAction": _ACTION,
        "architectures": _ARCHITECTURES,
        "archMap": Kind(
            "[]seccomp.Architecture",
            "list",
            Struct(
                "Architecture",
                {"architecture": _ARCHITECTURE, "subArchitectures": _ARCHITECTURES},
                "seccomp",
            ),
        ),
        "syscalls": Kind("[]*seccomp.Syscall", "list", _CALL),
    },
    "seccomp",
)


def read_profile(text: str, capabilities: Collection[str]) -> dict[str, Any] | None:
    """Return `linux.seccomp` for a container with `capabilities`, None when the profile says nothing at all.

    `archMap`, `includes` and `excludes` are resolved. Raises EngineError 500.
    """
    try:
        profile = gojson.check(gojson.decode_whole(text.encode()), _PROFILE)
    except gojson.GoJsonError as error:
        raise system(f"Decoding seccomp profile failed: {error}") from error
    profile = profile or {}
    action, calls = profile.get("defaultAction") or "", profile.get("syscalls") or []
    if not action and not calls:
        return None
    found: dict[str, Any] = {"defaultAction": action}
    architectures = _architectures(profile)
    if architectures:
        found["architectures"] = architectures
    kept = [_entry(call) for call in calls if _applies(call or {}, capabilities)]
    return found | ({"syscalls": kept} if kept else {})


def _architectures(profile: dict[str, Any]) -> list[str]:
    names, by_machine = profile.get("architectures") or [], profile.get("archMap") or []
    if names and by_machine:
        raise system(
            "'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' or 'archMap'"
        )
    native = machine()[1]
    for entry in by_machine:
        if native and entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or [])]
    return list(names)


def _applies(call: dict[str, Any], capabilities: Collection[str]) -> bool:
    name = machine()[0]
    includes, excludes = call.get("includes") or {}, call.get("excludes") or {}
    if name in (excludes.get("arches") or []):
        return False
    if any(capability in capabilities for capability in excludes.get("caps") or []):
        return False
    if excludes.get("minKernel") and running_kernel() >= _kernel(excludes["minKernel"]):
        return False
    if includes.get("arches") and name not in includes["arches"]:
        return False
    if not all(capability in capabilities for capability in includes.get("caps") or []):
        return False
    return not includes.get("minKernel") or running_kernel() >= _kernel(includes["minKernel"])


def _kernel(text: object) -> tuple[int, int]:
    try:
        return release(str(text))
    except ValueError:
        raise system(
            f'Decoding seccomp profile failed: invalid kernel version: "{text}", expected "<kernel>.<major>": '
            "expected integer"
        ) from None


def _entry(call: dict[str, Any]) -> dict[str, Any]:
    name, names = call.get("name"), call.get("names") or []
    if name and names:
        raise system("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'")
    found: dict[str, Any] = {"names": [name] if name else list(names), "action": call.get("action") or ""}
    if call.get("errnoRet") is not None:
        found["errnoRet"] = call["errnoRet"]
    arguments = [
        {"index": argument.get("index") or 0, "value": argument.get("value") or 0}
        | ({"valueTwo": argument["valueTwo"]} if argument.get("valueTwo") else {})
        | {"op": argument.get("op") or ""}
        for argument in call.get("args") or []
    ]
    return found | ({"args": arguments} if arguments else {})
